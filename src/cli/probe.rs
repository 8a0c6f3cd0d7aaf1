//! `sekisho probe`: asks a RADIUS server as a careful gateway would, and shows what it answers.

use super::command::Probe;
use super::output::print;
use super::{Exit, Failure};
use crate::clock;
use crate::config::length;
use crate::identity::Escaped;
use crate::radius::client::{Asked, ReplyError};
use crate::radius::dictionary::{attribute, code, name_of};
use crate::radius::{Attribute, AttributeName, Packet, SharedSecret};
use crate::secret::Secret;
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;
use zeroize::Zeroize;

/// The most challenges that are followed; a server that goes on for longer is broken.
const ROUNDS_MAX: usize = 8;

/// Asks until the server accepts, rejects, or nobody answers its challenge.
pub fn run(arguments: &Probe) -> Result<Exit, Failure> {
    let secret = shared_secret(arguments)?;
    let timeout = length(&arguments.timeout).filter(|timeout| !timeout.is_zero()).ok_or_else(|| {
        Failure::Usage(format!("--timeout {}: write a length of time such as 5s", arguments.timeout))
    })?;
    let attributes = attributes(arguments)?;
    let server = server(&arguments.server)?;
    let mut asking = Asking {
        server,
        secret,
        timeout,
        tries: arguments.retries.saturating_add(1),
        user: &arguments.user,
        attributes,
    };
    let mut answers: Vec<Answer> = Vec::new();
    let mut prompt = "Password and code: ".to_owned();
    let ended = loop {
        let Some(mut password) = read_password(&prompt)? else {
            if answers.is_empty() {
                return Err(Failure::Usage("there is no password on standard input".to_owned()));
            }
            break Exit::ChallengeOpen;
        };
        let answer = asking.ask(&password);
        password.zeroize();
        let answer = match answer? {
            Ok(answer) => answer,
            Err(silence) => {
                if arguments.json {
                    print(&format!("{}\n", json!({ "reply": null, "error": silence })))?;
                } else {
                    super::output::complain(&silence);
                }
                return Ok(Exit::NoAnswer);
            }
        };
        if !arguments.json {
            print(&answer.text())?;
        }
        let (reply, state) = (answer.code, answer.state.clone());
        prompt = answer.prompt();
        answers.push(answer);
        match reply {
            code::ACCESS_ACCEPT => break Exit::Done,
            code::ACCESS_CHALLENGE if answers.len() < ROUNDS_MAX => asking.remember(state),
            code::ACCESS_CHALLENGE => break Exit::ChallengeOpen,
            _ => break Exit::Refused,
        }
    };
    if arguments.json
        && let Some((last, before)) = answers.split_last()
    {
        let mut object = last.json();
        let challenges: Vec<_> = before.iter().map(Answer::json).collect();
        if let (false, Some(object)) = (challenges.is_empty(), object.as_object_mut()) {
            object.insert("challenges".to_owned(), challenges.into());
        }
        print(&format!("{object}\n"))?;
    }
    Ok(ended)
}

/// One conversation with one server.
struct Asking<'a> {
    server: SocketAddr,
    secret: SharedSecret,
    timeout: Duration,
    tries: u8,
    user: &'a str,
    attributes: Vec<(u8, Vec<u8>)>,
}

/// A reply, checked.
struct Answer {
    code: u8,
    elapsed: Duration,
    tries: u8,
    state: Option<Vec<u8>>,
    attributes: Vec<(String, String)>,
}

impl Asking<'_> {
    /// Sends one request, again if need be. The inner error says why there is no valid answer.
    fn ask(&self, password: &[u8]) -> Result<Result<Answer, String>, Failure> {
        let network = |error| Failure::Io(self.server.to_string(), error);
        let mut random = [0; 17];
        getrandom::fill(&mut random)
            .map_err(|error| Failure::Io("random octets".to_owned(), io::Error::other(error.to_string())))?;
        let [identifier, authenticator @ ..] = random;
        let asked = Asked { identifier, authenticator };
        let others: Vec<Attribute<'_>> =
            self.attributes.iter().map(|(kind, value)| Attribute { kind: *kind, value }).collect();
        let request = asked
            .access_request(&self.secret, self.user.as_bytes(), password, &others)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let any: SocketAddr =
            if self.server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).map_err(network)?;
        socket.connect(self.server).map_err(network)?;
        let begin = clock::now().mono;
        let mut wrong: Option<ReplyError> = None;
        let mut unreachable: Option<io::Error> = None;
        let mut buffer = vec![0; 4096];
        for tries in 1..=self.tries {
            let end = clock::now().mono.plus(self.timeout);
            if let Err(error) = socket.send(&request) {
                unreachable = Some(error);
                continue;
            }
            loop {
                let left = end.since(clock::now().mono);
                if left.is_zero() {
                    break;
                }
                socket.set_read_timeout(Some(left)).map_err(network)?;
                let length = match socket.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                    {
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => {
                        unreachable = Some(error);
                        break;
                    }
                };
                match asked.verify_reply(buffer.get(..length).unwrap_or_default(), &self.secret) {
                    Ok(packet) => return Ok(Ok(Answer::new(&packet, clock::now().mono.since(begin), tries))),
                    Err(error) => wrong = Some(error),
                }
            }
        }
        let server = self.server;
        Ok(Err(match (wrong, unreachable) {
            (Some(wrong), _) => format!("{server}: no valid answer: {wrong}"),
            (None, Some(error)) => format!("{server}: no answer: {error}"),
            (None, None) => format!(
                "{server}: no answer; the server is silent to addresses it does not know, to a wrong secret, and when it cannot judge"
            ),
        }))
    }

    /// The State that belongs into the next request.
    fn remember(&mut self, state: Option<Vec<u8>>) {
        self.attributes.retain(|(kind, _)| *kind != attribute::STATE);
        self.attributes.extend(state.map(|state| (attribute::STATE, state)));
    }
}

impl Answer {
    fn new(packet: &Packet<'_>, elapsed: Duration, tries: u8) -> Answer {
        let mut seen = [0usize; 256];
        let mut attributes = Vec::new();
        for Attribute { kind, value } in packet.attributes() {
            let name = name_of(kind).map_or_else(|| format!("Attr-{kind}"), str::to_owned);
            let nth = seen
                .get_mut(usize::from(kind))
                .map_or(0, |count| std::mem::replace(count, count.saturating_add(1)));
            let readable = name.parse::<AttributeName>().ok().and_then(|name| {
                let text = name.values(packet).nth(nth)?;
                std::str::from_utf8(&text).is_ok().then(|| Escaped(&text).to_string())
            });
            let hex = || format!("0x{}", data_encoding::HEXLOWER.encode(value));
            attributes.push((name, readable.unwrap_or_else(hex)));
        }
        let state = packet.values(attribute::STATE).next().map(<[u8]>::to_vec);
        Answer { code: packet.code(), elapsed, tries, state, attributes }
    }

    fn reply(&self) -> &'static str {
        match self.code {
            code::ACCESS_ACCEPT => "Access-Accept",
            code::ACCESS_CHALLENGE => "Access-Challenge",
            _ => "Access-Reject",
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} after {:.1} ms\n", self.reply(), self.elapsed.as_secs_f64() * 1e3);
        for (name, value) in &self.attributes {
            let _ = writeln!(text, "  {name} = {value}");
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let attributes: Vec<_> =
            self.attributes.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        json!({
            "reply": self.reply(),
            "code": self.code,
            "time_us": u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX),
            "tries": self.tries,
            "attributes": attributes,
        })
    }

    /// What the server wants to be asked with.
    fn prompt(&self) -> String {
        let message = self.attributes.iter().find(|(name, _)| name == "Reply-Message");
        message.map_or_else(|| "Answer: ".to_owned(), |(_, text)| format!("{text} "))
    }
}

/// The next line of standard input, without its end, or what is typed at the prompt; `None` at the end of input.
fn read_password(prompt: &str) -> Result<Option<Vec<u8>>, Failure> {
    let failure = |error| Failure::Io("standard input".to_owned(), error);
    if io::stdin().is_terminal() {
        return match rpassword::prompt_password(prompt) {
            Ok(password) => Ok(Some(password.into_bytes())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(failure(error)),
        };
    }
    // Room for any line that RADIUS can carry, so that no copy of it stays behind.
    let mut line = Vec::with_capacity(4096);
    let length = io::stdin().lock().read_until(b'\n', &mut line).map_err(failure)?;
    if length == 0 {
        return Ok(None);
    }
    let text = line.strip_suffix(b"\n").map_or(&*line, |text| text.strip_suffix(b"\r").unwrap_or(text)).len();
    line.truncate(text);
    Ok(Some(line))
}

fn shared_secret(arguments: &Probe) -> Result<SharedSecret, Failure> {
    let file = &arguments.secret_file;
    let mut octets = std::fs::read(file).map_err(|error| Failure::Io(file.display().to_string(), error))?;
    let line = octets.strip_suffix(b"\n").map_or(&*octets, |line| line.strip_suffix(b"\r").unwrap_or(line));
    let secret = SharedSecret::new(Secret::new(line));
    octets.zeroize();
    secret.ok_or_else(|| Failure::Usage(format!("{}: the secret is empty", file.display())))
}

fn server(text: &str) -> Result<SocketAddr, Failure> {
    let unusable = |why: &str| {
        Failure::Usage(format!(
            "--server {text}: {why}; write HOST:PORT such as 192.0.2.1:1812 or [2001:db8::1]:1812"
        ))
    };
    let mut addresses = text.to_socket_addrs().map_err(|error| unusable(&error.to_string()))?;
    addresses.next().ok_or_else(|| unusable("no address has this name"))
}

/// What goes into the request beside name and password.
fn attributes(arguments: &Probe) -> Result<Vec<(u8, Vec<u8>)>, Failure> {
    let mut attributes = Vec::new();
    for written in &arguments.attributes {
        let (name, value) = written
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("--attribute {written}: write NAME=VALUE")))?;
        let encoded = name.parse::<AttributeName>().and_then(|name| name.encode(value));
        attributes.push(encoded.map_err(|error| Failure::Usage(format!("--attribute: {error}")))?);
    }
    if let Some(operation) = &arguments.operation {
        attributes.push((attribute::NAS_PORT_ID, operation.clone().into_bytes()));
    }
    // RFC 2865 §4.1: one of the two must be there.
    let named =
        |(kind, _): &(u8, Vec<u8>)| matches!(*kind, attribute::NAS_IDENTIFIER | attribute::NAS_IP_ADDRESS);
    if !attributes.iter().any(named) {
        attributes.push((attribute::NAS_IDENTIFIER, b"sekisho-probe".to_vec()));
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(attributes: &[&str]) -> Probe {
        Probe {
            server: "[::1]:1812".to_owned(),
            secret_file: "secret".into(),
            user: "u1".to_owned(),
            operation: Some("transfer".to_owned()),
            attributes: attributes.iter().map(|&written| written.to_owned()).collect(),
            timeout: "5s".to_owned(),
            retries: 2,
            json: false,
        }
    }

    #[test]
    fn attributes_arrive_as_configuration_would_read_them() {
        let written = [
            ("NAS-Port", "7", "7"),
            ("Service-Type", "Login", "1"),
            ("NAS-IP-Address", "192.0.2.1", "192.0.2.1"),
            ("Framed-IPv6-Prefix", "2001:db8::/48", "2001:db8::/48"),
            ("Calling-Station-Id", "192.0.2.77", "192.0.2.77"),
            ("Vendor-Specific:9:1", "op=transfer", "op=transfer"),
            ("Attr-241.7", "x", "x"),
        ];
        let pairs: Vec<String> = written.iter().map(|(name, value, _)| format!("{name}={value}")).collect();
        let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
        let encoded = attributes(&arguments(&pairs)).unwrap();
        let others: Vec<_> = encoded.iter().map(|(kind, value)| Attribute { kind: *kind, value }).collect();
        let secret = SharedSecret::new(Secret::new(*b"0123456789abcdef")).unwrap();
        let asked = Asked { identifier: 1, authenticator: [7; 16] };
        let request = asked.access_request(&secret, b"u1", b"p", &others).unwrap();
        let packet = Packet::parse(&request, 200).unwrap();
        for (name, _, read) in written.into_iter().chain([("NAS-Port-Id", "", "transfer")]) {
            let name: AttributeName = name.parse().unwrap();
            let values: Vec<Vec<u8>> = name.values(&packet).map(|value| value.to_vec()).collect();
            assert_eq!(values, [read.as_bytes()], "{name}");
        }
    }

    #[test]
    fn what_no_packet_can_carry_is_a_usage_error() {
        let long = format!("Filter-Id={}", "x".repeat(254));
        for bad in
            ["NAS-Port", "NAS-Port=x", "User-Password=x", "Nothing=1", "Framed-IPv6-Prefix=::/129", &long]
        {
            assert!(matches!(attributes(&arguments(&[bad])), Err(Failure::Usage(_))), "{bad}");
        }
        for bad in ["127.0.0.1", "127.0.0.1:x", ""] {
            assert!(matches!(server(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
