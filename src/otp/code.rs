//! A code as the user typed it: so many ASCII digits, leading zeros included.

use super::Digits;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A code of 6 to 8 digits. Wiped when dropped, never printed, compared in constant time.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Code {
    value: u32,
    #[zeroize(skip)]
    digits: Digits,
}

impl Code {
    /// Reads exactly as many ASCII digits as asked for; `None` for anything else: signs, blanks, digits of other
    /// scripts, one digit too few (OTP-04, OTP-14).
    pub fn parse(octets: &[u8], digits: Digits) -> Option<Code> {
        if octets.len() != digits.count() {
            return None;
        }
        let value = octets.iter().try_fold(0u32, |value, octet| {
            let digit = octet.is_ascii_digit().then(|| u32::from(octet - b'0'))?;
            value.checked_mul(10)?.checked_add(digit)
        })?;
        Some(Code { value, digits })
    }

    /// The code that a truncated HMAC shows (RFC 4226 §5.3).
    pub fn shown(truncated: u32, digits: Digits) -> Code {
        Code { value: truncated % digits.modulus(), digits }
    }

    /// How long it is.
    pub const fn digits(&self) -> Digits {
        self.digits
    }

    /// Whether a truncated HMAC shows this code; the time taken tells nothing about where they differ.
    #[must_use]
    pub fn fits(&self, truncated: u32) -> bool {
        self.value.ct_eq(&(truncated % self.digits.modulus())).into()
    }

    /// The digits as text, leading zeros included: for the demo and for tests, never for a log.
    pub fn expose(&self) -> String {
        format!("{:0width$}", self.value, width = self.digits.count())
    }
}

/// Equal length and equal digits, compared in constant time.
impl PartialEq for Code {
    fn eq(&self, other: &Code) -> bool {
        self.digits == other.digits && bool::from(self.value.ct_eq(&other.value))
    }
}

impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[code]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn otp_04_leading_zeros_are_significant() {
        let code = Code::parse(b"081804", Digits::SIX).unwrap();
        assert!(code.fits(7_081_804));
        assert_eq!(code.expose(), "081804");
        assert_eq!(Code::parse(b"81804", Digits::SIX), None);
        assert_ne!(Code::parse(b"00081804", Digits::EIGHT).unwrap(), code);
    }

    #[test]
    fn otp_14_only_ascii_digits_make_a_code() {
        for bad in [
            "+12345", "-12345", " 12345", "12345 ", "12 345", "1234567", "12345", "", "１２", "12345\0",
            "0x1234",
        ] {
            assert_eq!(Code::parse(bad.as_bytes(), Digits::SIX), None, "{bad:?}");
        }
        assert_eq!(Code::parse("１２３４５６".as_bytes(), Digits::SIX), None);
    }

    #[test]
    fn a_code_never_prints() {
        assert_eq!(format!("{:?}", Code::parse(b"123456", Digits::SIX)), "Some([code])");
    }
}
