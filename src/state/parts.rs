//! One table in many parts, each behind a lock of its own, by the hash of what is looked for.

use super::PARTS;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The number of the part for this hash.
pub fn part_of(hash: u64) -> usize {
    // hashbrown takes a place from the lowest bits and compares the seven highest.
    usize::try_from(hash >> 40).unwrap_or(0) % PARTS
}

/// The parts. Nothing that is done under a lock panics half-way.
pub struct Parts<T> {
    parts: Box<[RwLock<T>]>,
    last: RwLock<T>,
}

impl<T: Default> Default for Parts<T> {
    fn default() -> Parts<T> {
        let parts = std::iter::repeat_with(RwLock::default).take(PARTS - 1).collect();
        Parts { parts, last: RwLock::default() }
    }
}

impl<T> Parts<T> {
    /// A part, to read.
    pub fn read(&self, number: usize) -> RwLockReadGuard<'_, T> {
        self.part(number).read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part, to change.
    pub fn write(&self, number: usize) -> RwLockWriteGuard<'_, T> {
        self.part(number).write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every part in turn, to read.
    pub fn each(&self) -> impl Iterator<Item = RwLockReadGuard<'_, T>> {
        (0..PARTS).map(|number| self.read(number))
    }

    fn part(&self, number: usize) -> &RwLock<T> {
        self.parts.get(number).unwrap_or(&self.last)
    }
}
