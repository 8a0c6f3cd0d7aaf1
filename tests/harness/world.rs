//! A small bank: slapd with a few users and tokens, the daemon, and its gateway.

use super::daemon::{Daemon, write};
use super::gateway::{Gateway, Reply, Request};
use super::slapd::{self, Slapd};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use tempfile::TempDir;

/// The secret that the gateway shares with the daemon.
pub const SECRET: &str = "9fJ2-kQ7_vT4.xL8~bN1+wR6=yH3!pD5";

/// Everybody's password.
pub const PASSWORD: &str = "correct horse 42";

/// One user with tokens, as the directory of a story holds them.
#[derive(Clone, Debug)]
pub struct Person {
    pub name: &'static str,
    pub tokens: Vec<Seed>,
}

/// One token: what it makes its codes from.
#[derive(Clone, Debug)]
pub struct Seed {
    pub serial: String,
    pub secret_hex: String,
    pub digits: u32,
    /// Seconds; 0 means a counter token.
    pub period: u32,
}

impl Seed {
    /// The code now, or `offset` seconds from now.
    pub fn code(&self, offset: i64) -> String {
        super::totp(&self.secret_hex, self.digits, self.period, offset)
    }

    /// Password and code in one field.
    pub fn field(&self, offset: i64) -> String {
        format!("{PASSWORD}{}", self.code(offset))
    }

    /// A code that is wrong now and at every time near now.
    pub fn wrong_code(&self) -> String {
        let near: Vec<String> =
            (-5..=5).map(|steps| self.code(steps * i64::from(self.period.max(30)))).collect();
        let width = usize::try_from(self.digits).unwrap();
        (0..100_u32).map(|n| format!("{:0width$}", n * 7919)).find(|code| !near.contains(code)).unwrap()
    }
}

/// A running bank.
pub struct World {
    // Dropped in this order: the daemon first, the files last.
    pub daemon: Daemon,
    pub gateway: Gateway,
    pub slapd: Slapd,
    pub config: PathBuf,
    pub directory: TempDir,
    pub people: Vec<Person>,
}

/// A bank before it opens: every part of its configuration can be changed.
pub struct WorldBuilder {
    pub people: Vec<Person>,
    /// Added to `[radius]`.
    pub radius: String,
    /// Added to the gateway's `[[radius.client]]`.
    pub client: String,
    /// Further `[[radius.client]]` tables.
    pub clients: String,
    /// Replaces the usual `[service.test]` table and its operations.
    pub service: String,
    /// Added to `[directory.ldap]`.
    pub ldap: String,
    /// `follow`, `poll` or `ask`.
    pub bindings: &'static str,
    /// `sync`, `relaxed` or `memory`.
    pub durability: &'static str,
    /// Further tables.
    pub more: String,
    /// For the daemon's process.
    pub environment: Vec<(String, String)>,
    /// `listen` of `[radius]`.
    pub listen: String,
    /// `network` of the gateway's `[[radius.client]]`.
    pub network: &'static str,
    /// How slapd is set up; its LDIF comes after the people's.
    pub slapd: slapd::Options,
}

impl Default for WorldBuilder {
    fn default() -> WorldBuilder {
        WorldBuilder {
            // The schema that slapd's otp module brings allows one TOTP and one HOTP token a user.
            people: vec![
                person("alice", &[(6, 30)]),
                person("bob", &[(8, 60)]),
                person("carol", &[(6, 0), (8, 60)]),
                person("dave", &[]),
            ],
            radius: String::new(),
            client: String::new(),
            clients: String::new(),
            service: "[service.test]\ndigits = 6\nperiod = \"30s\"\nreject-delay = \"0s\"\n".into(),
            ldap: String::new(),
            bindings: "follow",
            durability: "sync",
            more: String::new(),
            environment: Vec::new(),
            listen: "[\"127.0.0.1:0\"]".into(),
            network: r#"["127.0.0.0/8", "::1/128"]"#,
            slapd: slapd::Options { schema: vec![our_schema()], ..slapd::Options::default() },
        }
    }
}

/// A user with a token for each pair of digits and period; secrets differ by name and place.
pub fn person(name: &'static str, tokens: &[(u32, u32)]) -> Person {
    let seed = |at: usize, digits: u32, period: u32| Seed {
        serial: format!("SN-{name}-{at}"),
        secret_hex: name.bytes().cycle().take(19).chain([u8::try_from(at).unwrap()]).fold(
            String::new(),
            |mut hex, octet| {
                write!(hex, "{octet:02x}").unwrap();
                hex
            },
        ),
        digits,
        period,
    };
    let tokens = tokens.iter().enumerate().map(|(at, &(digits, period))| seed(at, digits, period)).collect();
    Person { name, tokens }
}

/// Our own auxiliary classes, in the form that slapd.conf includes.
fn our_schema() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conf/ldap/sekisho.schema")
}

/// A user and the user's tokens as LDIF.
pub fn person_ldif(person: &Person) -> String {
    let dns: Vec<String> = person.tokens.iter().map(|token| slapd::token_dn(&token.serial)).collect();
    let user = slapd::User { uid: person.name, password: PASSWORD.as_bytes(), tokens: &[] };
    let mut ldif = slapd::user_ldif(user).trim_end().to_owned();
    let (totp, hotp): (Vec<_>, Vec<_>) =
        person.tokens.iter().zip(&dns).partition(|(token, _)| token.period > 0);
    for (class, attribute, tokens) in
        [("oathTOTPUser", "oathTOTPToken", totp), ("oathHOTPUser", "oathHOTPToken", hotp)]
    {
        if !tokens.is_empty() {
            // slapadd wants the values of one attribute side by side.
            let person = "objectClass: inetOrgPerson";
            ldif = ldif.replace(person, &format!("{person}\nobjectClass: {class}"));
        }
        for (_, dn) in tokens {
            write!(ldif, "\n{attribute}: {dn}").unwrap();
        }
    }
    ldif.push_str("\n\n");
    for token in &person.tokens {
        ldif.push_str(&token_ldif(token));
    }
    ldif
}

/// A token as LDIF; its parameters stand in an entry that all tokens of its kind share.
pub fn token_ldif(token: &Seed) -> String {
    let kind = if token.period > 0 { "TOTP" } else { "HOTP" };
    let octets: Vec<u8> = (0..token.secret_hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&token.secret_hex[at..at + 2], 16).unwrap())
        .collect();
    format!(
        "dn: {}\nobjectClass: device\nobjectClass: oath{kind}Token\ncn: {serial}\noathTokenSerialNumber: {serial}\n\
         oathSecret:: {}\noath{kind}Params: {}\n\n",
        slapd::token_dn(&token.serial),
        slapd::base64(&octets),
        params_dn(token),
        serial = token.serial,
    )
}

fn params_dn(token: &Seed) -> String {
    format!("cn=d{}p{},ou=params,{}", token.digits, token.period, slapd::BASE)
}

fn params_ldif(people: &[Person]) -> String {
    let mut ldif = String::new();
    let mut written = std::collections::HashSet::new();
    for token in people.iter().flat_map(|person| &person.tokens) {
        if !written.insert((token.digits, token.period)) {
            continue;
        }
        write!(
            ldif,
            "dn: {}\nobjectClass: device\nobjectClass: oath{kind}Params\ncn: d{digits}p{period}\n\
             oathOTPLength: {digits}\noathHMACAlgorithm: 1.2.840.113549.2.7\n",
            params_dn(token),
            kind = if token.period > 0 { "TOTP" } else { "HOTP" },
            digits = token.digits,
            period = token.period,
        )
        .unwrap();
        if token.period > 0 {
            let period = token.period;
            write!(ldif, "oathTOTPTimeStepPeriod: {period}\noathTOTPTimeStepWindow: 1\n\n").unwrap();
        } else {
            ldif.push_str("oathHOTPLookAhead: 3\n\n");
        }
    }
    ldif
}

impl World {
    /// The usual bank: alice (6 digits, 30 s), bob (8 digits, 60 s), carol (6 digits by counter, 8 digits by time), dave (no token).
    pub fn open() -> World {
        WorldBuilder::default().open()
    }

    /// A user's token.
    pub fn token(&self, name: &str, at: usize) -> &Seed {
        &self.person(name).tokens[at]
    }

    pub fn person(&self, name: &str) -> &Person {
        self.people.iter().find(|person| person.name == name).expect("a user of this bank")
    }

    /// Stops the daemon as given and starts it again on the same files.
    pub fn restart(&mut self, how: impl FnOnce(Daemon)) {
        // The old one has to be gone before the new one takes its state directory.
        how(std::mem::replace(&mut self.daemon, Daemon::nothing()));
        self.daemon = Daemon::start(&self.config);
        self.gateway = Gateway::new(self.daemon.radius[0], SECRET);
    }

    /// A gateway with this address, and the secret that goes with it.
    pub fn gateway_at(&self, address: &str, secret: &str) -> Gateway {
        let ip: IpAddr = address.parse().unwrap();
        Gateway::from(SocketAddr::new(ip, 0), self.daemon.radius[0], secret)
    }

    /// Sends octets; nobody answers, and they are counted once for this reason.
    pub fn expect_drop(&self, gateway: &Gateway, octets: &[u8], reason: &str) {
        let before = self.daemon.reason(reason);
        gateway.socket.send_to(octets, gateway.server).unwrap();
        self.daemon.wait_for_reason(reason, before + 1.0);
        gateway.expect_nothing();
        assert_eq!(self.daemon.reason(reason), before + 1.0, "{reason}, once");
    }

    /// Asks; the user is refused, for this reason and no other.
    pub fn expect_reject(&self, gateway: &Gateway, request: &Request, reason: &str) -> Reply {
        let before = self.daemon.reason(reason);
        let reply = gateway.ask(request);
        assert!(reply.is_reject(), "a reject for {reason}, and no {}", reply.code());
        self.daemon.wait_for_reason(reason, before + 1.0);
        reply
    }

    /// Gives a user another password, in any octets.
    pub fn set_password(&self, name: &str, password: &str) {
        let (dn, password) = (slapd::user_dn(name), slapd::base64(password.as_bytes()));
        self.slapd.change(&format!(
            "dn: {dn}\nchangetype: modify\nreplace: userPassword\nuserPassword:: {password}\n"
        ));
    }

    /// Another gateway on the same address and secret, with a port of its own.
    pub fn second_gateway(&self) -> Gateway {
        Gateway::new(self.daemon.radius[0], SECRET)
    }
}

impl WorldBuilder {
    /// Starts slapd, writes the configuration, starts the daemon.
    pub fn open(self) -> World {
        let ldif = self.people.iter().map(person_ldif).collect::<String>() + &params_ldif(&self.people);
        let options = slapd::Options { ldif: ldif + &self.slapd.ldif, ..self.slapd.clone() };
        let slapd = Slapd::start(&options);
        let directory = tempfile::tempdir().unwrap();
        let config = write(directory.path(), "sekisho.toml", &self.config(&slapd));
        write(directory.path(), "gateway.secret", SECRET);
        write(directory.path(), "ldap.password", slapd::SERVICE_PASSWORD);
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let daemon = Daemon::start_with(&config, &environment);
        let gateway = Gateway::new(daemon.radius[0], SECRET);
        World { daemon, gateway, slapd, config, directory, people: self.people }
    }

    /// The configuration as text, for stories that only read or break it.
    pub fn config(&self, slapd: &Slapd) -> String {
        let WorldBuilder {
            radius,
            client,
            clients,
            service,
            ldap,
            bindings,
            durability,
            more,
            listen,
            network,
            ..
        } = self;
        let (url, base, bind_dn) = (slapd.url(), slapd::BASE, slapd::SERVICE_DN);
        format!(
            r#"[radius]
listen = {listen}
{radius}

[[radius.client]]
name = "gateway"
network = {network}
secret-file = "gateway.secret"
service = "test"
{client}

{clients}

[directory]
kind = "ldap"

[directory.ldap]
servers = ["{url}"]
tls = "none"
bind-dn = "{bind_dn}"
bind-password-file = "ldap.password"
base = "{base}"
user-filter = "(&(objectClass=inetOrgPerson)(uid={{user}}))"
layout = "oath"
bindings = "{bindings}"
{ldap}

{service}

[state]
directory = "state"
durability = "{durability}"

[http]
listen = "127.0.0.1:0"

[admin]
socket = "admin.sock"

[audit]
file = "audit.jsonl"

{more}
"#
        )
    }
}
