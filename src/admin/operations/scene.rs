//! What is there before an act: the user, the contract, the token and its stage, read from the directory at that moment.

use super::actors::user_name;
use super::{Operations, PATIENCE};
use crate::admin::caller::Actor;
use crate::admin::refusal::Refuse;
use crate::admin::time_text;
use crate::clock::{Moment, Wall};
use crate::directory::registry::{Registered, Seen, Version};
use crate::identity::{ContractId, ServiceName, TokenSerial};
use crate::policy::{Profile, TokenLife, opening};
use crate::tokens::life::{self, Event, Lock, Place, Position, Refusal, Stage};
use crate::tokens::{Contract, Record, State, User};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// A user with everything that an act looks at.
pub(super) struct Scene {
    pub registered: Registered,
    pub version: Version,
    pub contract: Option<Contract>,
    pub profile: Arc<Profile>,
    /// The token that the user's entry refers to.
    pub token: Option<Seen<Record>>,
    /// Where that one is in its life.
    pub stage: Stage,
    /// When a new token may follow, if one was revoked.
    pub opens: Option<Wall>,
}

/// A token with whoever it belongs to.
pub(super) struct Held {
    pub token: Seen<Record>,
    pub owner: Option<Arc<User>>,
    pub profile: Arc<Profile>,
    pub stage: Stage,
}

impl Scene {
    pub(super) fn user(&self) -> &Arc<User> {
        &self.registered.user
    }

    /// Where the token stands after the event, or why it may not happen; the waiting time is told with its end.
    pub(super) fn after(&self, event: Event) -> Result<Stage, Refuse> {
        life::after(self.stage, event).map_err(|refusal| match (refusal, self.opens) {
            (Refusal::Waiting, Some(opens)) => Refuse::WaitingUntil(time_text(opens)),
            (other, _) => Refuse::Life(other),
        })
    }

    /// The contract, which has to be enabled.
    pub(super) fn enabled(&self) -> Result<&Contract, Refuse> {
        let Some(id) = &self.user().contract else {
            return Err(Refuse::NoContract(self.user().name.to_string()));
        };
        self.contract.as_ref().ok_or_else(|| Refuse::ContractNotEnabled(id.to_string()))
    }
}

impl Operations {
    /// Reads everything about the user with this name.
    pub(super) async fn scene(&self, name: &str, now: Moment) -> Result<Scene, Refuse> {
        let deadline = now.mono.plus(PATIENCE);
        let seen = self.registry().user(&user_name(name)?, deadline).await?;
        let Seen { value: registered, version } = seen.ok_or_else(|| Refuse::UserUnknown(name.to_owned()))?;
        // What other nodes know of the user. Without them the act is refused when it is recorded.
        let _ = self.drive.refresh(&registered.user).await;
        let token = match &registered.token {
            Some(serial) => self.registry().token(serial, deadline).await?,
            None => None,
        };
        let contract = self.contract_of(&registered.user, now).await?;
        let service = contract.as_ref().map(|contract| &contract.service);
        let record = token.as_ref().map(|token| &token.value);
        let profile = self.profile(service.or(record.and_then(|record| record.service.as_ref())));
        let (stage, opens) = self.stage(record, &registered, &profile.life, now);
        Ok(Scene { contract, profile, stage, opens, token, registered, version })
    }

    /// Reads the token with this serial number and whoever it belongs to: of several, whom the actor may act for.
    pub(super) async fn held(&self, serial: &str, actor: &Actor, now: Moment) -> Result<Held, Refuse> {
        let token = self.token(serial, now).await?.ok_or(Refusal::NoSuchToken)?;
        let owners = self.owners(&token.value, now).await?;
        let of_actor = |owner: &&Arc<User>| match &actor.user {
            Some(me) => owner.id == me.id || (me.contract.is_some() && owner.contract == me.contract),
            None => true,
        };
        let owner = owners.iter().find(of_actor).or(owners.first()).cloned();
        let contract = match &owner {
            Some(owner) => self.contract_of(owner, now).await?,
            None => None,
        };
        let service = contract.as_ref().map(|contract| &contract.service);
        let profile = self.profile(service.or(token.value.service.as_ref()));
        let lock = match &owner {
            Some(owner) if self.is_locked(owner, now) => Lock::Locked,
            _ => Lock::Open,
        };
        let place = match &owner {
            Some(owner) => {
                let now_theirs = self.registry().reread(owner, now.mono.plus(PATIENCE)).await?;
                let registered = now_theirs.map(|seen| seen.value);
                let is = |serial: &Option<TokenSerial>| serial.as_ref() == Some(&token.value.serial);
                match registered {
                    Some(user) if is(&user.former) && !is(&user.token) => Place::Former,
                    _ => Place::Current,
                }
            }
            // Left behind: nobody's entry means it.
            None if matches!(token.value.state, State::Active | State::Suspended) => Place::Former,
            None => Place::Current,
        };
        let opens = Some(Wall::from_seconds(u64::MAX));
        let position =
            Position { state: Some(token.value.state), ends: token.value.ends, lock, opens, place };
        let stage = position.stage(now.wall);
        Ok(Held { token, owner, profile, stage })
    }

    /// Everybody whom a token is bound to.
    pub(super) async fn owners(&self, record: &Record, now: Moment) -> Result<Vec<Arc<User>>, Refuse> {
        let known = self.owners_in_memory(record);
        if !known.is_empty() || record.owners.is_empty() {
            return Ok(known);
        }
        // A cache need not know them: their contract does.
        let Some(contract) = &record.contract else { return Ok(known) };
        let deadline = now.mono.plus(PATIENCE);
        let users = self.registry().users(Some(contract), None, super::look::ALL, deadline).await?;
        let owns = |registered: &Registered| record.owners.contains(&registered.user.id);
        Ok(users.into_iter().filter(owns).map(|registered| registered.user).collect())
    }

    /// Those of them whom memory knows.
    pub(super) fn owners_in_memory(&self, record: &Record) -> Vec<Arc<User>> {
        let bindings = &self.drive.pipeline().tables().bindings;
        record.owners.iter().filter_map(|id| bindings.user(*id)).map(|user| Arc::new(user.whole())).collect()
    }

    pub(super) async fn token(&self, serial: &str, now: Moment) -> Result<Option<Seen<Record>>, Refuse> {
        let serial = serial_number(serial)?;
        Ok(self.registry().token(&serial, now.mono.plus(PATIENCE)).await?)
    }

    pub(super) async fn contract_of(&self, user: &User, now: Moment) -> Result<Option<Contract>, Refuse> {
        let Some(id) = &user.contract else { return Ok(None) };
        let seen = self.registry().contract(id, now.mono.plus(PATIENCE)).await?;
        Ok(seen.map(|seen| seen.value))
    }

    /// The profile with this name; where there is none, the only one, or the defaults.
    pub(super) fn profile(&self, name: Option<&ServiceName>) -> Arc<Profile> {
        let rules = self.rules.load();
        let named = name.and_then(|name| rules.profiles.iter().find(|profile| profile.name == *name));
        match (named, rules.profiles.as_slice()) {
            (Some(profile), _) => Arc::clone(profile),
            (None, [only]) => Arc::clone(only),
            (None, _) => Arc::new(Profile::new(ServiceName::new("default"))),
        }
    }

    /// The stage of a user's token, and when a new one may follow.
    pub(super) fn stage(
        &self,
        record: Option<&Record>,
        registered: &Registered,
        life: &TokenLife,
        now: Moment,
    ) -> (Stage, Option<Wall>) {
        let revoked = record.filter(|record| record.state == State::Revoked);
        let opens =
            registered.reissue_from.or(revoked.map(|record| opening(record.since, life, &zone(life))));
        let waits = opens.filter(|opens| *opens > now.wall);
        let Some(record) = record else {
            return (if waits.is_some() { Stage::Revoked } else { Stage::None }, opens);
        };
        let lock = if self.is_locked(&registered.user, now) { Lock::Locked } else { Lock::Open };
        let position =
            Position { state: Some(record.state), ends: record.ends, lock, opens, place: Place::Current };
        (position.stage(now.wall), opens)
    }
}

/// The bank's time zone. A name that this system does not know was warned of when the configuration was read.
pub(super) fn zone(life: &TokenLife) -> TimeZone {
    TimeZone::get(&life.time_zone).unwrap_or_else(|_| match &*life.time_zone {
        // It has had no other offset since 1951.
        "Asia/Tokyo" => TimeZone::fixed(jiff::tz::offset(9)),
        _ => TimeZone::UTC,
    })
}

/// A serial number that a token could have.
pub(super) fn serial_number(text: &str) -> Result<TokenSerial, Refuse> {
    let usable = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let right = "1 to 64 ASCII characters without blanks, as the token shows it";
    if usable { Ok(TokenSerial::new(text)) } else { Err(Refuse::Value { what: "the serial number", right }) }
}

/// A contract's id as an entry could have it.
pub(super) fn contract_id(text: &str) -> Result<ContractId, Refuse> {
    let usable =
        (1..=128).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control);
    let right = "1 to 128 octets without control characters, as sekishoContract has it";
    if usable { Ok(ContractId::new(text)) } else { Err(Refuse::Value { what: "the contract", right }) }
}
