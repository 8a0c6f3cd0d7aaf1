//! Values in the forms that directories write them in: numbers and times, read strictly and without overflow.

use crate::clock::Wall;
use std::time::Duration;

/// A time that Active Directory may also write as "never" (0 or the largest number).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeverOr {
    /// No such time.
    Never,
    /// This time.
    At(Wall),
}

/// An Integer (RFC 4517 §3.3.16); leading zeros are let pass, a plus sign and blanks are not.
pub(super) fn integer(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// 100-nanosecond intervals since 1601-01-01T00:00:00Z; times before 1970 read as 1970.
pub fn file_time(value: &[u8]) -> Option<NeverOr> {
    const SECONDS_TO_1970: u64 = 11_644_473_600;
    match u64::try_from(integer(value)?).ok()? {
        0 | 0x7fff_ffff_ffff_ffff => Some(NeverOr::Never),
        intervals => {
            let nanos = Duration::from_nanos((intervals % 10_000_000) * 100);
            let at = match (intervals / 10_000_000).checked_sub(SECONDS_TO_1970) {
                Some(seconds) => Wall::from_seconds(seconds).plus(nanos),
                None => Wall::default(),
            };
            Some(NeverOr::At(at))
        }
    }
}

/// A Generalized Time (RFC 4517 §3.3.13): `YYYYMMDDHH[MM[SS]][.fraction](Z|±HH[MM])`; the fraction belongs to the last
/// unit written. A second of 60 is let pass (a leap second); times before 1970 read as 1970.
pub fn generalized_time(value: &[u8]) -> Option<Wall> {
    let mut rest = value;
    let year = number(&mut rest, 4)?;
    let month = number(&mut rest, 2).filter(|month| (1..=12).contains(month))?;
    let day = number(&mut rest, 2).filter(|&day| day >= 1 && day <= days_in(year, month))?;
    let hour = number(&mut rest, 2).filter(|&hour| hour <= 23)?;
    let (mut minute, mut second, mut unit) = (0, 0, 3600);
    if starts_with_digit(rest) {
        (minute, unit) = (number(&mut rest, 2).filter(|&minute| minute <= 59)?, 60);
        if starts_with_digit(rest) {
            (second, unit) = (number(&mut rest, 2).filter(|&second| second <= 60)?, 1);
        }
    }
    let mut fraction = 0;
    if let [b'.' | b',', digits @ ..] = rest {
        let length = digits.iter().take_while(|octet| octet.is_ascii_digit()).count();
        let (digits, after) = digits.split_at_checked(length).filter(|(digits, _)| !digits.is_empty())?;
        // Nanoseconds are what the clock knows; further digits change nothing.
        fraction =
            digits.iter().chain(&[b'0'; 9]).take(9).fold(0, |sum, octet| sum * 10 + u64::from(octet - b'0'));
        rest = after;
    }
    let east = match rest {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), offset @ ..] => {
            let mut offset = offset;
            let hours = number(&mut offset, 2).filter(|&hours| hours <= 23)?;
            let minutes = match offset {
                [] => 0,
                _ => number(&mut offset, 2).filter(|&minutes| minutes <= 59)?,
            };
            let seconds = i64::try_from(hours * 3600 + minutes * 60).ok().filter(|_| offset.is_empty())?;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let of_day = i64::try_from(hour * 3600 + minute * 60 + second).ok()?;
    let seconds = days_since_1970(year, month, day)? * 86_400 + of_day - east;
    let Ok(seconds) = u64::try_from(seconds) else { return Some(Wall::default()) };
    Some(Wall::from_seconds(seconds).plus(Duration::from_nanos(fraction * unit)))
}

/// Writes a time as a Generalized Time of whole seconds, in UTC.
pub fn generalized(at: Wall) -> String {
    let seconds = i64::try_from(at.seconds()).unwrap_or(i64::MAX);
    // The last second that four digits of a year can hold stands for everything after it.
    let at =
        jiff::Timestamp::from_second(seconds.min(253_402_214_399)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y%m%d%H%M%SZ").to_string()
}

fn starts_with_digit(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit)
}

/// Takes a number of exactly `digits` digits (at most 4) from the front.
fn number(rest: &mut &[u8], digits: usize) -> Option<u64> {
    let (front, after) = rest.split_at_checked(digits)?;
    *rest = after;
    let all = front.iter().all(u8::is_ascii_digit);
    all.then(|| front.iter().fold(0, |sum, octet| sum * 10 + u64::from(octet - b'0')))
}

fn days_in(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, for years 0 to 9999: whole years, with one day more for each leap
/// year before this one, then the months of this year.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<i64> {
    // Year 0 is a leap year, so years 0 to y - 1 hold one more than the multiples of four below y say.
    let before = year.saturating_sub(1);
    let leaps = if year == 0 { 0 } else { before / 4 - before / 100 + before / 400 + 1 };
    let months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    let since_zero = i64::try_from(year * 365 + leaps + months + day - 1).ok()?;
    const FROM_ZERO_TO_1970: i64 = 719_528;
    Some(since_zero - FROM_ZERO_TO_1970)
}
