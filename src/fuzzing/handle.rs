//! A whole day of a daemon from octets: datagrams, answers of the directory and the clock, through the real pipeline.

use super::{Input, secrets};
use crate::clock::{Moment, Mono};
use crate::directory::registry::Confirmed;
use crate::directory::{Found, PasswordAnswer, Unavailable};
use crate::identity::{ClientName, EntryId, ServiceName, TokenSerial};
use crate::listen::{Arrival, ReturnAddress, SocketNumber};
use crate::metrics::Metrics;
use crate::otp::{self, Algorithm, Code, Digits, Moving, Parameters, Period, Window};
use crate::outcome::{Reason, Verdict};
use crate::pipeline::{Answer, Case, Outgoing, Pipeline, Question, Settings, Step, Tables};
use crate::policy::{
    Charset, Client, Clients, PasswordCheck, PasswordEncoding, Patience, Profile, SecondStep, UserNameForm,
};
use crate::radius::client::Asked;
use crate::radius::packet::ATTRIBUTES_MAX;
use crate::radius::{Attribute, Demand, Packet, ProxyState, SignaturePolicy};
use crate::secret::Secret;
use crate::state::{
    Admission, Bindings, Challenges, Duplicates, Durable, Mark, Passing, Scope, Sources, TimeGuard,
};
use crate::store::Entries;
use crate::tokens::{Account, KeptUser, Role, Standing, Token, Tokens, User};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A moment in the middle of a step of 30 s.
const OPENING: Moment = Moment::at(1_700_000_010, Mono::from_nanos(1_000_000_000));

/// More events than this find nothing that fewer do not.
const EVENTS_MAX: usize = 64;

/// Plays the events that the octets spell. No event may panic, no code is accepted twice, every reply verifies, and when
/// everything is over nothing is held.
pub fn handle(octets: &[u8]) {
    let mut input = Input(octets);
    let Some(mut play) = Play::open(input.octet()) else { return };
    for _ in 0..EVENTS_MAX {
        if input.0.is_empty() {
            break;
        }
        play.event(&mut input);
    }
    play.close();
}

struct Play {
    pipeline: Pipeline,
    now: Moment,
    sent: Vec<(Vec<u8>, SocketAddr)>,
    asking: Vec<(Box<Case>, Question)>,
    leaving: Vec<Outgoing>,
    /// What the last call left for the journal.
    entries: Entries,
    /// The last accepted step of each token.
    accepted: HashMap<EntryId, u64>,
}

impl Play {
    fn open(kind: u8) -> Option<Play> {
        static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();
        let metrics =
            METRICS.get_or_init(|| Arc::new(Metrics::new().unwrap_or_else(|_| std::process::abort())));
        let (scope, everybody) = if kind & 1 == 0 {
            (Scope::Complete { max_stale: Duration::from_secs(300) }, true)
        } else {
            (Scope::Cache { lifetime: Duration::from_secs(5), capacity: 2 }, false)
        };
        let bindings = Bindings::new(scope);
        if everybody {
            for number in 0..3 {
                bindings.put(&user(number), &[name(number)], OPENING.mono);
            }
            bindings.confirm(OPENING.mono);
        }
        let tables = Tables {
            durable: Arc::new(Durable::default()),
            passing: Arc::new(Passing {
                duplicates: Duplicates::new(4, 8, Duration::from_secs(30)),
                challenges: Challenges::new(4, Secret::new([7; 32])),
                sources: Sources::default(),
            }),
            bindings: Arc::new(bindings),
            admission: Arc::new(Admission::new(4, 6)),
            time_guard: Arc::new(TimeGuard::new(OPENING, None)),
        };
        let settings = Settings::new(clients()?, ATTRIBUTES_MAX, metrics, None).ok()?;
        Some(Play {
            pipeline: Pipeline::new(settings, tables, Arc::clone(metrics), 1),
            now: OPENING,
            sent: Vec::new(),
            asking: Vec::new(),
            leaving: Vec::new(),
            entries: Entries::default(),
            accepted: HashMap::new(),
        })
    }

    fn event(&mut self, input: &mut Input<'_>) {
        match input.octet() % 8 {
            0 => {
                let length = usize::from(u16::from_be_bytes(input.array()));
                let octets = input.take(length).to_vec();
                self.arrive(octets, peer(input.octet()));
            }
            kind @ 1..=3 => {
                let asked = Asked { identifier: input.octet() % 4, authenticator: [input.octet(); 16] };
                let (from, number) = (peer(input.octet()), u32::from(input.octet() % 4));
                let length = usize::from(input.octet());
                let mut field = input.take(length).to_vec();
                if kind > 1 {
                    let steps = i64::from(input.octet() % 5) - 2;
                    field.extend_from_slice(code(number, self.now, steps).as_bytes());
                }
                let count = input.octet() % 4;
                let others: Vec<Attribute<'_>> = (0..count).filter_map(|_| input.attribute()).collect();
                let Some(secrets) = secrets() else { return };
                let request =
                    asked.access_request(&secrets.current, name(number).as_bytes(), &field, &others);
                if let Ok(octets) = request {
                    self.arrive(octets, from);
                }
            }
            4 => {
                let at = usize::from(input.octet());
                if let Some((octets, from)) = self.sent.get(at).cloned() {
                    self.arrive(octets, from);
                }
            }
            5 => {
                let (at, said) = (usize::from(input.octet()), input.octet());
                if at < self.asking.len() {
                    let (case, question) = self.asking.swap_remove(at);
                    self.answer(case, &question, said);
                }
            }
            6 => {
                let seconds = u64::from(u16::from_be_bytes(input.array()));
                match input.octet() % 4 {
                    // The wall clock is moved, and the other one goes on.
                    0 => self.now.wall = self.now.wall.plus(Duration::from_secs(seconds)),
                    _ => self.now = self.now.plus(Duration::from_millis(seconds * 10)),
                }
                let tables = self.pipeline.tables();
                if seconds & 1 == 0 {
                    tables.bindings.confirm(self.now.mono);
                }
                tables.passing.sweep(self.now);
            }
            _ => {
                let at = usize::from(input.octet());
                match input.octet() % 3 {
                    0 if at < self.asking.len() => drop(self.asking.swap_remove(at)),
                    1 if at < self.leaving.len() => drop(self.leaving.swap_remove(at)),
                    _ if at < self.leaving.len() => {
                        let mut outgoing = self.leaving.swap_remove(at);
                        let _ = outgoing.leave(self.now.mono);
                    }
                    _ => {}
                }
            }
        }
    }

    fn arrive(&mut self, octets: Vec<u8>, from: SocketAddr) {
        let back = ReturnAddress { peer: from, socket: SocketNumber(0), local: None };
        let arrival = Arrival { octets: &octets, from: back, at: self.now };
        self.entries.clear();
        let step = self.pipeline.begin(&arrival, &mut self.entries);
        let known = from.ip().is_loopback();
        assert!(known || matches!(step, Step::Silent), "strangers hear nothing");
        if let Step::Resend(_, reply) = &step {
            check(&octets, reply);
        }
        if let Step::Done(outgoing) = &step
            && let Some((_, reply)) = &outgoing.reply
        {
            check(&octets, reply);
        }
        self.sent.push((octets, from));
        self.go_on(step);
    }

    fn answer(&mut self, case: Box<Case>, question: &Question, said: u8) {
        let nobody = match said % 8 {
            6 => Some(Unavailable::Unreachable),
            7 => Some(Unavailable::TooLate),
            _ => None,
        };
        let answer = match (question, nobody) {
            (Question::Find(_), Some(unavailable)) => Answer::Found(Err(unavailable)),
            (Question::Find(asked), None) => {
                let number = (0..3).find(|&number| name(number).as_bytes() == asked.octets());
                Answer::Found(Ok(match number {
                    Some(number) if said % 8 < 4 => Found::One(KeptUser::new(&user(number))),
                    _ if said % 8 == 5 => Found::Several,
                    _ => Found::Nobody,
                }))
            }
            // None of these users' tokens waits for its first code.
            (Question::Confirm(..), Some(unavailable)) => Answer::Confirmed(Err(unavailable.into())),
            (Question::Confirm(..), None) => Answer::Confirmed(Ok(Confirmed::Yes)),
            (Question::Password(_, password), nobody) => {
                assert!(!password.is_empty(), "an empty password reaches no directory");
                Answer::Password(match nobody {
                    Some(unavailable) => Err(unavailable),
                    None if said.is_multiple_of(8) => Ok(PasswordAnswer::Wrong),
                    None if said % 8 == 1 => Ok(PasswordAnswer::Locked),
                    None => Ok(PasswordAnswer::Right),
                })
            }
            (Question::Settle(..) | Question::Note(..), _) => unreachable!("there is no other node"),
        };
        self.entries.clear();
        let step = self.pipeline.resume(case, answer, self.now, &mut self.entries);
        self.go_on(step);
    }

    fn go_on(&mut self, step: Step) {
        match step {
            Step::Silent | Step::Resend(..) => {}
            Step::Ask(case, question) => self.asking.push((case, question)),
            Step::Done(outgoing) => {
                let reason = outgoing.reason;
                assert_eq!(outgoing.reply.is_some(), reason.verdict() != Verdict::Drop);
                assert_eq!(outgoing.not_before.is_some(), reason.verdict() == Verdict::Reject);
                assert_eq!(self.entries.count(), 1, "an entry for everything that is judged");
                if reason == Reason::CodeAccepted {
                    let marks = self.entries.iter().flat_map(|entry| entry.marks());
                    let used = marks.filter_map(|mark| match mark {
                        Mark::Token(mark) => Some((mark.token, mark.last?.0)),
                        _ => None,
                    });
                    let used: Vec<(EntryId, u64)> = used.collect();
                    assert!(!used.is_empty(), "an accept leaves a mark");
                    for (token, step) in used {
                        let before = self.accepted.insert(token, step);
                        assert!(before.is_none_or(|before| before < step), "a code was accepted twice");
                    }
                }
                self.leaving.push(outgoing);
            }
        }
    }

    fn close(mut self) {
        self.asking.clear();
        self.leaving.clear();
        let tables = self.pipeline.tables();
        assert_eq!(tables.admission.in_flight(), 0, "every place is given back");
        assert!(
            tables.durable.users.len() <= 3 && tables.durable.tokens.len() <= 6,
            "strangers leave no state"
        );
        let later = self.now.plus(Duration::from_secs(3600));
        tables.passing.sweep(later);
        assert!(
            tables.passing.duplicates.is_empty() && tables.passing.challenges.is_empty(),
            "everything runs out"
        );
    }
}

/// What leaves is what a careful gateway takes.
fn check(request: &[u8], reply: &[u8]) {
    let (Ok(header), Some(secrets)) = (Packet::peek(request), secrets()) else { return };
    let asked = Asked { identifier: header.identifier, authenticator: *header.authenticator };
    let read = asked.verify_reply(reply, &secrets.current);
    assert!(read.is_ok(), "a reply that nobody could verify: {read:?}");
}

/// Three clients, each with other habits, and strangers.
fn peer(number: u8) -> SocketAddr {
    match number % 8 {
        7 => ([192, 0, 2, 1], 1645).into(),
        number => ([127, 0, 0, number % 3 + 1], 1645).into(),
    }
}

fn clients() -> Option<Clients> {
    let mut plain = Profile::new(ServiceName::new("plain"));
    plain.layout = otp::Layout::PasswordCode;
    let mut steps = Profile::new(ServiceName::new("steps"));
    steps.second_step = SecondStep::Always;
    let mut checked = Profile::new(ServiceName::new("checked"));
    checked.password = PasswordCheck::GatewayChecked;
    checked.second_step = SecondStep::WhenMissing;
    let demands =
        [Demand::Required, Demand::Pinnable, Demand::Optional { limit_proxy_state: ProxyState::Unlimited }];
    let mut all = Vec::new();
    for (at, (profile, require)) in [plain, steps, checked].into_iter().zip(demands).enumerate() {
        let encoding = PasswordEncoding {
            charset: if at == 1 { Charset::Cp932 } else { Charset::Utf8 },
            ..PasswordEncoding::default()
        };
        all.push(Client {
            name: ClientName::new(&format!("client{at}")),
            number: 0,
            networks: vec![format!("127.0.0.{}/32", at + 1).parse().ok()?],
            profile: Arc::new(profile),
            secrets: secrets()?,
            signature: SignaturePolicy { require, ..SignaturePolicy::default() },
            encoding,
            patience: Patience::default(),
            user_name: UserNameForm::StripRealm,
            in_flight_max: Client::IN_FLIGHT_MAX,
            lost_answer_grace: std::time::Duration::ZERO,
        });
    }
    Clients::new(all).ok()
}

fn name(number: u32) -> String {
    format!("user{number}")
}

/// A user with a token of six digits and one of eight.
fn user(number: u32) -> User {
    let tokens = [Digits::SIX, Digits::EIGHT].into_iter().enumerate().map(|(at, digits)| {
        let secret = Secret::new(key(number));
        Token {
            id: id(number * 2 + at as u32),
            serial: TokenSerial::new(&format!("SN-{number}-{at}")),
            parameters: Parameters {
                algorithm: Algorithm::Sha1,
                digits,
                moving: Moving::Time { period: Period::HALF_MINUTE },
                window: Window::ONE,
            },
            imprint: Token::imprint_of(&secret),
            secret,
            spent: None,
            begins: None,
            ends: None,
            standing: Standing::Active,
        }
    });
    User {
        id: id(number),
        name: name(number).into(),
        dn: format!("uid={}", name(number)).into(),
        contract: None,
        role: Role::General,
        login_code: None,
        account: Account::default(),
        tokens: Tokens::These(tokens.collect()),
    }
}

fn code(number: u32, now: Moment, steps: i64) -> String {
    let step = otp::step_at(now.wall, Period::HALF_MINUTE).0.saturating_add_signed(steps);
    let digits = if number & 1 == 0 { Digits::SIX } else { Digits::EIGHT };
    Code::shown(otp::truncated(&key(number), Algorithm::Sha1, otp::Step(step)), digits).expose()
}

fn key(number: u32) -> Vec<u8> {
    [&b"1234567890123456"[..], &number.to_be_bytes()].concat()
}

fn id(number: u32) -> EntryId {
    EntryId::new(u128::from(number).to_be_bytes())
}
