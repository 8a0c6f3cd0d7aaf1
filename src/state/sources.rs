//! Failures per source: who fails too often in a minute is refused before the users it names are locked.

use crate::clock::Mono;
use ahash::RandomState;
use dashmap::DashMap;
use std::hash::Hash;
use std::time::Duration;

/// The time over which failures of one source are counted.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The most sources watched at once. When so many fail in one minute, new ones go unwatched; the users' own counts
/// still hold.
pub const CAPACITY: usize = 65_536;

/// Failures of the last minute by source.
pub struct Sources {
    failures: DashMap<u64, Failures, RandomState>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Failures {
    since: Mono,
    count: u32,
}

impl Default for Sources {
    fn default() -> Sources {
        Sources { failures: DashMap::default(), hasher: RandomState::new() }
    }
}

impl Sources {
    /// Whether `source` has failed `limit` times within the window.
    pub fn is_throttled(&self, source: impl Hash, limit: u32, now: Mono) -> bool {
        let key = self.hasher.hash_one(source);
        self.failures
            .get(&key)
            .is_some_and(|failures| failures.count >= limit && now.since(failures.since) < WINDOW)
    }

    /// One more failure of `source`.
    pub fn fail(&self, source: impl Hash, now: Mono) {
        let key = self.hasher.hash_one(source);
        let full = self.failures.len() >= CAPACITY;
        match self.failures.entry(key) {
            dashmap::Entry::Occupied(mut held) => {
                let failures = held.get_mut();
                if now.since(failures.since) >= WINDOW {
                    *failures = Failures { since: now, count: 0 };
                }
                failures.count = failures.count.saturating_add(1);
            }
            dashmap::Entry::Vacant(vacant) if !full => {
                vacant.insert(Failures { since: now, count: 1 });
            }
            dashmap::Entry::Vacant(_) => {}
        }
    }

    /// Forgets sources whose window is over.
    pub fn sweep(&self, now: Mono) {
        self.failures.retain(|_, failures| now.since(failures.since) < WINDOW);
    }

    /// How many sources are watched.
    pub fn len(&self) -> usize {
        self.failures.len()
    }

    /// Whether no source is watched.
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Mono = Mono::from_nanos(1);

    #[test]
    fn a_source_is_throttled_for_the_rest_of_its_window() {
        let sources = Sources::default();
        for _ in 0..3 {
            assert!(!sources.is_throttled("10.0.0.1", 3, NOW));
            sources.fail("10.0.0.1", NOW);
        }
        assert!(sources.is_throttled("10.0.0.1", 3, NOW));
        assert!(!sources.is_throttled("10.0.0.2", 3, NOW));
        assert!(!sources.is_throttled("10.0.0.1", 3, NOW.plus(WINDOW)));
        sources.fail("10.0.0.1", NOW.plus(WINDOW));
        assert!(!sources.is_throttled("10.0.0.1", 3, NOW.plus(WINDOW)));
    }

    #[test]
    fn sec_04_the_table_is_bounded_and_swept() {
        let sources = Sources::default();
        for source in 0..CAPACITY + 100 {
            sources.fail(source, NOW);
        }
        assert!(sources.len() <= CAPACITY);
        sources.sweep(NOW.plus(WINDOW));
        assert!(sources.is_empty());
    }
}
