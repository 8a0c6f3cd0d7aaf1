//! How tokens of a service come and go: waiting times, the nightly window, start passwords, lifetimes.

use super::ClosedDay;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The rules for the life of a service's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenLife {
    /// How long after a revocation a new token may be set up (S-19).
    pub reissue_after: Duration,
    /// A revocation in these hours opens at their end instead (S-19).
    pub reissue_closed: Option<ClosedHours>,
    /// Days on which nothing opens.
    pub closed_days: Vec<ClosedDay>,
    /// The bank's time zone, an IANA name: the hours above and all dates are read in it.
    pub time_zone: Box<str>,
    /// What a start password looks like.
    pub start_password: StartPassword,
    /// How long a setup waits for the app (S-14).
    pub setup_lifetime: Duration,
    /// How long a new token is valid; `None` for ever.
    pub lifetime: Option<Duration>,
    /// How long before its end a token may be renewed.
    pub renewal_from: Duration,
    /// What `user-choice` means for a user who has never chosen.
    pub undecided: Undecided,
}

impl Default for TokenLife {
    /// What the manuals of P-A and P-D say, without a nightly window and without an end.
    fn default() -> TokenLife {
        TokenLife {
            reissue_after: Duration::from_secs(30 * 60),
            reissue_closed: None,
            closed_days: Vec::new(),
            time_zone: "Asia/Tokyo".into(),
            start_password: StartPassword::DEFAULT,
            setup_lifetime: Duration::from_secs(7 * 86_400),
            lifetime: None,
            renewal_from: Duration::from_secs(30 * 86_400),
            undecided: Undecided::Required,
        }
    }
}

/// What `user-choice` means for a user who has never chosen (S-08).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// A code is needed.
    Required,
    /// None is needed.
    NotRequired,
}

/// A time of day on a clock on the wall, to the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinuteOfDay(u16);

impl MinuteOfDay {
    /// The first minute of a day.
    pub const MIDNIGHT: MinuteOfDay = MinuteOfDay(0);

    /// Hours 0 to 23, minutes 0 to 59; `None` for anything else.
    pub fn new(hour: u8, minute: u8) -> Option<MinuteOfDay> {
        (hour < 24 && minute < 60).then(|| MinuteOfDay(u16::from(hour) * 60 + u16::from(minute)))
    }

    /// The hour, 0 to 23.
    pub fn hour(self) -> u8 {
        u8::try_from(self.0 / 60).unwrap_or(0)
    }

    /// The minute, 0 to 59.
    pub fn minute(self) -> u8 {
        u8::try_from(self.0 % 60).unwrap_or(0)
    }
}

impl fmt::Display for MinuteOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour(), self.minute())
    }
}

/// Hours of every day in which nothing opens, such as `20:50-08:10`: the first minute belongs to them, the last does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedHours {
    begin: MinuteOfDay,
    end: MinuteOfDay,
}

impl ClosedHours {
    /// # Errors
    /// Equal times: nobody could say whether that is never or always.
    pub fn new(begin: MinuteOfDay, end: MinuteOfDay) -> Result<ClosedHours, LifeProblem> {
        if begin == end { Err(LifeProblem::ClosedHours) } else { Ok(ClosedHours { begin, end }) }
    }

    /// When they begin.
    pub const fn begin(self) -> MinuteOfDay {
        self.begin
    }

    /// When they end; earlier than the beginning when midnight lies between.
    pub const fn end(self) -> MinuteOfDay {
        self.end
    }

    /// Whether a time of day is in them.
    pub fn contains(self, time: MinuteOfDay) -> bool {
        if self.begin < self.end {
            (self.begin..self.end).contains(&time)
        } else {
            time >= self.begin || time < self.end
        }
    }
}

impl FromStr for ClosedHours {
    type Err = LifeProblem;

    fn from_str(text: &str) -> Result<ClosedHours, LifeProblem> {
        let time = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            MinuteOfDay::new(two_digits(hour)?, two_digits(minute)?)
        };
        let (begin, end) = text.split_once('-').ok_or(LifeProblem::ClosedHours)?;
        let times = Option::zip(time(begin), time(end));
        times.ok_or(LifeProblem::ClosedHours).and_then(|(begin, end)| ClosedHours::new(begin, end))
    }
}

impl fmt::Display for ClosedHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.begin, self.end)
    }
}

/// What a start password looks like: so many ASCII digits (S-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartPassword {
    shortest: u8,
    longest: u8,
}

impl StartPassword {
    /// 4 to 8 digits, as in P-D.
    pub const DEFAULT: StartPassword = StartPassword { shortest: 4, longest: 8 };

    /// # Errors
    /// Fewer than 4 or more than 32 digits, or bounds the wrong way round.
    pub fn new(shortest: u8, longest: u8) -> Result<StartPassword, LifeProblem> {
        if 4 <= shortest && shortest <= longest && longest <= 32 {
            Ok(StartPassword { shortest, longest })
        } else {
            Err(LifeProblem::StartPassword)
        }
    }

    /// Whether a user may choose it.
    pub fn allows(self, password: &[u8]) -> bool {
        (usize::from(self.shortest)..=usize::from(self.longest)).contains(&password.len())
            && password.iter().all(u8::is_ascii_digit)
    }
}

/// Reads `4-8 digits` or `6 digits`.
impl FromStr for StartPassword {
    type Err = LifeProblem;

    fn from_str(text: &str) -> Result<StartPassword, LifeProblem> {
        let range = text.strip_suffix(" digits").ok_or(LifeProblem::StartPassword)?;
        let (shortest, longest) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| -> Option<u8> {
            text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
        };
        let bounds = Option::zip(number(shortest), number(longest));
        bounds.ok_or(LifeProblem::StartPassword).and_then(|(from, to)| StartPassword::new(from, to))
    }
}

impl fmt::Display for StartPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shortest == self.longest {
            write!(f, "{} digits", self.shortest)
        } else {
            write!(f, "{}-{} digits", self.shortest, self.longest)
        }
    }
}

/// A rule that cannot be read or kept: the fault of whoever configured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifeProblem {
    /// Hours that are none.
    #[error("closed hours must be two different times of day such as 20:50-08:10")]
    ClosedHours,
    /// A start password that nobody could choose or anybody could guess.
    #[error("a start password must be described as \"4-8 digits\" or \"6 digits\", between 4 and 32")]
    StartPassword,
}

fn two_digits(text: &str) -> Option<u8> {
    (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_19_closed_hours_span_midnight() {
        let night: ClosedHours = "20:50-08:10".parse().unwrap();
        let noon: ClosedHours = "11:00-13:00".parse().unwrap();
        for (hour, minute, in_night, in_noon) in [
            (20, 49, false, false),
            (20, 50, true, false),
            (0, 0, true, false),
            (8, 9, true, false),
            (8, 10, false, false),
            (11, 0, false, true),
            (12, 59, false, true),
            (13, 0, false, false),
        ] {
            let time = MinuteOfDay::new(hour, minute).unwrap();
            assert_eq!((night.contains(time), noon.contains(time)), (in_night, in_noon), "{time}");
        }
        assert_eq!(night.to_string(), "20:50-08:10");
        for bad in [
            "",
            "20:50",
            "20:50-24:00",
            "8:10-20:50",
            "08:10-08:10",
            "08:60-09:00",
            "+8:10-20:50",
            "08:10–20:50",
        ] {
            assert_eq!(bad.parse::<ClosedHours>(), Err(LifeProblem::ClosedHours), "{bad}");
        }
    }

    #[test]
    fn s_12_start_passwords_are_digits() {
        let rule: StartPassword = "4-8 digits".parse().unwrap();
        for (password, good) in [
            ("123", false),
            ("1234", true),
            ("12345678", true),
            ("123456789", false),
            ("12a4", false),
            ("１２３４", false),
        ] {
            assert_eq!(rule.allows(password.as_bytes()), good, "{password}");
        }
        for text in ["4-8 digits", "6 digits", "4-32 digits"] {
            assert_eq!(text.parse::<StartPassword>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "digits",
            "8",
            "3-8 digits",
            "8-4 digits",
            "4-33 digits",
            "-4 digits",
            "+4 digits",
            "4-8 letters",
        ] {
            assert_eq!(bad.parse::<StartPassword>(), Err(LifeProblem::StartPassword), "{bad}");
        }
    }
}
