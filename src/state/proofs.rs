//! Passwords that the directory has just called right: a proof of each, for a short time, so that it need not be asked
//! again.
//!
//! A proof is an HMAC-SHA-256 of entry and password under a key that this process has drawn and nobody else knows. It
//! is deliberately fast: whoever reads our memory gets the key as well, and an attacker who can do that sees the
//! passwords themselves go by. What keeps it harmless is that it lives shortly, in memory only, and ends the instant the
//! entry changes: each change of an entry moves a count, and a proof of an earlier count is worth nothing, also one
//! whose bind was still under way.

use crate::clock::Mono;
use crate::identity::EntryId;
use crate::secret::{Secret, same_bytes};
use ahash::RandomState;
use dashmap::DashMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The most proofs that are kept; beyond it the directory is asked.
pub const CAPACITY: usize = 262_144;

/// Counts of changes; entries share them, and a change of one then ends the proofs of a few others.
const COUNTS: usize = 4096;

/// The proofs of the last minutes.
pub struct Proofs {
    /// Absent where none are kept.
    keyed: Option<Hmac<Sha256>>,
    lifetime: Duration,
    kept: DashMap<EntryId, Kept, RandomState>,
    changes: Box<[AtomicU32]>,
    places: RandomState,
}

/// That somebody has typed this password for this entry, as the entry was at that moment.
pub struct Proof {
    user: EntryId,
    change: u32,
    tag: [u8; 32],
}

struct Kept {
    change: u32,
    tag: [u8; 32],
    until: Mono,
}

impl Proofs {
    /// Keeps none: the directory is asked each time.
    pub fn none() -> Proofs {
        Proofs::with(None, Duration::ZERO)
    }

    /// Keeps each for `lifetime`, under a key that is random and known to this process only.
    pub fn new(key: &Secret, lifetime: Duration) -> Proofs {
        // HMAC takes keys of every length.
        Proofs::with(Hmac::new_from_slice(key.expose()).ok(), lifetime)
    }

    fn with(keyed: Option<Hmac<Sha256>>, lifetime: Duration) -> Proofs {
        let counts = if keyed.is_some() { COUNTS } else { 0 };
        Proofs {
            keyed,
            lifetime,
            kept: DashMap::default(),
            changes: (0..counts).map(|_| AtomicU32::new(0)).collect(),
            places: RandomState::new(),
        }
    }

    /// Whether any are kept at all.
    pub fn are_wanted(&self) -> bool {
        self.keyed.is_some()
    }

    /// What is to be kept when the directory calls this password right; `None` where nothing is kept.
    pub fn prove(&self, user: EntryId, password: &[u8]) -> Option<Proof> {
        let mut mac = self.keyed.clone()?;
        let change = self.count_of(user)?.load(Ordering::Acquire);
        mac.update(&user.octets());
        mac.update(password);
        Some(Proof { user, change, tag: mac.finalize().into_bytes().into() })
    }

    /// Whether the directory has called the same password right lately, and the entry has not changed since.
    pub fn holds(&self, proof: &Proof, now: Mono) -> bool {
        self.kept.get(&proof.user).is_some_and(|kept| {
            now < kept.until && kept.change == proof.change && same_bytes(&kept.tag, &proof.tag)
        })
    }

    /// The directory has called it right.
    pub fn keep(&self, proof: &Proof, now: Mono) {
        let unchanged =
            self.count_of(proof.user).is_some_and(|count| count.load(Ordering::Acquire) == proof.change);
        if unchanged && (self.kept.len() < CAPACITY || self.kept.contains_key(&proof.user)) {
            let kept = Kept { change: proof.change, tag: proof.tag, until: now.plus(self.lifetime) };
            self.kept.insert(proof.user, kept);
        }
    }

    /// The entry has changed, or is gone.
    pub fn forget(&self, user: EntryId) {
        if let Some(count) = self.count_of(user) {
            count.fetch_add(1, Ordering::AcqRel);
            self.kept.remove(&user);
        }
    }

    /// Removes what has run out.
    pub fn sweep(&self, now: Mono) {
        self.kept.retain(|_, kept| now < kept.until);
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    fn count_of(&self, user: EntryId) -> Option<&AtomicU32> {
        let place = self.places.hash_one(user) % COUNTS as u64;
        self.changes.get(usize::try_from(place).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: EntryId = EntryId::new([7; 16]);
    const NOW: Mono = Mono::from_nanos(1);
    const LIFETIME: Duration = Duration::from_secs(60);

    fn proofs() -> Proofs {
        Proofs::new(&Secret::new([3; 32]), LIFETIME)
    }

    #[test]
    fn a_proof_holds_for_its_password_its_entry_and_its_time() {
        let proofs = proofs();
        let right = proofs.prove(USER, b"right").unwrap();
        assert!(!proofs.holds(&right, NOW));
        proofs.keep(&right, NOW);
        assert!(proofs.holds(&proofs.prove(USER, b"right").unwrap(), NOW));
        assert!(!proofs.holds(&proofs.prove(USER, b"wrong").unwrap(), NOW));
        assert!(!proofs.holds(&proofs.prove(EntryId::new([8; 16]), b"right").unwrap(), NOW));
        assert!(!proofs.holds(&right, NOW.plus(LIFETIME)));
        proofs.sweep(NOW.plus(LIFETIME));
        assert!(proofs.is_empty());
    }

    #[test]
    fn a_change_of_the_entry_ends_its_proof_and_those_that_are_being_made() {
        let proofs = proofs();
        let (kept, under_way) = (proofs.prove(USER, b"p").unwrap(), proofs.prove(USER, b"p").unwrap());
        proofs.keep(&kept, NOW);
        proofs.forget(USER);
        assert!(!proofs.holds(&kept, NOW) && proofs.is_empty());
        proofs.keep(&under_way, NOW);
        assert!(!proofs.holds(&proofs.prove(USER, b"p").unwrap(), NOW));
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_wanted() {
        assert!(Proofs::none().prove(USER, b"p").is_none());
    }
}
