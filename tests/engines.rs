//! What a shared engine does with the steps of one batch, the same for both: each sees what the steps before it did.

use crate::harness::postgres::{self, Postgres};
use crate::harness::redis::Redis;
use sekisho::cluster::{
    self, Address, Change, Fence, Link, Node, Note, NoteKey, Settings, Settled, SlotKey, SlotValue, Step,
    Term, Then, WhenLost,
};
use sekisho::identity::EntryId;
use std::time::Duration;
use tokio::runtime::Runtime;

const ONE: NoteKey = NoteKey(*b"rone.............");
const TWO: NoteKey = NoteKey(*b"rtwo.............");
const OPEN: NoteKey = NoteKey(*b"copen............");

fn value(text: &str) -> Option<SlotValue> {
    Some(SlotValue::try_from(text.as_bytes()).unwrap())
}

fn note(key: NoteKey, text: &str) -> Note {
    Note { key, sealed: text.as_bytes().to_vec(), lasts: Duration::from_secs(60) }
}

/// A step that changes one slot.
fn step(slot: SlotKey, from: Option<SlotValue>, to: Option<SlotValue>) -> Step {
    let mut step = Step::default();
    step.slots.push(Change { slot, from, to });
    step
}

/// A node alone on this engine, that has said everything it knows.
struct Alone {
    runtime: Runtime,
    link: Box<dyn Link>,
    node: Node,
    term: Term,
}

impl Alone {
    fn on(url: &str) -> Alone {
        let settings = Settings {
            address: Address::parse(url).unwrap().0,
            password: None,
            authorities: None,
            key: [7; 32],
            node: "alone".into(),
            when_lost: WhenLost::NoAnswer,
            timeout: Duration::from_secs(5),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (link, node, term) = runtime.block_on(async {
            let (link, mut node) = cluster::connect(settings).await.unwrap();
            node.answered = link.hello(&node).await.unwrap().clock;
            let term = link.written(&node).await.unwrap().term;
            (link, node, term)
        });
        Alone { runtime, link, node, term }
    }

    fn settle(&self, steps: impl IntoIterator<Item = Step>) -> Vec<Settled> {
        let steps: Vec<Step> = steps.into_iter().collect();
        self.runtime.block_on(self.link.settle(&self.node, Fence::Term(self.term), &steps)).unwrap()
    }

    fn look(&self, slots: &[SlotKey]) -> Vec<Option<SlotValue>> {
        self.runtime.block_on(self.link.look(slots)).unwrap()
    }

    fn note(&self, key: NoteKey) -> Option<Vec<u8>> {
        self.runtime.block_on(self.link.note(&key, Then::Keep)).unwrap()
    }
}

/// On a new one of each engine.
fn on_both(story: impl Fn(&Alone)) {
    let redis = Redis::start();
    story(&Alone::on(&format!("redis://127.0.0.1:{}", redis.port())));
    let postgres = Postgres::start();
    let (user, database) = (postgres::USER, postgres::DATABASE);
    story(&Alone::on(&format!("postgres://{user}@127.0.0.1:{}/{database}", postgres.port())));
}

#[test]
fn each_step_of_a_batch_sees_what_those_before_it_did() {
    on_both(|alone| {
        let (user, token) = (SlotKey::user(EntryId::new([1; 16])), SlotKey::token(EntryId::new([2; 16])));
        let settled = alone.settle([
            Step { answer: Some(note(ONE, "first")), ..step(user, None, value("a")) },
            step(user, None, value("b")),
            Step { answer: Some(note(TWO, "second")), ..step(user, value("a"), value("c")) },
            Step { answer: Some(note(ONE, "again")), ..step(user, None, value("d")) },
            Step { notes: [note(OPEN, "challenge")].into_iter().collect(), ..Step::default() },
            Step { takes: Some(OPEN), ..step(token, None, value("x")) },
            Step { takes: Some(OPEN), ..step(token, value("x"), value("y")) },
            step(token, value("x"), None),
        ]);
        let expected = [
            Settled::Done,
            Settled::Changed(vec![value("a")]),
            Settled::Done,
            Settled::Answered(b"first".to_vec(), vec![value("c")]),
            Settled::Done,
            Settled::Done,
            Settled::Gone,
            Settled::Done,
        ];
        assert_eq!(settled, expected);
        assert_eq!(alone.look(&[user, token]), [value("c"), value("x")]);
        let notes = [ONE, TWO, OPEN].map(|key| alone.note(key));
        assert_eq!(notes, [Some(b"first".to_vec()), Some(b"second".to_vec()), None]);
    });
}

#[test]
fn a_note_that_is_taken_and_left_again_in_one_batch_is_there() {
    on_both(|alone| {
        let leaves = |text| Step { notes: [note(OPEN, text)].into_iter().collect(), ..Step::default() };
        let takes = || Step { takes: Some(OPEN), ..Step::default() };
        assert_eq!(alone.settle([takes()]), [Settled::Gone]);
        assert_eq!(alone.settle([leaves("one"), takes(), leaves("two")]), vec![Settled::Done; 3]);
        assert_eq!(alone.note(OPEN), Some(b"two".to_vec()));
    });
}

#[test]
fn a_batch_may_be_longer_than_one_call_of_the_engine_takes() {
    on_both(|alone| {
        let slots: Vec<SlotKey> =
            (0..3000_u32).map(|n| SlotKey::user(EntryId::new(u128::from(n).to_be_bytes()))).collect();
        let settled = alone.settle(slots.iter().map(|slot| step(*slot, None, value("a"))));
        assert_eq!(settled, vec![Settled::Done; slots.len()]);
        let settled = alone.settle(slots.iter().map(|slot| step(*slot, None, value("b"))));
        assert_eq!(settled, vec![Settled::Changed(vec![value("a")]); slots.len()]);
        assert_eq!(alone.look(&slots), vec![value("a"); slots.len()]);
    });
}
