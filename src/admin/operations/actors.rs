//! Who acts, whether they may, and whether they can prove it.

use super::codes::Tried;
use super::prepare::Round;
use super::{Failed, Operations, PATIENCE};
use crate::admin::caller::{Actor, Caller, acting_role};
use crate::admin::protocol::{Ask, Password, Proof as Shown};
use crate::admin::refusal::{ProofOf, Refuse};
use crate::clock::Moment;
use crate::directory::{Found, PasswordAnswer};
use crate::identity::{RequestId, TokenSerial, UserName};
use crate::policy::{Act, ActorRole, Exceptions, Profile, Proof};
use crate::secret::{PASSWORD_MAX, Secret};
use crate::state::{Counted, Guess, Known, Mark, Marks};
use crate::tokens::{KeptUser, Role, User};
use std::sync::Arc;

impl Operations {
    /// Who answers for the question: as the caller says with `--as`, or for a release with `--by`.
    pub(super) async fn actor(
        &self,
        caller: &Caller,
        wanted: Option<&str>,
        ask: &Ask,
        now: Moment,
    ) -> Result<Actor, Refuse> {
        let rules = self.rules.load();
        let by = match ask {
            Ask::UserRelease { by: Some(by), .. } if wanted.is_none() => Some(by.as_str()),
            _ => None,
        };
        // `--by NAME` names a customer by the name alone, whatever it is; the role is the one that the directory says.
        let counter = ActorRole::Counter.text();
        let is_name =
            |by: &&str| *by != counter && by.strip_prefix(counter).is_none_or(|rest| !rest.starts_with(':'));
        if let Some(name) = by.filter(is_name) {
            let user = self.customer(name, now).await?;
            let role = acting_role(user.role);
            rules.operators.claim(caller, Some(&format!("{}:{name}", role.text())))?;
            return Ok(Actor::of_customer(role, user, caller));
        }
        let claim = rules.operators.claim(caller, by.or(wanted))?;
        if matches!(claim.role, ActorRole::Counter | ActorRole::Auditor) {
            return Ok(Actor::of_bank(&claim, caller));
        }
        let user = self.customer(&claim.name, now).await?;
        if claim.role != ActorRole::User && acting_role(user.role) != claim.role {
            return Err(Refuse::ActorRole(claim.name));
        }
        Ok(Actor::of_customer(claim.role, user, caller))
    }

    async fn customer(&self, name: &str, now: Moment) -> Result<Arc<User>, Refuse> {
        self.find(name, now).await.map_err(|why| match why {
            Refuse::UserUnknown(name) => Refuse::ActorUnknown(name),
            other => other,
        })
    }

    /// Whether the actor may do this to the user, under the rules of the user's service.
    pub(super) fn authorize(
        &self,
        actor: &Actor,
        act: Act,
        target: Option<&User>,
        service: &Exceptions,
    ) -> Result<(), Refuse> {
        let rules = self.rules.load();
        let roles = rules.authority.roles(act, service);
        let may_not = Refuse::MayNot { act, roles };
        let Some(me) = &actor.user else {
            return if roles.has(actor.role) { Ok(()) } else { Err(may_not) };
        };
        let Some(target) = target else { return Err(may_not) };
        let on_self = me.id == target.id;
        if act == Act::Release {
            if on_self {
                return Err(Refuse::OwnRelease);
            }
            if actor.role == ActorRole::Master && target.role == Role::Master {
                return Err(Refuse::MasterRelease);
            }
        }
        if on_self && roles.has(ActorRole::User) {
            return Ok(());
        }
        if !roles.has(actor.role) || actor.role == ActorRole::User {
            return Err(may_not);
        }
        if me.contract.is_none() || me.contract != target.contract {
            return Err(Refuse::OtherContract);
        }
        Ok(())
    }

    /// Checks what the actor shows, as far as the act demands it; gives what that used up. `token` is the one that the
    /// act is about, if it is about one.
    pub(super) async fn prove(
        &self,
        act: Act,
        token: Option<&TokenSerial>,
        shown: &Shown,
        profile: &Profile,
        round: Round<'_>,
    ) -> Result<Marks, Failed> {
        let Round { actor, id, now, .. } = round;
        let Some(user) = &actor.user else { return Ok(Marks::new()) };
        let (needs_code, needs_password) = match act.proof(actor.role) {
            Proof::Nothing => return Ok(Marks::new()),
            Proof::Password => (false, true),
            Proof::Code => (true, false),
            Proof::CodeAndPassword => (true, true),
        };
        let name = || user.name.to_string();
        let given = |secret: &Option<Password>| secret.as_ref().is_some_and(|secret| !secret.0.is_empty());
        if self.is_locked(user, now) || user.account.refusal(now.wall).is_some() {
            return Err(Refuse::ActorLocked(name()).into());
        }
        if needs_code && !given(&shown.code) {
            return Err(Refuse::CodeMissing(name()).into());
        }
        if needs_password && !given(&shown.password) {
            return Err(Refuse::PasswordMissing(name()).into());
        }
        let code = shown.code.as_ref().filter(|_| needs_code);
        let password = shown.password.as_ref().filter(|_| needs_password);
        let tokens = match (code, act, token) {
            (None, ..) => Vec::new(),
            (Some(_), Act::Renew, Some(renewed)) => self.tokens_to_renew_with(user, renewed, now),
            (Some(_), ..) => self.tokens_in_service(user, now),
        };
        if needs_code && tokens.is_empty() {
            return Err(Refuse::ActorTokenless(name()).into());
        }
        let tried: Vec<Tried<'_>> = code.map(|code| Tried { tokens: &tokens, code }).into_iter().collect();
        self.show(user, &tried, password, profile, id, now)
            .await
            .map_err(|failed| Failed { proof_of: ProofOf::Actor, ..failed })
    }

    /// Codes and a confirmation password of one user, all of them or none: codes are claimed, the password is asked
    /// for, and then the codes are used up, whatever the answer was.
    pub(super) async fn show(
        &self,
        user: &Arc<User>,
        tried: &[Tried<'_>],
        password: Option<&Password>,
        profile: &Profile,
        id: RequestId,
        now: Moment,
    ) -> Result<Marks, Failed> {
        let failed = |why, marks| Failed { why, marks, proof_of: ProofOf::Act };
        if !tried.is_empty() && !self.drive.pipeline().trusts_clock(now) {
            return Err(Refuse::Clock.into());
        }
        if self.is_locked(user, now) {
            return Err(failed(crate::tokens::life::Refusal::Locked.into(), Marks::new()));
        }
        let claims = match self.claim(tried, id, now) {
            Ok(claims) => claims,
            Err(wrong) => {
                // A code that was right once is no guess.
                let mut marks = match wrong.why {
                    Refuse::CodeUsed => Marks::new(),
                    _ => self.fail(user, Guess::Code, wrong.code, profile, now),
                };
                for token in wrong.tokens.iter().take(crate::tokens::TOKENS_MAX) {
                    let renewal = crate::state::renewal(token);
                    let durable = &self.drive.pipeline().tables().durable;
                    let _ =
                        marks.try_push(Mark::Token(durable.tokens.fail(token.id, token.imprint, renewal)));
                }
                return Err(failed(wrong.why, marks));
            }
        };
        let Some(password) = password else { return Ok(claims.accept()) };
        match self.ask_password(user, password, now).await {
            Ok(()) => {
                let mut marks = claims.accept();
                let proven = if tried.is_empty() { Guess::Password } else { Guess::Code };
                let users = &self.drive.pipeline().tables().durable.users;
                if let Some(mark) = users.succeed(user.id, proven) {
                    let _ = marks.try_push(Mark::User(mark));
                }
                Ok(marks)
            }
            Err(why @ Refuse::PasswordWrong(_)) => {
                let mut marks = claims.burn();
                marks.extend(self.fail(user, Guess::Password, password, profile, now).into_iter().take(1));
                Err(failed(why, marks))
            }
            Err(why) => Err(failed(why, claims.burn())),
        }
    }

    /// Asks the directory whether it is the user's password.
    async fn ask_password(&self, user: &User, password: &Password, now: Moment) -> Result<(), Refuse> {
        if password.0.is_empty() {
            return Err(Refuse::PasswordMissing(user.name.to_string()));
        }
        if password.0.len() > PASSWORD_MAX {
            return Err(Refuse::PasswordWrong(user.name.to_string()));
        }
        let secret = Secret::new(password.0.as_bytes());
        let deadline = now.mono.plus(PATIENCE);
        let refused = |why: &str| Err(Refuse::AccountRefused(why.to_owned()));
        match self.drive.directory().check_password(&KeptUser::new(user), secret, deadline).await? {
            PasswordAnswer::Right => Ok(()),
            PasswordAnswer::Wrong => Err(Refuse::PasswordWrong(user.name.to_string())),
            PasswordAnswer::Disabled => refused("it is switched off"),
            PasswordAnswer::Expired => refused("its time is over, or has not begun"),
            PasswordAnswer::Locked => refused("the directory has locked it"),
            PasswordAnswer::PasswordExpired => refused("the password is too old"),
            PasswordAnswer::MustChange => refused("the password must be changed first"),
        }
    }

    /// Counts a failure against the user, as a login would.
    fn fail(
        &self,
        user: &User,
        guess: Guess,
        credential: &Password,
        profile: &Profile,
        now: Moment,
    ) -> Marks {
        let rules = crate::lockout::Rules {
            max_failures: profile.max_failures.count(),
            length: profile.lock.duration(),
        };
        let users = &self.drive.pipeline().tables().durable.users;
        let mut marks = Marks::new();
        if let Counted::Now(mark, _) = users.fail(user.id, guess, rules, credential.0.as_bytes(), now) {
            let _ = marks.try_push(Mark::User(mark));
        }
        marks
    }

    pub(super) fn is_locked(&self, user: &User, now: Moment) -> bool {
        self.drive.pipeline().tables().durable.users.lockout(user.id, now.wall).is_locked(now.wall)
    }

    /// The user with this name, from memory or from the directory.
    pub(super) async fn find(&self, name: &str, now: Moment) -> Result<Arc<User>, Refuse> {
        let user_name = user_name(name)?;
        let known = match self.drive.pipeline().tables().bindings.look_up(&user_name, now.mono) {
            Known::Ask => match self.drive.directory().find(&user_name, now.mono.plus(PATIENCE)).await? {
                Found::One(user) => Known::One(user),
                Found::Nobody => Known::Nobody,
                Found::Several => Known::Several,
            },
            known => known,
        };
        match known {
            Known::One(kept) => {
                let user = Arc::new(kept.whole());
                // What other nodes know of the user. Without them, what this one knows is shown; what is changed then
                // is refused when it is recorded.
                let _ = self.drive.refresh(&user).await;
                Ok(user)
            }
            Known::Nobody => Err(Refuse::UserUnknown(name.to_owned())),
            Known::Several => Err(Refuse::UserAmbiguous(name.to_owned())),
            Known::Ask | Known::Stale => Err(Refuse::Stale),
        }
    }
}

/// A name that a user could have.
pub(super) fn user_name(name: &str) -> Result<UserName, Refuse> {
    let usable = UserName::new(name.as_bytes()).filter(|_| !name.chars().any(char::is_control));
    usable
        .ok_or(Refuse::Value { what: "the user's name", right: "1 to 253 octets without control characters" })
}
