//! A second person decides: the very act that was asked for happens, or it does not.

use super::{Operations, scene};
use crate::admin::caller::{Actor, Asker};
use crate::admin::deed::Deed;
use crate::admin::evidence::{Acted, Outcome};
use crate::admin::protocol::{Ask, Kind, Mode, RequestShown, Told};
use crate::admin::refusal::{ProofOf, Refuse};
use crate::clock::Moment;
use crate::policy::four_eyes::Answer;
use crate::policy::{Act, Exceptions};
use crate::state::Marks;
use crate::tokens::User;
use std::sync::Arc;

impl Operations {
    /// The requests that wait, or all of them.
    pub(super) fn list_requests(&self, all: bool, actor: &Actor, now: Moment) -> Result<Told, Refuse> {
        self.allows_look(actor)?;
        if actor.user.is_some() {
            return Err(Refuse::OtherContract);
        }
        let mut requests = self.requests.list(now.wall)?;
        requests.retain(|request| all || request.state == "pending");
        Ok(Told::Requests(requests))
    }

    /// A second person approves or denies.
    pub(super) async fn decide(
        &self,
        request: &str,
        answer: Answer,
        actor: &Actor,
        mode: Mode,
        now: Moment,
    ) -> Told {
        let id = self.drive.pipeline().next_request();
        let acted = Acted {
            act: Act::Decide,
            actor: Some(actor),
            user: None,
            serial: None,
            contract: None,
            deed: None,
            id,
            request: Some((request, "")),
        };
        if let Err(why) = self.authorize(actor, Act::Decide, None, &Exceptions::default()) {
            return self.refused(&acted, Marks::new(), why, now).await;
        }
        let decided = match mode {
            Mode::DryRun => {
                let would = self.requests.would_decide(request, answer, &actor.person, now.wall);
                return match would {
                    Ok((shown, deed, asker)) => self.would_decide(shown, deed, asker, answer, now).await,
                    Err(why) => why.told(ProofOf::Act),
                };
            }
            Mode::Do => self.requests.decide(request, answer, &actor.name, &actor.person, now.wall),
        };
        let (shown, deed, asker) = match decided {
            Ok(decided) => decided,
            Err(why) => return self.refused(&acted, Marks::new(), why, now).await,
        };
        let user = match deed.user() {
            Some(name) => self.find(name, now).await.ok(),
            None => match deed.serial().map(scene::serial_number) {
                Some(Ok(serial)) => self.owner_of(serial.as_str(), now).await,
                _ => None,
            },
        };
        let acted = Acted {
            act: deed.act(),
            user: user.as_deref(),
            serial: deed.serial(),
            contract: deed.contract(),
            deed: Some(&deed),
            request: Some((&shown.id, &shown.asked_by)),
            ..acted
        };
        let word = if answer == Answer::Approve { "approved" } else { "denied" };
        if let Err(not) = self.drive.record(Marks::new(), acted.line(Outcome::Decided(word), now.wall)).await
        {
            return Refuse::from(not).told(ProofOf::Act);
        }
        if answer == Answer::Deny {
            return Told::done(format!("request {request} is denied: {}", shown.what));
        }
        let told = match self.still_may(asker, &deed, now).await {
            Ok(()) => self.finish(&deed, Marks::new(), &acted, id, now).await,
            Err(why) => self.refused(&acted, Marks::new(), why, now).await,
        };
        // What could not be done for now may be approved again; what does not fit any more never will.
        if let Told::Refused(refused) = &told
            && matches!(refused.kind, Kind::Unavailable | Kind::Conflict)
            && let Err(error) = self.requests.reopen(request)
        {
            tracing::warn!(event = "request-not-reopened", request, %error);
        }
        told
    }

    /// What an answer would come to, as far as it can be told without giving it.
    async fn would_decide(
        &self,
        shown: RequestShown,
        deed: Deed,
        asker: Option<Asker>,
        answer: Answer,
        now: Moment,
    ) -> Told {
        if answer == Answer::Approve
            && let Err(why) = self.still_may(asker, &deed, now).await
        {
            return why.told(ProofOf::Act);
        }
        Told::WouldDo { what: shown.what }
    }

    /// Whether the first person may still do what they asked for, under the rules and the directory of this moment: a
    /// request must not outlive the right that it was asked with.
    async fn still_may(&self, asker: Option<Asker>, deed: &Deed, now: Moment) -> Result<(), Refuse> {
        let Some(asker) = asker else { return Err(Refuse::AskerMayNot) };
        let actor = self.same_actor(&asker, now).await?;
        let (target, service) = match (deed, deed.user(), deed.serial()) {
            (Deed::Release { user }, ..) => {
                let user = self.find(user, now).await?;
                let contract = self.contract_of(&user, now).await.unwrap_or_default();
                let profile = self.profile(contract.as_ref().map(|contract| &contract.service));
                (Some(user), profile.may.clone())
            }
            (_, Some(user), _) => {
                let scene = self.scene(user, now).await?;
                (Some(Arc::clone(scene.user())), scene.profile.may.clone())
            }
            (_, None, Some(serial)) => {
                let held = self.held(serial, &actor, now).await?;
                (held.owner, held.profile.may.clone())
            }
            (_, None, None) => (None, Exceptions::default()),
        };
        self.authorize(&actor, deed.act(), target.as_deref(), &service).map_err(|_| Refuse::AskerMayNot)
    }

    /// The first person as somebody who acts now: the same caller, by a token or certificate that still opens the API, the
    /// same entry, the same role, and neither locked nor switched off.
    async fn same_actor(&self, asker: &Asker, now: Moment) -> Result<Actor, Refuse> {
        let shown = &asker.caller.credential;
        if !shown.is_empty() && !self.rules.load().credentials.contains(shown) {
            return Err(Refuse::AskerMayNot);
        }
        let found = self.actor(&asker.caller, Some(&asker.wanted), &Ask::Status, now).await;
        let actor = found.map_err(|why| match why.kind() {
            // Nothing is known of their rights now, so nothing is decided about them.
            Kind::Unavailable => why,
            _ => Refuse::AskerMayNot,
        })?;
        let is_barred =
            |user: &Arc<User>| self.is_locked(user, now) || user.account.refusal(now.wall).is_some();
        if actor.person != asker.person || actor.user.as_ref().is_some_and(is_barred) {
            return Err(Refuse::AskerMayNot);
        }
        Ok(actor)
    }

    async fn owner_of(&self, serial: &str, now: Moment) -> Option<Arc<User>> {
        let token = self.token(serial, now).await.ok()??;
        self.owners(&token.value, now).await.ok()?.into_iter().next()
    }
}
