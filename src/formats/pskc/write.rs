//! Writes a container: a header that says what protects the keys, a package for each token, and an end.

use super::seal::{Randomness, Seal, SealProblem, derive};
use super::{DS, HMAC_SHA1, PBKDF2, PKCS5, PSKC, XENC, XENC11};
use crate::clock::Wall;
use crate::otp::uri::KeyMoving;
use crate::otp::{Algorithm, Digits};
use crate::secret::Secret;
use data_encoding::BASE64;
use std::fmt::Write as _;

/// Octets of the key that a password stands for: every reader of PSKC knows AES-128.
const DERIVED: usize = 16;

/// A token to be written.
pub struct Shown<'a> {
    /// Its serial number.
    pub serial: &'a str,
    /// Who gave it out.
    pub issuer: Option<&'a str>,
    /// Its key.
    pub secret: &'a Secret,
    /// The hash inside the HMAC.
    pub algorithm: Algorithm,
    /// How long a code is.
    pub digits: Digits,
    /// What moves its codes on, and from where.
    pub moving: KeyMoving,
    /// Not usable before this time.
    pub begins: Option<Wall>,
    /// Not usable from this time on.
    pub ends: Option<Wall>,
    /// Whose it is.
    pub user: Option<&'a str>,
}

/// Under what the keys of a container are written.
pub enum Under<'a> {
    /// A key that both sides have, and its name.
    PreShared {
        /// What the other side calls it.
        name: &'a str,
        /// 16, 24 or 32 octets.
        key: Secret,
    },
    /// A password, made a key by so many rounds.
    Password {
        /// The password.
        password: &'a Secret,
        /// The rounds of PBKDF2.
        rounds: u32,
    },
}

/// The beginning of a container and the seal for the packages that follow.
///
/// # Errors
/// See [`SealProblem`].
pub fn open(under: Under<'_>, random: &Randomness) -> Result<(String, Seal), SealProblem> {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<KeyContainer Version=\"1.0\" xmlns=\"{PSKC}\" \
         xmlns:ds=\"{DS}\" xmlns:xenc=\"{XENC}\" xmlns:xenc11=\"{XENC11}\" xmlns:pkcs5=\"{PKCS5}\">\n \
         <EncryptionKey>\n"
    );
    let key = match under {
        Under::PreShared { name, key } => {
            text.push_str("  <ds:KeyName>");
            escape(&mut text, name);
            text.push_str("</ds:KeyName>\n");
            key
        }
        Under::Password { password, rounds } => {
            let [method, _] = PBKDF2;
            let salt = BASE64.encode(&random.salt);
            // Writing to a String cannot fail. The parameters are unqualified, as in figure 7.
            let _ = write!(
                text,
                "  <xenc11:DerivedKey>\n   <xenc11:KeyDerivationMethod Algorithm=\"{method}\">\n    \
                 <pkcs5:PBKDF2-params>\n     <Salt xmlns=\"\"><Specified>{salt}</Specified></Salt>\n     \
                 <IterationCount xmlns=\"\">{rounds}</IterationCount>\n     \
                 <KeyLength xmlns=\"\">{DERIVED}</KeyLength>\n     <PRF xmlns=\"\"/>\n    </pkcs5:PBKDF2-params>\n   \
                 </xenc11:KeyDerivationMethod>\n  </xenc11:DerivedKey>\n"
            );
            derive(password, &random.salt, rounds, DERIVED)
        }
    };
    let seal = Seal::new(key, Secret::new(random.mac_key))?;
    let cipher = seal.cipher();
    let mac_key = BASE64.encode(&seal.mac_key(&random.initial_vector)?);
    let _ = write!(
        text,
        " </EncryptionKey>\n <MACMethod Algorithm=\"{HMAC_SHA1}\">\n  <MACKey>\n   \
         <xenc:EncryptionMethod Algorithm=\"{cipher}\"/>\n   \
         <xenc:CipherData><xenc:CipherValue>{mac_key}</xenc:CipherValue></xenc:CipherData>\n  </MACKey>\n \
         </MACMethod>\n"
    );
    Ok((text, seal))
}

/// One token's package.
///
/// # Errors
/// See [`SealProblem`].
pub fn package(token: &Shown<'_>, seal: &Seal) -> Result<String, SealProblem> {
    let cipher = seal.cipher();
    let (ciphertext, mac) = seal.close(token.serial, token.secret)?;
    let (ciphertext, mac) = (BASE64.encode(&ciphertext), BASE64.encode(&mac));
    let mut text =
        String::from(" <KeyPackage>\n  <DeviceInfo><Manufacturer>sekisho</Manufacturer><SerialNo>");
    escape(&mut text, token.serial);
    text.push_str("</SerialNo></DeviceInfo>\n  <Key Id=\"");
    escape(&mut text, token.serial);
    let kind = match token.moving {
        KeyMoving::Time { .. } => "totp",
        KeyMoving::Counter { .. } => "hotp",
    };
    let _ = writeln!(text, "\" Algorithm=\"{PSKC}:{kind}\">");
    if let Some(issuer) = token.issuer {
        text.push_str("   <Issuer>");
        escape(&mut text, issuer);
        text.push_str("</Issuer>\n");
    }
    text.push_str("   <AlgorithmParameters>");
    // SHA-1 is what every reader takes for granted, and some refuse to be told.
    match token.algorithm {
        Algorithm::Sha1 => {}
        Algorithm::Sha256 => text.push_str("<Suite>HMAC-SHA256</Suite>"),
        Algorithm::Sha512 => text.push_str("<Suite>HMAC-SHA512</Suite>"),
    }
    let _ = write!(
        text,
        "<ResponseFormat Length=\"{}\" Encoding=\"DECIMAL\"/></AlgorithmParameters>\n   <Data>\n    <Secret>\n     \
         <EncryptedValue><xenc:EncryptionMethod Algorithm=\"{cipher}\"/>\
         <xenc:CipherData><xenc:CipherValue>{ciphertext}</xenc:CipherValue></xenc:CipherData></EncryptedValue>\n     \
         <ValueMAC>{mac}</ValueMAC>\n    </Secret>\n    ",
        token.digits.count()
    );
    let _ = match token.moving {
        KeyMoving::Time { period } => write!(
            text,
            "<Time><PlainValue>0</PlainValue></Time><TimeInterval><PlainValue>{}</PlainValue></TimeInterval>",
            period.seconds()
        ),
        KeyMoving::Counter { next } => write!(text, "<Counter><PlainValue>{next}</PlainValue></Counter>"),
    };
    text.push_str("\n   </Data>\n");
    if let Some(user) = token.user {
        text.push_str("   <UserId>UID=");
        escape(&mut text, &dn_value(user));
        text.push_str("</UserId>\n");
    }
    if token.begins.is_some() || token.ends.is_some() {
        text.push_str("   <Policy>");
        if let Some(begins) = token.begins {
            let _ = write!(text, "<StartDate>{}</StartDate>", time(begins.seconds()));
        }
        // The date belongs to the token's life (RFC 6030 §5); ours is the first moment after it.
        if let Some(ends) = token.ends {
            let _ = write!(text, "<ExpiryDate>{}</ExpiryDate>", time(ends.seconds().saturating_sub(1)));
        }
        text.push_str("</Policy>\n");
    }
    text.push_str("  </Key>\n </KeyPackage>\n");
    Ok(text)
}

/// The end of a container.
pub const fn close() -> &'static str {
    "</KeyContainer>\n"
}

/// A whole container with one token.
///
/// # Errors
/// See [`SealProblem`].
pub fn whole(token: &Shown<'_>, under: Under<'_>, random: &Randomness) -> Result<String, SealProblem> {
    let (mut text, seal) = open(under, random)?;
    text.push_str(&package(token, &seal)?);
    text.push_str(close());
    Ok(text)
}

/// Text that is text in an element and in an attribute; what XML cannot hold at all becomes a question mark.
fn escape(into: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '&' => into.push_str("&amp;"),
            '"' => into.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => into.push('?'),
            c => into.push(c),
        }
    }
}

/// A value in a distinguished name (RFC 4514 §2.4): RFC 6030 wants one as the UserId.
fn dn_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#') {
            value.push('\\');
        }
        value.push(c);
    }
    value
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}
