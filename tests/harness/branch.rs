//! A bank with the services that ship, whose counter lets tokens live and die.

use super::daemon;
use super::gateway::Gateway;
use super::world::{PASSWORD, Person, SECRET, Seed, World, WorldBuilder, hex, person, token_ldif};
use super::{Clock, slapd, totp_at, unix_now, wait_for};
use serde_json::Value;

/// The shipped profiles, each behind a gateway of its own: 127.0.0.2 to 127.0.0.5.
pub const PROFILES: [&str; 4] = ["kenshin-business", "kenmin-personal", "shinkin-personal", "shiga-business"];

const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/services/*.toml");

/// A branch of the bank: its world, and the clock of its daemon.
pub struct Branch {
    pub world: World,
    clock: Clock,
    ahead: i64,
}

/// A user of a contract.
pub fn member(name: &str, contract: &str, role: &str, tokens: &[(u32, u32)]) -> Person {
    Person {
        entry: format!("objectClass: sekishoUser\nsekishoContract: {contract}\nsekishoRole: {role}\n"),
        ..person(name, tokens)
    }
}

/// What a command came to: exit code, standard output, standard error.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub told: String,
}

impl Branch {
    /// Opens with these people; a minute begins now.
    pub fn open(people: Vec<Person>) -> Branch {
        Branch::open_with(people, &[], |builder| builder)
    }

    /// The same with tokens in the inventory, and with a change of the configuration.
    pub fn open_with(
        people: Vec<Person>,
        inventory: &[Seed],
        change: impl FnOnce(WorldBuilder) -> WorldBuilder,
    ) -> Branch {
        let ahead = i64::try_from(61 - unix_now() % 60).unwrap();
        let clock = Clock::right();
        clock.ahead(ahead);
        let client = |(n, profile): (usize, &&str)| {
            format!(
                "[[radius.client]]\nname = \"{profile}\"\nnetwork = \"127.0.0.{}\"\nsecret-file = \"gateway.secret\"\nservice = \"{profile}\"\n",
                n + 2
            )
        };
        // Rejects at once; everything else is as shipped.
        let hurry: String =
            PROFILES.iter().map(|name| format!("[service.{name}]\nreject-delay = \"0s\"\n")).collect();
        let stock = inventory.iter().map(|seed| {
            let state = "objectClass: sekishoToken\nsekishoTokenState: inventory\n";
            token_ldif(&Seed { entry: state.into(), ..seed.clone() })
        });
        let builder = WorldBuilder {
            head: format!("services = \"{SERVICES}\""),
            clients: PROFILES.iter().enumerate().map(client).collect(),
            service: WorldBuilder::default().service + &hurry,
            ldap: "seal-key-file = \"seal.key\"\n".into(),
            environment: clock.environment(),
            slapd: slapd::Options { writable: true, ldif: stock.collect(), ..slapd::Options::default() },
            ..WorldBuilder::of(people)
        };
        let mut world = change(builder).prepare();
        let key: Vec<u8> = (0..32).collect();
        daemon::write(world.directory.path(), "seal.key", &format!("1:{}\n", slapd::base64(&key)));
        world.restart(drop);
        Branch { world, clock, ahead }
    }

    /// Closes and opens again so much later on the daemon's clock.
    pub fn reopen_later(&mut self, seconds: i64) {
        let Branch { world, clock, ahead } = self;
        world.restart(|daemon| {
            daemon.stop();
            *ahead += seconds;
            clock.ahead(*ahead);
        });
    }

    /// Kills the daemon and opens again, so much later on its clock.
    pub fn killed_and_reopened_later(&mut self, seconds: i64) {
        let Branch { world, clock, ahead } = self;
        world.restart(|daemon| {
            daemon.kill();
            *ahead += seconds;
            clock.ahead(*ahead);
        });
    }

    /// The daemon's time.
    pub fn now(&self) -> u64 {
        Clock::time(self.ahead)
    }

    /// The gateway of a service.
    pub fn gateway(&self, service: &str) -> Gateway {
        let at = PROFILES.iter().position(|profile| *profile == service).expect("a shipped profile");
        self.world.gateway_at(&format!("127.0.0.{}", at + 2), SECRET)
    }

    /// The code of a token, so many seconds from now on the daemon's clock.
    pub fn code(&self, token: &Seed, offset: i64) -> String {
        let at = self.now().checked_add_signed(offset).unwrap();
        totp_at(&token.secret_hex, token.algorithm, token.digits, token.period, at)
    }

    /// Password and code in one field.
    pub fn field(&self, token: &Seed, offset: i64) -> String {
        format!("{PASSWORD}{}", self.code(token, offset))
    }

    /// Runs a command with these lines on standard input.
    pub fn run(&self, arguments: &[&str], lines: &[&str]) -> Ended {
        let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let output = self.world.command(arguments, &input);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Ended { code: output.status.code(), out: text(&output.stdout), told: text(&output.stderr) }
    }

    /// Runs a command that must succeed; gives what it printed.
    pub fn done(&self, arguments: &[&str], lines: &[&str]) -> String {
        let ended = self.run(arguments, lines);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.out, ended.told);
        ended.out
    }

    /// Runs a command that must succeed; gives its JSON.
    pub fn json(&self, arguments: &[&str], lines: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[arguments, &["--json"]].concat(), lines)).expect("JSON")
    }

    /// Runs a command that must be refused, for this reason and with this exit code.
    pub fn refused(&self, arguments: &[&str], lines: &[&str], code: i32, reason: &str) -> String {
        let ended = self.run(&[arguments, &["--json"]].concat(), lines);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}{}", ended.out, ended.told);
        let told: Value = serde_json::from_str(&ended.out).expect("JSON");
        assert_eq!(told["refused"]["reason"], reason, "{arguments:?}: {}", ended.told);
        assert!(ended.told.starts_with("sekisho: "), "the reason is on standard error: {}", ended.told);
        told["refused"]["why"].as_str().unwrap().to_owned()
    }

    /// The state of a token.
    pub fn state(&self, serial: &str) -> String {
        self.json(&["token", "show", serial], &[])["state"].as_str().unwrap().to_owned()
    }

    /// The tokens of a user: serial number and state.
    pub fn tokens(&self, user: &str) -> Vec<(String, String)> {
        let list = self.json(&["token", "list", "--user", user], &[]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        list.as_array().unwrap().iter().map(|token| (text(&token["serial"]), text(&token["state"]))).collect()
    }

    /// Enables a contract, and waits until the daemon's memory knows it.
    pub fn enable(&self, contract: &str, service: &str) {
        let _ = self.done(&["contract", "enable", contract, "--service", service], &[]);
    }

    /// Issues a token and sets the app up; what it makes its codes from.
    pub fn issued(&self, user: &str) -> Seed {
        let issued = self.json(&["token", "issue", "--user", user], &["4711"]);
        self.set_up(&issued, "4711")
    }

    /// Sets the app up.
    pub fn set_up(&self, issued: &Value, start_password: &str) -> Seed {
        let id = |key: &str| issued[key].as_str().unwrap().to_owned();
        let (service_id, user_id) = (id("service_id"), id("user_id"));
        let arguments = ["token", "setup", "--service-id", &service_id, "--user-id", &user_id];
        let given = self.json(&arguments, &[start_password]);
        let key = data_encoding::BASE32_NOPAD.decode(given["key"].as_str().unwrap().as_bytes()).unwrap();
        let number = |key: &str| u32::try_from(given[key].as_u64().unwrap()).unwrap();
        Seed::new(given["serial"].as_str().unwrap(), &hex(&key), number("digits"), number("period"))
    }

    /// Issues, sets up and confirms a token.
    pub fn active(&self, user: &str) -> Seed {
        let token = self.issued(user);
        // The oldest that counts, so that the next two steps are left for the story.
        let code = self.code(&token, -i64::from(token.period));
        let _ = self.done(&["token", "confirm", "--user", user], &[&code]);
        token
    }

    /// The acts in the audit log: event, outcome, actor.
    pub fn acts(&self) -> Vec<(String, String, String)> {
        let records = self.world.audit().into_iter().filter(|record| record["actor"].is_string());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        records.map(|act| (text(&act["event"]), text(&act["outcome"]), text(&act["actor"]))).collect()
    }

    /// Waits until a request ends so.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        wait_for(what, || condition().then_some(()));
    }
}

/// A token of the inventory: the app made its key before.
pub fn stock(serial: &str, digits: u32, period: u32) -> Seed {
    let key: Vec<u8> = serial.bytes().cycle().take(20).collect();
    Seed::new(serial, &hex(&key), digits, period)
}
