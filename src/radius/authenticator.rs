//! The shared secret and the four computations it is made for: hiding, unhiding, and two kinds of signature.

use crate::radius::packet::{Located, Packet};
use crate::secret::{PASSWORD_MAX, PasswordField, Secret, same_bytes};
use arrayvec::ArrayVec;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use std::fmt;
use zeroize::Zeroize;

/// One secret that a client and we share. The hash states that begin with the secret are kept and cloned per use, which
/// saves two MD5 blocks per signature. Everything is wiped when dropped.
pub struct SharedSecret {
    secret: Secret,
    /// MD5 that has taken in the secret.
    hidden: Md5,
    /// HMAC-MD5 keyed with the secret.
    signed: Hmac<Md5>,
}

impl SharedSecret {
    /// Takes over the secret; `None` if it is empty, which nobody may use (RFC 2865 §3).
    pub fn new(secret: Secret) -> Option<SharedSecret> {
        if secret.is_empty() {
            return None;
        }
        let signed = Hmac::new_from_slice(secret.expose()).ok()?;
        let hidden = Md5::new().chain_update(secret.expose());
        Some(SharedSecret { secret, hidden, signed })
    }

    /// Whether the packet's Message-Authenticator is this secret's (RFC 3579 §3.2), whatever its place. A packet with
    /// none, with two or with one of the wrong length is not signed.
    pub fn verify_message_authenticator(&self, packet: &Packet<'_>) -> bool {
        let Located::At { before, signature, after } = packet.message_authenticator() else { return false };
        self.verify_signature(&[before, &[0; 16], after], signature)
    }

    /// Whether `signature` is the HMAC of the parts in a row; compared in constant time.
    pub(super) fn verify_signature(&self, parts: &[&[u8]], signature: &[u8; 16]) -> bool {
        same_bytes(&self.sign(parts), signature)
    }

    /// The Message-Authenticator over the parts in a row, in which its own 16 octets are zero and, for a reply, the
    /// Authenticator is that of the request (RFC 3579 §3.2).
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut hmac = self.signed.clone();
        for part in parts {
            hmac.update(part);
        }
        hmac.finalize().into_bytes().into()
    }

    /// The Response Authenticator over the parts in a row: a finished reply that still has the Request Authenticator in
    /// its header (RFC 2865 §3).
    pub fn response_authenticator(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut md5 = Md5::new();
        for part in parts {
            md5.update(part);
        }
        md5.chain_update(self.secret.expose()).finalize().into()
    }

    /// Reads a User-Password (RFC 2865 §5.2): undoes the hiding and takes off the NULs at the end. `None` if the value
    /// is not 16 to 128 octets in steps of 16. With a wrong secret the result is noise, as long as a password.
    pub fn unhide(&self, hidden: &[u8], request_authenticator: &[u8; 16]) -> Option<PasswordField> {
        let (blocks, []) = hidden.as_chunks::<16>() else { return None };
        let mut clear = [0u8; PASSWORD_MAX];
        let used = clear.get_mut(..hidden.len()).filter(|used| !used.is_empty())?;
        let mut before = request_authenticator;
        for (block, out) in blocks.iter().zip(used.as_chunks_mut::<16>().0) {
            *out = xor(block, &self.pad(before));
            before = block;
        }
        let end = used.iter().rposition(|&octet| octet != 0).map_or(0, |last| last.saturating_add(1));
        let field = used.get(..end).and_then(PasswordField::new);
        used.zeroize();
        field
    }

    /// Hides a password of at most 128 octets (RFC 2865 §5.2); `None` if it is longer.
    pub fn hide(
        &self,
        password: &[u8],
        request_authenticator: &[u8; 16],
    ) -> Option<ArrayVec<u8, PASSWORD_MAX>> {
        if password.len() > PASSWORD_MAX {
            return None;
        }
        let mut hidden = ArrayVec::new();
        let mut before = *request_authenticator;
        // One block at least; an exact multiple gets no block of padding.
        for at in 0..password.len().div_ceil(16).max(1) {
            let mut block = [0u8; 16];
            for (to, from) in block.iter_mut().zip(password.iter().skip(at.saturating_mul(16))) {
                *to = *from;
            }
            before = xor(&block, &self.pad(&before));
            block.zeroize();
            hidden.try_extend_from_slice(&before).ok()?;
        }
        Some(hidden)
    }

    fn pad(&self, before: &[u8; 16]) -> [u8; 16] {
        self.hidden.clone().chain_update(before).finalize().into()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

fn xor(a: &[u8; 16], b: &[u8; 16]) -> [u8; 16] {
    (u128::from_ne_bytes(*a) ^ u128::from_ne_bytes(*b)).to_ne_bytes()
}
