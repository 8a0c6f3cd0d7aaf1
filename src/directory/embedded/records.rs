//! What stands in the file: one JSON text for each user and token.

use super::store::Change;
use super::{NewToken, NewUser};
use crate::clock::Wall;
use crate::directory::seal::Keyring;
use crate::identity::{EntryId, TokenSerial};
use crate::otp::{Algorithm, Digits, LookAhead, Moving, Parameters, Period, Window, check_secret};
use crate::secret::Secret;
use crate::tokens::{Defect, LoginCode, Role, Standing, Token};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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
        }
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
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct TokenRecord {
    #[serde(with = "as_text")]
    user: EntryId,
    pub serial: String,
    secret: String,
    algorithm: String,
    digits: u64,
    moving: MovingText,
    window: (u64, u64),
    begins: Option<u64>,
    ends: Option<u64>,
    pub suspended: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MovingText {
    Period(u64),
    LookAhead(u64),
}

impl TokenRecord {
    pub(super) fn new(user: EntryId, token: &NewToken, sealed: String) -> TokenRecord {
        let Parameters { algorithm, digits, moving, window } = token.parameters;
        TokenRecord {
            user,
            serial: token.serial.clone(),
            secret: sealed,
            algorithm: algorithm.text().to_owned(),
            digits: digits.count() as u64,
            moving: match moving {
                Moving::Time { period } => MovingText::Period(period.seconds()),
                Moving::Counter { look_ahead } => MovingText::LookAhead(look_ahead.codes()),
            },
            window: (window.back().into(), window.forward().into()),
            begins: token.begins.map(Wall::seconds),
            ends: token.ends.map(Wall::seconds),
            suspended: false,
        }
    }

    pub(super) fn user(&self) -> EntryId {
        self.user
    }

    /// The token, unusable if the secret does not open or a value is out of bounds.
    pub(super) fn token(&self, id: EntryId, keyring: &Keyring) -> Token {
        let (parameters, secret, standing) = match self.read(keyring) {
            Ok((parameters, secret)) => {
                let standing = if self.suspended { Standing::Suspended } else { Standing::Active };
                (parameters, secret, standing)
            }
            Err(defect) => (Parameters::default(), Secret::new([]), Standing::Unusable(defect)),
        };
        Token {
            id,
            serial: TokenSerial::new(&self.serial),
            parameters,
            imprint: Token::imprint_of(&secret),
            secret,
            spent: None,
            begins: self.begins.map(Wall::from_seconds),
            ends: self.ends.map(Wall::from_seconds),
            standing,
        }
    }

    fn read(&self, keyring: &Keyring) -> Result<(Parameters, Secret), Defect> {
        let parameters = Parameters {
            algorithm: Algorithm::parse(&self.algorithm)?,
            digits: Digits::new(self.digits)?,
            moving: match self.moving {
                MovingText::Period(seconds) => Moving::Time { period: Period::from_seconds(seconds)? },
                MovingText::LookAhead(codes) => Moving::Counter { look_ahead: LookAhead::new(codes)? },
            },
            window: Window::new(self.window.0, self.window.1)?,
        };
        let secret = keyring.open(&self.serial, self.secret.as_bytes()).map_err(|_| Defect::SecretSealed)?;
        check_secret(secret.expose())?;
        Ok((parameters, secret))
    }
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

/// A list of them.
mod as_texts {
    use super::EntryId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(ids: &[EntryId], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ids.iter().map(EntryId::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<EntryId>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let ids = texts.iter().map(|text| EntryId::parse(text)).collect::<Option<Vec<_>>>();
        ids.ok_or_else(|| D::Error::custom("not a UUID"))
    }
}
