//! What a token's codes are made of, each value within its bounds (OTP-13).

use std::fmt;
use std::time::Duration;

/// How the codes of one token are computed and how far from now they may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parameters {
    /// The hash inside the HMAC.
    pub algorithm: Algorithm,
    /// How long a code is.
    pub digits: Digits,
    /// What moves from one code to the next.
    pub moving: Moving,
    /// How many steps around now are accepted; a counter token does not look at it.
    pub window: Window,
}

impl Default for Parameters {
    /// SHA-1, 8 digits, 60 s, one step either way: what `kenshin-business` runs with.
    fn default() -> Parameters {
        Parameters {
            algorithm: Algorithm::Sha1,
            digits: Digits::EIGHT,
            moving: Moving::Time { period: Period::MINUTE },
            window: Window::ONE,
        }
    }
}

impl Parameters {
    /// All of it in three octets, for who keeps many: kind, digits and hash; by how much it moves; both sides of the window.
    pub const fn octets(&self) -> [u8; 3] {
        let (kind, by) = match self.moving {
            Moving::Time { period } => (0, period.0),
            Moving::Counter { look_ahead } => (1, look_ahead.0),
        };
        [
            kind << 6 | self.digits.0 << 2 | self.algorithm as u8,
            by,
            self.window.back << 4 | self.window.forward,
        ]
    }

    /// Reads what [`Parameters::octets`] gave; `None` for anything else.
    pub fn read([first, by, window]: [u8; 3]) -> Option<Parameters> {
        let all = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];
        Some(Parameters {
            algorithm: all.into_iter().find(|one| *one as u8 == first & 3)?,
            digits: Digits::new((first >> 2 & 15).into()).ok()?,
            moving: match first >> 6 {
                0 => Moving::Time { period: Period::from_seconds(by.into()).ok()? },
                1 => Moving::Counter { look_ahead: LookAhead::new(by.into()).ok()? },
                _ => return None,
            },
            window: Window::new((window >> 4).into(), (window & 15).into()).ok()?,
        })
    }
}

/// The hash inside the HMAC (RFC 6238 §1.2). There is no default for an unknown name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC-SHA-1, the only one that every authenticator app can do.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    /// Reads `sha1`, `SHA256`, `SHA-512` and the like, in any case.
    ///
    /// # Errors
    /// Every other name, so that none is ever taken for SHA-1 (OTP-33).
    pub fn parse(text: &str) -> Result<Algorithm, ParameterProblem> {
        match text.to_ascii_lowercase().replacen('-', "", 1).as_str() {
            "sha1" => Ok(Algorithm::Sha1),
            "sha256" => Ok(Algorithm::Sha256),
            "sha512" => Ok(Algorithm::Sha512),
            _ => Err(ParameterProblem::Algorithm),
        }
    }

    /// The word in configuration.
    pub const fn text(self) -> &'static str {
        match self {
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }
}

/// How many digits a code has: 6 to 8 (RFC 4226 R4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digits(u8);

impl Digits {
    /// The common length.
    pub const SIX: Digits = Digits(6);
    /// The length of most bank tokens.
    pub const EIGHT: Digits = Digits(8);
    /// Every length there is, shortest first.
    pub const ALL: [Digits; 3] = [Digits(6), Digits(7), Digits(8)];

    /// # Errors
    /// Anything but 6, 7 and 8.
    pub fn new(digits: u64) -> Result<Digits, ParameterProblem> {
        Digits::ALL.into_iter().find(|d| u64::from(d.0) == digits).ok_or(ParameterProblem::Digits)
    }

    /// The number of digits.
    pub const fn count(self) -> usize {
        self.0 as usize
    }

    /// 10 to the number of digits.
    pub(super) const fn modulus(self) -> u32 {
        10u32.pow(self.0 as u32)
    }
}

/// How long a code is shown: 15 to 120 whole seconds (NIST SP 800-63B-4 §3.1.4.1 sets the upper end).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period(u8);

impl Period {
    /// 30 seconds, the default of RFC 6238.
    pub const HALF_MINUTE: Period = Period(30);
    /// 60 seconds.
    pub const MINUTE: Period = Period(60);

    /// # Errors
    /// Below 15 s, above 120 s.
    pub fn from_seconds(seconds: u64) -> Result<Period, ParameterProblem> {
        u8::try_from(seconds)
            .ok()
            .filter(|s| (15..=120).contains(s))
            .map(Period)
            .ok_or(ParameterProblem::Period)
    }

    /// # Errors
    /// Below 15 s, above 120 s, or not whole seconds.
    pub fn new(length: Duration) -> Result<Period, ParameterProblem> {
        if length.subsec_nanos() != 0 {
            return Err(ParameterProblem::Period);
        }
        Period::from_seconds(length.as_secs())
    }

    /// The length in seconds; never zero.
    pub const fn seconds(self) -> u64 {
        self.0 as u64
    }
}

/// What moves from one code to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moving {
    /// The time (TOTP, RFC 6238), counted in periods since 1970.
    Time {
        /// The length of one step.
        period: Period,
    },
    /// A counter in the token (HOTP, RFC 4226).
    Counter {
        /// How many codes the user may have skipped.
        look_ahead: LookAhead,
    },
}

/// How many codes of a counter token may have been skipped: 0 to 10 (RFC 4226 §7.4 keeps it small).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LookAhead(u8);

impl LookAhead {
    /// Three: a button pressed by accident does not lock anybody out.
    pub const DEFAULT: LookAhead = LookAhead(3);
    /// The largest.
    pub const MAX: u8 = 10;

    /// # Errors
    /// More than [`LookAhead::MAX`].
    pub fn new(codes: u64) -> Result<LookAhead, ParameterProblem> {
        u8::try_from(codes)
            .ok()
            .filter(|&n| n <= LookAhead::MAX)
            .map(LookAhead)
            .ok_or(ParameterProblem::LookAhead)
    }

    /// The number of codes.
    pub const fn codes(self) -> u64 {
        self.0 as u64
    }
}

/// How many steps before and after the expected one are accepted: 0 to 10 each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    back: u8,
    forward: u8,
}

impl Window {
    /// One step either way.
    pub const ONE: Window = Window { back: 1, forward: 1 };
    /// The widest side. Ten steps of 30 s are what FreeIPA allows; every step more is one more guess in a million.
    pub const MAX: u8 = 10;

    /// # Errors
    /// More than [`Window::MAX`] on either side.
    pub fn new(back: u64, forward: u64) -> Result<Window, ParameterProblem> {
        let side =
            |steps| u8::try_from(steps).ok().filter(|&n| n <= Window::MAX).ok_or(ParameterProblem::Window);
        Ok(Window { back: side(back)?, forward: side(forward)? })
    }

    /// Steps before the expected one.
    pub const fn back(self) -> u8 {
        self.back
    }

    /// Steps after the expected one.
    pub const fn forward(self) -> u8 {
        self.forward
    }
}

/// The number that a code was made from: periods since 1970 (TOTP) or the counter (HOTP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Step(pub u64);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The shortest key of a token, in octets (RFC 4226 R6).
pub const SECRET_MIN: usize = 16;
/// The longest key that we take, in octets: the block of SHA-512. Longer ones are hashed first and gain nothing.
pub const SECRET_MAX: usize = 128;

/// Whether a token's key has a usable length.
///
/// # Errors
/// [`ParameterProblem::Secret`] outside [`SECRET_MIN`] to [`SECRET_MAX`] octets.
pub fn check_secret(secret: &[u8]) -> Result<(), ParameterProblem> {
    if (SECRET_MIN..=SECRET_MAX).contains(&secret.len()) { Ok(()) } else { Err(ParameterProblem::Secret) }
}

/// A value that no token may have: the fault of whoever wrote the entry, the file or the URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterProblem {
    /// An unknown hash.
    #[error("the algorithm is not known; use sha1, sha256 or sha512")]
    Algorithm,
    /// A code of impossible length.
    #[error("the number of digits must be 6, 7 or 8")]
    Digits,
    /// A period too short or too long.
    #[error("the period must be 15 to 120 whole seconds")]
    Period,
    /// A window too wide.
    #[error("the window must be 0 to 10 steps on each side")]
    Window,
    /// A look-ahead too far.
    #[error("the look-ahead must be 0 to 10 codes")]
    LookAhead,
    /// A key too short or too long.
    #[error("the token's secret must be 16 to 128 octets long")]
    Secret,
}
