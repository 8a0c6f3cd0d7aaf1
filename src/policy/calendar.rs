//! When a new token may follow a revoked one: the waiting time, the night and the closed days, in the bank's time zone
//! (S-19).

use super::{ClosedHours, MinuteOfDay, TokenLife};
use crate::clock::Wall;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::str::FromStr;

/// A day on which nothing opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedDay {
    /// This one day.
    Date(Date),
    /// Every year on this day: month and day of the month.
    Yearly(i8, i8),
    /// Every week: 1 for Monday to 7 for Sunday.
    Weekly(i8),
}

/// The days of the week as configuration writes them, Monday first.
const WEEK: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Reads `2026-12-31`, `12-31` (every year) or `sunday` (every week).
impl FromStr for ClosedDay {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<ClosedDay, NoDay> {
        if let Some(at) = WEEK.iter().position(|day| *day == text) {
            return i8::try_from(at).map(|at| ClosedDay::Weekly(at.saturating_add(1))).map_err(|_| NoDay);
        }
        if text.len() == 5 {
            // A leap year, so that 02-29 is a day.
            let date: Date = format!("2000-{text}").parse().map_err(|_| NoDay)?;
            return Ok(ClosedDay::Yearly(date.month(), date.day()));
        }
        let date: Date = text.parse().map_err(|_| NoDay)?;
        if text.len() == 10 { Ok(ClosedDay::Date(date)) } else { Err(NoDay) }
    }
}

/// A text that names no day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a closed day is written 2026-12-31, 12-31 (every year) or sunday (every week)")]
pub struct NoDay;

impl ClosedDay {
    fn is(self, date: Date) -> bool {
        match self {
            ClosedDay::Date(day) => day == date,
            ClosedDay::Yearly(month, day) => (month, day) == (date.month(), date.day()),
            ClosedDay::Weekly(day) => date.weekday().to_monday_one_offset() == day,
        }
    }
}

/// Closed days that follow each other are looked at for a year; whoever closes longer opens after it.
const DAYS_MAX: usize = 366;

/// When a new token may follow one that was revoked at `revoked`, in the bank's time zone.
///
/// A revocation in the closed hours opens at their end, any other after the waiting time; what would open on a closed
/// day opens on the next day that is none, when the closed hours end. A time of day that does not exist, because the
/// clocks are put forward, is the first one after it; one that exists twice is the later one.
pub fn opening(revoked: Wall, life: &TokenLife, zone: &TimeZone) -> Wall {
    let waited = revoked.plus(life.reissue_after);
    let (Some(at), Some(after)) = (local(revoked, zone), local(waited, zone)) else { return waited };
    let begins = |date: Date| (date, life.reissue_closed.map_or(Time::midnight(), |hours| time(hours.end())));
    let night = life.reissue_closed.filter(|hours| hours.contains(minute(&at)));
    let (mut date, mut opens) = match night {
        Some(hours) => end_of_night(&at, hours),
        None => (after.date(), None),
    };
    for _ in 0..DAYS_MAX {
        if !life.closed_days.iter().any(|day| day.is(date)) {
            break;
        }
        let Ok(next) = date.tomorrow() else { break };
        let (next, begin) = begins(next);
        (date, opens) = (next, Some(begin));
    }
    match opens {
        None => waited,
        Some(time) => wall(date, time, zone).unwrap_or(waited),
    }
}

/// The day and the time at which the closed hours around `at` end.
fn end_of_night(at: &Zoned, hours: ClosedHours) -> (Date, Option<Time>) {
    let spans_midnight = hours.end() <= hours.begin();
    let date = if spans_midnight && minute(at) >= hours.begin() {
        at.date().tomorrow().unwrap_or(at.date())
    } else {
        at.date()
    };
    (date, Some(time(hours.end())))
}

fn local(wall: Wall, zone: &TimeZone) -> Option<Zoned> {
    let seconds = i64::try_from(wall.seconds()).ok()?;
    Some(Timestamp::from_second(seconds).ok()?.to_zoned(zone.clone()))
}

fn wall(date: Date, time: Time, zone: &TimeZone) -> Option<Wall> {
    let zoned = zone.to_ambiguous_zoned(date.to_datetime(time)).later().ok()?;
    u64::try_from(zoned.timestamp().as_second()).ok().map(Wall::from_seconds)
}

fn minute(at: &Zoned) -> MinuteOfDay {
    let part = |number: i8| u8::try_from(number).unwrap_or(0);
    MinuteOfDay::new(part(at.hour()), part(at.minute())).unwrap_or(MinuteOfDay::MIDNIGHT)
}

fn time(minute: MinuteOfDay) -> Time {
    let part = |number: u8| i8::try_from(number).unwrap_or(0);
    Time::new(part(minute.hour()), part(minute.minute()), 0, 0).unwrap_or(Time::midnight())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, zone: &TimeZone) -> Wall {
        let civil: jiff::civil::DateTime = text.parse().unwrap();
        wall(civil.date(), civil.time(), zone).unwrap()
    }

    fn life(closed: Option<&str>, days: &[&str]) -> TokenLife {
        TokenLife {
            reissue_closed: closed.map(|hours| hours.parse().unwrap()),
            closed_days: days.iter().map(|day| day.parse().unwrap()).collect(),
            ..TokenLife::default()
        }
    }

    #[test]
    fn s_19_half_an_hour_by_day_and_ten_past_eight_by_night() {
        let tokyo = TimeZone::get("Asia/Tokyo").unwrap();
        let night = life(Some("20:50-08:10"), &[]);
        for (revoked, opens) in [
            ("2026-11-25T12:00:00", "2026-11-25T12:30:00"),
            ("2026-11-25T20:49:59", "2026-11-25T21:19:59"),
            ("2026-11-25T20:50:00", "2026-11-26T08:10:00"),
            ("2026-11-25T23:59:59", "2026-11-26T08:10:00"),
            ("2026-11-26T00:00:00", "2026-11-26T08:10:00"),
            ("2026-11-26T08:09:59", "2026-11-26T08:10:00"),
            ("2026-11-26T08:10:00", "2026-11-26T08:40:00"),
            ("2026-12-31T22:00:00", "2027-01-01T08:10:00"),
        ] {
            assert_eq!(opening(at(revoked, &tokyo), &night, &tokyo), at(opens, &tokyo), "{revoked}");
        }
        assert_eq!(
            opening(at("2026-11-25T23:00:00", &tokyo), &life(None, &[]), &tokyo),
            at("2026-11-25T23:30:00", &tokyo)
        );
    }

    #[test]
    fn closed_days_move_the_opening_to_the_next_day_that_is_none() {
        let tokyo = TimeZone::get("Asia/Tokyo").unwrap();
        let bank = life(Some("20:50-08:10"), &["saturday", "sunday", "12-31", "2027-01-01"]);
        for (revoked, opens) in [
            // A Friday at noon, and at night; a Saturday; New Year's Eve, a Thursday.
            ("2026-11-27T12:00:00", "2026-11-27T12:30:00"),
            ("2026-11-27T21:00:00", "2026-11-30T08:10:00"),
            ("2026-11-28T12:00:00", "2026-11-30T08:10:00"),
            ("2026-12-31T12:00:00", "2027-01-04T08:10:00"),
        ] {
            assert_eq!(opening(at(revoked, &tokyo), &bank, &tokyo), at(opens, &tokyo), "{revoked}");
        }
        let without_hours = life(None, &["2026-11-28"]);
        assert_eq!(
            opening(at("2026-11-27T23:45:00", &tokyo), &without_hours, &tokyo),
            at("2026-11-29T00:00:00", &tokyo)
        );
        let always: Vec<&str> = WEEK.to_vec();
        assert!(opening(Wall::from_seconds(0), &life(None, &always), &tokyo) > Wall::from_seconds(86_400));
    }

    #[test]
    fn clocks_that_are_put_forward_or_back_do_not_open_early() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        // 02:30 does not exist on 2027-03-28 and exists twice on 2026-10-25.
        let night = life(Some("22:00-02:30"), &[]);
        let spring = opening(at("2027-03-27T23:00:00", &berlin), &night, &berlin);
        assert_eq!(spring, at("2027-03-28T03:30:00", &berlin));
        let autumn = opening(at("2026-10-24T23:00:00", &berlin), &night, &berlin);
        assert_eq!(autumn.since(at("2026-10-24T23:00:00", &berlin)).as_secs(), (4 * 60 + 30) * 60);
    }

    #[test]
    fn days_are_read_as_written() {
        assert_eq!("sunday".parse(), Ok(ClosedDay::Weekly(7)));
        assert_eq!("02-29".parse(), Ok(ClosedDay::Yearly(2, 29)));
        for bad in
            ["", "Sunday", "02-30", "13-01", "2026-02-29", "2026-1-1", "20261231", "12/31", "2026-12-31T00"]
        {
            assert_eq!(bad.parse::<ClosedDay>(), Err(NoDay), "{bad}");
        }
    }
}
