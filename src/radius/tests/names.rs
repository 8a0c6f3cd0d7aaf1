//! Attribute names of configuration files and the values they find.

use super::*;

fn texts(name: &str, attributes: &[Attribute<'_>]) -> Vec<String> {
    let datagram = packet_of(1, attributes);
    let packet = Packet::parse(&datagram, ATTRIBUTES_MAX).unwrap();
    let name: AttributeName = name.parse().unwrap();
    name.values(&packet).map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
}

#[test]
fn s_07_values_are_text_and_wrong_sizes_are_absent() {
    let fragment = [&[9u8, 0x80][..], &[b'x'; 251]].concat();
    let request = [
        attr(87, b"transfer"),
        attr(6, &[0, 0, 0, 1]),
        attr(5, &[1, 2, 3]),
        attr(5, &[0, 0, 1, 0]),
        attr(4, &[192, 0, 2, 10]),
        attr(4, &[192, 0, 2]),
        attr(95, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        attr(95, &[1, 2, 3, 4]),
        attr(97, &[0, 48, 0x20, 1, 0xd, 0xb8, 0, 1, 0xff]),
        attr(97, &[0, 64, 0x20, 1]),
        attr(97, &[0, 129, 0x20, 1]),
        attr(96, &[0, 1, 2, 3, 4, 5, 6, 0xff]),
        attr(26, b"\0\0\x7e\xd9\x01\x04ab\x02\x03c\x01\x03d"),
        attr(26, b"\0\0\x7e\xd9\x01\x09ab"),
        attr(26, b"\0\0\x7e\xda\x01\x04xx"),
        attr(241, b"\x07seven"),
        attr(241, b"\x08"),
        attr(245, &fragment),
        attr(87, b"payroll"),
        attr(245, b"\x09\x00end"),
        attr(245, b"\x0a\x80cut"),
        attr(200, b"two hundred"),
    ];
    for (name, expected) in [
        ("NAS-Port-Id", &["transfer", "payroll"][..]),
        ("Attr-87", &["transfer", "payroll"]),
        ("service-type", &["1"]),
        ("NAS-Port", &["256"]),
        ("NAS-IP-Address", &["192.0.2.10"]),
        ("NAS-IPv6-Address", &["2001:db8::1"]),
        ("Framed-IPv6-Prefix", &["2001:db8:1::/48"]),
        ("Framed-Interface-Id", &["0001:0203:0405:06ff"]),
        ("Vendor-Specific:32473:1", &["ab", "d"]),
        ("Vendor-Specific:32473:2", &["c"]),
        ("Vendor-Specific:32475:2", &[]),
        ("Attr-241.7", &["seven"]),
        ("Attr-241.8", &[]),
        ("Attr-245.10", &[]),
        ("Attr-200", &["two hundred"]),
        ("Filter-Id", &[]),
    ] {
        assert_eq!(texts(name, &request), expected, "{name}");
    }
    assert_eq!(texts("Attr-245.9", &request), [format!("{}end", "x".repeat(251))]);
}

#[test]
fn names_read_what_they_print_and_refuse_the_rest() {
    for name in ["NAS-Port-Id", "Attr-200", "Attr-241.7", "Vendor-Specific:32473:1", "Filter-Id"] {
        assert_eq!(name.parse::<AttributeName>().unwrap().to_string(), name);
    }
    for name in
        ["", "NAS-Port-ID ", "Attr-0", "Attr-256", "Attr-240.1", "Vendor-Specific:1", "Vendor-Specific:1:256"]
    {
        let refused = name.parse::<AttributeName>().unwrap_err();
        assert_eq!(refused, NameError::Unknown { name: name.to_owned() });
    }
    for name in ["User-Password", "Attr-2", "CHAP-Password", "EAP-Message"] {
        assert!(matches!(name.parse::<AttributeName>(), Err(NameError::Credential { .. })), "{name}");
    }
    for name in ["Vendor-Specific", "State", "Attr-33", "Attr-245"] {
        assert!(matches!(name.parse::<AttributeName>(), Err(NameError::NotComparable { .. })), "{name}");
    }
}

#[test]
fn s_07_configured_values_take_the_form_of_received_ones() {
    for (name, written, expected) in [
        ("Service-Type", "Login", Some("1")),
        ("Service-Type", "nas-prompt", Some("7")),
        ("Service-Type", "0007", Some("7")),
        ("Service-Type", "Anything", None),
        ("NAS-Port-Type", "Virtual", Some("5")),
        ("NAS-Port", "Virtual", None),
        ("NAS-Port", "-1", None),
        ("NAS-Port", "4294967296", None),
        ("NAS-IP-Address", "192.0.2.10", Some("192.0.2.10")),
        ("NAS-IP-Address", "192.0.2", None),
        ("NAS-IPv6-Address", "2001:0DB8:0::1", Some("2001:db8::1")),
        ("Framed-IPv6-Prefix", "2001:db8:0:ffff::1/48", Some("2001:db8::/48")),
        ("Framed-IPv6-Prefix", "2001:db8::/129", None),
        ("Filter-Id", "Transfer", Some("Transfer")),
        ("Vendor-Specific:32473:1", "x", Some("x")),
    ] {
        let name: AttributeName = name.parse().unwrap();
        assert_eq!(name.canonical(written).ok().as_deref(), expected, "{name} {written}");
    }
    let name = AttributeName::Standard(attribute::FILTER_ID);
    assert!(name.canonical(&"x".repeat(254)).is_err());
}

#[test]
fn the_table_has_each_number_and_name_once() {
    let mut names: Vec<_> = (0..=255).filter_map(dictionary::name_of).collect();
    let known = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), known), (known, dictionary::ATTRIBUTES.len()));
}
