//! Every format with good records, bad records and hostile files.

use super::pskc::{self, Opening, PskcProblem, Randomness, Shown, Under};
use super::*;
use crate::otp::{Period, SECRET_MAX};
use data_encoding::{BASE64, HEXLOWER};
use proptest::prelude::*;

const HEX: &str = "3132333435363738393031323334353637383930";
const KEY: &[u8] = b"12345678901234567890";

fn vectors(figure: &str) -> serde_json::Value {
    let all: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/otp.json")).unwrap();
    all["pskc"][figure].clone()
}

fn text_of(value: &serde_json::Value, name: &str) -> String {
    value[name].as_str().unwrap().to_owned()
}

/// The shape of figures 6 and 7: a header that says what protects the keys, and one hotp key.
fn container(encryption_key: &str, mac_key: &str, value: &str, mac: &str, more: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<pskc:KeyContainer Version="1.0" xmlns:pskc="urn:ietf:params:xml:ns:keyprov:pskc"
  xmlns:ds="http://www.w3.org/2000/09/xmldsig#" xmlns:xenc="http://www.w3.org/2001/04/xmlenc#"
  xmlns:xenc11="http://www.w3.org/2009/xmlenc11#"
  xmlns:pkcs5="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#">
 <pskc:EncryptionKey>{encryption_key}</pskc:EncryptionKey>
 <pskc:MACMethod Algorithm="http://www.w3.org/2000/09/xmldsig#hmac-sha1">
  <pskc:MACKey><xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
   <xenc:CipherData><xenc:CipherValue>
    {mac_key}
   </xenc:CipherValue></xenc:CipherData></pskc:MACKey>
 </pskc:MACMethod>
 <pskc:KeyPackage>
  <pskc:DeviceInfo><pskc:Manufacturer>M</pskc:Manufacturer><pskc:SerialNo>987654321</pskc:SerialNo></pskc:DeviceInfo>
  <pskc:Key Id="12345678" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:hotp">
   <pskc:Issuer>Issuer</pskc:Issuer>
   <pskc:AlgorithmParameters><pskc:ResponseFormat Length="8" Encoding="DECIMAL"/></pskc:AlgorithmParameters>
   <pskc:Data><pskc:Secret><pskc:EncryptedValue>
     <xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
     <xenc:CipherData><xenc:CipherValue>{value}</xenc:CipherValue></xenc:CipherData>
    </pskc:EncryptedValue>{mac}</pskc:Secret>
    <pskc:Counter><pskc:PlainValue>0</pskc:PlainValue></pskc:Counter></pskc:Data>{more}
  </pskc:Key>
 </pskc:KeyPackage>
</pskc:KeyContainer>"#
    )
}

fn pbkdf2(algorithm: &str, salt: &str, rounds: &str, function: &str) -> String {
    format!(
        r#"<xenc11:DerivedKey><xenc11:KeyDerivationMethod Algorithm="{algorithm}"><pkcs5:PBKDF2-params>
        <Salt><Specified>{salt}</Specified></Salt><IterationCount>{rounds}</IterationCount>
        <KeyLength>16</KeyLength>{function}</pkcs5:PBKDF2-params></xenc11:KeyDerivationMethod>
        <xenc11:MasterKeyName>My Password 1</xenc11:MasterKeyName></xenc11:DerivedKey>"#
    )
}

const FIGURE_6_MAC_KEY: &str = "ESIzRFVmd4iZABEiM0RVZgKn6WjLaTC1sbeBMSvIhRejN9vJa2BOlSaMrR7I5wSX";
const FIGURE_7_MAC_KEY: &str = "2GTTnLwM3I4e5IO5FkufoOEiOhNj91fhKRQBtBJYluUDsPOLTfUvoU2dStyOwYZx";
const PRE_SHARED: &str = "<ds:KeyName>Pre-shared-key</ds:KeyName>";
const PBKDF2_PROSE: &str = "http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5#pbkdf2";

fn value_mac(mac: &str) -> String {
    format!("<pskc:ValueMAC>{mac}</pskc:ValueMAC>")
}

fn figure_6(more: &str) -> String {
    let figure = vectors("figure6_preshared");
    let mac = value_mac(&text_of(&figure, "value_mac_b64_in_rfc"));
    container(PRE_SHARED, FIGURE_6_MAC_KEY, &text_of(&figure, "encrypted_value_b64"), &mac, more)
}

fn pre_shared() -> Opening {
    let key = text_of(&vectors("figure6_preshared"), "kek_hex");
    Opening::PreShared(Secret::new(HEXLOWER.decode(key.as_bytes()).unwrap()))
}

fn qwerty() -> Opening {
    Opening::Password(Secret::new(*b"qwerty"))
}

fn figure_7(derivation: &str) -> String {
    let figure = vectors("figure7_pbkdf2");
    let mac = value_mac(&text_of(&figure, "value_mac_b64_in_rfc"));
    container(derivation, FIGURE_7_MAC_KEY, &text_of(&figure, "encrypted_value_b64"), &mac, "")
}

fn refusals(reading: Reading) -> Vec<String> {
    reading.whole().unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn otp_31_figures_6_and_7_import() {
    let figure = vectors("figure7_pbkdf2");
    let salt = HEXLOWER.decode(text_of(&figure, "salt_hex").as_bytes()).unwrap();
    let derived = |algorithm| figure_7(&pbkdf2(algorithm, &BASE64.encode(&salt), "1000", "<PRF/>"));
    for (document, opening) in [
        (figure_6(""), pre_shared()),
        (derived("http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#pbkdf2"), qwerty()),
        (derived(PBKDF2_PROSE), qwerty()),
    ] {
        let tokens = pskc::read(document.as_bytes(), &opening).whole().unwrap();
        let [token] = tokens.as_slice() else { panic!("{} tokens", tokens.len()) };
        assert_eq!(token.serial.as_str(), "987654321");
        assert_eq!(token.secret, Secret::new(KEY));
        assert_eq!((token.algorithm, token.digits), (Algorithm::Sha1, Digits::EIGHT));
        assert_eq!(token.moving, KeyMoving::Counter { next: 0 });
    }
}

#[test]
fn otp_31_what_is_not_verified_is_refused_by_element_and_key() {
    let good = figure_6("");
    let mac = vectors("figure6_preshared")["value_mac_b64_in_rfc"].as_str().unwrap().to_owned();
    let at = "KeyPackage[1]/Key/Data/Secret";
    let other_key = Opening::PreShared(Secret::new([7; 16]));
    let table: Vec<(String, Opening, &str, PskcProblem)> = vec![
        (
            good.replace(&mac, "Su+NvtQfmvfJzF6bmQiJqoLRExd="),
            pre_shared(),
            "/ValueMAC",
            PskcProblem::MacWrong,
        ),
        (good.replace(&mac, ""), pre_shared(), "/ValueMAC", PskcProblem::MacWrong),
        (good.replace(&value_mac(&mac), ""), pre_shared(), "", PskcProblem::MacMissing),
        (good.replace("AAECAwQF", "AAECAwQG"), pre_shared(), "/ValueMAC", PskcProblem::MacWrong),
        (good.replace("hmac-sha1\"", "hmac-md5\""), pre_shared(), "/EncryptedValue", {
            PskcProblem::MacAlgorithm("http://www.w3.org/2000/09/xmldsig#hmac-md5".into())
        }),
        (
            good.replace(
                "aes128-cbc\"/>\n     <xenc:CipherData><xenc:CipherValue>AAEC",
                "tripledes-cbc\"/>\n     <xenc:CipherData><xenc:CipherValue>AAEC",
            ),
            pre_shared(),
            "/EncryptedValue",
            { PskcProblem::Cipher("http://www.w3.org/2001/04/xmlenc#tripledes-cbc".into()) },
        ),
        (
            good.clone(),
            Opening::Nothing,
            "/EncryptedValue",
            PskcProblem::PreSharedKeyNeeded("Pre-shared-key".into()),
        ),
        (good.clone(), qwerty(), "/EncryptedValue", PskcProblem::PreSharedKeyNeeded("Pre-shared-key".into())),
        (
            good.clone(),
            Opening::PreShared(Secret::new([7; 15])),
            "/EncryptedValue",
            PskcProblem::PreSharedKeyLength,
        ),
    ];
    for (document, opening, element, problem) in table {
        let refused = pskc::read(document.as_bytes(), &opening).whole().unwrap_err();
        let [only] = refused.as_slice() else { panic!("{refused:?}") };
        assert_eq!(only.why, Problem::Pskc(problem));
        let Place::Element { path, line } = &only.place else { panic!("{only:?}") };
        assert_eq!(&**path, format!("{at}{element}"));
        assert!(*line >= 18, "{only}");
    }
    // Another key opens nothing: the MAC key's padding or the value's MAC is wrong.
    let refused = pskc::read(good.as_bytes(), &other_key).whole().unwrap_err();
    assert!(
        matches!(refused[0].why, Problem::Pskc(PskcProblem::MacKey | PskcProblem::MacWrong)),
        "{refused:?}"
    );
}

#[test]
fn otp_31_a_policy_that_is_not_understood_refuses_the_key() {
    let read = |policy: &str| {
        let more = format!("<pskc:Policy>{policy}</pskc:Policy>");
        pskc::read(figure_6(&more).as_bytes(), &pre_shared())
    };
    let dates = "<pskc:StartDate>2026-04-01T00:00:00+09:00</pskc:StartDate>\
                 <pskc:ExpiryDate>2029-03-31T23:59:59+09:00</pskc:ExpiryDate>";
    let token = read(&format!("{dates}<pskc:KeyUsage>OTP</pskc:KeyUsage>")).whole().unwrap().remove(0);
    assert_eq!(token.begins, Some(Wall::from_seconds(1_774_969_200)));
    // The date belongs to the life: the first moment after it does not.
    assert_eq!(token.ends, Some(Wall::from_seconds(1_869_663_600)));
    for (policy, why) in [
        ("<pskc:PINPolicy PINUsageMode=\"Append\"/>", "the policy PINPolicy is not understood here"),
        ("<pskc:NumberOfTransactions>5</pskc:NumberOfTransactions>", "the policy NumberOfTransactions"),
        ("<x xmlns=\"urn:example\"/>", "the policy x is not understood here"),
        ("<pskc:KeyUsage>CR</pskc:KeyUsage>", "(KeyUsage OTP)"),
        ("<pskc:StartDate>2026-04-01</pskc:StartDate>", "it must be a time with its zone"),
    ] {
        let refused = refusals(read(policy));
        assert!(refused.len() == 1 && refused[0].contains(why), "{refused:?}");
    }
    let ends_first = "<pskc:StartDate>2029-04-01T00:00:00Z</pskc:StartDate>\
                      <pskc:ExpiryDate>2026-04-01T00:00:00Z</pskc:ExpiryDate>";
    assert!(refusals(read(ends_first))[0].ends_with("the token's time ends before it begins"));
}

#[test]
fn otp_32_hostile_documents_are_refused_quickly() {
    let open = "<KeyContainer xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\" Version=\"1.0\">";
    let bomb = format!("<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>{open}&b;</KeyContainer>");
    let file = format!("<!DOCTYPE x [<!ENTITY f SYSTEM \"file:///etc/passwd\">]>{open}&f;</KeyContainer>");
    let deep = format!("{open}{}", "<a>".repeat(1_000_000));
    let nested = format!("{open}{}{}</KeyContainer>", "<a>".repeat(500_000), "</a>".repeat(500_000));
    let many = format!("{open}{}</KeyContainer>", "<a/>".repeat(2_000_000));
    let rounds = figure_7(&pbkdf2(PBKDF2_PROSE, "Ej7/PEpyEpw=", "1000000000", ""));
    let begun = crate::clock::now().mono;
    for (document, why) in [
        (bomb, "the file: it has a document type"),
        (file, "the file: it has a document type"),
        (deep, "the file: this is no XML"),
        (nested, "the file: there is no token in it"),
        (many, "the file: this is no XML that can be read: nodes limit reached"),
        (rounds, "PBKDF2 must have from 1000 to 2000000 rounds"),
        (" ".repeat(FILE_MAX + 1), "the file: it is larger than 32 MiB"),
        ("{}".into(), "the file: this is no XML"),
        (open.replace("1.0", "2.0") + "</KeyContainer>", "the file: the version of the container"),
        (open.replace("KeyContainer", "Container") + "</Container>", "the outermost element must be"),
    ] {
        let refused = refusals(pskc::read(document.as_bytes(), &qwerty()));
        assert!(refused.len() == 1 && refused[0].contains(why), "{why}: {refused:?}");
    }
    assert!(crate::clock::now().mono.since(begun).as_secs() < 20, "quickly");
    assert_eq!(
        refusals(pskc::read(b"\xff\xfe", &qwerty())),
        ["the file: it is not UTF-8 text; convert it first"]
    );
}

#[test]
fn pskc_keys_that_would_make_other_codes_are_refused() {
    let plain = |kind: &str, parameters: &str, data: &str| {
        format!(
            "<KeyContainer xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\" Version=\"1.1\">\n<KeyPackage>\n\
             <Key Id=\"S1\" Algorithm=\"{kind}\"><AlgorithmParameters>{parameters}</AlgorithmParameters>\
             <Data><Secret><PlainValue>{}</PlainValue></Secret>{data}</Data></Key></KeyPackage></KeyContainer>",
            BASE64.encode(KEY)
        )
    };
    let (totp, hotp) =
        ("urn:ietf:params:xml:ns:keyprov:pskc:totp", "urn:ietf:params:xml:ns:keyprov:pskc:hotp");
    let eight = "<ResponseFormat Length=\"8\" Encoding=\"DECIMAL\"/>";
    let interval = "<TimeInterval><PlainValue>60</PlainValue></TimeInterval>";
    let tokens = pskc::read(
        plain(totp, &format!("<Suite>HMAC-SHA256</Suite>{eight}"), interval).as_bytes(),
        &Opening::Nothing,
    );
    let token = tokens.whole().unwrap().remove(0);
    assert_eq!((token.serial.as_str(), token.algorithm), ("S1", Algorithm::Sha256));
    assert_eq!(token.moving, KeyMoving::Time { period: Period::MINUTE });
    for (kind, parameters, data, why) in [
        (totp, "<ResponseFormat Length=\"5\" Format=\"DECIMAL\"/>", "", "must be 6, 7 or 8"),
        (totp, "<ResponseFormat Length=\"8\" Encoding=\"HEXADECIMAL\"/>", "", "Encoding=\"DECIMAL\""),
        (totp, "<ResponseFormat Length=\"8\" Encoding=\"DECIMAL\" CheckDigits=\"true\"/>", "", "CheckDigits"),
        (totp, "<Suite>HMAC-MD5</Suite>", "", "the Suite HMAC-MD5 is not known here"),
        (totp, "<ChallengeFormat/>", "", "ChallengeFormat is not known here"),
        (totp, "", "", "the ResponseFormat must have"),
        (totp, eight, "<Time><PlainValue>7</PlainValue></Time>", "counted from 1970"),
        (totp, eight, "<TimeInterval><PlainValue>0</PlainValue></TimeInterval>", "15 to 120"),
        (totp, eight, "<TimeInterval><EncryptedValue/></TimeInterval>", "in clear (PlainValue)"),
        (hotp, eight, "", "must have a Counter"),
        (hotp, eight, "<Counter><PlainValue>-1</PlainValue></Counter>", "a number in digits"),
        ("urn:ietf:params:xml:ns:keyprov:pskc:ocra", eight, "", "pskc:ocra is not known here"),
        ("http://www.yubico.com/#yubikey-aes", eight, "", "is not known here"),
    ] {
        let refused = refusals(pskc::read(plain(kind, parameters, data).as_bytes(), &Opening::Nothing));
        assert!(refused.len() == 1 && refused[0].contains(why), "{why}: {refused:?}");
        assert!(refused[0].starts_with("line 3, KeyPackage[1]/Key"), "{refused:?}");
    }
}

fn shown<'a>(serial: &'a str, secret: &'a Secret, moving: KeyMoving) -> Shown<'a> {
    Shown {
        serial,
        issuer: Some("県民 <Bank> & \"Co\""),
        secret,
        algorithm: Algorithm::Sha512,
        digits: Digits::SIX,
        moving,
        begins: Some(Wall::from_seconds(1_700_000_000)),
        ends: Some(Wall::from_seconds(1_800_000_000)),
        user: Some("u,1=x"),
    }
}

fn random() -> Randomness {
    Randomness { salt: [1; 16], mac_key: [2; 20], initial_vector: [3; 16] }
}

#[test]
fn what_is_written_as_pskc_reads_back_with_the_password_and_with_no_other() {
    let (first, second) = (Secret::new(KEY), Secret::new([9; SECRET_MAX]));
    let password = Secret::new(*b"12345678");
    let under = Under::Password { password: &password, rounds: 1000 };
    let (mut text, seal) = pskc::open(under, &random()).unwrap();
    for (serial, secret, moving) in [
        ("A-1", &first, KeyMoving::Time { period: Period::MINUTE }),
        ("A-2", &second, KeyMoving::Counter { next: u64::MAX }),
    ] {
        text.push_str(&pskc::package(&shown(serial, secret, moving), &seal).unwrap());
    }
    text.push_str(pskc::close());
    assert!(!text.contains(&BASE64.encode(KEY)), "nothing is in clear");

    let tokens = pskc::read(text.as_bytes(), &Opening::Password(password.duplicate())).whole().unwrap();
    assert_eq!(tokens.len(), 2);
    for (token, secret) in tokens.iter().zip([&first, &second]) {
        assert_eq!(&token.secret, secret);
        assert_eq!((token.algorithm, token.digits), (Algorithm::Sha512, Digits::SIX));
        assert_eq!(token.begins.map(Wall::seconds), Some(1_700_000_000));
        assert_eq!(token.ends.map(Wall::seconds), Some(1_800_000_000));
        assert_eq!(token.user.as_deref(), Some("u,1=x"));
    }
    assert_eq!(tokens[1].moving, KeyMoving::Counter { next: u64::MAX });
    let wrong = Opening::Password(Secret::new(*b"12345679"));
    assert_eq!(refusals(pskc::read(text.as_bytes(), &wrong)).len(), 2);
}

#[test]
fn otp_31_no_changed_octet_of_a_container_brings_another_key_in() {
    let document = figure_6("").into_bytes();
    let (mut same, mut refused) = (0, 0);
    for at in 0..document.len() {
        for octet in [document[at] ^ 1, document[at] ^ 0x20, b'<', 0] {
            let mut changed = document.clone();
            changed[at] = octet;
            match pskc::read(&changed, &pre_shared()).whole() {
                Ok(tokens) => {
                    assert!(tokens.iter().all(|token| token.secret == Secret::new(KEY)), "octet {at}");
                    same += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    // Names and numbers are not under the MAC (RFC 6030 §6.1.1): they may differ, the key may not.
    assert!(refused > 2 * same && same > 0, "{refused} refused, {same} read");
}

#[test]
fn one_token_under_a_pre_shared_key_reads_back() {
    let secret = Secret::new(KEY);
    let token = shown("A-1", &secret, KeyMoving::Time { period: Period::HALF_MINUTE });
    for octets in [16, 24, 32] {
        let key = Secret::new(vec![5; octets]);
        let under = || Under::PreShared { name: "bank & app", key: key.duplicate() };
        let text = pskc::whole(&token, under(), &random()).unwrap();
        assert!(text.contains(&format!("#aes{}-cbc", octets * 8)), "{text}");
        let back = pskc::read(text.as_bytes(), &Opening::PreShared(key.duplicate())).whole().unwrap();
        assert_eq!(back[0].secret, secret);
        let refused = refusals(pskc::read(text.as_bytes(), &Opening::Nothing));
        assert!(refused[0].contains("under the pre-shared key \"bank & app\""), "{refused:?}");
        let other = Opening::PreShared(Secret::new(vec![5; if octets == 16 { 32 } else { 16 }]));
        let refused = refusals(pskc::read(text.as_bytes(), &other));
        assert!(refused[0].contains("takes a key of another length"), "{refused:?}");
    }
    for octets in [0, 15, 17, 31, 33, 64] {
        let unfit = Under::PreShared { name: "x", key: Secret::new(vec![5; octets]) };
        assert!(pskc::whole(&token, unfit, &random()).is_err(), "{octets}");
    }
}

#[test]
fn csv_with_named_columns() {
    let file = format!(
        "\u{feff}# tokens of spring\nserial, secret-hex, secret-base32, type, digits, period, counter, algorithm, user, ends\n\
         A-1,{HEX},,totp,8,60,,sha256,\"u,1\",2029-04-01T00:00:00+09:00\r\n\n\
         A-2,,gezdgnbvgy3tqojqgezdgnbvgy3tqojq,HOTP,,,42,,,\n\
         A-3,{HEX},,,,,,,,\n"
    );
    let tokens = read_csv(file.as_bytes()).whole().unwrap();
    let seen: Vec<_> = tokens
        .iter()
        .map(|t| (t.serial.as_str(), t.algorithm, t.digits.count(), t.moving, t.user.as_deref()))
        .collect();
    let time = |period| KeyMoving::Time { period };
    assert_eq!(
        seen,
        [
            ("A-1", Algorithm::Sha256, 8, time(Period::MINUTE), Some("u,1")),
            ("A-2", Algorithm::Sha1, 6, KeyMoving::Counter { next: 42 }, None),
            ("A-3", Algorithm::Sha1, 6, time(Period::HALF_MINUTE), None),
        ]
    );
    assert!(tokens.iter().all(|token| token.secret == Secret::new(KEY)));
    assert_eq!(tokens[0].ends, Some(Wall::from_seconds(1_869_663_600)));
}

#[test]
fn csv_says_for_every_bad_line_what_is_wrong() {
    let file = format!(
        "serial,secret-hex,type,digits,period,counter,algorithm,begins,ends,user\n\
         ok,{HEX},,,,,,,,\n\
         ,{HEX},,,,,,,,\n\
         two words,{HEX},,,,,,,,\n\
         ok,{HEX},,,,,,,,\n\
         a,zz,,,,,,,,\n\
         b,31323334,,,,,,,,\n\
         c,{HEX},ocra,,,,,,,\n\
         d,{HEX},,９,,,,,,\n\
         e,{HEX},,9,,,,,,\n\
         f,{HEX},,,5,,,,,\n\
         g,{HEX},,,,1,,,,\n\
         h,{HEX},hotp,,30,,,,,\n\
         i,{HEX},,,,,md5,,,\n\
         j,{HEX},,,,,,2026-04-01,,\n\
         k,{HEX},,,,,,2026-04-02T00:00:00Z,2026-04-01T00:00:00Z,\n\
         l,{HEX},,,\n\
         m,\"{HEX},,,,,,,,\n\
         n,,,,,,,,,\n\
         o,{HEX},,,,,,,,\"a\u{7}\"\n"
    );
    let reading = read_csv(file.as_bytes());
    assert_eq!(reading.tokens.len(), 1, "the good one is there for who asks for it");
    let expected = [
        "line 3: the serial number is missing",
        "line 4: a serial number has 1 to 64",
        "line 5: the serial number stands at line 2 already",
        "line 6: the token's key is not hexadecimal",
        "line 7: the token's secret must be 16 to 128 octets long",
        "line 8: the type must be totp or hotp",
        "line 9: digits must be a number in digits",
        "line 10: the number of digits must be 6, 7 or 8",
        "line 11: the period must be 15 to 120",
        "line 12: counter does not go with the type",
        "line 13: period does not go with the type",
        "line 14: the algorithm is not known",
        "line 15: begins must be a time such as",
        "line 16: the token's time ends before it begins",
        "line 17: there are 5 fields and 10 columns",
        "line 18: a quoted field does not end",
        "line 19: write the token's key in one of the columns",
        "line 20: a user name has 1 to 253 octets",
    ];
    let refused = refusals(reading);
    assert_eq!(refused.len(), expected.len(), "{refused:#?}");
    for (refused, expected) in refused.iter().zip(expected) {
        assert!(refused.starts_with(expected), "{refused} / {expected}");
        assert!(!refused.contains(HEX), "a key is never repeated");
    }
    for (file, expected) in [
        ("serial,key\n", "line 1: the column key is not known; there are serial, secret-hex"),
        ("serial,serial\n", "line 1: the column serial stands twice"),
        ("serial,user\nx,y\n", "line 1: write the token's key in one of the columns"),
        ("", "the file: there is no token in it"),
        ("# nothing\n", "the file: there is no token in it"),
    ] {
        let refused = refusals(read_csv(file.as_bytes()));
        assert!(refused.len() == 1 && refused[0].starts_with(expected), "{refused:?}");
    }
}

#[test]
fn csv_as_linotp_and_privacyidea_read_it() {
    let sha256 = "31".repeat(32);
    let linotp = format!(
        "# from LinOTP\nL1,{HEX}\nL2, {HEX}, totp, 8, 60, sha512\nL3,{sha256},TOTP\nL4,{HEX},hmac,6\n"
    );
    let tokens = read_csv(linotp.as_bytes()).whole().unwrap();
    let seen: Vec<_> =
        tokens.iter().map(|t| (t.serial.as_str(), t.algorithm, t.digits.count(), t.moving)).collect();
    let time = |period| KeyMoving::Time { period };
    assert_eq!(
        seen,
        [
            ("L1", Algorithm::Sha1, 6, KeyMoving::Counter { next: 0 }),
            ("L2", Algorithm::Sha512, 8, time(Period::MINUTE)),
            ("L3", Algorithm::Sha256, 6, time(Period::HALF_MINUTE)),
            ("L4", Algorithm::Sha1, 6, KeyMoving::Counter { next: 0 }),
        ]
    );
    let privacyidea = format!(
        "# version: 2\nalice,ldap,bank,P1,{HEX},totp,6,30\n,,,P2,{HEX},hotp,6,17\n,,,P3,x,ocra,OCRA-1\n"
    );
    let reading = read_csv(privacyidea.as_bytes());
    let seen: Vec<_> =
        reading.tokens.iter().map(|t| (t.serial.as_str(), t.moving, t.user.as_deref())).collect();
    assert_eq!(
        seen,
        [("P1", time(Period::HALF_MINUTE), Some("alice")), ("P2", KeyMoving::Counter { next: 17 }, None),]
    );
    assert_eq!(reading.refused.len(), 1);
    assert_eq!(reading.refused[0].place, Place::Line(4));
}

#[test]
fn otpauth_lists_with_serial_numbers_and_without() {
    let uri = "otpauth://totp/Bank:u1?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&digits=8&period=60";
    let list =
        format!("# list\nT-1 {uri}\n\n{}\nT-2 https://x\nT-3 {uri}&digits=8\n", uri.replace("u1", "u2"));
    let reading = read_otpauth(list.as_bytes());
    let seen: Vec<_> = reading.tokens.iter().map(|t| (t.serial.as_str(), t.user.as_deref())).collect();
    let made = seen[1].0.to_owned();
    assert_eq!(seen, [("T-1", Some("u1")), (made.as_str(), Some("u2"))]);
    assert!(made.len() == 12 && made.starts_with("OA"), "{made}");
    let again = read_otpauth(uri.as_bytes()).whole().unwrap();
    assert_eq!(again[0].serial.as_str(), made, "the same key has the same number");
    let expected =
        ["line 5: the URI must begin with otpauth://", "line 6: a parameter of the URI stands twice"];
    assert_eq!(refusals(reading), expected);
}

#[test]
fn a_file_of_the_wrong_format_is_not_listed_line_by_line() {
    let file = "x\n".repeat(5000);
    let refused = refusals(read_otpauth(file.as_bytes()));
    assert_eq!(refused.len(), REFUSED_MAX + 1);
    assert!(refused[REFUSED_MAX].starts_with("the file: there are more than 1000 mistakes"));
    let many: String = (0..=TOKENS_MAX).map(|n| format!("S{n},{HEX}\n")).collect();
    assert_eq!(
        refusals(read_csv(many.as_bytes())),
        ["the file: there are more than 20000 tokens in it; split the file"]
    );
}

proptest! {
    #[test]
    fn no_file_panics(text in "(serial,secret-hex\n|# version: 2\n|<KeyContainer>)?[ -~\n\"é]{0,200}") {
        let _ = read_csv(text.as_bytes());
        let _ = read_otpauth(text.as_bytes());
        let _ = pskc::read(text.as_bytes(), &Opening::Nothing);
    }

    #[test]
    fn sealed_values_open_again(secret in proptest::collection::vec(any::<u8>(), 16..=SECRET_MAX), serial in "[a-z]{1,9}") {
        let secret = Secret::new(secret);
        let under = Under::PreShared { name: "k", key: Secret::new([5; 16]) };
        let token = shown(&serial, &secret, KeyMoving::Counter { next: 3 });
        let text = pskc::whole(&token, under, &random()).unwrap();
        let back = pskc::read(text.as_bytes(), &Opening::PreShared(Secret::new([5; 16]))).whole().unwrap();
        prop_assert_eq!(&back[0].secret, &secret);
    }
}
