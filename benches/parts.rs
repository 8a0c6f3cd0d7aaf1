//! What each step of one login costs, by itself, in the order of the pipeline.
//!
//! `cargo bench --bench parts`; the sum of the steps is what a worker spends beside the kernel's part of a datagram.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::type_complexity,
    reason = "what goes wrong here has to stop the run, and it is about real time"
)]

#[path = "../tests/core/bank.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod bank;

use bank::{Bank, Came, Knows};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sekisho::authenticate::{ClockHint, Decision, Facts, Stage, decide};
use sekisho::clock::{Mono, Wall};
use sekisho::identity::{ClientName, EntryId, RequestId, ServiceName, TokenSerial, UserName};
use sekisho::lockout::Lockout;
use sekisho::metrics::Metrics;
use sekisho::otp::{self, Algorithm, Code, Digits, Drift, Moving, Parameters, Period, Step, Window};
use sekisho::outcome::Reason;
use sekisho::policy::{PasswordCheck, Profile, Requirement};
use sekisho::radius::client::Asked;
use sekisho::radius::packet::ATTRIBUTES_MAX;
use sekisho::radius::{
    Attribute, Packet, PacketOctets, Pinned, ReplyContent, ReplyTo, Request, Secrets, SharedSecret,
    SignaturePolicy, encode,
};
use sekisho::secret::Secret;
use sekisho::state::{Bindings, Duplicates, Mark, Renewal, Scope, TokenMark, Use, duplicates};
use sekisho::store::{self, Batch, Durability, Staged, Store};
use sekisho::tokens::{Account, KeptUser, Past, Role, Standing, Token, Tokens, User};
use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

const NOW: Wall = Wall::from_seconds(1_700_000_010);
const SECRET: &[u8] = b"9fJ2-kQ7_vT4.xL8~bN1+wR6=yH3!pD5";
const KEY: &[u8] = b"12345678901234567890";
const NAME: &str = "user00012345";
const ASKED: Asked = Asked { identifier: 7, authenticator: *b"0123456789abcdef" };

criterion_group!(parts, wire, judgement, memory, evidence, journal, whole);
criterion_main!(parts);

/// Octets in, octets out.
fn wire(criterion: &mut Criterion) {
    let secrets = Secrets { current: shared(), next: None };
    let policy = SignaturePolicy::default();
    let field = field();
    let port = [Attribute { kind: 5, value: &[0, 0, 0, 1] }];
    let octets = ASKED.access_request(&secrets.current, NAME.as_bytes(), field.as_bytes(), &port).unwrap();
    let decode = || Packet::parse_request(black_box(&octets), ATTRIBUTES_MAX).unwrap();
    let receive = || Request::receive(decode(), &secrets, &policy, Pinned::No).unwrap();
    let request = receive();
    let to = ReplyTo::new(&request).unwrap();
    criterion.bench_function("decode", |b| b.iter(decode));
    criterion.bench_function("receive: decode, verify the signature", |b| b.iter(receive));
    criterion.bench_function("credential: find and unhide", |b| {
        b.iter(|| black_box(request).credential(&secrets).unwrap())
    });
    criterion.bench_function("encode: sign the reply", |b| {
        b.iter(|| encode(black_box(&to), &secrets.current, &ReplyContent::ACCEPT).unwrap())
    });
}

/// Which step, which token, what is left.
fn judgement(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify a code, 3 steps");
    for algorithm in [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
        let parameters = Parameters { algorithm, ..parameters() };
        let wrong = Code::parse(b"000000", Digits::SIX).unwrap();
        group.bench_function(algorithm.text(), |b| {
            b.iter(|| otp::examine(black_box(KEY), &parameters, &wrong, NOW, None, Drift::default()))
        });
    }
    group.finish();

    let (user, profile) = (KeptUser::new(&user(0)), Profile::new(ServiceName::new("bench")));
    let (field, pasts) = (field(), [Past::default()]);
    criterion.bench_function("decide: one token", |b| {
        b.iter(|| {
            let tokens = black_box(&user).tokens();
            let decision = decide(&Facts {
                profile: &profile,
                requirement: Requirement::Required,
                account: user.account(),
                login_code: user.login_code(),
                tokens: &tokens,
                contract: sekisho::authenticate::Contracted::Asked,
                lockout: Lockout::default(),
                pasts: &pasts,
                field: field.as_bytes(),
                stage: Stage::First,
                now: NOW,
                clock_hint: ClockHint::Skip,
            });
            assert!(matches!(decision, Decision::Verify { .. }));
        })
    });
}

/// The tables, each with a hundred thousand entries.
fn memory(criterion: &mut Criterion) {
    const USERS: u32 = 100_000;
    let bindings = Bindings::new(Scope::Complete { max_stale: Duration::from_secs(300) });
    let now = Mono::from_nanos(1);
    for number in 0..USERS {
        bindings.put(&user(number), &[format!("user{number:08}")], now);
    }
    bindings.confirm(now);
    let mut number = 0_u32;
    let mut next = move || {
        // Steps of a prime visit every user, far from the one before.
        number = (number + 61_583) % USERS;
        number
    };
    let names: Vec<UserName> =
        (0..USERS).map(|number| UserName::new(format!("user{number:08}").as_bytes()).unwrap()).collect();
    criterion.bench_function("look up: 100,000 users", |b| {
        b.iter(|| bindings.look_up(&names[next() as usize], now));
    });

    let tokens = sekisho::state::Tokens::default();
    let mut at = 0_u64;
    criterion.bench_function("commit: claim and accept, 100,000 tokens", |b| {
        b.iter(|| {
            at += 1;
            let used = Use {
                token: entry(u32::try_from(at % u64::from(USERS)).unwrap()),
                imprint: 1,
                step: Step(at),
                drift: Drift::default(),
                renewal: Renewal::KeepsStep,
            };
            let claimed = tokens.claim(&used, RequestId(at));
            let _ = black_box(claimed);
            tokens.accept(&used, RequestId(at)).unwrap()
        });
    });

    let seen = Duplicates::new(1, 2_000_000, Duration::from_secs(30));
    let (octets, reply) = ([7_u8; 75], PacketOctets::from([8_u8; 38].as_slice()));
    let mut at = 0_u64;
    criterion.bench_function("duplicates: enter and answer, 65,536 keys", |b| {
        b.iter(|| {
            at += 1;
            let key = duplicates::Key {
                peer: ([127, 0, 0, 1], (at >> 8) as u16 & 0xff).into(),
                socket: 0,
                identifier: at as u8,
                client: 0,
            };
            let authenticator = u128::from(at).to_ne_bytes();
            let entered = seen.enter(key, &authenticator, black_box(&octets), RequestId(at), now);
            let _ = black_box(entered);
            assert!(seen.answer(key, RequestId(at), &reply, now));
        });
    });
}

/// What is counted.
fn evidence(criterion: &mut Criterion) {
    let metrics = Metrics::new().unwrap();
    let client = metrics.client(&ClientName::new("gateway")).unwrap();
    criterion.bench_function("metrics: record", |b| {
        b.iter(|| metrics.record(black_box(&client), Reason::CodeAccepted, Duration::from_micros(80)));
    });
}

/// One entry through the queue into the journal, as fast as the committer takes them: what it costs both threads.
fn journal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal: stage to release");
    for durability in [Durability::Memory, Durability::Relaxed, Durability::Sync] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let settings = store::Settings { durability, ..store::Settings::new(folder.path()) };
        let (opened, _) = store::open(settings, 0, |_| {}).unwrap();
        let store: Store<()> =
            Store::start(opened, |_| {}, |batch: Batch<'_, ()>| drop(black_box(batch.releases))).unwrap();
        let mut at = 0_u32;
        group.bench_function(format!("{durability:?}"), |b| {
            b.iter(|| {
                at += 1;
                let token = Mark::Token(TokenMark {
                    token: entry(at),
                    version: 1,
                    last: Some(Step(u64::from(at))),
                    drift: 0,
                    failures: 0,
                    imprint: 1,
                });
                let mut staged = Staged::one(&[token, Mark::Clock(NOW)], &[b'e'; 200], ());
                // A full queue is what limits: the committer, or the disk behind it.
                while let Err(refused) = store.stage(staged) {
                    staged = refused;
                    std::thread::yield_now();
                }
            });
        });
        store.close();
    }
    group.finish();
}

/// All of a worker's part: from the datagram to what the journal gets and what will leave.
fn whole(criterion: &mut Criterion) {
    const USERS: u64 = 100_000;
    let mut profile = bank::profile();
    profile.password = PasswordCheck::GatewayChecked;
    let bank = RefCell::new(Bank::open(u32::try_from(USERS).unwrap(), Knows::Everybody, profile));
    let mut number = 0_u64;
    criterion.bench_function("begin: a login whose password the gateway has checked", |b| {
        b.iter_batched(
            || {
                number += 1;
                // Every user once in two steps of their tokens.
                let mut bank = bank.borrow_mut();
                bank.now = bank::OPENING.plus(Duration::from_secs(number / USERS * 60));
                bank.pipeline.tables().bindings.confirm(bank.now.mono);
                let user = u32::try_from(number * 61_583 % USERS).unwrap();
                (bank.login(number, user, 0), bank.now)
            },
            |(sent, now)| {
                bank.borrow_mut().now = now;
                let bank = bank.borrow();
                let Came::Done(mut finished) = bank.begin(&sent) else { panic!("judged at once") };
                assert_eq!(finished.outgoing.reason, Reason::CodeAccepted);
                black_box(finished.outgoing.leave(now.mono));
            },
            BatchSize::SmallInput,
        );
    });
}

fn shared() -> SharedSecret {
    SharedSecret::new(Secret::new(SECRET)).unwrap()
}

fn parameters() -> Parameters {
    Parameters {
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        moving: Moving::Time { period: Period::HALF_MINUTE },
        window: Window::ONE,
    }
}

/// A password and the code of this moment.
fn field() -> String {
    let step = otp::step_at(NOW, Period::HALF_MINUTE);
    let code = Code::shown(otp::truncated(KEY, Algorithm::Sha1, step), Digits::SIX);
    format!("correct horse{}", code.expose())
}

fn entry(number: u32) -> EntryId {
    let mut octets = [0; 16];
    octets[..4].copy_from_slice(&number.to_be_bytes());
    EntryId::new(octets)
}

fn user(number: u32) -> User {
    let secret = Secret::new(KEY);
    let token = Token {
        id: entry(number),
        serial: TokenSerial::new("SN-1"),
        parameters: parameters(),
        imprint: Token::imprint_of(&secret),
        secret,
        spent: None,
        begins: None,
        ends: None,
        standing: Standing::Active,
    };
    User {
        id: entry(number),
        name: format!("user{number:08}").into(),
        dn: format!("uid=user{number:08},ou=people,dc=example,dc=jp").into(),
        contract: None,
        role: Role::General,
        login_code: None,
        account: Account::default(),
        tokens: Tokens::These(vec![token]),
    }
}
