//! Tokens that were in use elsewhere come in with their users: whole files, and nothing counts twice.

use crate::harness::branch::{Branch, member};
use crate::harness::daemon::write;
use crate::harness::world::hex;
use crate::harness::{PASSWORD, Seed, WorldBuilder, hotp};

const SERVICE: &str = "shinkin-personal";

/// Five persons with enabled contracts, and one whose contract is not.
fn persons(change: impl FnOnce(WorldBuilder) -> WorldBuilder) -> Branch {
    let people = ["u1", "u2", "u3", "u4", "u5", "u6"];
    let people = people.map(|name| member(name, &format!("P-{name}"), "general", &[])).into();
    let branch = Branch::open_with(people, &[], change);
    for name in ["u1", "u2", "u3", "u4", "u5"] {
        branch.enable(&format!("P-{name}"), SERVICE);
    }
    branch
}

fn token(serial: &str, of: u8) -> Seed {
    Seed::new(serial, &hex(&[of; 20]), 6, 30)
}

fn file(branch: &Branch, name: &str, text: &str) -> String {
    write(branch.world.directory.path(), name, text).to_str().unwrap().to_owned()
}

fn approves(branch: &Branch, user: &str, code: &str) -> bool {
    branch.gateway(SERVICE).operation(user, code, "transfer").is_accept()
}

/// Imports a CSV file; the exit code and all that was said.
fn import(branch: &Branch, file: &str, more: &[&str]) -> (Option<i32>, String) {
    let ended = branch.run(&[&["token", "import", file, "--format", "csv"], more].concat(), &[]);
    (ended.code, ended.out + &ended.told)
}

#[test]
fn tokens_of_a_file_serve_their_users_at_once_and_a_repeated_import_changes_nothing() {
    let branch = persons(|builder| builder);
    let tokens: Vec<Seed> = (1..=4).map(|n| token(&format!("M-{n}"), n)).collect();
    let line = |token: &Seed, user: &str| format!("{},{},{user}\n", token.serial, token.secret_hex);
    let good = ["u1", "u2", "u3", ""].iter().zip(&tokens).map(|(user, token)| line(token, user));
    let good: String = std::iter::once("serial,secret-hex,user\n".to_owned()).chain(good).collect();
    let bad = [
        (token("B-1", 11), "nobody", "no user nobody is known to the directory"),
        (token("B-2", 12), "u6", "one-time passwords are not enabled for contract P-u6"),
        (token("B-3", 13), "U1", "its user is given another one (line 2: token M-1)"),
        (token("M-2", 14), "u4", "the serial number stands at line 3 already"),
    ];
    let all = good.clone() + &bad.iter().map(|(token, user, _)| line(token, user)).collect::<String>();
    let (good, all) = (file(&branch, "good.csv", &good), file(&branch, "all.csv", &all));

    let (code, said) = import(&branch, &all, &["--bind"]);
    assert_eq!(code, Some(1), "{said}");
    for ((token, _, why), at) in bad.iter().zip(6..) {
        let expected =
            if token.serial == "M-2" { String::new() } else { format!(" token {}:", token.serial) };
        assert!(said.contains(&format!("line {at}:{expected} {why}")), "line {at}: {said}");
    }
    assert!(said.contains("nothing was imported"), "{said}");
    let (_, said) = import(&branch, &good, &["--bind", "--dry-run", "--json"]);
    assert_eq!(said.trim(), r#"{"refused":0,"would_import":4}"#);
    let list = branch.json(&["token", "list"], &[]);
    assert_eq!(list.as_array().unwrap().len(), 0, "{list}");

    let (code, said) = import(&branch, &all, &["--bind", "--good-only"]);
    assert!(code == Some(0) && said.contains("imported 4 tokens, 4 refused"), "{said}");
    for (user, token) in ["u1", "u2", "u3"].iter().zip(&tokens) {
        assert_eq!(branch.tokens(user), [(token.serial.clone(), "active".into())]);
        assert!(approves(&branch, user, &branch.code(token, 0)), "{user}");
        assert!(!approves(&branch, user, PASSWORD), "the code has taken its place");
    }
    assert_eq!(branch.state("M-4"), "inventory");

    // The same once more: what is there is what is wanted, and codes stay used.
    let before = branch.world.slapd.dump();
    let (code, said) = import(&branch, &good, &["--bind", "--good-only"]);
    assert!(code == Some(0) && said.contains("imported 3 tokens, 1 refused"), "{said}");
    assert_eq!(branch.world.slapd.dump(), before, "nothing is written");
    assert!(!approves(&branch, "u1", &branch.code(&tokens[0], 0)), "used");
    // Another key under a known number, and another token for a user who has one.
    let other = format!("serial,secret-hex,user\nM-1,{},u1\nM-9,{},u2\n", hex(&[99; 20]), hex(&[98; 20]));
    let (code, said) = import(&branch, &file(&branch, "other.csv", &other), &["--bind"]);
    assert!(code == Some(1) && said.contains("line 2: token M-1: a token M-1 exists already"), "{said}");
    assert!(said.contains("line 3: token M-9:"), "{said}");
    assert!(approves(&branch, "u1", &branch.code(&tokens[0], 30)), "nothing was changed");
    let acts = branch.acts();
    assert_eq!(acts.iter().filter(|act| act.0 == "import" && act.1 == "begun").count(), 3, "{acts:?}");
}

#[test]
fn the_lists_of_privacyidea_and_linotp_say_whose_token_is_whose() {
    let branch = persons(|builder| builder);
    let tokens: Vec<Seed> = (1..=3).map(|n| token(&format!("L-{n}"), n)).collect();
    let export = format!(
        "u1@bank, L-1, {}, totp, 6, 30\nn/a, L-9, {}, totp, 6, 30\nu5@bank, L-8, {}, hotp, 6\n",
        tokens[0].secret_hex,
        hex(&[9; 20]),
        hex(&[8; 20])
    );
    let export = file(&branch, "privacyidea.csv", &export);
    let (code, said) = import(&branch, &export, &["--bind"]);
    let counter = "line 3: this layout does not say which counters are used up";
    assert!(code == Some(1) && said.contains(counter), "{said}");
    let (code, said) = import(&branch, &export, &["--bind", "--good-only"]);
    assert!(code == Some(0) && said.contains("imported 2 tokens, 1 refused"), "{said}");
    assert!(approves(&branch, "u1", &branch.code(&tokens[0], 0)));
    assert_eq!(branch.state("L-9"), "inventory");

    let version_2 =
        format!("# version: 2\nu2, resolver, realm, L-2, {}, totp, 6, 30\n", tokens[1].secret_hex);
    let (code, said) = import(&branch, &file(&branch, "v2.csv", &version_2), &["--bind"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(approves(&branch, "u2", &branch.code(&tokens[1], 0)));

    let keys = file(&branch, "keys.csv", &format!("L-3, {}, totp, 6, 30\n", tokens[2].secret_hex));
    let list = "'LinOtp.TokenId'; 'LinOtp.TokenSerialnumber'; 'User.username'; \n7; 'L-3'; 'u3'; \n8; 'X-1'; 'u4'; \n";
    let list = file(&branch, "linotp.csv", list);
    let (code, said) = import(&branch, &keys, &["--users", &keys]);
    assert!(
        code == Some(1) && said.contains("keys.csv, line 1: the first line must name the columns"),
        "{said}"
    );
    let (code, said) = import(&branch, &keys, &["--users", &list]);
    assert_eq!(code, Some(0), "{said}");
    assert!(approves(&branch, "u3", &branch.code(&tokens[2], 0)));
    let (_, said) = import(&branch, &export, &["--dry-run"]);
    assert!(said.contains("1 tokens name a user, who is left out"), "{said}");
}

#[test]
fn s_02_a_counter_that_was_used_counts_nowhere_again() {
    let (here, there) = (persons(|builder| builder), persons(|builder| builder));
    let key = hex(&[7; 20]);
    let keys = format!("serial,secret-hex,type,counter,user\nH-1,{key},hotp,40,u1\nH-2,{key},hotp,40,\n");
    let (code, said) = import(&here, &file(&here, "keys.csv", &keys), &["--bind"]);
    assert_eq!(code, Some(0), "{said}");
    let code = |counter| hotp(&key, 6, counter);
    assert!(!approves(&here, "u1", &code(39)), "used before it came");
    assert!(approves(&here, "u1", &code(40)));
    assert!(approves(&here, "u1", &code(43)));
    assert!(!approves(&here, "u1", &code(42)));
    let register = ["token", "register", "--user", "u2", "--serial", "H-2"];
    let _ = here.refused(&register, &[&code(39), PASSWORD], 1, "code-used");
    let _ = here.done(&register, &[&code(41), PASSWORD]);

    let out = here.world.directory.path().join("out.xml");
    let out = out.to_str().unwrap();
    let _ =
        here.done(&["token", "export", "--format", "pskc", "--output", out], &["a password for the file"]);
    let import = ["token", "import", out, "--format", "pskc", "--bind"];
    let _ = there.done(&import, &["a password for the file"]);
    for (user, used) in [("u1", 43), ("u2", 41)] {
        for counter in [0, used - 1, used] {
            assert!(!approves(&there, user, &code(counter)), "{user}: {counter}");
        }
        assert!(approves(&there, user, &code(used + 1)), "{user}: the next one");
    }
}

#[test]
fn where_a_registration_takes_two_persons_no_import_binds() {
    let branch = persons(|builder| WorldBuilder {
        environment: [
            builder.environment.clone(),
            vec![("SEKISHO__ADMIN__FOUR_EYES".into(), "[\"register\"]".into())],
        ]
        .concat(),
        ..builder
    });
    let keys = file(&branch, "keys.csv", &format!("serial,secret-hex,user\nM-1,{},u1\n", hex(&[1; 20])));
    let (code, said) = import(&branch, &keys, &["--bind"]);
    assert!(code == Some(77) && said.contains("register needs a second person"), "{said}");
    assert_eq!(branch.json(&["token", "list"], &[]).as_array().unwrap().len(), 0);
}
