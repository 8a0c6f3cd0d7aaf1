//! One token of one user: how it makes its codes, and whether it may be used now.

use crate::clock::Wall;
use crate::identity::{EntryId, TokenSerial};
use crate::otp::{Parameters, Step};
use crate::outcome::Reason;
use crate::secret::Secret;
use sha2::{Digest, Sha256};
use std::fmt;

/// A token as the directory binds it to a user. What it has used up is not here but in `state`.
///
/// In memory by the million a serial number and a key are a part of their user ([`crate::tokens::KeptToken`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token<Serial = TokenSerial, Key = Secret> {
    /// The identity of its entry: the key of everything remembered about it.
    pub id: EntryId,
    /// Its serial number, for people.
    pub serial: Serial,
    /// How it makes its codes.
    pub parameters: Parameters,
    /// Its key; empty when the token is unusable.
    pub secret: Key,
    /// Tells this key from another one ([`Token::imprint_of`]).
    pub imprint: u32,
    /// The last step or counter that the directory itself says is used up; nothing at or below it is accepted.
    pub spent: Option<Step>,
    /// Not usable before this time.
    pub begins: Option<Wall>,
    /// Not usable from this time on.
    pub ends: Option<Wall>,
    /// Whether it may be used at all.
    pub standing: Standing,
}

/// Whether a token may be used, apart from its dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In service.
    Active,
    /// It has its key and waits for the first correct code, which puts it in service (S-15).
    AwaitsConfirmation,
    /// Suspended by the bank (lost phone).
    Suspended,
    /// Ended, and the user's entry still refers to it.
    Revoked,
    /// Its entry cannot be used; the operator is told why.
    Unusable(Defect),
}

/// What is wrong with a token's entry, in words for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// There is no key.
    SecretMissing,
    /// The key has fewer than 16 octets (RFC 4226 R6).
    SecretTooShort,
    /// The key is sealed, and not by a key we hold, or for another serial, or damaged.
    SecretSealed,
    /// The key is in a form we do not read (for example encrypted for `oathEncKey`, or not base32 where base32 is declared).
    SecretUnreadable,
    /// The token names no parameter entry, and its layout needs one.
    ParametersMissing,
    /// The parameter entry does not exist or lies outside the search base.
    ParametersNotFound,
    /// Digits outside 6 to 8.
    Digits,
    /// A period outside 15 to 120 seconds.
    Period,
    /// An algorithm other than SHA-1, SHA-256 or SHA-512.
    Algorithm,
    /// A window wider than allowed, or not a number.
    Window,
    /// An attribute that may have one value has several.
    ManyValues,
    /// A date or number that cannot be read.
    Value,
    /// The user's reference points to no entry.
    TokenNotFound,
    /// Two users claim the same token.
    SeveralOwners,
    /// The token lists who may be bound to it, and this user is not among them.
    OwnerDiffers,
    /// Two tokens carry the same serial number.
    SerialRepeated,
    /// The key is older than its allowed age (`oathSecretMaxAge`) or was used more often than allowed.
    WornOut,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Defect::SecretMissing => "the token has no secret; set oathSecret (16 octets or more)",
            Defect::SecretTooShort => "the secret has fewer than 16 octets; issue the token anew",
            Defect::SecretSealed => {
                "the sealed secret does not open; check seal-key-file and that the serial number is the one it was sealed for"
            }
            Defect::SecretUnreadable => "the secret is not in a form that can be read; store raw octets or {sekisho:v1}…",
            Defect::ParametersMissing => "the token names no parameter entry; set oathTOTPParams or oathHOTPParams",
            Defect::ParametersNotFound => "the parameter entry does not exist below the base",
            Defect::Digits => "the number of digits is not 6, 7 or 8",
            Defect::Period => "the period is not between 15 and 120 seconds",
            Defect::Algorithm => "the algorithm is not SHA-1, SHA-256 or SHA-512",
            Defect::Window => "the window is not between 0 and 10 steps",
            Defect::ManyValues => "an attribute that may have one value has several",
            Defect::Value => "a date or a number cannot be read",
            Defect::TokenNotFound => "the user refers to a token entry that does not exist below the base",
            Defect::SeveralOwners => "two users refer to this token; leave the reference on one of them",
            Defect::OwnerDiffers => "the token belongs to other users (sekishoOwner); take the reference away",
            Defect::SerialRepeated => "two tokens carry this serial number",
            Defect::WornOut => "the secret is older, or was used more often, than its parameters allow",
        })
    }
}

impl Defect {
    /// Every defect.
    pub const ALL: [Defect; 17] = [
        Defect::SecretMissing,
        Defect::SecretTooShort,
        Defect::SecretSealed,
        Defect::SecretUnreadable,
        Defect::ParametersMissing,
        Defect::ParametersNotFound,
        Defect::Digits,
        Defect::Period,
        Defect::Algorithm,
        Defect::Window,
        Defect::ManyValues,
        Defect::Value,
        Defect::TokenNotFound,
        Defect::SeveralOwners,
        Defect::OwnerDiffers,
        Defect::SerialRepeated,
        Defect::WornOut,
    ];
}

impl Token {
    /// A part of the key's SHA-256, so that what is remembered of a token can be told to belong to this key: 32 bits
    /// of a hash say nothing about the 128 bits or more that went in.
    pub fn imprint_of(secret: &Secret) -> u32 {
        let digest = Sha256::digest(secret.expose());
        digest.iter().take(4).fold(0, |imprint, &octet| imprint << 8 | u32::from(octet))
    }
}

impl<Serial, Key> Token<Serial, Key> {
    /// Why the token may not be used at `now`, if so.
    pub fn refusal(&self, now: Wall) -> Option<Reason> {
        match self.standing {
            Standing::Active | Standing::AwaitsConfirmation => {}
            Standing::Suspended => return Some(Reason::TokenSuspended),
            Standing::Revoked => return Some(Reason::TokenRevoked),
            Standing::Unusable(_) => return Some(Reason::TokenUnusable),
        }
        if self.begins.is_some_and(|begins| now < begins) {
            return Some(Reason::TokenNotYetValid);
        }
        self.ends.is_some_and(|ends| now >= ends).then_some(Reason::TokenExpired)
    }
}
