//! Bytes that wipe themselves, print as `[secret]` and compare in constant time.

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret of any length on the heap: shared secrets, token keys, the directory's bind password.
///
/// There is no `Clone`: whoever needs a second copy says so with [`Secret::duplicate`].
#[derive(ZeroizeOnDrop)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes over the bytes; a `Vec` with spare capacity is copied once and the original wiped.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        let mut bytes: Vec<u8> = bytes.into();
        if bytes.len() == bytes.capacity() {
            return Secret(bytes.into_boxed_slice());
        }
        let kept: Box<[u8]> = bytes.as_slice().into();
        bytes.zeroize();
        Secret(kept)
    }

    /// The bytes, for the one computation that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes it has. Lengths are not treated as secret.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A second copy that also wipes itself.
    pub fn duplicate(&self) -> Secret {
        Secret(self.0.clone())
    }
}

/// Equal bytes, compared in constant time for equal lengths.
impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        same_bytes(&self.0, &other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A secret that stands within octets of somebody else, who wipes them.
#[derive(Clone, Copy)]
pub struct SecretSlice<'a>(&'a [u8]);

impl<'a> SecretSlice<'a> {
    /// What these octets are.
    pub const fn new(octets: &'a [u8]) -> SecretSlice<'a> {
        SecretSlice(octets)
    }

    /// The bytes, for the one computation that needs them.
    pub const fn expose(self) -> &'a [u8] {
        self.0
    }

    /// A copy that wipes itself.
    pub fn duplicate(self) -> Secret {
        Secret::new(self.0)
    }
}

impl fmt::Debug for SecretSlice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The longest clear-text password that RADIUS can carry (RFC 2865 §5.2), in octets.
pub const PASSWORD_MAX: usize = 128;

/// The content of a User-Password after unhiding, or a part of it: password, code, or both. Inline, so that a
/// request allocates nothing for it, and wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PasswordField {
    bytes: [u8; PASSWORD_MAX],
    len: usize,
}

impl PasswordField {
    /// Copies at most [`PASSWORD_MAX`] octets; `None` if there are more.
    pub fn new(bytes: &[u8]) -> Option<PasswordField> {
        let mut field = PasswordField { bytes: [0; PASSWORD_MAX], len: bytes.len() };
        field.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(field)
    }

    /// The octets, exactly as they were sent.
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// How many octets it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty. An empty password never reaches a directory (RFC 4513 §5.1.2).
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A second copy that also wipes itself.
    pub fn duplicate(&self) -> PasswordField {
        PasswordField { bytes: self.bytes, len: self.len }
    }
}

impl fmt::Debug for PasswordField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
#[must_use]
pub fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_print() {
        let field = PasswordField::new(b"hunter2").unwrap();
        let shown = format!("{:?} {:?} {:?}", Secret::new(*b"abc"), SecretSlice::new(b"abc"), field);
        assert_eq!(shown, "[secret] [secret] [secret]");
    }

    #[test]
    fn a_password_field_holds_exactly_what_radius_can_carry() {
        let long = [b'x'; PASSWORD_MAX + 1];
        assert_eq!(PasswordField::new(&long[..PASSWORD_MAX]).unwrap().expose(), &long[..PASSWORD_MAX]);
        assert!(PasswordField::new(&long).is_none());
    }

    #[test]
    fn secrets_compare_by_content() {
        assert_eq!(Secret::new(*b"abc"), Secret::new(*b"abc"));
        assert_ne!(Secret::new(*b"abc"), Secret::new(*b"abcd"));
    }
}
