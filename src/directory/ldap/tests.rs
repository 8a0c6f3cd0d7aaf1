//! The LDAP client against a real slapd and against servers that lie.
//!
//! | requirement | tests |
//! | --- | --- |
//! | LDAP-01, -07, -09 | `binding::ldap_01_07_09_…` |
//! | LDAP-02, -03, -04, -31 in `ask` | `asking::…` |
//! | LDAP-05, -06 | `protection::…` |
//! | LDAP-08, -17, -28 | `hostile::…`, and the tests of `ber`, `message`, `connection`, `password` |
//! | LDAP-10 to -16, -21, -27, -31, -32 | `following::…`, `polling::…` |
//! | LDAP-23 | `binding::ldap_23_…` |
//! | LDAP-24, -25 | `binding::ldap_24_…`, and the tests of `password` and of the layouts |
//! | LDAP-30 | `servers::…`, and the tests of `pool` |
//!
//! Not here: LDAP-18 and -19 (nothing is written to tokens), LDAP-20 and -22 (layouts), LDAP-26 (lockout), LDAP-29 (load).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../tests/harness/slapd.rs"]
mod slapd;

mod acting;
mod asking;
mod binding;
mod fake;
mod following;
mod hostile;
mod polling;
mod protection;
mod servers;

use super::*;
use crate::directory::layout::Layout;
use crate::identity::EntryId;
use crate::otp::Parameters;
use crate::state::{Known, Scope};
use crate::tokens::{Account, Defect, KeptUser, Role, Standing, Tokens, User};
use rustls::pki_types::CertificateDer;
use slapd::{Options, Slapd};
use std::sync::Mutex;
use tokio::runtime::Runtime;

const USER_FILTER: &str = "(&(objectClass=inetOrgPerson)(uid={user}))";

/// A client with everything it told.
struct Bench {
    ldap: Arc<Ldap>,
    bindings: Arc<Bindings>,
    events: Arc<Mutex<Vec<Event>>>,
    runtime: Runtime,
}

/// Settings for servers in clear on loopback.
fn settings(ports: &[u16], mode: Mode) -> Settings {
    let server = |port: &u16| {
        Server::parse(&format!("ldap://127.0.0.1:{port}"), Tls::None, Cleartext::LoopbackOnly).unwrap()
    };
    Settings {
        servers: ports.iter().map(server).collect(),
        trust: Trust::nobody().unwrap(),
        bind_dn: slapd::SERVICE_DN.to_owned(),
        bind_password: Secret::new(slapd::SERVICE_PASSWORD),
        base: slapd::BASE.to_owned(),
        token_base: format!("ou=tokens,{}", slapd::BASE),
        contract_base: format!("ou=contracts,{}", slapd::BASE),
        user_filter: UserFilter::parse(USER_FILTER).unwrap(),
        layout: Layout::oath(),
        defaults: Parameters::default(),
        keyring: Arc::new(Keyring::default()),
        mode,
        timeout: TIMEOUT,
        binds: 4,
        searches: 2,
        shrink_limit: SHRINK_LIMIT,
        grace_logins: GraceLogins::Refused,
    }
}

impl Bench {
    fn new(settings: Settings) -> Bench {
        Bench::with_max_stale(settings, MAX_STALE)
    }

    fn with_max_stale(settings: Settings, max_stale: Duration) -> Bench {
        let scope = match settings.mode {
            Mode::Ask => Scope::Cache { lifetime: LIFETIME, capacity: 100 },
            _ => Scope::Complete { max_stale },
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let bindings = Arc::new(Bindings::new(scope));
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let tell: Events = Arc::new(move |event| told.lock().unwrap().push(event));
        let ldap = Ldap::start(settings, Arc::clone(&bindings), tell, runtime.handle()).unwrap();
        Bench { ldap, bindings, events, runtime }
    }

    fn find(&self, name: &str) -> Result<Found, Unavailable> {
        let name = UserName::new(name.as_bytes()).unwrap();
        self.runtime.block_on(self.ldap.find(&name, soon()))
    }

    fn found(&self, name: &str) -> Arc<User> {
        match self.find(name) {
            Ok(Found::One(user)) => Arc::new(user.whole()),
            other => panic!("{name}: {other:?}"),
        }
    }

    fn check(&self, dn: &str, password: &[u8]) -> Result<PasswordAnswer, Unavailable> {
        self.check_before(dn, password, soon())
    }

    fn check_before(&self, dn: &str, password: &[u8], deadline: Mono) -> Result<PasswordAnswer, Unavailable> {
        let user = user(dn);
        self.runtime.block_on(self.ldap.check_password(
            &KeptUser::new(&user),
            Secret::new(password),
            deadline,
        ))
    }

    fn known(&self, name: &str) -> Known {
        self.bindings.look_up(&UserName::new(name.as_bytes()).unwrap(), now().mono)
    }

    /// Waits until memory knows the user in this state.
    fn wait_known(&self, name: &str, what: &str, is: impl Fn(&User) -> bool) -> Arc<User> {
        wait(&format!("{name}: {what}"), || match self.known(name) {
            Known::One(user) => Some(user.whole()).filter(&is).map(Arc::new),
            _ => None,
        })
    }

    fn wait_nobody(&self, name: &str) {
        wait(&format!("{name} to be nobody"), || matches!(self.known(name), Known::Nobody).then_some(()));
    }

    fn told(&self, is: impl Fn(&Event) -> bool) -> bool {
        self.events.lock().unwrap().iter().any(is)
    }

    fn wait_told(&self, what: &str, is: impl Fn(&Event) -> bool) {
        wait(what, || self.told(&is).then_some(()));
    }

    fn wait_up(&self, server: usize, up: bool) {
        wait(&format!("server {server} to be up: {up}"), || {
            let status = &self.ldap.servers()[server];
            // Before anybody has looked, a server counts as up and has no trouble.
            (status.up == up
                && self.told(|event| matches!(event, Event::ServerUp { .. } | Event::ServerDown { .. })))
            .then_some(())
        });
    }
}

fn user(dn: &str) -> User {
    User {
        id: EntryId::new([1; 16]),
        name: "u".into(),
        dn: dn.into(),
        contract: None,
        role: Role::General,
        login_code: None,
        account: Account::default(),
        tokens: Tokens::These(Vec::new()),
    }
}

/// The standings of a user's tokens.
fn standings(user: &User) -> Vec<Standing> {
    match &user.tokens {
        Tokens::These(tokens) => tokens.iter().map(|token| token.standing).collect(),
        Tokens::TooMany(_) => panic!("too many tokens"),
    }
}

fn is_active(user: &User) -> bool {
    standings(user) == [Standing::Active]
}

fn is_unusable(user: &User, defect: Defect) -> bool {
    standings(user) == [Standing::Unusable(defect)]
}

/// A deadline that no healthy server misses.
fn soon() -> Mono {
    now().mono.plus(Duration::from_secs(20))
}

/// Waits for a condition; ten seconds are a failure.
fn wait<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(value) = condition() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited ten seconds for {what}");
}

/// A user with one token, both of this name.
fn person_ldif(name: &str) -> String {
    let token = slapd::token_dn(name);
    let user = slapd::User { uid: name, password: name.as_bytes(), tokens: &[&token] };
    slapd::user_ldif(user) + &token_ldif(name)
}

fn token_ldif(name: &str) -> String {
    slapd::token_ldif(slapd::Token { cn: name, secret: &[7; 20], params: slapd::PARAMS_DN })
}
