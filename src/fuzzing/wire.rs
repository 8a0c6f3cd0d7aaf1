//! Packets: whatever is read can be answered, and what is written is read as it was meant.

use super::{Input, secrets};
use crate::outcome::{Reason, Verdict};
use crate::radius::client::Asked;
use crate::radius::packet::{ATTRIBUTES_MAX, PACKET_OCTETS_MAX};
use crate::radius::{
    Attribute, Demand, Packet, Pinned, ProxyState, ReplyContent, ReplyTo, Request, Secrets, SignaturePolicy,
    StatusServer, encode,
};
use std::time::Duration;

/// Any datagram is refused or read; what is read tiles the packet and can be answered with a reply that verifies.
pub fn packet(octets: &[u8]) {
    let _ = Packet::peek(octets);
    let Ok(packet) = Packet::parse(octets, ATTRIBUTES_MAX) else { return };
    let tiles: usize = packet.attributes().map(|attribute| attribute.value.len() + 2).sum();
    assert_eq!(tiles + 20, packet.octets().len(), "attributes tile the packet");
    assert!(packet.octets().len() <= octets.len().min(PACKET_OCTETS_MAX));
    for attribute in packet.vendor_attributes() {
        assert!(attribute.value.len() < 253);
    }
    for kind in 241..=246 {
        assert!(
            packet.extended_values(kind, octets.len() as u8).all(|value| value.len() <= PACKET_OCTETS_MAX)
        );
    }
    let Some(secrets) = secrets() else { return };
    let demands = [
        Demand::Required,
        Demand::Pinnable,
        Demand::Optional { limit_proxy_state: ProxyState::Limited },
        Demand::Optional { limit_proxy_state: ProxyState::Unlimited },
    ];
    let Ok(packet) = Packet::parse_request(octets, ATTRIBUTES_MAX) else { return };
    for require in demands {
        let policy = SignaturePolicy { require, status_server: StatusServer::Answered };
        match Request::receive(packet, &secrets, &policy, Pinned::No) {
            Ok(request) => answer(&request, &secrets),
            Err(reason) => assert_eq!(reason.verdict(), Verdict::Drop, "nobody is told why"),
        }
    }
}

/// What a gateway writes is what we read, and what we answer is what it accepts.
pub fn roundtrip(octets: &[u8]) {
    let mut input = Input(octets);
    let asked = Asked { identifier: input.octet(), authenticator: input.array() };
    let (name_octets, password_octets) = (input.octet(), input.octet());
    let name = input.take(usize::from(name_octets).clamp(1, 253));
    let password = input.take(usize::from(password_octets));
    let others: Vec<Attribute<'_>> = std::iter::from_fn(|| input.attribute()).collect();
    let Some(secrets) = secrets() else { return };
    let Ok(octets) = asked.access_request(&secrets.current, name, password, &others) else { return };
    let packet = match Packet::parse_request(&octets, ATTRIBUTES_MAX) {
        Ok(packet) => packet,
        Err(reason) => {
            let odd = others.len() + 3 > ATTRIBUTES_MAX || others.iter().any(|other| other.kind == 0);
            return assert!(odd, "what we write we read: {}", reason.text());
        }
    };
    let policy = SignaturePolicy::default();
    let Ok(request) = Request::receive(packet, &secrets, &policy, Pinned::Yes) else {
        // A second Message-Authenticator makes any packet unsigned.
        return assert!(others.iter().any(|other| other.kind == 80), "what we sign verifies");
    };
    if let Ok(credential) = request.credential(&secrets) {
        assert_eq!(credential.user_name.octets(), name);
        let kept = password.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        assert_eq!(Some(credential.password.expose()), password.get(..kept), "NULs at the end are padding");
    }
    let Ok(to) = ReplyTo::new(&request) else { return };
    let message = String::from_utf8_lossy(password);
    let contents = [
        ReplyContent::Accept { message: Some(&message), session_timeout: None },
        ReplyContent::Reject { message: Some(&message) },
        ReplyContent::Challenge {
            message: Some(&message),
            state: name,
            session_timeout: Some(Duration::from_secs(60)),
        },
    ];
    for content in contents {
        let Ok(reply) = encode(&to, &secrets.current, &content) else { continue };
        let read = asked.verify_reply(&reply, &secrets.current);
        assert!(read.is_ok(), "what we answer verifies");
        let echoed = read.iter().flat_map(|reply| reply.values(33));
        assert!(echoed.eq(packet.values(33)), "Proxy-State comes back as it went");
    }
}

/// Answers a request in every way, and checks what comes out.
fn answer(request: &Request<'_>, secrets: &Secrets) {
    if let Err(reason) = request.credential(secrets) {
        assert!(matches!(reason.verdict(), Verdict::Drop | Verdict::Reject));
    }
    match ReplyTo::new(request) {
        Err(reason) => assert_eq!(reason, Reason::ReplyTooLong),
        Ok(to) => {
            for content in [ReplyContent::ACCEPT, ReplyContent::REJECT] {
                let reply = encode(&to, &secrets.current, &content);
                let Ok(reply) = reply else { unreachable!("an accept and a reject always fit") };
                let asked = Asked {
                    identifier: request.packet.identifier(),
                    authenticator: *request.packet.authenticator(),
                };
                assert!(asked.verify_reply(&reply, &secrets.current).is_ok(), "the reply verifies");
            }
        }
    }
}
