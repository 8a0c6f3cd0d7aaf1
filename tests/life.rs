//! The life of a token from the counter to the lost phone, with the shipped services: enabling, issue, setup,
//! confirmation, revocation, suspension, renewal.

use crate::harness::branch::{Branch, member};
use crate::harness::{PASSWORD, Seed};
use serde_json::Value;

const BUSINESS: &str = "kenshin-business";
const PERSONAL: &str = "kenmin-personal";

/// A company with a master, an admin and two users without tokens; another company.
fn companies() -> Branch {
    Branch::open(vec![
        member("master", "C-1", "master", &[(8, 60)]),
        member("admin", "C-1", "admin", &[(8, 60)]),
        member("taro", "C-1", "general", &[]),
        member("jiro", "C-1", "general", &[]),
        member("other", "C-2", "master", &[(8, 60)]),
        member("saburo", "C-2", "general", &[]),
    ])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn s_11_nobody_of_a_contract_is_asked_before_the_counter_enables_it() {
    let branch = companies();
    let gateway = branch.gateway(BUSINESS);
    assert!(gateway.operation("taro", PASSWORD, "transfer").is_accept(), "nobody is asked yet");
    let _ = branch.refused(&["contract", "enable", "C-1", "--service", "none"], &[], 1, "service-unknown");
    assert!(branch.done(&["contract", "list"], &[]).is_empty(), "a refusal changes nothing");
    let would = branch.done(&["contract", "enable", "C-1", "--service", BUSINESS, "--dry-run"], &[]);
    assert!(would.contains("would enable contract C-1"), "{would}");
    assert!(branch.done(&["contract", "list"], &[]).is_empty(), "nor does a dry run");

    branch.enable("C-1", BUSINESS);
    branch.wait_until("the contract to be known", || {
        !gateway.operation("taro", PASSWORD, "transfer").is_accept()
    });
    assert_eq!(branch.world.last_reason("taro"), "no-token");
    assert!(gateway.operation("saburo", PASSWORD, "transfer").is_accept(), "another contract is not touched");
    let list = branch.json(&["contract", "list"], &[]);
    assert_eq!((text(&list[0]["contract"]), text(&list[0]["service"])), ("C-1", BUSINESS));
    assert_eq!(text(&branch.json(&["contract", "show", "C-1"], &[])["service"]), BUSINESS);
    let _ = branch.refused(&["contract", "enable", "C-1", "--service", BUSINESS], &[], 1, "contract-there");
    let _ = branch.refused(&["contract", "show", "C-9"], &[], 1, "contract-unknown");

    let _ = branch.done(&["contract", "disable", "C-1"], &[]);
    branch.wait_until("the contract to be gone", || {
        gateway.operation("taro", PASSWORD, "transfer").is_accept()
    });
    let acts = branch.acts();
    let done: Vec<_> = acts.iter().filter(|act| act.1 == "done").map(|act| (&*act.0, &*act.2)).collect();
    assert_eq!(
        done,
        [("contract-enable", "counter"), ("contract-disable", "counter")],
        "every act is evidence"
    );
}

#[test]
fn s_12_s_14_s_15_from_the_issue_over_the_setup_to_the_first_correct_code() {
    let branch = companies();
    let gateway = branch.gateway(BUSINESS);
    let issue = ["token", "issue", "--user", "taro", "--mail", "taro@example.jp"];
    let _ = branch.refused(&issue, &["47110815"], 1, "contract-not-enabled");
    branch.enable("C-1", BUSINESS);
    for wrong in ["", "123", "123456789", "12a4", "１２３４", "1234 "] {
        let _ = branch.refused(&issue, &[wrong], 1, "start-password");
    }
    assert_eq!(branch.tokens("taro"), [], "a refusal changes nothing");

    let issued = branch.json(&issue, &["47110815"]);
    let serial = text(&issued["serial"]).to_owned();
    assert_eq!(branch.tokens("taro"), [(serial.clone(), "issued".into())]);
    // There is no [mail]: what would have been sent is printed, with the ids (P-A).
    let letter = text(&issued["mail"]["text"]);
    assert_eq!(text(&issued["mail"]["to"]), "taro@example.jp");
    assert!(
        letter.contains(text(&issued["service_id"])) && letter.contains(text(&issued["user_id"])),
        "{letter}"
    );
    assert!(!letter.contains("47110815"));
    let _ = branch.refused(&["token", "confirm", "--user", "taro"], &["12345678"], 1, "not-set-up");

    let ids = [text(&issued["service_id"]), text(&issued["user_id"])];
    let setup = ["token", "setup", "--service-id", ids[0], "--user-id", ids[1]];
    let wrong = branch.run(&setup, &["47110816"]);
    assert_eq!(wrong.code, Some(1), "{}", wrong.told);
    let token = branch.set_up(&issued, "47110815");
    assert_eq!((token.serial.as_str(), token.digits, token.period), (serial.as_str(), 8, 60));
    let again = branch.run(&setup, &["47110815"]);
    assert_eq!((again.code, again.out.as_str()), (Some(1), ""), "the key is handed out once");
    assert_eq!(branch.state(&serial), "set-up", "setup alone does not activate");

    // The first correct code over RADIUS does, and counts once; no change of the gateway.
    let asked = format!(
        "User-Name = taro\nUser-Password = \"{}\"\nNAS-Port-Id = transfer\nMessage-Authenticator = 0x00\n\
         Packet-Src-IP-Address = 127.0.0.2\n",
        branch.field(&token, 0)
    );
    assert_eq!(gateway.radclient(&asked), "Access-Accept");
    assert_eq!(branch.state(&serial), "active");
    assert!(gateway.operation("taro", &branch.field(&token, 0), "transfer").is_reject());
    assert!(gateway.operation("taro", &branch.field(&token, 60), "transfer").is_accept());
    let _ = branch.refused(&issue, &["47110815"], 1, "token-there");
    let _ = branch.refused(&["token", "confirm", "--user", "taro"], &["12345678"], 1, "active-already");
    let show = branch.json(&["token", "show", &serial], &[]);
    assert_eq!((text(&show["user"]), text(&show["contract"])), ("taro", "C-1"));
    let log = branch.world.daemon.log();
    let audit = format!("{:?}", branch.world.audit());
    for secret in ["47110815", token.secret_hex.as_str()] {
        assert!(!log.contains(secret) && !audit.contains(secret), "{secret} in a log");
    }
}

#[test]
fn s_12_p_b_tells_the_ids_on_the_screen_and_mails_the_link_only() {
    let branch = Branch::open(vec![member("hanako", "P-1", "master", &[])]);
    branch.enable("P-1", PERSONAL);
    let issued =
        branch.json(&["token", "issue", "--user", "hanako", "--mail", "hanako@example.jp"], &["47114711"]);
    let letter = text(&issued["mail"]["text"]);
    assert!(!letter.is_empty() && !letter.contains(text(&issued["user_id"])), "{letter}");
    let token = branch.set_up(&issued, "47114711");
    // It starts with a correct code, asked for in a second step.
    let gateway = branch.gateway(PERSONAL);
    let first = gateway.login("hanako", PASSWORD);
    assert!(first.is_challenge());
    let answer = gateway.ask(&gateway.answer("hanako", &branch.code(&token, 0), &first.state()));
    assert!(answer.is_accept());
    assert_eq!(branch.state(&token.serial), "active");
}

#[test]
fn s_13_a_token_of_another_contract_goes_straight_to_the_confirmation() {
    let branch = companies();
    branch.enable("C-1", BUSINESS);
    branch.enable("C-2", BUSINESS);
    let token = branch.active("taro");
    let existing = |serial| ["token", "issue", "--user", "saburo", "--existing", serial];
    let _ = branch.refused(&existing("S000000000000"), &[], 1, "token-unknown");
    let _ = branch.done(&existing(&token.serial), &[]);
    assert_eq!(branch.tokens("saburo").len(), 1);
    let wrong = token.wrong_code();
    let _ = branch.refused(&["token", "confirm", "--user", "saburo"], &[&wrong], 1, "code-wrong");
    let code = branch.code(&token, 0);
    let _ = branch.done(&["token", "confirm", "--user", "saburo"], &[&code]);
    let gateway = branch.gateway(BUSINESS);
    for user in ["taro", "saburo"] {
        assert!(
            gateway.operation(user, &format!("{PASSWORD}{code}"), "transfer").is_reject(),
            "{user}: it was used"
        );
    }
    assert!(gateway.operation("saburo", &branch.field(&token, 60), "transfer").is_accept());
}

#[test]
fn s_14_too_many_wrong_start_passwords_end_the_setup() {
    let branch = companies();
    branch.enable("C-1", BUSINESS);
    let issued = branch.json(&["token", "issue", "--user", "taro"], &["4711"]);
    let (service_id, user_id) = (text(&issued["service_id"]), text(&issued["user_id"]));
    let setup = |service: &str, user: &str, start: &str| {
        branch.run(&["token", "setup", "--service-id", service, "--user-id", user], &[start])
    };
    let stranger = setup("0000000000", user_id, "4711");
    let mut told = vec![stranger.told];
    for start in ["1", "22222", "", "4712", "4710"] {
        let wrong = setup(service_id, user_id, start);
        assert_eq!(wrong.code, Some(1));
        told.push(wrong.told);
    }
    let right = setup(service_id, user_id, "4711");
    assert_eq!((right.code, right.out.as_str()), (Some(1), ""), "the fifth wrong one has ended it");
    told.push(right.told);
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "nobody learns what was wrong: {told:?}");
    let token = branch.issued("taro");
    assert_eq!(branch.state(&token.serial), "set-up", "and it can be issued anew");
    assert_eq!(branch.tokens("taro").len(), 1, "what was issued before is gone");
}

#[test]
fn s_18_locked_users_stand_in_a_list_to_choose_from() {
    let branch = companies();
    branch.enable("C-1", BUSINESS);
    let gateway = branch.gateway(BUSINESS);
    for name in ["master", "other"] {
        for code in branch.world.token(name, 0).wrong_codes(5) {
            let _ = gateway.operation(name, &format!("{PASSWORD}{code}"), "transfer");
        }
    }
    let locked = |arguments: &[&str]| -> Vec<String> {
        let list = branch.json(&[&["user", "list", "--locked"], arguments].concat(), &[]);
        list.as_array().unwrap().iter().map(|user| text(&user["user"]).to_owned()).collect()
    };
    branch.wait_until("the locks", || locked(&[]).len() == 2);
    assert_eq!(locked(&["--contract", "C-1"]), ["master"]);
    assert_eq!(locked(&["--as", "admin:admin"]), ["master"], "an admin sees the own contract");
    let _ = branch.refused(&["user", "list", "--as", "user:taro"], &[], 77, "other-contract");
    let serial = branch.world.token("master", 0).serial.clone();
    assert_eq!(branch.state(&serial), "locked");
    let release = ["user", "release", "master", "--as", "admin:admin"];
    let _ = branch.refused(&release, &["wrong"], 77, "password-wrong");
    let told = branch.json(&release, &[PASSWORD]);
    assert_eq!(text(&told["done"]), "master is released");
    assert_eq!(locked(&["--contract", "C-1"]).len(), 0);
    assert!(
        gateway
            .operation("master", &branch.field(branch.world.token("master", 0), 0), "transfer")
            .is_accept()
    );
}

#[test]
fn s_19_a_revocation_takes_code_and_password_and_is_followed_by_a_waiting_time() {
    let mut branch = companies();
    branch.enable("C-1", BUSINESS);
    let token = branch.active("taro");
    let master = branch.world.token("master", 0).clone();
    let revoke = |who: &'static str| vec!["token", "revoke", token.serial.as_str(), "--as", who];
    let code = branch.code(&master, -60);
    let _ = branch.refused(&revoke("user:jiro"), &[PASSWORD], 77, "may-not");
    let _ = branch.refused(&revoke("master:other"), &[&code, PASSWORD], 77, "other-contract");
    let _ = branch.refused(&revoke("master:admin"), &[&code, PASSWORD], 77, "actor-role");
    let _ = branch.refused(&revoke("master:master"), &["", PASSWORD], 77, "code-missing");
    let _ = branch.refused(&revoke("master:master"), &[&code, ""], 77, "password-missing");
    let _ = branch.refused(&revoke("master:master"), &[&master.wrong_code(), PASSWORD], 77, "code-wrong");
    assert_eq!(branch.state(&token.serial), "active", "a refusal changes nothing");
    // A right code with a wrong password is used up, as in a login.
    let _ = branch.refused(&revoke("master:master"), &[&code, "wrong"], 77, "password-wrong");
    let _ = branch.refused(&revoke("master:master"), &[&code, PASSWORD], 77, "code-used");
    let code = branch.code(&master, 0);
    let told = branch.done(&revoke("master:master"), &[&code, PASSWORD]);
    assert!(told.contains("is revoked; a new one may follow from"), "{told}");
    let gateway = branch.gateway(BUSINESS);
    assert!(gateway.operation("taro", &branch.field(&token, 0), "transfer").is_reject());
    assert_eq!(branch.world.last_reason("taro"), "token-revoked");
    assert!(
        gateway.operation("master", &format!("{PASSWORD}{code}"), "transfer").is_reject(),
        "the code is used up"
    );

    let issue = ["token", "issue", "--user", "taro"];
    let why = branch.refused(&issue, &["4711"], 1, "waiting-time");
    let opens = text(&branch.json(&["token", "show", &token.serial], &[])["opens"]).to_owned();
    assert!(why.contains(&opens), "{why}: {opens}");
    let _ = branch.refused(&["token", "resume", &token.serial], &[], 1, "token-revoked");
    // At night it opens at 08:10 in Tokyo, which is 23:10 UTC; by day half an hour later. Either way within a day.
    let minute = (branch.now() / 60 + 9 * 60) % (24 * 60);
    let night = !(8 * 60 + 10..20 * 60 + 50).contains(&minute);
    assert_eq!(opens.ends_with("23:10:00Z"), night, "{opens} at minute {minute}");
    branch.reopen_later(if night { 12 * 3600 } else { 31 * 60 });
    let _ = branch.json(&issue, &["4711"]);
    assert_eq!(branch.tokens("taro").len(), 1);
}

#[test]
fn s_19_half_an_hour_where_no_night_is_configured() {
    let mut branch = Branch::open(vec![member("hanako", "P-1", "master", &[])]);
    branch.enable("P-1", PERSONAL);
    let token = branch.active("hanako");
    // Written in whole seconds, so the time may be up to one second earlier than read here.
    let before = branch.now();
    let _ = branch.done(&["token", "revoke", &token.serial], &[]);
    let issue = ["token", "issue", "--user", "hanako"];
    let _ = branch.refused(&issue, &["4711"], 1, "waiting-time");
    branch.reopen_later(i64::try_from(29 * 60 - (branch.now() - before)).unwrap());
    let _ = branch.refused(&issue, &["4711"], 1, "waiting-time");
    branch.reopen_later(90);
    let _ = branch.json(&issue, &["4711"]);
}

#[test]
fn s_20_in_p_b_users_revoke_their_own_token_and_in_p_a_they_do_not() {
    let branch =
        Branch::open(vec![member("hanako", "P-1", "general", &[]), member("taro", "C-1", "general", &[])]);
    branch.enable("P-1", PERSONAL);
    branch.enable("C-1", BUSINESS);
    let (hers, his) = (branch.active("hanako"), branch.active("taro"));
    let _ =
        branch.refused(&["token", "revoke", &his.serial, "--as", "user:taro"], &[PASSWORD], 77, "may-not");
    let _ =
        branch.refused(&["token", "revoke", &his.serial, "--as", "user:hanako"], &[PASSWORD], 77, "may-not");
    let own = ["token", "revoke", &hers.serial, "--as", "user:hanako"];
    let _ = branch.refused(&own, &["wrong"], 77, "password-wrong");
    let _ = branch.done(&own, &[PASSWORD]);
    assert_eq!(branch.state(&hers.serial), "revoked");
    // A forgotten revocation: the counter does it.
    let _ = branch.done(&["token", "revoke", &his.serial], &[]);
    assert_eq!(branch.state(&his.serial), "revoked");
    let _ = branch.refused(&["token", "revoke", &his.serial], &[], 1, "token-revoked");
}

#[test]
fn s_23_a_lost_phone_is_stopped_at_once_and_may_go_on() {
    let branch = companies();
    branch.enable("C-1", BUSINESS);
    let token = branch.active("taro");
    let gateway = branch.gateway(BUSINESS);
    let _ = branch.done(&["token", "suspend", &token.serial], &[]);
    assert!(gateway.operation("taro", &branch.field(&token, 0), "transfer").is_reject(), "at once");
    assert_eq!(branch.world.last_reason("taro"), "token-suspended");
    assert_eq!(branch.state(&token.serial), "suspended");
    let _ = branch.refused(&["token", "suspend", &token.serial], &[], 1, "token-suspended");
    let _ = branch.refused(&["token", "issue", "--user", "taro"], &["4711"], 1, "token-suspended");
    let _ =
        branch.refused(&["token", "resume", &token.serial, "--as", "user:taro"], &[PASSWORD], 77, "may-not");
    let _ = branch.done(&["token", "resume", &token.serial], &[]);
    assert!(
        gateway.operation("taro", &branch.field(&token, 0), "transfer").is_accept(),
        "nothing was used up"
    );
    let _ = branch.refused(&["token", "resume", &token.serial], &[], 1, "not-suspended");
    let _ = branch.done(&["token", "suspend", &token.serial], &[]);
    let _ = branch.done(&["token", "revoke", &token.serial], &[]);
    assert_eq!(branch.state(&token.serial), "revoked");
}

#[test]
fn s_24_a_token_ends_and_is_renewed_from_thirty_days_before_and_after() {
    const DAY: i64 = 86_400;
    let mut branch = Branch::open(vec![member("taro", "D-1", "general", &[])]);
    branch.enable("D-1", "shiga-business");
    let token = branch.active("taro");
    let renew = ["token", "renew", token.serial.as_str()];
    let why = branch.refused(&renew, &[], 1, "renewal-too-early");
    assert!(why.contains("it may be renewed from"), "{why}");
    branch.reopen_later((3 * 365 - 29) * DAY);
    let gateway = branch.gateway("shiga-business");
    let _ = branch.done(&renew, &[]);
    let _ = branch.refused(&renew, &[], 1, "renewal-too-early");
    branch.reopen_later((3 * 365 + 30) * DAY);
    let gateway_later = branch.gateway("shiga-business");
    drop(gateway);
    assert!(gateway_later.operation("taro", &branch.field(&token, -60), "transfer").is_reject());
    assert_eq!(branch.world.last_reason("taro"), "token-expired");
    assert_eq!(branch.state(&token.serial), "expired");
    let _ = branch.done(&renew, &[]);
    assert!(gateway_later.operation("taro", &branch.field(&token, 0), "transfer").is_accept());
    assert_eq!(branch.state(&token.serial), "active");
}

#[test]
fn s_24_a_code_of_the_expired_token_proves_its_renewal_and_nothing_else() {
    const DAY: i64 = 86_400;
    let mut branch =
        Branch::open(vec![member("taro", "D-1", "general", &[]), member("jiro", "D-1", "general", &[])]);
    branch.enable("D-1", "shiga-business");
    let token = branch.active("taro");
    branch.reopen_later((3 * 365 + 30) * DAY);
    assert_eq!(branch.state(&token.serial), "expired");
    let renew = ["token", "renew", token.serial.as_str(), "--as", "user:taro"];
    let renew_by_jiro = ["token", "renew", token.serial.as_str(), "--as", "user:jiro"];
    let choose = ["user", "login-code", "taro", "not-required", "--as", "user:taro"];
    let stop = ["token", "stop", "--user", "taro", "--as", "user:taro"];
    let code = branch.code(&token, 0);
    let _ = branch.refused(&renew_by_jiro, &[&code], 77, "may-not");
    let _ = branch.refused(&choose, &[&code], 77, "actor-tokenless");
    let _ = branch.refused(&stop, &[&code, PASSWORD], 1, "token-expired");
    let _ = branch.refused(&renew, &[], 77, "code-missing");
    let _ = branch.refused(&renew, &[&token.wrong_code()], 77, "code-wrong");
    assert_eq!(branch.state(&token.serial), "expired");
    let _ = branch.done(&renew, &[&code]);
    assert_eq!(branch.state(&token.serial), "active");
    let _ = branch.refused(&renew, &[&branch.code(&token, 30)], 1, "renewal-too-early");
    let gateway = branch.gateway("shiga-business");
    assert!(gateway.operation("taro", &format!("{PASSWORD}{code}"), "transfer").is_reject(), "it is used up");
    assert_eq!(branch.world.last_reason("taro"), "code-used");
    assert!(
        gateway.operation("taro", &branch.field(&token, i64::from(token.period)), "transfer").is_accept()
    );
}

#[test]
fn s_05_two_codes_in_a_row_learn_a_clock_that_is_off() {
    let branch = companies();
    branch.enable("C-1", BUSINESS);
    let token: Seed = branch.active("taro");
    let gateway = branch.gateway(BUSINESS);
    let off = 7 * 60;
    assert!(gateway.operation("taro", &branch.field(&token, off), "transfer").is_reject());
    assert_eq!(branch.world.last_reason("taro"), "code-other-time");
    let resync = ["token", "resync", token.serial.as_str()];
    let codes = [branch.code(&token, off), branch.code(&token, off + 60)];
    let _ = branch.refused(&resync, &[&codes[1], &codes[0]], 1, "not-in-a-row");
    let _ = branch.refused(&resync, &[&codes[0], &codes[0]], 1, "not-in-a-row");
    let _ = branch.done(&resync, &[&codes[0], &codes[1]]);
    assert!(
        gateway.operation("taro", &format!("{PASSWORD}{}", codes[1]), "transfer").is_reject(),
        "both are used"
    );
    assert!(gateway.operation("taro", &branch.field(&token, off + 120), "transfer").is_accept());
    let _ = branch.refused(&resync, &[&codes[0], &codes[1]], 1, "not-in-a-row");
}
