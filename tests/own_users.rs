//! Users of the embedded directory: added, given a token, and removed, by the commands of the counter.

use crate::harness::daemon::{run, write};
use crate::harness::https::{self, Https};
use crate::harness::world::hex;
use crate::harness::{Daemon, Gateway, PASSWORD, SECRET, World, totp};
use serde_json::Value;

const CONFIG: &str = r#"
[radius]
listen = ["127.0.0.1:0"]
[[radius.client]]
name = "gateway"
network = "127.0.0.1/32"
secret-file = "gateway.secret"
service = "test"
[service.test]
digits = 6
period = "30s"
reject-delay = "0s"
[directory]
kind = "embedded"
[directory.embedded]
folder = "users"
[state]
directory = "state"
[http]
listen = "127.0.0.1:0"
[admin]
socket = "admin.sock"
[audit]
file = "audit.jsonl"
"#;

/// What a command came to: exit code and all that it said.
fn said(config: &str, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let output = run(&[arguments, &["--config", config]].concat(), input);
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn users_of_the_embedded_directory_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "sekisho.toml", CONFIG);
    write(directory.path(), "gateway.secret", SECRET);
    std::fs::create_dir(directory.path().join("users")).unwrap();
    let daemon = Daemon::start_with(&path, &[]);
    let gateway = Gateway::new(daemon.radius[0], SECRET);
    let config = path.to_str().unwrap();
    let password = format!("{PASSWORD}\n");
    let done = |arguments: &[&str]| {
        let (code, text) = said(config, arguments, &password);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    };
    let refused = |arguments: &[&str], input: &str, reason: &str| {
        let (code, text) = said(config, &[arguments, &["--json"]].concat(), input);
        assert!(
            code == Some(1) && text.contains(&format!("\"reason\":\"{reason}\"")),
            "{arguments:?}: {text}"
        );
    };
    let users = || -> Vec<Value> { serde_json::from_str(&done(&["user", "list", "--json"])).unwrap() };

    let add = ["user", "add", "taro", "--contract", "C-1", "--role", "master", "--mail", "taro@example.jp"];
    assert!(done(&[&add[..], &["--dry-run"]].concat()).contains("would add user taro"));
    refused(&["user", "add", "taro", "--role", "king"], &password, "value");
    refused(&["user", "add", "taro", "--mail", "nobody"], &password, "value");
    refused(&["user", "add", "ta\u{7}ro"], &password, "value");
    refused(&["user", "add", &"t".repeat(254)], &password, "value");
    refused(&["user", "add", "taro", "--contract", ""], &password, "value");
    refused(&["user", "add", "taro", "--contract", &"c".repeat(300)], &password, "value");
    refused(&["user", "add", "taro"], "\n", "value");
    refused(&["user", "add", "taro"], &format!("{}\n", "x".repeat(200)), "value");
    assert!(users().is_empty());
    let _ = done(&add);
    refused(&add, &password, "exists-already");
    refused(&["user", "add", "TARO"], &password, "exists-already");
    let _ = done(&["user", "add", "jiro"]);
    let shown = users();
    assert_eq!((&shown[1]["user"], &shown[1]["role"]), (&"taro".into(), &"master".into()), "{shown:?}");

    let _ = done(&["contract", "enable", "C-1", "--service", "test"]);
    let key = hex(&[3; 20]);
    let keys = write(directory.path(), "keys.csv", &format!("serial,secret-hex,user\nE-1,{key},taro\n"));
    let _ = done(&["token", "import", keys.to_str().unwrap(), "--format", "csv", "--bind"]);
    let field = |offset| format!("{PASSWORD}{}", totp(&key, 6, 30, offset));
    assert!(gateway.login("taro", &field(0)).is_accept());

    let remove = ["user", "remove", "taro"];
    assert!(done(&[&remove[..], &["--dry-run"]].concat()).contains("would remove taro"));
    assert_eq!(users().len(), 2);
    let _ = done(&remove);
    assert!(gateway.login("taro", &field(30)).is_reject());
    refused(&remove, "", "user-unknown");
    assert_eq!(users().len(), 1);
    let tokens: Vec<Value> = serde_json::from_str(&done(&["token", "list", "--json"])).unwrap();
    assert!(tokens.is_empty(), "{tokens:?}");
    let audit = std::fs::read_to_string(directory.path().join("audit.jsonl")).unwrap();
    for act in
        ["\"event\":\"user-add\",\"outcome\":\"done\"", "\"event\":\"user-remove\",\"outcome\":\"done\""]
    {
        assert!(audit.contains(act), "{act}: {audit}");
    }
    assert!(!audit.contains(PASSWORD));
}

#[test]
fn the_api_does_the_same_and_refuses_the_same() {
    const TOKEN: &str = "a-token-of-the-counter-with-much-to-guess";
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = https::certificate();
    let api = "listen = \"127.0.0.1:0\"\ntls-certificate = \"http.pem\"\ntls-key = \"http.key\"\n\
               [[http.caller]]\nname = \"counter-system\"\ntoken-file = \"counter.token\"\n\
               [[admin.operator]]\nname = \"counter-system\"\nas = [\"counter\"]\n";
    let config = CONFIG.replace("[http]\nlisten = \"127.0.0.1:0\"\n", &format!("[http]\n{api}"));
    let path = write(directory.path(), "sekisho.toml", &config);
    for (file, text) in
        [("gateway.secret", SECRET), ("http.pem", &certificate), ("http.key", &key), ("counter.token", TOKEN)]
    {
        write(directory.path(), file, text);
    }
    std::fs::create_dir(directory.path().join("users")).unwrap();
    let daemon = Daemon::start_with(&path, &[]);
    let address = daemon.http;
    let counter =
        Https { address, authority: Some(certificate), token: TOKEN.into(), acts_as: String::new() };
    let users = || counter.get("/v1/users").json()["users"].as_array().unwrap().len();

    for body in [
        format!(r#"{{"user":"","password":"{PASSWORD}"}}"#),
        format!(r#"{{"user":"{}","password":"{PASSWORD}"}}"#, "t".repeat(254)),
        format!(r#"{{"user":"taro","password":"{PASSWORD}","role":"king"}}"#),
        format!(r#"{{"user":"taro","password":"{PASSWORD}","mail":"nobody"}}"#),
        format!(r#"{{"user":"taro","password":"{PASSWORD}","contract":""}}"#),
        r#"{"user":"taro","password":""}"#.to_owned(),
        r#"{"user":"taro"}"#.to_owned(),
    ] {
        let refused = counter.post("/v1/users", &body);
        assert!([400, 422].contains(&refused.status), "{body}: {refused:?}");
        assert_eq!(users(), 0);
    }
    let taro = format!(r#"{{"user":"taro","password":"{PASSWORD}","role":"admin"}}"#);
    assert!((200..300).contains(&counter.post("/v1/users?dry-run=true", &taro).status));
    assert_eq!(users(), 0);
    let added = counter.post("/v1/users", &taro);
    assert!((200..300).contains(&added.status), "{added:?}");
    assert_eq!(counter.post("/v1/users", &taro).reason(), "exists-already");
    assert_eq!(users(), 1);
    let removed = counter.post("/v1/users/taro/remove", "");
    assert!((200..300).contains(&removed.status), "{removed:?}");
    assert_eq!(counter.post("/v1/users/taro/remove", "").reason(), "user-unknown");
    assert_eq!(users(), 0);
}

#[test]
fn users_of_an_ldap_directory_are_left_to_its_own_tools() {
    let world = World::open();
    let before = world.slapd.dump();
    for (arguments, input) in
        [(["user", "add", "zoe", "--json"], "a password\n"), (["user", "remove", "alice", "--json"], "")]
    {
        let output = world.command(&arguments, input);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(1) && text.contains("users-elsewhere"), "{text}");
    }
    assert_eq!(world.slapd.dump(), before);
}
