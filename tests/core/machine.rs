//! The state machine of a request, driven by hand: every order of requests and answers, with a made-up clock.
//!
//! `begin` and `resume` are all that workers and directory tasks ever call, each from a thread of its own. Whatever
//! they can do to each other, some order of these calls does, so all orders of up to three logins are played.

use crate::bank::{Bank, Came, Knows, PASSWORD, Sent, code, found, name, profile, wrong_code};
use proptest::prelude::*;
use sekisho::directory::{Found, PasswordAnswer, Unavailable};
use sekisho::outcome::{Reason, Verdict};
use sekisho::pipeline::{Answer, Case, Question};
use sekisho::policy::SecondStep;
use sekisho::radius::Attribute;
use sekisho::state::Mark;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the directory does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Right,
    Wrong,
    Unreachable,
    TooLate,
    /// The task that asks ends without an answer, as in a panic.
    Dies,
}

const DOES: [Does; 5] = [Does::Right, Does::Wrong, Does::Unreachable, Does::TooLate, Does::Dies];

/// One login of a play: the step of its code, and what the directory does.
#[derive(Clone, Copy, Debug)]
struct Login {
    steps: i64,
    does: Does,
}

/// A request on its way.
enum Way {
    NotSent(Sent),
    Asking(Sent, Box<Case>, Question),
    Over,
}

/// A play: several logins of one user, moved forward one call at a time.
struct Play {
    bank: Bank,
    ways: Vec<(Login, Way)>,
    ends: Vec<(Login, Reason)>,
    questions: BTreeMap<usize, usize>,
}

impl Play {
    fn new(knows: Knows, logins: &[Login]) -> Play {
        let bank = Bank::open(1, knows, profile());
        let ways = logins.iter().enumerate().map(|(at, login)| {
            // Each from a socket of its own: to the server they are strangers to each other.
            (*login, Way::NotSent(bank.login(at as u64 * 256, 0, login.steps)))
        });
        let ways = ways.collect();
        Play { bank, ways, ends: Vec::new(), questions: BTreeMap::new() }
    }

    /// The next call for one of the requests.
    fn step(&mut self, who: usize) {
        let (login, way) = &mut self.ways[who];
        let login = *login;
        let (sent, step) = match std::mem::replace(way, Way::Over) {
            Way::Over => return,
            Way::NotSent(sent) => {
                let step = self.bank.begin(&sent);
                (sent, step)
            }
            Way::Asking(sent, case, question) => {
                let answer = match (&question, login.does) {
                    (_, Does::Dies) => return,
                    (Question::Find(_), Does::Unreachable) => Answer::Found(Err(Unavailable::Unreachable)),
                    (Question::Find(_), _) => Answer::Found(Ok(found(0))),
                    (Question::Confirm(..), _) => panic!("no token waits for its first code"),
                    (Question::Password(_, password), does) => {
                        assert_eq!(password.expose(), PASSWORD.as_bytes(), "octet for octet");
                        Answer::Password(match does {
                            Does::Right => Ok(PasswordAnswer::Right),
                            Does::Wrong => Ok(PasswordAnswer::Wrong),
                            Does::Unreachable => Err(Unavailable::Unreachable),
                            _ => Err(Unavailable::TooLate),
                        })
                    }
                    (Question::Settle(..) | Question::Note(..), _) => panic!("there is no other node"),
                };
                (sent, self.bank.resume(case, answer))
            }
        };
        match step {
            Came::Silent | Came::Resend(..) => panic!("every login is judged"),
            Came::Ask(case, question) => {
                if let Question::Password(..) = question {
                    *self.questions.entry(who).or_default() += 1;
                    // Codes of one step never have two questions at a time, unless a later code came between.
                    let same = self.ways.iter().filter(|(other, way)| {
                        other.steps == login.steps && matches!(way, Way::Asking(_, _, Question::Password(..)))
                    });
                    let alike = self.ways.iter().all(|(other, _)| other.steps == login.steps);
                    assert!(!alike || same.count() == 0, "one code is being asked about twice");
                }
                self.ways[who].1 = Way::Asking(sent, case, question);
            }
            Came::Done(mut finished) => {
                let reason = finished.outgoing.reason;
                if reason == Reason::CodeAccepted {
                    let durable = finished.marks.iter().any(|mark| matches!(mark, Mark::Token(_)));
                    assert!(durable, "what accepts is made durable first");
                }
                let left = finished.outgoing.leave(self.bank.now.mono).map(|(_, octets)| octets.to_vec());
                assert_eq!(
                    left.is_some(),
                    reason.verdict() != Verdict::Drop,
                    "silence exactly where we cannot say"
                );
                if let Some(octets) = left {
                    let expected = if reason.verdict() == Verdict::Accept { 2 } else { 3 };
                    assert_eq!(self.bank.read(&sent, &octets).0, expected);
                    // The gateway did not hear it and asks again: the same octets, and nobody is judged twice.
                    match self.bank.begin(&sent) {
                        Came::Resend(again) => assert_eq!(*again, *octets),
                        _ => panic!("a retransmission gets the same octets"),
                    }
                }
                self.ends.push((login, reason));
            }
        }
    }

    /// What must hold when everything has come to its end.
    fn over(mut self) {
        assert!(self.ways.iter().all(|(_, way)| matches!(way, Way::Over)), "everything ends");
        assert_eq!(self.bank.pipeline.tables().admission.in_flight(), 0, "every place is given back");
        assert!(self.questions.values().all(|questions| *questions == 1), "one question per login at most");
        let count = |steps: i64, reason: Reason| {
            self.ends.iter().filter(|(login, end)| login.steps == steps && *end == reason).count()
        };
        let mut newest = None;
        for steps in [-1, 0, 1] {
            let accepts = count(steps, Reason::CodeAccepted);
            assert!(accepts <= 1, "a code was accepted {accepts} times");
            if accepts == 1 || count(steps, Reason::PasswordWrong) > 0 {
                newest = Some(steps);
            }
        }
        for (login, end) in &self.ends {
            let fits = match end {
                Reason::CodeAccepted => login.does == Does::Right,
                Reason::PasswordWrong => login.does == Does::Wrong,
                Reason::DirectoryUnreachable => login.does == Does::Unreachable,
                Reason::DirectoryTooLate => login.does == Does::TooLate,
                Reason::CodeUsed => true,
                _ => false,
            };
            assert!(fits, "{login:?} ended as {}", end.text());
        }
        // Whoever comes later finds exactly the codes usable that nobody used up.
        for steps in [-1, 0, 1] {
            self.ways.push((
                Login { steps, does: Does::Right },
                Way::NotSent(self.bank.login(
                    9_000 + steps.unsigned_abs() * 3 + u64::from(steps > 0),
                    0,
                    steps,
                )),
            ));
            let who = self.ways.len() - 1;
            (0..3).for_each(|_| self.step(who));
            let (_, reason) = self.ends.last().unwrap();
            let free = newest.is_none_or(|newest| steps > newest);
            let expected = if free { Reason::CodeAccepted } else { Reason::CodeUsed };
            assert_eq!(*reason, expected, "step {steps} after {:?}", self.ends);
        }
    }
}

/// All orders of `count` requests with `calls` calls each.
fn orders(count: usize, calls: usize) -> Vec<Vec<usize>> {
    fn go(moves: &mut Vec<usize>, left: &mut [usize], all: &mut Vec<Vec<usize>>) {
        if left.iter().all(|left| *left == 0) {
            return all.push(moves.clone());
        }
        for who in 0..left.len() {
            if left[who] > 0 {
                left[who] -= 1;
                moves.push(who);
                go(moves, left, all);
                moves.pop();
                left[who] += 1;
            }
        }
    }
    let mut all = Vec::new();
    go(&mut Vec::new(), &mut vec![calls; count], &mut all);
    all
}

/// Every combination of codes and of what the directory does, for `count` logins.
fn logins(count: usize, steps: &[i64], does: &[Does]) -> Vec<Vec<Login>> {
    let mut all = vec![Vec::new()];
    for _ in 0..count {
        let longer = all.iter().flat_map(|before: &Vec<Login>| {
            steps.iter().flat_map(move |&steps| {
                does.iter().map(move |&does| before.iter().copied().chain([Login { steps, does }]).collect())
            })
        });
        all = longer.collect();
    }
    all
}

fn play_all(knows: Knows, orders: &[Vec<usize>], logins: &[Vec<Login>]) {
    for logins in logins {
        for order in orders {
            let mut play = Play::new(knows, logins);
            order.iter().for_each(|&who| play.step(who));
            play.over();
        }
    }
}

#[test]
fn otp_08_two_logins_in_any_order_of_calls_and_answers() {
    play_all(Knows::Everybody, &orders(2, 2), &logins(2, &[-1, 0, 1], &DOES));
}

#[test]
fn otp_08_three_logins_with_one_code_in_any_order() {
    play_all(Knows::Everybody, &orders(3, 2), &logins(3, &[0], &[Does::Right, Does::Wrong, Does::Dies]));
}

#[test]
fn otp_08_two_logins_of_a_user_who_has_to_be_found_first() {
    play_all(Knows::Nobody, &orders(2, 3), &logins(2, &[0, 1], &DOES));
}

#[test]
fn ldap_04_whoever_is_nobody_or_several_is_refused_like_anybody() {
    for (answer, reason) in [(Found::Nobody, Reason::UserUnknown), (Found::Several, Reason::UserAmbiguous)] {
        let bank = Bank::open(0, Knows::Nobody, profile());
        let sent = bank.login(1, 0, 0);
        let Came::Ask(case, Question::Find(asked)) = bank.begin(&sent) else { panic!("asked for") };
        assert_eq!(asked.octets(), name(0).as_bytes());
        let Came::Done(finished) = bank.resume(case, Answer::Found(Ok(answer))) else { panic!("judged") };
        assert_eq!(finished.outgoing.reason, reason);
        assert!(finished.outgoing.not_before.is_some(), "rejects are held back");
        assert!(finished.marks.is_empty(), "unknown names leave no state");
    }
}

#[test]
fn rad_37_a_retransmission_while_the_directory_is_asked_is_dropped() {
    let bank = Bank::open(1, Knows::Everybody, profile());
    let sent = bank.login(1, 0, 0);
    let Came::Ask(case, question) = bank.begin(&sent) else { panic!("asked") };
    assert!(matches!(bank.begin(&sent), Came::Silent), "one judgement at a time");
    // The first ends without an answer: the gateway's next attempt is judged anew, and the code still works.
    drop((case, question));
    let Came::Ask(case, _) = bank.begin(&sent) else { panic!("asked again") };
    let Came::Done(finished) = bank.resume(case, Answer::Password(Ok(PasswordAnswer::Right))) else {
        panic!("judged")
    };
    assert_eq!(finished.outgoing.reason, Reason::CodeAccepted);
}

#[test]
fn rad_38_a_newer_request_with_the_same_identifier_silences_the_older() {
    let bank = Bank::open(2, Knows::Everybody, profile());
    let (first, second) = (bank.login(1, 0, 0), bank.login(1 + (256 * 60_000), 1, 0));
    assert_eq!((first.peer, first.octets[1]), (second.peer, second.octets[1]), "the same place");
    let Came::Ask(older, _) = bank.begin(&first) else { panic!("asked") };
    let Came::Ask(newer, _) = bank.begin(&second) else { panic!("asked") };
    assert!(older.is_superseded() && !newer.is_superseded());
    let answer = || Answer::Password(Ok(PasswordAnswer::Right));
    let Came::Done(mut late) = bank.resume(older, answer()) else { panic!("judged") };
    assert!(late.outgoing.leave(bank.now.mono).is_none(), "the reply to the older is not sent");
    let Came::Done(mut reply) = bank.resume(newer, answer()) else { panic!("judged") };
    assert!(reply.outgoing.leave(bank.now.mono).is_some());
}

#[test]
fn chl_03_one_state_taken_up_by_two_requests_accepts_at_most_once() {
    for order in orders(2, 2) {
        let mut profile = profile();
        profile.second_step = SecondStep::Always;
        let bank = Bank::open(1, Knows::Everybody, profile);
        let first = bank.request(1, &name(0), PASSWORD.as_bytes(), &[]);
        let Came::Done(mut finished) = bank.begin(&first) else { panic!("challenged") };
        let challenge = finished.outgoing.leave(bank.now.mono).map(|(_, octets)| octets.to_vec()).unwrap();
        let (11, Some(state)) = bank.read(&first, &challenge) else { panic!("a challenge with State") };
        let mut seconds: Vec<(Option<Sent>, Option<Box<Case>>)> = [256, 512]
            .map(|number| {
                let state = [Attribute { kind: 24, value: &state }];
                let field = code(0, bank.now.wall, 0);
                (Some(bank.request(number, &name(0), field.as_bytes(), &state)), None)
            })
            .into();
        let mut reasons = Vec::new();
        for who in order {
            let step = match &mut seconds[who] {
                (Some(_), None) => {
                    let sent = seconds[who].0.take().unwrap();
                    bank.begin(&sent)
                }
                (_, case) => match case.take() {
                    Some(case) => bank.resume(case, Answer::Password(Ok(PasswordAnswer::Right))),
                    None => continue,
                },
            };
            match step {
                Came::Ask(case, Question::Password(_, password)) => {
                    assert_eq!(password.expose(), PASSWORD.as_bytes());
                    seconds[who].1 = Some(case);
                }
                Came::Done(finished) => reasons.push(finished.outgoing.reason),
                _ => panic!("judged or asked"),
            }
        }
        reasons.sort();
        assert_eq!(reasons, [Reason::CodeAccepted, Reason::ChallengeUnknown]);
    }
}

/// One event of a random play.
#[derive(Clone, Debug)]
enum Event {
    /// A login: which user, with the right code of a step or a wrong one.
    Login { user: u32, steps: Option<i64> },
    /// A request that was sent before, once more.
    Again(prop::sample::Index),
    /// The directory answers one of the open questions.
    Answer(prop::sample::Index, Does),
    /// Time goes on, in seconds.
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u32..3, prop::option::weighted(0.7, -1_i64..=1)).prop_map(|(user, steps)| Event::Login { user, steps }),
        2 => any::<prop::sample::Index>().prop_map(Event::Again),
        4 => (any::<prop::sample::Index>(), prop::sample::select(DOES.to_vec()))
            .prop_map(|(index, does)| Event::Answer(index, does)),
        1 => (1_u64..40).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Any play of three users: no code accepts twice, nobody is accepted while locked or without a right password, and
    /// when all is over nothing is held any more.
    #[test]
    fn s_17_any_play_keeps_the_promises(events in proptest::collection::vec(event(), 1..80)) {
        let mut bank = Bank::open(3, Knows::Everybody, profile());
        let mut sent: Vec<(Sent, u32, Option<u64>)> = Vec::new();
        let mut open: Vec<(usize, Box<Case>)> = Vec::new();
        let mut accepted: Vec<(u32, u64)> = Vec::new();
        let mut wrong = [0_usize; 3];
        for event in events {
            let (who, step, answered) = match event {
                Event::Wait(seconds) => {
                    bank.now = bank.now.plus(Duration::from_secs(seconds));
                    bank.pipeline.tables().bindings.confirm(bank.now.mono);
                    bank.pipeline.tables().passing.sweep(bank.now);
                    continue;
                }
                Event::Login { user, steps } => {
                    let number = sent.len() as u64 * 256;
                    let request = match steps {
                        Some(steps) => bank.login(number, user, steps),
                        None => {
                            let field = format!("{PASSWORD}{}", wrong_code(user, bank.now.wall));
                            bank.request(number, &name(user), field.as_bytes(), &[])
                        }
                    };
                    let step = bank.begin(&request);
                    let code_step = steps.map(|steps| (bank.now.wall.seconds() / 30).checked_add_signed(steps).unwrap());
                    sent.push((request, user, code_step));
                    (sent.len() - 1, step, None)
                }
                Event::Again(index) if !sent.is_empty() => {
                    let who = index.index(sent.len());
                    (who, bank.begin(&sent[who].0), None)
                }
                Event::Answer(index, does) if !open.is_empty() => {
                    let (who, case) = open.swap_remove(index.index(open.len()));
                    let answer = match does {
                        Does::Dies => continue,
                        Does::Right => Ok(PasswordAnswer::Right),
                        Does::Wrong => Ok(PasswordAnswer::Wrong),
                        Does::Unreachable => Err(Unavailable::Unreachable),
                        Does::TooLate => Err(Unavailable::TooLate),
                    };
                    (who, bank.resume(case, Answer::Password(answer)), Some(does))
                }
                _ => continue,
            };
            let (request, user, code_step) = &sent[who];
            match step {
                Came::Ask(case, Question::Password(..)) => {
                    prop_assert!(code_step.is_some(), "asked without a right code");
                    open.push((who, case));
                }
                Came::Ask(..) => prop_assert!(false, "everybody is known"),
                Came::Done(mut finished) => {
                    let reason = finished.outgoing.reason;
                    if reason.verdict() == Verdict::Accept {
                        prop_assert_eq!(answered, Some(Does::Right));
                        let code = (*user, code_step.unwrap());
                        prop_assert!(!accepted.contains(&code), "accepted twice");
                        prop_assert!(wrong[*user as usize] < 5, "accepted while locked");
                        accepted.push(code);
                        wrong[*user as usize] = 0;
                    }
                    if finished.marks.iter().any(|mark| matches!(mark, Mark::User(mark) if mark.codes.failures > 0)) {
                        wrong[*user as usize] += 1;
                    }
                    if let Some((_, octets)) = finished.outgoing.leave(bank.now.mono) {
                        bank.read(request, octets);
                    }
                }
                Came::Resend(octets) => {
                    bank.read(request, &octets);
                }
                Came::Silent => {}
            }
        }
        open.clear();
        prop_assert_eq!(bank.pipeline.tables().admission.in_flight(), 0);
        prop_assert_eq!(bank.pipeline.tables().durable.tokens.disabled(), 0);
    }
}
