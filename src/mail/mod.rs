//! Mail with the link to the app's setup (S-12): templates, a bounded queue, and SMTP.
//!
//! A letter waits in memory, is tried again with growing pauses until its deadline, and then is given up: the operator
//! sees it in the log and in the metrics, and the token stays issued. Neither a start password nor a key is ever mailed;
//! no template has a place for one.

mod post;
mod template;

#[cfg(test)]
mod tests;

pub use lettre::transport::smtp::Error as PostError;
pub use post::{NotQueued, Post};
pub use template::{
    FILES, Issued, Kind, Language, Letter, Mailed, PLACEHOLDERS, Template, TemplateProblem, Templates,
};

use crate::metrics::Metrics;
use crate::secret::Secret;
use lettre::message::Mailbox;
use rustls::pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Letters that may wait. A counter issues a few tokens a minute; more is a mistake in a batch.
pub const QUEUE_MAX: usize = 256;

/// How long a letter is tried for. Beyond it the customer has called already.
pub const DEADLINE: Duration = Duration::from_secs(600);

/// The most that one attempt may take (RFC 5321 §4.5.3.2 would allow minutes).
pub const ATTEMPT: Duration = Duration::from_secs(20);

/// The first pause after an attempt that failed; each further one is twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Everything there is to know about sending.
pub struct Settings {
    /// The server.
    pub server: Server,
    /// How the connection is protected.
    pub tls: Tls,
    /// Who may vouch for the server's name.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Who sends.
    pub from: Sender,
    /// The name and the password to log in with.
    pub login: Option<(String, Secret)>,
    /// How long a letter is tried for.
    pub deadline: Duration,
    /// The first pause after an attempt that failed.
    pub first_pause: Duration,
}

/// What is written to users, and how it reaches them.
pub struct Letters {
    /// What the letters say.
    pub templates: Templates,
    /// Sends them; `None` if nothing is mailed.
    pub post: Option<Arc<Post>>,
}

impl Letters {
    /// Starts the post on the current runtime, if there is a mail server.
    ///
    /// # Errors
    /// The authorities of the mail server's certificate cannot be used.
    pub fn start(
        templates: Templates,
        post: Option<Settings>,
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<Letters>, PostError> {
        let post = post.map(|settings| Post::start(settings, Arc::clone(metrics))).transpose()?;
        Ok(Arc::new(Letters { templates, post }))
    }
}

/// How the connection to the server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first octet (port 465, RFC 8314).
    Implicit,
    /// TLS after STARTTLS, before anything else (port 587).
    StartTls,
    /// Not at all.
    None,
}

/// The mail server: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The name or address; a certificate must carry it.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What is wrong with the name of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not HOST or HOST:PORT, such as smtp.example.jp:587 or [2001:db8::1]:25")]
pub struct NoServer;

impl Server {
    /// Reads `HOST` or `HOST:PORT`; without a port it is the usual one for `tls`.
    ///
    /// # Errors
    /// [`NoServer`].
    pub fn parse(text: &str, tls: Tls) -> Result<Server, NoServer> {
        let usual = match tls {
            Tls::Implicit => 465,
            Tls::StartTls => 587,
            Tls::None => 25,
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or(NoServer)?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(NoServer)?) })
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|&port| port > 0).ok_or(NoServer)?,
            None => usual,
        };
        ServerName::try_from(host).map_err(|_| NoServer)?;
        Ok(Server { host: host.to_owned(), port })
    }

    /// Whether nothing leaves this machine on the way to it.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Who sends: `name <address>` or an address.
#[derive(Clone, Debug)]
pub struct Sender(Mailbox);

/// Where a letter goes: one address, checked when it is read, so that nothing can end a line of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(lettre::Address);

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no mail address such as u1@example.jp")]
pub struct NoAddress;

/// The longest address (RFC 5321 §4.5.3.1.3), in octets.
const ADDRESS_MAX: usize = 254;

impl FromStr for Sender {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Sender, NoAddress> {
        if text.chars().any(char::is_control) {
            return Err(NoAddress);
        }
        text.parse().map(Sender).map_err(|_| NoAddress)
    }
}

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Address, NoAddress> {
        if text.len() > ADDRESS_MAX || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(NoAddress);
        }
        text.parse().map(Address).map_err(|_| NoAddress)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
