//! From what is asked to a deed: everything is read, fits, is allowed and proven; nothing in the directory has changed.

use super::codes::{Tried, token_of};
use super::scene::{Scene, contract_id, serial_number};
use super::{Failed, Operations, PATIENCE, Prepared};
use crate::admin::caller::Actor;
use crate::admin::deed::Deed;
use crate::admin::protocol::{Ask, LoginChoice, Mode, Password, Proof};
use crate::admin::refusal::{ProofOf, Refuse};
use crate::clock::Moment;
use crate::directory::registry::Seen;
use crate::identity::RequestId;
use crate::mail::Address;
use crate::otp::{self, Code, Moving, Step};
use crate::policy::{Act, Exceptions};
use crate::secret::Secret;
use crate::state::Marks;
use crate::tokens::life::{self, Event, Place, Position, Refusal, Stage, Used};
use crate::tokens::{Record, State, Token, User};
use std::sync::Arc;

/// What a question names, for the evidence of its refusal.
#[derive(Default)]
pub(super) struct Named {
    pub user: Option<String>,
    pub serial: Option<String>,
    pub contract: Option<String>,
}

/// Which act a question is, and what it names.
pub(super) fn named(ask: &Ask) -> (Act, Named) {
    let user = |user: &String| Named { user: Some(user.clone()), ..Named::default() };
    let token = |serial: &String| Named { serial: Some(serial.clone()), ..Named::default() };
    let both = |name: &String, serial: &String| Named { serial: Some(serial.clone()), ..user(name) };
    let contract = |contract: &String| Named { contract: Some(contract.clone()), ..Named::default() };
    match ask {
        Ask::ContractEnable { contract: id, .. } => (Act::ContractEnable, contract(id)),
        Ask::ContractDisable { contract: id } => (Act::ContractDisable, contract(id)),
        Ask::UserRelease { user: name, .. } => (Act::Release, user(name)),
        Ask::UserLoginCode { user: name, .. } => (Act::LoginCode, user(name)),
        Ask::UserAdd(added) => (Act::UserAdd, user(&added.user)),
        Ask::UserRemove { user: name } => (Act::UserRemove, user(name)),
        Ask::TokenIssue { user: name, existing: None, .. } => (Act::Issue, user(name)),
        Ask::TokenIssue { user: name, existing: Some(serial), .. } => (Act::Issue, both(name, serial)),
        Ask::TokenConfirm { user: name, .. } => (Act::Confirm, user(name)),
        Ask::TokenRegister { user: name, serial, .. } => (Act::Register, both(name, serial)),
        Ask::TokenExchange { user: name, serial, .. } => (Act::Exchange, both(name, serial)),
        Ask::TokenExchangeUndo { user: name, .. } => (Act::UndoExchange, user(name)),
        Ask::TokenRevoke { serial, .. } => (Act::Revoke, token(serial)),
        Ask::TokenSuspend { serial, .. } => (Act::Suspend, token(serial)),
        Ask::TokenResume { serial, .. } => (Act::Resume, token(serial)),
        Ask::TokenRenew { serial, .. } => (Act::Renew, token(serial)),
        Ask::TokenStop { user: name, .. } => (Act::Stop, user(name)),
        Ask::TokenResync { serial, .. } => (Act::Resync, token(serial)),
        Ask::TokenImport(imported) => (Act::Import, token(&imported.serial)),
        Ask::TokenExport(_) => (Act::Export, Named::default()),
        _ => (Act::Look, Named::default()),
    }
}

/// An act as it is being prepared.
#[derive(Clone, Copy)]
pub(super) struct Round<'a> {
    pub actor: &'a Actor,
    pub id: RequestId,
    mode: Mode,
    pub now: Moment,
}

impl Operations {
    /// Looks at everything and proves it.
    pub(super) async fn prepare(
        &self,
        ask: Ask,
        actor: &Actor,
        id: RequestId,
        mode: Mode,
        now: Moment,
    ) -> Result<Prepared, Failed> {
        let round = Round { actor, id, mode, now };
        match ask {
            Ask::ContractEnable { contract, service } => self.enable(contract, service, round).await,
            Ask::ContractDisable { contract } => self.disable(contract, round).await,
            Ask::UserRelease { user, password, .. } => {
                self.release(&user, &Proof { code: None, password }, round).await
            }
            Ask::UserLoginCode { user, choice, proof } => {
                self.choose_login(user, choice, &proof, round).await
            }
            Ask::UserRemove { user } => self.remove_user(&user, round).await,
            Ask::TokenIssue { user, existing: Some(serial), proof, .. } => {
                self.adopt(user, serial, &proof, round).await
            }
            Ask::TokenIssue { user, mail, start_password, existing: None, proof } => {
                self.issue(user, mail, start_password, &proof, round).await
            }
            Ask::TokenConfirm { user, code } => self.confirm(user, &code, round).await,
            Ask::TokenRegister { user, serial, code, password, login_code } => {
                self.register(user, serial, &code, &password, login_code, round).await
            }
            Ask::TokenExchange { user, serial, old_code, new_code } => {
                self.exchange(user, serial, &old_code, &new_code, round).await
            }
            Ask::TokenExchangeUndo { user, proof } => self.undo_exchange(user, &proof, round).await,
            Ask::TokenStop { user, proof } => self.stop(user, &proof, round).await,
            Ask::TokenRevoke { serial, proof } => {
                self.to_token(Act::Revoke, Event::Revoke, serial, &proof, round).await
            }
            Ask::TokenSuspend { serial, proof } => {
                self.to_token(Act::Suspend, Event::Suspend, serial, &proof, round).await
            }
            Ask::TokenResume { serial, proof } => {
                self.to_token(Act::Resume, Event::Resume, serial, &proof, round).await
            }
            Ask::TokenRenew { serial, proof } => {
                self.to_token(Act::Renew, Event::Renew, serial, &proof, round).await
            }
            Ask::TokenResync { serial, first, second } => self.resync(serial, &first, &second, round).await,
            // What only looks has been answered before it comes here, and what imports has a way of its own.
            _ => Err(Refuse::Value { what: "the question", right: "ask for an act" }.into()),
        }
    }

    async fn enable(&self, contract: String, service: String, round: Round<'_>) -> Result<Prepared, Failed> {
        let id = contract_id(&contract)?;
        self.authorize(round.actor, Act::ContractEnable, None, &Exceptions::default())?;
        if !self.rules.load().profiles.iter().any(|profile| profile.name.as_str() == service) {
            return Err(Refuse::ServiceUnknown(service).into());
        }
        let deadline = round.now.mono.plus(PATIENCE);
        if self.registry().contract(&id, deadline).await.map_err(Refuse::from)?.is_some() {
            return Err(Refuse::ContractThere(contract).into());
        }
        Ok(Prepared::of(Deed::EnableContract { contract, service }, Marks::new(), None))
    }

    async fn disable(&self, contract: String, round: Round<'_>) -> Result<Prepared, Failed> {
        let id = contract_id(&contract)?;
        self.authorize(round.actor, Act::ContractDisable, None, &Exceptions::default())?;
        let deadline = round.now.mono.plus(PATIENCE);
        if self.registry().contract(&id, deadline).await.map_err(Refuse::from)?.is_none() {
            return Err(Refuse::ContractUnknown(contract).into());
        }
        Ok(Prepared::of(Deed::DisableContract { contract }, Marks::new(), None))
    }

    async fn release(&self, name: &str, proof: &Proof, round: Round<'_>) -> Result<Prepared, Failed> {
        let user = self.find(name, round.now).await?;
        // Where the directory keeps no contracts, the defaults apply.
        let contract = self.contract_of(&user, round.now).await.unwrap_or_default();
        let profile = self.profile(contract.as_ref().map(|contract| &contract.service));
        self.authorize(round.actor, Act::Release, Some(&user), &profile.may)?;
        let marks = match round.mode {
            Mode::DryRun => Marks::new(),
            Mode::Do => self.prove(Act::Release, None, proof, &profile, round).await?,
        };
        let users = &self.drive.pipeline().tables().durable.users;
        let lockout = users.lockout(user.id, round.now.wall);
        if lockout == crate::lockout::Lockout::cleared() {
            return Err(Failed { marks, ..Refuse::NothingHeld(user.name.to_string()).into() });
        }
        Ok(Prepared::of(Deed::Release { user: user.name.to_string() }, marks, Some(user)))
    }

    async fn choose_login(
        &self,
        name: String,
        choice: LoginChoice,
        proof: &Proof,
        round: Round<'_>,
    ) -> Result<Prepared, Failed> {
        let scene = self.scene(&name, round.now).await?;
        let marks = self.allowed(Act::LoginCode, &scene, proof, round).await?;
        let user = Arc::clone(scene.user());
        Ok(Prepared::of(Deed::ChooseLogin { user: user.name.to_string(), choice }, marks, Some(user)))
    }

    async fn issue(
        &self,
        name: String,
        mail: Option<String>,
        start_password: Option<Password>,
        proof: &Proof,
        round: Round<'_>,
    ) -> Result<Prepared, Failed> {
        let scene = self.scene(&name, round.now).await?;
        self.authorize(round.actor, Act::Issue, Some(scene.user()), &scene.profile.may)?;
        scene.enabled()?;
        scene.after(Event::Issue)?;
        let mail = mail.or_else(|| scene.registered.mail.as_deref().map(str::to_owned));
        if let Some(mail) = &mail {
            mail_address(mail)?;
        }
        let rule = scene.profile.life.start_password;
        if let Some(password) = &start_password
            && !rule.allows(password.0.as_bytes())
        {
            return Err(Refuse::StartPassword(rule).into());
        }
        let user = Arc::clone(scene.user());
        let marks = self.allowed(Act::Issue, &scene, proof, round).await?;
        let start_password = match (round.mode, start_password) {
            (Mode::DryRun, _) => String::new(),
            (Mode::Do, None) => return Err(Refuse::StartPasswordMissing.into()),
            (Mode::Do, Some(password)) => {
                self.start_passwords.hash(Secret::new(password.0.as_bytes())).await?
            }
        };
        let deed = Deed::Issue { user: user.name.to_string(), mail, start_password };
        Ok(Prepared::of(deed, marks, Some(user)))
    }

    async fn adopt(
        &self,
        name: String,
        serial: String,
        proof: &Proof,
        round: Round<'_>,
    ) -> Result<Prepared, Failed> {
        let scene = self.scene(&name, round.now).await?;
        self.authorize(round.actor, Act::Issue, Some(scene.user()), &scene.profile.may)?;
        scene.enabled()?;
        scene.after(Event::Adopt)?;
        let token =
            self.token(&serial, round.now).await?.ok_or(Refusal::NoSuchToken).map_err(Refuse::from)?;
        let stage = of_entry(&token.value).stage(round.now.wall);
        if stage != Stage::Active {
            return Err(Refuse::Life(life_of(stage)).into());
        }
        if token.value.owners.is_empty() || token.value.owners.contains(&scene.user().id) {
            return Err(Refuse::Life(Refusal::NotBound).into());
        }
        let user = Arc::clone(scene.user());
        let marks = self.allowed(Act::Issue, &scene, proof, round).await?;
        Ok(Prepared::of(Deed::Adopt { user: user.name.to_string(), serial }, marks, Some(user)))
    }

    async fn confirm(&self, name: String, code: &Password, round: Round<'_>) -> Result<Prepared, Failed> {
        let scene = self.scene(&name, round.now).await?;
        self.authorize(round.actor, Act::Confirm, Some(scene.user()), &scene.profile.may)?;
        let pending = match &scene.registered.pending {
            Some(serial) => self.token(serial.as_str(), round.now).await?,
            None => None,
        };
        let token = match pending.as_ref().or(scene.token.as_ref()) {
            Some(token) if pending.is_some() => {
                let stage = of_entry(&token.value).stage(round.now.wall);
                if stage != Stage::Active {
                    return Err(Refuse::Life(life_of(stage)).into());
                }
                token
            }
            Some(token) => {
                // A lock stands in the way of every code, also of the first.
                scene.after(Event::Confirm)?;
                token
            }
            None => return Err(Refuse::Life(Refusal::NoToken).into()),
        };
        let tokens = [keyed(&token.value)?];
        let user = Arc::clone(scene.user());
        let tried = [Tried { tokens: &tokens, code }];
        let marks = match round.mode {
            Mode::DryRun => Marks::new(),
            Mode::Do => self.show(&user, &tried, None, &scene.profile, round.id, round.now).await?,
        };
        let serial = token.value.serial.to_string();
        Ok(Prepared::of(Deed::Confirm { user: user.name.to_string(), serial }, marks, Some(user)))
    }

    async fn register(
        &self,
        name: String,
        serial: String,
        code: &Password,
        password: &Password,
        login_code: Option<LoginChoice>,
        round: Round<'_>,
    ) -> Result<Prepared, Failed> {
        let scene = self.scene(&name, round.now).await?;
        self.authorize(round.actor, Act::Register, Some(scene.user()), &scene.profile.may)?;
        scene.enabled()?;
        scene.after(Event::Register)?;
        let token = self.free(&serial, &scene, round.now).await?;
        let tokens = [keyed(&token.value)?];
        let user = Arc::clone(scene.user());
        let marks = match round.mode {
            Mode::DryRun => Marks::new(),
            Mode::Do => {
                let tried = [Tried { tokens: &tokens, code }];
                self.show(&user, &tried, Some(password), &scene.profile, round.id, round.now).await?
            }
        };
        let deed = Deed::Register { user: user.name.to_string(), serial, login_code };
        Ok(Prepared::of(deed, marks, Some(user)))
    }

    async fn exchange(
        &self,
        name: String,
        serial: String,
        old_code: &Password,
        new_code: &Password,
        round: Round<'_>,
    ) -> Result<Prepared, Failed> {
        let scene = self.scene(&name, round.now).await?;
        self.authorize(round.actor, Act::Exchange, Some(scene.user()), &scene.profile.may)?;
        life::exchange(scene.stage, Stage::Inventory).map_err(Refuse::from)?;
        let new = self.free(&serial, &scene, round.now).await?;
        let Some(old) = &scene.token else { return Err(Refuse::Life(Refusal::NoToken).into()) };
        let (old_key, new_key) = ([keyed(&old.value)?], [keyed(&new.value)?]);
        let user = Arc::clone(scene.user());
        let from = old.value.serial.to_string();
        let (marks, step) = match round.mode {
            Mode::DryRun => (Marks::new(), 0),
            Mode::Do => {
                let [key] = &new_key;
                let step = self.step_of(key, new_code, round.now).unwrap_or(Step(0));
                let tried =
                    [Tried { tokens: &old_key, code: old_code }, Tried { tokens: &new_key, code: new_code }];
                let shown = self.show(&user, &tried, None, &scene.profile, round.id, round.now).await?;
                (shown, step.0)
            }
        };
        let deed = Deed::Exchange { user: user.name.to_string(), from, to: serial, step };
        Ok(Prepared::of(deed, marks, Some(user)))
    }

    async fn undo_exchange(&self, name: String, proof: &Proof, round: Round<'_>) -> Result<Prepared, Failed> {
        let scene = self.scene(&name, round.now).await?;
        self.authorize(round.actor, Act::UndoExchange, Some(scene.user()), &scene.profile.may)?;
        self.may_undo(&scene)?;
        let user = Arc::clone(scene.user());
        let marks = self.allowed(Act::UndoExchange, &scene, proof, round).await?;
        Ok(Prepared::of(Deed::UndoExchange { user: user.name.to_string() }, marks, Some(user)))
    }

    /// Whether there is an exchange to undo, and the new token has not been used since.
    pub(super) fn may_undo(&self, scene: &Scene) -> Result<(), Refuse> {
        let old = if scene.registered.former.is_some() { Stage::Replaced } else { Stage::None };
        let used = match scene.token.as_ref().map(|new| &new.value) {
            Some(new) => match (token_of(new), new.parameters.moving) {
                // An exchange dates the new token by the step of its code: what is used up beyond it came after.
                (Some(token), Moving::Time { period }) => {
                    let exchanged = otp::step_at(new.since, period);
                    let past = self.drive.pipeline().tables().durable.past(&token);
                    if past.last.is_some_and(|last| last > exchanged) { Used::Since } else { Used::NotYet }
                }
                // A counter token says nothing of the time.
                _ => Used::Since,
            },
            None => Used::NotYet,
        };
        life::undo_exchange(old, scene.stage, used)?;
        Ok(())
    }

    async fn stop(&self, name: String, proof: &Proof, round: Round<'_>) -> Result<Prepared, Failed> {
        let scene = self.scene(&name, round.now).await?;
        self.authorize(round.actor, Act::Stop, Some(scene.user()), &scene.profile.may)?;
        scene.after(Event::Stop)?;
        let user = Arc::clone(scene.user());
        let marks = self.allowed(Act::Stop, &scene, proof, round).await?;
        let serial = scene.registered.token.as_ref().map(ToString::to_string);
        let prepared = Prepared::of(Deed::Stop { user: user.name.to_string() }, marks, Some(user));
        Ok(Prepared { serial, ..prepared })
    }

    /// An act on one token, named by its serial number.
    async fn to_token(
        &self,
        act: Act,
        event: Event,
        serial: String,
        proof: &Proof,
        round: Round<'_>,
    ) -> Result<Prepared, Failed> {
        let held = self.held(&serial, round.actor, round.now).await?;
        self.authorize(round.actor, act, held.owner.as_deref(), &held.profile.may)?;
        life::after(held.stage, event).map_err(Refuse::from)?;
        if act == Act::Renew {
            super::perform::renewed(&held, round.now)?;
        }
        let marks = match round.mode {
            Mode::DryRun => Marks::new(),
            Mode::Do => self.prove(act, Some(&held.token.value.serial), proof, &held.profile, round).await?,
        };
        let deed = match act {
            Act::Suspend => Deed::Suspend { serial },
            Act::Resume => Deed::Resume { serial },
            Act::Renew => Deed::Renew { serial },
            _ => Deed::Revoke { serial },
        };
        Ok(Prepared::of(deed, marks, held.owner))
    }

    async fn resync(
        &self,
        serial: String,
        first: &Password,
        second: &Password,
        round: Round<'_>,
    ) -> Result<Prepared, Failed> {
        let held = self.held(&serial, round.actor, round.now).await?;
        self.authorize(round.actor, Act::Resync, held.owner.as_deref(), &held.profile.may)?;
        // Before its service, too: on stock clocks go astray, and after a restore nobody knows counters.
        if !matches!(held.stage, Stage::Inventory | Stage::SetUp) {
            life::after(held.stage, Event::Resync).map_err(Refuse::from)?;
        }
        let token = keyed(&held.token.value)?;
        if !self.drive.pipeline().trusts_clock(round.now) {
            return Err(Refuse::Clock.into());
        }
        if round.mode == Mode::DryRun {
            let deed = Deed::Resync { serial, step: 0, drift: 0 };
            return Ok(Prepared::of(deed, Marks::new(), held.owner));
        }
        let code = |code: &Password| Code::parse(code.0.as_bytes(), token.parameters.digits);
        let (first, second) =
            Option::zip(code(first), code(second)).ok_or_else(|| act_failed(Refuse::NotInARow))?;
        let last = self.drive.pipeline().tables().durable.synchronised_from(&token).max(token.spent);
        let secret = token.secret.expose();
        let found = otp::resync(secret, &token.parameters, &first, &second, round.now.wall, last);
        let found = found.ok_or_else(|| act_failed(Refuse::NotInARow))?;
        let deed = Deed::Resync { serial, step: found.step.0, drift: found.drift.quarters() };
        Ok(Prepared::of(deed, Marks::new(), held.owner))
    }

    /// What the actor has to prove for an act on this user, unless nothing is to happen.
    async fn allowed(
        &self,
        act: Act,
        scene: &Scene,
        proof: &Proof,
        round: Round<'_>,
    ) -> Result<Marks, Failed> {
        self.authorize(round.actor, act, Some(scene.user()), &scene.profile.may)?;
        match round.mode {
            Mode::DryRun => Ok(Marks::new()),
            Mode::Do => self.prove(act, None, proof, &scene.profile, round).await,
        }
    }

    /// A token that the user can take: of the inventory, or left behind half-way of an act that was cut off.
    pub(super) async fn free(
        &self,
        serial: &str,
        scene: &Scene,
        now: Moment,
    ) -> Result<Seen<Record>, Refuse> {
        let _ = serial_number(serial)?;
        let token = self.token(serial, now).await?.ok_or(Refusal::NoSuchToken)?;
        if is_free(&token.value, scene) { Ok(token) } else { Err(Refusal::NotFree.into()) }
    }
}

/// Whether nobody has the token: it is in the inventory, or was being given to this very contract when the act was cut
/// off between its two changes.
pub(super) fn is_free(record: &Record, scene: &Scene) -> bool {
    let contract = scene.user().contract.as_ref();
    let half_taken = record.state == State::Active
        && record.owners.is_empty()
        && record.contract.is_some()
        && record.contract.as_ref() == contract
        && scene.registered.former.as_ref() != Some(&record.serial);
    (record.state == State::Inventory && record.owners.is_empty()) || half_taken
}

/// What the entry alone says of a token.
fn of_entry(record: &Record) -> Position {
    Position { state: Some(record.state), ends: record.ends, place: Place::Current, ..Position::default() }
}

/// Why a token at this stage is not in service.
fn life_of(stage: Stage) -> Refusal {
    life::exchange(stage, Stage::Inventory).err().unwrap_or(Refusal::NoToken)
}

/// The token with its key.
fn keyed(record: &Record) -> Result<Token, Refuse> {
    token_of(record).ok_or(Refuse::Life(Refusal::NotSetUp))
}

fn act_failed(why: Refuse) -> Failed {
    Failed { why, marks: Marks::new(), proof_of: ProofOf::Act }
}

/// An address that mail could go to; the mail server knows the rest.
pub(super) fn mail_address(text: &str) -> Result<(), Refuse> {
    let right = "one address such as taro@example.jp, at most 254 octets";
    text.parse::<Address>().map(drop).map_err(|_| Refuse::Value { what: "the mail address", right })
}

impl Prepared {
    pub(super) fn of(deed: Deed, marks: Marks, user: Option<Arc<User>>) -> Prepared {
        let serial = deed.serial().map(str::to_owned);
        Prepared { deed, marks, user, serial }
    }
}
