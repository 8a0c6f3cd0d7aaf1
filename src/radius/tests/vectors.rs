//! Recorded exchanges of two other implementations, octet for octet.

use super::*;
use data_encoding::HEXLOWER;
use serde_json::Value as Json;

fn file() -> Json {
    serde_json::from_str(include_str!("../../../tests/vectors/radius.json")).unwrap()
}

fn hex(row: &Json, field: &str) -> Vec<u8> {
    HEXLOWER.decode(row[field].as_str().unwrap().as_bytes()).unwrap()
}

fn policy(row: &Json) -> SignaturePolicy {
    match row["client_policy"]["require_message_authenticator"].as_bool() {
        Some(false) => LIMITED,
        _ => REQUIRED,
    }
}

fn content<'a>(row: &Json, state: &'a [u8]) -> ReplyContent<'a> {
    match row["reply_code"].as_str().unwrap() {
        "Access-Accept" => ReplyContent::ACCEPT,
        "Access-Reject" => ReplyContent::REJECT,
        "Access-Challenge" => ReplyContent::Challenge {
            message: Some("Enter your one-time password"),
            state,
            session_timeout: None,
        },
        other => panic!("{other}"),
    }
}

#[test]
fn rad_01_recorded_exchanges_are_exact_to_the_octet() {
    let file = file();
    let mut steps = 0;
    for exchange in file["exchanges"].as_array().unwrap() {
        if exchange["id"] == "radius-1.1" {
            continue; // another packet format (RFC 9765), not offered
        }
        for row in exchange["steps"].as_array().unwrap() {
            steps += 1;
            let what = format!("{}: {}", exchange["id"], row["description"]);
            let secrets = secrets(row["secret"].as_str().unwrap_or(SECRET));
            let datagram = hex(row, "request_hex");
            let packet = Packet::parse_request(&datagram, ATTRIBUTES_MAX).unwrap();
            let request = Request::receive(packet, &secrets, &policy(row), Pinned::No);
            if row["expect"] == "no-reply" {
                assert_eq!(request.unwrap_err().verdict(), Verdict::Drop, "{what}");
                continue;
            }
            let request = request.unwrap();
            if let Some(listed) = row["request_attributes"].as_array() {
                let listed: Vec<_> = listed.iter().map(|kind| kind.as_u64().unwrap() as u8).collect();
                assert_eq!(kinds(&packet), listed, "{what}");
            }
            if let Some(password) = row["password"].as_str() {
                let credential = request.credential(&secrets).unwrap();
                assert_eq!(credential.password.expose(), password.as_bytes(), "{what}");
                assert_eq!(credential.user_name.octets(), b"alice", "{what}");
            }
            let state = row["state_hex"].as_str().map(|_| hex(row, "state_hex")).unwrap_or_default();
            let to = ReplyTo::new(&request).unwrap();
            let reply = encode(&to, &secrets.current, &content(row, &state)).unwrap();
            assert_eq!(HEXLOWER.encode(&reply), row["reply_hex"].as_str().unwrap(), "{what}");
            assert_eq!(reply.unused_room(), 0, "{what}: at most one allocation, of the right size");
            let asked = Asked { identifier: packet.identifier(), authenticator: *packet.authenticator() };
            asked.verify_reply(&reply, &secrets.current).unwrap();
        }
    }
    assert_eq!(steps, 20);
}

#[test]
fn rad_29_30_33_34_refused_methods_have_their_reasons() {
    let file = file();
    let exchange = &file["exchanges"].as_array().unwrap()[5];
    assert_eq!(exchange["id"], "rejected-methods");
    let reasons = exchange["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| judge(&hex(row, "request_hex"), &REQUIRED).unwrap_err());
    assert!(reasons.eq([
        Reason::MethodUnsupported,
        Reason::MethodUnsupported,
        Reason::CredentialInvalid,
        Reason::CredentialMissing,
        Reason::CredentialInvalid,
    ]));
}

#[test]
fn rad_02_to_07_and_15_to_18_silent_discards_have_their_reasons() {
    let file = file();
    let rows = file["silent_discard"].as_array().unwrap();
    assert_eq!(rows.len(), 21);
    for row in rows {
        let expected = match row["id"].as_str().unwrap() {
            "short-datagram" => Reason::TooShort,
            "length-below-20" | "length-beyond-datagram" | "length-4097" => Reason::LengthWrong,
            "attr-length-0" | "attr-length-1" | "attr-overruns" | "one-trailing-octet" => Reason::Malformed,
            "ma-missing" | "eap-without-ma" => Reason::MessageAuthenticatorMissing,
            "ma-bit-flipped" | "body-bit-flipped" | "ma-length-17" | "ma-twice" => {
                Reason::MessageAuthenticatorBad
            }
            "proxy-state-without-ma" => Reason::ProxyStateUnsigned,
            code if code.starts_with("code-") => Reason::TypeUnknown,
            other => panic!("{other}"),
        };
        let datagram = hex(row, "request_hex");
        assert_eq!(judge(&datagram, &policy(row)), Err(expected), "{}", row["id"]);
        assert_eq!(expected.verdict(), Verdict::Drop);
    }
}

#[test]
fn rad_04_octets_after_length_are_not_there() {
    let file = file();
    let row = &file["accepted_oddities"][0];
    let datagram = hex(row, "request_hex");
    assert_eq!(judge(&datagram, &REQUIRED).unwrap(), row["password"].as_str().unwrap().as_bytes());
    let to = ReplyTo::new(&receive(&datagram, &REQUIRED).unwrap()).unwrap();
    let reply = encode(&to, &secret(SECRET), &ReplyContent::ACCEPT).unwrap();
    assert_eq!(HEXLOWER.encode(&reply), row["reply_hex"].as_str().unwrap());
}

#[test]
fn rad_28_passwords_hide_and_unhide_as_recorded() {
    let file = file();
    let rows = file["user_password_hiding"].as_array().unwrap();
    assert_eq!(rows.len(), 10);
    for row in rows {
        let (password, expected) = (hex(row, "password_hex"), hex(row, "hidden_hex"));
        let authenticator = hex(row, "request_authenticator_hex").try_into().unwrap();
        let secret = secret(SECRET);
        assert_eq!(secret.hide(&password, &authenticator).unwrap().as_slice(), expected);
        assert_eq!(secret.unhide(&expected, &authenticator).unwrap().expose(), password);
    }
}
