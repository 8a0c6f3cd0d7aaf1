//! HTTP: where it listens, how it is protected, who may call, and how often.

use super::Report;
use super::secret::{self, Reach, Written};
use crate::admin::caller::DAEMON;
use crate::config::file;
use crate::config::problem::Key;
use crate::http::{Callers, Cleartext, Pace, Paces, tls};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

/// `[http]`.
pub struct Http {
    /// The address of everything.
    pub listen: SocketAddr,
    /// Whether clear text may leave this machine.
    pub cleartext: Cleartext,
    /// A second address, for monitoring alone.
    pub monitoring: Option<SocketAddr>,
    /// The certificate and the authorities of callers; `None` serves in clear.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who may call.
    pub callers: Callers,
    /// How often.
    pub paces: Paces,
}

/// Builds `[http]`; `None` after a problem that leaves nothing to listen with.
pub fn http(written: &file::Http, report: &mut Report<'_>) -> Option<Http> {
    let mut table = Table { at: Key::of(&["http"]), written, report };
    let tls = table.tls();
    let cleartext = match written.allow_cleartext {
        Some(true) => Cleartext::Allowed,
        _ => Cleartext::LoopbackOnly,
    };
    let listen = written.listen?.0;
    if matches!(tls, Ok(None)) {
        table.check_cleartext("listen", listen, cleartext);
    }
    let monitoring = written.monitoring_listen.map(|listen| listen.0);
    if let Some(address) = monitoring {
        table.check_cleartext("monitoring-listen", address, cleartext);
        if address == listen && address.port() != 0 {
            let key = table.at.name("monitoring-listen");
            table.report.refuse(&key, "it is the address of listen", "choose another port, or leave it out");
        }
    }
    let callers = table.callers();
    let requests = table.pace("requests-per-minute", written.requests_per_minute);
    let setups = table.pace("setups-per-minute", written.setups_per_minute);
    let paces = Paces { requests: requests?, setups: setups? };
    Some(Http { listen, cleartext, monitoring, tls: tls.ok()?, callers, paces })
}

/// Names that `[[admin.operator]]` gives roles to unasked, to whoever runs the daemon.
const LOCAL: [&str; 2] = ["root", DAEMON];

struct Table<'t, 'l> {
    at: Key,
    written: &'t file::Http,
    report: &'t mut Report<'l>,
}

/// A problem has been reported.
struct Reported;

impl Table<'_, '_> {
    fn check_cleartext(&mut self, name: &str, address: SocketAddr, cleartext: Cleartext) {
        if !address.ip().is_loopback() && cleartext == Cleartext::LoopbackOnly {
            self.report.refuse(
                &self.at.name(name),
                "this address is not loopback, and nothing protects what goes over it",
                "listen on 127.0.0.1 or [::1], give tls-certificate and tls-key for listen, or set \
                 http.allow-cleartext = true for monitoring in a trusted network",
            );
        }
    }

    fn tls(&mut self) -> Result<Option<Arc<ServerConfig>>, Reported> {
        let written = self.written;
        let key_given = written.tls_key.is_some() || written.tls_key_credential.is_some();
        let Some(chain) = &written.tls_certificate else {
            if key_given || written.client_ca.is_some() {
                let right = "name the PEM file with the server's certificate, or take the other keys away";
                self.report.missing(&self.at.name("tls-certificate"), "it is missing", right);
                return Err(Reported);
            }
            return Ok(None);
        };
        let chain = self.certificates("tls-certificate", chain);
        let key = self.private_key();
        let authorities = match &written.client_ca {
            Some(file) => self.certificates("client-ca", file).map(Some),
            None => Some(None),
        };
        let (Some(chain), Some(key), Some(authorities)) = (chain, key, authorities) else {
            return Err(Reported);
        };
        match tls::config(chain, key, authorities) {
            Ok(config) => Ok(Some(config)),
            Err(problem) => {
                let right = "name a certificate and the key that belongs to it";
                self.report.refuse(&self.at.name("tls-certificate"), problem.to_string(), right);
                Err(Reported)
            }
        }
    }

    fn certificates(&mut self, name: &str, file: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let key = self.at.name(name);
        let path = self.report.path(&key, file);
        let read = std::fs::read(&path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))
            .and_then(|pem| tls::certificates(&pem).map_err(|error| format!("{}: {error}", path.display())));
        read.map_err(|why| self.report.refuse(&key, why, "name a PEM file with certificates")).ok()
    }

    fn private_key(&mut self) -> Option<rustls::pki_types::PrivateKeyDer<'static>> {
        let written = self.written;
        let (key, pem) = match (&written.tls_key, &written.tls_key_credential) {
            (Some(file), None) => {
                let key = self.at.name("tls-key");
                let pem = secret::file(file, &key, self.report)?;
                (key, pem)
            }
            (None, Some(_)) => {
                let credential = written.tls_key_credential.as_ref();
                let written = Written { name: "tls-key", inline: None, file: None, credential };
                (self.at.name("tls-key-credential"), written.read(&self.at, Reach::Network, self.report)?)
            }
            _ => {
                let right = "write one of tls-key and tls-key-credential";
                self.report.refuse(&self.at.name("tls-key"), "the certificate needs its one key", right);
                return None;
            }
        };
        match tls::private_key(pem.expose()) {
            Ok(private) => Some(private),
            Err(problem) => {
                self.report.refuse(&key, problem.to_string(), "name a PEM file with the private key");
                None
            }
        }
    }

    fn callers(&mut self) -> Callers {
        let mut callers = Callers::default();
        for (index, caller) in self.written.caller.iter().flatten().enumerate() {
            let at = self.at.name("caller").item(index);
            let right = "write the name that [[admin.operator]] gives its roles to";
            let name = self.report.need(&at.name("name"), caller.name.as_deref(), right);
            if name.is_some_and(|name| LOCAL.contains(&name)) {
                let why = "this name stands for a user of this machine, who acts on the local socket";
                self.report.refuse(&at.name("name"), why, "choose a name of the system that calls");
            }
            let token = Written {
                name: "token",
                inline: None,
                file: caller.token_file.as_ref(),
                credential: caller.token_credential.as_ref(),
            };
            let (key, added) = match (&caller.certificate_name, token.is_given()) {
                (Some(dns), false) => {
                    if self.written.client_ca.is_none() {
                        let why = "no certificate is asked for without authorities";
                        self.report.refuse(&at.name("certificate-name"), why, "set http.client-ca");
                    }
                    let key = at.name("certificate-name");
                    (key, name.map(|name| callers.add_certificate(name, dns)))
                }
                (None, true) => {
                    let secret = token.read(&at, Reach::Network, self.report);
                    let added = name.zip(secret).map(|(name, secret)| callers.add_token(name, &secret));
                    (token.key(&at), added)
                }
                _ => {
                    let why = "a caller shows one thing: a token or a certificate";
                    let right = "write one of token-file, token-credential and certificate-name";
                    self.report.refuse(&at.name("token-file"), why, right);
                    continue;
                }
            };
            if let Some(Err(problem)) = added {
                let right = "make a token: head -c 32 /dev/urandom | base64";
                self.report.refuse(&key, problem.to_string(), right);
            }
        }
        callers
    }

    fn pace(&mut self, name: &str, written: Option<u64>) -> Option<Pace> {
        let number = self.report.number(&self.at.name(name), written, 1..=100_000);
        u32::try_from(number).ok().and_then(NonZeroU32::new).map(|per_minute| Pace { per_minute })
    }
}
