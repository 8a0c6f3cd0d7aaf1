//! What there is to see of contracts, users and tokens; nothing changes.

use super::scene::{contract_id, serial_number, zone};
use super::{Operations, PATIENCE, PATIENCE_LIST};
use crate::admin::caller::Actor;
use crate::admin::protocol::{ContractShown, PAGE_MAX, TokenShown, Told, UserShown};
use crate::admin::refusal::Refuse;
use crate::admin::time_text;
use crate::clock::Moment;
use crate::directory::registry::Registered;
use crate::identity::{EntryId, TokenSerial};
use crate::lockout;
use crate::otp::Moving;
use crate::policy::{ActorRole, opening};
use crate::tokens::life::{Lock, Place, Position, Refusal, Stage};
use crate::tokens::{Contract, LoginCode, Record, Role, Standing, State, Token, Tokens, User};
use std::sync::Arc;

/// More users than a contract has.
pub(super) const ALL: usize = 10_000;

/// How much is asked of the directory for one user.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Only what memory does not know at all: a list may be long.
    Memory,
    /// Everything: dates too.
    Directory,
}

/// Which users a list is about.
pub(super) struct Wanted<'a> {
    pub contract: Option<&'a str>,
    pub locked: bool,
}

impl Operations {
    pub(super) async fn list_contracts(&self, actor: &Actor, now: Moment) -> Result<Told, Refuse> {
        self.of_bank(actor)?;
        let contracts = self.registry().contracts(now.mono.plus(PATIENCE)).await?;
        Ok(Told::Contracts(contracts.iter().map(contract_shown).collect()))
    }

    pub(super) async fn show_contract(
        &self,
        contract: &str,
        actor: &Actor,
        now: Moment,
    ) -> Result<Told, Refuse> {
        let id = contract_id(contract)?;
        self.allows_look(actor)?;
        if actor.user.as_ref().is_some_and(|me| me.contract.as_ref() != Some(&id)) {
            return Err(Refuse::OtherContract);
        }
        let seen = self.registry().contract(&id, now.mono.plus(PATIENCE)).await?;
        let seen = seen.ok_or_else(|| Refuse::ContractUnknown(contract.to_owned()))?;
        Ok(Told::Contract(Box::new(contract_shown(&seen.value))))
    }

    /// Users by name. Master and admin users see those of their own contract (S-18: whom to choose from).
    pub(super) async fn list_users(
        &self,
        wanted: &Wanted<'_>,
        after: Option<&str>,
        limit: Option<usize>,
        actor: &Actor,
        now: Moment,
    ) -> Result<Told, Refuse> {
        self.allows_look(actor)?;
        let mut contract = wanted.contract.map(contract_id).transpose()?;
        if let Some(me) = &actor.user {
            if actor.role == ActorRole::User || me.contract.is_none() {
                return Err(Refuse::OtherContract);
            }
            if contract.is_some() && contract != me.contract {
                return Err(Refuse::OtherContract);
            }
            contract.clone_from(&me.contract);
        }
        let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let mut users = Vec::new();
        let mut after = after.map(str::to_owned);
        if let Some(mut locked) = self.locked_in_memory(wanted, now) {
            locked.retain(|user| contract.is_none() || user.contract == contract);
            locked.retain(|user| after.as_deref().is_none_or(|after| &*user.name > after));
            locked.sort_unstable_by(|one, other| one.name.cmp(&other.name));
            let next =
                (locked.len() > limit).then(|| locked.get(limit - 1).map(|user| user.name.to_string()));
            for user in locked.iter().take(limit) {
                users.push(self.shown_user(user, None, Depth::Memory, now).await?);
            }
            return Ok(Told::Users { users, next: next.flatten() });
        }
        // Where some of a page are left out, it takes more than a page to fill one.
        let size = if wanted.locked { PAGE_MAX } else { limit };
        loop {
            let deadline = now.mono.plus(PATIENCE_LIST);
            let page = self.registry().users(contract.as_ref(), after.as_deref(), size, deadline).await?;
            let last = page.len() < size;
            for registered in page {
                after = Some(registered.user.name.to_string());
                if wanted.locked && !self.is_locked(&registered.user, now) {
                    continue;
                }
                users.push(self.shown_user(&registered.user, Some(&registered), Depth::Memory, now).await?);
                if users.len() >= limit {
                    return Ok(Told::Users { users, next: after });
                }
            }
            if last {
                return Ok(Told::Users { users, next: None });
            }
        }
    }

    pub(super) async fn show_user(&self, user: &str, actor: &Actor, now: Moment) -> Result<Told, Refuse> {
        self.allows_look(actor)?;
        let user = self.find(user, now).await?;
        sees(actor, &user)?;
        // Where the directory keeps no life of tokens, what memory knows is all there is to see.
        let registered = self.registry().reread(&user, now.mono.plus(PATIENCE)).await.ok().flatten();
        let registered = registered.map(|seen| seen.value);
        Ok(Told::User(Box::new(self.shown_user(&user, registered.as_ref(), Depth::Directory, now).await?)))
    }

    /// Who is locked, if that is asked and memory knows all of them: then nobody else has to be looked at.
    fn locked_in_memory(&self, wanted: &Wanted<'_>, now: Moment) -> Option<Vec<Arc<User>>> {
        if !wanted.locked {
            return None;
        }
        let tables = self.drive.pipeline().tables();
        let locked = tables.durable.users.locked(now.wall);
        locked.into_iter().map(|id| Some(Arc::new(tables.bindings.user(id)?.whole()))).collect()
    }

    pub(super) async fn list_tokens_of(
        &self,
        user: &str,
        state: Option<&str>,
        actor: &Actor,
        now: Moment,
    ) -> Result<Told, Refuse> {
        let state = state.map(stage_word).transpose()?;
        let Told::User(shown) = self.show_user(user, actor, now).await? else {
            return Err(Refuse::UserUnknown(user.to_owned()));
        };
        let mut tokens = shown.tokens;
        tokens.retain(|token| state.is_none_or(|state| token.state == state.text()));
        Ok(Told::Tokens { tokens, next: None })
    }

    pub(super) async fn list_tokens(
        &self,
        state: Option<&str>,
        after: Option<&str>,
        limit: Option<usize>,
        actor: &Actor,
        now: Moment,
    ) -> Result<Told, Refuse> {
        self.of_bank(actor)?;
        let wanted = state.map(stage_word).transpose()?;
        let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        // Locked and expired stand in no entry: those tokens are active there.
        let of_entry = wanted.and_then(|stage| match stage {
            Stage::Locked | Stage::Expired => Some(State::Active),
            stage => State::parse(stage.text()),
        });
        let mut after = after.map(str::to_owned);
        let mut tokens = Vec::new();
        let size = if wanted.is_some() { PAGE_MAX } else { limit };
        loop {
            let deadline = now.mono.plus(PATIENCE_LIST);
            let page = self.registry().tokens(of_entry, after.as_deref(), size, deadline).await?;
            let last = page.len() < size;
            for record in page {
                after = Some(record.serial.to_string());
                let shown = self.shown_with(&record, &self.owners_in_memory(&record), now);
                if wanted.is_none_or(|stage| shown.state == stage.text()) {
                    tokens.push(shown);
                }
                if tokens.len() >= limit {
                    return Ok(Told::Tokens { tokens, next: after });
                }
            }
            if last {
                return Ok(Told::Tokens { tokens, next: None });
            }
        }
    }

    pub(super) async fn show_token(&self, serial: &str, actor: &Actor, now: Moment) -> Result<Told, Refuse> {
        self.allows_look(actor)?;
        let wanted = serial_number(serial)?;
        let record = self.registry().token(&wanted, now.mono.plus(PATIENCE)).await.ok().flatten();
        let in_memory = self.drive.pipeline().tables().bindings.find(|user| {
            let tokens = user.tokens();
            let token = tokens.all().iter().find(|token| token.serial == wanted.as_str())?;
            Some((user.id(), self.shown_token(&token.whole(), &user.whole(), now)))
        });
        // Memory knows what is wrong with an entry, the directory knows the rest.
        let shown = match (record, in_memory) {
            (Some(seen), found) => {
                let mut shown = self.shown_record(&seen.value, now).await?;
                if let Some((_, known)) = found.filter(|(_, known)| known.defect.is_some()) {
                    (shown.defect, shown.state) = (known.defect, known.state);
                }
                let owners = self.owners(&seen.value, now).await?;
                if actor.user.is_some() && !owners.iter().any(|owner| sees(actor, owner).is_ok()) {
                    return Err(Refuse::OtherContract);
                }
                shown
            }
            (None, Some((owner, shown))) => {
                self.sees_entry(actor, owner)?;
                shown
            }
            (None, None) => return Err(Refuse::Life(Refusal::NoSuchToken)),
        };
        Ok(Told::Token(Box::new(shown)))
    }

    /// Whole lists are for the bank.
    fn of_bank(&self, actor: &Actor) -> Result<(), Refuse> {
        self.allows_look(actor)?;
        if actor.user.is_some() { Err(Refuse::OtherContract) } else { Ok(()) }
    }

    fn sees_entry(&self, actor: &Actor, owner: EntryId) -> Result<(), Refuse> {
        match (&actor.user, self.drive.pipeline().tables().bindings.user(owner)) {
            (None, _) => Ok(()),
            (Some(_), Some(owner)) => sees(actor, &owner.whole()),
            (Some(_), None) => Err(Refuse::OtherContract),
        }
    }

    async fn shown_user(
        &self,
        user: &Arc<User>,
        registered: Option<&Registered>,
        depth: Depth,
        now: Moment,
    ) -> Result<UserShown, Refuse> {
        let user = registered.map_or(user, |registered| &registered.user);
        let lockout = self.drive.pipeline().tables().durable.users.lockout(user.id, now.wall);
        let (known, too_many): (&[Token], _) = match &user.tokens {
            Tokens::These(tokens) => (tokens, None),
            Tokens::TooMany(count) => (&[], Some(*count)),
        };
        let mut tokens: Vec<TokenShown> =
            known.iter().map(|token| self.shown_token(token, user, now)).collect();
        if let Some(registered) = registered {
            let serials = [&registered.token, &registered.pending, &registered.former];
            for serial in serials.into_iter().flatten() {
                let is_known = tokens.iter().any(|token| token.serial == serial.as_str());
                if is_known && depth == Depth::Memory {
                    continue;
                }
                let place = if registered.former.as_ref() == Some(serial)
                    && registered.token.as_ref() != Some(serial)
                {
                    Place::Former
                } else {
                    Place::Current
                };
                self.add_token(&mut tokens, serial, place, registered, now).await?;
            }
        }
        Ok(UserShown {
            user: user.name.to_string(),
            dn: user.dn.to_string(),
            entry: user.id.to_string(),
            contract: user.contract.as_ref().map(ToString::to_string),
            role: role_text(user.role).into(),
            lock: match lockout.lock {
                lockout::Lock::UntilReleased => "until-released".into(),
                lockout::Lock::Until(until) if now.wall < until => time_text(until),
                lockout::Lock::Until(_) | lockout::Lock::Open => "open".into(),
            },
            failures: lockout.failures,
            login_code: user.login_code.map(|choice| {
                match choice {
                    LoginCode::Required => "required",
                    LoginCode::NotRequired => "not-required",
                }
                .to_owned()
            }),
            account: user.account.refusal(now.wall).map(|reason| reason.text().into()),
            tokens,
            tokens_too_many: too_many,
        })
    }

    /// Adds what the directory knows of a token: all of it, or what memory does not know.
    async fn add_token(
        &self,
        tokens: &mut Vec<TokenShown>,
        serial: &TokenSerial,
        place: Place,
        registered: &Registered,
        now: Moment,
    ) -> Result<(), Refuse> {
        let Some(seen) = self.registry().token(serial, now.mono.plus(PATIENCE)).await? else { return Ok(()) };
        let contract = self.contract_of(&registered.user, now).await?;
        let profile = self.profile(contract.as_ref().map(|contract| &contract.service));
        let (mut stage, opens) = self.stage(Some(&seen.value), registered, &profile.life, now);
        if place == Place::Former && stage != Stage::Revoked {
            stage = Stage::Replaced;
        }
        let mut shown = self.shown_in(&seen.value, Some(&registered.user), stage, now);
        if seen.value.state == State::Revoked {
            shown.state = Stage::Revoked.text().into();
            shown.opens = opens.filter(|opens| *opens > now.wall).map(time_text);
        }
        match tokens.iter_mut().find(|token| token.serial == shown.serial) {
            Some(known) if known.defect.is_some() => {}
            Some(known) => {
                let disabled = known.state == "disabled";
                let state = if disabled { known.state.clone() } else { shown.state.clone() };
                *known = TokenShown { state, ..shown };
            }
            None => tokens.push(shown),
        }
        Ok(())
    }

    /// A token as its entry has it, with its first owner.
    async fn shown_record(&self, record: &Record, now: Moment) -> Result<TokenShown, Refuse> {
        let owners = self.owners(record, now).await?;
        Ok(self.shown_with(record, &owners, now))
    }

    fn shown_with(&self, record: &Record, owners: &[Arc<User>], now: Moment) -> TokenShown {
        let owner = owners.first();
        let lock = match owner {
            Some(owner) if self.is_locked(owner, now) => Lock::Locked,
            _ => Lock::Open,
        };
        let position = Position { state: Some(record.state), ends: record.ends, lock, ..Position::default() };
        let mut stage = position.stage(now.wall);
        let mut opens = None;
        if record.state == State::Revoked {
            stage = Stage::Revoked;
            let life = &self.profile(record.service.as_ref()).life;
            opens = Some(opening(record.since, life, &zone(life))).filter(|opens| *opens > now.wall);
        }
        let mut shown = self.shown_in(record, owner.map(|owner| &**owner), stage, now);
        shown.opens = opens.map(time_text);
        shown
    }

    fn shown_in(&self, record: &Record, owner: Option<&User>, stage: Stage, now: Moment) -> TokenShown {
        let (kind, period) = kind(record.parameters.moving);
        let token = super::codes::token_of(record);
        let past = token.as_ref().map(|token| self.drive.pipeline().tables().durable.past(token));
        let disabled = past.is_some_and(|past| past.is_disabled());
        let contract = record.contract.as_ref().or(owner.and_then(|owner| owner.contract.as_ref()));
        let _ = now;
        TokenShown {
            serial: record.serial.to_string(),
            user: owner.map(|owner| owner.name.to_string()),
            contract: contract.map(ToString::to_string),
            state: match stage {
                Stage::Active | Stage::Locked if disabled => "disabled".into(),
                stage => stage.text().into(),
            },
            since: Some(time_text(record.since)),
            ends: record.ends.map(time_text),
            opens: None,
            defect: None,
            kind: kind.into(),
            algorithm: record.parameters.algorithm.text().into(),
            digits: record.parameters.digits.count(),
            period,
            last_step: past.and_then(|past| past.last).map(|step| step.0),
            drift_steps: past.map_or(0, |past| past.drift.steps()),
            failures: past.map_or(0, |past| past.failures),
        }
    }

    /// A token as memory has it.
    fn shown_token(&self, token: &Token, user: &User, now: Moment) -> TokenShown {
        let past = self.drive.pipeline().tables().durable.past(token);
        let (kind, period) = kind(token.parameters.moving);
        let position = |state| Position {
            state: Some(state),
            ends: token.ends,
            lock: if self.is_locked(user, now) { Lock::Locked } else { Lock::Open },
            ..Position::default()
        };
        let state = match token.standing {
            Standing::Unusable(_) => "unusable",
            Standing::Suspended => Stage::Suspended.text(),
            Standing::Revoked => Stage::Revoked.text(),
            Standing::AwaitsConfirmation => Stage::SetUp.text(),
            Standing::Active if token.begins.is_some_and(|begins| now.wall < begins) => "not-yet-valid",
            Standing::Active => match position(State::Active).stage(now.wall) {
                Stage::Active | Stage::Locked if past.is_disabled() => "disabled",
                stage => stage.text(),
            },
        };
        TokenShown {
            serial: token.serial.to_string(),
            user: Some(user.name.to_string()),
            contract: user.contract.as_ref().map(ToString::to_string),
            state: state.into(),
            since: None,
            ends: token.ends.map(time_text),
            opens: None,
            defect: match token.standing {
                Standing::Unusable(defect) => Some(defect.to_string()),
                _ => None,
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

/// Whether the actor may see this user: the bank sees everybody, master and admin users their own contract, everybody
/// themselves.
fn sees(actor: &Actor, user: &User) -> Result<(), Refuse> {
    let Some(me) = &actor.user else { return Ok(()) };
    let same = me.contract.is_some() && me.contract == user.contract;
    let leads = matches!(actor.role, ActorRole::Master | ActorRole::Admin);
    if me.id == user.id || (same && leads) { Ok(()) } else { Err(Refuse::OtherContract) }
}

fn contract_shown(contract: &Contract) -> ContractShown {
    ContractShown {
        contract: contract.id.to_string(),
        service: contract.service.to_string(),
        since: time_text(contract.since),
    }
}

fn kind(moving: Moving) -> (&'static str, Option<u64>) {
    match moving {
        Moving::Time { period } => ("totp", Some(period.seconds())),
        Moving::Counter { .. } => ("hotp", None),
    }
}

/// The word for a role.
pub(super) fn role_text(role: Role) -> &'static str {
    match role {
        Role::Master => "master",
        Role::Admin => "admin",
        Role::General => "general",
    }
}

fn stage_word(text: &str) -> Result<Stage, Refuse> {
    Stage::parse(text).filter(|stage| !matches!(stage, Stage::None | Stage::Replaced)).ok_or(Refuse::Value {
        what: "the state",
        right: "issued, set-up, active, locked, suspended, expired, revoked or inventory",
    })
}
