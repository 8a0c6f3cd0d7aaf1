//! Lists of whose token is whose, as LinOTP and privacyIDEA write them: a header line, and a line for each token.

use super::{Place, Problem, REFUSED_MAX, Refused, serial, text, user};
use crate::identity::TokenSerial;
use std::collections::HashMap;

/// What the column of the serial number is called: here and in privacyIDEA, and in LinOTP.
const SERIAL: [&str; 2] = ["serial", "LinOtp.TokenSerialnumber"];

/// What the column of the user's name is called: here, in privacyIDEA, and in LinOTP.
const USER: [&str; 3] = ["user", "username", "User.username"];

/// Why a line of such a list cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnersProblem {
    /// A first line that names no such columns.
    #[error(
        "the first line must name the columns, among them serial (or LinOtp.TokenSerialnumber) and user (or username, \
         or User.username)"
    )]
    Header,
    /// A quotation mark that does not end, or a column that is not there.
    #[error("the line does not have the columns of the first one; is a quotation mark missing?")]
    Line,
}

/// Whose token is whose.
#[derive(Debug, Default)]
pub struct Owners {
    /// The user of each token that has one.
    pub users: HashMap<TokenSerial, Box<str>>,
    /// What cannot be taken, in the order of the file.
    pub refused: Vec<Refused>,
}

/// How a list is written: what stands between its fields, and what around them.
struct Writing {
    separator: char,
    serial: usize,
    user: usize,
}

/// Reads a list. Of a line only the two columns count, so that it may say more of a token, and of more tokens.
pub fn read(octets: &[u8]) -> Owners {
    let text = match text(octets) {
        Ok(text) => text,
        Err(why) => {
            return Owners { refused: vec![Refused { place: Place::File, why }], ..Owners::default() };
        }
    };
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let mut owners = Owners::default();
    let mut writing = None;
    for (line, at) in lines {
        let Some(writing) = &writing else {
            writing = Writing::of(line);
            if writing.is_none() {
                owners.refuse(Place::Line(at), OwnersProblem::Header.into());
                return owners;
            }
            continue;
        };
        match writing.owner(line) {
            Ok((_, None)) => {}
            Ok((token, Some(user))) => match owners.users.get(&token) {
                Some(other) if *other != user => {
                    owners.refuse(Place::Line(at), Problem::OwnerRepeated);
                }
                _ => {
                    owners.users.insert(token, user);
                }
            },
            Err(why) => owners.refuse(Place::Line(at), why),
        }
        if owners.refused.len() > REFUSED_MAX {
            owners.refuse(Place::File, Problem::TooManyMistakes);
            return owners;
        }
    }
    if writing.is_none() {
        owners.refuse(Place::File, OwnersProblem::Header.into());
    }
    owners
}

impl Owners {
    fn refuse(&mut self, place: Place, why: Problem) {
        self.refused.push(Refused { place, why });
    }
}

impl Writing {
    /// What the first line says.
    fn of(header: &str) -> Option<Writing> {
        [',', ';'].into_iter().find_map(|separator| {
            let columns = fields(header, separator)?;
            let find = |names: &[&str]| {
                columns.iter().position(|column| names.iter().any(|name| column.eq_ignore_ascii_case(name)))
            };
            Some(Writing { separator, serial: find(&SERIAL)?, user: find(&USER)? })
        })
    }

    fn owner(&self, line: &str) -> Result<(TokenSerial, Option<Box<str>>), Problem> {
        let fields = fields(line, self.separator).ok_or(OwnersProblem::Line)?;
        let (token, name) = fields.get(self.serial).zip(fields.get(self.user)).ok_or(OwnersProblem::Line)?;
        Ok((serial(token)?, user(name)?))
    }
}

/// The fields of a line, those in single or double quotation marks without them; `None` if a mark does not end.
fn fields(line: &str, separator: char) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line.trim();
    loop {
        let start = rest.trim_start();
        let (field, after) = match start.chars().next().filter(|mark| ['"', '\''].contains(mark)) {
            Some(mark) => unquoted(start.get(1..)?, mark)?,
            None => match start.split_once(separator) {
                Some((field, _)) => (field.trim_end().to_owned(), start.get(field.len()..)?),
                None => (start.trim_end().to_owned(), ""),
            },
        };
        fields.push(field);
        let after = after.trim_start();
        match after.strip_prefix(separator) {
            Some(after) => rest = after,
            None if after.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

/// A field from behind its opening mark, and what comes after the closing one; a doubled mark is one of the field.
fn unquoted(quoted: &str, mark: char) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once(mark)?;
        field.push_str(part);
        match after.strip_prefix(mark) {
            Some(after) => {
                field.push(mark);
                rest = after;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Vec<(String, String)>, Vec<String>) {
        let owners = read(text.as_bytes());
        let mut users: Vec<_> =
            owners.users.iter().map(|(token, user)| (token.to_string(), user.to_string())).collect();
        users.sort();
        (users, owners.refused.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lists_of_each_maker_say_the_same() {
        let expected = vec![("A-1".to_owned(), "taro".to_owned()), ("A-3".to_owned(), "o'neil".to_owned())];
        for list in [
            "serial,user\nA-1,taro\nA-2,\nA-3,o'neil\n",
            "\u{feff}user;note;serial\r\ntaro;\"a;b\";A-1\r\n\r\n;;A-2\r\no'neil;x;A-3\r\n",
            "'LinOtp.TokenId'; 'LinOtp.TokenSerialnumber'; 'User.username'; \n17; 'A-1'; 'taro'; \n18; 'A-2'; ''; \n19; 'A-3'; 'o''neil'; \n",
            "'active', 'serial', 'username', 'info', \nTrue, 'A-1', 'taro', {}, \nTrue, 'A-2', '', {}, \nTrue, 'A-3', 'o''neil', {}, \n",
        ] {
            assert_eq!(of(list), (expected.clone(), vec![]), "{list}");
        }
    }

    #[test]
    fn what_cannot_be_taken_is_named_by_its_line() {
        let header = "the first line must name the columns";
        for (list, expected) in [
            ("", format!("the file: {header}")),
            ("A-1,taro\n", format!("line 1: {header}")),
            ("serial,user\n'A-1,taro\n", "line 2: the line does not have the columns".into()),
            ("serial,user\nA-1\n", "line 2: the line does not have the columns".into()),
            ("serial,user\n,taro\n", "line 2: the serial number is missing".into()),
            (
                "serial,user\nA-1,taro\nA-1,jiro\n",
                "line 3: another line gives the token to another user".into(),
            ),
            ("serial,user\nA-1,ta\u{7}ro\n", "line 2: a user name has".into()),
        ] {
            let (_, refused) = of(list);
            assert!(matches!(refused.as_slice(), [one] if one.starts_with(&expected)), "{list}: {refused:?}");
        }
        assert_eq!(read(&[0xff]).refused.len(), 1);
    }
}
