//! The codec against recorded exchanges, against tables of hostile packets, and against another implementation.

use super::client::{Asked, ReplyError};
use super::dictionary::{NameError, attribute, code};
use super::packet::{ATTRIBUTES_MAX, PACKET_OCTETS_MAX};
use super::*;
use crate::outcome::{Reason, Verdict};
use crate::secret::Secret;
use std::time::Duration;

mod names;
mod properties;
mod vectors;

const SECRET: &str = "9fJ2-kQ7_vT4.xL8~bN1+wR6=yH3!pD5";
const OTHER_SECRET: &str = "0aZ8-wrong-secret-wrong-secret-00";
const ASKED: Asked = Asked { identifier: 7, authenticator: *b"0123456789abcdef" };

const REQUIRED: SignaturePolicy =
    SignaturePolicy { require: Demand::Required, status_server: StatusServer::Answered };
const LIMITED: SignaturePolicy = optional(ProxyState::Limited);
const UNLIMITED: SignaturePolicy = optional(ProxyState::Unlimited);

const fn optional(limit_proxy_state: ProxyState) -> SignaturePolicy {
    SignaturePolicy { require: Demand::Optional { limit_proxy_state }, status_server: StatusServer::Answered }
}

fn secret(text: &str) -> SharedSecret {
    SharedSecret::new(Secret::new(text)).unwrap()
}

fn secrets(text: &str) -> Secrets {
    Secrets { current: secret(text), next: None }
}

fn attr(kind: u8, value: &[u8]) -> Attribute<'_> {
    Attribute { kind, value }
}

/// A packet with the attributes in this order; a Message-Authenticator whose value is empty gets filled in.
fn packet_of(code: u8, attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut octets = vec![code, ASKED.identifier, 0, 0];
    octets.extend_from_slice(&ASKED.authenticator);
    let mut signature_at = None;
    for Attribute { kind, value } in attributes {
        let value = if *kind == 80 && value.is_empty() {
            signature_at = Some(octets.len() + 2);
            &[0; 16]
        } else {
            *value
        };
        octets.extend_from_slice(&[*kind, value.len() as u8 + 2]);
        octets.extend_from_slice(value);
    }
    let length = (octets.len() as u16).to_be_bytes();
    octets[2..4].copy_from_slice(&length);
    if let Some(at) = signature_at {
        let signature = secret(SECRET).sign(&[&octets]);
        octets[at..at + 16].copy_from_slice(&signature);
    }
    octets
}

fn hidden(password: &[u8]) -> Vec<u8> {
    secret(SECRET).hide(password, &ASKED.authenticator).unwrap().to_vec()
}

fn receive<'a>(datagram: &'a [u8], policy: &SignaturePolicy) -> Result<Request<'a>, Reason> {
    let packet = Packet::parse_request(datagram, ATTRIBUTES_MAX)?;
    Request::receive(packet, &secrets(SECRET), policy, Pinned::No)
}

/// The reason for which a packet is refused at any step, or the password that it brings.
fn judge(datagram: &[u8], policy: &SignaturePolicy) -> Result<Vec<u8>, Reason> {
    let credential = receive(datagram, policy)?.credential(&secrets(SECRET))?;
    Ok(credential.password.expose().to_vec())
}

fn kinds(packet: &Packet<'_>) -> Vec<u8> {
    packet.attributes().map(|attribute| attribute.kind).collect()
}

#[test]
fn rad_02_03_lengths_at_their_bounds() {
    let mut whole = packet_of(1, &[attr(25, &[1; 253]); 15]);
    whole.extend_from_slice(&packet_of(1, &[attr(25, &[1; 249])])[20..]);
    assert_eq!(whole.len(), PACKET_OCTETS_MAX);
    for (length, datagram, expected) in [
        (20u16, 19, Some(Reason::TooShort)),
        (20, 0, Some(Reason::TooShort)),
        (19, 4096, Some(Reason::LengthWrong)),
        (0, 4096, Some(Reason::LengthWrong)),
        (20, 20, None),
        (20, 4096, None),
        (4096, 4095, Some(Reason::LengthWrong)),
        (4096, 4096, None),
        (4097, 4096, Some(Reason::LengthWrong)),
        (65535, 4096, Some(Reason::LengthWrong)),
    ] {
        whole[2..4].copy_from_slice(&length.to_be_bytes());
        let parsed = Packet::parse(&whole[..datagram], ATTRIBUTES_MAX);
        assert_eq!(parsed.err(), expected, "Length {length} in {datagram} octets");
    }
}

#[test]
fn rad_05_attributes_must_tile() {
    for (tail, expected) in [
        (&[][..], None),
        (&[25, 2], None),
        (&[25, 3, 9, 25, 2], None),
        (&[25], Some(Reason::Malformed)),
        (&[25, 0], Some(Reason::Malformed)),
        (&[25, 1], Some(Reason::Malformed)),
        (&[25, 3], Some(Reason::Malformed)),
        (&[25, 255, 1, 2, 3], Some(Reason::Malformed)),
        (&[25, 2, 25], Some(Reason::Malformed)),
        (&[0, 2], Some(Reason::Malformed)),
        (&[25, 2, 0, 3, 1], Some(Reason::Malformed)),
    ] {
        let mut datagram = packet_of(1, &[]);
        datagram.extend_from_slice(tail);
        datagram[3] = datagram.len() as u8;
        assert_eq!(Packet::parse(&datagram, ATTRIBUTES_MAX).err(), expected, "{tail:?}");
    }
}

#[test]
fn rad_06_attributes_are_bounded() {
    let empty = [attr(25, &[]); 2038];
    let full = packet_of(1, &empty);
    assert_eq!(full.len(), PACKET_OCTETS_MAX);
    assert_eq!(Packet::parse(&full, 200).unwrap_err(), Reason::AttributesTooMany);
    assert!(Packet::parse(&packet_of(1, &empty[..200]), 200).is_ok());
    assert_eq!(Packet::parse(&packet_of(1, &empty[..201]), 200).unwrap_err(), Reason::AttributesTooMany);
}

#[test]
fn rad_07_other_codes_are_unknown_even_if_malformed() {
    for code in (0..=255).filter(|code| ![code::ACCESS_REQUEST, code::STATUS_SERVER].contains(code)) {
        let mut datagram = packet_of(code, &[attr(25, b"x")]);
        datagram[21] = 0;
        assert_eq!(Packet::parse_request(&datagram, 200).unwrap_err(), Reason::TypeUnknown, "{code}");
        let datagram = packet_of(code, &[attr(80, &[])]);
        let packet = Packet::parse(&datagram, 200).unwrap();
        let refused = Request::receive(packet, &secrets(SECRET), &UNLIMITED, Pinned::No);
        assert_eq!(refused.unwrap_err(), Reason::TypeUnknown, "{code}");
    }
}

#[test]
fn rad_14_15_the_signature_may_stand_anywhere_and_covers_everything() {
    let password = hidden(b"secret755224");
    let (name, password, signature) = (attr(1, b"alice"), attr(2, &password), attr(80, &[]));
    for order in [[signature, name, password], [name, signature, password], [name, password, signature]] {
        let datagram = packet_of(1, &order);
        assert_eq!(judge(&datagram, &REQUIRED).unwrap(), b"secret755224");
        for bit in 0..datagram.len() * 8 {
            let mut altered = datagram.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let refused = judge(&altered, &REQUIRED).unwrap_err();
            assert_eq!(refused.verdict(), Verdict::Drop, "bit {bit}: {refused:?}");
        }
    }
}

#[test]
fn rad_16_only_one_signature_of_the_right_length() {
    for signatures in [&[17usize, 1][..], &[15], &[0, 0], &[16, 16], &[0, 16], &[16, 15]] {
        let octets = [9; 17];
        let mut attributes = vec![attr(1, b"alice")];
        attributes.extend(signatures.iter().map(|&length| attr(80, &octets[..length])));
        assert_eq!(
            judge(&packet_of(1, &attributes), &UNLIMITED),
            Err(Reason::MessageAuthenticatorBad),
            "{signatures:?}"
        );
    }
}

#[test]
fn rad_17_18_21_30_34_44_unsigned_requests() {
    use Reason::{MessageAuthenticatorMissing as Missing, ProxyStateUnsigned};
    let pinnable = SignaturePolicy { require: Demand::Pinnable, ..REQUIRED };
    let password = hidden(b"pw");
    let login = [attr(1, b"alice"), attr(2, &password)];
    let proxied = [login[0], login[1], attr(33, b"p")];
    let eap = [login[0], attr(79, &[2, 42, 0, 5, 1])];
    for (what, code, attributes, policy, pinned, expected) in [
        ("required", 1, &login[..], REQUIRED, Pinned::No, Some(Missing)),
        ("optional", 1, &login, LIMITED, Pinned::No, None),
        ("optional ignores the pin", 1, &login, LIMITED, Pinned::Yes, None),
        ("limited", 1, &proxied, LIMITED, Pinned::No, Some(ProxyStateUnsigned)),
        ("unlimited", 1, &proxied, UNLIMITED, Pinned::No, None),
        ("not yet pinned", 1, &login, pinnable, Pinned::No, None),
        ("not yet pinned, limited", 1, &proxied, pinnable, Pinned::No, Some(ProxyStateUnsigned)),
        ("pinned", 1, &login, pinnable, Pinned::Yes, Some(Missing)),
        ("eap", 1, &eap, UNLIMITED, Pinned::No, Some(Missing)),
        ("status", 12, &[], UNLIMITED, Pinned::No, Some(Missing)),
    ] {
        let datagram = packet_of(code, attributes);
        let packet = Packet::parse_request(&datagram, ATTRIBUTES_MAX).unwrap();
        let received = Request::receive(packet, &secrets(SECRET), &policy, pinned);
        assert_eq!(received.map(|request| request.signature).err(), expected, "{what}");
        if expected.is_none() {
            assert_eq!(received.unwrap().signature, Signature::Unsigned, "{what}");
        }
    }
    let signed = packet_of(1, &[attr(80, &[]), proxied[0], proxied[1], proxied[2]]);
    assert_eq!(receive(&signed, &LIMITED).unwrap().signature, Signature::Verified(WhichSecret::Current));
}

#[test]
fn a_secret_is_changed_without_a_gap() {
    let datagram = ASKED.access_request(&secret(SECRET), b"alice", b"pw", &[]).unwrap();
    let packet = Packet::parse(&datagram, ATTRIBUTES_MAX).unwrap();
    let changing = Secrets { current: secret(OTHER_SECRET), next: Some(secret(SECRET)) };
    let request = Request::receive(packet, &changing, &REQUIRED, Pinned::No).unwrap();
    assert_eq!(request.signature, Signature::Verified(WhichSecret::Next));
    assert_eq!(request.credential(&changing).unwrap().password.expose(), b"pw");
    let to = ReplyTo::new(&request).unwrap();
    let reply = encode(&to, changing.secret(to.which_secret()).unwrap(), &ReplyContent::ACCEPT).unwrap();
    assert!(ASKED.verify_reply(&reply, &secret(SECRET)).is_ok());
    assert!(ASKED.verify_reply(&reply, &secret(OTHER_SECRET)).is_err());
}

#[test]
fn rad_25_26_strange_attributes_are_passed_over() {
    let password = hidden(b"pw");
    let oddities: [(u8, &[u8]); 14] = [
        (250, b"\xde\xad"),
        (26, b""),
        (26, b"\0\0\x01"),
        (26, b"\0\0\x01\x37\x01\x00"),
        (26, b"\0\0\x01\x37\x19\x03"),
        (26, b"\0\0\x7e\xd9junk"),
        (241, b""),
        (241, b"\x03"),
        (245, b"\x01"),
        (245, b"\x01\x80"),
        (246, b"\x01\x80short"),
        (241, b"\x05\x01\x00\x02"),
        (attribute::NAS_PORT, b"\0\0\x01"),
        (attribute::NAS_IPV6_ADDRESS, b"\0\0\x01\x02"),
    ];
    for (kind, value) in oddities {
        let datagram =
            packet_of(1, &[attr(kind, value), attr(80, &[]), attr(1, b"alice"), attr(2, &password)]);
        assert_eq!(judge(&datagram, &REQUIRED).as_deref(), Ok(&b"pw"[..]), "{kind} {value:02x?}");
    }
}

#[test]
fn rad_27_30_to_33_35_what_makes_a_credential() {
    use Reason::*;
    let password = hidden(b"pw");
    let octets = [1u8; 253];
    let (signed, name, pap) = (attr(80, &[]), attr(1, b"alice"), attr(2, &password));
    let chap = attr(3, &octets[..17]);
    let state = attr(24, b"state");
    let eap = attr(79, &[2, 42, 0, 5, 1]);
    let ms_chap = attr(26, b"\0\0\x01\x37\x01\x04..");
    let ms_chap2 = attr(26, b"\0\0\x01\x37\x19\x04..");
    let authorize_only = attr(6, &[0, 0, 0, 17]);
    let call_check = attr(6, &[0, 0, 0, 10]);
    let login = attr(6, &[0, 0, 0, 1]);
    for (attributes, expected) in [
        (&[signed, name, pap, state, login][..], None),
        (&[name, pap], None),
        (&[signed, name, attr(2, b"")], Some(CredentialInvalid)),
        (&[signed, name, attr(2, &octets[..15])], Some(CredentialInvalid)),
        (&[signed, name, attr(2, &octets[..17])], Some(CredentialInvalid)),
        (&[signed, name, attr(2, &octets[..129])], Some(CredentialInvalid)),
        (&[signed, name, attr(2, &octets[..144])], Some(CredentialInvalid)),
        (&[signed, name, attr(2, &octets)], Some(CredentialInvalid)),
        (&[signed, name, attr(2, &octets[..128])], None),
        (&[signed, name, pap, chap], Some(CredentialInvalid)),
        (&[signed, name, pap, eap], Some(CredentialInvalid)),
        (&[signed, name, pap, ms_chap2], Some(CredentialInvalid)),
        (&[signed, name, chap, eap], Some(CredentialInvalid)),
        (&[signed, name], Some(CredentialMissing)),
        (&[name], Some(CredentialMissingUnsigned)),
        (&[name, name], Some(CredentialMissingUnsigned)),
        (&[signed, pap], Some(UserNameMissing)),
        (&[signed, attr(1, b""), pap], Some(UserNameMissing)),
        (&[signed, name, name, pap], Some(AttributeRepeated)),
        (&[signed, name, pap, pap], Some(AttributeRepeated)),
        (&[signed, name, pap, state, state], Some(AttributeRepeated)),
        (&[signed, name, chap], Some(MethodUnsupported)),
        (&[signed, name, attr(60, b"challenge"), chap], Some(MethodUnsupported)),
        (&[signed, name, ms_chap], Some(MethodUnsupported)),
        (&[signed, name, ms_chap2], Some(MethodUnsupported)),
        (&[signed, name, eap, eap], Some(MethodUnsupported)),
        (&[signed, name, attr(70, &octets[..16])], Some(MethodUnsupported)),
        (&[signed, name, pap, authorize_only], Some(ServiceTypeRefused)),
        (&[signed, name, authorize_only], Some(ServiceTypeRefused)),
        (&[signed, name, pap, login, call_check], Some(ServiceTypeRefused)),
    ] {
        let datagram = packet_of(1, attributes);
        assert_eq!(judge(&datagram, &UNLIMITED).err(), expected, "{:?}", {
            attributes.iter().map(|attribute| attribute.kind).collect::<Vec<_>>()
        });
        let drops = expected == Some(CredentialMissingUnsigned);
        assert!(expected.is_none_or(|reason| (reason.verdict() == Verdict::Drop) == drops));
    }
    let datagram = packet_of(1, &[signed, name, pap, attr(24, b""), attr(31, b"192.0.2.9")]);
    let credential = receive(&datagram, &REQUIRED).unwrap().credential(&secrets(SECRET)).unwrap();
    assert_eq!((credential.state, credential.calling_station), (Some(&b""[..]), Some(&b"192.0.2.9"[..])));
}

#[test]
fn rad_28_a_password_of_nuls_is_empty_and_a_wrong_secret_gives_noise() {
    let authenticator = ASKED.authenticator;
    for nuls in [0, 1, 16, 17] {
        let octets = hidden(&vec![0; nuls]);
        assert!(secret(SECRET).unhide(&octets, &authenticator).unwrap().is_empty());
    }
    assert!(secret(SECRET).hide(&[b'x'; 129], &authenticator).is_none());
    let noise = secret(OTHER_SECRET).unhide(&hidden(b"correct horse"), &authenticator).unwrap();
    assert_ne!(noise.expose(), b"correct horse");
}

#[test]
fn rad_19_23_every_reply_is_signed_first_and_echoes_proxy_state() {
    let proxies: [&[u8]; 4] = [b"one", b"", b"one", &[0xff; 253]];
    let mut attributes = vec![attr(1, b"alice")];
    for proxy in proxies {
        attributes.extend([attr(33, proxy), attr(32, b"gateway")]);
    }
    let datagram = packet_of(1, &attributes);
    let to = ReplyTo::new(&receive(&datagram, &UNLIMITED).unwrap()).unwrap();
    let timeout = Some(Duration::from_millis(60_900));
    let accept = ReplyContent::Accept { message: Some("welcome"), session_timeout: timeout };
    let reject = ReplyContent::Reject { message: Some("no") };
    let challenge = ReplyContent::Challenge { message: Some("code?"), state: b"s", session_timeout: timeout };
    for (content, code, expected) in [
        (accept, 2, &[80, 18, 27, 33, 33, 33, 33][..]),
        (reject, 3, &[80, 18, 33, 33, 33, 33]),
        (challenge, 11, &[80, 18, 24, 27, 33, 33, 33, 33]),
    ] {
        let octets = encode(&to, &secret(SECRET), &content).unwrap();
        let reply = ASKED.verify_reply(&octets, &secret(SECRET)).unwrap();
        assert_eq!((reply.code(), kinds(&reply).as_slice()), (code, expected));
        assert!(reply.values(33).eq(proxies));
        assert!(reply.values(27).all(|seconds| seconds == [0, 0, 0, 60]));
        assert_eq!(octets.unused_room(), 0);
    }
}

#[test]
fn rad_24_as_much_proxy_state_as_fits() {
    let value = [7u8; 253];
    let proxies = [attr(33, &value); 15];
    let challenge = ReplyContent::Challenge { message: None, state: &value, session_timeout: None };

    let datagram = packet_of(1, &proxies);
    let to = ReplyTo::new(&receive(&datagram, &UNLIMITED).unwrap()).unwrap();
    let octets = encode(&to, &secret(SECRET), &ReplyContent::Reject { message: Some("no") }).unwrap();
    assert_eq!(ASKED.verify_reply(&octets, &secret(SECRET)).unwrap().values(33).count(), 15);
    assert_eq!(encode(&to, &secret(SECRET), &challenge), Err(Reason::ReplyTooLong));

    // A message gives way to Proxy-State and State.
    let datagram = packet_of(1, &proxies[..14]);
    let to = ReplyTo::new(&receive(&datagram, &UNLIMITED).unwrap()).unwrap();
    for (message, length, messages) in [(231, PACKET_OCTETS_MAX, 1), (232, PACKET_OCTETS_MAX - 233, 0)] {
        let message = "m".repeat(message);
        let content =
            ReplyContent::Challenge { message: Some(&message), state: &value, session_timeout: None };
        let octets = encode(&to, &secret(SECRET), &content).unwrap();
        assert_eq!(octets.len(), length);
        let reply = ASKED.verify_reply(&octets, &secret(SECRET)).unwrap();
        let counts = [33, 24, 18].map(|kind| reply.values(kind).count());
        assert_eq!(counts, [14, 1, messages]);
    }

    // The most that fits into any reply, and one octet more.
    for (octets, expected) in [(225, None), (226, Some(Reason::ReplyTooLong))] {
        let mut all = vec![attr(33, &value[..octets])];
        all.extend_from_slice(&proxies);
        let datagram = packet_of(1, &all);
        let to = ReplyTo::new(&receive(&datagram, &UNLIMITED).unwrap());
        assert_eq!(to.as_ref().err().copied(), expected);
        if let Ok(to) = to {
            assert!(encode(&to, &secret(SECRET), &ReplyContent::ACCEPT).is_ok());
        }
    }
}

#[test]
fn rad_34_eap_gets_a_failure_and_no_message() {
    let name = attr(1, b"alice");
    for (eap, expected) in [
        (&[attr(79, &[2, 42, 0, 5, 1])][..], &[80, 79][..]),
        (&[attr(79, &[2]), attr(79, &[42, 0, 5, 1])], &[80, 79]),
        (&[attr(79, &[])], &[80, 18]),
    ] {
        let mut attributes = vec![attr(80, &[]), name];
        attributes.extend_from_slice(eap);
        let datagram = packet_of(1, &attributes);
        let to = ReplyTo::new(&receive(&datagram, &REQUIRED).unwrap()).unwrap();
        let octets = encode(&to, &secret(SECRET), &ReplyContent::Reject { message: Some("no") }).unwrap();
        let reply = ASKED.verify_reply(&octets, &secret(SECRET)).unwrap();
        assert_eq!(kinds(&reply), expected);
        assert!(reply.values(79).all(|failure| failure == [4, 42, 0, 4]));
    }
}

#[test]
fn rad_43_44_45_47_status_server_is_signed_answered_and_echoes_nothing() {
    let others = [attr(1, b"alice"), attr(33, b"proxy"), attr(79, &[2, 42, 0, 4])];
    let datagram = ASKED.status_server(&secret(SECRET), &others).unwrap();
    let request = receive(&datagram, &UNLIMITED).unwrap();
    assert_eq!(request.kind, Kind::StatusServer);
    let octets = encode(&ReplyTo::new(&request).unwrap(), &secret(SECRET), &ReplyContent::ACCEPT).unwrap();
    assert_eq!(kinds(&ASKED.verify_reply(&octets, &secret(SECRET)).unwrap()), [80]);

    let silent = SignaturePolicy { status_server: StatusServer::Silent, ..REQUIRED };
    assert_eq!(receive(&datagram, &silent).unwrap_err(), Reason::StatusServerSilent);
    let forged = ASKED.status_server(&secret(OTHER_SECRET), &[]).unwrap();
    assert_eq!(receive(&forged, &UNLIMITED).unwrap_err(), Reason::MessageAuthenticatorBad);
}

#[test]
fn rad_49_messages_are_split_between_characters() {
    let datagram = packet_of(1, &[attr(1, b"alice")]);
    let to = ReplyTo::new(&receive(&datagram, &UNLIMITED).unwrap()).unwrap();
    for (text, pieces) in
        [("", 0), ("no", 1), (&"a".repeat(253), 1), (&"a".repeat(254), 2), (&"認証".repeat(100), 3)]
    {
        let octets = encode(&to, &secret(SECRET), &ReplyContent::Reject { message: Some(text) }).unwrap();
        let reply = ASKED.verify_reply(&octets, &secret(SECRET)).unwrap();
        let found: Vec<_> = reply.values(18).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
        assert_eq!((found.len(), found.concat().as_str()), (pieces, text));
    }
}

#[test]
fn rad_51_secrets_are_neither_empty_nor_printed() {
    assert!(SharedSecret::new(Secret::new("")).is_none());
    assert_eq!(format!("{:?}", secrets(SECRET)), "Secrets { current: [secret], next: None }");
    let long = "k".repeat(200);
    let datagram = ASKED.access_request(&secret(&long), b"alice", b"pw", &[]).unwrap();
    assert!(::radius::core::packet::Packet::decode(&datagram, long.as_bytes()).is_ok());
    assert!(secret(&long).verify_message_authenticator(&Packet::parse(&datagram, 200).unwrap()));
}

#[test]
fn a_probe_refuses_replies_that_could_be_forged() {
    let secret = secret(SECRET);
    let reply = |attributes: &[Attribute<'_>]| {
        let mut octets = packet_of(2, attributes);
        let authenticator = secret.response_authenticator(&[&octets]);
        octets[4..20].copy_from_slice(&authenticator);
        octets
    };
    let good = reply(&[attr(80, &[])]);
    let mut renumbered = good.clone();
    renumbered[1] ^= 1;
    for (octets, expected) in [
        (good.clone(), None),
        (reply(&[]), Some(ReplyError::MessageAuthenticatorMissing)),
        (reply(&[attr(18, b"hi"), attr(80, &[])]), Some(ReplyError::MessageAuthenticatorNotFirst)),
        (reply(&[attr(80, &[1; 16])]), Some(ReplyError::MessageAuthenticatorBad)),
        (reply(&[attr(80, &[]), attr(80, &[1; 16])]), Some(ReplyError::MessageAuthenticatorBad)),
        (packet_of(2, &[attr(80, &[])]), Some(ReplyError::ResponseAuthenticatorBad)),
        (renumbered, Some(ReplyError::OtherIdentifier(6))),
        (packet_of(1, &[]), Some(ReplyError::NotAReply(1))),
        (good[..19].to_vec(), Some(ReplyError::Unreadable(Reason::TooShort))),
    ] {
        assert_eq!(ASKED.verify_reply(&octets, &secret).err(), expected);
    }
    let other = Asked { authenticator: [0; 16], ..ASKED };
    assert_eq!(other.verify_reply(&good, &secret).unwrap_err(), ReplyError::ResponseAuthenticatorBad);
}
