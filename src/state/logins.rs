//! Accepted logins whose answer may have been lost: for a short while the same login gets the same verdict, once.
//!
//! A gateway that does not hear us asks anew, with a fresh authenticator and the same code, which is used up by then.
//! The key is a hash of everything that makes it the same login: client, its address, user, operation, the end user's
//! station and the whole field. So somebody else who has seen the code gains nothing by it.

use crate::clock::Mono;
use ahash::RandomState;
use dashmap::DashMap;
use std::hash::Hash;
use std::time::Duration;

/// The most logins that are remembered; beyond it an answer that was lost stays lost.
pub const CAPACITY: usize = 65_536;

/// The logins of the last seconds.
#[derive(Default)]
pub struct Logins {
    accepted: DashMap<[u64; 2], Mono>,
    hashes: [RandomState; 2],
}

impl Logins {
    /// An accept is about to leave; it may be asked for again for so long.
    pub fn keep(&self, login: &impl Hash, now: Mono, grace: Duration) {
        if self.accepted.len() < CAPACITY {
            self.accepted.insert(self.key(login), now.plus(grace));
        }
    }

    /// Whether this login was accepted a moment ago; only the first who asks is told so.
    #[must_use]
    pub fn take(&self, login: &impl Hash, now: Mono) -> bool {
        self.accepted.remove(&self.key(login)).is_some_and(|(_, until)| now < until)
    }

    /// Removes what has run out.
    pub fn sweep(&self, now: Mono) {
        self.accepted.retain(|_, until| now < *until);
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.accepted.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    fn key(&self, login: &impl Hash) -> [u64; 2] {
        self.hashes.each_ref().map(|hash| hash.hash_one(login))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_repeated_once_and_for_a_while_only() {
        let (logins, grace) = (Logins::default(), Duration::from_secs(8));
        let at = |seconds| Mono::default().plus(Duration::from_secs(seconds));
        logins.keep(&("alice", "pw123456"), at(0), grace);
        assert!(!logins.take(&("alice", "pw123457"), at(1)));
        assert!(!logins.take(&("bob", "pw123456"), at(1)));
        assert!(logins.take(&("alice", "pw123456"), at(7)));
        assert!(!logins.take(&("alice", "pw123456"), at(7)));
        logins.keep(&("alice", "pw123456"), at(0), grace);
        assert!(!logins.take(&("alice", "pw123456"), at(8)));
        logins.keep(&("alice", "pw123456"), at(0), grace);
        logins.sweep(at(8));
        assert!(logins.is_empty());
    }
}
