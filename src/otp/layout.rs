//! Where in the field the password ends and the code begins.

use super::{Code, Digits};
use std::fmt;

/// How password and code share one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The password, then the code, nothing between.
    PasswordCode,
    /// The code, then the password, nothing between.
    CodePassword,
    /// The code alone.
    Code,
    /// Password and code with a text between them.
    Separated {
        /// The text between.
        separator: Separator,
        /// Which of the two stands first.
        first: First,
    },
}

/// Which part of a separated field stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Password, separator, code.
    Password,
    /// Code, separator, password.
    Code,
}

/// 1 to 8 characters of ASCII punctuation or blanks. Letters and digits are refused: they are a misspelt layout more
/// often than a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Separator(Box<str>);

impl Separator {
    /// Takes the text between password and code.
    ///
    /// # Errors
    /// [`LayoutProblem::Separator`] for anything else than the type says.
    pub fn new(text: &str) -> Result<Separator, LayoutProblem> {
        let usable = |b: u8| b == b' ' || b.is_ascii_punctuation();
        if (1..=8).contains(&text.len()) && text.bytes().all(usable) {
            Ok(Separator(text.into()))
        } else {
            Err(LayoutProblem::Separator)
        }
    }
}

/// A text that names no layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutProblem {
    /// The words are not there, or more than them.
    #[error(
        "use password-code, code-password, code, or both words around a separator such as \"password,code\""
    )]
    Words,
    /// Something else than punctuation stands between the words.
    #[error("the separator between password and code must be 1 to 8 ASCII punctuation marks or blanks")]
    Separator,
}

impl Layout {
    /// Reads the form in configuration: `password-code`, `code-password`, `code`, or both words around a separator
    /// such as `password,code`. A lone `-` means that nothing stands between, so it cannot be a separator.
    ///
    /// # Errors
    /// See [`LayoutProblem`].
    pub fn parse(text: &str) -> Result<Layout, LayoutProblem> {
        let (first, between) = match text {
            "password-code" => return Ok(Layout::PasswordCode),
            "code-password" => return Ok(Layout::CodePassword),
            "code" => return Ok(Layout::Code),
            _ => {
                let between =
                    |start, end| text.strip_prefix(start).and_then(|rest: &str| rest.strip_suffix(end));
                between("password", "code")
                    .map(|between| (First::Password, between))
                    .or_else(|| between("code", "password").map(|between| (First::Code, between)))
                    .ok_or(LayoutProblem::Words)?
            }
        };
        Ok(Layout::Separated { separator: Separator::new(between)?, first })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::PasswordCode => f.write_str("password-code"),
            Layout::CodePassword => f.write_str("code-password"),
            Layout::Code => f.write_str("code"),
            Layout::Separated { separator, first: First::Password } => {
                write!(f, "password{}code", separator.0)
            }
            Layout::Separated { separator, first: First::Code } => write!(f, "code{}password", separator.0),
        }
    }
}

/// A field cut in two.
#[derive(PartialEq, Eq)]
pub struct Cut<'field> {
    /// The password, octet for octet; may be empty, and is for [`Layout::Code`].
    pub password: &'field [u8],
    /// The code.
    pub code: Code,
}

/// Cuts the field for a token with codes of this length; `None` if no such code stands where it should.
///
/// The code is the exact number of octets at its end of the field, and the separator is the one next to it, so a
/// password may hold digits and separators as it likes.
pub fn cut<'field>(layout: &Layout, field: &'field [u8], digits: Digits) -> Option<Cut<'field>> {
    let from_end = || field.split_at_checked(field.len().checked_sub(digits.count())?);
    let from_start = || field.split_at_checked(digits.count());
    let (password, code) = match layout {
        Layout::Code => (&[][..], field),
        Layout::PasswordCode => from_end()?,
        Layout::CodePassword => from_start().map(|(code, password)| (password, code))?,
        Layout::Separated { separator, first: First::Password } => {
            let (rest, code) = from_end()?;
            (rest.strip_suffix(separator.0.as_bytes())?, code)
        }
        Layout::Separated { separator, first: First::Code } => {
            let (code, rest) = from_start()?;
            (rest.strip_prefix(separator.0.as_bytes())?, code)
        }
    };
    Some(Cut { password, code: Code::parse(code, digits)? })
}

/// Whether a code of any length could stand in the field. A password that ends in six digits looks the same; with
/// `when-missing` it is taken for password and code.
pub fn has_code_shape(layout: &Layout, field: &[u8]) -> bool {
    Digits::ALL.into_iter().any(|digits| cut(layout, field, digits).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(layout: &str, field: &[u8], digits: Digits) -> Option<(Vec<u8>, String)> {
        let layout = Layout::parse(layout).unwrap();
        cut(&layout, field, digits).map(|cut| (cut.password.to_vec(), cut.code.expose()))
    }

    #[test]
    fn layouts_read_and_print() {
        for text in
            ["password-code", "code-password", "code", "password,code", "code, password", "password--code"]
        {
            assert_eq!(Layout::parse(text).unwrap().to_string(), text);
        }
        for (bad, problem) in [
            ("", LayoutProblem::Words),
            ("password", LayoutProblem::Words),
            ("passwordcode", LayoutProblem::Separator),
            ("password1code", LayoutProblem::Separator),
            ("password、code", LayoutProblem::Separator),
            ("password,,,,,,,,,code", LayoutProblem::Separator),
            ("Password-Code", LayoutProblem::Words),
        ] {
            assert_eq!(Layout::parse(bad), Err(problem), "{bad}");
        }
    }

    #[test]
    fn the_code_stands_at_its_end_of_the_field() {
        let six = Digits::SIX;
        for (layout, field, password, code) in [
            ("password-code", "pass123456", "pass", "123456"),
            ("password-code", "9876543210", "9876", "543210"),
            ("password-code", " a b 000001", " a b ", "000001"),
            ("code-password", "123456pass", "pass", "123456"),
            ("code-password", "123456789", "789", "123456"),
            ("code", "123456", "", "123456"),
            ("password,code", "a,b,123456", "a,b", "123456"),
            ("password,code", "a,123456,654321", "a,123456", "654321"),
            ("password,code", "a,,123456", "a,", "123456"),
            ("code,password", "123456,a,b", "a,b", "123456"),
            ("code,password", "123456,,b", ",b", "123456"),
        ] {
            let expected = Some((password.as_bytes().to_vec(), code.to_owned()));
            assert_eq!(parts(layout, field.as_bytes(), six), expected, "{layout} {field}");
        }
    }

    #[test]
    fn otp_14_and_15_no_code_no_cut() {
        for (layout, field) in [
            ("password-code", "12345"),
            ("password-code", "pass12345x"),
            ("password-code", "pass１２３４５６"),
            ("password-code", "pass+12345"),
            ("code-password", "12345pass"),
            ("code", "1234567"),
            ("code", "x123456"),
            ("password,code", "pass123456"),
            ("password,code", "a,1234567"),
            ("password,code", "123456"),
            ("code,password", "1234567,a"),
        ] {
            assert_eq!(parts(layout, field.as_bytes(), Digits::SIX), None, "{layout} {field}");
        }
        assert_eq!(parts("password-code", b"123456", Digits::SIX), Some((vec![], "123456".into())));
    }

    #[test]
    fn a_code_of_any_length_gives_the_shape() {
        for (layout, field, shape) in [
            ("password-code", "pass123456", true),
            ("password-code", "pass12345", false),
            ("password,code", "pass,12345678", true),
            ("password,code", "pass,123456789", false),
            ("password,code", "pass123456", false),
            ("code", "1234567", true),
            ("code", "123456789", false),
            ("code-password", "123456", true),
        ] {
            assert_eq!(
                has_code_shape(&Layout::parse(layout).unwrap(), field.as_bytes()),
                shape,
                "{layout} {field}"
            );
        }
    }

    proptest! {
        /// Whatever is put together comes apart again, octet for octet.
        #[test]
        fn a_cut_neither_loses_nor_invents_an_octet(
            password in proptest::collection::vec(any::<u8>(), 0..120),
            value in 0u32..1_000_000,
            digits in 0usize..3,
            layout in prop::sample::select(vec!["password-code", "code-password", "password,code", "code: password"]),
        ) {
            let digits = Digits::ALL[digits];
            let code = Code::shown(value, digits).expose();
            let (before, after) = (layout.starts_with("password"), Layout::parse(layout).unwrap());
            let between = match &after { Layout::Separated { separator, .. } => separator.0.to_string(), _ => String::new() };
            let field = if before {
                [&password, between.as_bytes(), code.as_bytes()].concat()
            } else {
                [code.as_bytes(), between.as_bytes(), &password].concat()
            };
            let cut = cut(&after, &field, digits).unwrap();
            prop_assert_eq!(cut.password, &password[..]);
            prop_assert_eq!(cut.code.expose(), code);
        }

        /// Whatever is cut goes together again to the same field.
        #[test]
        fn any_field_that_cuts_goes_together_again(field in proptest::collection::vec(
            prop_oneof![4 => b'0'..=b'9', 1 => Just(b','), 1 => any::<u8>()], 0..20,
        )) {
            for layout in ["password-code", "code-password", "code", "password,code", "code,password"] {
                let layout = Layout::parse(layout).unwrap();
                let Some(Cut { password, code }) = cut(&layout, &field, Digits::SIX) else { continue };
                let code = code.expose().into_bytes();
                let whole = match layout {
                    Layout::Code => code,
                    Layout::PasswordCode => [password, &code].concat(),
                    Layout::CodePassword => [&code, password].concat(),
                    Layout::Separated { first: First::Password, .. } => [password, b",", &code].concat(),
                    Layout::Separated { first: First::Code, .. } => [&code, &b","[..], password].concat(),
                };
                prop_assert_eq!(&whole, &field);
            }
        }
    }
}
