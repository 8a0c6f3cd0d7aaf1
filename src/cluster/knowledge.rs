//! Writing back what a node knows: into an engine that is new, has forgotten, or was out of reach.
//!
//! What stands there is read, put together with what is known here, and set only if it still is what was read. So
//! two nodes can write back at once, in any order, and the higher step of each token stays.

use super::engine::{Change, Fence, Link, Settled, Step, Trouble};
use super::form::{SlotKey, slot};
use super::keeper::Keeper;
use crate::clock::{self, Wall};
use crate::identity::EntryId;
use crate::state::{Mark, UserMark};

/// Slots that are read and set at once.
const AT_ONCE: usize = 1024;

/// Parts that all marks are taken in: a million users are never copied at once.
const PARTS: u8 = 16;

/// How often one slot is tried that others change at the same moment.
const TRIES: usize = 16;

impl Keeper {
    /// Writes back everything that is known here; how many marks were new to the engine.
    pub(super) async fn write_back(&self, link: &dyn Link) -> Result<usize, Trouble> {
        let mut written = 0_usize;
        for part in 0..PARTS {
            let mut marks = Vec::new();
            self.durable.each_mark(Wall::default(), &mut |mark| {
                let part_of = |entry: EntryId| entry.octets().last().is_some_and(|last| last % PARTS == part);
                match &mark {
                    Mark::User(user) if part_of(user.user) => marks.push(mark),
                    Mark::Token(token) if part_of(token.token) => marks.push(mark),
                    Mark::Pin(_) if part == 0 => marks.push(mark),
                    _ => {}
                }
            });
            for marks in marks.chunks(AT_ONCE) {
                written = written.saturating_add(self.write_back_these(link, marks.to_vec()).await?);
            }
        }
        Ok(written)
    }

    async fn write_back_these(&self, link: &dyn Link, mut marks: Vec<Mark>) -> Result<usize, Trouble> {
        let mut written = 0_usize;
        for _ in 0..TRIES {
            let keys: Vec<SlotKey> = marks.iter().filter_map(|mark| Some(slot(mark)?.0)).collect();
            let mut values = self.within(link.look(&keys)).await?.into_iter();
            let (mut steps, mut sent) = (Vec::new(), Vec::new());
            for mark in &marks {
                let Some((key, _)) = slot(mark) else {
                    let pin = if let Mark::Pin(source) = mark { Some(*source) } else { None };
                    steps.push(Step { pin, ..Step::default() });
                    sent.push(*mark);
                    continue;
                };
                let from = values.next().flatten();
                let there = from.as_ref().and_then(|value| key.read(value));
                let together = there.map_or(*mark, |there| put_together(mark, &there));
                self.durable.learn(&together);
                let to = slot(&together).and_then(|(_, value)| value);
                if to != from && to.is_some() {
                    let mut step = Step::default();
                    step.slots.push(Change { slot: key, from, to });
                    steps.push(step);
                    sent.push(*mark);
                }
            }
            if steps.is_empty() {
                return Ok(written);
            }
            let settled = self.within(link.settle(self.node(), Fence::WritingBack, &steps)).await?;
            let done = settled.iter().filter(|settled| **settled == Settled::Done).count();
            written = written.saturating_add(done);
            let left = sent.into_iter().zip(settled).filter(|(_, settled)| *settled != Settled::Done);
            marks = left.map(|(mark, _)| mark).collect();
            if marks.is_empty() {
                return Ok(written);
            }
        }
        Err(Trouble::TooLate)
    }
}

/// What is known here and what stands there, as one. A lock that stands there stays, even if what is known here is
/// newer by its count: this node may have been on its own when it was set, and a lock too many is lifted by a word.
fn put_together(known: &Mark, there: &Mark) -> Mark {
    match (known, there) {
        (Mark::Token(known), Mark::Token(there)) => Mark::Token(known.merged(there)),
        (Mark::User(known), Mark::User(there)) => {
            let merged = known.merged(there);
            let now = clock::now().wall;
            if there.is_locked(now) && !merged.is_locked(now) {
                return Mark::User(UserMark {
                    codes: merged.codes.worse(there.codes),
                    passwords: merged.passwords.worse(there.passwords),
                    version: merged.version.saturating_add(1),
                    ..merged
                });
            }
            Mark::User(merged)
        }
        _ => *known,
    }
}
