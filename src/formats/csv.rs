//! CSV: our own columns with a header line, and the columns without one that LinOTP and privacyIDEA read.

use super::{Described, Gathering, Onward, Place, Problem, Reading, number, serial, text, time, user};
use crate::otp::uri::KeyMoving;
use crate::otp::{Algorithm, Digits, Period, check_secret};
use crate::secret::Secret;
use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

/// The columns of our own layout, in the order in which we would write them.
const COLUMNS: [&str; 11] = [
    "serial",
    "secret-hex",
    "secret-base32",
    "type",
    "digits",
    "period",
    "counter",
    "algorithm",
    "user",
    "begins",
    "ends",
];

/// Why a line of CSV cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvProblem {
    /// A quotation mark that does not end.
    #[error("a quoted field does not end; write \"\" for a quotation mark within quotes")]
    Quote,
    /// More or fewer fields than columns.
    #[error("there are {found} fields and {wanted} columns; quote a field that holds a comma")]
    Fields {
        /// In this line.
        found: usize,
        /// In the first.
        wanted: usize,
    },
    /// A column nobody knows.
    #[error(
        "the column {0} is not known; there are serial, secret-hex, secret-base32, type, digits, period, counter, \
         algorithm, user, begins and ends"
    )]
    Column(Box<str>),
    /// A column twice.
    #[error("the column {0} stands twice")]
    ColumnRepeated(Box<str>),
    /// No way to know the key.
    #[error("write the token's key in one of the columns secret-hex and secret-base32")]
    SecretMissing,
    /// A key that cannot be read.
    #[error("the token's key is not hexadecimal (0-9, a-f)")]
    SecretHex,
    /// The same for base32.
    #[error("the token's key is not base32 (A-Z, 2-7)")]
    SecretBase32,
    /// Neither of the two.
    #[error("the type must be totp or hotp; others (OCRA, mOTP, TAN, Yubico OTP …) cannot be taken")]
    Kind,
    /// No number.
    #[error("{0} must be a number in digits")]
    Number(&'static str),
    /// A period of a counter token, or the other way round.
    #[error("{0} does not go with the type of the token; leave it empty")]
    Contradiction(&'static str),
    /// No time.
    #[error("{0} must be a time such as 2026-04-01T00:00:00+09:00")]
    Time(&'static str),
    /// A counter token of privacyIDEA's export as CSV.
    #[error(
        "this layout does not say which counters are used up, so used codes would count again; export counter tokens as PSKC"
    )]
    CounterMissing,
    /// A line of the layout without a header that is too short or too long.
    #[error(
        "write serial, key (hexadecimal), and if need be totp or hotp, digits, period or counter, and algorithm"
    )]
    Shape,
}

/// Which columns a file has.
enum Columns {
    /// Those that its first line names.
    Named(Vec<&'static str>),
    /// `serial, key, type, digits, period or counter, algorithm`, what is not there left to a rule.
    Oath,
    /// The same after `user, resolver, realm`: privacyIDEA's version 2.
    OathOfUsers,
    /// `user@realm, serial, key, type, digits, period`: what privacyIDEA exports. `n/a` is nobody.
    OathOfOwners,
}

/// Reads a CSV file, whichever of the layouts it has.
pub fn read(octets: &[u8]) -> Reading {
    let text = match text(octets) {
        Ok(text) => text,
        Err(why) => return Reading::refused(why),
    };
    let mut gathering = Gathering::default();
    let mut columns = None;
    for (line, at) in text.lines().zip(1..) {
        let place = Place::Line(at);
        if is_version_2(line) && columns.is_none() {
            columns = Some(Columns::OathOfUsers);
            continue;
        }
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let fields = match fields(line) {
            Ok(fields) => fields,
            Err(why) => {
                if gathering.add(place, Err(why.into())) == Onward::Stop {
                    break;
                }
                continue;
            }
        };
        let Some(columns) = &columns else {
            match header(&fields) {
                Ok(Some(named)) => columns = Some(Columns::Named(named)),
                Ok(None) => {
                    let named = if is_export(&fields) { Columns::OathOfOwners } else { Columns::Oath };
                    let _ = gathering.add(place.clone(), bare(&fields, &named, place));
                    columns = Some(named);
                }
                // Without its columns nothing in the file means anything.
                Err(why) => {
                    let _ = gathering.add(place, Err(why.into()));
                    break;
                }
            }
            continue;
        };
        let record = match columns {
            Columns::Named(named) => own(&fields, named, place.clone()),
            bare_columns => bare(&fields, bare_columns, place.clone()),
        };
        if gathering.add(place, record) == Onward::Stop {
            break;
        }
    }
    gathering.finish()
}

fn is_version_2(line: &str) -> bool {
    line.trim()
        .strip_prefix('#')
        .and_then(|comment| comment.trim_start().strip_prefix("version:"))
        .is_some_and(|version| version.trim() == "2")
}

/// The fields of a line (RFC 4180, without line breaks within quotes), blanks around them taken away.
fn fields(line: &str) -> Result<Vec<Zeroizing<String>>, CsvProblem> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.trim_start_matches([' ', '\t']);
        let (field, after) = match start.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (field, after) = split_at_comma(start);
                (Zeroizing::new(field.trim_end().to_owned()), after)
            }
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// A field from behind its opening quotation mark, and what comes after its comma.
fn unquoted(quoted: &str) -> Result<(Zeroizing<String>, Option<&str>), CsvProblem> {
    let mut field = Zeroizing::new(String::with_capacity(quoted.len()));
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"').ok_or(CsvProblem::Quote)?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => {
                let (blank, after) = split_at_comma(after);
                return if blank.trim().is_empty() { Ok((field, after)) } else { Err(CsvProblem::Quote) };
            }
        }
    }
}

fn split_at_comma(text: &str) -> (&str, Option<&str>) {
    text.split_once(',').map_or((text, None), |(field, after)| (field, Some(after)))
}

/// The columns that the first line names; `None` if it is no header but the first token.
fn header(fields: &[Zeroizing<String>]) -> Result<Option<Vec<&'static str>>, CsvProblem> {
    let is_header = fields.iter().any(|field| field.eq_ignore_ascii_case("serial"));
    if !is_header {
        return Ok(None);
    }
    let mut named: Vec<&'static str> = Vec::new();
    for field in fields {
        let column =
            COLUMNS.into_iter().find(|column| field.eq_ignore_ascii_case(column)).ok_or_else(|| {
                CsvProblem::Column(field.chars().filter(|c| !c.is_control()).take(40).collect())
            })?;
        if named.contains(&column) {
            return Err(CsvProblem::ColumnRepeated(column.into()));
        }
        named.push(column);
    }
    let secrets = named.iter().filter(|column| column.starts_with("secret-")).count();
    if secrets == 0 { Err(CsvProblem::SecretMissing) } else { Ok(Some(named)) }
}

/// A line of our own layout.
fn own(fields: &[Zeroizing<String>], named: &[&'static str], place: Place) -> Result<Described, Problem> {
    if fields.len() != named.len() {
        return Err(CsvProblem::Fields { found: fields.len(), wanted: named.len() }.into());
    }
    let field = |wanted: &str| {
        let at = named.iter().position(|&column| column == wanted)?;
        fields.get(at).map(|field| field.as_str()).filter(|field| !field.is_empty())
    };
    let secret = match (field("secret-hex"), field("secret-base32")) {
        (Some(hex), None) => hexadecimal(hex)?,
        (None, Some(base32)) => from_base32(base32)?,
        _ => return Err(CsvProblem::SecretMissing.into()),
    };
    let count =
        |name: &'static str| field(name).map(|text| number(text).ok_or(CsvProblem::Number(name))).transpose();
    let (period, counter) = (count("period")?, count("counter")?);
    let moving = match Kind::parse(field("type").unwrap_or("totp"))? {
        Kind::Totp if counter.is_some() => return Err(CsvProblem::Contradiction("counter").into()),
        Kind::Hotp if period.is_some() => return Err(CsvProblem::Contradiction("period").into()),
        Kind::Totp => KeyMoving::Time { period: Period::from_seconds(period.unwrap_or(30))? },
        Kind::Hotp => KeyMoving::Counter { next: counter.unwrap_or(0) },
    };
    let at =
        |name: &'static str| field(name).map(|text| time(text).ok_or(CsvProblem::Time(name))).transpose();
    Ok(Described {
        place,
        serial: serial(field("serial").unwrap_or_default())?,
        secret,
        algorithm: field("algorithm").map_or(Ok(Algorithm::Sha1), Algorithm::parse)?,
        digits: Digits::new(count("digits")?.unwrap_or(6))?,
        moving,
        begins: at("begins")?,
        ends: at("ends")?,
        user: user(field("user").unwrap_or_default())?,
    })
}

/// Whether a line is of privacyIDEA's export: its type stands where the other layouts have the digits.
fn is_export(fields: &[Zeroizing<String>]) -> bool {
    fields.get(3).is_some_and(|kind| Kind::parse(kind).is_ok())
}

/// A line of a layout without a header.
fn bare(fields: &[Zeroizing<String>], columns: &Columns, place: Place) -> Result<Described, Problem> {
    match columns {
        Columns::OathOfUsers => match fields.split_first_chunk() {
            Some(([name, _resolver, _realm], rest)) => oath(rest, Some(name.as_str()), place),
            None => Err(CsvProblem::Shape.into()),
        },
        Columns::OathOfOwners => match fields.split_first() {
            Some((owner, rest)) if is_export(fields) => {
                let described = oath(rest, owner.rsplit_once('@').map(|(name, _realm)| name), place)?;
                match described.moving {
                    KeyMoving::Time { .. } => Ok(described),
                    KeyMoving::Counter { .. } => Err(CsvProblem::CounterMissing.into()),
                }
            }
            _ => Err(CsvProblem::Shape.into()),
        },
        Columns::Oath | Columns::Named(_) => oath(fields, None, place),
    }
}

/// A line without named columns, as LinOTP and privacyIDEA read it: no type means hotp, no length means six digits, no
/// period means 30 s, and no algorithm means the one whose output is as long as the key.
fn oath(fields: &[Zeroizing<String>], name: Option<&str>, place: Place) -> Result<Described, Problem> {
    if !(2..=6).contains(&fields.len()) {
        return Err(CsvProblem::Shape.into());
    }
    let field = |at: usize| fields.get(at).map(|field| field.as_str()).filter(|field| !field.is_empty());
    let count = |at: usize, name: &'static str| {
        field(at).map(|text| number(text).ok_or(CsvProblem::Number(name))).transpose()
    };
    let serial = serial(field(0).unwrap_or_default())?;
    let secret = hexadecimal(field(1).ok_or(CsvProblem::SecretMissing)?)?;
    let moving = match Kind::parse(field(2).unwrap_or("hotp"))? {
        Kind::Totp => {
            KeyMoving::Time { period: Period::from_seconds(count(4, "the period")?.unwrap_or(30))? }
        }
        Kind::Hotp => KeyMoving::Counter { next: count(4, "the counter")?.unwrap_or(0) },
    };
    let algorithm = match field(5) {
        Some(name) => Algorithm::parse(name)?,
        None => match secret.len() {
            64 => Algorithm::Sha512,
            32 => Algorithm::Sha256,
            _ => Algorithm::Sha1,
        },
    };
    Ok(Described {
        place,
        serial,
        secret,
        algorithm,
        digits: Digits::new(count(3, "the number of digits")?.unwrap_or(6))?,
        moving,
        begins: None,
        ends: None,
        user: user(name.unwrap_or_default())?,
    })
}

enum Kind {
    Totp,
    Hotp,
}

impl Kind {
    /// LinOTP also says `hmac` for hotp.
    fn parse(text: &str) -> Result<Kind, CsvProblem> {
        match text.to_ascii_lowercase().as_str() {
            "totp" => Ok(Kind::Totp),
            "hotp" | "hmac" => Ok(Kind::Hotp),
            _ => Err(CsvProblem::Kind),
        }
    }
}

fn hexadecimal(text: &str) -> Result<Secret, Problem> {
    let octets = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| CsvProblem::SecretHex)?;
    usable(octets)
}

fn from_base32(text: &str) -> Result<Secret, Problem> {
    let letters: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.trim_end_matches('=').bytes().map(|b| b.to_ascii_uppercase()).collect());
    let octets = BASE32_NOPAD.decode(&letters).map_err(|_| CsvProblem::SecretBase32)?;
    usable(octets)
}

fn usable(octets: Vec<u8>) -> Result<Secret, Problem> {
    let secret = Secret::new(octets);
    check_secret(secret.expose())?;
    Ok(secret)
}
