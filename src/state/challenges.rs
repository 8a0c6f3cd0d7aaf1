//! Open two-step logins: what the first step brought, found again by the State attribute.
//!
//! A State is the output of a keyed function over a counter: it cannot be guessed and says nothing. It is removed the
//! moment it is looked up, so it works once. A decoy (unknown user, locked user, wrong password) is an entry like any
//! other; that it leads nowhere shows only after the second step.

use crate::clock::Mono;
use crate::secret::{PasswordField, Secret};
use dashmap::DashMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The State attribute: 128 bits (RFC 5080 §3 asks for unpredictable values).
pub type StateValue = [u8; 16];

/// The most open challenges of one client; a flood fills its own share only (CHL-10).
pub const SHARE: usize = 16_384;

/// Open two-step logins by State.
pub struct Challenges {
    open: DashMap<StateValue, Challenge>,
    shares: Box<[AtomicUsize]>,
    counter: AtomicU64,
    key: Secret,
}

/// What the first step left to the second.
#[derive(Debug)]
pub struct Challenge {
    /// The client that was challenged, by number; no other may answer.
    pub client: u16,
    /// The name that was challenged, hashed; no other may answer.
    pub user: u64,
    /// What the user typed at the first step: the password, not yet checked.
    pub password: PasswordField,
    /// The State dies at this time.
    pub expires: Mono,
}

impl Challenges {
    /// An empty table for `clients` clients; `key` is random and known to this process only.
    pub fn new(clients: usize, key: Secret) -> Challenges {
        Challenges {
            open: DashMap::new(),
            shares: (0..clients.max(1)).map(|_| AtomicUsize::new(0)).collect(),
            counter: AtomicU64::new(0),
            key,
        }
    }

    /// Opens a challenge and names it; `None` if the client's share is full.
    pub fn open(&self, challenge: Challenge) -> Option<StateValue> {
        let share = self.shares.get(usize::from(challenge.client))?;
        if share.fetch_add(1, Ordering::Relaxed) >= SHARE {
            share.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let state = self.next_state();
        self.open.insert(state, challenge);
        Some(state)
    }

    /// Puts a challenge back under its State, because nobody could judge the second step.
    pub fn reopen(&self, state: StateValue, challenge: Challenge) {
        if let Some(share) = self.shares.get(usize::from(challenge.client)) {
            share.fetch_add(1, Ordering::Relaxed);
            self.open.insert(state, challenge);
        }
    }

    /// Takes a challenge out, if this client opened it for this user and its time is not over. Whatever comes of it,
    /// the same State never works again.
    pub fn take(&self, state: &[u8], client: u16, user: u64, now: Mono) -> Option<(StateValue, Challenge)> {
        let state: StateValue = state.try_into().ok()?;
        // Another client's State stays: only its owner may end it.
        let (_, challenge) = self.open.remove_if(&state, |_, open| open.client == client)?;
        self.leave(client);
        (challenge.user == user && now < challenge.expires).then_some((state, challenge))
    }

    /// Removes challenges whose time is over.
    pub fn sweep(&self, now: Mono) {
        self.open.retain(|_, challenge| {
            let keep = now < challenge.expires;
            if !keep {
                self.leave(challenge.client);
            }
            keep
        });
    }

    /// How many challenges are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no challenge is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn leave(&self, client: u16) {
        if let Some(share) = self.shares.get(usize::from(client)) {
            share.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn next_state(&self) -> StateValue {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut state = StateValue::default();
        // HMAC takes keys of any length, so this arm is always taken; an all-zero State would only be refused.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.expose()) {
            mac.update(&number.to_be_bytes());
            for (octet, keyed) in state.iter_mut().zip(mac.finalize().into_bytes()) {
                *octet = keyed;
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::time::Duration;

    const NOW: Mono = Mono::from_nanos(5);
    const LIFETIME: Duration = Duration::from_secs(60);

    fn challenge(client: u16, user: u64) -> Challenge {
        let password = PasswordField::new(b"secret").unwrap();
        Challenge { client, user, password, expires: NOW.plus(LIFETIME) }
    }

    fn table() -> Challenges {
        Challenges::new(2, Secret::new([9; 32]))
    }

    #[test]
    fn chl_03_a_state_works_once() {
        let table = table();
        let state = table.open(challenge(0, 7)).unwrap();
        assert_eq!(table.take(&state, 0, 7, NOW).unwrap().1.password.expose(), b"secret");
        assert!(table.take(&state, 0, 7, NOW).is_none());
        assert!(table.is_empty());
    }

    #[test]
    fn chl_04_05_06_a_state_belongs_to_its_client_user_and_time() {
        let table = table();
        let state = table.open(challenge(0, 7)).unwrap();
        assert!(table.take(&state, 1, 7, NOW).is_none());
        assert!(table.take(&state[..15], 0, 7, NOW).is_none());
        assert!(table.take(&[state.as_slice(), &[0]].concat(), 0, 7, NOW).is_none());
        let mut flipped = state;
        flipped[3] ^= 1;
        assert!(table.take(&flipped, 0, 7, NOW).is_none());
        assert!(table.take(&state, 0, 7, NOW).is_some());

        let foreign = table.open(challenge(0, 7)).unwrap();
        assert!(table.take(&foreign, 0, 8, NOW).is_none());
        let late = table.open(challenge(0, 7)).unwrap();
        assert!(table.take(&late, 0, 7, NOW.plus(LIFETIME)).is_none());
    }

    #[test]
    fn chl_02_states_do_not_repeat() {
        let table = table();
        let states: HashSet<StateValue> = (0..100_000).map(|_| table.next_state()).collect();
        assert_eq!(states.len(), 100_000);
    }

    #[test]
    fn chl_10_a_flood_fills_its_own_share_and_is_swept() {
        let table = table();
        let early = table.open(challenge(1, 1)).unwrap();
        for _ in 0..SHARE {
            assert!(table.open(challenge(0, 7)).is_some());
        }
        assert!(table.open(challenge(0, 7)).is_none());
        assert!(table.open(challenge(1, 1)).is_some());
        assert!(table.take(&early, 1, 1, NOW).is_some());
        table.sweep(NOW.plus(LIFETIME));
        assert!(table.is_empty());
        assert!(table.open(challenge(0, 7)).is_some());
    }
}
