//! A client of the HTTP API, over TLS and in clear, that knows nothing of the crate under test.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Somebody who speaks to the API.
#[derive(Clone)]
pub struct Https {
    pub address: SocketAddr,
    /// The authority of the server's certificate, as PEM; in clear without.
    pub authority: Option<String>,
    /// What is shown as a bearer token; nothing if empty.
    pub token: String,
    /// In whose name; nothing if empty.
    pub acts_as: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct HttpReply {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl HttpReply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A text of the answer.
    pub fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}")).to_owned()
    }

    /// The word of a refusal.
    pub fn reason(&self) -> String {
        assert!(self.head.contains("application/problem+json"), "{self:?}");
        self.text("reason")
    }
}

impl Https {
    pub fn get(&self, path: &str) -> HttpReply {
        self.ask("GET", path, "", "")
    }

    /// Sends a JSON object, or nothing.
    pub fn post(&self, path: &str, body: &str) -> HttpReply {
        self.ask("POST", path, "", body)
    }

    /// With further header lines, each ended by CR LF.
    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> HttpReply {
        let line = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!("{name}: {value}\r\n"),
        };
        let bearer = if self.token.is_empty() { String::new() } else { format!("Bearer {}", self.token) };
        let kind = if body.is_empty() { "" } else { "application/json" };
        let head = [
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len()),
            line("Authorization", &bearer),
            line("Sekisho-As", &self.acts_as),
            line("Content-Type", kind),
            headers.to_owned(),
        ];
        self.say(format!("{}\r\n{body}", head.concat()).as_bytes()).expect("an answer over HTTP")
    }

    /// Sends octets and reads until the server closes.
    pub fn say(&self, octets: &[u8]) -> std::io::Result<HttpReply> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut reply = Vec::new();
        match &self.authority {
            None => {
                let mut stream = stream;
                stream.write_all(octets)?;
                stream.read_to_end(&mut reply)?;
            }
            Some(authority) => {
                let name = ServerName::try_from("localhost").unwrap();
                let connection =
                    ClientConnection::new(config(authority), name).map_err(std::io::Error::other)?;
                let mut stream = StreamOwned::new(connection, stream);
                stream.write_all(octets)?;
                stream.read_to_end(&mut reply)?;
            }
        }
        let text = String::from_utf8_lossy(&reply).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok(HttpReply { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    }
}

fn config(authority: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A certificate for this machine, which is its own authority, and its key, both as PEM.
pub fn certificate() -> (String, String) {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    (signed.cert.pem(), signed.signing_key.serialize_pem())
}
