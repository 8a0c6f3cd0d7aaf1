//! Who calls: a bearer token or a client certificate, each with the name that `[admin.operators]` knows.

use super::listener::Peer;
use crate::admin::caller::{Caller, Credentials, Own};
use crate::secret::{Secret, same_bytes};
use axum::http::{HeaderMap, header};
use data_encoding::HEXLOWER;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha256};

/// The most callers. Each is compared with at every request.
pub const CALLERS_MAX: usize = 256;

/// The shortest token, in octets: 128 random bits are 22 letters of base64, and nobody types one.
pub const TOKEN_MIN: usize = 32;

/// The longest.
const TOKEN_MAX: usize = 512;

/// Everybody who may call.
#[derive(Default)]
pub struct Callers(Vec<Known>);

struct Known {
    name: String,
    by: By,
}

enum By {
    /// The SHA-256 of the token: what stays in memory is not what opens the door.
    Token([u8; 32]),
    /// The DNS name in the certificate.
    Certificate(ServerName<'static>),
}

/// Why somebody cannot be a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallerProblem {
    /// A token that could be guessed, or that no header can carry.
    #[error("a token has 32 to 512 letters, digits and -._~+/=")]
    Token,
    /// The same token twice.
    #[error("another caller has the same token")]
    TokenRepeated,
    /// A name that no certificate can carry.
    #[error("this is no DNS name that a certificate can carry")]
    CertificateName,
    /// More than can be compared with.
    #[error("there can be 256 callers at most")]
    TooMany,
}

impl Callers {
    /// Adds a caller with a token.
    ///
    /// # Errors
    /// See [`CallerProblem`].
    pub fn add_token(&mut self, name: &str, token: &Secret) -> Result<(), CallerProblem> {
        let letter = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(b);
        let octets = token.expose();
        if !(TOKEN_MIN..=TOKEN_MAX).contains(&octets.len()) || !octets.iter().all(letter) {
            return Err(CallerProblem::Token);
        }
        let hash = hash(octets);
        if self.0.iter().any(|known| matches!(known.by, By::Token(other) if other == hash)) {
            return Err(CallerProblem::TokenRepeated);
        }
        self.add(name, By::Token(hash))
    }

    /// Adds a caller with a certificate that carries this DNS name.
    ///
    /// # Errors
    /// See [`CallerProblem`].
    pub fn add_certificate(&mut self, name: &str, dns_name: &str) -> Result<(), CallerProblem> {
        match ServerName::try_from(dns_name.to_owned()) {
            Ok(dns @ ServerName::DnsName(_)) => self.add(name, By::Certificate(dns)),
            _ => Err(CallerProblem::CertificateName),
        }
    }

    fn add(&mut self, name: &str, by: By) -> Result<(), CallerProblem> {
        if self.0.len() >= CALLERS_MAX {
            return Err(CallerProblem::TooMany);
        }
        self.0.push(Known { name: name.to_owned(), by });
        Ok(())
    }

    /// Who calls. Every token is compared with in the same time, whether one was sent, fits, or neither.
    pub(super) fn recognise(&self, headers: &HeaderMap, peer: &Peer) -> Option<Caller> {
        let sent = headers.get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        let token = strip_scheme(sent).unwrap_or_default();
        let token_hash = hash(token);
        let mut found = None;
        for known in &self.0 {
            if let By::Token(hash) = &known.by
                && same_bytes(hash, &token_hash)
            {
                found = Some(known);
            }
        }
        let known = found.or_else(|| self.by_certificate(peer))?;
        let how = match known.by {
            By::Token(_) => "token",
            By::Certificate(_) => "certificate",
        };
        let evidence = format!("{how}:{}", known.name);
        Some(Caller { name: known.name.clone(), evidence, own: Own::Another, credential: known.mark() })
    }

    /// The mark of each token and certificate that is good now.
    pub fn credentials(&self) -> Credentials {
        self.0.iter().map(Known::mark).collect()
    }

    fn by_certificate(&self, peer: &Peer) -> Option<&Known> {
        let certificate = ParsedCertificate::try_from(peer.certificate()?).ok()?;
        self.0.iter().find(|known| match &known.by {
            By::Certificate(name) => verify_server_name(&certificate, name).is_ok(),
            By::Token(_) => false,
        })
    }
}

impl Known {
    /// Tells one token of a caller from the next, and opens nothing: a token has 128 bits and more.
    fn mark(&self) -> String {
        match &self.by {
            By::Token(hash) => {
                format!("token:{}:{}", self.name, HEXLOWER.encode(hash.get(..8).unwrap_or_default()))
            }
            By::Certificate(dns) => format!("certificate:{}:{}", self.name, dns.to_str()),
        }
    }
}

/// What follows `Bearer ` (RFC 6750 §2.1), in any case.
fn strip_scheme(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_plain_and_each_its_own() {
        let mut callers = Callers::default();
        let token = |text: &str| Secret::new(text.as_bytes());
        let good = "c".repeat(TOKEN_MIN);
        for (text, expected) in [
            (good.clone(), Ok(())),
            (good.clone(), Err(CallerProblem::TokenRepeated)),
            ("c".repeat(TOKEN_MIN - 1), Err(CallerProblem::Token)),
            ("c".repeat(TOKEN_MAX + 1), Err(CallerProblem::Token)),
            (format!("{good} {good}"), Err(CallerProblem::Token)),
            (format!("{good}é"), Err(CallerProblem::Token)),
        ] {
            assert_eq!(callers.add_token("a", &token(&text)), expected, "{text}");
        }
        assert_eq!(callers.add_certificate("a", "192.0.2.1"), Err(CallerProblem::CertificateName));
        assert_eq!(callers.add_certificate("a", "a b"), Err(CallerProblem::CertificateName));
        for at in 1..CALLERS_MAX {
            callers.add_certificate("a", &format!("c{at}.example.jp")).unwrap();
        }
        assert_eq!(callers.add_certificate("a", "late.example.jp"), Err(CallerProblem::TooMany));
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for (value, token) in [
            (&b"Bearer abc"[..], Some(&b"abc"[..])),
            (b"bearer  abc ", Some(b"abc")),
            (b"Basic abc", None),
            (b"Bearer", None),
            (b"", None),
        ] {
            assert_eq!(strip_scheme(value), token);
        }
    }
}
