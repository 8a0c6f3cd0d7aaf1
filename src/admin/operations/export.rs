//! Tokens with their keys go out as packages of a PSKC container (RFC 6030): what leaves is encrypted here.

use super::codes::token_of;
use super::{Operations, PATIENCE_LIST};
use crate::admin::caller::Actor;
use crate::admin::evidence::{Acted, Outcome};
use crate::admin::protocol::{Exported, Mode, Password, Told};
use crate::admin::refusal::{ProofOf, Refuse};
use crate::clock::Moment;
use crate::formats::pskc::{self, Seal, Shown};
use crate::otp::Moving;
use crate::otp::uri::KeyMoving;
use crate::pipeline::drive::NotDurable;
use crate::policy::{Act, Exceptions};
use crate::secret::Secret;
use crate::state::Marks;
use crate::tokens::{Record, State, User};
use data_encoding::BASE64;
use std::sync::Arc;

/// The most packages in one answer: each has about a kilobyte and a half.
const PACKAGES_MAX: usize = 500;

impl Operations {
    /// Writes a page of tokens as packages, under the keys that the caller has drawn.
    pub(super) async fn export(&self, wanted: &Exported, actor: &Actor, mode: Mode, now: Moment) -> Told {
        let acted = Acted {
            act: Act::Export,
            actor: Some(actor),
            user: None,
            serial: None,
            contract: None,
            deed: None,
            id: self.drive.pipeline().next_request(),
            request: None,
        };
        let written = match self.authorize(actor, Act::Export, None, &Exceptions::default()) {
            Ok(()) if mode == Mode::DryRun => {
                return Told::WouldDo { what: "write tokens with their keys".into() };
            }
            Ok(()) => self.packages(wanted, now).await,
            Err(why) => Err(why),
        };
        let (outcome, told) = match written {
            Ok(told) => (None, told),
            Err(why) => {
                let told = why.told(ProofOf::Act);
                (Some(why), told)
            }
        };
        if mode == Mode::DryRun {
            return told;
        }
        // Keys leave only with the evidence that they did.
        let outcome = outcome.as_ref().map_or(Outcome::Done, Outcome::Refused);
        match self.drive.record(Marks::new(), acted.line(outcome, now.wall)).await {
            Ok(()) => told,
            Err(not) => Refuse::from(not).told(ProofOf::Act),
        }
    }

    async fn packages(&self, wanted: &Exported, now: Moment) -> Result<Told, Refuse> {
        let keys = Option::zip(octets(&wanted.key), octets(&wanted.mac_key));
        let right = "16, 24 or 32 octets to encrypt with, and some to verify with, in base64";
        let refused = || Refuse::Value { what: "the container's keys", right };
        let (key, mac_key) = keys.filter(|(_, mac_key)| !mac_key.is_empty()).ok_or_else(refused)?;
        let seal = Seal::new(key, mac_key).map_err(|_| refused())?;
        let state = match wanted.state.as_deref() {
            None => None,
            Some(text) => Some(State::parse(text).ok_or(Refuse::Value {
                what: "the state",
                right: "inventory, issued, set-up, active, suspended or revoked",
            })?),
        };
        let deadline = now.mono.plus(PATIENCE_LIST);
        let after = wanted.after.as_deref();
        let records = self.registry().tokens(state, after, PACKAGES_MAX, deadline).await?;
        let next =
            (records.len() == PACKAGES_MAX).then(|| records.last().map(|last| last.serial.to_string()));
        let (mut packages, mut uncounted) = (Vec::new(), Vec::new());
        for record in &records {
            let Some(secret) = &record.secret else { continue };
            match self.package(record, secret, &seal, now).await? {
                Some(package) => packages.push(package),
                None => uncounted.push(record.serial.to_string()),
            }
        }
        Ok(Told::Exported { packages, uncounted, next: next.flatten() })
    }

    /// `None` for a token whose counter nobody knows: marks were lost, and it was not synchronised since.
    async fn package(
        &self,
        record: &Record,
        secret: &Secret,
        seal: &Seal,
        now: Moment,
    ) -> Result<Option<String>, Refuse> {
        let owners = if record.owners.is_empty() { Vec::new() } else { self.owners(record, now).await? };
        let shown = Shown {
            serial: record.serial.as_str(),
            issuer: record.service.as_ref().map(|service| service.as_str()),
            secret,
            algorithm: record.parameters.algorithm,
            digits: record.parameters.digits,
            moving: match record.parameters.moving {
                Moving::Time { period } => KeyMoving::Time { period },
                // Beyond all that was used here, so that no code counts again where the file is imported (S-02).
                Moving::Counter { .. } => {
                    let Some(next) = self.next_counter(record, &owners).await? else { return Ok(None) };
                    KeyMoving::Counter { next }
                }
            },
            begins: record.begins,
            ends: record.ends,
            user: owners.first().map(|owner| &*owner.name),
        };
        pskc::package(&shown, seal)
            .map(Some)
            .map_err(|_| Refuse::Value { what: "the token's key", right: "at most 128 octets" })
    }

    /// The first counter that nothing has used up; `None` if every one may be.
    async fn next_counter(&self, record: &Record, owners: &[Arc<User>]) -> Result<Option<u64>, Refuse> {
        for owner in owners {
            // Other nodes may have accepted later ones.
            self.drive.refresh(owner).await.map_err(|lost| Refuse::from(NotDurable::Cluster(lost)))?;
        }
        let Some(token) = token_of(record) else { return Ok(Some(0)) };
        let past = self.drive.pipeline().tables().durable.past(&token);
        Ok(past.last.max(token.spent).map_or(Some(0), |last| last.0.checked_add(1)))
    }
}

fn octets(text: &Password) -> Option<Secret> {
    BASE64.decode(text.0.as_bytes()).ok().map(Secret::new)
}
