//! Tokens that were made elsewhere come into the inventory, one at a time (S-16).

use super::scene::serial_number;
use super::{Operations, PATIENCE};
use crate::admin::caller::Actor;
use crate::admin::evidence::{Acted, Outcome};
use crate::admin::protocol::{Imported, Mode, Told};
use crate::admin::refusal::{ProofOf, Refuse};
use crate::clock::{Moment, Wall};
use crate::directory::registry::{Change, NewToken, NotChanged};
use crate::identity::ServiceName;
use crate::otp::{Algorithm, Digits, LookAhead, Moving, ParameterProblem, Parameters, Period, check_secret};
use crate::policy::{Act, Exceptions};
use crate::secret::Secret;
use crate::state::Marks;
use crate::tokens::State;
use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

impl Operations {
    /// Puts one token into the inventory.
    pub(super) async fn import(&self, imported: &Imported, actor: &Actor, mode: Mode, now: Moment) -> Told {
        let id = self.drive.pipeline().next_request();
        let acted = Acted {
            act: Act::Import,
            actor: Some(actor),
            user: None,
            serial: Some(&imported.serial),
            contract: None,
            deed: None,
            id,
            request: None,
        };
        let token = match self.authorize(actor, Act::Import, None, &Exceptions::default()) {
            Ok(()) => self.imported(imported, now),
            Err(why) => Err(why),
        };
        let added = match token {
            Ok(_) if mode == Mode::DryRun => {
                return Told::WouldDo { what: format!("put token {} into the inventory", imported.serial) };
            }
            Ok(token) => {
                let change = Change::AddToken(Box::new(token));
                let changed = self.registry().change(change, now.mono.plus(PATIENCE)).await;
                changed.map_err(|not| match not {
                    NotChanged::Exists => Refuse::SerialTaken(imported.serial.clone()),
                    other => Refuse::NotChanged(other),
                })
            }
            Err(why) => Err(why),
        };
        let (outcome, told) = match &added {
            Ok(()) => {
                let what = format!("token {} is in the inventory", imported.serial);
                (Outcome::Done, Told::Done { what, serial: Some(imported.serial.clone()) })
            }
            Err(why) => (Outcome::Refused(why), why.told(ProofOf::Act)),
        };
        if mode == Mode::DryRun {
            return told;
        }
        match self.drive.record(Marks::new(), acted.line(outcome, now.wall)).await {
            Ok(()) => told,
            Err(not) => Refuse::from(not).told(ProofOf::Act),
        }
    }

    fn imported(&self, imported: &Imported, now: Moment) -> Result<NewToken, Refuse> {
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
            // The journal keeps what a counter token has used up, and knows nothing of one that begins in the middle.
            (None, None | Some(0)) => Moving::Counter { look_ahead: LookAhead::DEFAULT },
            (None, Some(_)) => {
                let right = "a counter token must begin at 0; resync it after its import";
                return Err(Refuse::Value { what: "the counter", right });
            }
            (Some(_), Some(_)) => {
                return Err(Refuse::Value {
                    what: "the token",
                    right: "give a period or a counter, not both",
                });
            }
        };
        let profile = self.profile(service.as_ref());
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
            begins: time(imported.begins.as_deref())?,
            ends: time(imported.ends.as_deref())?,
            setup: None,
        })
    }
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
