//! Token keys at rest: sealed under a key from a file, bound to the serial number of their token.
//!
//! ```text
//! {sekisho:v1}<key id>:<base64url of nonce (24) || ciphertext || tag (16)>
//! ```
//!
//! XChaCha20-Poly1305; the associated data are the version, the key id and the serial number, so that a sealed key
//! moved to another token does not open.

use crate::secret::{Secret, same_bytes};
use arc_swap::ArcSwap;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// The keys that seal and open: the first seals, all open. Without any, nothing sealed can be read. Whoever holds it sees
/// the keys of the last [`Keyring::take_over`].
#[derive(Default)]
pub struct Keyring {
    keys: ArcSwap<Keys>,
    generation: AtomicU64,
}

type Keys = Vec<(Box<str>, Secret)>;

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
            Some(file) if keyring.keys.load().is_empty() => Err(KeyFileProblem::Empty(file.as_ref().into())),
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

    /// The ids of all keys, the sealing one first.
    pub fn ids(&self) -> Vec<Box<str>> {
        self.keys.load().iter().map(|(id, _)| id.clone()).collect()
    }

    /// Has the keys of another ring from now on; nobody who holds this one has to be told.
    pub fn take_over(&self, other: &Keyring) {
        let keys = other.keys.load_full();
        // Whoever sees another generation makes all users anew, and most reloads bring the same keys.
        if **self.keys.load() != *keys {
            self.keys.store(keys);
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Tells the keys before [`Keyring::take_over`] from other ones after it: what could not be opened may open now.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether a sealed value is sealed by the key that seals now.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        let keys = self.keys.load();
        let Some((id, _)) = keys.first() else { return false };
        let rest = sealed.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(id.as_bytes()));
        rest.is_some_and(|rest| rest.starts_with(b":"))
    }

    /// Seals a token's key for its serial number. `nonce` is fresh random octets, never used twice.
    ///
    /// # Errors
    /// [`Refused::NoKey`].
    pub fn seal(&self, serial: &str, secret: &Secret, nonce: [u8; NONCE]) -> Result<String, Refused> {
        let keys = self.keys.load();
        let (id, key) = keys.first().ok_or(Refused::NoKey)?;
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
        let keys = self.keys.load();
        let (_, key) =
            keys.iter().find(|(known, _)| **known == *id).ok_or_else(|| Refused::KeyUnknown(id.into()))?;
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
        let mut keys: Keys = self.keys.load().iter().map(|(id, key)| (id.clone(), key.duplicate())).collect();
        match keys.iter().find(|(known, _)| **known == *id) {
            // The same line in two files says nothing new.
            Some((_, known)) if same_bytes(known.expose(), key.expose()) => Ok(()),
            Some(_) => Err(KeyProblem::Repeated),
            None => {
                keys.push((id.into(), key));
                self.keys.store(Arc::new(keys));
                Ok(())
            }
        }
    }
}

/// Why a key file cannot get a new key.
#[derive(Debug, thiserror::Error)]
pub enum RotateProblem {
    /// What is there cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileProblem),
    /// The id stands for a key already, or is none.
    #[error(
        "{0:?} cannot be the id of a new key; take 1 to 64 letters, digits, dots, hyphens or underscores that no key has"
    )]
    Id(Box<str>),
    /// The file cannot be written.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Puts a new key before those of a key file: it seals from now on, the others go on opening. The file is replaced whole,
/// with the mode and owner that it had; a daemon reads it again with SIGHUP.
///
/// # Errors
/// A file that is no key file or cannot be replaced, an id that is taken.
pub fn rotate(file: &Path, id: &str) -> Result<(), RotateProblem> {
    let before = Keyring::load(&[file])?;
    if !is_id(id) || before.ids().iter().any(|known| **known == *id) {
        return Err(RotateProblem::Id(id.into()));
    }
    replace(file, id).map_err(|source| RotateProblem::File { file: file.into(), source })
}

fn replace(file: &Path, id: &str) -> io::Result<()> {
    let known = std::fs::metadata(file)?;
    let mut text = Keyring::line(id, &*new_key()?);
    text.push_str(&Zeroizing::new(std::fs::read_to_string(file)?));
    let unfinished = file.with_extension("new");
    let mut options = OpenOptions::new();
    let mut written = options.write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let finish = |written: &mut File| -> io::Result<()> {
        written.write_all(text.as_bytes())?;
        written.set_permissions(known.permissions())?;
        std::os::unix::fs::fchown(&*written, Some(known.uid()), Some(known.gid()))?;
        written.sync_all()?;
        std::fs::rename(&unfinished, file)
    };
    if let Err(error) = finish(&mut written) {
        let _ = std::fs::remove_file(&unfinished);
        return Err(error);
    }
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// The octets of a new key.
///
/// # Errors
/// The system gives no random octets.
pub fn new_key() -> io::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(io::Error::other)?;
    Ok(key)
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

    fn ids(keyring: &Keyring) -> Vec<String> {
        keyring.ids().into_iter().map(String::from).collect()
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
        assert_eq!(ids(&both), ["new", "old"]);
        assert!(!both.is_current(sealed.as_bytes()));
        assert_eq!(both.open("S1", sealed.as_bytes()), Ok(Secret::new(*b"abc")));
        let again = both.seal("S1", &Secret::new(*b"abc"), [2; NONCE]).unwrap();
        assert_eq!(old.open("S1", again.as_bytes()), Err(Refused::KeyUnknown("new".into())));
        assert!(both.is_current(again.as_bytes()));
        // A ring that is held somewhere has the new keys with it.
        assert_eq!(old.generation(), 0);
        for _ in 0..2 {
            old.take_over(&both);
            assert_eq!(old.generation(), 1);
        }
        assert_eq!(old.open("S1", again.as_bytes()), Ok(Secret::new(*b"abc")));
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
        assert_eq!(ids(&Keyring::load(&[&new, &old]).unwrap()), ["b", "a"]);
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

    #[test]
    fn a_rotated_file_seals_with_its_new_key_and_stays_its_owners() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seal.key");
        std::fs::write(&file, format!("# made in 2025\n{}", line("2025", 1))).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let sealed = Keyring::load(&[&file]).unwrap().seal("S1", &Secret::new(*b"abc"), [1; NONCE]).unwrap();
        rotate(&file, "2026").unwrap();
        let keyring = Keyring::load(&[&file]).unwrap();
        assert_eq!(ids(&keyring), ["2026", "2025"]);
        assert_eq!(keyring.open("S1", sealed.as_bytes()), Ok(Secret::new(*b"abc")));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(&file).unwrap().contains("# made in 2025"));
        for id in ["2026", "2025", "", "a b"] {
            assert!(matches!(rotate(&file, id), Err(RotateProblem::Id(_))), "{id}");
        }
        assert!(matches!(rotate(&folder.path().join("none"), "x"), Err(RotateProblem::Keys(_))));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    const FROZEN: &str =
        "{sekisho:v1}k:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHrB673Ij8f0wz2UErnybckmuUqFsGJmj0myIzLkHP-L_vbdI-";
}
