//! Clients that others have written: they build the requests, and they judge our replies.

use crate::harness::gateway::{Signed, code, kind};
use crate::harness::world::{PASSWORD, SECRET};
use crate::harness::{World, WorldBuilder, at_step_begin};
use radius::core::{packet::Packet, rfc2865, rfc2869};
use std::io::Write as _;
use std::process::{Command, Stdio};

const TWO_STEPS: &str =
    "[service.test]\ndigits = 6\nperiod = \"30s\"\nreject-delay = \"0s\"\nsecond-step = \"when-missing\"\n";

fn two_steps() -> World {
    WorldBuilder { service: TWO_STEPS.into(), ..WorldBuilder::default() }.open()
}

/// A Python that has pyrad: Debian's, or the one in the path.
fn python() -> Option<&'static str> {
    ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        let import = Command::new(python).args(["-c", "import pyrad.client"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    })
}

/// Logs in with pyrad: a list of fields, each answering the challenge before it. pyrad checks the Response Authenticator
/// and drops what does not fit; the Message-Authenticator is computed here by Python's own HMAC, both ways.
const PYRAD: &str = r#"
import hashlib, hmac, io, sys
from pyrad.client import Client, Timeout
from pyrad.dictionary import Dictionary
host, port, secret, user, *fields = sys.argv[1:]
words = Dictionary(io.StringIO("""
ATTRIBUTE User-Name 1 string
ATTRIBUTE User-Password 2 octets
ATTRIBUTE Reply-Message 18 string
ATTRIBUTE State 24 octets
ATTRIBUTE Session-Timeout 27 integer
ATTRIBUTE Proxy-State 33 octets
ATTRIBUTE Message-Authenticator 80 octets
"""))
client = Client(server=host, authport=int(port), secret=secret.encode(), dict=words)
client.timeout, client.retries = 8, 1
state = None
for field in fields:
    request = client.CreateAuthPacket(code=1)
    request["User-Name"] = user
    request["User-Password"] = request.PwCrypt(field)
    request["Proxy-State"] = b"pyrad"
    if state is not None:
        request["State"] = state
    request[80] = [bytes(16)]
    octets = request.RequestPacket()
    request[80] = [hmac.new(secret.encode(), octets, hashlib.md5).digest()]
    verify, received = request.VerifyReply, []
    def keep(reply, octets=None, **others):
        received.append(octets)
        return verify(reply, octets, **others)
    request.VerifyReply = keep
    try:
        reply = client.SendPacket(request)
    except Timeout:
        print("silence")
        break
    raw = bytearray(received[-1])
    assert raw[20:22] == bytes([80, 18]), "Message-Authenticator comes first"
    signature = bytes(raw[22:38])
    raw[4:20], raw[22:38] = request.authenticator, bytes(16)
    assert hmac.new(secret.encode(), bytes(raw), hashlib.md5).digest() == signature
    assert reply["Proxy-State"] == [b"pyrad"]
    state = reply["State"][0] if "State" in reply.keys() else None
    print({2: "accept", 3: "reject", 11: "challenge"}[reply.code])
"#;

fn pyrad(python: &str, world: &World, user: &str, fields: &[&str]) -> String {
    let server = world.daemon.radius[0];
    let mut child = Command::new(python)
        .args(["-", &server.ip().to_string(), &server.port().to_string(), SECRET, user])
        .args(fields)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(PYRAD.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn pyrad_logs_in_once_and_in_two_steps() {
    let python = python().expect("pyrad is needed: apt-get install python3-pyrad");
    let world = two_steps();
    at_step_begin(30, 15);
    let alice = world.token("alice", 0).field(0);
    assert_eq!(pyrad(python, &world, "alice", &[&alice]), "accept");
    assert_eq!(
        pyrad(python, &world, "alice", &[&alice, "123456"]),
        "challenge reject",
        "a used code is a decoy here"
    );
    let bob = world.token("bob", 0).code(0);
    assert_eq!(pyrad(python, &world, "bob", &[PASSWORD, &bob]), "challenge accept");
    assert_eq!(pyrad(python, &world, "nobody", &[PASSWORD, &bob]), "challenge reject");
}

#[test]
fn radclient_logs_in_and_is_challenged() {
    let world = two_steps();
    at_step_begin(30, 10);
    let ask = |user: &str, field: &str| {
        let attributes = format!(
            "User-Name = \"{user}\"\nUser-Password = \"{field}\"\nNAS-Port = 7\nProxy-State = 0x70726f7879\n\
             Message-Authenticator = 0x00\n"
        );
        world.gateway.radclient(&attributes)
    };
    assert_eq!(ask("alice", &world.token("alice", 0).field(0)), "Access-Accept");
    assert_eq!(ask("bob", PASSWORD), "Access-Challenge");
    assert_eq!(ask("nobody", PASSWORD), "Access-Challenge");
}

#[test]
fn the_crate_radius_reads_every_kind_of_reply() {
    let world = two_steps();
    at_step_begin(30, 10);
    let secret = SECRET.as_bytes();
    let proxy = [(kind::PROXY_STATE, b"first".to_vec()), (kind::PROXY_STATE, b"second".to_vec())];
    let status = world.gateway.build(code::STATUS_SERVER, &[], None, Signed::First);
    let accept = world.gateway.request_with("alice", world.token("alice", 0).field(0).as_bytes(), &proxy);
    let challenge = world.gateway.request_with("bob", PASSWORD.as_bytes(), &proxy);
    let reject = world.gateway.build(code::ACCESS_REQUEST, &proxy, Some(b"whatever"), Signed::Last);
    for (request, wanted) in [(status, 2), (accept, 2), (challenge, 11), (reject, 3)] {
        let reply = world.gateway.ask(&request);
        assert_eq!(reply.code(), wanted);
        assert!(Packet::is_authentic_response(&reply.octets, &request.octets, secret));
        assert!(!Packet::is_authentic_response(&reply.octets, &request.octets, b"another secret"));
        let packet = Packet::decode(&reply.octets, secret).expect("a packet that others can read");
        assert_eq!(rfc2869::lookup_message_authenticator(&packet).map(|octets| octets.len()), Some(16));
        assert_eq!(rfc2865::lookup_all_proxy_state(&packet), reply.values(kind::PROXY_STATE));
        let texts = rfc2865::lookup_all_reply_message(&packet).expect("text");
        assert_eq!(texts.is_empty(), wanted == 2);
        assert_eq!(rfc2865::lookup_state(&packet).is_some(), wanted == 11);
        let timeout = rfc2865::lookup_session_timeout(&packet).transpose().expect("a number");
        assert_eq!(timeout, (wanted == 11).then_some(60));
    }
}
