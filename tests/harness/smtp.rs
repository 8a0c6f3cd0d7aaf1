//! A mail server that takes letters and keeps them: in clear, after STARTTLS or with TLS from the first octet.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A letter as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Who logged in, with the password, as AUTH PLAIN says it; empty if nobody.
    pub login: String,
    pub from: String,
    pub to: Vec<String>,
    /// Header and body, lines ended by a line feed.
    pub text: String,
    pub protected: bool,
}

impl Received {
    /// The body, whichever of the usual encodings it has.
    pub fn body(&self) -> String {
        let (header, body) = self.text.split_once("\n\n").unwrap_or((&self.text, ""));
        let header = header.to_ascii_lowercase();
        let octets = if header.contains("content-transfer-encoding: base64") {
            let letters: String = body.split_whitespace().collect();
            data_encoding::BASE64.decode(letters.as_bytes()).unwrap()
        } else if header.contains("content-transfer-encoding: quoted-printable") {
            unquoted(body)
        } else {
            body.as_bytes().to_vec()
        };
        String::from_utf8(octets).unwrap().replace("\r\n", "\n")
    }

    /// The header line of this name, encoded words decoded.
    pub fn header(&self, name: &str) -> String {
        let header = self.text.split_once("\n\n").unwrap().0.replace("\n ", " ");
        let prefix = format!("{}:", name.to_ascii_lowercase());
        let line = header.lines().find(|line| line.to_ascii_lowercase().starts_with(&prefix));
        let value = line.unwrap_or_default()[prefix.len()..].trim().to_owned();
        let mut words = String::new();
        for (at, word) in value.split(' ').enumerate() {
            match word.strip_prefix("=?utf-8?b?").and_then(|word| word.strip_suffix("?=")) {
                Some(word) => {
                    let octets = data_encoding::BASE64.decode(word.as_bytes()).unwrap();
                    words.push_str(&String::from_utf8(octets).unwrap());
                }
                None => {
                    words.push_str(if at == 0 { "" } else { " " });
                    words.push_str(word);
                }
            }
        }
        words
    }
}

fn unquoted(body: &str) -> Vec<u8> {
    let joined = body.replace("=\n", "");
    let mut octets = Vec::new();
    let mut rest = joined.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'=' {
            let hex = [rest.next().unwrap(), rest.next().unwrap()];
            octets.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            octets.push(octet);
        }
    }
    octets
}

/// How it is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    None,
    StartTls,
    Implicit,
}

/// A mail server on a port of loopback. Ends with the program.
pub struct MailServer {
    pub address: SocketAddr,
    /// Its certificate, which is its own authority, as PEM.
    pub authority: String,
    received: Arc<Mutex<Vec<Received>>>,
    /// The next so many connections are told to come back later.
    pub busy: Arc<AtomicUsize>,
}

impl MailServer {
    pub fn start(protection: Protection) -> MailServer {
        let signed =
            rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let certificate = signed.cert.der().clone();
        let key = PrivateKeyDer::from_pem_slice(signed.signing_key.serialize_pem().as_bytes()).unwrap();
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![CertificateDer::from(certificate.to_vec())], key)
                .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = MailServer {
            address: listener.local_addr().unwrap(),
            authority: signed.cert.pem(),
            received: Arc::default(),
            busy: Arc::default(),
        };
        let (received, busy) = (Arc::clone(&server.received), Arc::clone(&server.busy));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let (received, config) = (Arc::clone(&received), Arc::clone(&config));
                let refuse =
                    busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
                std::thread::spawn(move || {
                    let _ = serve(stream, protection, &config, &received, refuse);
                });
            }
        });
        server
    }

    /// Everything that arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    protection: Protection,
    config: &Arc<ServerConfig>,
    received: &Mutex<Vec<Received>>,
    refuse: bool,
) -> std::io::Result<()> {
    let secured = |stream| {
        StreamOwned::new(
            ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other).unwrap(),
            stream,
        )
    };
    if protection == Protection::Implicit {
        let mut talk = Talk::new(secured(stream), "250 AUTH PLAIN", true);
        talk.greet(refuse)?;
        return talk.go_on(received).map(|_| ());
    }
    let starttls = protection == Protection::StartTls;
    let offer = if starttls { "250 STARTTLS" } else { "250 AUTH PLAIN" };
    let mut talk = Talk::new(stream, offer, false);
    talk.greet(refuse)?;
    if talk.go_on(received)? == End::StartTls {
        let stream = talk.reader.into_inner();
        Talk::new(secured(stream), "250 AUTH PLAIN", true).go_on(received)?;
    }
    Ok(())
}

struct Talk<S> {
    reader: BufReader<S>,
    offer: &'static str,
    protected: bool,
}

#[derive(PartialEq, Eq)]
enum End {
    Quit,
    StartTls,
}

impl<S: Read + Write> Talk<S> {
    fn new(stream: S, offer: &'static str, protected: bool) -> Talk<S> {
        Talk { reader: BufReader::new(stream), offer, protected }
    }

    fn say(&mut self, line: &str) -> std::io::Result<()> {
        let stream = self.reader.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        stream.flush()
    }

    fn greet(&mut self, refuse: bool) -> std::io::Result<()> {
        self.say(if refuse { "421 busy, come back later" } else { "220 mail.example.jp ESMTP" })
    }

    fn go_on(&mut self, received: &Mutex<Vec<Received>>) -> std::io::Result<End> {
        let mut letter = Received { protected: self.protected, ..Received::default() };
        let mut line = String::new();
        loop {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                return Ok(End::Quit);
            }
            let said = line.trim_end().to_owned();
            let word = said.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match word.as_str() {
                "EHLO" => {
                    let offer = self.offer;
                    self.say("250-mail.example.jp")?;
                    self.say(offer)?;
                }
                "STARTTLS" => {
                    self.say("220 go ahead")?;
                    return Ok(End::StartTls);
                }
                "AUTH" => {
                    let plain = said.rsplit(' ').next().unwrap().as_bytes().to_vec();
                    let octets = data_encoding::BASE64.decode(&plain).unwrap_or_default();
                    letter.login = String::from_utf8_lossy(&octets).into_owned();
                    self.say("235 welcome")?;
                }
                "MAIL" => {
                    letter.from = said;
                    self.say("250 ok")?;
                }
                "RCPT" if said.contains("nobody@") => self.say("550 no such mailbox")?,
                "RCPT" => {
                    letter.to.push(said);
                    self.say("250 ok")?;
                }
                "DATA" => {
                    self.say("354 end with a dot")?;
                    loop {
                        line.clear();
                        self.reader.read_line(&mut line)?;
                        let text = line.trim_end_matches(['\r', '\n']);
                        if text == "." {
                            break;
                        }
                        letter.text.push_str(text.strip_prefix('.').unwrap_or(text));
                        letter.text.push('\n');
                    }
                    received.lock().unwrap().push(std::mem::take(&mut letter));
                    self.say("250 taken")?;
                }
                "QUIT" => {
                    self.say("221 bye")?;
                    return Ok(End::Quit);
                }
                _ => self.say("502 not here")?,
            }
        }
    }
}
