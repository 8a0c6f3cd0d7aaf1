//! Tokens that were made elsewhere come in, one at a time: into the inventory (S-16), or with the user they belong to.

use super::prepare::is_free;
use super::scene::{Scene, serial_number};
use super::{Operations, PATIENCE};
use crate::admin::caller::Actor;
use crate::admin::evidence::{Acted, Outcome};
use crate::admin::protocol::{Imported, Mode, Told};
use crate::admin::refusal::{ProofOf, Refuse};
use crate::clock::{self, Moment, Wall};
use crate::directory::registry::{Change, NewToken, NotChanged, Seen};
use crate::identity::ServiceName;
use crate::otp::{
    Algorithm, Digits, LookAhead, Moving, ParameterProblem, Parameters, Period, Step, check_secret,
};
use crate::policy::{Act, Exceptions};
use crate::secret::{Secret, same_bytes};
use crate::state::Marks;
use crate::tokens::life::Event;
use crate::tokens::{Record, State};
use data_encoding::BASE32_NOPAD;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The highest counter that is taken: JSON readers agree on no larger number (RFC 8259 §6).
const COUNTER_MAX: u64 = 1 << 53;

/// What comes in, and for whom.
struct Incoming {
    token: NewToken,
    /// The user it is bound to, as they were read.
    scene: Option<Scene>,
    /// What an earlier import, cut off or repeated, has left of it.
    there: Option<Seen<Record>>,
}

impl Operations {
    /// Puts one token into the inventory, or in service for the user that it was in service for elsewhere.
    pub(super) async fn import(&self, imported: &Imported, actor: &Actor, mode: Mode, now: Moment) -> Told {
        let id = self.drive.pipeline().next_request();
        let incoming = self.incoming(imported, actor, now).await;
        let user = incoming.as_ref().ok().and_then(|incoming| incoming.scene.as_ref());
        let user = user.map(|scene| Arc::clone(scene.user()));
        let what = match &user {
            Some(user) => format!("token {} in service for {}", imported.serial, user.name),
            None => format!("token {} into the inventory", imported.serial),
        };
        let acted = Acted {
            act: Act::Import,
            actor: Some(actor),
            user: user.as_deref(),
            serial: Some(&imported.serial),
            contract: None,
            deed: None,
            id,
            request: None,
        };
        if mode == Mode::DryRun {
            return match incoming {
                Ok(_) => Told::WouldDo { what: format!("put {what}") },
                Err(why) => why.told(ProofOf::Act),
            };
        }
        let done = match incoming {
            Ok(incoming) => self.take_in(incoming, &acted, now).await,
            Err(why) => Err(why),
        };
        let (outcome, told) = match &done {
            Ok(()) => {
                let serial = Some(imported.serial.clone());
                (Outcome::Done, Told::Done { what: format!("put {what}"), serial })
            }
            Err(why) => (Outcome::Refused(why), why.told(ProofOf::Act)),
        };
        match self.drive.record(Marks::new(), acted.line(outcome, now.wall)).await {
            Ok(()) => told,
            Err(not) => Refuse::from(not).told(ProofOf::Act),
        }
    }

    /// What would be taken in, if it may be.
    async fn incoming(&self, imported: &Imported, actor: &Actor, now: Moment) -> Result<Incoming, Refuse> {
        self.authorize(actor, Act::Import, None, &Exceptions::default())?;
        let scene = match &imported.user {
            Some(name) => Some(self.scene(name, now).await?),
            None => None,
        };
        let mut token = self.imported(imported, scene.as_ref(), now)?;
        let there = self.token(&imported.serial, now).await?;
        let Some(scene) = scene else {
            return match there {
                None => Ok(Incoming { token, scene: None, there: None }),
                Some(_) => Err(Refuse::SerialTaken(imported.serial.clone())),
            };
        };
        self.authorize(actor, Act::Register, Some(scene.user()), &scene.profile.may)?;
        if self.rules.load().authority.needs_second(Act::Register) {
            return Err(Refuse::ImportUnseen);
        }
        let contract = scene.enabled()?;
        let bound = scene.registered.token.as_ref() == Some(&token.serial);
        match &there {
            Some(there) if !is_same(&token, &there.value) => {
                return Err(Refuse::SerialTaken(imported.serial.clone()));
            }
            Some(there) if bound && there.value.state == State::Active => {}
            Some(there) if !is_free(&there.value, &scene) => {
                return Err(Refuse::SerialTaken(imported.serial.clone()));
            }
            _ => {
                scene.after(Event::Register)?;
            }
        }
        token.state = State::Active;
        token.contract = Some(contract.id.clone());
        token.service = Some(contract.service.clone());
        token.ends = token.ends.or(scene.profile.life.lifetime.map(|lifetime| now.wall.plus(lifetime)));
        Ok(Incoming { token, scene: Some(scene), there })
    }

    /// First the token that nobody refers to, then the reference: cut off in between, the same import goes on.
    async fn take_in(&self, incoming: Incoming, acted: &Acted<'_>, now: Moment) -> Result<(), Refuse> {
        let Incoming { token, scene, there } = incoming;
        let serial = token.serial.clone();
        let add = async |token: NewToken| {
            let change = Change::AddToken(Box::new(token));
            let changed = self.registry().change(change, clock::now().mono.plus(PATIENCE)).await;
            changed.map_err(|not| match not {
                NotChanged::Exists => Refuse::SerialTaken(serial.to_string()),
                other => Refuse::NotChanged(other),
            })
        };
        let Some(scene) = scene else { return add(token).await };
        if scene.registered.token.as_ref() == Some(&serial) {
            return Ok(());
        }
        self.drive.record(Marks::new(), acted.line(Outcome::Begun, now.wall)).await?;
        match there {
            Some(there) => self.put_in_service(&there, &scene, now.wall, now).await?,
            None => add(token).await?,
        }
        self.refer(&scene, &serial, None).await
    }

    fn imported(&self, imported: &Imported, scene: Option<&Scene>, now: Moment) -> Result<NewToken, Refuse> {
        let serial = serial_number(&imported.serial)?;
        let key = Zeroizing::new(imported.key.0.trim_end_matches('=').to_ascii_uppercase());
        let key = BASE32_NOPAD
            .decode(key.as_bytes())
            .map(Secret::new)
            .map_err(|_| Refuse::Value { what: "the key", right: "base32 (A-Z, 2-7)" })?;
        check_secret(key.expose()).map_err(parameter)?;
        let service = match &imported.service {
            Some(name) => {
                let rules = self.rules.load();
                let known = rules.profiles.iter().any(|profile| profile.name.as_str() == name);
                Some(
                    known
                        .then(|| ServiceName::new(name))
                        .ok_or_else(|| Refuse::ServiceUnknown(name.clone()))?,
                )
            }
            None => None,
        };
        let moving = match (imported.period, imported.counter) {
            (Some(seconds), None) => {
                Moving::Time { period: Period::from_seconds(seconds).map_err(parameter)? }
            }
            (None, next) if next.is_none_or(|next| next <= COUNTER_MAX) => {
                Moving::Counter { look_ahead: LookAhead::DEFAULT }
            }
            (None, _) => {
                return Err(Refuse::Value { what: "the counter", right: "at most 2^53, as JSON carries it" });
            }
            (Some(_), Some(_)) => {
                return Err(Refuse::Value {
                    what: "the token",
                    right: "give a period or a counter, not both",
                });
            }
        };
        let profile = match scene {
            Some(scene) => Arc::clone(&scene.profile),
            None => self.profile(service.as_ref()),
        };
        let parameters = Parameters {
            algorithm: Algorithm::parse(&imported.algorithm).map_err(parameter)?,
            digits: Digits::new(imported.digits).map_err(parameter)?,
            moving,
            window: profile.parameters.window,
        };
        Ok(NewToken {
            serial,
            state: State::Inventory,
            since: now.wall,
            contract: None,
            service,
            parameters,
            secret: Some(key),
            spent: imported.counter.and_then(|next| next.checked_sub(1)).map(Step),
            begins: time(imported.begins.as_deref())?,
            ends: time(imported.ends.as_deref())?,
            setup: None,
        })
    }
}

/// Whether an entry is what an import of this token would have left: the same key, and nothing in it counts again.
fn is_same(token: &NewToken, record: &Record) -> bool {
    let same_key = |(wanted, there): (&Secret, &Secret)| same_bytes(wanted.expose(), there.expose());
    let kind = |parameters: &Parameters| (parameters.algorithm, parameters.digits, parameters.moving);
    token.secret.as_ref().zip(record.secret.as_ref()).is_some_and(same_key)
        && kind(&token.parameters) == kind(&record.parameters)
        && record.spent >= token.spent
}

/// A point in time as RFC 3339 writes it.
fn time(text: Option<&str>) -> Result<Option<Wall>, Refuse> {
    let Some(text) = text else { return Ok(None) };
    let seconds = text.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_second()).ok());
    let right = "written as 2026-04-01T00:00:00+09:00";
    seconds.map(|seconds| Some(Wall::from_seconds(seconds))).ok_or(Refuse::Value { what: "the time", right })
}

fn parameter(problem: ParameterProblem) -> Refuse {
    let (what, right) = match problem {
        ParameterProblem::Algorithm => ("the algorithm", "sha1, sha256 or sha512"),
        ParameterProblem::Digits => ("the number of digits", "6, 7 or 8"),
        ParameterProblem::Period => ("the period", "15 to 120 whole seconds"),
        ParameterProblem::Window => ("the window", "0 to 10 steps"),
        ParameterProblem::LookAhead => ("the look-ahead", "0 to 10 codes"),
        ParameterProblem::Secret => ("the key", "16 to 128 octets"),
    };
    Refuse::Value { what, right }
}
