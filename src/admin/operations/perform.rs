//! From a deed to changed entries, in an order that leaves neither two usable tokens nor, without wanting it, none,
//! wherever it is cut off: the one change that counts is the user's reference to the token, or the token's state.

use super::scene::{Held, Scene, contract_id, serial_number, zone};
use super::{Operations, PATIENCE};
use crate::admin::deed::Deed;
use crate::admin::protocol::{IssuedShown, LoginChoice, Told};
use crate::admin::refusal::Refuse;
use crate::admin::{random, time_text};
use crate::clock::{self, Moment, Wall};
use crate::directory::registry::{self, Change, Confirmed, NewToken, Seen, TokenSet, UserSet, Version};
use crate::identity::{ContractId, EntryId, RequestId, ServiceName, TokenSerial};
use crate::otp::{Drift, Moving, Step};
use crate::policy::opening;
use crate::state::{Mark, Marks, Use, contracts, renewal};
use crate::tokens::life::{self, Event, Refusal, Stage, renewed_end};
use crate::tokens::{Contract, LoginCode, Record, Setup, Standing, State, Tokens, User};
use std::time::Duration;

/// What a deed came to: the marks that must last, and the answer.
pub(super) struct Performed {
    pub marks: Marks,
    pub told: Told,
    /// The token it was done to, if the deed does not name one.
    pub serial: Option<String>,
}

/// How long an answer waits until this node knows what it has changed.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

impl Operations {
    /// Carries a deed out. Everything is looked at once more: a deed may have waited for a second person.
    pub(super) async fn perform(&self, deed: &Deed, id: RequestId, now: Moment) -> Result<Performed, Refuse> {
        match deed {
            Deed::EnableContract { contract, service } => self.do_enable(contract, service, now).await,
            Deed::DisableContract { contract } => self.do_disable(contract, now).await,
            Deed::Issue { user, mail, start_password } => {
                self.do_issue(user, mail.as_deref(), start_password, now).await
            }
            Deed::Adopt { user, serial } => self.do_adopt(user, serial, now).await,
            Deed::Confirm { user, serial } => self.do_confirm(user, serial, now).await,
            Deed::Register { user, serial, login_code } => {
                self.do_register(user, serial, *login_code, now).await
            }
            Deed::Exchange { user, from, to, step } => {
                self.do_exchange(user, from, to, Step(*step), now).await
            }
            Deed::UndoExchange { user } => self.do_undo(user, now).await,
            Deed::Revoke { serial } => self.do_revoke(serial, now).await,
            Deed::Suspend { serial } => self.switch(serial, Event::Suspend, State::Suspended, now).await,
            Deed::Resume { serial } => self.switch(serial, Event::Resume, State::Active, now).await,
            Deed::Renew { serial } => self.do_renew(serial, now).await,
            Deed::Stop { user } => self.do_stop(user, now).await,
            Deed::Resync { serial, step, drift } => {
                self.do_resync(serial, Step(*step), Drift::from_quarters(*drift), id, now).await
            }
            Deed::Release { user } => self.do_release(user, now).await,
            Deed::RemoveUser { user } => self.do_remove_user(user, now).await,
            Deed::ChooseLogin { user, choice } => self.do_choose(user, *choice, now).await,
        }
    }

    async fn change(&self, change: Change) -> Result<(), Refuse> {
        Ok(self.registry().change(change, clock::now().mono.plus(PATIENCE)).await?)
    }

    async fn set_token(&self, token: &Record, version: Version, set: TokenSet) -> Result<(), Refuse> {
        let set = Box::new(set);
        self.change(Change::Token { id: token.id, serial: token.serial.clone(), version, set }).await
    }

    async fn set_user(&self, user: &User, version: Version, set: UserSet) -> Result<(), Refuse> {
        self.change(Change::User { id: user.id, version, set }).await
    }

    async fn do_enable(&self, contract: &str, service: &str, now: Moment) -> Result<Performed, Refuse> {
        let added =
            Contract { id: contract_id(contract)?, service: ServiceName::new(service), since: now.wall };
        let (id, profile) = (added.id.clone(), added.service.clone());
        self.change(Change::AddContract(added)).await?;
        self.wait_for_contract(&id, &profile, contracts::Known::Enabled).await;
        done(format!("contract {contract} is enabled for service {service}"), None)
    }

    async fn do_disable(&self, contract: &str, now: Moment) -> Result<Performed, Refuse> {
        let id = contract_id(contract)?;
        let seen = self.registry().contract(&id, now.mono.plus(PATIENCE)).await?;
        let seen = seen.ok_or_else(|| Refuse::ContractUnknown(contract.to_owned()))?;
        self.change(Change::RemoveContract { id: id.clone(), version: seen.version }).await?;
        self.wait_for_contract(&id, &seen.value.service, contracts::Known::NotEnabled).await;
        done(format!("contract {contract} is disabled; its users are asked for no code any more"), None)
    }

    /// First the token that nobody refers to, then the reference: cut off in between, the user has what was before.
    async fn do_issue(
        &self,
        user: &str,
        mail: Option<&str>,
        start_password: &str,
        now: Moment,
    ) -> Result<Performed, Refuse> {
        let scene = self.scene(user, now).await?;
        let contract = scene.enabled()?.clone();
        scene.after(Event::Issue)?;
        let life = &scene.profile.life;
        let setup = Setup {
            service_id: digits(10)?.into(),
            user_id: digits(10)?.into(),
            start_password: start_password.into(),
            failures: 0,
            until: now.wall.plus(life.setup_lifetime),
        };
        let serial = TokenSerial::new(&format!("S{}", digits(12)?));
        let token = NewToken {
            serial: serial.clone(),
            state: State::Issued,
            since: now.wall,
            contract: Some(contract.id),
            service: Some(contract.service),
            parameters: scene.profile.parameters,
            secret: None,
            spent: None,
            begins: None,
            ends: None,
            setup: Some(setup.clone()),
        };
        self.change(Change::AddToken(Box::new(token))).await?;
        let set = UserSet {
            token: Some(Some(serial.clone())),
            pending: Some(None),
            former: Some(None),
            reissue_from: Some(None),
            ..UserSet::default()
        };
        if let Err(why) = self.set_user(scene.user(), scene.version.clone(), set).await {
            self.take_away(&serial).await;
            return Err(why);
        }
        self.take_away_before(&scene).await;
        let about = super::letter::About {
            profile: &scene.profile,
            user: &scene.user().name,
            serial: serial.as_str(),
            service_id: &setup.service_id,
            user_id: &setup.user_id,
            until: setup.until,
        };
        let mail = self.send(mail, &about);
        let issued = IssuedShown {
            user: scene.user().name.to_string(),
            serial: serial.to_string(),
            service_id: setup.service_id.into(),
            user_id: setup.user_id.into(),
            until: time_text(setup.until),
            mail,
        };
        Ok(Performed {
            marks: Marks::new(),
            serial: Some(issued.serial.clone()),
            told: Told::Issued(Box::new(issued)),
        })
    }

    /// Removes the token that was there before a new one, if it was this user's alone: it never worked, or has ended.
    async fn take_away_before(&self, scene: &Scene) {
        if let Some(before) = &scene.token
            && before.value.owners.iter().all(|owner| *owner == scene.user().id)
        {
            self.take_away(&before.value.serial).await;
        }
    }

    /// Removes a token that nobody refers to any more. If that fails, an entry is left that no one can use.
    async fn take_away(&self, serial: &TokenSerial) {
        let deadline = clock::now().mono.plus(PATIENCE);
        if let Ok(Some(token)) = self.registry().token(serial, deadline).await {
            let removed = Change::RemoveToken { id: token.value.id, version: token.version };
            if let Err(error) = self.registry().change(removed, deadline).await {
                tracing::warn!(event = "token-left-behind", serial = %serial, %error);
            }
        }
    }

    async fn do_adopt(&self, user: &str, serial: &str, now: Moment) -> Result<Performed, Refuse> {
        let scene = self.scene(user, now).await?;
        scene.after(Event::Adopt)?;
        let token = self.token(serial, now).await?.ok_or(Refusal::NoSuchToken)?;
        let mut owners = token.value.owners.clone();
        if !owners.contains(&scene.user().id) {
            owners.push(scene.user().id);
            let set = TokenSet { owners: Some(owners), ..TokenSet::default() };
            self.set_token(&token.value, token.version, set).await?;
        }
        let set = UserSet { pending: Some(Some(token.value.serial.clone())), ..UserSet::default() };
        self.set_user(scene.user(), scene.version.clone(), set).await?;
        done(format!("token {serial} serves {user} too, from the first correct code on"), Some(serial))
    }

    async fn do_confirm(&self, user: &str, serial: &str, now: Moment) -> Result<Performed, Refuse> {
        let scene = self.scene(user, now).await?;
        let (serial, deadline) = (serial_number(serial)?, now.mono.plus(PATIENCE));
        match registry::confirm(self.registry(), scene.user(), &serial, now.wall, deadline).await? {
            Confirmed::Yes => {}
            Confirmed::NotAwaited => return Err(Refuse::Life(Refusal::NotConfirmed)),
        }
        self.wait_until(scene.user().id, |user| has_active(user, &serial)).await;
        done(format!("token {serial} of {user} is in service"), Some(serial.as_str()))
    }

    async fn do_register(
        &self,
        user: &str,
        serial: &str,
        login_code: Option<LoginChoice>,
        now: Moment,
    ) -> Result<Performed, Refuse> {
        let scene = self.scene(user, now).await?;
        scene.after(Event::Register)?;
        let token = self.free(serial, &scene, now).await?;
        self.put_in_service(&token, &scene, now.wall, now).await?;
        self.refer(&scene, &token.value.serial, login_code.map(LoginCode::from)).await?;
        done(format!("token {serial} is registered for {user} and in service"), Some(serial))
    }

    /// The user's entry refers to a token that is ready: from here on it works, and nothing else does.
    pub(super) async fn refer(
        &self,
        scene: &Scene,
        serial: &TokenSerial,
        login_code: Option<LoginCode>,
    ) -> Result<(), Refuse> {
        let set = UserSet {
            token: Some(Some(serial.clone())),
            pending: Some(None),
            former: Some(None),
            login_code,
            reissue_from: Some(None),
        };
        self.set_user(scene.user(), scene.version.clone(), set).await?;
        self.take_away_before(scene).await;
        self.wait_until(scene.user().id, |user| has_active(user, serial)).await;
        Ok(())
    }

    /// A token of the inventory becomes one that works, while nobody refers to it yet.
    pub(super) async fn put_in_service(
        &self,
        token: &Seen<Record>,
        scene: &Scene,
        since: Wall,
        now: Moment,
    ) -> Result<(), Refuse> {
        let contract = scene.enabled()?;
        let set = TokenSet {
            state: Some((State::Active, since)),
            contract: Some((contract.id.clone(), contract.service.clone())),
            ends: token.value.ends.or(scene.profile.life.lifetime.map(|lifetime| now.wall.plus(lifetime))),
            ..TokenSet::default()
        };
        self.set_token(&token.value, token.version.clone(), set).await
    }

    /// The new token is made ready while nobody refers to it; then one change of the user's entry takes the old one away
    /// and gives the new one.
    async fn do_exchange(
        &self,
        user: &str,
        from: &str,
        to: &str,
        step: Step,
        now: Moment,
    ) -> Result<Performed, Refuse> {
        let scene = self.scene(user, now).await?;
        life::exchange(scene.stage, Stage::Inventory)?;
        let old = scene.registered.token.clone().filter(|token| token.as_str() == from);
        let old = old.ok_or(Refuse::NotChanged(registry::NotChanged::Conflict))?;
        let new = self.free(to, &scene, now).await?;
        // Dated by the step of its code, so that what is used up beyond it is known to have come after the exchange.
        let since = match new.value.parameters.moving {
            Moving::Time { period } => Wall::from_seconds(step.0.saturating_mul(period.seconds())),
            Moving::Counter { .. } => now.wall,
        };
        self.put_in_service(&new, &scene, since, now).await?;
        let set = UserSet {
            token: Some(Some(new.value.serial.clone())),
            former: Some(Some(old.clone())),
            ..UserSet::default()
        };
        self.set_user(scene.user(), scene.version.clone(), set).await?;
        if let Some(older) = &scene.registered.former {
            self.end_quietly(older, now).await;
        }
        let serial = &new.value.serial;
        self.wait_until(scene.user().id, |user| has_active(user, serial) && !has_active(user, &old)).await;
        done(format!("{user} uses token {to} now; token {from} is not accepted any more"), Some(to))
    }

    async fn do_undo(&self, user: &str, now: Moment) -> Result<Performed, Refuse> {
        let scene = self.scene(user, now).await?;
        self.may_undo(&scene)?;
        let (Some(old), Some(new)) = (scene.registered.former.clone(), &scene.token) else {
            return Err(Refuse::Life(Refusal::NothingToUndo));
        };
        let set = UserSet { token: Some(Some(old.clone())), former: Some(None), ..UserSet::default() };
        self.set_user(scene.user(), scene.version.clone(), set).await?;
        // Nobody refers to it any more, so that where this fails it is free all the same.
        if let Some(now_free) = self.token(new.value.serial.as_str(), now).await? {
            let set = TokenSet { state: Some((State::Inventory, now.wall)), ..TokenSet::default() };
            let _ = self.set_token(&now_free.value, now_free.version, set).await;
        }
        self.wait_until(scene.user().id, |user| has_active(user, &old)).await;
        done(
            format!("{user} uses token {old} again; token {} is in the inventory", new.value.serial),
            Some(old.as_str()),
        )
    }

    async fn do_revoke(&self, serial: &str, now: Moment) -> Result<Performed, Refuse> {
        let token = self.token(serial, now).await?.ok_or(Refusal::NoSuchToken)?;
        if token.value.state == State::Revoked {
            return Err(Refuse::Life(Refusal::Revoked));
        }
        let owners = self.owners(&token.value, now).await?;
        let set =
            TokenSet { state: Some((State::Revoked, now.wall)), setup: Some(None), ..TokenSet::default() };
        self.set_token(&token.value, token.version, set).await?;
        let mut opens = None;
        for owner in &owners {
            let opening = self.note_revocation(owner, &token.value.serial, now).await;
            opens = opens.max(opening);
            self.wait_until(owner.id, |user| !has_active(user, &token.value.serial)).await;
        }
        let after = opens.map(|opens| format!("; a new one may follow from {} on", time_text(opens)));
        done(format!("token {serial} is revoked{}", after.unwrap_or_default()), Some(serial))
    }

    /// Writes down when a new token may follow. Where that fails, it is told from the date of the revocation.
    async fn note_revocation(&self, owner: &User, serial: &TokenSerial, now: Moment) -> Option<Wall> {
        let deadline = clock::now().mono.plus(PATIENCE);
        let seen = self.registry().reread(owner, deadline).await.ok()??;
        let contract = self.contract_of(owner, now).await.unwrap_or_default();
        let profile = self.profile(contract.as_ref().map(|contract| &contract.service));
        let opens = opening(now.wall, &profile.life, &zone(&profile.life));
        let mut set = UserSet::default();
        if seen.value.pending.as_ref() == Some(serial) {
            set.pending = Some(None);
        }
        if seen.value.former.as_ref() == Some(serial) {
            set.former = Some(None);
        }
        let was_theirs = seen.value.token.as_ref() == Some(serial);
        if was_theirs {
            set.reissue_from = Some(Some(opens));
            set.former = Some(None);
        }
        let older = seen.value.former.filter(|former| former != serial);
        if let Err(error) = self.set_user(owner, seen.version, set).await {
            tracing::warn!(event = "waiting-time-not-noted", user = %owner.name, %error);
        }
        if let Some(older) = older.filter(|_| was_theirs) {
            self.end_quietly(&older, now).await;
        }
        was_theirs.then_some(opens)
    }

    /// Ends a token that an exchange has replaced and that cannot come back any more.
    async fn end_quietly(&self, serial: &TokenSerial, now: Moment) {
        let deadline = clock::now().mono.plus(PATIENCE);
        if let Ok(Some(token)) = self.registry().token(serial, deadline).await
            && token.value.state != State::Revoked
        {
            let set = TokenSet { state: Some((State::Revoked, now.wall)), ..TokenSet::default() };
            if let Err(error) = self.set_token(&token.value, token.version, set).await {
                tracing::warn!(event = "token-left-behind", serial = %serial, %error);
            }
        }
    }

    async fn switch(
        &self,
        serial: &str,
        event: Event,
        state: State,
        now: Moment,
    ) -> Result<Performed, Refuse> {
        let held = self.held_by_anybody(serial, now).await?;
        life::after(held.stage, event)?;
        let set = TokenSet { state: Some((state, now.wall)), ..TokenSet::default() };
        self.set_token(&held.token.value, held.token.version, set).await?;
        let serves = state == State::Active && held.token.value.ends.is_none_or(|ends| ends > now.wall);
        for owner in self.owners(&held.token.value, now).await? {
            let serial = &held.token.value.serial;
            self.wait_until(owner.id, |user| has_active(user, serial) == serves).await;
        }
        let what = if state == State::Suspended { "suspended" } else { "in service again" };
        done(format!("token {serial} is {what}"), Some(serial))
    }

    async fn do_renew(&self, serial: &str, now: Moment) -> Result<Performed, Refuse> {
        let held = self.held_by_anybody(serial, now).await?;
        life::after(held.stage, Event::Renew)?;
        let ends = renewed(&held, now)?;
        let set = TokenSet { ends: Some(ends), ..TokenSet::default() };
        self.set_token(&held.token.value, held.token.version, set).await?;
        if let Some(owner) = &held.owner {
            self.wait_until(owner.id, |user| {
                let Tokens::These(tokens) = &user.tokens else { return true };
                tokens.iter().any(|token| token.ends.is_some_and(|now_ends| now_ends >= ends))
            })
            .await;
        }
        done(format!("token {serial} is valid until {}", time_text(ends)), Some(serial))
    }

    async fn do_stop(&self, user: &str, now: Moment) -> Result<Performed, Refuse> {
        let scene = self.scene(user, now).await?;
        scene.after(Event::Stop)?;
        let Some(token) = &scene.token else { return Err(Refuse::Life(Refusal::NoToken)) };
        let set =
            UserSet { token: Some(None), pending: Some(None), former: Some(None), ..UserSet::default() };
        self.set_user(scene.user(), scene.version.clone(), set).await?;
        let serial = token.value.serial.clone();
        let others = token.value.owners.iter().any(|owner| *owner != scene.user().id);
        if !others {
            self.end_quietly(&serial, now).await;
        }
        if let Some(older) = &scene.registered.former {
            self.end_quietly(older, now).await;
        }
        self.wait_until(scene.user().id, |user| !has_active(user, &serial)).await;
        done(format!("{user} uses no one-time passwords any more"), Some(serial.as_str()))
    }

    async fn do_resync(
        &self,
        serial: &str,
        step: Step,
        drift: Drift,
        id: RequestId,
        now: Moment,
    ) -> Result<Performed, Refuse> {
        let token = self.token(serial, now).await?.ok_or(Refusal::NoSuchToken)?;
        let token = super::codes::token_of(&token.value).ok_or(Refusal::NotSetUp)?;
        let used = Use { token: token.id, imprint: token.imprint, step, drift, renewal: renewal(&token) };
        let durable = &self.drive.pipeline().tables().durable;
        let mark = durable.tokens.accept(&used, id).ok_or(Refuse::CodeUsed)?;
        let mut marks = Marks::new();
        marks.push(Mark::Token(mark));
        let told = format!("the clock of token {serial} is known: {} steps from ours", drift.steps());
        Ok(Performed {
            marks,
            told: Told::Done { what: told, serial: Some(serial.to_owned()) },
            serial: None,
        })
    }

    async fn do_release(&self, user: &str, now: Moment) -> Result<Performed, Refuse> {
        let user = self.find(user, now).await?;
        let users = &self.drive.pipeline().tables().durable.users;
        let mark = users.release(user.id).ok_or_else(|| Refuse::NothingHeld(user.name.to_string()))?;
        let mut marks = Marks::new();
        marks.push(Mark::User(mark));
        let told = Told::done(format!("{} is released", user.name));
        Ok(Performed { marks, told, serial: None })
    }

    async fn do_choose(&self, user: &str, choice: LoginChoice, now: Moment) -> Result<Performed, Refuse> {
        let scene = self.scene(user, now).await?;
        let wanted = LoginCode::from(choice);
        let set = UserSet { login_code: Some(wanted), ..UserSet::default() };
        self.set_user(scene.user(), scene.version.clone(), set).await?;
        self.wait_until(scene.user().id, |user| user.login_code == Some(wanted)).await;
        done(format!("code at login of {user}: {}", choice.text()), None)
    }

    async fn held_by_anybody(&self, serial: &str, now: Moment) -> Result<Held, Refuse> {
        let nobody = crate::admin::caller::Actor {
            role: crate::policy::ActorRole::Counter,
            name: String::new(),
            person: String::new(),
            user: None,
            caller: crate::admin::caller::Caller {
                name: String::new(),
                evidence: String::new(),
                own: crate::admin::caller::Own::Another,
                credential: String::new(),
            },
        };
        self.held(serial, &nobody, now).await
    }

    /// Waits until this node's memory shows a change that the directory has made, so that whoever asked can rely on it.
    /// Where memory does not follow (`poll`, `ask`), it gives up after a while: the change is made all the same.
    async fn wait_until(&self, user: EntryId, shows: impl Fn(&User) -> bool) {
        let bindings = &self.drive.pipeline().tables().bindings;
        wait(|| bindings.user(user).is_none_or(|user| shows(&user.whole()))).await;
    }

    async fn wait_for_contract(&self, id: &ContractId, service: &ServiceName, wanted: contracts::Known) {
        let contracts = self.drive.pipeline().tables().bindings.contracts();
        wait(|| contracts.look_up(Some(id.as_str()), service, clock::now().mono) == wanted).await;
    }
}

async fn wait(is_seen: impl Fn() -> bool) {
    let begun = clock::now().mono;
    while !is_seen() && clock::now().mono.since(begun) < SEEN_WITHIN {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The new end of a token, or from when on it may have one.
pub(super) fn renewed(held: &Held, now: Moment) -> Result<Wall, Refuse> {
    let life = &held.profile.life;
    let ends = held.token.value.ends;
    renewed_end(ends, life.lifetime, life.renewal_from, now.wall).map_err(|refusal| match (refusal, ends) {
        (Refusal::TooEarly, Some(ends)) => {
            let from = ends.seconds().saturating_sub(life.renewal_from.as_secs());
            Refuse::RenewalFrom(time_text(Wall::from_seconds(from)))
        }
        (other, _) => Refuse::Life(other),
    })
}

fn has_active(user: &User, serial: &TokenSerial) -> bool {
    let Tokens::These(tokens) = &user.tokens else { return false };
    tokens.iter().any(|token| token.serial == *serial && token.standing == Standing::Active)
}

fn done(what: String, serial: Option<&str>) -> Result<Performed, Refuse> {
    let told = Told::Done { what, serial: serial.map(str::to_owned) };
    Ok(Performed { marks: Marks::new(), told, serial: None })
}

/// Random decimal digits: ten say more than anybody can try.
fn digits(count: usize) -> Result<String, Refuse> {
    let number = u64::from_be_bytes(random()?);
    let text = format!("{number:020}");
    // The last digits of a number this large are as good as evenly spread.
    Ok(text.get(text.len().saturating_sub(count)..).unwrap_or_default().to_owned())
}

impl From<LoginChoice> for LoginCode {
    fn from(choice: LoginChoice) -> LoginCode {
        match choice {
            LoginChoice::Required => LoginCode::Required,
            LoginChoice::NotRequired => LoginCode::NotRequired,
        }
    }
}
