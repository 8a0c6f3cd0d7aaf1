//! Files with tokens in them: PSKC (RFC 6030), CSV and lists of otpauth URIs, read into one shape and written as PSKC.
//!
//! A file is read whole: every record that cannot be taken is named with its place, what is wrong with it and what would
//! be right. Whether the good ones are taken nevertheless is for the caller to say ([`Reading::whole`]).

mod csv;
mod otpauth;
mod owners;
pub mod pskc;

#[cfg(test)]
mod tests;

pub use csv::{CsvProblem, read as read_csv};
pub use otpauth::read as read_otpauth;
pub use owners::{Owners, OwnersProblem, read as read_owners};

use crate::clock::Wall;
use crate::identity::TokenSerial;
use crate::otp::uri::{KeyMoving, UriProblem};
use crate::otp::{Algorithm, Digits, LookAhead, Moving, ParameterProblem, Parameters, Window};
use crate::secret::Secret;
use std::collections::HashMap;
use std::fmt;

/// The largest file, in octets.
pub const FILE_MAX: usize = 32 << 20;

/// The most tokens in one file. A parsed PSKC document takes some kilobytes of memory for each.
pub const TOKENS_MAX: usize = 20_000;

/// The most records that are refused one by one; a file with more is none of the format.
pub const REFUSED_MAX: usize = 1000;

/// The longest serial number, in characters.
pub const SERIAL_MAX: usize = 64;

/// The longest user name in a file, in octets (RFC 2865 §5).
const USER_MAX: usize = 253;

/// One token as a file describes it.
#[derive(Debug)]
pub struct Described {
    /// Where it stands.
    pub place: Place,
    /// Its serial number.
    pub serial: TokenSerial,
    /// Its key, of a length that a token may have.
    pub secret: Secret,
    /// The hash inside the HMAC.
    pub algorithm: Algorithm,
    /// How long a code is.
    pub digits: Digits,
    /// What moves its codes on, and from where.
    pub moving: KeyMoving,
    /// Not usable before this time.
    pub begins: Option<Wall>,
    /// Not usable from this time on.
    pub ends: Option<Wall>,
    /// Whose it is, if the file says so.
    pub user: Option<Box<str>>,
}

impl Described {
    /// What its codes are made of; no file says how wide the window is.
    pub fn parameters(&self) -> Parameters {
        Parameters {
            algorithm: self.algorithm,
            digits: self.digits,
            moving: match self.moving {
                KeyMoving::Time { period } => Moving::Time { period },
                KeyMoving::Counter { .. } => Moving::Counter { look_ahead: LookAhead::DEFAULT },
            },
            window: Window::ONE,
        }
    }
}

/// Where something stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Everywhere: it concerns the file.
    File,
    /// On a line, counted from 1.
    Line(usize),
    /// In an element of an XML document.
    Element {
        /// The line it begins on, counted from 1.
        line: usize,
        /// The way to it, such as `KeyPackage[2]/Key/Data/Secret`.
        path: Box<str>,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => f.write_str("the file"),
            Place::Line(line) => write!(f, "line {line}"),
            Place::Element { line, path } => write!(f, "line {line}, {path}"),
        }
    }
}

/// What reading a file came to.
#[derive(Debug, Default)]
pub struct Reading {
    /// The tokens that can be taken, in the order of the file.
    pub tokens: Vec<Described>,
    /// What cannot, in the order of the file.
    pub refused: Vec<Refused>,
}

/// Something in a file that cannot be taken. It never repeats a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it stands.
    pub place: Place,
    /// Why, and what would be right.
    pub why: Problem,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// Why something in a file cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Too many octets.
    #[error("it is larger than 32 MiB; split it")]
    TooLarge,
    /// Not text.
    #[error("it is not UTF-8 text; convert it first")]
    NotText,
    /// Nothing in it.
    #[error("there is no token in it; is it the right file and format?")]
    NoToken,
    /// Too many tokens.
    #[error("there are more than 20000 tokens in it; split the file")]
    TooManyTokens,
    /// Too many mistakes to list.
    #[error("there are more than 1000 mistakes; the rest of the file was not read: is it the right format?")]
    TooManyMistakes,
    /// No serial number.
    #[error("the serial number is missing")]
    SerialMissing,
    /// A serial number that cannot be typed, printed or searched for.
    #[error("a serial number has 1 to 64 letters, digits and -._:+@")]
    SerialUnfit,
    /// The same serial number twice.
    #[error("the serial number stands at {0} already; each token has its own")]
    SerialRepeated(Place),
    /// A user name that no request can carry.
    #[error("a user name has 1 to 253 octets and no control characters")]
    User,
    /// Two users in a list of whose token is whose.
    #[error("another line gives the token to another user; each token has one")]
    OwnerRepeated,
    /// A line of such a list that is none.
    #[error(transparent)]
    Owners(#[from] OwnersProblem),
    /// An end before the beginning.
    #[error("the token's time ends before it begins")]
    Times,
    /// PSKC that is none, or that is not verified.
    #[error(transparent)]
    Pskc(#[from] pskc::PskcProblem),
    /// A line of CSV that is none.
    #[error(transparent)]
    Csv(#[from] CsvProblem),
    /// A URI that is none.
    #[error(transparent)]
    Uri(#[from] UriProblem),
    /// A value out of its bounds.
    #[error(transparent)]
    Parameter(#[from] ParameterProblem),
}

impl Reading {
    /// All tokens of a file without a mistake.
    ///
    /// # Errors
    /// Everything that cannot be taken; then nothing is.
    pub fn whole(self) -> Result<Vec<Described>, Vec<Refused>> {
        if self.refused.is_empty() { Ok(self.tokens) } else { Err(self.refused) }
    }

    fn refused(why: Problem) -> Reading {
        Reading { tokens: Vec::new(), refused: vec![Refused { place: Place::File, why }] }
    }
}

/// Gathers what a file holds, and holds it to the bounds that every format shares.
#[derive(Default)]
struct Gathering {
    reading: Reading,
    serials: HashMap<TokenSerial, Place>,
}

/// Whether reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Onward {
    Continue,
    Stop,
}

impl Gathering {
    /// Takes a record or its refusal.
    fn add(&mut self, place: Place, record: Result<Described, Problem>) -> Onward {
        let record = record.and_then(|token| self.fresh(token));
        match record {
            Ok(token) if self.reading.tokens.len() < TOKENS_MAX => {
                self.serials.insert(token.serial.clone(), token.place.clone());
                self.reading.tokens.push(token);
                Onward::Continue
            }
            Ok(_) => self.stop(Problem::TooManyTokens),
            Err(_) if self.reading.refused.len() >= REFUSED_MAX => self.stop(Problem::TooManyMistakes),
            Err(why) => {
                self.reading.refused.push(Refused { place, why });
                Onward::Continue
            }
        }
    }

    fn fresh(&self, token: Described) -> Result<Described, Problem> {
        if let Some(earlier) = self.serials.get(&token.serial) {
            return Err(Problem::SerialRepeated(earlier.clone()));
        }
        if token.begins.zip(token.ends).is_some_and(|(begins, ends)| ends <= begins) {
            return Err(Problem::Times);
        }
        Ok(token)
    }

    fn stop(&mut self, why: Problem) -> Onward {
        self.reading.refused.push(Refused { place: Place::File, why });
        Onward::Stop
    }

    fn finish(mut self) -> Reading {
        if self.reading.tokens.is_empty() && self.reading.refused.is_empty() {
            self.stop(Problem::NoToken);
        }
        self.reading
    }
}

/// The text of a file, without the mark that some editors put before it.
fn text(octets: &[u8]) -> Result<&str, Problem> {
    if octets.len() > FILE_MAX {
        return Err(Problem::TooLarge);
    }
    let text = std::str::from_utf8(octets).map_err(|_| Problem::NotText)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A serial number that people can type and every edge can carry.
///
/// # Errors
/// [`Problem::SerialMissing`] and [`Problem::SerialUnfit`].
pub fn serial(text: &str) -> Result<TokenSerial, Problem> {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"-._:+@".contains(&b);
    match text.len() {
        0 => Err(Problem::SerialMissing),
        1..=SERIAL_MAX if text.bytes().all(fit) => Ok(TokenSerial::new(text)),
        _ => Err(Problem::SerialUnfit),
    }
}

/// A user name, or none where the text is empty.
fn user(text: &str) -> Result<Option<Box<str>>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let fit = text.len() <= USER_MAX && !text.chars().any(char::is_control);
    if fit { Ok(Some(text.into())) } else { Err(Problem::User) }
}

/// A point in time with its zone, as RFC 3339 and XML Schema write it.
fn time(text: &str) -> Option<Wall> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_second()).ok().map(Wall::from_seconds)
}

/// Digits only: `u64::from_str` would also take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}
