//! From the octets of a password field to the UTF-8 that the directory compares (RFC 4513 §6.3.1).

use crate::outcome::Reason;
use crate::secret::Secret;
use encoding_rs::SHIFT_JIS;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// How a client writes passwords, and what is done to them before the directory sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PasswordEncoding {
    /// The character set the client sends.
    pub charset: Charset,
    /// What makes equal-looking passwords equal.
    pub normalisation: Normalisation,
}

/// The character set of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Charset {
    /// UTF-8, or whatever the directory holds: the octets pass untouched.
    #[default]
    Utf8,
    /// Shift_JIS as Windows writes it (code page 932).
    Cp932,
    /// ISO 8859-1: every octet is the character of its number.
    Latin1,
}

/// Unicode normalisation; only for directories that hold normalised passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Normalisation {
    /// None.
    #[default]
    Off,
    /// Composed (é from e and ´).
    Nfc,
    /// Composed, and compatible characters made one (full-width letters, half-width kana).
    Nfkc,
}

/// The octets are no text in the character set that the client declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be read in the encoding that the client declares")]
pub struct Unreadable;

impl From<Unreadable> for Reason {
    fn from(_: Unreadable) -> Reason {
        Reason::PasswordUnreadable
    }
}

impl PasswordEncoding {
    /// The password for the directory. It may be longer than what RADIUS carried: half-width kana grow threefold, and
    /// NFKC spells some single characters out.
    ///
    /// # Errors
    /// [`Unreadable`] for octets that are no text in the declared character set. UTF-8 that is not normalised is passed
    /// on as it is, valid or not.
    pub fn read(self, octets: &[u8]) -> Result<Secret, Unreadable> {
        let decoded;
        let text = match (self.charset, self.normalisation) {
            (Charset::Utf8, Normalisation::Off) => return Ok(Secret::new(octets)),
            (Charset::Utf8, _) => std::str::from_utf8(octets).map_err(|_| Unreadable)?,
            (Charset::Cp932, _) => {
                let text = SHIFT_JIS.decode_without_bom_handling_and_without_replacement(octets);
                decoded = Zeroizing::new(text.ok_or(Unreadable)?.into_owned());
                &decoded
            }
            (Charset::Latin1, _) => {
                decoded = gather(octets.iter().copied().map(char::from));
                &decoded
            }
        };
        Ok(match self.normalisation {
            Normalisation::Off => Secret::new(text),
            Normalisation::Nfc => Secret::new(gather(text.nfc()).as_bytes()),
            Normalisation::Nfkc => Secret::new(gather(text.nfkc()).as_bytes()),
        })
    }
}

/// Collects characters into a buffer that never grows, so that no copy of a password stays behind.
fn gather(characters: impl Iterator<Item = char> + Clone) -> Zeroizing<String> {
    let octets = characters.clone().map(char::len_utf8).sum();
    let mut text = Zeroizing::new(String::with_capacity(octets));
    text.extend(characters);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::PASSWORD_MAX;
    use proptest::prelude::*;

    fn read(charset: Charset, normalisation: Normalisation, octets: &[u8]) -> Option<Vec<u8>> {
        PasswordEncoding { charset, normalisation }.read(octets).ok().map(|secret| secret.expose().to_vec())
    }

    #[test]
    fn each_character_set_reads_its_own() {
        use Charset::{Cp932, Latin1, Utf8};
        use Normalisation::{Nfc, Nfkc, Off};
        for (charset, normalisation, octets, expected) in [
            (Cp932, Off, &b"\x83p\x83X"[..], Some("パス")),
            (Cp932, Off, b"\xca\xdf\xbd", Some("ﾊﾟｽ")),
            (Cp932, Nfkc, b"\xca\xdf\xbd", Some("パス")),
            (Cp932, Off, b"\\~|", Some("\\~|")),
            (Cp932, Off, b"\x87\x40\x81\x60", Some("①～")),
            (Cp932, Off, b"a\x83", None),
            (Cp932, Off, b"\xa0", None),
            (Latin1, Off, b"caf\xe9\x80\x00", Some("café\u{80}\0")),
            (Latin1, Nfkc, b"\xb5", Some("μ")),
            (Utf8, Nfc, "e\u{301}".as_bytes(), Some("é")),
            (Utf8, Nfc, "Ａ".as_bytes(), Some("Ａ")),
            (Utf8, Nfkc, "Ａ".as_bytes(), Some("A")),
            (Utf8, Nfc, b"\xff", None),
            (Utf8, Off, "e\u{301}".as_bytes(), Some("e\u{301}")),
            (Utf8, Off, b"", Some("")),
        ] {
            let found = read(charset, normalisation, octets);
            assert_eq!(
                found,
                expected.map(|text| text.as_bytes().to_vec()),
                "{charset:?} {normalisation:?} {octets:x?}"
            );
        }
    }

    #[test]
    fn a_full_field_may_grow() {
        let kana = [0xb1; PASSWORD_MAX];
        let read = read(Charset::Cp932, Normalisation::Off, &kana).unwrap();
        assert_eq!(read, "ｱ".repeat(PASSWORD_MAX).into_bytes());
    }

    proptest! {
        #[test]
        fn ldap_09_utf_8_passes_untouched(octets in proptest::collection::vec(any::<u8>(), 0..=PASSWORD_MAX)) {
            prop_assert_eq!(read(Charset::Utf8, Normalisation::Off, &octets), Some(octets));
        }

        #[test]
        fn no_octets_panic_and_growth_is_bounded(octets in proptest::collection::vec(any::<u8>(), 0..=PASSWORD_MAX)) {
            for charset in [Charset::Utf8, Charset::Cp932, Charset::Latin1] {
                for normalisation in [Normalisation::Off, Normalisation::Nfc, Normalisation::Nfkc] {
                    // U+FDFA is the worst: three octets become thirty-three.
                    let longest = read(charset, normalisation, &octets).map_or(0, |read| read.len());
                    prop_assert!(longest <= 11 * octets.len());
                }
            }
        }
    }
}
