//! What every spelling of names, values and DNs comes to.

use super::*;
use proptest::prelude::*;

fn entry(attributes: &[(&str, &[&str])]) -> Entry {
    let attributes =
        attributes.iter().map(|(name, values)| (*name, values.iter().map(|value| value.as_bytes())));
    Entry::new("uid=u1,dc=example", None, attributes)
}

#[test]
fn ldap_27_every_spelling_of_a_name_finds_the_attribute() {
    let cases = [
        "oathTokenSerialNumber",
        "OATHTOKENSERIALNUMBER",
        "oathtokenserialnumber;binary",
        "1.3.6.1.4.1.5427.1.389.4226.4.2",
        "OID.1.3.6.1.4.1.5427.1.389.4226.4.2;lang-ja",
    ];
    for written in cases {
        let entry = entry(&[(written, &["S1"])]);
        for asked in cases {
            assert_eq!(entry.text(asked), Ok(Some("S1")), "{written} {asked}");
        }
        assert_eq!(entry.text("oathTokenIdentifier"), Ok(None));
    }
}

#[test]
fn ldap_27_values_under_several_spellings_are_several_values() {
    let entry = entry(&[("oathSecret", &["a"]), ("oathsecret;binary", &["a"])]);
    assert_eq!(entry.one("oathSecret"), Err(ManyValues));
    assert_eq!(entry.all("oathSecret").count(), 2);
    assert_eq!(entry.integer("OATHSECRET"), Err(Unreadable::ManyValues(ManyValues)));
}

#[test]
fn numbers_and_booleans_are_read_strictly() {
    for (value, number) in [
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("007", Some(7)),
        ("9223372036854775807", Some(i64::MAX)),
        ("9223372036854775808", None),
        ("+1", None),
        (" 1", None),
        ("1.0", None),
        ("", None),
        ("１", None),
    ] {
        assert_eq!(
            entry(&[("n", &[value])]).integer("n"),
            number.map(Some).ok_or(Unreadable::Syntax),
            "{value}"
        );
    }
    for (value, boolean) in [("TRUE", Some(true)), ("false", Some(false)), ("1", None), ("", None)] {
        assert_eq!(
            entry(&[("b", &[value])]).boolean("b"),
            boolean.map(Some).ok_or(Unreadable::Syntax),
            "{value}"
        );
    }
}

#[test]
fn generalized_times_are_read_to_the_nanosecond() {
    let at = |seconds, nanos| Some(Wall::from_seconds(seconds).plus(std::time::Duration::from_nanos(nanos)));
    for (text, time) in [
        ("19700101000000Z", at(0, 0)),
        ("20000229120000Z", at(951_825_600, 0)),
        ("20260821093000Z", at(1_787_304_600, 0)),
        ("202608210930Z", at(1_787_304_600, 0)),
        ("2026082109Z", at(1_787_302_800, 0)),
        ("2026082109.5Z", at(1_787_304_600, 0)),
        ("202608210929,5Z", at(1_787_304_570, 0)),
        ("20260821093000.25Z", at(1_787_304_600, 250_000_000)),
        ("20260821093000.0000000019Z", at(1_787_304_600, 1)),
        ("20260821183000+0900", at(1_787_304_600, 0)),
        ("20260821183000+09", at(1_787_304_600, 0)),
        ("20260821060000-0330", at(1_787_304_600, 0)),
        ("20161231235960Z", at(1_483_228_800, 0)),
        ("99991231235959Z", at(253_402_300_799, 0)),
        ("000001010000Z", at(0, 0)),
        ("19691231235959Z", at(0, 0)),
        ("20230229000000Z", None),
        ("20261301000000Z", None),
        ("20260800000000Z", None),
        ("20260821240000Z", None),
        ("20260821096000Z", None),
        ("20260821093000", None),
        ("20260821093000.Z", None),
        ("20260821093000Z ", None),
        ("20260821093000+24", None),
        ("20260821093000+0900x", None),
        ("2026082109300Z", None),
        ("20260821", None),
        ("", None),
    ] {
        assert_eq!(generalized_time(text.as_bytes()), time, "{text}");
    }
}

#[test]
fn every_day_of_four_centuries_is_one_later_than_the_day_before() {
    let mut before = generalized_time(b"1999123100Z").unwrap().seconds();
    for year in 2000..2401 {
        for month in 1..=12 {
            for day in 1..=31 {
                let text = format!("{year:04}{month:02}{day:02}00Z");
                let Some(time) = generalized_time(text.as_bytes()) else {
                    assert!(day > 28, "{text}");
                    continue;
                };
                assert_eq!(time.seconds() - before, 86_400, "{text}");
                before = time.seconds();
            }
        }
    }
}

#[test]
fn ldap_25_file_times_may_be_never() {
    for (text, time) in [
        ("0", Some(NeverOr::Never)),
        ("9223372036854775807", Some(NeverOr::Never)),
        ("116444736000000000", Some(NeverOr::At(Wall::from_seconds(0)))),
        ("1", Some(NeverOr::At(Wall::from_seconds(0)))),
        ("134317782000000000", Some(NeverOr::At(Wall::from_seconds(1_787_304_600)))),
        ("-1", None),
        ("soon", None),
    ] {
        assert_eq!(file_time(text.as_bytes()), time, "{text}");
    }
}

#[test]
fn identity_comes_from_the_directory_before_the_dn() {
    let id = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
    let parsed = EntryId::parse(id).unwrap();
    assert_eq!(entry(&[("entryUUID", &[id])]).id, parsed);
    assert_eq!(entry(&[("nsuniqueid", &["1b4e28ba-2fa111d2-883f0016-d3cca427"])]).id, parsed);
    let octets = parsed.octets().to_vec();
    assert_eq!(Entry::new("cn=a", None, [("objectGUID", vec![octets.clone()])]).id, parsed);

    let numbered =
        |number: &str| Entry::new("cn=a", Some("employeeNumber"), [("employeeNumber", vec![number])]).id;
    assert_eq!(numbered(id), parsed);
    assert_eq!(numbered("7"), numbered("7"));
    assert_ne!(numbered("7"), numbered("8"));

    let nameless = |dn: &str| Entry::new(dn, None, [("cn", [b""; 0])]).id;
    assert_eq!(nameless("CN=A , dc=Example"), nameless("cn=a,dc=example"));
    assert_ne!(nameless("cn=a,dc=example"), nameless("cn=b,dc=example"));
    assert_ne!(nameless("not a dn"), nameless("not a dn either"));
}

#[test]
fn values_never_print() {
    let printed = format!("{:?}", entry(&[("oathSecret", &["canary"])]));
    assert!(printed.contains("oathSecret") && !printed.contains("canary"), "{printed}");
}

#[test]
fn ldap_03_one_entry_has_one_normal_dn() {
    let same: &[&[&str]] = &[
        &["uid=u1,ou=people,dc=example", "UID=U1, OU=People ,DC=EXAMPLE", " uid = u1 ;ou=people; dc=example"],
        &[
            "0.9.2342.19200300.100.1.1=u1,DC=x",
            "OID.0.9.2342.19200300.100.1.1=u1,dc=x",
            "userid=u1,domainComponent=X",
        ],
        &[r"cn=Smith\, John,o=x", r"cn=Smith\2c John,o=x", r"CN=smith\2C  john , O=X"],
        &[r"cn=a\+b,o=x", r"cn=a\2bb,o=x"],
        &[r"cn=\#1,o=x", r"cn=\231,o=x"],
        &[r"cn=\ a\ ,o=x", "cn=a,o=x", r"cn=\20a\20 ,o=x"],
        &["cn=a+sn=b,o=x", "SN=B + CN=A,o=x"],
        &["cn=#04024869,o=x", "cn=Hi,o=x", "cn=#04024869 ,o=x"],
        &[r"cn=\E5\B1\B1\E7\94\B0,o=x", "cn=山田,o=x"],
        &["cn=ＡＢＣ,o=x", "cn=abc,o=x"],
        &["", " "],
    ];
    for spellings in same {
        let first = Dn::parse(spellings[0]).unwrap();
        for spelling in *spellings {
            assert_eq!(Dn::parse(spelling).as_ref(), Some(&first), "{spelling}");
        }
    }
    let all: Vec<Dn> = same.iter().map(|spellings| Dn::parse(spellings[0]).unwrap()).collect();
    for (at, dn) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other != dn), "{dn:?}");
    }
    for bad in [
        "u1",
        "=u1",
        "uid=u1,",
        "uid=a,,o=x",
        r"uid=a\",
        r"uid=\zz",
        "u d=x",
        "cn=#0g",
        "cn=#",
        "cn=\"a\"",
        "1a=x",
    ] {
        assert_eq!(Dn::parse(bad), None, "{bad}");
    }
}

#[test]
fn ldap_21_what_lies_below_a_base() {
    let dn = |text| Dn::parse(text).unwrap();
    let base = dn("ou=tokens,DC=Example");
    for (text, within) in [
        ("cn=t1,OU=Tokens,dc=example", true),
        ("ou=tokens,dc=example", true),
        ("dc=example", false),
        ("cn=t1,ou=other,dc=example", false),
        (r"cn=t1\,ou=tokens,dc=example", false),
        ("xou=tokens,dc=example", false),
    ] {
        assert_eq!(dn(text).is_within(&base), within, "{text}");
    }
    assert!(dn("cn=a").is_within(&dn("")));
}

proptest! {
    #[test]
    fn no_text_breaks_the_readers(text in ".{0,60}", octets in proptest::collection::vec(any::<u8>(), 0..40)) {
        _ = (generalized_time(&octets), generalized_time(text.as_bytes()), file_time(&octets));
        if let Some(dn) = Dn::parse(&text) {
            prop_assert_eq!(Dn::parse(dn.as_str()), Some(dn));
        }
    }

    #[test]
    fn every_value_survives_escaping(value in "[ -~あ-ん]{1,20}") {
        let escaped: String = value.bytes().map(|octet| format!("\\{octet:02x}")).collect();
        let dn = Dn::parse(&format!("cn={escaped},o=x")).unwrap();
        prop_assert_eq!(Dn::parse(dn.as_str()), Some(dn.clone()));
        prop_assert!(dn.is_within(&Dn::parse("o=x").unwrap()));
    }
}
