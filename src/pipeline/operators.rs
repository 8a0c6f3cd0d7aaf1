//! What operators change where several nodes share an engine: seen as all nodes see it, and known to all of them.

use super::Pipeline;
use super::drive::NotDurable;
use crate::clock::{self, Mono};
use crate::cluster::{self, Change, Cluster, Lost, Settled, SlotKey, Term, Way, slot};
use crate::state::{Mark, Marks};
use crate::tokens::User;
use std::time::Duration;

/// How long an operator waits for the engine, at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long until it is tried again in a new term.
const AGAIN: Duration = Duration::from_millis(20);

impl Pipeline {
    /// The engine and its term; nothing where this node decides by itself.
    fn engine(&self) -> Result<Option<(&Cluster, Term)>, Lost> {
        let Some(cluster) = &self.cluster else { return Ok(None) };
        match cluster.standing().way {
            Way::Together(term) => Ok(Some((cluster, term))),
            Way::Alone => Ok(None),
            Way::Silent(silence) => Err(silence.into()),
        }
    }

    /// Takes over what the engine knows of a user and the user's tokens.
    pub(super) async fn refresh(&self, user: &User) -> Result<(), Lost> {
        let Some((cluster, _)) = self.engine()? else { return Ok(()) };
        let tokens = user.tokens.all().iter().map(|token| SlotKey::token(token.id));
        let keys: Vec<SlotKey> = std::iter::once(SlotKey::user(user.id)).chain(tokens).collect();
        let values = cluster.look(keys.clone(), clock::now().mono.plus(PATIENCE)).await?;
        for (key, value) in keys.iter().zip(values) {
            if let Some(mark) = value.and_then(|value| key.read(&value)) {
                self.tables.durable.learn(&mark);
            }
        }
        Ok(())
    }

    /// Gives marks that an operator has made to the engine, all or none. A term that ends meanwhile (another node has joined,
    /// the engine was restarted) is no reason to fail: nothing has happened in it.
    pub(super) async fn share(&self, marks: &Marks) -> Result<(), NotDurable> {
        let deadline = clock::now().mono.plus(PATIENCE);
        loop {
            match self.share_in_this_term(marks, deadline).await {
                Err(NotDurable::Cluster(Lost::CatchingUp)) if clock::now().mono < deadline => {
                    tokio::time::sleep(AGAIN).await;
                }
                shared => return shared,
            }
        }
    }

    async fn share_in_this_term(&self, marks: &Marks, deadline: Mono) -> Result<(), NotDurable> {
        let slots: Vec<_> = marks.iter().filter_map(|mark| Some((mark, slot(mark)?))).collect();
        let keys: Vec<SlotKey> = slots.iter().map(|(_, (key, _))| *key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let Some((cluster, term)) = self.engine()? else { return Ok(()) };
        let there = cluster.look(keys, deadline).await?;
        let mut step = cluster::Step::default();
        for ((mark, (key, to)), from) in slots.into_iter().zip(there) {
            let held = from.as_ref().and_then(|value| key.read(value));
            if held.as_ref().is_some_and(|held| version(held) >= version(mark)) {
                return Err(NotDurable::Changed);
            }
            step.slots.try_push(Change { slot: key, from, to }).map_err(|_| NotDurable::Changed)?;
        }
        match cluster.settle(term, vec![step], deadline).await?.as_slice() {
            [Settled::Done] => Ok(()),
            _ => Err(NotDurable::Changed),
        }
    }
}

fn version(mark: &Mark) -> u32 {
    match mark {
        Mark::User(mark) => mark.version,
        Mark::Token(mark) => mark.version,
        Mark::Pin(_) | Mark::Clock(_) => 0,
    }
}
