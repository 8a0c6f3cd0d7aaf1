//! What stands in the file: one JSON text for each user and token.

use super::store::Change;
use super::{NewToken, NewUser};
use crate::clock::Wall;
use crate::directory::registry::{self, Version};
use crate::directory::seal::Keyring;
use crate::identity::{ContractId, EntryId, ServiceName, TokenSerial};
use crate::otp::{Algorithm, Digits, LookAhead, Moving, Parameters, Period, Step, Window, check_secret};
use crate::secret::Secret;
use crate::tokens::{self, Contract, Defect, LoginCode, Role, Setup, Standing, State, Token};
use data_encoding::HEXLOWER;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A record that reads what it writes.
pub(super) trait Record: Serialize + DeserializeOwned {
    fn text(&self) -> Result<Vec<u8>, Change> {
        serde_json::to_vec(self).map_err(|_| Change::Record)
    }

    fn parse(text: &[u8]) -> Result<Self, Change> {
        serde_json::from_slice(text).map_err(|_| Change::Record)
    }
}

impl Record for UserRecord {}
impl Record for TokenRecord {}

/// A user; `password` is a PHC string of argon2id.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct UserRecord {
    #[serde(with = "as_text")]
    pub id: EntryId,
    pub name: String,
    pub other_names: Vec<String>,
    pub password: String,
    pub disabled: bool,
    pub contract: Option<String>,
    role: Option<RoleText>,
    login_code: Option<LoginCodeText>,
    #[serde(with = "as_texts")]
    pub tokens: Vec<EntryId>,
    /// A token of another contract that waits for a correct code.
    #[serde(with = "as_optional_text", default)]
    pub pending: Option<EntryId>,
    /// The token before the last exchange.
    #[serde(with = "as_optional_text", default)]
    pub former: Option<EntryId>,
    #[serde(default)]
    pub reissue_from: Option<u64>,
    #[serde(default)]
    pub mail: Option<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RoleText {
    Master,
    Admin,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LoginCodeText {
    Required,
    NotRequired,
}

impl UserRecord {
    pub(super) fn new(id: EntryId, user: NewUser, password: String) -> UserRecord {
        UserRecord {
            id,
            name: user.name,
            other_names: user.other_names,
            password,
            disabled: false,
            contract: user.contract.map(|contract| contract.as_str().to_owned()),
            role: match user.role {
                Role::Master => Some(RoleText::Master),
                Role::Admin => Some(RoleText::Admin),
                Role::General => None,
            },
            login_code: user.login_code.map(|choice| match choice {
                LoginCode::Required => LoginCodeText::Required,
                LoginCode::NotRequired => LoginCodeText::NotRequired,
            }),
            tokens: Vec::new(),
            pending: None,
            former: None,
            reissue_from: None,
            mail: user.mail,
        }
    }

    /// Every token that the entry names, in whatever role.
    pub(super) fn references(&self) -> impl Iterator<Item = EntryId> {
        self.tokens.iter().copied().chain(self.pending).chain(self.former)
    }

    /// Takes every reference to a token away.
    pub(super) fn forget(&mut self, token: EntryId) {
        self.tokens.retain(|other| *other != token);
        self.pending = self.pending.filter(|other| *other != token);
        self.former = self.former.filter(|other| *other != token);
    }

    pub(super) fn choose(&mut self, choice: LoginCode) {
        self.login_code = Some(match choice {
            LoginCode::Required => LoginCodeText::Required,
            LoginCode::NotRequired => LoginCodeText::NotRequired,
        });
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.other_names.iter().map(String::as_str))
    }

    pub(super) fn role(&self) -> Role {
        match self.role {
            Some(RoleText::Master) => Role::Master,
            Some(RoleText::Admin) => Role::Admin,
            None => Role::General,
        }
    }

    pub(super) fn login_code(&self) -> Option<LoginCode> {
        self.login_code.map(|choice| match choice {
            LoginCodeText::Required => LoginCode::Required,
            LoginCodeText::NotRequired => LoginCode::NotRequired,
        })
    }
}

/// A token; `secret` is sealed, times are whole seconds since 1970.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct TokenRecord {
    /// Who refers to it, or is listed as one who may. The first form of the record knew one `user`.
    #[serde(
        alias = "user",
        serialize_with = "as_texts::serialize",
        deserialize_with = "as_texts::one_or_more"
    )]
    pub owners: Vec<EntryId>,
    pub serial: String,
    #[serde(default)]
    pub secret: Option<String>,
    algorithm: String,
    digits: u64,
    moving: MovingText,
    window: (u64, u64),
    /// The last counter that was used up before the token came here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spent: Option<u64>,
    pub begins: Option<u64>,
    pub ends: Option<u64>,
    /// How the first form of the record said that a token is suspended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    suspended: bool,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    pub since: u64,
    #[serde(default)]
    pub contract: Option<String>,
    #[serde(default)]
    pub service: Option<String>,
    #[serde(default)]
    pub setup: Option<SetupRecord>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MovingText {
    Period(u64),
    LookAhead(u64),
}

/// What the app has to give at setup; `start_password` is a PHC string of argon2id.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct SetupRecord {
    pub service_id: String,
    pub user_id: String,
    start_password: String,
    failures: u16,
    until: u64,
}

/// A contract that one-time passwords are enabled for.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ContractRecord {
    pub id: String,
    pub service: String,
    pub since: u64,
}

impl Record for ContractRecord {}

impl ContractRecord {
    pub(super) fn new(contract: &Contract) -> ContractRecord {
        ContractRecord {
            id: contract.id.to_string(),
            service: contract.service.to_string(),
            since: contract.since.seconds(),
        }
    }

    pub(super) fn contract(&self) -> Contract {
        Contract {
            id: ContractId::new(&self.id),
            service: ServiceName::new(&self.service),
            since: Wall::from_seconds(self.since),
        }
    }
}

impl SetupRecord {
    pub(super) fn new(setup: &Setup) -> SetupRecord {
        SetupRecord {
            service_id: setup.service_id.to_string(),
            user_id: setup.user_id.to_string(),
            start_password: setup.start_password.to_string(),
            failures: setup.failures,
            until: setup.until.seconds(),
        }
    }

    fn setup(&self) -> Setup {
        Setup {
            service_id: self.service_id.as_str().into(),
            user_id: self.user_id.as_str().into(),
            start_password: self.start_password.as_str().into(),
            failures: self.failures,
            until: Wall::from_seconds(self.until),
        }
    }
}

/// From which of a user's references a token is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    /// It is the user's.
    Own,
    /// It is another contract's, and becomes the user's, too, with the first correct code (S-13).
    Pending,
}

impl TokenRecord {
    /// A token in service from the beginning.
    pub(super) fn new(user: EntryId, token: &NewToken, sealed: String) -> TokenRecord {
        TokenRecord {
            owners: vec![user],
            secret: Some(sealed),
            begins: token.begins.map(Wall::seconds),
            ends: token.ends.map(Wall::seconds),
            ..TokenRecord::empty(&token.serial, token.parameters, State::Active)
        }
    }

    /// A token that nobody refers to yet.
    pub(super) fn registered(token: &registry::NewToken, sealed: Option<String>) -> TokenRecord {
        TokenRecord {
            secret: sealed,
            spent: token.spent.map(|step| step.0),
            begins: token.begins.map(Wall::seconds),
            ends: token.ends.map(Wall::seconds),
            since: token.since.seconds(),
            contract: token.contract.as_ref().map(ToString::to_string),
            service: token.service.as_ref().map(ToString::to_string),
            setup: token.setup.as_ref().map(SetupRecord::new),
            ..TokenRecord::empty(token.serial.as_str(), token.parameters, token.state)
        }
    }

    fn empty(serial: &str, parameters: Parameters, state: State) -> TokenRecord {
        let Parameters { algorithm, digits, moving, window } = parameters;
        TokenRecord {
            owners: Vec::new(),
            serial: serial.to_owned(),
            secret: None,
            algorithm: algorithm.text().to_owned(),
            digits: digits.count() as u64,
            moving: match moving {
                Moving::Time { period } => MovingText::Period(period.seconds()),
                Moving::Counter { look_ahead } => MovingText::LookAhead(look_ahead.codes()),
            },
            window: (window.back().into(), window.forward().into()),
            spent: None,
            begins: None,
            ends: None,
            suspended: false,
            state: Some(state.text().to_owned()),
            since: 0,
            contract: None,
            service: None,
            setup: None,
        }
    }

    pub(super) fn state(&self) -> Result<State, Change> {
        match &self.state {
            Some(state) => State::parse(state).ok_or(Change::Record),
            None if self.suspended => Ok(State::Suspended),
            None => Ok(State::Active),
        }
    }

    pub(super) fn set_state(&mut self, state: State) {
        self.suspended = false;
        self.state = Some(state.text().to_owned());
    }

    /// The token as the judgement sees it, unusable if the secret does not open or a value is out of bounds; `None` where
    /// there is nothing to judge with yet.
    pub(super) fn token(&self, id: EntryId, from: Reference, keyring: &Keyring) -> Option<Token> {
        let standing = match (self.state(), from) {
            (Ok(State::Inventory | State::Issued), _) => return None,
            (Ok(State::SetUp), Reference::Own) | (Ok(State::Active), Reference::Pending) => {
                Ok(Standing::AwaitsConfirmation)
            }
            (Ok(_), Reference::Pending) => return None,
            (Ok(State::Active), Reference::Own) => Ok(Standing::Active),
            (Ok(State::Suspended), _) => Ok(Standing::Suspended),
            (Ok(State::Revoked), _) => Ok(Standing::Revoked),
            (Err(_), _) => Err(Defect::Value),
        };
        let read = standing.and_then(|standing| match (self.read(keyring), standing) {
            (Ok((parameters, secret)), standing) => Ok((parameters, secret, standing)),
            // Nothing can be done with a revoked token, whatever became of its key.
            (Err(_), Standing::Revoked) => Ok((Parameters::default(), Secret::new([]), standing)),
            (Err(defect), _) => Err(defect),
        });
        let (parameters, secret, standing) = read
            .unwrap_or_else(|defect| (Parameters::default(), Secret::new([]), Standing::Unusable(defect)));
        Some(Token {
            id,
            serial: TokenSerial::new(&self.serial),
            parameters,
            imprint: Token::imprint_of(&secret),
            secret,
            spent: self.spent.map(Step),
            begins: self.begins.map(Wall::from_seconds),
            ends: self.ends.map(Wall::from_seconds),
            standing,
        })
    }

    /// The token as acts see it.
    pub(super) fn record(&self, id: EntryId, keyring: &Keyring) -> Result<tokens::Record, Change> {
        let opened = self.secret.as_ref().map(|sealed| keyring.open(&self.serial, sealed.as_bytes()));
        Ok(tokens::Record {
            id,
            serial: TokenSerial::new(&self.serial),
            state: self.state()?,
            since: Wall::from_seconds(self.since),
            owners: self.owners.clone(),
            contract: self.contract.as_deref().map(ContractId::new),
            service: self.service.as_deref().map(ServiceName::new),
            parameters: self.parameters().map_err(|_| Change::Record)?,
            secret: opened.and_then(Result::ok),
            spent: self.spent.map(Step),
            begins: self.begins.map(Wall::from_seconds),
            ends: self.ends.map(Wall::from_seconds),
            setup: self.setup.as_ref().map(SetupRecord::setup),
        })
    }

    /// Tells this reading from the next: everything but who refers to it, which is the users' affair.
    pub(super) fn version(&self) -> Result<Version, Change> {
        version(&TokenRecord { owners: Vec::new(), ..self.clone() })
    }

    fn parameters(&self) -> Result<Parameters, Defect> {
        Ok(Parameters {
            algorithm: Algorithm::parse(&self.algorithm)?,
            digits: Digits::new(self.digits)?,
            moving: match self.moving {
                MovingText::Period(seconds) => Moving::Time { period: Period::from_seconds(seconds)? },
                MovingText::LookAhead(codes) => Moving::Counter { look_ahead: LookAhead::new(codes)? },
            },
            window: Window::new(self.window.0, self.window.1)?,
        })
    }

    fn read(&self, keyring: &Keyring) -> Result<(Parameters, Secret), Defect> {
        let sealed = self.secret.as_ref().ok_or(Defect::SecretMissing)?;
        let secret = keyring.open(&self.serial, sealed.as_bytes()).map_err(|_| Defect::SecretSealed)?;
        check_secret(secret.expose())?;
        Ok((self.parameters()?, secret))
    }
}

/// Tells one reading of a record from the next.
pub(super) fn version<R: Record>(record: &R) -> Result<Version, Change> {
    let digest = Sha256::digest(record.text()?);
    Ok(Version(HEXLOWER.encode(digest.get(..16).unwrap_or_default()).into()))
}

/// An identity in its usual text form.
mod as_text {
    use super::EntryId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &EntryId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EntryId, D::Error> {
        let text = String::deserialize(deserializer)?;
        EntryId::parse(&text).ok_or_else(|| D::Error::custom("not a UUID"))
    }
}

/// An identity that may be absent.
mod as_optional_text {
    use super::EntryId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &Option<EntryId>, serializer: S) -> Result<S::Ok, S::Error> {
        id.map(|id| id.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<EntryId>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| EntryId::parse(&text).ok_or_else(|| D::Error::custom("not a UUID"))).transpose()
    }
}

/// A list of them.
mod as_texts {
    use super::EntryId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(ids: &[EntryId], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ids.iter().map(EntryId::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<EntryId>, D::Error> {
        read(&Vec::<String>::deserialize(deserializer)?)
    }

    pub(super) fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<EntryId>, D::Error> {
        match OneOrMore::deserialize(deserializer)? {
            OneOrMore::One(text) => read(&[text]),
            OneOrMore::More(texts) => read(&texts),
        }
    }

    fn read<E: Error>(texts: &[String]) -> Result<Vec<EntryId>, E> {
        let ids = texts.iter().map(|text| EntryId::parse(text)).collect::<Option<Vec<_>>>();
        ids.ok_or_else(|| E::custom("not a UUID"))
    }
}
