//! Answers of the directory come one by one; what they lead to leaves together.
//!
//! slapd sends each answer by itself, and the runtime finds several when it looks. Replies that leave in one call cost half, and
//! so does the gateway's next request, which then comes with others.

use super::{Decided, Drive, Settling};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Replies to answers of the directory that leave without waiting for more: as many as go into one call.
const RUN: usize = 16;

/// While fewer answers are waited for, none waits for another.
const FEW: usize = 4;

/// What is asked on the runtime, and what the answers have come to.
#[derive(Default)]
pub(super) struct Gathering {
    /// How many answers are waited for.
    asked: AtomicUsize,
    gathered: Mutex<Gathered>,
}

/// What answers have come to, until nothing else is ready on the runtime.
#[derive(Default)]
struct Gathered {
    decided: Decided,
    /// Somebody will hand it over.
    due: bool,
}

impl Drive {
    /// Hands over what an answer has come to: together with what the other answers come to that are there already, unless few
    /// are waited for.
    pub(super) fn gather(self: &Arc<Drive>, mut decided: Decided) {
        if decided.leaving.is_empty() && decided.settling.asked.is_empty() {
            return;
        }
        let mut gathered = self.gathered();
        if !gathered.due && self.gathering.asked.load(Ordering::Relaxed) < FEW {
            drop(gathered);
            return self.hand_over(&mut decided);
        }
        if !gathered.decided.settling.goes_with(&decided.settling) {
            std::mem::swap(&mut gathered.decided, &mut decided);
            drop(gathered);
            return self.hand_over(&mut decided);
        }
        gathered.decided.append(decided);
        if gathered.decided.leaving.len() >= RUN {
            let mut full = std::mem::take(&mut gathered.decided);
            drop(gathered);
            return self.hand_over(&mut full);
        }
        if std::mem::replace(&mut gathered.due, true) {
            return;
        }
        drop(gathered);
        let drive = Arc::clone(self);
        self.runtime.spawn(async move {
            // Behind everything that is ready now, and what the system has to report meanwhile.
            tokio::task::yield_now().await;
            let mut decided = {
                let mut gathered = drive.gathered();
                gathered.due = false;
                std::mem::take(&mut gathered.decided)
            };
            drive.hand_over(&mut decided);
        });
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        // Nothing under the lock panics half-way.
        self.gathering.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Decided {
    /// Takes in what was decided after it.
    fn append(&mut self, later: Decided) {
        let Decided { entries, mut leaving, departures: _, mut settling } = later;
        self.entries.append(entries);
        self.leaving.append(&mut leaving);
        self.settling.term = self.settling.term.or(settling.term);
        self.settling.asked.append(&mut settling.asked);
    }
}

impl Settling {
    /// Whether both are of one term.
    fn goes_with(&self, other: &Settling) -> bool {
        self.term.is_none() || other.term.is_none() || self.term == other.term
    }
}

/// Somebody waits for an answer.
pub(super) struct Asked(Arc<Drive>);

impl Asked {
    pub(super) fn count(drive: &Arc<Drive>) -> Asked {
        drive.gathering.asked.fetch_add(1, Ordering::Relaxed);
        Asked(Arc::clone(drive))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.gathering.asked.fetch_sub(1, Ordering::Relaxed);
    }
}
