//! A pipeline over made-up users, with a clock that stands still until it is moved and answers that are given by hand.

use sekisho::clock::{Moment, Mono, Wall};
use sekisho::directory::Found;
use sekisho::identity::{ClientName, EntryId, ServiceName, TokenSerial};
use sekisho::listen::{Arrival, ReturnAddress, SocketNumber};
use sekisho::metrics::Metrics;
use sekisho::otp::{self, Algorithm, Code, Digits, Moving, Parameters, Period, Step as CodeStep, Window};
use sekisho::pipeline::{Answer, Case, Outgoing, Pipeline, Question, Settings, Step, Tables};
use sekisho::policy::{Client, Clients, PasswordEncoding, Patience, Profile, UserNameForm};
use sekisho::radius::client::Asked;
use sekisho::radius::packet::ATTRIBUTES_MAX;
use sekisho::radius::{Attribute, PacketOctets, Secrets, SharedSecret, SignaturePolicy};
use sekisho::secret::Secret;
use sekisho::state::{
    Admission, Bindings, Challenges, Duplicates, Durable, Mark, Passing, Scope, Sources, TimeGuard,
};
use sekisho::store::Entries;
use sekisho::tokens::{Account, KeptUser, Role, Standing, Token, Tokens, User};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub const SECRET: &[u8] = b"9fJ2-kQ7_vT4.xL8~bN1+wR6=yH3!pD5";
pub const PASSWORD: &str = "correct horse 42";
/// A moment in the middle of a step of 30 s.
pub const OPENING: Moment = Moment::at(1_700_000_010, Mono::from_nanos(1_000_000_000));

/// Whether the bank's memory holds everybody, or everybody has to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    Everybody,
    Nobody,
}

pub struct Bank {
    pub pipeline: Pipeline,
    pub now: Moment,
    secret: SharedSecret,
}

impl Bank {
    /// Users `user0`, `user1` …, each with a token of six digits and 30 s.
    pub fn open(users: u32, knows: Knows, profile: Profile) -> Bank {
        // One registry for all banks: to make it costs more than a whole play.
        static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();
        let metrics = Arc::clone(METRICS.get_or_init(|| Arc::new(Metrics::new().unwrap())));
        let client = Client {
            name: ClientName::new("gateway"),
            number: 0,
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            profile: Arc::new(profile),
            secrets: Secrets { current: shared(), next: None },
            signature: SignaturePolicy::default(),
            encoding: PasswordEncoding::default(),
            patience: Patience::default(),
            user_name: UserNameForm::AsSent,
            in_flight_max: Client::IN_FLIGHT_MAX,
            lost_answer_grace: std::time::Duration::ZERO,
        };
        let clients = Clients::new(vec![client]).unwrap();
        let scope = match knows {
            Knows::Everybody => Scope::Complete { max_stale: Duration::from_secs(300) },
            Knows::Nobody => Scope::Cache { lifetime: Duration::from_secs(5), capacity: 10 },
        };
        let bindings = Bindings::new(scope);
        if knows == Knows::Everybody {
            for number in 0..users {
                bindings.put(&user(number), &[name(number)], OPENING.mono);
            }
            bindings.confirm(OPENING.mono);
        }
        let tables = Tables {
            durable: Arc::new(Durable::default()),
            passing: Arc::new(Passing {
                duplicates: Duplicates::new(1, 1_000_000, Duration::from_secs(30)),
                challenges: Challenges::new(1, Secret::new([7; 32])),
                sources: Sources::default(),
            }),
            bindings: Arc::new(bindings),
            admission: Arc::new(Admission::new(1, 4096)),
            time_guard: Arc::new(TimeGuard::new(OPENING, None)),
        };
        let settings = Settings::new(clients, ATTRIBUTES_MAX, &metrics, None).unwrap();
        let pipeline = Pipeline::new(settings, tables, metrics, 1);
        Bank { pipeline, now: OPENING, secret: shared() }
    }

    /// The octets of a login, under an identity that no other request has.
    pub fn request(&self, number: u64, name: &str, field: &[u8], others: &[Attribute<'_>]) -> Sent {
        let mut authenticator = [0x5a; 16];
        authenticator[..8].copy_from_slice(&number.to_be_bytes());
        let asked = Asked { identifier: number as u8, authenticator };
        let octets = asked.access_request(&self.secret, name.as_bytes(), field, others).unwrap();
        // A port of its own for every 256 requests, as a gateway with many sockets has.
        let port = 1024 + u16::try_from(number / 256 % 60_000).unwrap();
        Sent { octets, asked, peer: ([127, 0, 0, 1], port).into() }
    }

    /// Password and code of a user, `steps` from now.
    pub fn login(&self, number: u64, user: u32, steps: i64) -> Sent {
        let field = format!("{PASSWORD}{}", code(user, self.now.wall, steps));
        self.request(number, &name(user), field.as_bytes(), &[])
    }

    pub fn begin(&self, sent: &Sent) -> Came {
        let from = ReturnAddress { peer: sent.peer, socket: SocketNumber(0), local: None };
        let mut entries = Entries::default();
        let arrival = Arrival { octets: &sent.octets, from, at: self.now };
        let step = self.pipeline.begin(&arrival, &mut entries);
        Came::of(step, &entries)
    }

    pub fn resume(&self, case: Box<Case>, answer: Answer) -> Came {
        let mut entries = Entries::default();
        let step = self.pipeline.resume(case, answer, self.now, &mut entries);
        Came::of(step, &entries)
    }

    /// What a reply says, once it is checked as a gateway checks it: its code and, of a challenge, the State.
    pub fn read(&self, sent: &Sent, reply: &[u8]) -> (u8, Option<Vec<u8>>) {
        let packet = sent.asked.verify_reply(reply, &self.secret).expect("a genuine reply");
        (packet.code(), packet.values(24).next().map(<[u8]>::to_vec))
    }
}

#[allow(clippy::large_enum_variant, reason = "short-lived")]
/// What came of a call, with the marks that it left for the journal.
pub enum Came {
    Silent,
    Resend(PacketOctets),
    Done(Finished),
    Ask(Box<Case>, Question),
}

pub struct Finished {
    pub marks: Vec<Mark>,
    pub outgoing: Outgoing,
}

impl Came {
    fn of(step: Step, entries: &Entries) -> Came {
        let judged = matches!(step, Step::Done(_));
        assert_eq!(
            entries.count(),
            u32::from(judged),
            "an entry for everything that is judged, and for nothing else"
        );
        match step {
            Step::Silent => Came::Silent,
            Step::Resend(_, octets) => Came::Resend(octets),
            Step::Ask(case, question) => Came::Ask(case, question),
            Step::Done(outgoing) => {
                let marks = entries.iter().flat_map(|entry| entry.marks().collect::<Vec<_>>()).collect();
                Came::Done(Finished { marks, outgoing })
            }
        }
    }
}

/// A request as it was sent, with what its reply is checked by.
#[derive(Clone)]
pub struct Sent {
    pub octets: Vec<u8>,
    pub asked: Asked,
    pub peer: SocketAddr,
}

/// What the directory finds for `user…`.
pub fn found(number: u32) -> Found {
    Found::One(KeptUser::new(&user(number)))
}

pub fn name(number: u32) -> String {
    format!("user{number}")
}

/// What the user's token shows, `steps` from a time.
pub fn code(number: u32, at: Wall, steps: i64) -> String {
    let step = otp::step_at(at, Period::HALF_MINUTE).0.checked_add_signed(steps).unwrap();
    Code::shown(otp::truncated(&key(number), Algorithm::Sha1, CodeStep(step)), Digits::SIX).expose()
}

/// A code that the user's token shows nowhere near now.
pub fn wrong_code(number: u32, at: Wall) -> String {
    let near: Vec<String> = (-5..=5).map(|steps| code(number, at, steps)).collect();
    (0..).map(|n: u32| format!("{:06}", n * 7919 % 1_000_000)).find(|code| !near.contains(code)).unwrap()
}

/// The test service: no delay, and the directory checks the password.
pub fn profile() -> Profile {
    Profile::new(ServiceName::new("test"))
}

fn key(number: u32) -> [u8; 20] {
    let mut key = *b"12345678901234567890";
    key[..4].copy_from_slice(&number.to_be_bytes());
    key
}

fn shared() -> SharedSecret {
    SharedSecret::new(Secret::new(SECRET)).unwrap()
}

fn user(number: u32) -> User {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let secret = Secret::new(key(number));
    let token = Token {
        id: EntryId::new(id),
        serial: TokenSerial::new(&format!("SN-{number}")),
        parameters: Parameters {
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            moving: Moving::Time { period: Period::HALF_MINUTE },
            window: Window::ONE,
        },
        imprint: Token::imprint_of(&secret),
        secret,
        spent: None,
        begins: None,
        ends: None,
        standing: Standing::Active,
    };
    User {
        id: EntryId::new(id),
        name: name(number).into(),
        dn: format!("uid={},ou=people,dc=example,dc=jp", name(number)).into(),
        contract: None,
        role: Role::General,
        login_code: None,
        account: Account::default(),
        tokens: Tokens::These(vec![token]),
    }
}
