//! Files with tokens: into the inventory of one bank, out of it encrypted, and into that of another.

use crate::harness::daemon::write;
use crate::harness::world::hex;
use crate::harness::{Daemon, PASSWORD, Person, World, WorldBuilder, holder, hotp, slapd, totp};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

const SERVICE: &str = "[service.test]\ndigits = 6\nperiod = \"30s\"\nreject-delay = \"0s\"\n";

fn bank() -> World {
    let entry = "objectClass: sekishoUser\nsekishoContract: c-1\nsekishoRole: master\n".to_owned();
    let builder = WorldBuilder {
        people: vec![Person { entry, ..holder("u1", vec![]) }],
        service: SERVICE.into(),
        ldap: "seal-key-file = \"seal.key\"\n".into(),
        slapd: slapd::Options { writable: true, ..slapd::Options::default() },
        ..WorldBuilder::default()
    };
    let mut world = builder.prepare();
    write(world.directory.path(), "seal.key", "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    world.restart(drop);
    world
}

fn key(of: u8) -> String {
    hex(&[of; 20])
}

fn file(world: &World, name: &str, text: &str) -> String {
    write(world.directory.path(), name, text).to_str().unwrap().to_owned()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Serial numbers in the inventory.
fn inventory(world: &World) -> Vec<String> {
    let list = world.done(&["token", "list", "--state", "inventory", "--json"], "");
    let tokens: serde_json::Value = serde_json::from_str(&list).unwrap();
    let serials = tokens.as_array().unwrap().iter().map(|token| token["serial"].as_str().unwrap().to_owned());
    serials.collect()
}

fn refused(world: &World, arguments: &[&str], input: &str) -> Output {
    let output = world.command(arguments, input);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stderr));
    output
}

#[test]
fn s_16_a_file_comes_into_the_inventory_whole_or_not_at_all_and_a_user_takes_a_token() {
    let world = bank();
    let good = format!(
        "serial,secret-hex,digits,period,ends\nA-1,{},6,30,\nA-2,{},8,60,2035-01-01T00:00:00Z\n",
        key(1),
        key(2)
    );
    let (good, bad) =
        (file(&world, "good.csv", &good), file(&world, "bad.csv", &format!("{good}B-1,zz,6,30,\n")));
    let import = |file: &str, more: &[&str]| {
        world.command(&[&["token", "import", file, "--format", "csv"], more].concat(), "")
    };
    let output = import(&bad, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("line 4: the token's key is not hexadecimal"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(inventory(&world), [""; 0], "all or nothing");
    let dry = import(&good, &["--dry-run", "--json"]);
    assert_eq!(text(&dry.stdout).trim(), r#"{"refused":0,"would_import":2}"#, "{}", text(&dry.stderr));
    assert_eq!(inventory(&world), [""; 0]);
    let output = import(&bad, &["--good-only"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout).trim()),
        (Some(0), "imported 2 tokens, 1 refused")
    );
    assert_eq!(inventory(&world), ["A-1", "A-2"]);
    let again = import(&good, &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("line 2: token A-1: it is in the directory already"),
        "{}",
        text(&again.stderr)
    );

    world.done(&["contract", "enable", "c-1", "--service", "test"], "");
    let code = totp(&key(1), 6, 30, 0);
    world.done(&["token", "register", "--user", "u1", "--serial", "A-1"], &format!("{code}\n{PASSWORD}\n"));
    let shown: serde_json::Value =
        serde_json::from_str(&world.done(&["token", "show", "A-1", "--json"], "")).unwrap();
    assert_eq!((&shown["state"], &shown["user"]), (&"active".into(), &"u1".into()), "{shown}");
    assert!(!world.daemon.log().contains(&key(1)));
}

#[test]
fn tokens_go_out_encrypted_and_come_in_at_another_bank() {
    let (here, there) = (bank(), bank());
    let list = format!(
        "T-1 otpauth://totp/Bank:u1?secret={}&digits=6&period=30\n",
        data_encoding::BASE32_NOPAD.encode(&[3; 20])
    );
    let list = file(&here, "list.txt", &list);
    here.done(&["token", "import", &list, "--format", "otpauth"], "");
    let out = here.directory.path().join("out.xml");
    let out = out.to_str().unwrap();
    let export = ["token", "export", "--format", "pskc", "--output", out];
    let short = here.command(&export, "short\n");
    assert_eq!(short.status.code(), Some(64), "{}", text(&short.stderr));
    here.done(&export, "a password for the file\n");
    let written = std::fs::read_to_string(out).unwrap();
    assert!(written.contains("<SerialNo>T-1</SerialNo>") && written.contains("ValueMAC"), "{written}");
    assert!(!written.contains(&data_encoding::BASE64.encode(&[3; 20])), "no key is in clear");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        here.command(&export, "a password for the file\n").status.code(),
        Some(74),
        "nothing is overwritten"
    );

    let import = ["token", "import", out, "--format", "pskc"];
    let wrong = refused(&there, &import, "another password\n");
    assert!(text(&wrong.stderr).contains("KeyPackage[1]/Key"), "{}", text(&wrong.stderr));
    assert_eq!(inventory(&there), [""; 0]);
    there.done(&import, "a password for the file\n");
    there.done(&["contract", "enable", "c-1", "--service", "test"], "");
    let code = totp(&hex(&[3; 20]), 6, 30, 0);
    there.done(&["token", "register", "--user", "u1", "--serial", "T-1"], &format!("{code}\n{PASSWORD}\n"));

    let pre_shared = "000102030405060708090a0b0c0d0e0f\n";
    let sealed =
        here.done(&["token", "export", "--format", "pskc", "--pre-shared-key", "branch"], pre_shared);
    let sealed = file(&there, "sealed.xml", &sealed.replace("T-1", "T-9"));
    // The initial vectors are made from the serial number, the MACs are not: a renamed token is still verified.
    there.done(&["token", "import", &sealed, "--format", "pskc"], pre_shared);
    let exported = here.audit().into_iter().filter(|line| line["event"] == "export").count();
    assert_eq!(exported, 2, "each page of keys is in the evidence");
}

#[test]
fn a_counter_token_on_stock_is_synchronised_after_a_restore_before_a_user_takes_it() {
    let mut world = bank();
    let list = format!(
        "H-1 otpauth://hotp/Bank:u1?secret={}&digits=6&counter=0\n",
        data_encoding::BASE32_NOPAD.encode(&[3; 20])
    );
    let list = file(&world, "list.txt", &list);
    world.done(&["token", "import", &list, "--format", "otpauth"], "");
    world.done(&["contract", "enable", "c-1", "--service", "test"], "");
    let copy = world.directory.path().join("copy");
    world.done(&["state", "backup", "--to", copy.to_str().unwrap()], "");
    std::mem::replace(&mut world.daemon, Daemon::nothing()).kill();
    std::fs::remove_dir_all(world.directory.path().join("state")).unwrap();
    world.done(&["state", "restore", "--from", copy.to_str().unwrap()], "");
    world.restart(drop);

    let code = |counter| hotp(&hex(&[3; 20]), 6, counter);
    let register = ["token", "register", "--user", "u1", "--serial", "H-1"];
    let output = world.command(&register, &format!("{}\n{PASSWORD}\n", code(0)));
    assert_eq!(output.status.code(), Some(1), "nobody knows whether it was used: {}", text(&output.stderr));
    world.done(&["token", "resync", "H-1"], &format!("{}\n{}\n", code(1), code(2)));
    world.done(&register, &format!("{}\n{PASSWORD}\n", code(3)));
}

#[test]
fn files_that_are_none_are_refused_and_change_nothing() {
    let world = bank();
    for (name, content, format, expected) in [
        ("a.xml", "<x/>", "pskc", "the outermost element must be KeyContainer"),
        (
            "b.xml",
            "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>",
            "pskc",
            "it has a document type",
        ),
        ("c.csv", "serial,key\n1,2\n", "csv", "line 1: the column key is not known"),
        ("d.txt", "hello\n", "otpauth", "line 1: the URI must begin with otpauth://"),
        ("e.csv", "", "csv", "there is no token in it"),
        (
            "f.csv",
            "S-1,3132333435363738393031323334353637383930,hotp,6,9007199254740993\n",
            "csv",
            "the counter cannot be meant: at most 2^53",
        ),
    ] {
        let path = file(&world, name, content);
        let output = refused(&world, &["token", "import", &path, "--format", format], "");
        assert!(text(&output.stderr).contains(expected), "{name}: {}", text(&output.stderr));
    }
    assert_eq!(
        world.command(&["token", "import", "/nonexistent", "--format", "csv"], "").status.code(),
        Some(74)
    );
    assert_eq!(world.command(&["token", "import", "x", "--format", "xls"], "").status.code(), Some(64));
    assert_eq!(inventory(&world), [""; 0]);
}

/// What OpenSSL makes of octets.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is needed: apt-get install openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

/// The initial vector and the ciphertext of a value.
fn encrypted(cipher: &str, key: &str, value: &[u8]) -> Vec<u8> {
    let vector = hex(&[9; 16]);
    [vec![9; 16], openssl(&["enc", &format!("-{cipher}"), "-K", key, "-iv", &vector], value)].concat()
}

#[test]
fn containers_under_longer_keys_come_in_and_go_out() {
    let world = bank();
    for (cipher, octets) in [("aes-192-cbc", 24_u8), ("aes-256-cbc", 32)] {
        let shared = hex(&(0..octets).collect::<Vec<u8>>());
        let name = format!("http://www.w3.org/2001/04/xmlenc#{}", cipher.replacen("-", "", 1));
        let mac_key = [4; 20];
        let value = encrypted(cipher, &shared, &[octets; 20]);
        let mac =
            ["dgst", "-sha1", "-binary", "-mac", "hmac", "-macopt", &format!("hexkey:{}", hex(&mac_key))];
        let mac = openssl(&mac, &value);
        let base64 = |octets: &[u8]| data_encoding::BASE64.encode(octets);
        let cipher_value = |octets: &[u8]| {
            format!(
                "<x:EncryptionMethod Algorithm=\"{name}\"/><x:CipherData><x:CipherValue>{}</x:CipherValue></x:CipherData>",
                base64(octets)
            )
        };
        let container = format!(
            "<KeyContainer Version=\"1.0\" xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\" xmlns:d=\"http://www.w3.org/2000/09/xmldsig#\" \
             xmlns:x=\"http://www.w3.org/2001/04/xmlenc#\"><EncryptionKey><d:KeyName>k</d:KeyName></EncryptionKey>\
             <MACMethod Algorithm=\"http://www.w3.org/2000/09/xmldsig#hmac-sha1\"><MACKey>{}</MACKey></MACMethod>\
             <KeyPackage><DeviceInfo><SerialNo>K-{octets}</SerialNo></DeviceInfo>\
             <Key Id=\"1\" Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:totp\">\
             <AlgorithmParameters><ResponseFormat Length=\"6\" Encoding=\"DECIMAL\"/></AlgorithmParameters>\
             <Data><Secret><EncryptedValue>{}</EncryptedValue><ValueMAC>{}</ValueMAC></Secret>\
             <TimeInterval><PlainValue>30</PlainValue></TimeInterval></Data></Key></KeyPackage></KeyContainer>",
            cipher_value(&encrypted(cipher, &shared, &mac_key)),
            cipher_value(&value),
            base64(&mac)
        );
        let path = file(&world, &format!("{octets}.xml"), &container);
        let import = ["token", "import", &path, "--format", "pskc"];
        let short = refused(&world, &import, "000102030405060708090a0b0c0d0e0f\n");
        assert!(text(&short.stderr).contains("takes a key of another length"), "{}", text(&short.stderr));
        world.done(&import, &format!("{shared}\n"));
        let export = ["token", "export", "--format", "pskc", "--pre-shared-key", "k"];
        assert!(world.done(&export, &format!("{shared}\n")).contains(&name));
    }
    world.done(&["contract", "enable", "c-1", "--service", "test"], "");
    let code = totp(&key(32), 6, 30, 0);
    world.done(&["token", "register", "--user", "u1", "--serial", "K-32"], &format!("{code}\n{PASSWORD}\n"));
}
