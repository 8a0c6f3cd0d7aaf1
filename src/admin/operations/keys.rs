//! The keys that seal token secrets: which there are, and every token sealed anew while everything else goes on.

use super::Operations;
use crate::admin::caller::Actor;
use crate::admin::evidence::{Acted, Outcome};
use crate::admin::protocol::{KeysShown, Mode, RewrapShown, RewrapState, Told};
use crate::admin::refusal::{ProofOf, Refuse};
use crate::clock::{self, Moment};
use crate::directory::registry::{NotChanged, Rewrapped};
use crate::identity::RequestId;
use crate::policy::{Act, Exceptions};
use crate::state::Marks;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How far sealing anew is: one run at a time, the last one remembered.
#[derive(Default)]
pub(super) struct Rewrapping(Mutex<RewrapShown>);

impl Rewrapping {
    /// Guards the progress; nothing awaits under it.
    fn shown(&self) -> MutexGuard<'_, RewrapShown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, state: RewrapState, done: &Rewrapped) {
        let why = done.why.iter().map(|(serial, why)| format!("{serial}: {why}")).collect();
        *self.shown() = RewrapShown {
            state,
            looked_at: done.looked_at,
            resealed: done.resealed,
            plain: done.plain,
            failed: done.failed,
            why,
        };
    }
}

impl Operations {
    /// Which keys there are, and how far the last run is.
    pub(super) fn list_keys(&self, actor: &Actor) -> Result<Told, Refuse> {
        self.allows_look(actor)?;
        Ok(self.keys())
    }

    /// Begins to seal every token anew, unless that goes on already.
    pub(super) async fn rewrap(&self, actor: &Actor, mode: Mode, now: Moment) -> Told {
        if let Err(why) = self.authorize(actor, Act::Keys, None, &Exceptions::default()) {
            return why.told(ProofOf::Actor);
        }
        let keys = self.registry().keys();
        let Some(sealing) = keys.first() else {
            return Refuse::NotChanged(NotChanged::NoSealKey).told(ProofOf::Act);
        };
        if mode == Mode::DryRun {
            return Told::WouldDo { what: format!("seal every token's key under the key {sealing}") };
        }
        {
            let mut shown = self.rewrapping.shown();
            if shown.state == RewrapState::Running {
                drop(shown);
                return self.keys();
            }
            *shown = RewrapShown { state: RewrapState::Running, ..RewrapShown::default() };
        }
        let id = self.drive.pipeline().next_request();
        let begun = acted(actor, id).line(Outcome::Begun, now.wall);
        if self.drive.record(Marks::new(), begun).await.is_err() {
            self.rewrapping.note(RewrapState::Failed, &Rewrapped::default());
            return Refuse::Journal.told(ProofOf::Act);
        }
        let (drive, rewrapping, actor) =
            (Arc::clone(&self.drive), Arc::clone(&self.rewrapping), actor.clone());
        // It ends by itself: one pass over the directory, each operation with its deadline.
        tokio::spawn(async move {
            let tell = |done: &Rewrapped| rewrapping.note(RewrapState::Running, done);
            let result = drive.registry().rewrap(&tell).await;
            let acted = acted(&actor, id);
            let line = match &result {
                Ok(_) => acted.line(Outcome::Done, clock::now().wall),
                Err(why) => {
                    let why = Refuse::NotChanged(why.clone());
                    acted.line(Outcome::Refused(&why), clock::now().wall)
                }
            };
            // The tokens are what they are; a journal that fails says so everywhere else.
            let _ = drive.record(Marks::new(), line).await;
            match result {
                Ok(done) if done.failed == 0 => rewrapping.note(RewrapState::Done, &done),
                Ok(done) => rewrapping.note(RewrapState::Failed, &done),
                Err(why) => {
                    let mut shown = rewrapping.shown();
                    shown.state = RewrapState::Failed;
                    shown.why.push(why.to_string());
                }
            }
        });
        self.keys()
    }

    fn keys(&self) -> Told {
        Told::Keys(Box::new(KeysShown {
            keys: self.registry().keys().into_iter().map(String::from).collect(),
            rewrap: self.rewrapping.shown().clone(),
        }))
    }
}

fn acted(actor: &Actor, id: RequestId) -> Acted<'_> {
    Acted {
        act: Act::Keys,
        actor: Some(actor),
        user: None,
        serial: None,
        contract: None,
        deed: None,
        id,
        request: None,
    }
}
