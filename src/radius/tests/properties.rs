//! Whatever arrives: nothing panics, what is written is read, and another implementation agrees.

use super::*;
use proptest::prelude::*;

fn any_attributes() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let kind = (1u8..=255).prop_filter("signed separately", |&kind| kind != 80);
    prop::collection::vec((kind, prop::collection::vec(any::<u8>(), 0..40)), 0..40)
}

/// Octets that look like a packet more often than chance would have it.
fn any_datagram() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![4 => Just(1u8), 1 => Just(12), 1 => any::<u8>()];
    let tail = prop::collection::vec(any::<u8>(), 0..200);
    (code, any_attributes(), tail, any::<bool>()).prop_map(|(code, attributes, tail, honest)| {
        let attributes: Vec<_> = attributes.iter().map(|(kind, value)| attr(*kind, value)).collect();
        let mut octets = packet_of(code, &attributes);
        octets.extend_from_slice(&tail);
        if !honest {
            let length = (octets.len() as u16).to_be_bytes();
            octets[2..4].copy_from_slice(&length);
        }
        octets
    })
}

proptest! {
    #[test]
    fn rad_52_no_octets_make_it_panic_and_attributes_tile(
        datagram in prop_oneof![any_datagram(), prop::collection::vec(any::<u8>(), 0..4200)],
    ) {
        let Ok(packet) = Packet::parse(&datagram, ATTRIBUTES_MAX) else { return Ok(()) };
        let mut rebuilt = datagram[..20].to_vec();
        for Attribute { kind, value } in packet.attributes() {
            rebuilt.extend_from_slice(&[kind, value.len() as u8 + 2]);
            rebuilt.extend_from_slice(value);
        }
        prop_assert_eq!(&rebuilt, packet.octets());
        packet.vendor_attributes().for_each(drop);
        for kind in 0..=255 {
            AttributeName::Standard(kind).values(&packet).for_each(drop);
            AttributeName::Extended(kind, 1).values(&packet).for_each(drop);
        }
        let Ok(request) = Request::receive(packet, &secrets(SECRET), &UNLIMITED, Pinned::No) else {
            return Ok(());
        };
        let _ = request.credential(&secrets(SECRET));
        let _ = ASKED.verify_reply(&datagram, &secret(SECRET));
        if let Ok(to) = ReplyTo::new(&request) {
            prop_assert!(encode(&to, &secret(SECRET), &ReplyContent::REJECT).is_ok());
        }
    }

    #[test]
    fn what_a_client_asks_is_what_we_read(
        name in prop::collection::vec(any::<u8>(), 1..=253),
        password in prop::collection::vec(any::<u8>(), 0..=128),
        authenticator in any::<[u8; 16]>(),
        identifier in any::<u8>(),
        proxies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=253), 0..5),
        key in "[!-~]{1,80}",
    ) {
        let asked = Asked { identifier, authenticator };
        let others: Vec<_> = proxies.iter().map(|value| attr(33, value)).collect();
        let datagram = asked.access_request(&secret(&key), &name, &password, &others).unwrap();
        let packet = Packet::parse_request(&datagram, ATTRIBUTES_MAX).unwrap();
        let request = Request::receive(packet, &secrets(&key), &REQUIRED, Pinned::No).unwrap();
        let credential = request.credential(&secrets(&key)).unwrap();
        let end = password.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        prop_assert_eq!(credential.user_name.octets(), &name[..]);
        prop_assert_eq!(credential.password.expose(), &password[..end]);

        let octets = encode(&ReplyTo::new(&request).unwrap(), &secret(&key), &ReplyContent::ACCEPT).unwrap();
        let reply = asked.verify_reply(&octets, &secret(&key)).unwrap();
        prop_assert!(reply.values(33).eq(proxies.iter().map(Vec::as_slice)));
    }

    /// The crate `radius` has been written by others; it knows attributes, hiding and Response Authenticators.
    #[test]
    fn another_implementation_agrees(
        attributes in any_attributes(),
        password in "[ -~]{1,128}",
        damage in prop::option::of((20usize..200, any::<u8>())),
    ) {
        use ::radius::core::{packet::Packet as Theirs, rfc2865};
        let others: Vec<_> = attributes.iter().map(|(kind, value)| attr(*kind, value)).collect();
        let datagram = ASKED.access_request(&secret(SECRET), b"alice", password.as_bytes(), &others).unwrap();

        let theirs = Theirs::decode(&datagram, SECRET.as_bytes()).unwrap();
        let unhidden = rfc2865::lookup_user_password(&theirs).unwrap().unwrap();
        prop_assert_eq!(unhidden, password.as_bytes());
        let packet = Packet::parse(&datagram, ATTRIBUTES_MAX).unwrap();
        for kind in 1..=255 {
            let found = theirs.lookup_all(kind);
            prop_assert!(packet.values(kind).eq(found.iter().map(|avp| avp.encode_bytes())));
        }

        let packet = Packet::parse_request(&datagram, ATTRIBUTES_MAX).unwrap();
        let request = Request::receive(packet, &secrets(SECRET), &REQUIRED, Pinned::No).unwrap();
        let to = ReplyTo::new(&request).unwrap();
        let reply = encode(&to, &secret(SECRET), &ReplyContent::ACCEPT).unwrap();
        prop_assert!(Theirs::is_authentic_response(&reply, &datagram, SECRET.as_bytes()));

        // Damage to lengths is seen by both. Only we refuse Type 0.
        if let Some((at, octet)) = damage {
            let mut damaged = datagram.clone();
            if let Some(place) = damaged.get_mut(at) {
                *place = octet;
            }
            let ours = Packet::parse(&damaged, usize::MAX);
            let theirs = Theirs::decode(&damaged, SECRET.as_bytes());
            let has_type_0 = theirs.as_ref().is_ok_and(|packet| !packet.lookup_all(0).is_empty());
            prop_assert_eq!(ours.is_ok(), theirs.is_ok() && !has_type_0);
        }
    }
}
