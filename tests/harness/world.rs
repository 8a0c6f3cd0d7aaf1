//! A small bank: slapd with a few users and tokens, the daemon, and its gateway.

use super::daemon::{self, Daemon, write};
use super::gateway::{Gateway, Reply, Request, Signed, code};
use super::proxy::Proxy;
use super::slapd::{self, Slapd};
use super::{Clock, hotp, totp_at, unix_now};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Output;
use tempfile::TempDir;

/// The secret that the gateway shares with the daemon.
pub const SECRET: &str = "9fJ2-kQ7_vT4.xL8~bN1+wR6=yH3!pD5";

/// Everybody's password.
pub const PASSWORD: &str = "correct horse 42";

/// One user with tokens, as the directory of a story holds them.
#[derive(Clone, Debug)]
pub struct Person {
    pub name: String,
    pub tokens: Vec<Seed>,
    /// Octets, if not [`PASSWORD`].
    pub password: Vec<u8>,
    /// Further lines of the entry, as LDIF.
    pub entry: String,
}

/// One token: what it makes its codes from.
#[derive(Clone, Debug)]
pub struct Seed {
    pub serial: String,
    pub secret_hex: String,
    pub algorithm: &'static str,
    pub digits: u32,
    /// Seconds; 0 means a counter token.
    pub period: u32,
    /// Steps accepted either way, or the look-ahead of a counter token; `None` leaves it to the service.
    pub window: Option<u32>,
    /// Further lines of the token's entry, as LDIF.
    pub entry: String,
    /// Further lines of its parameter entry, as LDIF.
    pub parameters: String,
    /// Seconds by which it, like the daemon of its bank, is ahead of our clock.
    pub ahead: i64,
}

impl Seed {
    /// SHA-1, window 1, look-ahead 3.
    pub fn new(serial: &str, secret_hex: &str, digits: u32, period: u32) -> Seed {
        Seed {
            serial: serial.into(),
            secret_hex: secret_hex.into(),
            algorithm: "sha1",
            digits,
            period,
            window: Some(if period == 0 { 3 } else { 1 }),
            entry: String::new(),
            parameters: String::new(),
            ahead: 0,
        }
    }

    /// The code now, or `offset` seconds from now. Of a counter token the first one, or one more for each 30 seconds.
    pub fn code(&self, offset: i64) -> String {
        if self.period == 0 {
            return hotp(&self.secret_hex, self.digits, u64::try_from(offset.max(0) / 30).unwrap());
        }
        self.code_at(unix_now().checked_add_signed(self.ahead + offset).unwrap())
    }

    /// The code at a time.
    pub fn code_at(&self, unix: u64) -> String {
        totp_at(&self.secret_hex, self.algorithm, self.digits, self.period, unix)
    }

    /// Password and code in one field.
    pub fn field(&self, offset: i64) -> String {
        format!("{PASSWORD}{}", self.code(offset))
    }

    /// The same at a time.
    pub fn field_at(&self, unix: u64) -> String {
        format!("{PASSWORD}{}", self.code_at(unix))
    }

    /// A code that is wrong now and at every time near now.
    pub fn wrong_code(&self) -> String {
        self.wrong_codes(1).remove(0)
    }

    /// Different codes that are wrong now and at every time near now.
    pub fn wrong_codes(&self, count: usize) -> Vec<String> {
        let near: Vec<String> =
            (-5..=5).map(|steps| self.code(steps * i64::from(self.period.max(30)))).collect();
        let width = usize::try_from(self.digits).unwrap();
        let all = (0..900_u32).map(|n| format!("{:0width$}", n * 1013 + 17));
        all.filter(|code| !near.contains(code)).take(count).collect()
    }

    /// The DN of its entry.
    pub fn dn(&self) -> String {
        slapd::token_dn(&self.serial)
    }
}

impl Person {
    /// The DN of the user's entry.
    pub fn dn(&self) -> String {
        slapd::user_dn(&self.name)
    }
}

/// A user and the user's tokens as LDIF.
pub fn person_ldif(person: &Person) -> String {
    let Person { name, tokens, password, entry } = person;
    let user = slapd::user_ldif(slapd::User { uid: name, password, tokens: &[] });
    let mut ldif = format!("{}\n{entry}", user.trim_end());
    for kind in ["TOTP", "HOTP"] {
        let mut of_kind = tokens.iter().filter(|token| (token.period == 0) == (kind == "HOTP")).peekable();
        if of_kind.peek().is_some() {
            writeln!(ldif, "objectClass: oath{kind}User").unwrap();
        }
        of_kind.for_each(|token| writeln!(ldif, "oath{kind}Token: {}", token.dn()).unwrap());
    }
    ldif.push('\n');
    tokens.iter().for_each(|token| ldif.push_str(&token_ldif(token)));
    ldif
}

/// A token and its parameters as LDIF.
pub fn token_ldif(token: &Seed) -> String {
    let Seed { serial, secret_hex, algorithm, digits, period, window, entry, parameters, .. } = token;
    let hmac = match *algorithm {
        "sha1" => 7,
        "sha256" => 9,
        _ => 11,
    };
    let (kind, mut moving, window_name) = match period {
        0 => ("HOTP", String::new(), "oathHOTPLookAhead"),
        _ => ("TOTP", format!("oathTOTPTimeStepPeriod: {period}\n"), "oathTOTPTimeStepWindow"),
    };
    if let Some(window) = window {
        writeln!(moving, "{window_name}: {window}").unwrap();
    }
    let params_dn = format!("cn={serial},ou=params,{}", slapd::BASE);
    format!(
        "dn: {params_dn}\nobjectClass: device\nobjectClass: oath{kind}Params\ncn: {serial}\noathOTPLength: {digits}\n\
         oathHMACAlgorithm: 1.2.840.113549.2.{hmac}\n{moving}{parameters}\n\
         dn: {}\nobjectClass: device\nobjectClass: oath{kind}Token\ncn: {serial}\noathTokenSerialNumber: {serial}\n\
         oathSecret:: {}\noath{kind}Params: {params_dn}\n{entry}\n",
        token.dn(),
        slapd::base64(&octets(secret_hex)),
    )
}

/// Entries with the values of each attribute side by side, as slapadd wants them.
fn tidied(ldif: &str) -> String {
    let tidy_entry = |entry: &str| {
        let mut lines: Vec<&str> = entry.lines().filter(|line| !line.is_empty()).collect();
        let names: Vec<&str> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
        let order: std::collections::HashMap<&str, usize> =
            names.iter().enumerate().rev().map(|(at, name)| (*name, at)).collect();
        lines.sort_by_key(|line| order[line.split(':').next().unwrap()]);
        lines.join("\n") + "\n\n"
    };
    ldif.split("\n\n").filter(|entry| !entry.trim().is_empty()).map(tidy_entry).collect()
}

/// Octets as hexadecimal digits.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut hex, octet| {
        write!(hex, "{octet:02x}").unwrap();
        hex
    })
}

/// Hexadecimal digits as octets.
pub fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
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
    /// What stands between the daemon and slapd, if anything does.
    pub proxy: Option<Proxy>,
    pub environment: Vec<(String, String)>,
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
    /// Added to `[state]`.
    pub state: String,
    /// Further keys and tables of `[http]`.
    pub http: String,
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
    /// URLs of further LDAP servers.
    pub servers: Vec<String>,
    /// `none`, `ldaps` or `start-tls`; with TLS the authority of `slapd` is trusted.
    pub tls: &'static str,
    /// The authority to trust, as PEM, if not that of `slapd`.
    pub authority: Option<String>,
    /// Stands between the daemon and slapd.
    pub proxy: Option<Proxy>,
    /// What comes before the first table.
    pub head: String,
    /// The `[audit]` table.
    pub audit: String,
    /// `user-filter` of `[directory.ldap]`.
    pub filter: String,
    /// `oath`, `freeipa` or `custom`.
    pub layout: &'static str,
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
            state: String::new(),
            http: String::new(),
            more: String::new(),
            environment: Vec::new(),
            listen: "[\"127.0.0.1:0\"]".into(),
            network: r#"["127.0.0.0/8", "::1/128"]"#,
            slapd: slapd::Options { schema: vec![slapd::our_schema()], ..slapd::Options::default() },
            servers: Vec::new(),
            tls: "none",
            authority: None,
            proxy: None,
            head: String::new(),
            audit: "file = \"audit.jsonl\"".into(),
            filter: "(&(objectClass=inetOrgPerson)(uid={user}))".into(),
            layout: "oath",
        }
    }
}

/// A user with a token for each pair of digits and period; secrets differ by name and place.
pub fn person(name: &str, tokens: &[(u32, u32)]) -> Person {
    let seed = |(at, &(digits, period)): (usize, &(u32, u32))| {
        let secret: Vec<u8> = name.bytes().cycle().take(19).chain([u8::try_from(at).unwrap()]).collect();
        Seed::new(&format!("SN-{name}-{at}"), &hex(&secret), digits, period)
    };
    holder(name, tokens.iter().enumerate().map(seed).collect())
}

/// A user with these tokens.
pub fn holder(name: &str, tokens: Vec<Seed>) -> Person {
    Person { name: name.into(), tokens, password: PASSWORD.into(), entry: String::new() }
}

impl World {
    /// The usual bank: alice (6 digits, 30 s), bob (8 digits, 60 s), carol (6 digits by counter, 8 digits by time),
    /// dave (no token).
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
        self.daemon = Daemon::start_with(&self.config, &pairs(&self.environment));
        self.gateway = Gateway::new(self.daemon.radius[0], SECRET);
    }

    /// Another gateway on the same address and secret, with a port of its own.
    pub fn second_gateway(&self) -> Gateway {
        Gateway::new(self.daemon.radius[0], SECRET)
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

    /// A login that names the end user's address in Calling-Station-Id.
    pub fn login_from(&self, station: &str, user: &str, field: &str) -> Reply {
        self.gateway.ask(&self.request_from(station, user, field))
    }

    /// The request for it.
    pub fn request_from(&self, station: &str, user: &str, field: &str) -> Request {
        let attributes = [(1, user.as_bytes().to_vec()), (31, station.as_bytes().to_vec())];
        self.gateway.build(code::ACCESS_REQUEST, &attributes, Some(field.as_bytes()), Signed::First)
    }

    /// A subcommand for this daemon, with `input` on standard input.
    pub fn command(&self, arguments: &[&str], input: &str) -> Output {
        let config = self.config.to_str().unwrap();
        daemon::run(&[arguments, &["--config", config]].concat(), input)
    }

    /// The same, which must succeed; gives standard output.
    pub fn done(&self, arguments: &[&str], input: &str) -> String {
        let output = self.command(arguments, input);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Every record of the audit log.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line of the audit log is JSON"))
            .collect()
    }

    /// The reasons in the audit log for one user, in order.
    pub fn reasons(&self, user: &str) -> Vec<String> {
        let records = self.audit().into_iter().filter(|record| record["user"] == user);
        records.filter_map(|record| record["reason"].as_str().map(str::to_owned)).collect()
    }

    /// The reason of the last decision about a user.
    pub fn last_reason(&self, user: &str) -> String {
        self.reasons(user).pop().unwrap_or_default()
    }

    /// How often somebody has tried to bind as this user.
    pub fn binds(&self, user: &str) -> usize {
        let wanted = format!("BIND dn=\"{}\" method=128", slapd::user_dn(user));
        self.slapd.log().lines().filter(|line| line.ends_with(&wanted)).count()
    }

    /// Rewrites the configuration.
    pub fn reconfigure(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, change(text)).unwrap();
    }
}

fn pairs(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

impl WorldBuilder {
    /// The same bank with a clock that is ahead by so much that a minute begins when it opens: there is time for a
    /// story within one step, without waiting for it.
    pub fn at_minute_begin(mut self) -> WorldBuilder {
        let ahead = 61 - unix_now() % 60;
        self.environment.extend(Clock::constantly_ahead(ahead));
        let tokens = self.people.iter_mut().flat_map(|person| &mut person.tokens);
        tokens.for_each(|token| token.ahead = i64::try_from(ahead).unwrap());
        self
    }

    /// A bank of these people.
    pub fn of(people: Vec<Person>) -> WorldBuilder {
        WorldBuilder { people, ..WorldBuilder::default() }
    }

    /// Starts slapd, writes the configuration, starts the daemon.
    pub fn open(self) -> World {
        let mut world = self.prepare();
        world.restart(drop);
        world
    }

    /// The same without a daemon.
    pub fn prepare(self) -> World {
        let slapd = Slapd::start(&self.directory_options());
        self.prepare_before(slapd)
    }

    /// The same before a directory that runs already.
    pub fn prepare_before(self, slapd: Slapd) -> World {
        let directory = tempfile::tempdir().unwrap();
        let config = write(directory.path(), "sekisho.toml", &self.config(&slapd));
        write(directory.path(), "gateway.secret", SECRET);
        write(directory.path(), "ldap.password", slapd::SERVICE_PASSWORD);
        if let Some(authority) = self.authority.as_ref().or(self.slapd.tls.as_ref().map(|tls| &tls.ca)) {
            write(directory.path(), "ca.pem", authority);
        }
        if let Some(proxy) = &self.proxy {
            proxy.toward(slapd.port());
        }
        let daemon = Daemon::nothing();
        let gateway = Gateway::new(daemon.radius[0], SECRET);
        let WorldBuilder { people, proxy, environment, .. } = self;
        World { daemon, gateway, slapd, config, directory, people, proxy, environment }
    }

    /// What `sekisho check` says to the configuration: exit code and output. Nothing is started.
    pub fn check(self) -> (Option<i32>, String) {
        let directory = tempfile::tempdir().unwrap();
        let config = write(directory.path(), "sekisho.toml", &self.config_for("ldap://127.0.0.1:1"));
        write(directory.path(), "gateway.secret", SECRET);
        write(directory.path(), "ldap.password", slapd::SERVICE_PASSWORD);
        let output = daemon::run(&["check", "--config", config.to_str().unwrap()], "");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// What a slapd of this bank is started with.
    pub fn directory_options(&self) -> slapd::Options {
        let people: String = self.people.iter().map(person_ldif).collect();
        slapd::Options { ldif: tidied(&format!("{people}{}", self.slapd.ldif)), ..self.slapd.clone() }
    }

    /// The configuration as text, for stories that only read or break it.
    pub fn config(&self, slapd: &Slapd) -> String {
        match (&self.proxy, self.tls) {
            (Some(proxy), _) => self.config_for(&proxy.url()),
            (None, "ldaps") => self.config_for(&format!("ldaps://127.0.0.1:{}", slapd.tls_port())),
            (None, _) => self.config_for(&slapd.url()),
        }
    }

    /// The same for a directory somewhere.
    pub fn config_for(&self, url: &str) -> String {
        let WorldBuilder {
            head,
            radius,
            client,
            clients,
            service,
            ldap,
            bindings,
            durability,
            state,
            http,
            more,
            listen,
            network,
            tls,
            filter,
            layout,
            audit,
            ..
        } = self;
        let authority = if *tls == "none" { "" } else { "ca-file = \"ca.pem\"" };
        let (base, bind_dn) = (slapd::BASE, slapd::SERVICE_DN);
        let urls: Vec<String> = std::iter::once(url)
            .chain(self.servers.iter().map(String::as_str))
            .map(|url| format!("{url:?}"))
            .collect();
        let urls = urls.join(", ");
        format!(
            r#"{head}
[radius]
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
servers = [{urls}]
tls = "{tls}"
{authority}
bind-dn = "{bind_dn}"
bind-password-file = "ldap.password"
base = "{base}"
user-filter = "{filter}"
layout = "{layout}"
bindings = "{bindings}"
{ldap}

{service}

[state]
directory = "state"
durability = "{durability}"
{state}

[http]
listen = "127.0.0.1:0"
{http}

[admin]
socket = "admin.sock"

[audit]
{audit}

{more}
"#
        )
    }
}
