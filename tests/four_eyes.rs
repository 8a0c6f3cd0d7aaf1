//! Acts that need a second person, and what there is to see without using anything up.

use crate::harness::branch::{Branch, member};
use crate::harness::{PASSWORD, Person, WorldBuilder};
use serde_json::Value;

const BUSINESS: &str = "kenshin-business";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A bank where a revocation and an issue need two persons, and root may speak for all of its counter.
fn careful(people: Vec<Person>) -> Branch {
    let admin = "[[admin.operator]]\nname = \"root\"\nas = [\"counter\", \"counter:*\", \"auditor:*\", \"master:*\", \"user:*\"]\n\
                 [[admin.operator]]\nname = \"daemon\"\nas = [\"counter\", \"counter:*\", \"auditor:*\", \"master:*\", \"user:*\"]\n";
    Branch::open_with(people, &[], |builder| WorldBuilder {
        more: admin.into(),
        environment: [
            builder.environment.clone(),
            vec![("SEKISHO__ADMIN__FOUR_EYES".into(), "[\"revoke\", \"issue\"]".into())],
        ]
        .concat(),
        ..builder
    })
}

#[test]
fn a_second_person_approves_the_very_act_and_never_the_same_person() {
    let mut branch = careful(vec![member("taro", "C-1", "general", &[])]);
    branch.enable("C-1", BUSINESS);
    let asked = branch.json(&["token", "issue", "--user", "taro", "--as", "counter:tanaka"], &["4711"]);
    let id = text(&asked["pending"]["id"]).to_owned();
    assert!(text(&asked["pending"]["what"]).contains("issue a token to taro"));
    assert_eq!(branch.tokens("taro"), [], "nothing has happened yet");
    let approve = |who: &'static str, id: &str| {
        vec!["request".to_owned(), "approve".into(), id.into(), "--as".into(), who.into()]
    };
    let refused = |branch: &Branch, arguments: &[String], code, reason| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let _ = branch.refused(&arguments, &[], code, reason);
    };
    refused(&branch, &approve("counter:tanaka", &id), 77, "same-person");
    refused(&branch, &approve("auditor:sato", &id), 77, "may-not");
    refused(&branch, &approve("counter:sato", "R99"), 1, "request-unknown");
    assert_eq!(branch.tokens("taro"), []);

    // It survives a restart, and neither file nor list holds the start password.
    branch.reopen_later(60);
    let list = branch.json(&["request", "list"], &[]);
    assert_eq!((list.as_array().unwrap().len(), text(&list[0]["state"])), (1, "pending"));
    assert_eq!(text(&list[0]["asked_by"]), "counter:tanaka");
    let kept = std::fs::read(branch.world.directory.path().join("state/requests.redb")).unwrap();
    assert!(!kept.windows(6).any(|window| window == b"\"4711\""));
    let issued = branch.json(&["request", "approve", &id, "--as", "counter:sato"], &[]);
    let token = branch.set_up(&issued, "4711");
    refused(&branch, &approve("counter:suzuki", &id), 1, "decided-already");
    let _ = branch.done(&["token", "confirm", "--user", "taro"], &[&branch.code(&token, 0)]);

    // Denied, and expired.
    let revoke = ["token", "revoke", &token.serial, "--as", "counter:tanaka"];
    let asked = branch.json(&revoke, &[]);
    let _ = branch.done(&["request", "deny", text(&asked["pending"]["id"]), "--as", "counter:sato"], &[]);
    let asked = branch.json(&revoke, &[]);
    let late = text(&asked["pending"]["id"]).to_owned();
    branch.reopen_later(25 * 3600);
    refused(&branch, &approve("counter:sato", &late), 1, "request-expired");
    assert_eq!(branch.state(&token.serial), "active");
    let all = branch.json(&["request", "list", "--all"], &[]);
    let states: Vec<&str> = all.as_array().unwrap().iter().map(|request| text(&request["state"])).collect();
    assert_eq!(states, ["approved", "denied", "expired"]);
    assert!(branch.done(&["request", "list"], &[]).is_empty());

    let evidence = branch.world.audit();
    let done = evidence.iter().find(|line| line["event"] == "issue" && line["outcome"] == "done").unwrap();
    assert_eq!((text(&done["actor"]), text(&done["asked_by"])), ("counter:sato", "counter:tanaka"));
    // What does not fit any more when it is approved is refused then.
    let asked = branch.json(&revoke, &[]);
    let again = branch.json(&revoke, &[]);
    let _ = branch.done(&["request", "approve", text(&asked["pending"]["id"]), "--as", "counter:sato"], &[]);
    refused(&branch, &approve("counter:sato", text(&again["pending"]["id"])), 1, "token-revoked");
}

#[test]
fn what_was_asked_for_is_not_approved_when_whoever_asked_has_lost_the_right() {
    let branch = careful(vec![
        member("taro", "C-1", "general", &[(8, 60)]),
        member("master", "C-1", "master", &[(8, 60)]),
    ]);
    branch.enable("C-1", BUSINESS);
    let serial = branch.world.token("taro", 0).serial.clone();
    let revoke = |who: &str, lines: &[&str]| {
        let asked = branch.json(&["token", "revoke", &serial, "--as", who], lines);
        text(&asked["pending"]["id"]).to_owned()
    };
    let not_approved = |id: &str, by: &str| {
        let _ = branch.refused(&["request", "approve", id, "--as", by], &[], 1, "asker-may-not");
        assert_eq!(branch.state(&serial), "active");
    };
    let reload = |change: &dyn Fn(String) -> String| {
        let before = branch.world.daemon.events("reloaded").len();
        branch.world.reconfigure(change);
        branch.world.daemon.signal("HUP");
        branch.wait_until("the reload", || branch.world.daemon.events("reloaded").len() > before);
    };
    let code = branch.code(branch.world.token("master", 0), 0);
    let by_master = revoke("master:master", &[&code, PASSWORD]);
    let by_tanaka = revoke("counter:tanaka", &[]);
    let [by_yamada, by_suzuki] = ["counter:yamada", "counter:suzuki"].map(|who| revoke(who, &[]));

    // The directory gives the master user another role.
    branch.world.slapd.change(
        "dn: uid=master,ou=people,dc=example,dc=jp\nchangetype: modify\nreplace: sekishoRole\nsekishoRole: general\n",
    );
    branch.wait_until("the other role", || {
        text(&branch.json(&["user", "show", "master"], &[])["role"]) != "master"
    });
    not_approved(&by_master, "counter:sato");
    let _ = branch.refused(
        &["request", "approve", &by_master, "--as", "counter:sato"],
        &[],
        1,
        "decided-already",
    );

    // Configuration lets the caller speak for the counter under its own name alone.
    reload(&|text| text.replace("\"counter:*\", ", ""));
    not_approved(&by_tanaka, "counter");

    // Configuration takes the act from the counter, and gives it back.
    let operator = "[[admin.operator]]\nname = \"root\"";
    let all = "\"counter\", \"counter:*\", ";
    let may = format!("[admin.may]\nrevoke = [\"master\"]\n{operator}");
    reload(&|text| text.replace("\"counter\", ", all).replace(operator, &may));
    not_approved(&by_yamada, "counter:sato");
    reload(&|text| text.replace(&may, operator));
    let _ = branch.done(&["request", "approve", &by_suzuki, "--as", "counter:sato"], &[]);
    assert_eq!(branch.state(&serial), "revoked");

    let evidence = branch.world.audit();
    let refused: Vec<&str> = evidence
        .iter()
        .filter(|line| line["reason"] == "asker-may-not")
        .map(|line| text(&line["asked_by"]))
        .collect();
    assert_eq!(refused, ["master", "counter:tanaka", "counter:yamada"]);
}

#[test]
fn explain_and_why_use_nothing_up_and_show_no_secret() {
    let branch = Branch::open(vec![
        member("taro", "C-1", "general", &[(8, 60)]),
        member("jiro", "C-1", "general", &[]),
    ]);
    branch.enable("C-1", BUSINESS);
    let token = branch.world.token("taro", 0).clone();
    let explain = |user: &str, operation: &str| {
        branch.done(&["explain", "--user", user, "--client", BUSINESS, "--operation", operation], &[])
    };
    let steps = explain("taro", "transfer");
    for word in ["service profile kenshin-business", "code = required", "SN-taro-0", "8 digits", "C-1"] {
        assert!(steps.contains(word), "{word} in {steps}");
    }
    assert!(!steps.contains(PASSWORD) && !steps.contains(&token.secret_hex));
    assert!(explain("taro", "login").contains("neither needed nor checked"));
    assert!(explain("jiro", "transfer").contains("no token can show one now"));
    let arguments =
        |user, client, operation| ["explain", "--user", user, "--client", client, "--operation", operation];
    let _ = branch.run(&arguments("taro", "nobody", "transfer"), &[]);
    for (user, client, operation) in
        [("nobody", BUSINESS, "transfer"), ("taro", "nobody", "transfer"), ("taro", BUSINESS, "fly")]
    {
        let ended = branch.run(&arguments(user, client, operation), &[]);
        assert_eq!(ended.code, Some(1), "{user} {client} {operation}: {}", ended.told);
    }
    let gateway = branch.gateway(BUSINESS);
    let code = branch.code(&token, 0);
    assert!(
        gateway.operation("taro", &format!("{PASSWORD}{code}"), "transfer").is_accept(),
        "nothing was used up"
    );
    let request = branch.world.audit().pop().unwrap()["request"].as_str().unwrap().to_owned();
    let told = branch.done(&["why", &request], &[]);
    assert!(told.contains("accept code-accepted") && told.contains("taro"), "{told}");
    assert!(!told.contains(&code) && !told.contains(PASSWORD));
    assert_eq!(branch.json(&["why", &request], &[]).as_array().unwrap().len(), 1);
    // The file is moved away, as logrotate does it; what was decided stays known.
    let audit = branch.world.directory.path().join("audit.jsonl");
    std::fs::rename(&audit, audit.with_extension("jsonl.1")).unwrap();
    branch.world.daemon.signal("HUP");
    branch.wait_until("a new audit file", || audit.exists());
    assert_eq!(branch.done(&["why", &request], &[]), told);
    for (id, reason) in [("0000000000000000", "nothing"), ("../../etc/passwd", "16 hexadecimal")] {
        let ended = branch.run(&["why", id], &[]);
        assert!(
            ended.code == Some(1) && (ended.told.contains(reason) || ended.told.contains("no line")),
            "{id}: {}",
            ended.told
        );
    }
}
