//! Budgets for what is useful but not worth much work.

use crate::authenticate::ClockHint;
use crate::clock::Moment;
use std::sync::atomic::{AtomicU64, Ordering};

/// Two counters for each second of monotonic time.
#[derive(Default)]
pub(super) struct Hints {
    clock: Budget,
    status: Budget,
}

/// The most searches for another time per second: 250 µs each, so at most 5 % of one core.
const CLOCK_HINTS_PER_SECOND: u64 = 200;

/// The most Status-Server answers per second, over all clients; a gateway sends one in a few seconds.
const STATUS_SERVER_PER_SECOND: u64 = 1000;

#[derive(Default)]
struct Budget {
    second: AtomicU64,
    spent: AtomicU64,
}

impl Hints {
    /// Whether a wrong code may be looked for at other times of the day.
    pub(super) fn clock_hint(&self, now: Moment) -> ClockHint {
        if self.clock.take(CLOCK_HINTS_PER_SECOND, now) { ClockHint::Look } else { ClockHint::Skip }
    }

    /// Whether one more Status-Server may be answered.
    pub(super) fn answers_status(&self, now: Moment) -> bool {
        self.status.take(STATUS_SERVER_PER_SECOND, now)
    }
}

impl Budget {
    fn take(&self, per_second: u64, now: Moment) -> bool {
        let second = now.mono.nanos() / 1_000_000_000;
        // Two threads that cross a second at once may each start the count: the bound is then off by a few.
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.spent.store(0, Ordering::Relaxed);
        }
        self.spent.fetch_add(1, Ordering::Relaxed) < per_second
    }
}
