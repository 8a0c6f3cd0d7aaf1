//! The schema files that ship in `conf/ldap` are what a real slapd takes, and both forms say the same.

use std::path::{Path, PathBuf};
use std::process::Command;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/ldap/sekisho.schema");
const LDIF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/ldap/sekisho.ldif");

const ENTRIES: &str = "\
dn: dc=x
objectClass: domain
dc: x

dn: uid=u1,dc=x
objectClass: account
objectClass: sekishoUser
uid: u1
sekishoContract: C-1
sekishoRole: master
sekishoLoginCode: not-required
sekishoPendingToken: cn=t1,dc=x
sekishoFormerToken: cn=t2,dc=x
sekishoReissueFrom: 20260821093000Z

dn: cn=t1,dc=x
objectClass: device
objectClass: sekishoToken
cn: t1
sekishoContract: C-1
sekishoService: kenshin-business
sekishoTokenState: active
sekishoTokenStateTime: 20260821093000Z
sekishoNotBefore: 20260821093000Z
sekishoNotAfter: 20290821093000Z
sekishoOwner: 1b4e28ba-2fa1-11d2-883f-0016d3cca427
sekishoOwner: 2b4e28ba-2fa1-11d2-883f-0016d3cca427
sekishoSetupService: 12345678
sekishoSetupUser: 87654321
sekishoSetupPassword: $argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA
sekishoSetupFailures: 1
sekishoSetupUntil: 20260828093000Z

dn: sekishoContract=C-1,dc=x
objectClass: sekishoContractEntry
sekishoContract: C-1
sekishoService: kenshin-business
";

/// Runs one of slapd's tools; what it printed, if it failed.
fn run(tool: &str, arguments: &[&str]) -> Result<(), String> {
    let found =
        ["/usr/sbin", "/usr/lib/openldap", "/usr/libexec"].iter().map(|folder| Path::new(folder).join(tool));
    let tool = found
        .into_iter()
        .find(|tool| tool.exists())
        .expect("install OpenLDAP's slapd: this test needs its tools");
    let output = Command::new(tool).args(arguments).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// A configuration folder of slapd with these schema files, and an empty database.
fn configured(folder: &Path, name: &str, more: &str) -> PathBuf {
    let schemas = ["/etc/ldap/schema", "/etc/openldap/schema"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap();
    let (config, database) = (folder.join(name), folder.join(format!("{name}.database")));
    std::fs::create_dir(&config).unwrap();
    std::fs::create_dir(&database).unwrap();
    let text = format!(
        "include {schemas}/core.schema\ninclude {schemas}/cosine.schema\n{more}\
         database ldif\nsuffix dc=x\ndirectory {}\n",
        database.display()
    );
    let file = folder.join(format!("{name}.conf"));
    std::fs::write(&file, text).unwrap();
    run("slaptest", &["-f", file.to_str().unwrap(), "-F", config.to_str().unwrap()]).unwrap();
    config
}

/// The definitions that slapd holds after loading, without their numbering.
fn definitions(config: &Path) -> Vec<String> {
    let schemas = std::fs::read_dir(config.join("cn=config/cn=schema")).unwrap();
    let ours =
        schemas.map(|entry| entry.unwrap().path()).find(|path| path.to_string_lossy().contains("sekisho"));
    let text = std::fs::read_to_string(ours.unwrap()).unwrap().replace("\n ", "");
    let lines = text.lines().filter(|line| line.starts_with("olc"));
    lines.map(|line| line.split_once('}').map_or(line, |(_, definition)| definition).to_owned()).collect()
}

#[test]
fn slapd_takes_both_forms_of_our_schema_and_they_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let by_include = configured(folder.path(), "include", &format!("include {SCHEMA}\n"));
    let by_ldif = configured(folder.path(), "ldif", "");
    run("slapadd", &["-n", "0", "-F", by_ldif.to_str().unwrap(), "-l", LDIF]).unwrap();
    assert_eq!(definitions(&by_include), definitions(&by_ldif));
    assert!(definitions(&by_ldif).len() > 10);

    let entries = folder.path().join("entries.ldif");
    for config in [&by_include, &by_ldif] {
        let load = |text: &str| {
            std::fs::write(&entries, text).unwrap();
            run("slapadd", &["-n", "1", "-F", config.to_str().unwrap(), "-l", entries.to_str().unwrap()])
        };
        load(ENTRIES).unwrap();
        let twice = "dn: uid=u2,dc=x\nobjectClass: account\nobjectClass: sekishoUser\nuid: u2\nsekishoRole: admin\nsekishoRole: master\n";
        assert!(load(twice).unwrap_err().contains("sekishoRole"));
    }
}

#[test]
fn every_attribute_of_ours_that_is_read_is_in_the_schema() {
    let schema = std::fs::read_to_string(SCHEMA).unwrap();
    let layout = super::Layout::oath();
    let ours: Vec<_> = layout.attributes().into_iter().filter(|name| name.starts_with("sekisho")).collect();
    let acts = super::ACT_ATTRIBUTES.iter().filter(|name| name.starts_with("sekisho"));
    let ours: Vec<_> = ours.into_iter().chain(acts.copied()).collect();
    assert!(ours.len() >= 16);
    let other = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/conf/ldap/sekisho-389.ldif"));
    let other = other.unwrap().replace("\n ", "");
    for name in ours {
        assert!(schema.contains(&format!("NAME '{name}'")), "{name}");
        assert!(other.contains(&format!("NAME '{name}'")), "{name} in the form of 389");
    }
}
