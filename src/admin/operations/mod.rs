//! Carries out what is asked, for the command line and over HTTP alike.
//!
//! ```text
//!  question ─▶ actor: may they? ─▶ prepare: what is there, does it fit, is it proven? ─▶ deed
//!                                                                                      │
//!                   a second person is needed ◀── asked, kept ─────────────────────────┤
//!                                └── approved ─────────────────────────────────────────▼
//!                 evidence "begun" with the used codes, durable ─▶ perform: change the directory ─▶ evidence "done"
//! ```
//!
//! A code that proves something is used up like the code of a login, and a wrong one counts like there.

mod actors;
mod codes;
mod deciding;
mod explain;
mod export;
mod import;
mod keys;
mod letter;
mod look;
mod perform;
mod prepare;
mod scene;
mod set_up;
mod status;
mod users;
mod why;

use super::caller::{Actor, Asker, Caller, Credentials, Operators};
use super::deed::Deed;
use super::evidence::{Acted, Outcome};
use super::protocol::{Ask, Mode, Question, Told};
use super::refusal::{ProofOf, Refuse};
use super::requests::Requests;
use super::start_password::StartPasswords;
use crate::clock::{self, Moment};
use crate::directory::registry::Registry;
use crate::identity::RequestId;
use crate::mail::Letters;
use crate::pipeline::drive::Drive;
use crate::policy::four_eyes::Answer;
use crate::policy::{Act, Authority, Profile};
use crate::state::Marks;
use crate::store::Health;
use crate::tokens::User;
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Carries out what is asked.
pub struct Operations {
    drive: Arc<Drive>,
    rules: ArcSwap<Rules>,
    requests: Requests,
    start_passwords: StartPasswords,
    letters: Arc<Letters>,
    audit_file: PathBuf,
    not_ready: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    rewrapping: Arc<keys::Rewrapping>,
}

/// What configuration decides, replaced as a whole by a reload.
pub struct Rules {
    /// Who may do what.
    pub authority: Authority,
    /// Which caller may be whom.
    pub operators: Operators,
    /// What opens the API.
    pub credentials: Credentials,
    /// The service profiles.
    pub profiles: Vec<Arc<Profile>>,
    /// How long a request waits for a second person.
    pub request_lifetime: Duration,
}

/// What operations stand on.
pub struct Ground {
    /// The running daemon.
    pub drive: Arc<Drive>,
    /// What configuration decides.
    pub rules: Rules,
    /// The state directory, for the requests that wait.
    pub state: PathBuf,
    /// What is written to users.
    pub letters: Arc<Letters>,
    /// The audit log, for `sekisho why`.
    pub audit_file: PathBuf,
    /// What keeps the daemon from being ready.
    pub not_ready: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

/// How long whoever asks waits for the directory.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long whoever asks for a list does: a page of 500 users is some 2,000 searches, 2 ms each where the directory is
/// busy. Below the 20 s of an HTTP request; an act, which has more to do than look, keeps to [`PATIENCE`].
const PATIENCE_LIST: Duration = Duration::from_secs(15);

/// Why an act came to nothing, and the marks that are left behind: failures that count, codes that are used up.
struct Failed {
    why: Refuse,
    marks: Marks,
    proof_of: ProofOf,
}

impl From<Refuse> for Failed {
    fn from(why: Refuse) -> Failed {
        Failed { why, marks: Marks::new(), proof_of: ProofOf::Actor }
    }
}

/// An act that is proven: what is done, what that used up, and to whom.
struct Prepared {
    deed: Deed,
    marks: Marks,
    user: Option<Arc<User>>,
    serial: Option<String>,
}

impl Operations {
    /// Over the running daemon.
    ///
    /// # Errors
    /// If the table of requests cannot be opened.
    pub fn new(ground: Ground) -> Result<Arc<Operations>, Refuse> {
        let Ground { drive, rules, state, letters, audit_file, not_ready } = ground;
        let requests = Requests::open(&state)?;
        let start_passwords = StartPasswords::new()?;
        let rules = ArcSwap::from_pointee(rules);
        let rewrapping = Arc::default();
        Ok(Arc::new(Operations {
            drive,
            rules,
            requests,
            start_passwords,
            letters,
            audit_file,
            not_ready,
            rewrapping,
        }))
    }

    /// Replaces what configuration decides; acts that have begun end under the rules they began with.
    pub fn reload(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Carries out one question of `caller`.
    pub async fn carry_out(&self, question: Question, caller: &Caller) -> Told {
        let now = clock::now();
        let Question { ask, actor, mode } = question;
        match ask {
            Ask::Status => Told::Status(Box::new(self.status(now))),
            Ask::TokenSetup { service_id, user_id, start_password } => {
                self.set_up(&service_id, &user_id, &start_password, now).await
            }
            ask => match self.actor(caller, actor.as_deref(), &ask, now).await {
                Ok(actor) => self.ask(ask, &actor, mode, now).await,
                Err(why) => why.told(ProofOf::Actor),
            },
        }
    }

    async fn ask(&self, ask: Ask, actor: &Actor, mode: Mode, now: Moment) -> Told {
        let looked = match &ask {
            Ask::ContractList => self.list_contracts(actor, now).await,
            Ask::ContractShow { contract } => self.show_contract(contract, actor, now).await,
            Ask::UserList { contract, locked, after, limit } => {
                let wanted = look::Wanted { contract: contract.as_deref(), locked: *locked };
                self.list_users(&wanted, after.as_deref(), *limit, actor, now).await
            }
            Ask::UserShow { user } => self.show_user(user, actor, now).await,
            Ask::TokenList { user: Some(user), state, .. } => {
                self.list_tokens_of(user, state.as_deref(), actor, now).await
            }
            Ask::TokenList { user: None, state, after, limit } => {
                self.list_tokens(state.as_deref(), after.as_deref(), *limit, actor, now).await
            }
            Ask::TokenShow { serial } => self.show_token(serial, actor, now).await,
            Ask::RequestList { all } => self.list_requests(*all, actor, now),
            Ask::KeysList => self.list_keys(actor),
            Ask::Explain { user, client, operation } => {
                self.explain(user, client, operation.as_deref(), actor, now).await
            }
            Ask::Why { request } => self.why(request, actor).await,
            _ => return self.act(ask, actor, mode, now).await,
        };
        looked.unwrap_or_else(|why| why.told(ProofOf::Actor))
    }

    /// One act, from what is asked to what is done.
    async fn act(&self, ask: Ask, actor: &Actor, mode: Mode, now: Moment) -> Told {
        if let Err(why) = self.can_record() {
            return why.told(ProofOf::Actor);
        }
        match &ask {
            Ask::RequestApprove { id } => return self.decide(id, Answer::Approve, actor, mode, now).await,
            Ask::RequestDeny { id } => return self.decide(id, Answer::Deny, actor, mode, now).await,
            Ask::TokenImport(imported) => return self.import(imported, actor, mode, now).await,
            Ask::UserAdd(added) => return self.add_user(added, actor, mode, now).await,
            Ask::KeysRewrap => return self.rewrap(actor, mode, now).await,
            Ask::TokenExport(wanted) => return self.export(wanted, actor, mode, now).await,
            _ => {}
        }
        let (act, named) = prepare::named(&ask);
        let id = self.drive.pipeline().next_request();
        match self.prepare(ask, actor, id, mode, now).await {
            Ok(prepared) if mode == Mode::DryRun => Told::WouldDo { what: prepared.deed.to_string() },
            Ok(prepared) => self.carry_through(prepared, actor, id, now).await,
            Err(failed) if mode == Mode::DryRun => failed.why.told(failed.proof_of),
            Err(Failed { why, marks, proof_of }) => {
                let user = match &named.user {
                    Some(name) => self.find(name, now).await.ok(),
                    None => None,
                };
                let acted = Acted {
                    act,
                    actor: Some(actor),
                    user: user.as_deref(),
                    serial: named.serial.as_deref(),
                    contract: named.contract.as_deref(),
                    deed: None,
                    id,
                    request: None,
                };
                match self.drive.record(marks, acted.line(Outcome::Refused(&why), now.wall)).await {
                    Ok(()) => why.told(proof_of),
                    Err(not) => Refuse::from(not).told(proof_of),
                }
            }
        }
    }

    /// A proven act is done, or waits for a second person.
    async fn carry_through(&self, prepared: Prepared, actor: &Actor, id: RequestId, now: Moment) -> Told {
        let Prepared { deed, marks, user, serial } = prepared;
        let rules = self.rules.load();
        let acted = Acted {
            act: deed.act(),
            actor: Some(actor),
            user: user.as_deref(),
            serial: serial.as_deref(),
            contract: deed.contract(),
            deed: Some(&deed),
            id,
            request: None,
        };
        if rules.authority.needs_second(deed.act()) {
            let until = now.wall.plus(rules.request_lifetime);
            let asked = match self.requests.ask(&deed, &actor.name, Asker::of(actor), now.wall, until) {
                Ok(asked) => asked,
                Err(why) => return self.refused(&acted, marks, why, now).await,
            };
            let asked_line = Acted { request: Some((&asked.id, &actor.name)), ..acted };
            return match self.drive.record(marks, asked_line.line(Outcome::Asked, now.wall)).await {
                Ok(()) => Told::Pending(Box::new(asked)),
                Err(not) => Refuse::from(not).told(ProofOf::Act),
            };
        }
        // What the journal alone keeps is done and evident in one record.
        if matches!(deed, Deed::Release { .. } | Deed::Resync { .. }) {
            return self.finish(&deed, marks, &acted, id, now).await;
        }
        if let Err(not) = self.drive.record(marks, acted.line(Outcome::Begun, now.wall)).await {
            return Refuse::from(not).told(ProofOf::Act);
        }
        self.finish(&deed, Marks::new(), &acted, id, now).await
    }

    /// Carries a deed out and leaves the evidence of how it ended, together with what it used up.
    async fn finish(
        &self,
        deed: &Deed,
        mut marks: Marks,
        acted: &Acted<'_>,
        id: RequestId,
        now: Moment,
    ) -> Told {
        match self.perform(deed, id, now).await {
            Ok(performed) => {
                let serial = performed.serial.as_deref().or(acted.serial);
                let line = Acted { serial, ..*acted }.line(Outcome::Done, now.wall);
                for mark in performed.marks {
                    let _ = marks.try_push(mark);
                }
                match self.drive.record(marks, line).await {
                    Ok(()) => performed.told,
                    Err(not) => Refuse::from(not).told(ProofOf::Act),
                }
            }
            Err(why) => self.refused(acted, marks, why, now).await,
        }
    }

    async fn refused(&self, acted: &Acted<'_>, marks: Marks, why: Refuse, now: Moment) -> Told {
        match self.drive.record(marks, acted.line(Outcome::Refused(&why), now.wall)).await {
            Ok(()) => why.told(ProofOf::Act),
            Err(not) => Refuse::from(not).told(ProofOf::Act),
        }
    }

    /// Whether what is done could be made to last: nothing is begun otherwise.
    fn can_record(&self) -> Result<(), Refuse> {
        if self.drive.store().health() != Health::Writing {
            return Err(Refuse::Journal);
        }
        match self.drive.pipeline().cluster().and_then(|cluster| cluster.silence()) {
            Some(lost) => Err(Refuse::Cluster(lost)),
            None => Ok(()),
        }
    }

    fn registry(&self) -> &dyn Registry {
        &**self.drive.registry()
    }

    /// Whether the act may be done at all, whoever asks: for what is looked at.
    fn allows_look(&self, actor: &Actor) -> Result<(), Refuse> {
        let rules = self.rules.load();
        let roles = rules.authority.roles(Act::Look, &crate::policy::Exceptions::default());
        if roles.has(actor.role) { Ok(()) } else { Err(Refuse::MayNot { act: Act::Look, roles }) }
    }
}
