//! Replies that must wait: a thread keeps each until its time and then sends it.

use super::worker::Pulse;
use crate::clock::{self, Mono};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The shortest sleep between two rounds: at ten thousand rejects a second one wake-up serves ten of them.
const ROUND: Duration = Duration::from_millis(1);

/// The longest sleep, so that the pulse goes on when nothing is held.
const IDLE: Duration = Duration::from_secs(1);

/// Keeps things of type `T` (replies with their addresses) until their time. Bounded; nothing leaves too early.
///
/// The delay of a reject makes guessing slow, so a stop does not cut it short: see [`Hold::finish`].
#[derive(Debug)]
pub struct Hold<T> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

/// Why something was not kept; it is handed back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused<T> {
    /// As many are held as may be.
    #[error("as many replies are held as may be")]
    Full(T),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopped(T),
}

#[derive(Debug)]
struct Shared<T> {
    /// Guards everything that waits. Held for a push or a pop only, never while something is sent.
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
    capacity: usize,
    pulse: Pulse,
}

#[derive(Debug)]
struct Waiting<T> {
    heap: BinaryHeap<Reverse<Held<T>>>,
    /// Counts up: equal times leave in the order in which they came.
    next: u64,
    /// Once set nothing new is kept; at this time the thread gives up what is left.
    finish_by: Option<Mono>,
}

#[derive(Debug)]
struct Held<T> {
    due: Mono,
    order: u64,
    reply: T,
}

impl<T: Send + 'static> Hold<T> {
    /// Starts the thread. `send` is called on it for each reply whose time has come, in the order of their times.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(capacity: usize, mut send: impl FnMut(T) + Send + 'static) -> std::io::Result<Hold<T>> {
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting { heap: BinaryHeap::new(), next: 0, finish_by: None }),
            changed: Condvar::new(),
            capacity,
            pulse: Pulse::new(clock::now().mono),
        });
        let theirs = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("hold".into()).spawn(move || theirs.serve(&mut send))?;
        Ok(Hold { shared, thread: Some(thread) })
    }

    /// Keeps `reply` until `due`; a time that has passed means at once.
    ///
    /// # Errors
    ///
    /// Hands the reply back if the table is full or the daemon is stopping.
    pub fn keep(&self, due: Mono, reply: T) -> Result<(), Refused<T>> {
        let mut waiting = self.shared.lock();
        if waiting.finish_by.is_some() {
            return Err(Refused::Stopped(reply));
        }
        if waiting.heap.len() >= self.shared.capacity {
            return Err(Refused::Full(reply));
        }
        let order = waiting.next;
        waiting.next = order.wrapping_add(1);
        let earliest = waiting.heap.peek().is_none_or(|Reverse(first)| due < first.due);
        waiting.heap.push(Reverse(Held { due, order, reply }));
        drop(waiting);
        if earliest {
            self.shared.changed.notify_one();
        }
        Ok(())
    }

    /// How many are held now.
    pub fn len(&self) -> usize {
        self.shared.lock().heap.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The heartbeat of the thread.
    pub fn pulse(&self) -> &Pulse {
        &self.shared.pulse
    }

    /// Takes nothing more, sends for `grace` at most what becomes due, and ends the thread. Says how many replies were
    /// given up: for those users the gateway asks its next server.
    pub fn finish(mut self, grace: Duration) -> usize {
        self.end(grace);
        self.len()
    }
}

impl<T> Hold<T> {
    fn end(&mut self, grace: Duration) {
        let by = clock::now().mono.plus(grace);
        self.shared.lock().finish_by.get_or_insert(by);
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

/// Ends the thread at once; what is held is given up.
impl<T> Drop for Hold<T> {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        // Nothing under the lock panics half-way: the heap is whole even if a thread died with it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until finished: take out what is due, send it without the lock, sleep until the next is due.
    fn serve(&self, send: &mut impl FnMut(T)) {
        let mut due = Vec::new();
        let mut waiting = self.lock();
        loop {
            let now = clock::now().mono;
            self.pulse.beat(now);
            while waiting.heap.peek().is_some_and(|Reverse(first)| first.due <= now) {
                due.extend(waiting.heap.pop().map(|Reverse(held)| held.reply));
            }
            if !due.is_empty() {
                drop(waiting);
                due.drain(..).for_each(&mut *send);
                waiting = self.lock();
                // While we were sending more may have become due, but never sooner than a round is over.
            }
            let next = waiting.heap.peek().map(|Reverse(first)| first.due);
            let end = match (waiting.finish_by, next) {
                (Some(_), None) => return,
                (Some(by), Some(due)) if due > by => return,
                (_, next) => next,
            };
            let sleep = end.map_or(IDLE, |end| end.since(now).clamp(ROUND, IDLE));
            let woken = self.changed.wait_timeout(waiting, sleep);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Held<T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Held<T> {}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Held<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Held<T>) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const FAR: Duration = Duration::from_secs(1_000_000);

    #[test]
    fn replies_leave_by_their_time_and_then_by_their_order() {
        let (sent, leaving) = mpsc::channel();
        let hold = Hold::start(10, move |reply| sent.send(reply).unwrap()).unwrap();
        let soon = clock::now().mono.plus(Duration::from_millis(30));
        for (later, name) in [(20, "third"), (0, "first"), (20, "fourth"), (10, "second")] {
            hold.keep(
                soon.plus(Duration::from_millis(later)),
                (name, soon.plus(Duration::from_millis(later))),
            )
            .unwrap();
        }
        for expected in ["first", "second", "third", "fourth"] {
            let (name, due) = leaving.recv().unwrap();
            assert_eq!(name, expected);
            assert!(clock::now().mono >= due, "{name} left too early");
        }
        assert!(hold.is_empty());
    }

    #[test]
    fn a_full_hold_says_so_and_hands_back() {
        let hold = Hold::start(2, |_| panic!("nothing is due")).unwrap();
        let far = clock::now().mono.plus(FAR);
        hold.keep(far, 1).unwrap();
        hold.keep(far, 2).unwrap();
        assert_eq!(hold.keep(far, 3), Err(Refused::Full(3)));
        assert_eq!(hold.len(), 2);
    }

    #[test]
    fn sec_21_a_stop_waits_for_what_is_due_and_gives_up_the_rest() {
        let (sent, leaving) = mpsc::channel();
        let hold = Hold::start(10, move |reply| sent.send(reply).unwrap()).unwrap();
        let now = clock::now().mono;
        hold.keep(now.plus(FAR), "far").unwrap();
        hold.keep(now.plus(Duration::from_millis(20)), "near").unwrap();
        let shared = Arc::clone(&hold.shared);
        assert_eq!(hold.finish(Duration::from_secs(2)), 1, "the far one is given up, not sent early");
        assert_eq!(leaving.iter().collect::<Vec<_>>(), ["near"]);
        let late = Hold { shared, thread: None };
        assert_eq!(late.keep(now, "late"), Err(Refused::Stopped("late")));
    }

    #[test]
    fn an_empty_hold_ends_at_once() {
        let hold = Hold::start(1, |(): ()| {}).unwrap();
        assert_eq!(hold.finish(Duration::MAX), 0);
    }
}
