//! A model check of claim and settle: every order in which two or three requests can meet over one token.
//!
//! The type under test is the daemon's own [`Tokens`]. Each of its calls holds one map entry for its whole length, so
//! calls are the steps between which another request can come, and all orders of calls are all that can be told apart.
//! They are enumerated, each from a fresh start: 90 orders of three requests, times every way their questions can end,
//! times every relation of their codes. A hammer of real threads then stands on the same type, for what lies inside
//! a call; shuttle repeats the check with its own scheduler.

use sekisho::identity::{EntryId, RequestId};
use sekisho::otp::{Drift, Step};
use sekisho::state::{Claimed, Renewal, TokenMark, Tokens, Use};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

/// How the question for the password ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was right: the request accepts.
    Right,
    /// It was wrong: the code is used up.
    Wrong,
    /// Nobody could say: the request gives its claim back.
    Nobody,
}

/// One request: which code it brings, and how its question will end.
#[derive(Clone, Copy, Debug)]
struct Login {
    step: u64,
    end: End,
}

const ENDS: [End; 3] = [End::Right, End::Wrong, End::Nobody];
const TOKEN: EntryId = EntryId::new([7; 16]);
const FIRST_STEP: u64 = 100;

fn code(step: u64) -> Use {
    Use { token: TOKEN, imprint: 1, step: Step(step), drift: Drift::default(), renewal: Renewal::KeepsStep }
}

/// A run of several requests over one token, watched.
struct Run {
    tokens: Tokens,
    /// Requests that claimed and have not settled.
    asking: BTreeMap<usize, u64>,
    accepted: Vec<u64>,
    used: Vec<u64>,
    marks: Vec<TokenMark>,
    /// Whether a later code was ever claimed while an earlier one was being judged.
    overtaken: bool,
}

impl Run {
    fn new() -> Run {
        Run {
            tokens: Tokens::default(),
            asking: BTreeMap::new(),
            accepted: Vec::new(),
            used: Vec::new(),
            marks: Vec::new(),
            overtaken: false,
        }
    }

    /// The first half of a request: look whether the code is free, and take it.
    fn claim(&mut self, who: usize, login: Login) {
        let claimed = self.tokens.claim(&code(login.step), request(who));
        let newest = self.used.iter().max();
        if newest.is_some_and(|newest| login.step <= *newest) {
            assert_eq!(claimed, Claimed::Taken, "a used code is never claimed");
        }
        if claimed == Claimed::Yes {
            if self.asking.values().any(|step| *step < login.step) {
                self.overtaken = true;
            }
            let same = self.asking.values().any(|step| *step == login.step);
            assert!(!same || self.overtaken, "one code is being judged twice");
            self.asking.insert(who, login.step);
        } else {
            // Refusing is right only if the code was used, or somebody is being judged for it or a newer one.
            let busy = self.asking.values().any(|step| login.step <= *step);
            assert!(busy || newest.is_some_and(|newest| login.step <= *newest), "refused for nothing");
        }
    }

    /// The second half: what the directory said becomes a mark, or the claim is given back.
    fn settle(&mut self, who: usize, login: Login) {
        let Some(step) = self.asking.remove(&who) else { return };
        let mark = match login.end {
            End::Right => self.tokens.accept(&code(step), request(who)),
            End::Wrong => self.tokens.burn(&code(step), request(who)),
            End::Nobody => return self.tokens.release(TOKEN, request(who)),
        };
        let newest = self.used.iter().copied().max();
        let newer = newest.is_none_or(|newest| step > newest);
        assert_eq!(mark.is_some(), newer, "taken exactly if nothing at or above it was taken");
        let Some(mark) = mark else { return };
        assert_eq!(mark.last, Some(Step(step)));
        assert!(self.marks.last().is_none_or(|before| before.version < mark.version), "versions rise");
        self.marks.push(mark);
        self.used.push(step);
        if login.end == End::Right {
            assert!(!self.accepted.contains(&step), "a code was accepted twice");
            self.accepted.push(step);
        }
    }

    /// What must hold when everybody is gone, and after a crash at this moment.
    fn over(&self) {
        let newest = self.used.iter().copied().max();
        for (place, tokens) in [("here", &self.tokens), ("after a crash", &self.recovered())] {
            for step in FIRST_STEP..FIRST_STEP + 4 {
                let free = newest.is_none_or(|newest| step > newest);
                let claimed = tokens.claim(&code(step), request(99));
                assert_eq!(claimed == Claimed::Yes, free, "step {step} {place}");
                tokens.release(TOKEN, request(99));
            }
        }
        assert!(newest.is_some() || self.tokens.is_empty(), "nothing is remembered of what nobody used");
    }

    /// What a new process knows from the marks, whatever order they come in.
    fn recovered(&self) -> Tokens {
        let tokens = Tokens::default();
        for mark in self.marks.iter().rev().chain(&self.marks) {
            tokens.replay(mark);
        }
        tokens
    }
}

fn request(who: usize) -> RequestId {
    RequestId(who as u64 + 1)
}

/// All orders of `count` requests with two steps each: at every place, who moves.
fn orders(count: usize) -> Vec<Vec<usize>> {
    fn go(moves: &mut Vec<usize>, left: &mut [usize], all: &mut Vec<Vec<usize>>) {
        if left.iter().all(|left| *left == 0) {
            all.push(moves.clone());
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
    go(&mut Vec::new(), &mut vec![2; count], &mut all);
    all
}

/// Every combination of codes (the same, the next, the one after) and ends for `count` requests.
fn logins(count: usize) -> Vec<Vec<Login>> {
    let mut all = vec![Vec::new()];
    for _ in 0..count {
        let longer = all.iter().flat_map(|before: &Vec<Login>| {
            (FIRST_STEP..FIRST_STEP + 3).flat_map(move |step| {
                ENDS.map(|end| before.iter().copied().chain([Login { step, end }]).collect())
            })
        });
        all = longer.collect();
    }
    all
}

fn play(order: &[usize], logins: &[Login]) -> Run {
    let mut run = Run::new();
    let mut begun = vec![false; logins.len()];
    for &who in order {
        if std::mem::replace(&mut begun[who], true) {
            run.settle(who, logins[who]);
        } else {
            run.claim(who, logins[who]);
        }
        // A crash can come after any step; what is durable by then must be enough.
        let recovered = run.recovered();
        for used in &run.used {
            assert_eq!(recovered.claim(&code(*used), request(98)), Claimed::Taken, "used before the crash");
        }
    }
    run.over();
    run
}

#[test]
fn otp_08_no_order_of_requests_accepts_a_code_twice() {
    for count in [2, 3] {
        let (orders, logins) = (orders(count), logins(count));
        assert_eq!(orders.len(), [6, 90][count - 2], "all orders");
        for logins in &logins {
            for order in &orders {
                let run = play(order, logins);
                let same = logins.iter().all(|login| login.step == FIRST_STEP);
                let right = logins.iter().any(|login| login.end == End::Right);
                if same && right && logins.iter().all(|login| login.end == End::Right) {
                    assert_eq!(run.accepted, [FIRST_STEP], "{order:?} {logins:?}");
                }
            }
        }
    }
}

#[test]
fn shuttle_finds_no_schedule_that_accepts_a_code_twice() {
    shuttle::check_dfs(
        || {
            let tokens = Arc::new(Tokens::default());
            let accepted = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..3)
                .map(|who| {
                    let (tokens, accepted) = (Arc::clone(&tokens), Arc::clone(&accepted));
                    shuttle::thread::spawn(move || {
                        if tokens.claim(&code(FIRST_STEP), request(who)) == Claimed::Taken {
                            return;
                        }
                        // While the directory is asked, everybody else may run.
                        shuttle::thread::yield_now();
                        if who == 0 {
                            tokens.release(TOKEN, request(who));
                        } else if tokens.accept(&code(FIRST_STEP), request(who)).is_some() {
                            accepted.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(accepted.load(Ordering::Relaxed) <= 1, "accepted twice");
        },
        None,
    );
}

#[test]
fn s_02_thousands_of_threads_with_one_code_get_one_accept() {
    const THREADS: usize = 2000;
    let tokens = Tokens::default();
    let barrier = Barrier::new(THREADS);
    let (asked, accepted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for who in 0..THREADS {
            let (tokens, barrier, asked, accepted) = (&tokens, &barrier, &asked, &accepted);
            let thread = std::thread::Builder::new().stack_size(64 * 1024);
            let spawned = thread.spawn_scoped(scope, move || {
                barrier.wait();
                if tokens.claim(&code(FIRST_STEP), request(who)) == Claimed::Yes {
                    asked.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                    if tokens.accept(&code(FIRST_STEP), request(who)).is_some() {
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            spawned.unwrap();
        }
    });
    assert_eq!(asked.into_inner(), 1, "one question for one code");
    assert_eq!(accepted.into_inner(), 1, "one accept for one code");
}

#[test]
fn threads_that_race_over_many_codes_accept_each_at_most_once() {
    const THREADS: usize = 8;
    const STEPS: usize = 2000;
    let tokens = Tokens::default();
    let accepts: Vec<AtomicUsize> = (0..STEPS).map(|_| AtomicUsize::new(0)).collect();
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for who in 0..THREADS {
            let (tokens, accepts, barrier) = (&tokens, &accepts, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for (at, accepted) in accepts.iter().enumerate() {
                    let (code, request) = (code(at as u64), RequestId((at * THREADS + who) as u64));
                    if tokens.claim(&code, request) == Claimed::Taken {
                        continue;
                    }
                    // Every way a question can end, in a mixture that differs from thread to thread.
                    match (at + who) % 5 {
                        0 => tokens.release(TOKEN, request),
                        1 => drop(tokens.burn(&code, request)),
                        _ => {
                            if tokens.accept(&code, request).is_some() {
                                accepted.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let accepts: Vec<usize> = accepts.into_iter().map(AtomicUsize::into_inner).collect();
    assert!(accepts.iter().all(|accepted| *accepted <= 1), "accepted twice");
    assert!(accepts.iter().sum::<usize>() > 0, "the race was run");
    let past = tokens.past(TOKEN, 1, Renewal::KeepsStep);
    let newest = accepts.iter().rposition(|accepted| *accepted == 1).map(|at| at as u64);
    assert!(past.last.is_some_and(|last| Some(last.0) >= newest), "the newest accept is remembered");
}
