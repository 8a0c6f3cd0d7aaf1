//! Connections that carry one kind of operation to one server, each for one caller at a time.

use super::connection::{Connection, Identity, Trouble};
use super::settings::{Server, Settings};
use crate::clock::{Mono, now};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A bounded number of connections; callers wait their turn in the order they came.
pub struct Pool {
    identity: Identity,
    size: usize,
    turns: Semaphore,
    idle: Mutex<Vec<Connection>>,
    waiting: AtomicUsize,
    usual: Usual,
}

/// The right to use one connection of a pool.
pub struct Turn<'a> {
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

/// Where a connection came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// It was opened just now.
    Fresh,
    /// It has been idle; the server may have hung up meanwhile.
    Kept,
}

/// Nobody gets a turn before the deadline.
pub struct TooLate;

impl Pool {
    /// A pool of at most `size` connections, at least one.
    pub fn new(identity: Identity, size: usize) -> Pool {
        let size = size.max(1);
        Pool {
            identity,
            size,
            turns: Semaphore::new(size),
            idle: Mutex::new(Vec::with_capacity(size)),
            waiting: AtomicUsize::new(0),
            usual: Usual::default(),
        }
    }

    /// Waits for a turn, unless those who wait already, and the operation itself, will take longer than is left.
    pub async fn turn(&self, deadline: Mono) -> Result<Turn<'_>, TooLate> {
        let left = deadline.since(now().mono);
        let ahead = u32::try_from(self.waiting.load(Ordering::Relaxed) / self.size).unwrap_or(u32::MAX);
        if left.is_zero() || left < self.usual.worst().saturating_add(self.usual.mean().saturating_mul(ahead))
        {
            self.usual.forget_a_little();
            return Err(TooLate);
        }
        let _waiting = Waiting::count(&self.waiting);
        let permit = tokio::time::timeout(left, self.turns.acquire()).await;
        let Ok(Ok(permit)) = permit else { return Err(TooLate) };
        // The wait may have used up what the operation needs.
        if deadline.since(now().mono) < self.usual.worst() {
            Err(TooLate)
        } else {
            Ok(Turn { pool: self, _permit: permit })
        }
    }

    /// Remembers how long an operation took.
    pub fn learn(&self, took: Duration) {
        self.usual.learn(took);
    }

    /// Closes all that are idle: they are suspected to be dead.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// A connection, kept or opened for this.
    pub async fn connection(
        &self,
        settings: &Settings,
        server: &Server,
        time: Duration,
    ) -> Result<(Connection, Age), Trouble> {
        loop {
            let Some(mut kept) = self.pool.lock().pop() else { break };
            if kept.is_usable() {
                return Ok((kept, Age::Kept));
            }
        }
        Ok((Connection::open(settings, server, self.pool.identity, time).await?, Age::Fresh))
    }

    /// Keeps a connection for the next caller.
    pub fn keep(&self, mut connection: Connection) {
        if connection.is_usable() {
            self.pool.lock().push(connection);
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn count(waiting: &AtomicUsize) -> Waiting<'_> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long an operation usually takes: mean and mean deviation, learned as TCP learns its round trip (RFC 6298 §2).
#[derive(Default)]
struct Usual {
    mean: AtomicU64,
    deviation: AtomicU64,
}

impl Usual {
    fn learn(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let mean = self.mean.load(Ordering::Relaxed);
        if mean == 0 {
            self.mean.store(took, Ordering::Relaxed);
            self.deviation.store(took / 2, Ordering::Relaxed);
            return;
        }
        let deviation = self.deviation.load(Ordering::Relaxed);
        self.deviation.store(blend(deviation, mean.abs_diff(took), 4), Ordering::Relaxed);
        self.mean.store(blend(mean, took, 8).max(1), Ordering::Relaxed);
    }

    fn mean(&self) -> Duration {
        Duration::from_nanos(self.mean.load(Ordering::Relaxed))
    }

    /// What nearly every operation stays below.
    fn worst(&self) -> Duration {
        self.mean()
            .saturating_add(Duration::from_nanos(self.deviation.load(Ordering::Relaxed).saturating_mul(2)))
    }

    /// Nothing is learned from operations that were not begun, so that a slow hour would refuse impatient callers for
    /// ever: each refusal makes the next one less likely.
    fn forget_a_little(&self) {
        for part in [&self.mean, &self.deviation] {
            let value = part.load(Ordering::Relaxed);
            part.store(value - value / 16, Ordering::Relaxed);
        }
    }
}

fn blend(old: u64, new: u64, parts: u64) -> u64 {
    old - old / parts + new / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_time_is_learned_and_forgotten() {
        let usual = Usual::default();
        assert_eq!(usual.worst(), Duration::ZERO);
        for _ in 0..100 {
            usual.learn(Duration::from_millis(10));
        }
        assert!(usual.mean().abs_diff(Duration::from_millis(10)) < Duration::from_millis(1));
        assert!(usual.worst() < Duration::from_millis(12));
        for _ in 0..100 {
            usual.forget_a_little();
        }
        assert!(usual.worst() < Duration::from_millis(1));
    }
}
