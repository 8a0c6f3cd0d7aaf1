//! What the operator says about an LDAP directory, checked once.

use super::filter::UserFilter;
use crate::directory::layout::Layout;
use crate::directory::seal::Keyring;
use crate::otp::Parameters;
use crate::secret::Secret;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The longest that one operation may take.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// Connections for user binds, per server: one bind is in flight on each.
pub const BINDS: usize = 8;
/// Connections for searches by the service identity, per server.
pub const SEARCHES: usize = 4;
/// How long an unconfirmed table is believed.
pub const MAX_STALE: Duration = Duration::from_secs(300);
/// The largest part of all users, in percent, that may disappear in one refresh.
pub const SHRINK_LIMIT: u8 = 50;
/// How long an answer is believed with `bindings = "ask"`.
pub const LIFETIME: Duration = Duration::from_secs(5);
/// How many users are remembered with `bindings = "ask"`.
pub const CAPACITY: usize = 100_000;
/// How often everything is read with `bindings = "poll"`.
pub const EVERY: Duration = Duration::from_secs(60);

/// Everything there is to know about the directory.
pub struct Settings {
    /// The servers, in the order in which they are asked.
    pub servers: Vec<Server>,
    /// Who may vouch for a server's name.
    pub trust: Trust,
    /// The DN of the service identity; empty for anonymous searches.
    pub bind_dn: String,
    /// Its password.
    pub bind_password: Secret,
    /// Users, tokens and parameters are found here and below, and nowhere else.
    pub base: String,
    /// New tokens go here.
    pub token_base: String,
    /// Contracts are here.
    pub contract_base: String,
    /// How a user is found by name.
    pub user_filter: UserFilter,
    /// What the attributes are called.
    pub layout: Layout,
    /// What holds where the layout leaves something open.
    pub defaults: Parameters,
    /// Opens sealed secrets.
    pub keyring: Arc<Keyring>,
    /// How memory is kept in step.
    pub mode: Mode,
    /// The longest that one operation may take.
    pub timeout: Duration,
    /// Connections for user binds, per server.
    pub binds: usize,
    /// Connections for searches, per server.
    pub searches: usize,
    /// The largest part of all users, in percent, that may disappear in one refresh; 100 allows any.
    pub shrink_limit: u8,
    /// What a login with an expired password and grace logins left is.
    pub grace_logins: GraceLogins,
}

/// How memory is kept in step with the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Searched for when somebody asks.
    Ask,
    /// Everything is read, again and again.
    Poll {
        /// How often.
        every: Duration,
    },
    /// Everything is read once and every change is sent (RFC 4533).
    Follow,
}

/// What a bind means that succeeded only because the password's policy grants grace logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraceLogins {
    /// The password has expired.
    Refused,
    /// The password is right.
    Accepted,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its URL, for people.
    pub url: String,
    /// The name or address in it; a certificate must carry it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first octet (`ldaps://`).
    Ldaps,
    /// TLS after the StartTLS operation, before anything else.
    StartTls,
    /// Not at all.
    None,
}

/// Whether passwords may cross a network that can be listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleartext {
    /// Only to this machine itself.
    LoopbackOnly,
    /// The operator takes the risk.
    Allowed,
}

/// What is wrong with a server's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerProblem {
    /// It is not a URL of an LDAP server.
    #[error("this is not ldap://host[:port] or ldaps://host[:port]")]
    Url,
    /// The URL and the setting contradict each other.
    #[error("ldaps:// goes with tls = \"ldaps\", ldap:// with \"start-tls\" or \"none\"")]
    TlsContradicts,
    /// No certificate can carry such a name.
    #[error("the host is neither a DNS name nor an address")]
    Host,
    /// Passwords would cross the network in clear.
    #[error(
        "passwords would cross the network in clear; use ldaps:// or start-tls, or set allow-cleartext = true"
    )]
    Cleartext,
}

impl Server {
    /// Reads a URL, `ldap://host[:port]` or `ldaps://host[:port]`.
    ///
    /// # Errors
    /// The URL is none, contradicts `tls`, or would send passwords in clear where that is not allowed.
    pub fn parse(url: &str, tls: Tls, cleartext: Cleartext) -> Result<Server, ServerProblem> {
        let (scheme, rest) = url.split_once("://").ok_or(ServerProblem::Url)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let default = match (scheme.to_ascii_lowercase().as_str(), tls) {
            ("ldaps", Tls::Ldaps) => 636,
            ("ldap", Tls::StartTls | Tls::None) => 389,
            ("ldap" | "ldaps", _) => return Err(ServerProblem::TlsContradicts),
            _ => return Err(ServerProblem::Url),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(ServerProblem::Url)?;
                (
                    host,
                    if port.is_empty() {
                        None
                    } else {
                        Some(port.strip_prefix(':').ok_or(ServerProblem::Url)?)
                    },
                )
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|&port| port > 0).ok_or(ServerProblem::Url)?,
            None => default,
        };
        if ServerName::try_from(host).is_err() {
            return Err(ServerProblem::Host);
        }
        if tls == Tls::None && cleartext == Cleartext::LoopbackOnly && !is_loopback(host) {
            return Err(ServerProblem::Cleartext);
        }
        Ok(Server { url: url.to_owned(), host: host.to_owned(), port, tls })
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Who may vouch for a server's name.
#[derive(Clone)]
pub struct Trust(pub(super) Arc<ClientConfig>);

/// What is wrong with the certificates to trust.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrustProblem {
    /// There is none, and a server needs one.
    #[error("there is no CA certificate; set ca-file")]
    None,
    /// One of them cannot be used.
    #[error("a CA certificate cannot be used: {0}")]
    Certificate(rustls::Error),
}

impl Trust {
    /// Trusts these authorities and nobody else.
    ///
    /// # Errors
    /// None is given, or one cannot be used.
    pub fn these(
        authorities: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Trust, TrustProblem> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(TrustProblem::Certificate)?;
        }
        if roots.is_empty() {
            Err(TrustProblem::None)
        } else {
            Trust::with(roots).map_err(TrustProblem::Certificate)
        }
    }

    /// Trusts nobody: no TLS connection will ever come about.
    ///
    /// # Errors
    /// The cryptographic provider offers no TLS version; that is a fault of the build.
    pub fn nobody() -> Result<Trust, TrustProblem> {
        Trust::with(RootCertStore::empty()).map_err(TrustProblem::Certificate)
    }

    fn with(roots: RootCertStore) -> Result<Trust, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_cleartext_stays_at_home() {
        let read = |url, tls| Server::parse(url, tls, Cleartext::LoopbackOnly).map(|s| (s.host, s.port));
        for (url, tls, expected) in [
            ("ldaps://ldap1.example.jp", Tls::Ldaps, Ok(("ldap1.example.jp", 636))),
            ("LDAP://ldap1.example.jp:1389/", Tls::StartTls, Ok(("ldap1.example.jp", 1389))),
            ("ldap://[::1]:1389", Tls::None, Ok(("::1", 1389))),
            ("ldap://127.0.0.2", Tls::None, Ok(("127.0.0.2", 389))),
            ("ldap://localhost", Tls::None, Ok(("localhost", 389))),
            ("ldap://192.0.2.1", Tls::None, Err(ServerProblem::Cleartext)),
            ("ldap://localhost.example.jp", Tls::None, Err(ServerProblem::Cleartext)),
            ("ldap://a", Tls::Ldaps, Err(ServerProblem::TlsContradicts)),
            ("ldaps://a", Tls::StartTls, Err(ServerProblem::TlsContradicts)),
            ("http://a", Tls::None, Err(ServerProblem::Url)),
            ("a", Tls::Ldaps, Err(ServerProblem::Url)),
            ("ldaps://a:0", Tls::Ldaps, Err(ServerProblem::Url)),
            ("ldaps://a b", Tls::Ldaps, Err(ServerProblem::Host)),
            ("ldaps://", Tls::Ldaps, Err(ServerProblem::Host)),
        ] {
            assert_eq!(read(url, tls), expected.map(|(host, port)| (host.to_owned(), port)), "{url}");
        }
        assert!(Server::parse("ldap://192.0.2.1", Tls::None, Cleartext::Allowed).is_ok());
    }
}
