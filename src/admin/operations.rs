//! What an operator may do to the running daemon, and who may do it.

use super::protocol::{Ask, ServerShown, Status, TokenShown, Told, UserShown};
use crate::clock::{self, Moment, Wall};
use crate::directory::{Found, PasswordAnswer};
use crate::identity::{Escaped, UserName};
use crate::lockout::Lock;
use crate::otp::Moving;
use crate::outcome::Reason;
use crate::pipeline::drive::Drive;
use crate::pipeline::evidence::{Act, act};
use crate::secret::Secret;
use crate::state::{Known, Mark, Marks};
use crate::store::Health;
use crate::tokens::{Past, Role, Standing, Token, Tokens, User};
use std::sync::Arc;
use std::time::Duration;

/// Carries out what operators ask.
pub struct Operations {
    drive: Arc<Drive>,
    not_ready: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

/// How long an operator waits for the directory.
const PATIENCE: Duration = Duration::from_secs(5);

/// The actor that stands for the bank's own counter: whoever may use the local socket.
const COUNTER: &str = "counter";

impl Operations {
    /// Over the running daemon; `not_ready` says what keeps it from being ready.
    pub fn new(drive: Arc<Drive>, not_ready: Arc<dyn Fn() -> Vec<String> + Send + Sync>) -> Arc<Operations> {
        Arc::new(Operations { drive, not_ready })
    }

    /// Carries out one question of `peer`, the operating-system user at the other end.
    pub async fn carry_out(&self, ask: Ask, peer: &str) -> Told {
        let now = clock::now();
        match ask {
            Ask::Status => Told::Status(Box::new(self.status(now))),
            Ask::UserShow { user } => match self.find(&user, now).await {
                Ok(user) => Told::User(Box::new(self.show_user(&user, now.wall))),
                Err(why) => Told::Refused { why },
            },
            Ask::TokenShow { serial } => match self.show_token(&serial, now.wall) {
                Some(token) => Told::Token(Box::new(token)),
                None => Told::Refused {
                    why: format!(
                        "no token {} is known; with bindings = \"ask\" only tokens of users who logged in lately are",
                        Escaped(serial.as_bytes())
                    ),
                },
            },
            Ask::UserRelease { user, by, password } => {
                let password = password.map(|password| Secret::new(password.0));
                self.release(&user, &by, password, peer, now).await
            }
        }
    }

    fn status(&self, now: Moment) -> Status {
        let tables = self.drive.pipeline().tables();
        let servers = self.drive.directory().servers().into_iter();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: now.mono.nanos() / 1_000_000_000,
            not_ready: (self.not_ready)(),
            in_flight: tables.admission.in_flight(),
            users: tables.bindings.len(),
            directory_age_seconds: tables.bindings.age(now.mono).map(|age| age.as_secs_f64()),
            servers: servers
                .map(|status| ServerShown { server: status.server, up: status.up, trouble: status.trouble })
                .collect(),
            locked: tables.durable.users.locked(now.wall).len(),
            tokens_disabled: tables.durable.tokens.disabled(),
            pinned: tables.durable.pins.len(),
            journal: match self.drive.store().health() {
                Health::Writing => "writing".into(),
                Health::Failed { why } => format!("failed: {why}"),
            },
        }
    }

    /// Lifts a lock, if `by` may (S-18): a master or admin user of the same contract who proves themselves; a locked
    /// master only by an admin user; the counter always.
    async fn release(&self, name: &str, by: &str, password: Option<Secret>, peer: &str, now: Moment) -> Told {
        let user = match self.find(name, now).await {
            Ok(user) => user,
            Err(why) => return Told::Refused { why },
        };
        if by != COUNTER {
            let actor = match self.find(by, now).await {
                Ok(actor) => actor,
                Err(why) => return Told::NotAllowed { why },
            };
            if let Err(why) = may_release(&actor, &user) {
                return Told::NotAllowed { why: why.into() };
            }
            if let Err(why) = self.prove(&actor, password, now).await {
                return Told::NotAllowed { why };
            }
        }
        let durable = &self.drive.pipeline().tables().durable;
        let Some(mark) = durable.users.release(user.id) else {
            return Told::Refused { why: format!("{} is not locked and has no failures", user.name) };
        };
        let mut marks = Marks::new();
        marks.push(Mark::User(mark));
        let evidence = act(&Act { event: "release", user: &user, actor: by, peer, now: now.wall });
        match self.drive.record(marks, evidence).await {
            Ok(()) => Told::Done { what: format!("{} is released", user.name) },
            Err(why) => Told::Refused { why: why.to_string() },
        }
    }

    /// Asks the directory whether it is the actor's password.
    async fn prove(&self, actor: &User, password: Option<Secret>, now: Moment) -> Result<(), String> {
        let locked =
            self.drive.pipeline().tables().durable.users.lockout(actor.id, now.wall).is_locked(now.wall);
        if locked || actor.account.refusal(now.wall).is_some() {
            return Err(format!("{} is locked and can release nobody", actor.name));
        }
        let password = password.filter(|password| !password.is_empty());
        let Some(password) = password else {
            return Err(format!("{} has to give the confirmation password", actor.name));
        };
        let deadline = now.mono.plus(PATIENCE);
        match self.drive.directory().check_password(actor, password, deadline).await {
            Ok(PasswordAnswer::Right) => Ok(()),
            Ok(_) => Err(format!("this is not the confirmation password of {}", actor.name)),
            Err(unavailable) => Err(unavailable.to_string()),
        }
    }

    async fn find(&self, name: &str, now: Moment) -> Result<Arc<User>, String> {
        let shown = Escaped(name.as_bytes());
        let Some(user_name) = UserName::new(name.as_bytes()) else {
            return Err(format!("{shown} is no user name: 1 to 253 octets"));
        };
        let known = match self.drive.pipeline().tables().bindings.look_up(&user_name, now.mono) {
            Known::Ask => match self.drive.directory().find(&user_name, now.mono.plus(PATIENCE)).await {
                Ok(Found::One(user)) => Known::One(user),
                Ok(Found::Nobody) => Known::Nobody,
                Ok(Found::Several) => Known::Several,
                Err(unavailable) => return Err(unavailable.to_string()),
            },
            known => known,
        };
        match known {
            Known::One(user) => Ok(user),
            Known::Nobody => Err(format!("no user {shown} is known to the directory")),
            Known::Several => Err(format!("several entries have the name {shown}; make it one")),
            Known::Ask | Known::Stale => Err("the directory has not been read yet, or not lately".into()),
        }
    }

    fn show_user(&self, user: &User, now: Wall) -> UserShown {
        let lockout = self.drive.pipeline().tables().durable.users.lockout(user.id, now);
        let (tokens, too_many): (&[Token], _) = match &user.tokens {
            Tokens::These(tokens) => (tokens, None),
            Tokens::TooMany(count) => (&[], Some(*count)),
        };
        UserShown {
            user: user.name.to_string(),
            dn: user.dn.to_string(),
            entry: user.id.to_string(),
            contract: user.contract.as_ref().map(ToString::to_string),
            role: role_text(user.role).into(),
            lock: match lockout.lock {
                Lock::UntilReleased => "until-released".into(),
                Lock::Until(until) if now < until => time_text(until),
                Lock::Until(_) | Lock::Open => "open".into(),
            },
            failures: lockout.failures,
            account: user.account.refusal(now).map(|reason| reason.text().into()),
            tokens: tokens.iter().map(|token| self.shown(token, user, now)).collect(),
            tokens_too_many: too_many,
        }
    }

    fn show_token(&self, serial: &str, now: Wall) -> Option<TokenShown> {
        self.drive.pipeline().tables().bindings.find(|user| match &user.tokens {
            Tokens::These(tokens) => {
                let token = tokens.iter().find(|token| token.serial.as_str() == serial)?;
                Some(self.shown(token, user, now))
            }
            Tokens::TooMany(_) => None,
        })
    }

    fn shown(&self, token: &Token, user: &User, now: Wall) -> TokenShown {
        let durable = &self.drive.pipeline().tables().durable;
        let (kind, period) = match token.parameters.moving {
            Moving::Time { period } => ("totp", Some(period.seconds())),
            Moving::Counter { .. } => ("hotp", None),
        };
        let past = durable.past(token);
        let locked = durable.users.lockout(user.id, now).is_locked(now);
        TokenShown {
            serial: token.serial.to_string(),
            user: user.name.to_string(),
            contract: user.contract.as_ref().map(ToString::to_string),
            state: state_text(token, past, locked, now).into(),
            defect: match token.standing {
                Standing::Unusable(defect) => Some(defect.to_string()),
                Standing::Active | Standing::AwaitsConfirmation | Standing::Suspended | Standing::Revoked => {
                    None
                }
            },
            kind: kind.into(),
            algorithm: token.parameters.algorithm.text().into(),
            digits: token.parameters.digits.count(),
            period,
            last_step: past.last.max(token.spent).map(|step| step.0),
            drift_steps: past.drift.steps(),
            failures: past.failures,
        }
    }
}

/// Who may release whom within a contract (S-18).
fn may_release(actor: &User, user: &User) -> Result<(), &'static str> {
    if actor.id == user.id {
        return Err("nobody releases themselves; another master or admin user, or the counter, does");
    }
    if actor.contract.is_none() || actor.contract != user.contract {
        return Err("only users of the same contract, or the counter, may release");
    }
    match (actor.role, user.role) {
        (Role::Admin, _) | (Role::Master, Role::Admin | Role::General) => Ok(()),
        (Role::Master, Role::Master) => Err("a master user is released by an admin user or by the counter"),
        (Role::General, _) => Err("only a master or admin user, or the counter, may release"),
    }
}

fn role_text(role: Role) -> &'static str {
    match role {
        Role::Master => "master",
        Role::Admin => "admin",
        Role::General => "general",
    }
}

/// The state of a token in the words of `token list` (contract.md 7).
fn state_text(token: &Token, past: Past, locked: bool, now: Wall) -> &'static str {
    match token.refusal(now) {
        Some(Reason::TokenSuspended) => "suspended",
        Some(Reason::TokenExpired) => "expired",
        Some(Reason::TokenNotYetValid) => "not-yet-valid",
        Some(_) => "unusable",
        None if past.is_disabled() => "disabled",
        None if locked => "locked",
        None => "active",
    }
}

fn time_text(time: Wall) -> String {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ContractId, EntryId};
    use crate::tokens::Account;

    fn user(id: u8, contract: Option<&str>, role: Role) -> User {
        User {
            id: EntryId::new([id; 16]),
            name: "u".into(),
            dn: "uid=u".into(),
            contract: contract.map(ContractId::new),
            role,
            login_code: None,
            account: Account::default(),
            tokens: Tokens::These(Vec::new()),
        }
    }

    #[test]
    fn s_18_who_may_release_whom() {
        use Role::{Admin, General, Master};
        let table = [
            (Master, Some("c"), General, Some("c"), true),
            (Master, Some("c"), Admin, Some("c"), true),
            (Master, Some("c"), Master, Some("c"), false),
            (Admin, Some("c"), Master, Some("c"), true),
            (Admin, Some("c"), General, Some("c"), true),
            (General, Some("c"), General, Some("c"), false),
            (Admin, Some("c"), General, Some("d"), false),
            (Admin, None, General, None, false),
        ];
        for (actor, actors, locked, lockeds, allowed) in table {
            let result = may_release(&user(1, actors, actor), &user(2, lockeds, locked));
            assert_eq!(result.is_ok(), allowed, "{actor:?} {actors:?} releases {locked:?} {lockeds:?}");
        }
        assert!(may_release(&user(1, Some("c"), Admin), &user(1, Some("c"), Admin)).is_err());
    }
}
