//! The same rules for every layout, and every broken entry turned into one refused token.

use super::*;
use crate::clock::Wall;
use crate::directory::seal::{Keyring, NONCE};
use crate::otp::{LookAhead, Step};
use crate::outcome::Reason;
use crate::secret::Secret;
use crate::tokens::{AccountStanding, Defect, LoginCode, Role, Standing, Token, Tokens, User};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

type Attributes = Vec<(&'static str, Vec<Vec<u8>>)>;

const KEY: &[u8] = b"12345678901234567890";

/// A small directory: entries by DN.
#[derive(Default)]
struct Tree(HashMap<Dn, Arc<Entry>>);

impl Tree {
    fn with(mut self, dn: &str, attributes: &[(&'static str, &[&str])]) -> Tree {
        let attributes =
            attributes.iter().map(|(name, values)| (*name, values.iter().map(|value| value.as_bytes())));
        self.add(Entry::new(dn, None, attributes));
        self
    }

    fn add(&mut self, entry: Entry) {
        self.0.insert(Dn::parse(&entry.dn).unwrap(), Arc::new(entry));
    }

    /// The user `uid=u1` as this layout sees them.
    fn user(&self, layout: &Layout) -> (User, Vec<String>) {
        self.user_named("uid=u1,dc=x", layout)
    }

    fn user_named(&self, dn: &str, layout: &Layout) -> (User, Vec<String>) {
        let mut keyring = Keyring::default();
        keyring.add(&Keyring::line("k", &[1; 32])).unwrap();
        let assembly = Assembly {
            layout,
            names: &["uid".to_owned(), "mail".to_owned()],
            defaults: &Parameters::default(),
            keyring: &keyring,
            bases: &[Dn::parse("dc=x").unwrap()],
        };
        let dn = Dn::parse(dn).unwrap();
        let owned: Vec<_> =
            self.0.values().filter(|entry| layout.owner_dns(entry).contains(&dn)).cloned().collect();
        let assembled = assembly.assemble(&self.0[&dn], &owned, &|dn| self.0.get(dn).cloned());
        (assembled.user, assembled.names)
    }

    fn token(&self, layout: &Layout) -> Token {
        let (user, _) = self.user(layout);
        let Tokens::These(mut tokens) = user.tokens else { panic!("too many") };
        assert_eq!(tokens.len(), 1, "{tokens:?}");
        tokens.remove(0)
    }
}

/// A user with one TOTP token whose entries are sound, but for what `change` does to token and parameters.
fn oath(change: impl FnOnce(&mut Attributes, &mut Attributes)) -> Tree {
    let one = |name, value: &str| (name, vec![value.as_bytes().to_vec()]);
    let mut token = vec![
        one("objectClass", "oathTOTPToken"),
        ("oathSecret", vec![KEY.to_vec()]),
        one("oathTOTPParams", "CN=p8, dc=x"),
        one("oathTokenSerialNumber", "S1"),
    ];
    let mut parameters = vec![
        one("objectClass", "oathTOTPParams"),
        one("oathOTPLength", "8"),
        one("oathHMACAlgorithm", "1.2.840.113549.2.7"),
        one("oathTOTPTimeStepPeriod", "60"),
        one("oathTOTPTimeStepWindow", "1"),
    ];
    change(&mut token, &mut parameters);
    let mut tree = Tree::default().with(
        "uid=u1,dc=x",
        &[
            ("uid", &["u1"]),
            ("objectClass", &["inetOrgPerson", "oathTOTPUser"]),
            ("oathTOTPToken", &["cn=T1,dc=x"]),
        ],
    );
    tree.add(Entry::new("cn=t1,dc=x", None, token));
    tree.add(Entry::new("cn=p8,dc=x", None, parameters));
    tree
}

/// Sets an attribute to these values; none removes it.
fn set(attributes: &mut Attributes, name: &'static str, values: &[&str]) {
    attributes.retain(|(other, _)| *other != name);
    if !values.is_empty() {
        attributes.push((name, values.iter().map(|value| value.as_bytes().to_vec()).collect()));
    }
}

fn with_token(name: &'static str, values: &[&str]) -> Tree {
    oath(|token, _| set(token, name, values))
}

fn with_parameter(name: &'static str, values: &[&str]) -> Tree {
    oath(|_, parameters| set(parameters, name, values))
}

fn at(seconds: u64) -> Wall {
    Wall::from_seconds(seconds)
}

#[test]
fn a_sound_token_is_read_whole() {
    let (user, names) = oath(|_, _| {}).user(&Layout::oath());
    assert_eq!((names, &*user.name, &*user.dn), (vec!["u1".to_owned()], "u1", "uid=u1,dc=x"));
    let token = oath(|_, _| {}).token(&Layout::oath());
    assert_eq!(token.standing, Standing::Active);
    assert_eq!((token.serial.as_str(), token.secret.expose()), ("S1", KEY));
    assert_eq!((token.parameters, token.spent, token.ends), (Parameters::default(), None, None));
    assert_eq!(token.imprint, Token::imprint_of(&Secret::new(KEY)));
}

#[test]
fn otp_13_ldap_21_a_broken_entry_makes_its_token_unusable_and_says_why() {
    let long = "x".repeat(129);
    let cases: &[(Tree, Defect)] = &[
        (with_token("oathSecret", &[]), Defect::SecretMissing),
        (with_token("oathSecret", &[""]), Defect::SecretMissing),
        (with_token("oathSecret", &["123456789012345"]), Defect::SecretTooShort),
        (with_token("oathSecret", &[&long]), Defect::SecretUnreadable),
        (with_token("oathSecret", &[r#"{"ciphertext":"ABCDEFGHIJ","iv":"x"}"#]), Defect::SecretUnreadable),
        (with_token("oathSecret", &["{sekisho:v1}other:AAAA"]), Defect::SecretSealed),
        (with_token("oathSecret", &["{sekisho:v2}k:AAAAAAAAAAAAAAAA"]), Defect::SecretSealed),
        (with_token("oathSecret", &["12345678901234567890", "22345678901234567890"]), Defect::ManyValues),
        (with_token("oathTOTPParams", &[]), Defect::ParametersMissing),
        (with_token("oathTOTPParams", &["cn=none,dc=x"]), Defect::ParametersNotFound),
        (with_token("oathTOTPParams", &["cn=p8,dc=elsewhere"]), Defect::ParametersNotFound),
        (with_token("oathTOTPParams", &["not a dn"]), Defect::ParametersNotFound),
        (with_token("oathTOTPParams", &["cn=p8,dc=x", "cn=p6,dc=x"]), Defect::ManyValues),
        (with_token("oathTOTPLastTimeStep", &["soon"]), Defect::Value),
        (with_token("sekishoNotAfter", &["tomorrow"]), Defect::Value),
        (with_token("sekishoTokenState", &["lost"]), Defect::Value),
        (with_token("oathTokenSerialNumber", &["S1", "S2"]), Defect::ManyValues),
        (with_parameter("oathOTPLength", &["5"]), Defect::Digits),
        (with_parameter("oathOTPLength", &["99"]), Defect::Digits),
        (with_parameter("oathOTPLength", &["-8"]), Defect::Digits),
        (with_parameter("oathOTPLength", &["eight"]), Defect::Digits),
        (with_parameter("oathOTPLength", &[]), Defect::Digits),
        (with_parameter("oathOTPLength", &["8", "8"]), Defect::ManyValues),
        (with_parameter("oathTOTPTimeStepPeriod", &["14"]), Defect::Period),
        (with_parameter("oathTOTPTimeStepPeriod", &["121"]), Defect::Period),
        (with_parameter("oathTOTPTimeStepPeriod", &["0"]), Defect::Period),
        (with_parameter("oathTOTPTimeStepPeriod", &["99999999999999999999"]), Defect::Period),
        (with_parameter("oathTOTPTimeStepPeriod", &[]), Defect::Period),
        (with_parameter("oathHMACAlgorithm", &["1.2.840.113549.2.8"]), Defect::Algorithm),
        (with_parameter("oathHMACAlgorithm", &["md5"]), Defect::Algorithm),
        (with_parameter("oathHMACAlgorithm", &[]), Defect::Algorithm),
        (with_parameter("oathTOTPTimeStepWindow", &["11"]), Defect::Window),
        (with_parameter("oathTOTPTimeStepWindow", &["-1"]), Defect::Window),
        (with_parameter("oathSecretMaxAge", &["3600"]), Defect::WornOut),
    ];
    for (at, (tree, defect)) in cases.iter().enumerate() {
        let token = tree.token(&Layout::oath());
        assert_eq!(token.standing, Standing::Unusable(*defect), "case {at}");
        assert!(token.secret.is_empty(), "case {at}");
        assert_eq!(token.refusal(Wall::default()), Some(Reason::TokenUnusable), "case {at}");
    }
}

#[test]
fn otp_03_hashes_digits_and_periods_are_taken_from_the_parameters() {
    for (oid, algorithm) in [
        ("1.2.840.113549.2.7", Algorithm::Sha1),
        ("1.2.840.113549.2.9", Algorithm::Sha256),
        ("1.2.840.113549.2.11", Algorithm::Sha512),
        ("hmacWithSHA256", Algorithm::Sha256),
    ] {
        let token = with_parameter("oathHMACAlgorithm", &[oid]).token(&Layout::oath());
        assert_eq!(token.parameters.algorithm, algorithm, "{oid}");
    }
    let token = with_parameter("oathOTPLength", &["6"]).token(&Layout::oath());
    assert_eq!(token.parameters.digits, Digits::SIX);
    let token = with_parameter("oathTOTPTimeStepPeriod", &["30"]).token(&Layout::oath());
    assert_eq!(token.parameters.moving, Moving::Time { period: Period::HALF_MINUTE });
    for (values, steps) in [(&["3"][..], 3), (&["0"], 0), (&[], Window::ONE.back())] {
        let window =
            with_parameter("oathTOTPTimeStepWindow", values).token(&Layout::oath()).parameters.window;
        assert_eq!((window.back(), window.forward()), (steps, steps));
    }
}

#[test]
fn otp_28_a_token_has_its_time() {
    let token = oath(|token, parameters| {
        set(token, "oathSecretTime", &["20260821093000Z"]);
        set(parameters, "oathSecretMaxAge", &["3600"]);
    })
    .token(&Layout::oath());
    assert_eq!(token.ends, Some(at(1_787_304_600 + 3600)));
    assert_eq!(token.refusal(at(1_787_304_600 + 3600)), Some(Reason::TokenExpired));

    let token = oath(|token, parameters| {
        set(token, "oathSecretTime", &["20260821093000Z"]);
        set(token, "sekishoNotBefore", &["20260821093000Z"]);
        set(token, "sekishoNotAfter", &["20260821094000Z"]);
        set(parameters, "oathSecretMaxAge", &["3600"]);
    })
    .token(&Layout::oath());
    assert_eq!((token.begins, token.ends), (Some(at(1_787_304_600)), Some(at(1_787_305_201))));
}

#[test]
fn the_state_of_a_token_decides_whether_it_counts() {
    for (state, standing) in [
        ("active", Standing::Active),
        ("Suspended", Standing::Suspended),
        ("set-up", Standing::AwaitsConfirmation),
        ("revoked", Standing::Revoked),
    ] {
        assert_eq!(with_token("sekishoTokenState", &[state]).token(&Layout::oath()).standing, standing);
    }
    for state in ["issued", "inventory"] {
        let (user, _) = with_token("sekishoTokenState", &[state]).user(&Layout::oath());
        assert!(matches!(user.tokens, Tokens::These(tokens) if tokens.is_empty()), "{state}");
    }
}

fn hotp(counter: &[&str], uses: &[&str]) -> Tree {
    Tree::default()
        .with("uid=u1,dc=x", &[("uid", &["u1"]), ("oathHOTPToken", &["cn=t1,dc=x"])])
        .with(
            "cn=t1,dc=x",
            &[
                ("oathSecret", &["12345678901234567890"]),
                ("oathHOTPParams", &["cn=p,dc=x"]),
                ("oathHOTPCounter", counter),
            ],
        )
        .with(
            "cn=p,dc=x",
            &[
                ("oathOTPLength", &["6"]),
                ("oathHMACAlgorithm", &["1.2.840.113549.2.7"]),
                ("oathHOTPLookAhead", &["5"]),
                ("oathMaxUsageCount", uses),
            ],
        )
}

fn ipa(attributes: &[(&'static str, &[&str])]) -> Tree {
    let all = [
        &[("ipatokenOwner", &["UID=u1,dc=x"][..]), ("ipatokenOTPkey", &["12345678901234567890"])],
        attributes,
    ]
    .concat();
    Tree::default().with("uid=u1,dc=x", &[("uid", &["u1"])]).with("ipatokenUniqueID=t1,dc=x", &all)
}

#[test]
fn ldap_20_last_used_and_next_say_the_same() {
    for (last, next, spent) in [
        (&["9"][..], &["10"][..], Some(Step(9))),
        (&["0"], &["1"], Some(Step(0))),
        (&["-1"], &["0"], None),
        (&[], &[], None),
        (&["4294967296"], &["4294967297"], Some(Step(1 << 32))),
    ] {
        let oath_counter = hotp(last, &[]).token(&Layout::oath());
        assert_eq!(oath_counter.spent, spent);
        assert_eq!(
            oath_counter.parameters.moving,
            Moving::Counter { look_ahead: LookAhead::new(5).unwrap() }
        );
        let class = ("objectClass", &["ipatokenHOTP"][..]);
        assert_eq!(ipa(&[class, ("ipatokenHOTPcounter", next)]).token(&Layout::freeipa()).spent, spent);
        let class = ("objectClass", &["ipatokenTOTP"][..]);
        assert_eq!(ipa(&[class, ("ipatokenTOTPwatermark", next)]).token(&Layout::freeipa()).spent, spent);
        assert_eq!(with_token("oathTOTPLastTimeStep", last).token(&Layout::oath()).spent, spent);
    }
}

#[test]
fn otp_28_a_counter_says_how_often_its_key_was_used() {
    for (last, standing) in [
        (&["8"][..], Standing::Active),
        (&["9"], Standing::Unusable(Defect::WornOut)),
        (&[], Standing::Active),
    ] {
        assert_eq!(hotp(last, &["10"]).token(&Layout::oath()).standing, standing, "{last:?}");
    }
}

#[test]
fn ldap_22_freeipa_tokens_have_their_own_defaults_dates_and_switch() {
    let token = ipa(&[("objectClass", &["ipatokenTOTP"])]).token(&Layout::freeipa());
    assert_eq!(token.parameters.digits, Digits::SIX);
    assert_eq!(token.parameters.moving, Moving::Time { period: Period::HALF_MINUTE });
    for (step, period) in [("4", Ok(30)), ("60", Ok(60)), ("10", Err(Defect::Period))] {
        let token = ipa(&[("ipatokenTOTPtimeStep", &[step])]).token(&Layout::freeipa());
        match (period, token.parameters.moving) {
            (Ok(seconds), Moving::Time { period }) => assert_eq!(period.seconds(), seconds),
            (Err(defect), _) => assert_eq!(token.standing, Standing::Unusable(defect)),
            other => panic!("{other:?}"),
        }
    }
    let algorithm =
        ipa(&[("ipatokenOTPalgorithm", &["SHA512"])]).token(&Layout::freeipa()).parameters.algorithm;
    assert_eq!(algorithm, Algorithm::Sha512);
    let off = ipa(&[("ipatokenDisabled", &["TRUE"])]).token(&Layout::freeipa());
    assert_eq!(off.standing, Standing::Suspended);
    let dated =
        ipa(&[("ipatokenNotBefore", &["20260821093000Z"]), ("ipatokenNotAfter", &["20260821094000Z"])])
            .token(&Layout::freeipa());
    for (second, refusal) in [
        (1_787_304_599, Some(Reason::TokenNotYetValid)),
        (1_787_304_600, None),
        (1_787_305_200, None),
        (1_787_305_201, Some(Reason::TokenExpired)),
    ] {
        assert_eq!(dated.refusal(at(second)), refusal, "{second}");
    }
    let shared = ipa(&[("ipatokenowner;x", &["uid=u2,dc=x"])]).token(&Layout::freeipa());
    assert_eq!(shared.standing, Standing::Unusable(Defect::SeveralOwners));
}

#[test]
fn a_sealed_secret_opens_for_its_serial_number_only() {
    let mut keyring = Keyring::default();
    keyring.add(&Keyring::line("k", &[1; 32])).unwrap();
    let sealed = keyring.seal("S1", &Secret::new(KEY), [9; NONCE]).unwrap();
    let token = with_token("oathSecret", &[&sealed]).token(&Layout::oath());
    assert_eq!(token.secret.expose(), KEY);
    let moved = oath(|token, _| {
        set(token, "oathSecret", &[&sealed]);
        set(token, "oathTokenSerialNumber", &["S2"]);
    });
    assert_eq!(moved.token(&Layout::oath()).standing, Standing::Unusable(Defect::SecretSealed));
}

#[test]
fn a_reference_to_nowhere_or_outside_spoils_one_token() {
    let mut tree = oath(|_, _| {});
    tree = tree
        .with(
            "uid=u1,dc=x",
            &[
                ("uid", &["u1"]),
                ("oathTOTPToken", &["cn=t1,dc=x", "CN=T1,DC=X", "cn=none,dc=x", "cn=t2,dc=y", "junk"]),
            ],
        )
        .with("cn=t2,dc=y", &[("oathSecret", &["12345678901234567890"])]);
    let (user, _) = tree.user(&Layout::oath());
    let Tokens::These(tokens) = user.tokens else { panic!("too many") };
    let standings: Vec<_> = tokens.iter().map(|token| token.standing).collect();
    let nowhere = Standing::Unusable(Defect::TokenNotFound);
    assert_eq!(standings, [Standing::Active, nowhere, nowhere, nowhere]);
}

#[test]
fn ten_thousand_tokens_cost_no_more_than_a_count() {
    let dns: Vec<String> = (0..10_000).map(|n| format!("cn=t{n},dc=x")).collect();
    let dns: Vec<&str> = dns.iter().map(String::as_str).collect();
    let keyring = Keyring::default();
    let layout = Layout::oath();
    let assembly = Assembly {
        layout: &layout,
        names: &[],
        defaults: &Parameters::default(),
        keyring: &keyring,
        bases: &[],
    };
    let tree = Tree::default().with("uid=u1,dc=x", &[("oathTOTPToken", &dns)]);
    let entry = &tree.0[&Dn::parse("uid=u1,dc=x").unwrap()];
    let user = assembly.assemble(entry, &[], &|_| panic!("nothing is looked up")).user;
    assert!(matches!(user.tokens, Tokens::TooMany(10_000)));
    assert!(layout.token_dns(entry).len() <= Layout::REFERENCES_MAX);

    let tree = Tree::default().with("uid=u1,dc=x", &[("oathTOTPToken", &dns[..9])]);
    assert!(matches!(tree.user(&Layout::oath()).0.tokens, Tokens::TooMany(9)));
    let tree = Tree::default().with("uid=u1,dc=x", &[("oathTOTPToken", &dns[..8])]);
    assert!(matches!(tree.user(&Layout::oath()).0.tokens, Tokens::These(tokens) if tokens.len() == 8));
}

fn custom(tokens: TokensAt, secret_form: SecretForm) -> Layout {
    Layout::custom(CustomAttributes {
        tokens,
        token_class: None,
        kind: Kind::Time,
        secret: "bankSecret".into(),
        secret_form,
        serial: Some("bankSerial".into()),
        algorithm: None,
        digits: Some("bankDigits".into()),
        period: None,
        window: None,
        spent: Some("bankStep".into()),
        counts: Counts::Next,
        disabled: Some("bankOff".into()),
        not_before: None,
        not_after: None,
        identity: None,
        contract: Some("bankContract".into()),
        role: None,
    })
}

#[test]
fn a_banks_own_attributes_on_the_user_or_by_reference() {
    let layout = custom(TokensAt::User, SecretForm::Base32);
    let secret = &["GEZD GNBV gy3t qojq gezd gnbv gy3t qojq===="][..];
    let attributes: &[(&str, &[&str])] = &[
        ("uid", &["u1"]),
        ("bankSecret", secret),
        ("bankSerial", &["B1"]),
        ("bankDigits", &["6"]),
        ("bankStep", &["5"]),
        ("bankContract", &["C1"]),
    ];
    let tree = Tree::default().with("uid=u1,dc=x", attributes);
    let token = tree.token(&layout);
    assert_eq!((token.serial.as_str(), token.secret.expose(), token.spent), ("B1", KEY, Some(Step(4))));
    let expected = Parameters { digits: Digits::SIX, ..Parameters::default() };
    assert_eq!((token.parameters, token.standing), (expected, Standing::Active));
    assert_eq!(tree.user(&layout).0.contract.unwrap().as_str(), "C1");
    assert_eq!(layout.token_filter(), None);

    let tokenless = Tree::default().with("uid=u1,dc=x", &[("uid", &["u1"])]);
    assert!(matches!(tokenless.user(&layout).0.tokens, Tokens::These(tokens) if tokens.is_empty()));

    let layout = custom(TokensAt::Referred(vec![("bankToken".into(), Kind::Time)]), SecretForm::Base64);
    let tree = Tree::default()
        .with("uid=u1,dc=x", &[("bankToken", &["cn=t1,dc=x"])])
        .with("cn=t1,dc=x", &[("bankSecret", &["MTIzNDU2Nzg5MDEyMzQ1Njc4OTA="])]);
    assert_eq!(tree.token(&layout).secret.expose(), KEY);
    assert_eq!(layout.token_filter().as_deref(), Some("(bankSecret=*)"));
}

#[test]
fn a_secret_that_is_not_in_the_declared_form_is_refused() {
    for (form, text, read) in [
        (SecretForm::Base32, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", true),
        (SecretForm::Base32, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1", false),
        (SecretForm::Base32, "12345678901234567890", false),
        (SecretForm::Base64, "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA", true),
        (SecretForm::Base64, "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA*", false),
        (SecretForm::Hex, "3132333435363738393031323334353637383930", true),
        (SecretForm::Hex, "313", false),
        (SecretForm::Raw, "{2345678901234567890", true),
    ] {
        let tree = Tree::default().with("uid=u1,dc=x", &[("bankSecret", &[text])]);
        let standing = tree.token(&custom(TokensAt::User, form)).standing;
        let expected = if read { Standing::Active } else { Standing::Unusable(Defect::SecretUnreadable) };
        assert_eq!(standing, expected, "{form:?} {text}");
    }
}

#[test]
fn contract_role_and_choice_come_from_our_own_classes() {
    let user = |attributes: &[(&'static str, &[&str])]| {
        Tree::default().with("uid=u1,dc=x", attributes).user(&Layout::oath()).0
    };
    let master = user(&[
        ("sekishoContract", &["C-1"]),
        ("sekishoRole", &["Master"]),
        ("sekishoLoginCode", &["not-required"]),
    ]);
    assert_eq!(master.contract.unwrap().as_str(), "C-1");
    assert_eq!((master.role, master.login_code), (Role::Master, Some(LoginCode::NotRequired)));
    let nobody = user(&[("uid", &["u1", "u1@example"]), ("mail", &["m@example"])]);
    assert_eq!((nobody.contract, nobody.role, nobody.login_code), (None, Role::General, None));
    let unclear = user(&[("sekishoRole", &["admin", "master"]), ("sekishoLoginCode", &["perhaps"])]);
    assert_eq!((unclear.role, unclear.login_code), (Role::General, Some(LoginCode::Required)));
}

#[test]
fn ldap_24_ldap_25_what_every_directory_says_about_an_account() {
    use Reason::{AccountDisabled, AccountExpired, AccountLocked};
    const NOW: u64 = 1_787_304_600; // 20260821093000Z
    type Case = (&'static [(&'static str, &'static [&'static str])], Option<Reason>);
    let cases: &[Case] = &[
        (&[], None),
        (&[("pwdAccountLockedTime", &["000001010000Z"])], Some(AccountLocked)),
        (&[("pwdAccountLockedTime", &["00000101000000Z"])], Some(AccountLocked)),
        (&[("pwdAccountLockedTime", &["20260821092500Z"])], Some(AccountLocked)),
        (&[("pwdAccountLockedTime", &["20260821091500Z"])], None),
        (&[("pwdAccountLockedTime", &["?"])], Some(AccountLocked)),
        (&[("pwdAccountLockedTime", &["20260821091500Z", "20260821091500Z"])], Some(AccountLocked)),
        (
            &[("pwdAccountLockedTime", &["20260821091500Z"]), ("pwdPolicySubentry", &["cn=hour,dc=x"])],
            Some(AccountLocked),
        ),
        (&[("pwdAccountLockedTime", &["20260821082500Z"]), ("pwdPolicySubentry", &["cn=hour,dc=x"])], None),
        (
            &[("pwdAccountLockedTime", &["20260821082500Z"]), ("pwdPolicySubentry", &["cn=ever,dc=x"])],
            Some(AccountLocked),
        ),
        (
            &[("pwdLastSuccess", &["20260821091500Z"]), ("pwdPolicySubentry", &["cn=ever,dc=x"])],
            Some(AccountExpired),
        ),
        (&[("pwdLastSuccess", &["20260821092500Z"]), ("pwdPolicySubentry", &["cn=ever,dc=x"])], None),
        (&[("pwdStartTime", &["20260821093001Z"])], Some(AccountExpired)),
        (&[("pwdStartTime", &["20260821093000Z"])], None),
        (&[("pwdStartTime", &["?"])], Some(AccountExpired)),
        (&[("pwdEndTime", &["20260821093000Z"])], Some(AccountExpired)),
        (&[("pwdEndTime", &["20260821093001Z"])], None),
        (&[("pwdEndTime", &["?"])], Some(AccountExpired)),
        (&[("nsAccountLock", &["TRUE"])], Some(AccountDisabled)),
        (&[("nsAccountLock", &["false"])], None),
        (&[("nsAccountLock", &["?"])], Some(AccountDisabled)),
        (&[("loginDisabled", &["TRUE"])], Some(AccountDisabled)),
        (&[("krbPrincipalExpiration", &["20260821092959Z"])], Some(AccountExpired)),
        (&[("krbPasswordExpiration", &["20260821092959Z"])], Some(AccountExpired)),
        (&[("krbPasswordExpiration", &["20270821092959Z"])], None),
        (&[("userAccountControl", &["512"])], None),
        (&[("userAccountControl", &["514"])], Some(AccountDisabled)),
        (&[("userAccountControl", &["528"])], None),
        (&[("userAccountControl", &["x"])], Some(AccountDisabled)),
        (&[("msDS-User-Account-Control-Computed", &["16"])], Some(AccountLocked)),
        (&[("msDS-User-Account-Control-Computed", &["8388608"])], Some(AccountExpired)),
        (&[("accountExpires", &["0"])], None),
        (&[("accountExpires", &["9223372036854775807"])], None),
        (&[("accountExpires", &["134317782000000000"])], Some(AccountExpired)),
        (&[("accountExpires", &["134317782010000000"])], None),
        (&[("accountExpires", &["never"])], Some(AccountExpired)),
    ];
    let layout = Layout::oath().with_lock_duration(Some(Duration::from_secs(600)));
    for (attributes, refusal) in cases {
        let tree = Tree::default()
            .with("uid=u1,dc=x", attributes)
            .with("cn=hour,dc=x", &[("pwdLockoutDuration", &["3600"])])
            .with("cn=ever,dc=x", &[("pwdLockoutDuration", &["0"]), ("pwdMaxIdle", &["600"])]);
        assert_eq!(tree.user(&layout).0.account.refusal(at(NOW)), *refusal, "{attributes:?}");
    }
    let tree = Tree::default().with("uid=u1,dc=x", &[("pwdAccountLockedTime", &["20260821092500Z"])]);
    assert_eq!(tree.user(&Layout::oath()).0.account.standing, AccountStanding::Enabled);
}

#[test]
fn ldap_31_two_owners_or_one_serial_twice_disable_both_until_one_goes() {
    let sound: &[(&str, &[&str])] = &[
        ("oathSecret", &["12345678901234567890"]),
        ("oathTOTPParams", &["cn=p8,dc=x"]),
        ("oathTokenSerialNumber", &["S1"]),
    ];
    let tree = oath(|_, _| {})
        .with("cn=t2,dc=x", sound)
        .with("uid=u2,dc=x", &[("oathTOTPToken", &["cn=t1,dc=x"])])
        .with("uid=u3,dc=x", &[("oathTOTPToken", &["cn=t2,dc=x"])]);
    let user = |number: u32| tree.user_named(&format!("uid=u{number},dc=x"), &Layout::oath()).0;
    let standing = |user: &User| match &user.tokens {
        Tokens::These(tokens) => tokens[0].standing,
        Tokens::TooMany(_) => panic!("too many"),
    };
    let mut census = Census::default();
    let mut enter = |number| {
        let mut user = user(number);
        let mut others: Vec<_> = census.enter(number, &mut user, &[]).into_iter().collect();
        others.sort_unstable();
        (standing(&user), others)
    };
    assert_eq!(enter(1), (Standing::Active, vec![]));
    assert_eq!(enter(2), (Standing::Unusable(Defect::SeveralOwners), vec![1]));
    assert_eq!(enter(1), (Standing::Unusable(Defect::SeveralOwners), vec![]));
    assert_eq!(enter(3), (Standing::Unusable(Defect::SerialRepeated), vec![1, 2]));
    assert!(census.leave(2).is_empty(), "u1 and u3 still share a serial number");
    assert_eq!(census.leave(3), [1].into());
    let mut first = user(1);
    assert!(census.enter(1, &mut first, &[]).is_empty());
    assert_eq!(standing(&first), Standing::Active);
}

#[test]
fn what_is_asked_for_is_what_is_read() {
    for layout in [Layout::oath(), Layout::freeipa(), custom(TokensAt::User, SecretForm::Raw)] {
        let names = layout.attributes();
        assert!(names.contains(&"objectClass") && names.contains(&"pwdAccountLockedTime"), "{names:?}");
        assert!(names.contains(&&*layout.token.secret));
        let distinct: std::collections::HashSet<_> = names.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(distinct.len(), names.len());
    }
    let oath = Layout::oath();
    let filter = "(|(objectClass=oathTOTPToken)(objectClass=oathHOTPToken))";
    assert_eq!(oath.token_filter().as_deref(), Some(filter));
    let filter = "(|(objectClass=oathTOTPParams)(objectClass=oathHOTPParams))";
    assert_eq!(oath.parameters_filter().as_deref(), Some(filter));
    assert_eq!(Layout::freeipa().parameters_filter(), None);
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "[0-9]{0,22}".prop_map(String::into_bytes),
        "(-)?[0-9]{1,20}".prop_map(String::into_bytes),
        "[0-9]{12,14}(Z|\\+0900)".prop_map(String::into_bytes),
        "(cn=t1|cn=p8|uid=u1|cn=z),dc=[xy]".prop_map(String::into_bytes),
        "\\{sekisho:v1\\}k:[A-Za-z0-9_-]{0,90}".prop_map(String::into_bytes),
        Just(KEY.to_vec()),
        Just(b"TRUE".to_vec()),
    ]
}

fn any_attributes() -> impl Strategy<Value = Vec<(&'static str, Vec<Vec<u8>>)>> {
    let mut names: Vec<&'static str> = Vec::new();
    for layout in [Layout::oath(), Layout::freeipa(), custom(TokensAt::User, SecretForm::Base32)] {
        names.extend(
            layout.attributes().into_iter().map(|name| &*Box::leak(name.to_owned().into_boxed_str())),
        );
    }
    let values = proptest::collection::vec(any_value(), 0..3);
    proptest::collection::vec((proptest::sample::select(names), values), 0..24)
}

proptest! {
    /// Whatever an entry says, the answer is a user whose active tokens could really be used.
    #[test]
    fn otp_13_no_entry_breaks_the_layout(user in any_attributes(), token in any_attributes(), parameters in any_attributes()) {
        for form in [SecretForm::Raw, SecretForm::Base32, SecretForm::Base64, SecretForm::Hex] {
            for layout in [Layout::oath(), Layout::freeipa(), custom(TokensAt::User, form)] {
                let mut tree = Tree::default();
                tree.add(Entry::new("uid=u1,dc=x", None, user.clone()));
                tree.add(Entry::new("cn=t1,dc=x", None, token.clone()));
                tree.add(Entry::new("cn=p8,dc=x", None, parameters.clone()));
                let (user, _) = tree.user(&layout);
                if let Tokens::These(tokens) = &user.tokens {
                    prop_assert!(tokens.len() <= crate::tokens::TOKENS_MAX);
                    for token in tokens.iter().filter(|token| token.standing == Standing::Active) {
                        prop_assert!((16..=128).contains(&token.secret.len()));
                    }
                }
                _ = user.account.refusal(at(1_787_304_600));
            }
        }
    }
}
