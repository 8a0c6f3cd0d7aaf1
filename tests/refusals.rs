//! What cannot be meant, may not be, or was used before: a precise refusal, and nothing is changed.

use crate::harness::branch::{Branch, member, stock};
use crate::harness::{PASSWORD, daemon};
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

const BUSINESS: &str = "kenshin-business";

/// A company with tokens in every state, and another one.
fn bank() -> Branch {
    let inventory = [stock("INV-0001", 6, 30)];
    let people = vec![
        member("master", "C-1", "master", &[(8, 60)]),
        member("taro", "C-1", "general", &[]),
        member("jiro", "C-1", "general", &[]),
        member("other", "C-2", "master", &[(8, 60)]),
        member("nobody", "C-3", "general", &[]),
    ];
    let branch = Branch::open_with(people, &inventory, |builder| builder);
    branch.enable("C-1", BUSINESS);
    branch.enable("C-2", BUSINESS);
    branch
}

#[test]
fn every_verb_refuses_what_cannot_be_meant_and_changes_nothing() {
    let branch = bank();
    let token = branch.active("taro");
    let master = branch.world.token("master", 0).clone();
    let taken = branch.world.token("other", 0).serial.clone();
    let (long_name, long_serial, long_contract) = ("x".repeat(254), "S".repeat(65), "c".repeat(129));
    let long_mail = format!("{}@example.jp", "m".repeat(250));
    let long_code = "1".repeat(900);
    let (mine, theirs) = (token.serial.as_str(), taken.as_str());
    let code = branch.code(&token, 0);
    let wrong = token.wrong_code();
    let master_code = branch.code(&master, 0);
    let before = branch.world.slapd.dump();
    let table: &[(&[&str], &[&str], i32, &str)] = &[
        (&["contract", "enable", "", "--service", BUSINESS], &[], 1, "value"),
        (&["contract", "enable", " C-4", "--service", BUSINESS], &[], 1, "value"),
        (&["contract", "enable", "C\n4", "--service", BUSINESS], &[], 1, "value"),
        (&["contract", "enable", &long_contract, "--service", BUSINESS], &[], 1, "value"),
        (&["contract", "enable", "C-4", "--service", "bank"], &[], 1, "service-unknown"),
        (&["contract", "enable", "C-4", "--service", BUSINESS, "--as", "auditor"], &[], 77, "role-not-yours"),
        (&["contract", "enable", "C-1", "--service", BUSINESS, "--as", "master:master"], &[], 77, "may-not"),
        (&["contract", "disable", "C-9"], &[], 1, "contract-unknown"),
        (&["contract", "show", "*"], &[], 1, "contract-unknown"),
        (&["user", "show", "*"], &[], 1, "user-unknown"),
        (&["user", "show", "taro)(uid=*"], &[], 1, "user-unknown"),
        (&["user", "show", ""], &[], 1, "value"),
        (&["user", "show", &long_name], &[], 1, "value"),
        (&["user", "show", "ta\u{7}ro"], &[], 1, "value"),
        (&["user", "show", "other", "--as", "master:master"], &[], 77, "other-contract"),
        (&["user", "release", "taro", "--by", "counter"], &[], 1, "not-locked"),
        (&["user", "release", "nobody", "--by", "master"], &[PASSWORD], 77, "other-contract"),
        (&["user", "release", "mallory", "--by", "counter"], &[], 1, "user-unknown"),
        (&["user", "login-code", "mallory", "required"], &[], 1, "user-unknown"),
        (&["user", "login-code", "taro", "required", "--as", "user:taro"], &[&wrong], 77, "code-wrong"),
        (&["token", "issue", "--user", "mallory"], &["4711"], 1, "user-unknown"),
        (&["token", "issue", "--user", "nobody"], &["4711"], 1, "contract-not-enabled"),
        (&["token", "issue", "--user", "taro"], &["4711"], 1, "token-there"),
        (&["token", "issue", "--user", "jiro"], &[""], 1, "start-password"),
        (&["token", "issue", "--user", "jiro"], &["４７１１"], 1, "start-password"),
        (&["token", "issue", "--user", "jiro", "--mail", "no address"], &["4711"], 1, "value"),
        (&["token", "issue", "--user", "jiro", "--mail", "a@b\r\nBcc: c@d"], &["4711"], 1, "value"),
        (&["token", "issue", "--user", "jiro", "--mail", &long_mail], &["4711"], 1, "value"),
        (&["token", "issue", "--user", "jiro", "--existing", "S 1"], &[], 1, "value"),
        (&["token", "issue", "--user", "jiro", "--existing", "INV-0001"], &[], 1, "token-not-bound"),
        (&["token", "issue", "--user", "jiro", "--as", "user:taro"], &["4711", PASSWORD], 77, "may-not"),
        (
            &["token", "issue", "--user", "jiro", "--as", "user:jiro"],
            &["4711", "wrong"],
            77,
            "password-wrong",
        ),
        (&["token", "issue", "--user", "jiro", "--as", "master:master"], &["4711", PASSWORD], 77, "may-not"),
        (&["token", "confirm", "--user", "jiro"], &["12345678"], 1, "no-token"),
        (&["token", "confirm", "--user", "taro"], &[&code], 1, "active-already"),
        (
            &["token", "register", "--user", "jiro", "--serial", theirs],
            &["12345678", PASSWORD],
            1,
            "token-not-free",
        ),
        (
            &["token", "register", "--user", "jiro", "--serial", &long_serial],
            &["123456", PASSWORD],
            1,
            "value",
        ),
        (
            &["token", "register", "--user", "jiro", "--serial", "INV-0001"],
            &[&long_code, PASSWORD],
            1,
            "code-wrong",
        ),
        (&["token", "register", "--user", "jiro", "--serial", "INV-0001"], &["", PASSWORD], 1, "code-wrong"),
        (
            &["token", "register", "--user", "jiro", "--serial", "INV-0001"],
            &["１２３４５６", PASSWORD],
            1,
            "code-wrong",
        ),
        (&["token", "exchange", "--user", "jiro", "--serial", "INV-0001"], &["1", "2"], 1, "no-token"),
        (&["token", "exchange", "--user", "taro", "--serial", mine], &[&code, &code], 1, "token-not-free"),
        (&["token", "exchange", "--user", "taro", "--undo"], &[], 1, "nothing-to-undo"),
        (&["token", "revoke", "S999999999999"], &[], 1, "token-unknown"),
        (&["token", "revoke", "*"], &[], 1, "token-unknown"),
        (&["token", "revoke", ""], &[], 1, "value"),
        (&["token", "revoke", &long_serial], &[], 1, "value"),
        (
            &["token", "revoke", theirs, "--as", "master:master"],
            &[&master_code, PASSWORD],
            77,
            "other-contract",
        ),
        (&["token", "revoke", mine, "--as", "master:taro"], &[&code, PASSWORD], 77, "actor-role"),
        (&["token", "revoke", mine, "--as", "king:master"], &[], 1, "value"),
        (&["token", "revoke", mine, "--as", "master:"], &[&code, PASSWORD], 1, "value"),
        (&["token", "revoke", mine, "--as", "master:mallory"], &[&code, PASSWORD], 77, "actor-unknown"),
        (&["token", "revoke", mine, "--as", "counter:tanaka"], &[], 77, "role-not-yours"),
        (&["token", "suspend", "INV-0001"], &[], 1, "token-not-bound"),
        (&["token", "resume", mine], &[], 1, "not-suspended"),
        (&["token", "renew", mine], &[], 1, "no-end"),
        (&["token", "stop", "--user", "jiro"], &[], 1, "no-token"),
        (&["token", "resync", mine], &["12345678", "12345679"], 1, "not-in-a-row"),
        (&["token", "resync", mine], &["", ""], 1, "not-in-a-row"),
        (&["token", "list", "--state", "happy"], &[], 1, "value"),
        (&["token", "list", "--user", "mallory"], &[], 1, "user-unknown"),
        (&["token", "show", "no\u{200b}ne"], &[], 1, "value"),
        (&["request", "approve", "R1"], &[], 1, "request-unknown"),
        (&["request", "deny", "1 OR 1=1"], &[], 1, "request-unknown"),
        (&["explain", "--user", "mallory", "--client", BUSINESS], &[], 1, "user-unknown"),
        (&["explain", "--user", "taro", "--client", "mallory"], &[], 1, "client-unknown"),
        (
            &["explain", "--user", "taro", "--client", BUSINESS, "--operation", "fly"],
            &[],
            1,
            "operation-unknown",
        ),
        (&["why", "x"], &[], 1, "value"),
        (&["why", "00000000000000ff"], &[], 1, "nothing-known"),
    ];
    for (arguments, lines, code, reason) in table {
        let told = branch.run(&[arguments, &["--json"][..]].concat(), lines);
        assert_eq!(told.code, Some(*code), "{arguments:?}: {}{}", told.out, told.told);
        let json: serde_json::Value = serde_json::from_str(&told.out).unwrap_or_default();
        assert_eq!(json["refused"]["reason"], *reason, "{arguments:?}: {}", told.told);
        assert!(json["refused"]["why"].as_str().unwrap().len() > 15 && !told.told.trim().is_empty());
        assert!(
            !told.told.contains(PASSWORD) && told.told.lines().count() == 1,
            "{arguments:?}: {}",
            told.told
        );
    }
    assert_eq!(branch.world.slapd.dump(), before, "nothing in the directory has changed");
    // And nothing was used up: the codes that were refused for another reason still count.
    let _ = branch.done(&["token", "revoke", mine, "--as", "master:master"], &[&master_code, PASSWORD]);
}

#[test]
fn what_is_no_text_or_too_long_is_told_on_the_command_line() {
    let branch = bank();
    let run = |arguments: &[&OsStr], input: &[u8]| {
        let mut child = Command::new(daemon::binary())
            .args(arguments)
            .arg("--config")
            .arg(&branch.world.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let texts = |words: &[&'static str]| words.iter().map(|word| OsStr::new(*word)).collect::<Vec<_>>();
    let not_text = OsStr::from_bytes(b"ta\xffro");
    let confirm = texts(&["token", "confirm", "--user", "taro"]);
    let (code, told) = run(&[texts(&["user", "show"]).as_slice(), &[not_text]].concat(), b"");
    assert_eq!(code, Some(64), "{told}");
    let (code, told) = run(&confirm, b"1234\xff78\n");
    assert!(code == Some(64) && told.contains("not UTF-8"), "{told}");
    let (code, told) = run(&confirm, &[b'1'; 5000]);
    assert!(code == Some(64) && told.contains("at most 1024 octets"), "{told}");
    for words in [
        &["token", "issue"][..],
        &["token", "exchange", "--user", "taro"],
        &["token", "exchange", "--user", "taro", "--serial", "x", "--undo"],
        &["token", "issue", "--user", "taro", "--mail", "a@b.jp", "--existing", "x"],
        &["user", "login-code", "taro", "perhaps"],
        &["user", "release", "taro"],
        &["contract", "enable", "C-1"],
        &["request", "approve"],
    ] {
        let (code, told) = run(&words.iter().map(|word| OsStr::new(*word)).collect::<Vec<_>>(), b"");
        assert_eq!(code, Some(64), "{words:?}: {told}");
    }
}

#[test]
fn a_code_of_an_act_counts_once_and_wrong_ones_lock_like_in_a_login() {
    let branch = bank();
    let token = branch.issued("taro");
    let code = branch.code(&token, -60);
    let confirm = ["token", "confirm", "--user", "taro"];
    let _ = branch.done(&confirm, &[&code]);
    let stop = ["token", "stop", "--user", "taro", "--as", "user:taro"];
    let _ = branch.refused(&stop, &[&code, PASSWORD], 77, "code-used");
    for wrong in token.wrong_codes(5) {
        let _ = branch.refused(&stop, &[&wrong, PASSWORD], 77, "code-wrong");
    }
    let _ = branch.refused(&stop, &[&branch.code(&token, 0), PASSWORD], 1, "locked");
    assert_eq!(branch.state(&token.serial), "locked");
    assert!(branch.gateway(BUSINESS).operation("taro", &branch.field(&token, 0), "transfer").is_reject());
    assert_eq!(branch.world.last_reason("taro"), "locked");
    let _ = branch.done(&["user", "release", "taro", "--by", "counter"], &[]);
    let _ = branch.done(&stop, &[&branch.code(&token, 0), PASSWORD]);
}
