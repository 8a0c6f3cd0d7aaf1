//! `otpauth://` (the Key URI format): how a token's key travels into an authenticator app and out of an export.

use super::{Algorithm, Digits, ParameterProblem, Period, check_secret};
use crate::secret::Secret;
use data_encoding::BASE32_NOPAD;
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Everything that an authenticator app learns about a token.
#[derive(Debug)]
pub struct KeyUri {
    /// Who gave the token out; the app shows it.
    pub issuer: Option<String>,
    /// Whose token it is; the app shows it.
    pub account: String,
    /// The key, at least 128 bits.
    pub secret: Secret,
    /// The hash inside the HMAC.
    pub algorithm: Algorithm,
    /// How long a code is.
    pub digits: Digits,
    /// What moves from one code to the next, and from where.
    pub moving: KeyMoving,
}

/// What moves from one code to the next, as the URI says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMoving {
    /// `totp`: the time.
    Time {
        /// The length of one step.
        period: Period,
    },
    /// `hotp`: a counter.
    Counter {
        /// The next counter to be shown.
        next: u64,
    },
}

/// Why a text is no usable key URI. The messages never repeat the text, because it holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriProblem {
    /// Another scheme, or none.
    #[error("the URI must begin with otpauth://")]
    Scheme,
    /// Longer than any key needs.
    #[error("the URI must not be longer than 2048 octets")]
    TooLong,
    /// Neither `totp` nor `hotp`.
    #[error("the type of the URI must be totp or hotp")]
    Kind,
    /// The account name is missing.
    #[error("the label of the URI must name an account")]
    Account,
    /// A percent sign without two hexadecimal digits, or no UTF-8 behind it.
    #[error("the URI is not percent-encoded UTF-8")]
    Encoding,
    /// The same parameter twice.
    #[error("a parameter of the URI stands twice")]
    Repeated,
    /// The label says another issuer than the parameter.
    #[error("the issuer in the label and the issuer parameter of the URI differ")]
    IssuersDiffer,
    /// There is no key.
    #[error("the URI has no secret")]
    SecretMissing,
    /// The key is not base32.
    #[error("the secret of the URI is not base32 (A-Z, 2-7)")]
    SecretEncoding,
    /// `hotp` without a counter, or a counter that is no number.
    #[error("a URI of type hotp must have a counter")]
    Counter,
    /// A value out of its bounds.
    #[error(transparent)]
    Parameter(#[from] ParameterProblem),
}

/// The longest URI that is read, in octets.
const URI_MAX: usize = 2048;

impl KeyUri {
    /// Reads a key URI. Parameters that it does not know are skipped; a missing algorithm is SHA-1, missing digits
    /// are 6 and a missing period is 30 s, as the format says. `+` stands for itself.
    ///
    /// # Errors
    /// See [`UriProblem`]. An unknown algorithm is refused, never taken for SHA-1 (OTP-33).
    pub fn parse(text: &str) -> Result<KeyUri, UriProblem> {
        if text.len() > URI_MAX {
            return Err(UriProblem::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UriProblem::Scheme)?;
        if !scheme.eq_ignore_ascii_case("otpauth") {
            return Err(UriProblem::Scheme);
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (kind, label) = path.split_once('/').ok_or(UriProblem::Kind)?;
        let (label_issuer, account) = read_label(label)?;
        let query = Query::read(query)?;

        let issuer = match (label_issuer, query.issuer) {
            (Some(label), Some(parameter)) if label != parameter => return Err(UriProblem::IssuersDiffer),
            (label, parameter) => parameter.or(label),
        };
        let secret = read_secret(&query.secret.ok_or(UriProblem::SecretMissing)?)?;
        let moving = match kind.to_ascii_lowercase().as_str() {
            "totp" => {
                let seconds = number(query.period.as_deref(), 30).ok_or(ParameterProblem::Period)?;
                KeyMoving::Time { period: Period::from_seconds(seconds)? }
            }
            "hotp" => {
                let next = query.counter.as_deref().and_then(whole_number).ok_or(UriProblem::Counter)?;
                KeyMoving::Counter { next }
            }
            _ => return Err(UriProblem::Kind),
        };
        Ok(KeyUri {
            issuer,
            account,
            secret,
            algorithm: query.algorithm.as_deref().map_or(Ok(Algorithm::Sha1), Algorithm::parse)?,
            digits: Digits::new(number(query.digits.as_deref(), 6).ok_or(ParameterProblem::Digits)?)?,
            moving,
        })
    }

    /// Writes the URI, every parameter spelt out. It holds the key: hand it to one app, once, and log it never.
    pub fn write(&self) -> Secret {
        // Room for everything, so that no copy of the key stays behind in a buffer that was too small.
        let names = self.account.len() + 2 * self.issuer.as_deref().map_or(0, str::len);
        let mut uri = String::with_capacity(128 + 3 * names + 2 * self.secret.len());
        uri.push_str(match self.moving {
            KeyMoving::Time { .. } => "otpauth://totp/",
            KeyMoving::Counter { .. } => "otpauth://hotp/",
        });
        if let Some(issuer) = &self.issuer {
            encode(&mut uri, issuer);
            uri.push(':');
        }
        encode(&mut uri, &self.account);
        uri.push_str("?secret=");
        BASE32_NOPAD.encode_append(self.secret.expose(), &mut uri);
        if let Some(issuer) = &self.issuer {
            uri.push_str("&issuer=");
            encode(&mut uri, issuer);
        }
        let algorithm = self.algorithm.text().to_ascii_uppercase();
        let (name, value) = match self.moving {
            KeyMoving::Time { period } => ("period", period.seconds()),
            KeyMoving::Counter { next } => ("counter", next),
        };
        // Writing to a String cannot fail.
        let _ = write!(uri, "&algorithm={algorithm}&digits={}&{name}={value}", self.digits.count());
        Secret::new(uri)
    }
}

/// The parameters that mean something, decoded.
#[derive(Default)]
struct Query {
    secret: Option<Zeroizing<String>>,
    issuer: Option<String>,
    algorithm: Option<String>,
    digits: Option<String>,
    period: Option<String>,
    counter: Option<String>,
}

impl Query {
    fn read(text: &str) -> Result<Query, UriProblem> {
        let mut query = Query::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match name.to_ascii_lowercase().as_str() {
                "secret" => {
                    let value = Zeroizing::new(decode(value)?);
                    if query.secret.replace(value).is_some() {
                        return Err(UriProblem::Repeated);
                    }
                    continue;
                }
                "issuer" => &mut query.issuer,
                "algorithm" => &mut query.algorithm,
                "digits" => &mut query.digits,
                "period" => &mut query.period,
                "counter" => &mut query.counter,
                _ => continue,
            };
            if slot.replace(decode(value)?).is_some() {
                return Err(UriProblem::Repeated);
            }
        }
        query.issuer = query.issuer.filter(|issuer| !issuer.is_empty());
        Ok(query)
    }
}

/// `issuer:account` or `account`; the colon may be written as `%3A`, and blanks may follow it.
fn read_label(label: &str) -> Result<(Option<String>, String), UriProblem> {
    let label = decode(label)?;
    let (issuer, account) = match label.split_once(':') {
        Some((issuer, account)) => (Some(issuer.to_owned()).filter(|issuer| !issuer.is_empty()), account),
        None => (None, label.as_str()),
    };
    let account = account.trim_start_matches(' ');
    if account.is_empty() { Err(UriProblem::Account) } else { Ok((issuer, account.to_owned())) }
}

/// Base32 in either case, with blanks and padding forgiven.
fn read_secret(text: &str) -> Result<Secret, UriProblem> {
    let mut letters = Zeroizing::new(Vec::with_capacity(text.len()));
    letters.extend(text.trim_end_matches('=').bytes().filter(|&b| b != b' ').map(|b| b.to_ascii_uppercase()));
    let secret = Secret::new(BASE32_NOPAD.decode(&letters).map_err(|_| UriProblem::SecretEncoding)?);
    check_secret(secret.expose())?;
    Ok(secret)
}

/// A parameter's number, or the default if the parameter is not there.
fn number(text: Option<&str>, default: u64) -> Option<u64> {
    text.map_or(Some(default), whole_number)
}

/// Digits only: `u64::from_str` would also take a sign.
fn whole_number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Undoes percent-encoding (RFC 3986 §2.1).
fn decode(text: &str) -> Result<String, UriProblem> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let mut nibble =
                || rest.next().and_then(|b| char::from(b).to_digit(16)).and_then(|n| u8::try_from(n).ok());
            let (high, low) = (nibble().ok_or(UriProblem::Encoding)?, nibble().ok_or(UriProblem::Encoding)?);
            octets.push(high << 4 | low);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).map_err(|_| UriProblem::Encoding)
}

/// Percent-encodes everything but the unreserved characters (RFC 3986 §2.3) and `@`, which a path and a query may hold.
fn encode(uri: &mut String, text: &str) {
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~@".contains(&octet) {
            uri.push(char::from(octet));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{octet:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn written(uri: &KeyUri) -> String {
        String::from_utf8(uri.write().expose().to_vec()).unwrap()
    }

    #[test]
    fn what_is_written_is_spelt_out() {
        let uri = KeyUri {
            issuer: Some("県民 Bank:1".into()),
            account: "a/b@example.com".into(),
            secret: Secret::new(*b"12345678901234567890"),
            algorithm: Algorithm::Sha256,
            digits: Digits::EIGHT,
            moving: KeyMoving::Time { period: Period::MINUTE },
        };
        assert_eq!(
            written(&uri),
            format!(
                "otpauth://totp/%E7%9C%8C%E6%B0%91%20Bank%3A1:a%2Fb@example.com?secret={SECRET}\
                 &issuer=%E7%9C%8C%E6%B0%91%20Bank%3A1&algorithm=SHA256&digits=8&period=60"
            )
        );
    }

    #[test]
    fn otp_33_what_is_not_said_clearly_is_refused() {
        for (text, problem) in [
            ("https://totp/x?secret=S".to_owned(), UriProblem::Scheme),
            (format!("otpauth://motp/x?secret={SECRET}"), UriProblem::Kind),
            (format!("otpauth://totp?secret={SECRET}"), UriProblem::Kind),
            (format!("otpauth://totp/?secret={SECRET}"), UriProblem::Account),
            (format!("otpauth://totp/B:?secret={SECRET}"), UriProblem::Account),
            (format!("otpauth://totp/x%2?secret={SECRET}"), UriProblem::Encoding),
            (format!("otpauth://totp/x%ff?secret={SECRET}"), UriProblem::Encoding),
            (format!("otpauth://totp/x?secret={SECRET}&secret={SECRET}"), UriProblem::Repeated),
            (format!("otpauth://totp/x?secret={SECRET}&digits=6&digits=8"), UriProblem::Repeated),
            (format!("otpauth://totp/x?secret={SECRET}&digits=+6"), ParameterProblem::Digits.into()),
            (format!("otpauth://totp/x?secret={SECRET}&period="), ParameterProblem::Period.into()),
            (format!("otpauth://totp/x?secret={SECRET}&algorithm="), ParameterProblem::Algorithm.into()),
            (format!("otpauth://hotp/x?secret={SECRET}&counter=-1"), UriProblem::Counter),
            (format!("otpauth://hotp/x?secret={SECRET}&counter=18446744073709551616"), UriProblem::Counter),
            (format!("otpauth://totp/{}?secret={SECRET}", "x".repeat(URI_MAX)), UriProblem::TooLong),
        ] {
            assert_eq!(KeyUri::parse(&text).err(), Some(problem), "{text}");
        }
    }

    #[test]
    fn lower_case_blanks_and_padding_are_forgiven() {
        let uri = "OTPAUTH://TOTP/x?secret=gezd%20gnbv%20gy3tqojqgezdgnbvgy3tqojq==&image=y";
        assert_eq!(KeyUri::parse(uri).unwrap().secret, Secret::new(*b"12345678901234567890"));
    }

    proptest! {
        #[test]
        fn written_reads_back(
            issuer in proptest::option::of("[^:]{1,20}"),
            account in "[^: ][^:]{0,20}",
            secret in proptest::collection::vec(any::<u8>(), 16..=64),
            next: Option<u64>,
        ) {
            let moving = next.map_or(KeyMoving::Time { period: Period::MINUTE }, |next| KeyMoving::Counter { next });
            let (algorithm, digits) = (Algorithm::Sha512, Digits::EIGHT);
            let uri = KeyUri { issuer, account, secret: Secret::new(secret), algorithm, digits, moving };
            let back = KeyUri::parse(&written(&uri)).unwrap();
            prop_assert_eq!((&back.issuer, &back.account), (&uri.issuer, &uri.account));
            prop_assert_eq!(&back.secret, &uri.secret);
            prop_assert_eq!((back.algorithm, back.digits, back.moving), (algorithm, digits, moving));
        }

        #[test]
        fn no_text_panics(text in "(otpauth://(totp|hotp)/)?[ -~é]{0,80}") {
            let _ = KeyUri::parse(&text);
        }
    }
}
