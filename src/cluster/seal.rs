//! What leaves for the engine: sealed, and found again under keyed hashes, so that nothing secret stands readable in it.

use super::form::NoteKey;
use crate::secret::Secret;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroize;

const NONCE: usize = 24;
const TAG: usize = 16;

/// The length of the key that all nodes share, in octets.
pub const KEY_OCTETS: usize = 32;

/// What a note is about; each has its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The answer to a request, for its retransmission.
    Answer,
    /// An open two-step login.
    Challenge,
    /// A login that was accepted, for the gateway that did not hear of it.
    Login,
}

/// Seals and opens notes, and names them.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    names: Secret,
    /// The random part of every nonce, and the number of the next.
    prefix: [u8; 16],
    next: AtomicU64,
}

impl Sealer {
    /// Under the key that all nodes share; `prefix` is random octets of this process.
    pub fn new(key: &[u8; KEY_OCTETS], prefix: [u8; 16]) -> Sealer {
        let part = |purpose: &[u8]| keyed(key, &[purpose]);
        let (mut sealing, names) = (part(b"sekisho cluster seal"), part(b"sekisho cluster names"));
        let cipher = XChaCha20Poly1305::new(&sealing.into());
        sealing.zeroize();
        Sealer { cipher, names: Secret::new(names), prefix, next: AtomicU64::new(0) }
    }

    /// The key of the note about these parts. Whoever does not hold our key cannot tell or choose one.
    pub fn name(&self, about: About, parts: &[&[u8]]) -> NoteKey {
        let mut all: Vec<&[u8]> = Vec::with_capacity(parts.len() + 1);
        let kind: &[u8] = match about {
            About::Answer => b"r",
            About::Challenge => b"c",
            About::Login => b"g",
        };
        all.push(kind);
        all.extend_from_slice(parts);
        let hash = keyed(self.names.expose(), &all);
        let mut key = [0; 17];
        key.iter_mut().zip(kind.iter().chain(hash.iter())).for_each(|(to, from)| *to = *from);
        NoteKey(key)
    }

    /// Seals what the note under `key` says.
    pub fn seal(&self, key: &NoteKey, clear: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE];
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        nonce.iter_mut().zip(self.prefix.iter().chain(number.iter())).for_each(|(to, from)| *to = *from);
        let mut sealed = Vec::with_capacity(NONCE + clear.len() + TAG);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(clear);
        let (_, content) = sealed.split_at_mut_checked(NONCE)?;
        let tag = self.cipher.encrypt_inout_detached(&XNonce::from(nonce), &key.0, content.into()).ok()?;
        sealed.extend_from_slice(&tag);
        Some(sealed)
    }

    /// Opens what the note under `key` says; `None` if it was altered, moved, or sealed under another key.
    pub fn open(&self, key: &NoteKey, mut sealed: Vec<u8>) -> Option<Secret> {
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE>()?;
        let (content, tag) = rest.split_last_chunk_mut::<TAG>()?;
        self.cipher
            .decrypt_inout_detached(&XNonce::from(*nonce), &key.0, (&mut *content).into(), &(*tag).into())
            .ok()?;
        let clear = Secret::new(&*content);
        sealed.zeroize();
        Some(clear)
    }
}

/// HMAC-SHA-256 over the parts, each behind its length, so that no two lists of parts are the same octets.
fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(key: u8) -> Sealer {
        Sealer::new(&[key; 32], [5; 16])
    }

    #[test]
    fn another_node_with_the_same_key_opens_what_was_sealed() {
        let (one, two) = (sealer(1), Sealer::new(&[1; 32], [6; 16]));
        let key = one.name(About::Challenge, &[b"state"]);
        assert_eq!(key, two.name(About::Challenge, &[b"state"]));
        let sealed = one.seal(&key, b"pass").unwrap();
        assert!(!sealed.windows(4).any(|octets| octets == b"pass"));
        assert_eq!(two.open(&key, sealed.clone()).unwrap().expose(), b"pass");
        assert_ne!(one.seal(&key, b"pass").unwrap(), sealed, "no nonce twice");
    }

    #[test]
    fn what_is_altered_moved_or_under_another_key_does_not_open() {
        let one = sealer(1);
        let (key, other) = (one.name(About::Answer, &[b"a", b"b"]), one.name(About::Answer, &[b"ab"]));
        assert_ne!(key, other);
        assert_ne!(key, one.name(About::Login, &[b"a", b"b"]));
        let sealed = one.seal(&key, b"reply").unwrap();
        assert!(one.open(&other, sealed.clone()).is_none());
        assert!(sealer(2).open(&key, sealed.clone()).is_none());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(one.open(&key, altered).is_none(), "{at}");
        }
        assert!(one.open(&key, Vec::new()).is_none());
    }
}
