//! Users of the embedded directory come and go. In an LDAP directory they do so by its own tools.

use super::actors::user_name;
use super::perform::Performed;
use super::prepare::{Round, mail_address};
use super::scene::contract_id;
use super::{Failed, Operations, PATIENCE, Prepared};
use crate::admin::caller::Actor;
use crate::admin::deed::Deed;
use crate::admin::evidence::{Acted, Outcome};
use crate::admin::protocol::{Added, Mode, Told};
use crate::admin::refusal::{ProofOf, Refuse};
use crate::clock::{self, Moment};
use crate::directory::registry::{Change, NewUser, NotChanged};
use crate::policy::{Act, Exceptions};
use crate::secret::{PASSWORD_MAX, Secret};
use crate::state::Marks;
use crate::tokens::Role;
use std::sync::Arc;

impl Operations {
    /// Adds a user. It has a password in it and so waits for nobody.
    pub(super) async fn add_user(&self, added: &Added, actor: &Actor, mode: Mode, now: Moment) -> Told {
        let acted = Acted {
            act: Act::UserAdd,
            actor: Some(actor),
            user: None,
            serial: None,
            contract: added.contract.as_deref(),
            deed: None,
            id: self.drive.pipeline().next_request(),
            request: None,
        };
        let may = self.authorize(actor, Act::UserAdd, None, &Exceptions::default());
        let user = match may.and_then(|()| self.has_own_users()) {
            Ok(()) => self.new_user(added, now).await,
            Err(why) => Err(why),
        };
        let what = format!("add user {}", added.user);
        let done = match user {
            Ok(_) if mode == Mode::DryRun => return Told::WouldDo { what },
            Ok(user) => {
                let change = Change::AddUser(Box::new(user));
                let changed = self.registry().change(change, clock::now().mono.plus(PATIENCE)).await;
                changed.map_err(Refuse::NotChanged)
            }
            Err(why) => Err(why),
        };
        let (outcome, told) = match &done {
            Ok(()) => (Outcome::Done, Told::done(format!("{} is known", added.user))),
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

    fn has_own_users(&self) -> Result<(), Refuse> {
        if self.registry().has_own_users() { Ok(()) } else { Err(Refuse::UsersElsewhere) }
    }

    async fn new_user(&self, added: &Added, now: Moment) -> Result<NewUser, Refuse> {
        let name = user_name(&added.user)?;
        let role = match added.role.as_deref() {
            None | Some("general") => Role::General,
            Some("admin") => Role::Admin,
            Some("master") => Role::Master,
            Some(_) => return Err(Refuse::Value { what: "the role", right: "master, admin or general" }),
        };
        if let Some(mail) = &added.mail {
            mail_address(mail)?;
        }
        let password = added.password.0.as_bytes();
        if !(1..=PASSWORD_MAX).contains(&password.len()) {
            return Err(Refuse::Value { what: "the password", right: "1 to 128 octets" });
        }
        if self.registry().user(&name, now.mono.plus(PATIENCE)).await?.is_some() {
            return Err(Refuse::NotChanged(NotChanged::Exists));
        }
        Ok(NewUser {
            name: added.user.clone(),
            contract: added.contract.as_deref().map(contract_id).transpose()?,
            role,
            mail: added.mail.clone(),
            password: Secret::new(password),
        })
    }

    /// Looks whether a user may be removed.
    pub(super) async fn remove_user(&self, name: &str, round: Round<'_>) -> Result<Prepared, Failed> {
        let scene = self.scene(name, round.now).await?;
        self.authorize(round.actor, Act::UserRemove, Some(scene.user()), &Exceptions::default())?;
        self.has_own_users()?;
        let user = Arc::clone(scene.user());
        Ok(Prepared::of(Deed::RemoveUser { user: user.name.to_string() }, Marks::new(), Some(user)))
    }

    /// Removes a user, and the tokens that are nobody else's.
    pub(super) async fn do_remove_user(&self, name: &str, now: Moment) -> Result<Performed, Refuse> {
        let scene = self.scene(name, now).await?;
        let removed = Change::RemoveUser { id: scene.user().id, version: scene.version.clone() };
        self.registry().change(removed, clock::now().mono.plus(PATIENCE)).await?;
        let told = Told::done(format!("{name} is removed, with the tokens that were nobody else's"));
        Ok(Performed { marks: Marks::new(), told, serial: None })
    }
}
