//! Acts that may be sent twice and are done once: the answer to an Idempotency-Key is kept for a day.
//!
//! The table is in memory: after a restart a repeated act is judged anew, and then mostly refused because it does not fit
//! the state that the first one left.

use super::problem::Problem;
use crate::clock::Mono;
use crate::secret::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most keys that are remembered.
const ENTRIES_MAX: usize = 4096;

/// How long an answer is kept.
const LIFETIME: Duration = Duration::from_secs(86_400);

/// The longest key, in characters.
const KEY_MAX: usize = 128;

/// The longest answer that is kept, in octets. An answer to an act has a few hundred.
const ANSWER_MAX: usize = 8 * 1024;

/// What was asked with which key, and the answer.
pub(super) struct Repeats {
    entries: Mutex<HashMap<[u8; 32], Entry>>,
    /// Bodies hold short secrets: a plain hash of one could be undone by trying.
    key: Secret,
}

struct Entry {
    request: [u8; 32],
    until: Mono,
    answer: Option<Answer>,
}

/// An answer as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// The media type.
    pub(super) media_type: &'static str,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// What a key means.
pub(super) enum Begun {
    /// It is new: the act is to be done.
    New(Claim),
    /// It was answered before.
    Answered(Answer),
}

/// The right and the duty to answer a new key. Dropped without an answer, the key is free again.
pub(super) struct Claim {
    repeats: Arc<Repeats>,
    id: [u8; 32],
    answered: bool,
}

impl Repeats {
    /// An empty table; `key` is random.
    pub(super) fn new(key: Secret) -> Arc<Repeats> {
        Arc::new(Repeats { entries: Mutex::default(), key })
    }

    /// Looks a caller's key up, for a request with this method, path and body.
    ///
    /// # Errors
    /// A key that is none, that stands for another request, or whose act is being done now; a full table.
    pub(super) fn begin(
        self: &Arc<Repeats>,
        caller: &str,
        key: &str,
        request: [&[u8]; 3],
        now: Mono,
    ) -> Result<Begun, Problem> {
        let plain = key.bytes().all(|b| b.is_ascii_graphic());
        if !(1..=KEY_MAX).contains(&key.len()) || !plain {
            return Err(Problem::IdempotencyKey);
        }
        let id = self.hash(&[caller.as_bytes(), key.as_bytes()]);
        let request = self.hash(&request);
        // The mutex guards the map; nothing waits while it is held.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(&id).filter(|entry| now < entry.until) {
            if entry.request != request {
                return Err(Problem::IdempotencyReused);
            }
            return match &entry.answer {
                Some(answer) => Ok(Begun::Answered(answer.clone())),
                None => Err(Problem::IdempotencyRunning),
            };
        }
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, entry| now < entry.until);
            if entries.len() >= ENTRIES_MAX {
                return Err(Problem::IdempotencyFull);
            }
        }
        entries.insert(id, Entry { request, until: now.plus(LIFETIME), answer: None });
        Ok(Begun::New(Claim { repeats: Arc::clone(self), id, answered: false }))
    }

    /// Each part with its length, so that no two lists of parts have one hash.
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        // HMAC takes keys of every length.
        let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(self.key.expose()) else { return [0; 32] };
        for part in parts {
            hmac.update(&part.len().to_be_bytes());
            hmac.update(part);
        }
        hmac.finalize().into_bytes().into()
    }
}

impl Claim {
    /// Keeps the answer, for who asks again. One that says that we could not do it now is not kept: asking again is then
    /// the right thing to do.
    pub(super) fn answer(mut self, answer: &Answer) {
        if answer.status >= 500 || answer.body.len() > ANSWER_MAX {
            return;
        }
        let mut entries = self.repeats.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&self.id) {
            entry.answer = Some(answer.clone());
            self.answered = true;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.answered {
            self.repeats.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::default().plus(Duration::from_secs(seconds))
    }

    fn answer(status: u16) -> Answer {
        Answer { status, media_type: "application/json", body: b"{}".to_vec() }
    }

    #[test]
    fn one_key_is_one_act_for_a_day() {
        let repeats = Repeats::new(Secret::new([1; 32]));
        let begin = |caller, key, body: &'static [u8], now| {
            repeats.begin(caller, key, [b"POST", b"/v1/tokens/1/revoke", body], now)
        };
        let Ok(Begun::New(claim)) = begin("a", "k", b"1", at(0)) else { panic!("a new key") };
        assert!(matches!(begin("a", "k", b"1", at(0)), Err(Problem::IdempotencyRunning)));
        assert!(matches!(begin("a", "k", b"2", at(0)), Err(Problem::IdempotencyReused)));
        assert!(matches!(begin("b", "k", b"2", at(0)), Ok(Begun::New(_))), "each caller has its own keys");
        claim.answer(&answer(200));
        let Ok(Begun::Answered(again)) = begin("a", "k", b"1", at(86_399)) else {
            panic!("the answer again")
        };
        assert_eq!(again, answer(200));
        assert!(matches!(begin("a", "k", b"2", at(86_400)), Ok(Begun::New(_))), "forgotten after a day");
    }

    #[test]
    fn what_could_not_be_done_now_may_be_asked_again() {
        let repeats = Repeats::new(Secret::new([1; 32]));
        let begin = || repeats.begin("a", "k", [b"POST", b"/", b""], at(0));
        let Ok(Begun::New(claim)) = begin() else { panic!("a new key") };
        claim.answer(&answer(503));
        let Ok(Begun::New(claim)) = begin() else { panic!("a free key") };
        drop(claim);
        assert!(matches!(begin(), Ok(Begun::New(_))), "a claim that was dropped leaves nothing");
        for bad in ["", "a b", "é", "\n", &"k".repeat(KEY_MAX + 1)] {
            let refused = repeats.begin("a", bad, [b"", b"", b""], at(0));
            assert!(matches!(refused, Err(Problem::IdempotencyKey)), "{bad}");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let repeats = Repeats::new(Secret::new([1; 32]));
        for n in 0..ENTRIES_MAX {
            match repeats.begin("a", &n.to_string(), [b"", b"", b""], at(0)) {
                Ok(Begun::New(claim)) => claim.answer(&answer(200)),
                _ => panic!("{n} is new"),
            }
        }
        assert!(matches!(repeats.begin("a", "late", [b"", b"", b""], at(0)), Err(Problem::IdempotencyFull)));
        assert!(matches!(repeats.begin("a", "late", [b"", b"", b""], at(86_400)), Ok(Begun::New(_))));
    }
}
