//! What protects the keys of a container: AES-CBC with HMAC-SHA1 over it, verified before anything is decrypted.

use super::{CIPHERS, PskcProblem};
use crate::secret::{Secret, same_bytes};
use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::block_padding::{NoPadding, Pkcs7};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use cbc::{Decryptor, Encryptor};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

/// The block of AES, in octets.
const BLOCK: usize = 16;

/// The octets of HMAC-SHA1, and of a MAC key that is made here.
const MAC: usize = 20;

/// The longest ciphertext: an initial vector, a key of 128 octets and its padding, with room to spare.
const CIPHERTEXT_MAX: usize = 512;

/// What encrypts and what authenticates the keys of one container.
pub struct Seal {
    key: Secret,
    mac_key: Secret,
}

/// Random octets for one container. They must never be used twice.
pub struct Randomness {
    /// The salt of the password.
    pub salt: [u8; 16],
    /// The MAC key.
    pub mac_key: [u8; MAC],
    /// The initial vector of the encrypted MAC key.
    pub initial_vector: [u8; BLOCK],
}

/// Why nothing can be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealProblem {
    /// A key that is not of AES.
    #[error("the pre-shared key must have 16, 24 or 32 octets (32, 48 or 64 hexadecimal digits)")]
    KeyLength,
    /// More than the cipher is given here.
    #[error("the value is too long to be sealed")]
    TooLong,
}

impl Seal {
    /// With a key of 16, 24 or 32 octets and a fresh MAC key.
    ///
    /// # Errors
    /// [`SealProblem::KeyLength`].
    pub fn new(key: Secret, mac_key: Secret) -> Result<Seal, SealProblem> {
        if cipher_of(&key).is_some() { Ok(Seal { key, mac_key }) } else { Err(SealProblem::KeyLength) }
    }

    /// What encrypts and what authenticates, for whoever writes packages elsewhere.
    pub fn keys(&self) -> (&Secret, &Secret) {
        (&self.key, &self.mac_key)
    }

    /// The name of the cipher.
    pub(super) fn cipher(&self) -> &'static str {
        cipher_of(&self.key).unwrap_or_default()
    }

    /// The MAC key, encrypted, for the container's header.
    pub(super) fn mac_key(&self, initial_vector: &[u8; BLOCK]) -> Result<Vec<u8>, SealProblem> {
        encrypt(&self.key, initial_vector, self.mac_key.expose())
    }

    /// A token's key, encrypted, and the MAC over it. The initial vector is made from the MAC key and the serial number:
    /// nobody without the one can foresee it, and no two tokens of a container share the other.
    pub(super) fn close(&self, serial: &str, secret: &Secret) -> Result<(Vec<u8>, [u8; MAC]), SealProblem> {
        let vector = mac(&self.mac_key, &[b"initial vector\0", serial.as_bytes()]);
        let vector = vector.first_chunk().ok_or(SealProblem::TooLong)?;
        let ciphertext = encrypt(&self.key, vector, secret.expose())?;
        let mac = mac(&self.mac_key, &[&ciphertext]);
        Ok((ciphertext, mac))
    }
}

/// The name of the cipher that takes a key of this length.
pub(super) fn cipher_of(key: &Secret) -> Option<&'static str> {
    CIPHERS.into_iter().find(|(octets, _)| *octets == key.len()).map(|(_, name)| name)
}

/// The key of so many octets that a password stands for (RFC 2898 §5.2 with HMAC-SHA1).
pub(super) fn derive(password: &Secret, salt: &[u8], rounds: u32, octets: usize) -> Secret {
    let mut key = Zeroizing::new(vec![0; octets]);
    pbkdf2::pbkdf2_hmac::<Sha1>(password.expose(), salt, rounds, &mut key);
    Secret::new(&**key)
}

/// The value behind a ciphertext, if its MAC is right.
pub(super) fn verify_and_open(
    key: &Secret,
    mac_key: &Secret,
    ciphertext: &[u8],
    value_mac: &[u8],
) -> Result<Secret, PskcProblem> {
    if !same_bytes(&mac(mac_key, &[ciphertext]), value_mac) {
        return Err(PskcProblem::MacWrong);
    }
    decrypt(key, ciphertext)
}

/// Decrypts; what comes out is not authentic by that.
pub(super) fn decrypt(key: &Secret, ciphertext: &[u8]) -> Result<Secret, PskcProblem> {
    let (vector, blocks) = ciphertext.split_at_checked(BLOCK).ok_or(PskcProblem::CipherValue)?;
    if blocks.is_empty() || ciphertext.len() > CIPHERTEXT_MAX {
        return Err(PskcProblem::CipherValue);
    }
    let mut buffer = Zeroizing::new(blocks.to_vec());
    let clear = match key.len() {
        24 => clear::<Decryptor<Aes192>>(key, vector, &mut buffer),
        32 => clear::<Decryptor<Aes256>>(key, vector, &mut buffer),
        _ => clear::<Decryptor<Aes128>>(key, vector, &mut buffer),
    };
    let clear = clear.ok_or(PskcProblem::CipherValue)?;
    // XML Encryption §5.2: only the last octet of the padding says anything.
    let padding = clear.last().copied().map(usize::from).filter(|padding| (1..=BLOCK).contains(padding));
    let length = padding.and_then(|padding| clear.len().checked_sub(padding));
    let value = length.and_then(|length| clear.get(..length)).ok_or(PskcProblem::CipherValue)?;
    Ok(Secret::new(value))
}

fn encrypt(key: &Secret, vector: &[u8; BLOCK], value: &[u8]) -> Result<Vec<u8>, SealProblem> {
    let mut buffer = Zeroizing::new([0; CIPHERTEXT_MAX]);
    buffer.get_mut(..value.len()).ok_or(SealProblem::TooLong)?.copy_from_slice(value);
    let blocks = match key.len() {
        24 => blocks::<Encryptor<Aes192>>(key, vector, &mut *buffer, value.len()),
        32 => blocks::<Encryptor<Aes256>>(key, vector, &mut *buffer, value.len()),
        _ => blocks::<Encryptor<Aes128>>(key, vector, &mut *buffer, value.len()),
    };
    Ok([vector.as_slice(), blocks?].concat())
}

fn clear<'b, C: KeyIvInit + BlockModeDecrypt>(
    key: &Secret,
    vector: &[u8],
    blocks: &'b mut [u8],
) -> Option<&'b [u8]> {
    C::new_from_slices(key.expose(), vector).ok()?.decrypt_padded::<NoPadding>(blocks).ok()
}

fn blocks<'b, C: KeyIvInit + BlockModeEncrypt>(
    key: &Secret,
    vector: &[u8],
    buffer: &'b mut [u8],
    length: usize,
) -> Result<&'b [u8], SealProblem> {
    let cipher = C::new_from_slices(key.expose(), vector).map_err(|_| SealProblem::KeyLength)?;
    cipher.encrypt_padded::<Pkcs7>(buffer, length).map_err(|_| SealProblem::TooLong)
}

fn mac(key: &Secret, parts: &[&[u8]]) -> [u8; MAC] {
    // HMAC takes keys of every length.
    let Ok(mut hmac) = Hmac::<Sha1>::new_from_slice(key.expose()) else { return [0; MAC] };
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}
