//! How often somebody may ask: a bounded table of sources and callers, each with its own pace.

use crate::clock::Mono;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The most sources and callers that are remembered. Who has been quiet for a minute is forgotten.
pub(super) const ENTRIES_MAX: usize = 65_536;

/// How often, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Requests in a minute; as many may come at once after a quiet minute.
    pub per_minute: NonZeroU32,
}

impl Pace {
    /// The time that one request uses up.
    fn interval(self) -> u64 {
        60_000_000_000 / u64::from(self.per_minute.get())
    }
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    /// Everything from a source.
    Source(IpAddr),
    /// Setups from a source.
    Setup(IpAddr),
    /// Requests from a source that nobody recognised.
    Stranger(IpAddr),
    /// Everything of a caller.
    Caller(Box<str>),
}

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It may.
    Yes,
    /// It may after this time.
    After(Duration),
}

/// Until when each has used up its time: one number says both how many came and when.
#[derive(Default)]
pub(super) struct Limits(Mutex<HashMap<Counted, u64>>);

impl Limits {
    /// Counts one request.
    pub(super) fn admit(&self, who: Counted, pace: Pace, now: Mono) -> Admitted {
        let (interval, now) = (pace.interval(), now.nanos());
        // The mutex guards the map; nothing waits while it is held.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= ENTRIES_MAX && !table.contains_key(&who) {
            table.retain(|_, used_until| *used_until > now);
            if table.len() >= ENTRIES_MAX {
                return Admitted::After(Duration::from_secs(60));
            }
        }
        let used_until = table.entry(who).or_insert(now);
        let next = (*used_until).max(now).saturating_add(interval);
        let allowed = now.saturating_add(60_000_000_000);
        if next > allowed {
            return Admitted::After(Duration::from_nanos(next.saturating_sub(allowed)));
        }
        *used_until = next;
        Admitted::Yes
    }

    /// How many are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// The source that an address stands for: a network of IPv6 customers has as many addresses as it likes (RFC 6177).
pub(super) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_minute_holds_so_many_and_each_source_has_its_own() {
        let limits = Limits::default();
        let pace = Pace { per_minute: NonZeroU32::new(3).unwrap() };
        let who = |last: u8| Counted::Setup(IpAddr::from([192, 0, 2, last]));
        for _ in 0..3 {
            assert_eq!(limits.admit(who(1), pace, at(0)), Admitted::Yes);
        }
        assert_eq!(limits.admit(who(1), pace, at(0)), Admitted::After(Duration::from_secs(20)));
        assert_eq!(limits.admit(who(2), pace, at(0)), Admitted::Yes);
        assert_eq!(limits.admit(Counted::Source(IpAddr::from([192, 0, 2, 1])), pace, at(0)), Admitted::Yes);
        assert_eq!(limits.admit(who(1), pace, at(20)), Admitted::Yes);
        assert_eq!(limits.admit(who(1), pace, at(20)), Admitted::After(Duration::from_secs(20)));
        assert_eq!(limits.admit(who(1), pace, at(500)), Admitted::Yes);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_quiet() {
        let limits = Limits::default();
        let pace = Pace { per_minute: NonZeroU32::new(60).unwrap() };
        for n in 0..u32::try_from(ENTRIES_MAX).unwrap() {
            assert_eq!(
                limits.admit(Counted::Source(IpAddr::from(n.to_be_bytes())), pace, at(0)),
                Admitted::Yes
            );
        }
        let late = Counted::Source(IpAddr::from([255, 0, 0, 1]));
        assert!(matches!(limits.admit(late.clone(), pace, at(0)), Admitted::After(_)));
        assert_eq!(limits.len(), ENTRIES_MAX);
        assert_eq!(limits.admit(late, pace, at(2)), Admitted::Yes);
        assert_eq!(limits.len(), 1);
    }

    #[test]
    fn sources_are_networks() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(source(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap());
        }
    }
}
