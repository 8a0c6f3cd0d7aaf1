//! PSKC (RFC 6030): containers of token keys as XML, in clear, under a pre-shared key or under a password.
//!
//! What is not verified is not read: an encrypted key without its MAC, a MAC that does not fit, a policy or an algorithm
//! that nobody here understands, and a signature, which nobody here checks, refuse the key that they concern.

mod read;
mod seal;
mod write;

pub use read::read;
pub use seal::{Randomness, Seal, SealProblem};
pub use write::{Shown, Under, close, open, package, whole};

use crate::secret::Secret;

/// The namespace of PSKC itself.
const PSKC: &str = "urn:ietf:params:xml:ns:keyprov:pskc";
/// XML Signature: names of keys and of MACs.
const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
/// XML Encryption: encrypted values.
const XENC: &str = "http://www.w3.org/2001/04/xmlenc#";
/// XML Encryption 1.1: derived keys.
const XENC11: &str = "http://www.w3.org/2009/xmlenc11#";
/// PKCS #5: the parameters of PBKDF2.
const PKCS5: &str = "http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#";

/// The ciphers by the octets of their keys (RFC 6030 §6.1 recommends the first).
const CIPHERS: [(usize, &str); 3] = [
    (16, "http://www.w3.org/2001/04/xmlenc#aes128-cbc"),
    (24, "http://www.w3.org/2001/04/xmlenc#aes192-cbc"),
    (32, "http://www.w3.org/2001/04/xmlenc#aes256-cbc"),
];
/// The one MAC.
const HMAC_SHA1: &str = "http://www.w3.org/2000/09/xmldsig#hmac-sha1";
/// The two spellings of PBKDF2 in the RFC: its prose has the one, its figure 7 the other.
const PBKDF2: [&str; 2] = [
    "http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#pbkdf2",
    "http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5#pbkdf2",
];

/// The fewest rounds of PBKDF2 that are read (RFC 2898 §4.2).
const ROUNDS_MIN: u64 = 1000;
/// The most: a file must not say how long we compute.
const ROUNDS_MAX: u64 = 2_000_000;

/// What the encrypted keys of a file are opened with.
#[derive(Debug)]
pub enum Opening {
    /// Nothing: only keys in clear can be read.
    Nothing,
    /// The pre-shared key, 16, 24 or 32 octets.
    PreShared(Secret),
    /// The password.
    Password(Secret),
}

/// Why a PSKC document, or one key in it, cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PskcProblem {
    /// Not XML, or more of it than anybody needs.
    #[error("this is no XML that can be read: {0}")]
    Xml(Box<str>),
    /// A document type: entities could read files or grow without end.
    #[error("it has a document type (<!DOCTYPE), which no PSKC document has; it is not read")]
    DocumentType,
    /// Another document.
    #[error("the outermost element must be KeyContainer in {PSKC}")]
    Container,
    /// A version that may mean anything.
    #[error("the version of the container must be 1.0 or another 1.x")]
    Version,
    /// A signature, which nobody here checks.
    #[error(
        "the container is signed, and signatures are not checked here; check it, then take the signature away"
    )]
    Signed,
    /// A way to give the key that is not known.
    #[error("how the keys are encrypted is not known here; a named pre-shared key and PBKDF2 are")]
    EncryptionKey,
    /// Encrypted values and nothing to open them with.
    #[error("the keys are encrypted under the pre-shared key \"{0}\"; give it")]
    PreSharedKeyNeeded(Box<str>),
    /// Encrypted values and no password.
    #[error("the keys are encrypted under a password; give it")]
    PasswordNeeded,
    /// A pre-shared key of another length.
    #[error("the pre-shared key must have 16, 24 or 32 octets (32, 48 or 64 hexadecimal digits)")]
    PreSharedKeyLength,
    /// Another key derivation.
    #[error("the key derivation {0} is not known here; PBKDF2 is")]
    Derivation(Box<str>),
    /// Another function in it.
    #[error("PBKDF2 must use HMAC-SHA1, as an empty PRF element says; {0} is not known here")]
    Function(Box<str>),
    /// Too few or too many rounds.
    #[error("PBKDF2 must have from 1000 to 2000000 rounds")]
    Rounds,
    /// No salt, or one that cannot be read.
    #[error("PBKDF2 must have a salt of 8 to 64 octets, in base64, as Salt/Specified")]
    Salt,
    /// A derived key of another length.
    #[error("the derived key must have 16, 24 or 32 octets")]
    KeyLength,
    /// Another MAC, or none.
    #[error("encrypted keys must have a MAC; {0} is not known here, only {HMAC_SHA1} is")]
    MacAlgorithm(Box<str>),
    /// No MAC at all.
    #[error("there is no MACMethod; encrypted keys cannot be verified without it")]
    MacMethodMissing,
    /// A MAC method without its key.
    #[error("the MACMethod has no MACKey that can be opened; is the password or the pre-shared key right?")]
    MacKey,
    /// A value without its MAC.
    #[error("there is no ValueMAC; an encrypted key is not read without it")]
    MacMissing,
    /// The MAC does not fit.
    #[error(
        "the ValueMAC is wrong: the password or the pre-shared key is not the right one, or the key was changed"
    )]
    MacWrong,
    /// Another cipher.
    #[error("the cipher {0} is not known here; the AES-CBC of XML Encryption is")]
    Cipher(Box<str>),
    /// A cipher whose key is longer or shorter than the one that there is.
    #[error("the cipher {0} takes a key of another length than the one that is given")]
    CipherKey(Box<str>),
    /// Ciphertext that cannot be one.
    #[error("the encrypted value is not base64 of an initial vector and whole blocks")]
    CipherValue,
    /// A package without a key, or with several.
    #[error("a KeyPackage has exactly one Key here")]
    Keys,
    /// Another kind of key.
    #[error("the algorithm {0} is not known here; {PSKC}:totp and {PSKC}:hotp are")]
    Algorithm(Box<str>),
    /// A hash nobody knows.
    #[error("the Suite {0} is not known here; HMAC-SHA1, HMAC-SHA256 and HMAC-SHA512 are")]
    Suite(Box<str>),
    /// Codes that are not digits.
    #[error("the ResponseFormat must have a Length and Encoding=\"DECIMAL\"")]
    ResponseFormat,
    /// Challenges or check digits.
    #[error("{0} is not known here, and a code would be computed wrongly without it")]
    Parameter(Box<str>),
    /// No key.
    #[error("the key's Secret is missing")]
    SecretMissing,
    /// A key that cannot be read.
    #[error("the Secret is not base64")]
    Secret,
    /// A number that is none.
    #[error("it must be a number in digits, in clear (PlainValue)")]
    Number,
    /// Time counted from elsewhere.
    #[error("the time must be counted from 1970 (Time 0)")]
    Epoch,
    /// No counter.
    #[error("a key for hotp must have a Counter")]
    CounterMissing,
    /// A time that is none.
    #[error("it must be a time with its zone, such as 2026-04-01T00:00:00Z")]
    Time,
    /// A restriction that we would break (RFC 6030 §5).
    #[error("the policy {0} is not understood here, so the key must not be used")]
    Policy(Box<str>),
    /// A key for something else.
    #[error("the policy does not allow the key to be used for one-time passwords (KeyUsage OTP)")]
    Usage,
}
