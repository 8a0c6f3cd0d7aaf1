//! Retransmissions: the same request gets the same bytes, and is never judged twice (RFC 5080 §2.2.2).
//!
//! Only requests that passed the signature check come here, so a forged packet can neither answer for another nor push
//! it out (SEC-17). Every client has its own share of the table, so that one gateway cannot fill it for the others.

use crate::clock::Mono;
use crate::identity::RequestId;
use crate::radius::PacketOctets;
use ahash::RandomState;
use dashmap::DashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a retransmission has in common with its original: who sent it, to which of our sockets, under which Identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Source address and port.
    pub peer: SocketAddr,
    /// The receiving socket.
    pub socket: u16,
    /// The Identifier octet.
    pub identifier: u8,
    /// The client's number: whose share of the table it takes.
    pub client: u16,
}

/// The most requests remembered for one client: 30 s at 8,700 a second when each has its own port and Identifier.
pub const SHARE: usize = 262_144;

/// The requests of the last half minute, and their replies.
pub struct Duplicates {
    entries: DashMap<Key, Entry, RandomState>,
    shares: Box<[AtomicUsize]>,
    share: usize,
    lifetime: Duration,
    digests: RandomState,
}

struct Entry {
    authenticator: [u8; 16],
    digest: u64,
    request: RequestId,
    state: State,
}

enum State {
    InFlight,
    Answered { reply: PacketOctets, until: Mono },
}

/// What is known of a request that has just arrived.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Seen {
    /// Never seen: it is judged now.
    Never,
    /// It is being judged: the retransmission is dropped.
    InFlight,
    /// It was answered: these octets are sent again.
    Answered(PacketOctets),
    /// Same identifier and authenticator, other content: no retransmission, and no new request either.
    Differs,
    /// This client's share of the table is full.
    Full,
}

impl Duplicates {
    /// A table for `clients` clients with room for `share` requests each; replies are kept for `lifetime`.
    pub fn new(clients: usize, share: usize, lifetime: Duration) -> Duplicates {
        Duplicates {
            entries: super::large(),
            shares: (0..clients.max(1)).map(|_| AtomicUsize::new(0)).collect(),
            share,
            lifetime,
            digests: RandomState::new(),
        }
    }

    /// How long replies are kept.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Enters a request, or says what became of the one it repeats. A new request under an old key replaces the old
    /// one, whose reply is then no longer sent.
    pub fn enter(&self, key: Key, authenticator: &[u8; 16], octets: &[u8], by: RequestId, now: Mono) -> Seen {
        let digest = self.digests.hash_one(octets);
        let entry = Entry { authenticator: *authenticator, digest, request: by, state: State::InFlight };
        match self.entries.entry(key) {
            dashmap::Entry::Vacant(vacant) => {
                let Some(share) = self.share_of(key) else { return Seen::Full };
                if share.fetch_add(1, Ordering::Relaxed) >= self.share {
                    share.fetch_sub(1, Ordering::Relaxed);
                    return Seen::Full;
                }
                vacant.insert(entry);
                Seen::Never
            }
            dashmap::Entry::Occupied(mut occupied) => {
                let held = occupied.get();
                let expired = matches!(&held.state, State::Answered { until, .. } if *until <= now);
                if expired || held.authenticator != *authenticator {
                    occupied.insert(entry);
                    return Seen::Never;
                }
                if held.digest != digest {
                    return Seen::Differs;
                }
                match &held.state {
                    State::InFlight => Seen::InFlight,
                    State::Answered { reply, .. } => Seen::Answered(reply.clone()),
                }
            }
        }
    }

    /// Keeps the reply that is about to leave. `false` if a newer request has taken the key: then the reply must not
    /// be sent (RFC 5080 §2.2.2).
    #[must_use]
    pub fn answer(&self, key: Key, by: RequestId, reply: &PacketOctets, now: Mono) -> bool {
        match self.entries.get_mut(&key) {
            Some(mut held) if held.request == by => {
                held.state = State::Answered { reply: reply.clone(), until: now.plus(self.lifetime) };
                true
            }
            _ => false,
        }
    }

    /// Whether `by` still holds the key; if not, a newer request has taken it.
    pub fn is_current(&self, key: Key, by: RequestId) -> bool {
        self.entries.get(&key).is_some_and(|held| held.request == by)
    }

    /// The request ended without an answer: its retransmission is judged anew.
    pub fn forget(&self, key: Key, by: RequestId) {
        if self.entries.remove_if(&key, |_, held| held.request == by).is_some() {
            self.leave(key);
        }
    }

    /// Removes replies whose time is over. Called by the housekeeper about once a second; goes shard by shard.
    pub fn sweep(&self, now: Mono) {
        self.entries.retain(|key, held| {
            let keep = !matches!(&held.state, State::Answered { until, .. } if *until <= now);
            if !keep {
                self.leave(*key);
            }
            keep
        });
    }

    /// How many requests are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no request is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn share_of(&self, key: Key) -> Option<&AtomicUsize> {
        self.shares.get(usize::from(key.client))
    }

    fn leave(&self, key: Key) {
        if let Some(share) = self.share_of(key) {
            share.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(30);
    const NOW: Mono = Mono::from_nanos(1);
    const FIRST: RequestId = RequestId(1);
    const SECOND: RequestId = RequestId(2);

    fn key(identifier: u8, client: u16) -> Key {
        Key { peer: "192.0.2.1:4000".parse().unwrap(), socket: 0, identifier, client }
    }

    fn octets(reply: &[u8]) -> PacketOctets {
        PacketOctets::from(reply)
    }

    fn table() -> Duplicates {
        Duplicates::new(2, 4, LIFETIME)
    }

    #[test]
    fn rad_36_an_answered_request_gets_the_same_octets_until_its_time_is_over() {
        let table = table();
        assert_eq!(table.enter(key(1, 0), &[1; 16], b"request", FIRST, NOW), Seen::Never);
        assert!(table.answer(key(1, 0), FIRST, &octets(b"reply"), NOW));
        let almost = NOW.plus(LIFETIME - Duration::from_nanos(1));
        let seen = table.enter(key(1, 0), &[1; 16], b"request", SECOND, almost);
        assert_eq!(seen, Seen::Answered(octets(b"reply")));
        let over = NOW.plus(LIFETIME);
        assert_eq!(table.enter(key(1, 0), &[1; 16], b"request", SECOND, over), Seen::Never);
    }

    #[test]
    fn rad_37_a_request_in_flight_is_not_judged_twice() {
        let table = table();
        assert_eq!(table.enter(key(1, 0), &[1; 16], b"request", FIRST, NOW), Seen::Never);
        assert_eq!(table.enter(key(1, 0), &[1; 16], b"request", SECOND, NOW), Seen::InFlight);
        table.forget(key(1, 0), FIRST);
        assert_eq!(table.enter(key(1, 0), &[1; 16], b"request", SECOND, NOW), Seen::Never);
    }

    #[test]
    fn rad_38_a_new_authenticator_replaces_the_old_request_and_silences_its_reply() {
        let table = table();
        assert_eq!(table.enter(key(1, 0), &[1; 16], b"old", FIRST, NOW), Seen::Never);
        assert_eq!(table.enter(key(1, 0), &[2; 16], b"new", SECOND, NOW), Seen::Never);
        assert!(!table.answer(key(1, 0), FIRST, &octets(b"late"), NOW));
        table.forget(key(1, 0), FIRST);
        assert!(table.answer(key(1, 0), SECOND, &octets(b"reply"), NOW));
    }

    #[test]
    fn rad_39_same_authenticator_with_other_content_is_no_retransmission() {
        let table = table();
        assert_eq!(table.enter(key(1, 0), &[1; 16], b"request", FIRST, NOW), Seen::Never);
        assert_eq!(table.enter(key(1, 0), &[1; 16], b"altered", SECOND, NOW), Seen::Differs);
    }

    #[test]
    fn sec_14_a_client_fills_its_own_share_only_and_gets_it_back() {
        let table = table();
        for identifier in 0..4 {
            assert_eq!(table.enter(key(identifier, 0), &[1; 16], b"r", FIRST, NOW), Seen::Never);
        }
        assert_eq!(table.enter(key(4, 0), &[1; 16], b"r", FIRST, NOW), Seen::Full);
        assert_eq!(table.enter(key(4, 1), &[1; 16], b"r", FIRST, NOW), Seen::Never);
        assert!(table.answer(key(0, 0), FIRST, &octets(b"reply"), NOW));
        table.sweep(NOW.plus(LIFETIME));
        assert_eq!(table.enter(key(4, 0), &[1; 16], b"r", FIRST, NOW), Seen::Never);
        assert_eq!(table.len(), 5);
    }
}
