//! Acts on tokens against a real slapd: each change is made whole, by one of two operators, and survives cut connections.

use super::*;
use crate::clock::Wall;
use crate::directory::registry::{
    Change, Confirmed, NewToken, NotChanged, Registered, Registry, Rewrapped, Seen, TokenSet, UserSet,
    confirm,
};
use crate::identity::{ContractId, ServiceName, TokenSerial};
use crate::tokens::{Contract, LoginCode, Record, Setup, State};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::AtomicI64;

const KEY: &[u8] = b"\x01\x02\x03\x04567890-written-key";

fn writable() -> Options {
    let people = ["u1", "u2"].map(|uid| {
        slapd::user_ldif(slapd::User { uid, password: b"password", tokens: &[] })
            .replace("objectClass: inetOrgPerson\n", "objectClass: inetOrgPerson\nobjectClass: sekishoUser\n")
            .replace(
                &format!("uid: {uid}\n"),
                &format!("uid: {uid}\nmail: {uid}@example.jp\nsekishoContract: C-{uid}\n"),
            )
    });
    Options { writable: true, ldif: people.concat(), ..Options::default() }
}

fn sealing(ports: &[u16], mode: Mode) -> Settings {
    let mut keyring = Keyring::default();
    keyring.add(&Keyring::line("2026", &[9; 32])).unwrap();
    Settings { keyring: Arc::new(keyring), ..settings(ports, mode) }
}

impl Bench {
    fn registry(&self) -> &dyn Registry {
        &*self.ldap
    }

    fn read<T>(&self, reading: crate::directory::registry::Read<'_, T>) -> T {
        self.runtime.block_on(reading).unwrap()
    }

    fn registered(&self, name: &str) -> Seen<Registered> {
        self.read(self.registry().user(&UserName::new(name.as_bytes()).unwrap(), soon())).unwrap()
    }

    fn token(&self, serial: &str) -> Seen<Record> {
        self.read(self.registry().token(&TokenSerial::new(serial), soon())).unwrap()
    }

    fn change(&self, change: Change) -> Result<(), NotChanged> {
        self.runtime.block_on(self.registry().change(change, soon()))
    }

    fn add(&self, serial: &str, state: State) -> Result<(), NotChanged> {
        self.change(Change::AddToken(Box::new(new(serial, state))))
    }

    fn set_user(&self, name: &str, set: UserSet) -> Result<(), NotChanged> {
        let user = self.registered(name);
        self.change(Change::User { id: user.value.user.id, version: user.version, set })
    }

    fn set_token(&self, serial: &str, set: TokenSet) -> Result<(), NotChanged> {
        let token = self.token(serial);
        let (id, serial) = (token.value.id, token.value.serial);
        self.change(Change::Token { id, serial, version: token.version, set: Box::new(set) })
    }

    fn confirm(&self, name: &str, serial: &str) -> Result<Confirmed, NotChanged> {
        let user = self.registered(name).value.user;
        let (serial, at) = (TokenSerial::new(serial), Wall::from_seconds(1_700_000_000));
        self.runtime.block_on(confirm(self.registry(), &user, &serial, at, soon()))
    }
}

fn new(serial: &str, state: State) -> NewToken {
    let made = state != State::Issued;
    NewToken {
        serial: TokenSerial::new(serial),
        state,
        since: Wall::from_seconds(1_600_000_000),
        contract: Some(ContractId::new("C-u1")),
        service: Some(ServiceName::new("kenshin-business")),
        parameters: Parameters::default(),
        secret: made.then(|| Secret::new(KEY)),
        spent: None,
        begins: Some(Wall::from_seconds(1_600_000_000)),
        ends: Some(Wall::from_seconds(4_000_000_000)),
        setup: (!made).then(|| Setup {
            service_id: "12345678".into(),
            user_id: "87654321".into(),
            start_password: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into(),
            failures: 0,
            until: Wall::from_seconds(1_600_604_800),
        }),
    }
}

fn refer(serial: &str) -> UserSet {
    UserSet { token: Some(Some(TokenSerial::new(serial))), ..UserSet::default() }
}

fn state(state: State) -> TokenSet {
    TokenSet { state: Some((state, Wall::from_seconds(1_650_000_000))), ..TokenSet::default() }
}

#[test]
fn s_12_to_s_24_a_whole_life_is_written_and_followed() {
    let slapd = Slapd::start(&writable());
    let bench = Bench::new(sealing(&[slapd.port()], Mode::Follow));
    bench.wait_known("u1", "followed", |_| true);
    let watcher = Bench::new(sealing(&[slapd.port()], Mode::Follow));

    // Issue and setup.
    bench.add("T-1", State::Issued).unwrap();
    assert_eq!(bench.add("T-1", State::Issued), Err(NotChanged::Exists));
    bench.set_user("u1", refer("T-1")).unwrap();
    let user = bench.registered("u1").value;
    assert_eq!((user.token, user.mail.as_deref()), (Some(TokenSerial::new("T-1")), Some("u1@example.jp")));
    let waiting = bench.read(bench.registry().token_for_setup("12345678", "87654321", soon())).unwrap();
    let wanted = new("T-1", State::Issued);
    assert_eq!(waiting.value.setup, wanted.setup);
    assert_eq!((waiting.value.begins, waiting.value.ends), (wanted.begins, wanted.ends));
    assert_eq!((waiting.value.contract, waiting.value.service), (wanted.contract, wanted.service));
    assert_eq!(waiting.value.parameters, wanted.parameters);
    assert_eq!(waiting.value.owners, [bench.registered("u1").value.user.id]);
    assert!(waiting.value.secret.is_none());
    let set = TokenSet { secret: Some(Secret::new(KEY)), setup: Some(None), ..state(State::SetUp) };
    bench.set_token("T-1", set).unwrap();
    assert!(bench.read(bench.registry().token_for_setup("12345678", "87654321", soon())).is_none());

    // What this node has changed it knows at once; others hear of it.
    let is = |standing: Standing| move |user: &User| standings(user) == [standing];
    let at_once = |standing: Standing| {
        let Known::One(user) = bench.known("u1") else { panic!("u1 is not known") };
        assert_eq!(standings(&user.whole()), [standing]);
        watcher.wait_known("u1", "the same", is(standing));
    };
    at_once(Standing::AwaitsConfirmation);
    for _ in 0..2 {
        assert_eq!(bench.confirm("u1", "T-1"), Ok(Confirmed::Yes));
        at_once(Standing::Active);
    }
    bench.set_token("T-1", state(State::Suspended)).unwrap();
    at_once(Standing::Suspended);
    bench.set_token("T-1", state(State::Active)).unwrap();
    at_once(Standing::Active);
    let until = Wall::from_seconds(4_100_000_000);
    bench.set_token("T-1", TokenSet { ends: Some(until), ..TokenSet::default() }).unwrap();
    assert_eq!(bench.token("T-1").value.ends, Some(until));

    // Another contract's user shares it.
    let ids = ["u1", "u2"].map(|name| bench.registered(name).value.user.id);
    bench.set_token("T-1", TokenSet { owners: Some(ids.to_vec()), ..TokenSet::default() }).unwrap();
    let pending = UserSet { pending: Some(Some(TokenSerial::new("T-1"))), ..UserSet::default() };
    bench.set_user("u2", pending).unwrap();
    bench.wait_known("u2", "asked for the first code", is(Standing::AwaitsConfirmation));
    assert_eq!(bench.confirm("u2", "T-1"), Ok(Confirmed::Yes));
    for bench in [&bench, &watcher] {
        bench.wait_known("u1", "active", is_active);
        bench.wait_known("u2", "active", is_active);
    }
    // Who is not listed has nothing of it.
    let thief = slapd.add_person("thief", "x");
    slapd.refer(&thief, &slapd::token_dn("T-1"));
    watcher.wait_known("thief", "refused", |user| is_unusable(user, Defect::OwnerDiffers));
    watcher.wait_known("u1", "active", is_active);

    // Exchange, undo, revoke.
    bench.add("T-2", State::Active).unwrap();
    let exchange = UserSet { former: Some(Some(TokenSerial::new("T-1"))), ..refer("T-2") };
    bench.set_user("u1", exchange).unwrap();
    let user = bench.registered("u1").value;
    let serials = [user.token, user.former].map(|serial| serial.unwrap().to_string());
    assert_eq!(serials, ["T-2", "T-1"]);
    bench.set_token("T-2", state(State::Revoked)).unwrap();
    at_once(Standing::Revoked);
    let from = Wall::from_seconds(1_700_001_800);
    let revoked = UserSet {
        token: Some(None),
        former: Some(None),
        reissue_from: Some(Some(from)),
        ..UserSet::default()
    };
    bench.set_user("u1", revoked).unwrap();
    let user = bench.registered("u1").value;
    assert_eq!((user.token, user.former, user.reissue_from), (None, None, Some(from)));
    let token = bench.token("T-2");
    bench.change(Change::RemoveToken { id: token.value.id, version: token.version }).unwrap();
    let choice = UserSet { login_code: Some(LoginCode::NotRequired), ..UserSet::default() };
    bench.set_user("u1", choice).unwrap();
    assert_eq!(bench.registered("u1").value.user.login_code, Some(LoginCode::NotRequired));

    // Nothing of this left the process open, and the parameter entry was found, not made.
    let dump = slapd.dump();
    assert!(!dump.contains(&slapd::base64(KEY)));
    assert!(!dump.contains("sekisho-totp"));
    assert!(!slapd.log().contains("written-key"));
}

#[test]
fn parameters_are_found_or_made_and_lists_come_in_pages() {
    let slapd = Slapd::start(&writable());
    let bench = Bench::new(sealing(&[slapd.port()], Mode::Ask));
    let parameters = Parameters {
        algorithm: crate::otp::Algorithm::Sha256,
        digits: crate::otp::Digits::SIX,
        ..Parameters::default()
    };
    for serial in ["S-3", "S-1", "S-2"] {
        let token = NewToken { parameters, ..new(serial, State::Inventory) };
        bench.change(Change::AddToken(Box::new(token))).unwrap();
        assert_eq!(bench.token(serial).value.parameters, parameters);
    }
    assert_eq!(slapd.dump().matches("cn: sekisho-totp-6-60-sha256-1").count(), 1);
    bench.add("S-4", State::Active).unwrap();
    let serials = |state, after, limit| -> Vec<String> {
        let tokens = bench.read(bench.registry().tokens(state, after, limit, soon()));
        tokens.into_iter().map(|token| token.serial.to_string()).collect()
    };
    assert_eq!(serials(None, None, 10), ["S-1", "S-2", "S-3", "S-4"]);
    assert_eq!(serials(Some(State::Inventory), Some("S-1"), 1), ["S-2"]);
    assert_eq!(serials(Some(State::Active), None, 10), ["S-4"]);
    let users = bench.read(bench.registry().users(None, Some("u1"), 10, soon()));
    assert_eq!(users.iter().map(|user| &*user.user.name).collect::<Vec<_>>(), ["u2"]);
    let of = ContractId::new("c-U2");
    assert_eq!(bench.read(bench.registry().users(Some(&of), None, 10, soon())).len(), 1);
    let contract = |id: &str| Contract {
        id: ContractId::new(id),
        service: ServiceName::new("kenshin-business"),
        since: Wall::from_seconds(1_600_000_000),
    };
    // What could be taken for syntax of a DN is only a name.
    for id in ["C-1", "a+b,c=\"d\"\\ #", "契約"] {
        bench.change(Change::AddContract(contract(id))).unwrap();
        assert_eq!(bench.change(Change::AddContract(contract(id))), Err(NotChanged::Exists));
        let seen = bench.read(bench.registry().contract(&ContractId::new(id), soon())).unwrap();
        assert_eq!(seen.value, contract(id));
    }
    assert_eq!(bench.read(bench.registry().contracts(soon())).len(), 3);
    let seen = bench.read(bench.registry().contract(&ContractId::new("C-1"), soon())).unwrap();
    let end = || Change::RemoveContract { id: ContractId::new("C-1"), version: seen.version.clone() };
    bench.change(end()).unwrap();
    assert_eq!(bench.change(end()), Err(NotChanged::Conflict));
}

#[test]
fn of_two_operators_one_loses_cleanly() {
    let slapd = Slapd::start(&writable());
    let benches = [(); 2].map(|()| Bench::new(sealing(&[slapd.port()], Mode::Ask)));
    for serial in ["A", "B"] {
        benches[0].add(serial, State::Active).unwrap();
    }
    for _ in 0..10 {
        let change = |bench: &Bench, serial: &str| {
            let user = bench.registered("u1");
            Change::User { id: user.value.user.id, version: user.version, set: refer(serial) }
        };
        let changes = [change(&benches[0], "A"), change(&benches[1], "B")];
        let results: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = benches
                .iter()
                .zip(changes)
                .map(|(bench, change)| scope.spawn(move || bench.change(change)))
                .collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        assert!(results.contains(&Err(NotChanged::Conflict)), "{results:?}");
        let token = benches[0].registered("u1").value.token.unwrap();
        assert_eq!(token.as_str(), if results[0].is_ok() { "A" } else { "B" });
    }
    let gone = UserSet { token: Some(None), ..UserSet::default() };
    benches[0].set_user("u1", gone).unwrap();
    assert!(standings(&benches[1].found("u1")).is_empty());
}

#[test]
fn what_is_missing_is_said_and_reading_goes_on() {
    let words = |result: Result<(), NotChanged>| match result {
        Err(NotChanged::Refused(words)) => words.to_string(),
        other => panic!("{other:?}"),
    };
    // No classes of ours, and no right to write.
    let slapd = Slapd::start(&Options { ldif: person_ldif("alice"), ..Options::default() });
    let bench = Bench::new(sealing(&[slapd.port()], Mode::Ask));
    assert_eq!(bench.registered("alice").value.token, Some(TokenSerial::new("alice")));
    assert_eq!(bench.token("alice").value.state, State::Active);
    assert!(words(bench.add("T", State::Issued)).contains("sekisho.ldif"));
    assert!(words(bench.set_token("alice", state(State::Suspended))).contains("sekisho.ldif"));
    assert!(is_active(&bench.found("alice")));

    // The classes, and no right.
    let schema = vec![slapd::our_schema()];
    let slapd = Slapd::start(&Options { schema, ldif: person_ldif("alice"), ..Options::default() });
    let bench = Bench::new(sealing(&[slapd.port()], Mode::Ask));
    assert!(words(bench.add("T", State::Issued)).contains("bind-dn may not write here"));
    assert!(words(bench.set_token("alice", state(State::Suspended))).contains("bind-dn may not write here"));

    // Everything but a key, or but the container.
    let slapd = Slapd::start(&writable());
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    assert_eq!(bench.add("T", State::Active), Err(NotChanged::NoSealKey));
    let token_base = format!("ou=nowhere,{}", slapd::BASE);
    let bench = Bench::new(Settings { token_base, ..sealing(&[slapd.port()], Mode::Ask) });
    assert!(words(bench.add("T", State::Active)).contains("does not exist"));
    let bench = Bench::new(sealing(&[slapd.port()], Mode::Ask));
    assert!(words(bench.add("トークン", State::Active)).contains("serial numbers have"));
    assert!(words(bench.set_user("u1", refer("none"))).contains("no single token"));

    // Another layout.
    let bench = Bench::new(Settings { layout: Layout::freeipa(), ..sealing(&[slapd.port()], Mode::Ask) });
    assert!(words(bench.add("T", State::Active)).contains("only the layout \"oath\""));
}

#[test]
fn a_read_only_replica_is_passed_by() {
    let master = Slapd::start(&writable());
    let replica = master.replica(&Options { database: "readonly on\n".into(), ..writable() });
    let bench = Bench::new(sealing(&[replica.port(), master.port()], Mode::Ask));
    for server in 0..2 {
        bench.wait_up(server, true);
    }
    // Read on the replica, which is as it was; changed on the master, where acts read from now on.
    let choice = |choice| UserSet { login_code: Some(choice), ..UserSet::default() };
    bench.set_user("u1", choice(LoginCode::Required)).unwrap();
    bench.set_user("u1", choice(LoginCode::NotRequired)).unwrap();
    assert_eq!(bench.registered("u1").value.user.login_code, Some(LoginCode::NotRequired));

    let alone = Bench::new(sealing(&[replica.port()], Mode::Ask));
    let refused = alone.set_user("u1", choice(LoginCode::Required));
    assert!(
        matches!(&refused, Err(NotChanged::Refused(words)) if words.contains("takes no changes")),
        "{refused:?}"
    );
}

#[test]
fn keys_rotate_and_every_token_is_sealed_anew_while_others_change_them() {
    const TOKENS: usize = 210;
    let slapd = Slapd::start(&writable());
    let bench = Bench::new(sealing(&[slapd.port()], Mode::Follow));
    let other_node = Bench::new(sealing(&[slapd.port()], Mode::Follow));
    for number in 0..TOKENS {
        bench.add(&format!("T-{number:03}"), State::Active).unwrap();
    }
    slapd.add_token(slapd::Token { cn: "plain", secret: &[7; 20], params: slapd::PARAMS_DN });
    bench.set_user("u1", refer("T-000")).unwrap();
    other_node.wait_known("u1", "active", is_active);

    let both = || {
        let mut both = Keyring::default();
        both.add(&Keyring::line("2027", &[8; 32])).unwrap();
        both.add(&Keyring::line("2026", &[9; 32])).unwrap();
        both
    };
    bench.ldap.keyring().take_over(&both());
    let told = std::sync::atomic::AtomicUsize::new(0);
    let tell = |_: &Rewrapped| {
        told.fetch_add(1, Ordering::Relaxed);
    };
    let rewrap = || bench.runtime.block_on(bench.registry().rewrap(&tell)).unwrap();
    let done = std::thread::scope(|scope| {
        let meddling = scope.spawn(|| {
            for number in (0..TOKENS).step_by(7) {
                let seen = bench.token(&format!("T-{number:03}"));
                let set = Box::new(TokenSet {
                    ends: Some(Wall::from_seconds(4_100_000_000)),
                    ..TokenSet::default()
                });
                let (id, serial, version) = (seen.value.id, seen.value.serial, seen.version);
                // Sealing may have been faster: that is a conflict like any other.
                let changed = bench.change(Change::Token { id, serial, version, set });
                assert!(matches!(changed, Ok(()) | Err(NotChanged::Conflict)), "{changed:?}");
            }
        });
        let done = rewrap();
        meddling.join().unwrap();
        done
    });
    let all = u64::try_from(TOKENS).unwrap();
    assert_eq!(
        (done.looked_at, done.resealed, done.plain, done.failed),
        (all + 1, all, 1, 0),
        "{:?}",
        done.why
    );
    assert!(told.load(Ordering::Relaxed) >= 2, "progress is told page by page");
    assert_eq!(rewrap().resealed, 0, "what is done is passed over");
    let dump = slapd.dump().replace("\n ", "");
    let new = slapd::base64(b"{sekisho:v1}2027");
    let new = new.trim_end_matches('=');
    // Three octets make four digits: all but the last group are the same whatever comes behind.
    let new = &new[..new.len() / 4 * 4];
    assert_eq!(
        dump.matches(&format!("oathSecret:: {new}")).count()
            + dump.matches("oathSecret: {sekisho:v1}2027").count(),
        TOKENS
    );
    assert_eq!(bench.token("T-000").value.secret, Some(Secret::new(KEY)));
    bench.wait_known("u1", "active", is_active);

    // A node that does not have the new key cannot judge, until it has.
    other_node.wait_known("u1", "sealed", |user| is_unusable(user, Defect::SecretSealed));
    other_node.ldap.keyring().take_over(&both());
    other_node.wait_known("u1", "active", is_active);

    // A key that is given up too early is told by its tokens.
    let mut lost = Keyring::default();
    lost.add(&Keyring::line("2028", &[7; 32])).unwrap();
    bench.ldap.keyring().take_over(&lost);
    let done = rewrap();
    assert_eq!((done.resealed, done.failed, done.why.len()), (0, all, Rewrapped::NAMED));
    assert!(done.why[0].1.contains("2027"), "{:?}", done.why[0]);
}

/// A relay before slapd that cuts everything at one message of the client.
struct Cutter {
    port: u16,
    /// Messages until the cut; far below zero: never.
    left: Arc<AtomicI64>,
}

/// Whether the message at which everything is cut reaches the server.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Before,
    After,
}

const NEVER: i64 = i64::MIN / 2;

impl Cutter {
    fn before(server: u16, cut: Cut) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicI64::new(NEVER));
        let counting = Arc::clone(&left);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if (NEVER..=0).contains(&counting.load(Ordering::SeqCst))
                    && counting.load(Ordering::SeqCst) > NEVER
                {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let left = Arc::clone(&counting);
                std::thread::spawn(move || relay(client, server, &left, cut));
            }
        });
        Cutter { port, left }
    }
}

fn relay(mut client: TcpStream, mut server: TcpStream, left: &Arc<AtomicI64>, cut: Cut) {
    let (mut back_from, mut back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let is_cut = Arc::clone(left);
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = back_from.read(&mut buffer) {
            let count = is_cut.load(Ordering::SeqCst);
            if (count <= 0 && count > NEVER) || back_to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = back_to.shutdown(Shutdown::Both);
        let _ = back_from.shutdown(Shutdown::Both);
    });
    let mut arrived = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        arrived.extend_from_slice(&buffer[..read]);
        while let Ok(Some((header, length))) = super::super::ber::header(&arrived) {
            if arrived.len() < header + length {
                break;
            }
            let message: Vec<u8> = arrived.drain(..header + length).collect();
            let counts = left.load(Ordering::SeqCst) > NEVER;
            if counts && left.fetch_sub(1, Ordering::SeqCst) <= 1 {
                if matches!(cut, Cut::After) {
                    // The answer goes nowhere; the thread that reads it ends both connections.
                    let _ = server.write_all(&message);
                    return;
                }
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
                return;
            }
            if server.write_all(&message).is_err() {
                return;
            }
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

/// The acts whose steps are cut: each gives what it came to, and can be begun again.
type Act = fn(&Bench) -> Result<(), NotChanged>;

/// Reading that comes to nothing because the connection is cut.
fn reading<T>(bench: &Bench, reading: crate::directory::registry::Read<'_, T>) -> Result<T, NotChanged> {
    Ok(bench.runtime.block_on(reading)?)
}

fn set(bench: &Bench, serial: &str, to: State) -> Result<(), NotChanged> {
    let seen = reading(bench, bench.registry().token(&TokenSerial::new(serial), soon()))?.unwrap();
    if seen.value.state == to {
        return Ok(());
    }
    let (id, serial) = (seen.value.id, seen.value.serial);
    bench.change(Change::Token { id, serial, version: seen.version, set: Box::new(state(to)) })
}

fn bind(bench: &Bench, set: UserSet) -> Result<(), NotChanged> {
    let name = UserName::new(b"u1").unwrap();
    let seen = reading(bench, bench.registry().user(&name, soon()))?.unwrap();
    bench.change(Change::User { id: seen.value.user.id, version: seen.version, set })
}

fn issue(bench: &Bench) -> Result<(), NotChanged> {
    match bench.add("NEW", State::Active) {
        Ok(()) | Err(NotChanged::Exists) => {}
        Err(other) => return Err(other),
    }
    bind(bench, refer("NEW"))
}

fn exchange(bench: &Bench) -> Result<(), NotChanged> {
    match bench.add("NEW", State::Inventory) {
        Ok(()) | Err(NotChanged::Exists) => {}
        Err(other) => return Err(other),
    }
    set(bench, "NEW", State::Active)?;
    bind(bench, UserSet { former: Some(Some(TokenSerial::new("OLD"))), ..refer("NEW") })?;
    set(bench, "OLD", State::Revoked)
}

fn revoke(bench: &Bench) -> Result<(), NotChanged> {
    set(bench, "OLD", State::Revoked)?;
    bind(bench, UserSet { token: Some(None), ..UserSet::default() })
}

#[test]
fn s_21_a_cut_at_any_message_leaves_neither_two_usable_tokens_nor_none() {
    let mut cuts = 0;
    for (name, act, begin, allowed, end) in [
        ("issue", issue as Act, None, 0..=1, 1),
        ("exchange", exchange, Some("OLD"), 1..=1, 1),
        ("revoke", revoke, Some("OLD"), 0..=1, 0),
    ] {
        for cut in [Cut::Before, Cut::After] {
            let mut slapd = Slapd::start(&writable());
            for message in 1.. {
                slapd.stop();
                slapd.replace_all(&writable());
                slapd.run();
                let direct = Bench::new(sealing(&[slapd.port()], Mode::Ask));
                if let Some(old) = begin {
                    direct.add(old, State::Active).unwrap();
                    direct.set_user("u1", refer(old)).unwrap();
                }
                let cutter = Cutter::before(slapd.port(), cut);
                let bench = Bench::new(sealing(&[cutter.port], Mode::Ask));
                bench.wait_up(0, true);
                cutter.left.store(message, Ordering::SeqCst);
                let result = act(&bench);
                let reached = cutter.left.swap(NEVER, Ordering::SeqCst) <= 0;
                let usable = || {
                    let user =
                        direct.runtime.block_on(direct.ldap.find(&UserName::new(b"u1").unwrap(), soon()));
                    let Ok(Found::One(user)) = user else { panic!("{user:?}") };
                    standings(&user.whole()).iter().filter(|standing| **standing == Standing::Active).count()
                };
                let what = format!("{name}, {cut:?} message {message}: {result:?}");
                assert!(allowed.contains(&usable()), "{what}: {}", usable());
                assert!(result.is_err() || usable() == end, "{what}");
                if !reached {
                    assert_eq!(result, Ok(()), "{what}");
                    break;
                }
                cuts += 1;
                // Whoever looks and begins again gets to the end.
                assert!(act(&direct).is_ok(), "{what}");
                assert_eq!(usable(), end, "{what}");
            }
        }
    }
    assert!(cuts > 40, "{cuts}");
}
