//! Token keys at rest: sealed under a key from a file, bound to the serial number of their token.
//!
//! ```text
//! {sekisho:v1}<key id>:<base64url of nonce (24) || ciphertext || tag (16)>
//! ```
//!
//! XChaCha20-Poly1305; the associated data are the version, the key id and the serial number, so that a sealed key
//! moved to another token does not open.

use crate::secret::{Secret, same_bytes};
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What every sealed value begins with.
pub const MARK: &str = "{sekisho:v1}";
/// What every version of a sealed value begins with.
const FAMILY: &[u8] = b"{sekisho:";
/// The length of a nonce in octets; chosen at random, it is never the same twice.
pub const NONCE: usize = 24;
const TAG: usize = 16;
/// The longest sealed value that is looked at, in octets.
const SEALED_MAX: usize = 2048;

/// The keys that seal and open: the first seals, all open. Without any, nothing sealed can be read.
#[derive(Default)]
pub struct Keyring(Vec<(Box<str>, Secret)>);

/// Why a value is not sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no key to seal with.
    #[error("there is no key to seal with; set seal-key-file")]
    NoKey,
    /// It is sealed under a key that we do not hold.
    #[error("the secret is sealed under the key {0:?}, which is not in seal-key-file; add that key")]
    KeyUnknown(Box<str>),
    /// The key does not open it: it was changed, cut, or belongs to another serial number.
    #[error("the sealed secret does not open; it is damaged or belongs to another serial number")]
    Damaged,
    /// It is not of the form that we write.
    #[error("the sealed secret is not of the form {{sekisho:v1}}<key id>:<base64url>")]
    Form,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileProblem {
    /// It cannot be read.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line is not a key.
    #[error("{file}, line {line}: {problem}")]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// There is no key in any of the files.
    #[error("no key in {0}; write lines of the form `id:base64 of 32 octets`")]
    Empty(PathBuf),
}

/// What is wrong with one line of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// No colon, or an id of other characters.
    #[error(
        "write `id:base64 of 32 octets`; an id has 1 to 64 letters, digits, dots, hyphens or underscores"
    )]
    Form,
    /// Not 32 octets in base64.
    #[error("the key is not 32 octets in base64")]
    Key,
    /// The id stands for two keys.
    #[error("the id stands twice")]
    Repeated,
}

impl Keyring {
    /// Reads key files in order: the first key of the first file seals.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is no key, an id that stands twice, no key at all.
    pub fn load(files: &[impl AsRef<Path>]) -> Result<Keyring, KeyFileProblem> {
        let mut keyring = Keyring::default();
        for file in files {
            let file = file.as_ref();
            let text = std::fs::read_to_string(file)
                .map_err(|source| KeyFileProblem::File { file: file.into(), source })?;
            keyring.add(&Zeroizing::new(text)).map_err(|(line, problem)| KeyFileProblem::Line {
                file: file.into(),
                line,
                problem,
            })?;
        }
        match files.first() {
            Some(file) if keyring.0.is_empty() => Err(KeyFileProblem::Empty(file.as_ref().into())),
            _ => Ok(keyring),
        }
    }

    /// Adds the keys of a text in the form of a key file: one `id:base64` a line; empty lines and `#` lines are skipped.
    ///
    /// # Errors
    /// The number of the first line that is no key, and why.
    pub fn add(&mut self, text: &str) -> Result<(), (usize, KeyProblem)> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                self.add_line(line).map_err(|problem| (number + 1, problem))?;
            }
        }
        Ok(())
    }

    /// A line of a key file for a new key.
    pub fn line(id: &str, key: &[u8; 32]) -> Zeroizing<String> {
        Zeroizing::new(format!("{id}:{}\n", BASE64.encode(key)))
    }

    /// The id of the key that seals.
    pub fn sealing_id(&self) -> Option<&str> {
        self.0.first().map(|(id, _)| &**id)
    }

    /// The ids of all keys, the sealing one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(id, _)| &**id)
    }

    /// Seals a token's key for its serial number. `nonce` is fresh random octets, never used twice.
    ///
    /// # Errors
    /// [`Refused::NoKey`].
    pub fn seal(&self, serial: &str, secret: &Secret, nonce: [u8; NONCE]) -> Result<String, Refused> {
        let (id, key) = self.0.first().ok_or(Refused::NoKey)?;
        let mut sealed = Zeroizing::new(Vec::with_capacity(NONCE + secret.len() + TAG));
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(secret.expose());
        let (_, content) = sealed.split_at_mut_checked(NONCE).ok_or(Refused::Form)?;
        let tag = cipher(key)?
            .encrypt_inout_detached(&XNonce::from(nonce), &associated(id, serial), content.into())
            .map_err(|_| Refused::Form)?;
        sealed.extend_from_slice(&tag);
        Ok(format!("{MARK}{id}:{}", BASE64URL_NOPAD.encode(&sealed)))
    }

    /// Opens what was sealed for this serial number.
    ///
    /// # Errors
    /// An unknown key, a damaged or swapped value, another form.
    pub fn open(&self, serial: &str, text: &[u8]) -> Result<Secret, Refused> {
        let text = Some(text).filter(|text| text.len() <= SEALED_MAX).ok_or(Refused::Form)?;
        let text = std::str::from_utf8(text).map_err(|_| Refused::Form)?;
        let (id, sealed) =
            text.strip_prefix(MARK).and_then(|rest| rest.split_once(':')).ok_or(Refused::Form)?;
        if !is_id(id) {
            return Err(Refused::Form);
        }
        let mut sealed = BASE64URL_NOPAD.decode(sealed.as_bytes()).map_err(|_| Refused::Form)?;
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE>().ok_or(Refused::Form)?;
        let (content, tag) = rest.split_last_chunk_mut::<TAG>().ok_or(Refused::Form)?;
        let (_, key) =
            self.0.iter().find(|(known, _)| **known == *id).ok_or_else(|| Refused::KeyUnknown(id.into()))?;
        cipher(key)?
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                &associated(id, serial),
                (&mut *content).into(),
                &(*tag).into(),
            )
            .map_err(|_| Refused::Damaged)?;
        let secret = Secret::new(&*content);
        zeroize::Zeroize::zeroize(content);
        Ok(secret)
    }

    fn add_line(&mut self, line: &str) -> Result<(), KeyProblem> {
        let (id, key) = line.split_once(':').ok_or(KeyProblem::Form)?;
        let (id, key) = (id.trim(), key.trim());
        if !is_id(id) {
            return Err(KeyProblem::Form);
        }
        let key = Secret::new(BASE64.decode(key.as_bytes()).map_err(|_| KeyProblem::Key)?);
        if key.len() != 32 {
            return Err(KeyProblem::Key);
        }
        match self.0.iter().find(|(known, _)| **known == *id) {
            // The same line in two files says nothing new.
            Some((_, known)) if same_bytes(known.expose(), key.expose()) => Ok(()),
            Some(_) => Err(KeyProblem::Repeated),
            None => {
                self.0.push((id.into(), key));
                Ok(())
            }
        }
    }
}

/// Whether a value says that it is sealed by us, in this version or another.
pub fn is_sealed(value: &[u8]) -> bool {
    value.starts_with(FAMILY)
}

fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn cipher(key: &Secret) -> Result<XChaCha20Poly1305, Refused> {
    XChaCha20Poly1305::new_from_slice(key.expose()).map_err(|_| Refused::NoKey)
}

/// Neither the mark nor an id contains a NUL, so no two triples give the same octets.
fn associated(id: &str, serial: &str) -> Vec<u8> {
    [MARK, "\0", id, "\0", serial].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(text: &str) -> Keyring {
        let mut keyring = Keyring::default();
        keyring.add(text).unwrap();
        keyring
    }

    fn line(id: &str, octet: u8) -> String {
        Keyring::line(id, &[octet; 32]).to_string()
    }

    #[test]
    fn what_is_sealed_opens_for_its_serial_number_only() {
        let keyring = keyring(&line("2026-a", 1));
        let secret = Secret::new(*b"12345678901234567890");
        let sealed = keyring.seal("S1", &secret, [7; NONCE]).unwrap();
        assert!(sealed.starts_with("{sekisho:v1}2026-a:") && is_sealed(sealed.as_bytes()));
        assert_eq!(keyring.open("S1", sealed.as_bytes()), Ok(secret.duplicate()));
        assert_eq!(keyring.open("S2", sealed.as_bytes()), Err(Refused::Damaged));
        let other = keyring.seal("S2", &secret, [8; NONCE]).unwrap();
        assert_eq!(keyring.open("S1", other.as_bytes()), Err(Refused::Damaged));
        let empty = keyring.seal("S1", &Secret::new([]), [9; NONCE]).unwrap();
        assert!(keyring.open("S1", empty.as_bytes()).unwrap().is_empty());
    }

    #[test]
    fn the_form_never_changes() {
        // Stored values must open for ever: this one was made by this version.
        let keyring = keyring(&line("k", 1));
        let sealed = keyring.seal("S1", &Secret::new(*b"12345678901234567890"), [7; NONCE]).unwrap();
        assert_eq!(sealed, FROZEN);
    }

    #[test]
    fn a_new_key_seals_and_the_old_one_still_opens() {
        let old = keyring(&line("old", 1));
        let sealed = old.seal("S1", &Secret::new(*b"abc"), [1; NONCE]).unwrap();
        let both = keyring(&format!("# rotated\n\n{}{}", line("new", 2), line("old", 1)));
        assert_eq!(both.sealing_id(), Some("new"));
        assert_eq!(both.open("S1", sealed.as_bytes()), Ok(Secret::new(*b"abc")));
        let again = both.seal("S1", &Secret::new(*b"abc"), [2; NONCE]).unwrap();
        assert_eq!(old.open("S1", again.as_bytes()), Err(Refused::KeyUnknown("new".into())));
        let impostor = keyring(&line("old", 3));
        assert_eq!(impostor.open("S1", sealed.as_bytes()), Err(Refused::Damaged));
        assert_eq!(Keyring::default().open("S1", sealed.as_bytes()), Err(Refused::KeyUnknown("old".into())));
        assert_eq!(Keyring::default().seal("S1", &Secret::new(*b"abc"), [1; NONCE]), Err(Refused::NoKey));
    }

    #[test]
    fn no_changed_octet_opens() {
        let keyring = keyring(&format!("{}{}", line("k", 1), line("j", 1)));
        let sealed =
            keyring.seal("S1", &Secret::new(*b"12345678901234567890"), [7; NONCE]).unwrap().into_bytes();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert!(keyring.open("S1", &changed).is_err(), "octet {at}, bit {bit}");
            }
            assert!(keyring.open("S1", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn other_forms_are_told_apart_from_damage() {
        let keyring = keyring(&line("k", 1));
        let long = format!("{MARK}k:{}", "A".repeat(SEALED_MAX));
        for text in [
            "",
            "abc",
            "{sekisho:v2}k:AAAA",
            "{sekisho:v1}k",
            "{sekisho:v1}:AAAA",
            "{sekisho:v1}k:AAAA",
            "{sekisho:v1}k:+/==",
            &long,
        ] {
            assert_eq!(keyring.open("S1", text.as_bytes()), Err(Refused::Form), "{text}");
        }
        assert_eq!(keyring.open("S1", b"{sekisho:v1}k:\xff"), Err(Refused::Form));
    }

    #[test]
    fn key_files_are_read_in_order_and_refused_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        std::fs::write(&new, line("b", 2)).unwrap();
        std::fs::write(&old, line("a", 1) + &line("b", 2)).unwrap();
        assert!(Keyring::load(&[&new, &old]).unwrap().ids().eq(["b", "a"]));
        for (text, line, problem) in [
            ("a".to_owned(), 1, KeyProblem::Form),
            (format!("\n{}", line("a b", 1)), 2, KeyProblem::Form),
            ("a:AAAA".to_owned(), 1, KeyProblem::Key),
            ("a:not base64".to_owned(), 1, KeyProblem::Key),
            (line("a", 1) + &line("a", 2), 2, KeyProblem::Repeated),
        ] {
            assert_eq!(Keyring::default().add(&text), Err((line, problem)), "{text}");
        }
        std::fs::write(&new, "# nothing\n").unwrap();
        assert!(matches!(Keyring::load(&[&new]), Err(KeyFileProblem::Empty(file)) if file == new));
        assert!(matches!(Keyring::load(&[folder.path().join("none")]), Err(KeyFileProblem::File { .. })));
    }

    const FROZEN: &str =
        "{sekisho:v1}k:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHrB673Ij8f0wz2UErnybckmuUqFsGJmj0myIzLkHP-L_vbdI-";
}
