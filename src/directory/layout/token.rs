//! One token's entry and its parameters, read and checked (OTP-13, OTP-28, LDAP-20, LDAP-21).

use super::assembly::{Assembly, Find, Reference};
use super::{Absent, Counts, Kind, Name, SecretForm};
use crate::clock::Wall;
use crate::directory::entry::{Dn, Entry, ManyValues, Unreadable};
use crate::directory::seal;
use crate::identity::TokenSerial;
use crate::otp::{
    Algorithm, Digits, LookAhead, Moving, ParameterProblem, Parameters, Period, SECRET_MIN, Step, Window,
    check_secret,
};
use crate::secret::Secret;
use crate::tokens::{Defect, Standing, State, Token};
use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, HEXUPPER};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest serial number in octets (oathTokenSerialNumber has 64 characters).
const SERIAL_MAX: usize = 253;

impl Assembly<'_> {
    /// The token of an entry; `None` when the entry says that it is not in service: not yet set up, revoked, on stock.
    pub(super) fn token(&self, entry: &Entry, kind: Kind, from: Reference, find: &Find<'_>) -> Option<Token> {
        let standing = self.standing(entry, from).transpose()?;
        let serial = self.serial(entry);
        let id;
        let name = match serial {
            Ok(Some(serial)) => serial,
            Ok(None) | Err(_) => {
                id = entry.id.to_string();
                &id
            }
        };
        // Nothing is done with the key of a revoked token, so it may be gone.
        if standing == Ok(Standing::Revoked) {
            let revoked = self.unusable(entry.id, name, Defect::SecretMissing);
            return Some(Token { standing: Standing::Revoked, ..revoked });
        }
        let read = || {
            let standing = standing?;
            serial?;
            let (parameters, worn_out) = self.parameters(entry, kind, find)?;
            let secret = self.secret(entry, name)?;
            // Valid up to and including the second of the date (LDAP-22).
            let after = time(entry, &self.layout.token.not_after)?.map(|at| at.plus(Duration::from_secs(1)));
            Ok(Token {
                id: entry.id,
                serial: TokenSerial::new(name),
                parameters,
                imprint: Token::imprint_of(&secret),
                secret,
                spent: self.spent(entry, kind)?,
                begins: time(entry, &self.layout.token.not_before)?,
                ends: [worn_out, after].into_iter().flatten().min(),
                standing,
            })
        };
        Some(read().unwrap_or_else(|defect| self.unusable(entry.id, name, defect)))
    }

    /// Whether the token is in service; `None` if not at all.
    fn standing(&self, entry: &Entry, from: Reference) -> Result<Option<Standing>, Defect> {
        let names = &self.layout.token;
        if let Some(name) = &names.disabled
            && entry.boolean(name)? == Some(true)
        {
            return Ok(Some(Standing::Suspended));
        }
        let state = names.state.as_ref().map_or(Ok(None), |name| entry.text(name))?;
        let state = state.map_or(Ok(State::Active), |word| State::parse(word).ok_or(Defect::Value))?;
        Ok(match (state, from) {
            (State::Active, Reference::Own) => Some(Standing::Active),
            // The first correct code puts it in service, for this user.
            (State::SetUp, Reference::Own) | (State::Active, Reference::Pending) => {
                Some(Standing::AwaitsConfirmation)
            }
            (State::Suspended, Reference::Own) => Some(Standing::Suspended),
            (State::Revoked, Reference::Own) => Some(Standing::Revoked),
            (State::Inventory | State::Issued, _) | (_, Reference::Pending) => None,
        })
    }

    pub(super) fn serial<'e>(&self, entry: &'e Entry) -> Result<Option<&'e str>, Defect> {
        let Some(name) = &self.layout.token.serial else { return Ok(None) };
        let serial = entry.text(name)?.map(str::trim).filter(|serial| !serial.is_empty());
        if serial.is_some_and(|serial| serial.len() > SERIAL_MAX) { Err(Defect::Value) } else { Ok(serial) }
    }

    /// The parameters, and when the secret will be too old.
    pub(super) fn parameters(
        &self,
        token: &Entry,
        kind: Kind,
        find: &Find<'_>,
    ) -> Result<(Parameters, Option<Wall>), Defect> {
        let names = &self.layout.token;
        let elsewhere = match &self.layout.parameter_entries {
            None => None,
            Some(entries) => Some(self.parameter_entry(token, entries.of(kind), find)?),
        };
        let from = elsewhere.as_deref().unwrap_or(token);
        let absent = match &self.layout.absent {
            Absent::Defect => None,
            Absent::Is(parameters) => Some(parameters),
            Absent::Service => Some(self.defaults),
        };
        let algorithm = match names.algorithm.as_ref().map_or(Ok(None), |name| from.text(name)) {
            Ok(Some(text)) => algorithm(text).ok_or(Defect::Algorithm)?,
            Ok(None) => absent.ok_or(Defect::Algorithm)?.algorithm,
            Err(unreadable) => return Err(defect_or(unreadable, Defect::Algorithm)),
        };
        let digits = match number(from, &names.digits, Defect::Digits)? {
            Some(digits) => Digits::new(digits)?,
            None => absent.ok_or(Defect::Digits)?.digits,
        };
        let moving = match kind {
            Kind::Time => Moving::Time { period: self.period(from, absent)? },
            Kind::Counter => Moving::Counter { look_ahead: self.look_ahead(from)? },
        };
        let window = match number(from, &names.window, Defect::Window)? {
            Some(steps) => Window::new(steps, steps)?,
            None => self.defaults.window,
        };
        self.check_uses(token, from, kind)?;
        Ok((Parameters { algorithm, digits, moving, window }, self.worn_out(token, from)?))
    }

    fn parameter_entry(&self, token: &Entry, name: &str, find: &Find<'_>) -> Result<Arc<Entry>, Defect> {
        let dn = token.one(name)?.ok_or(Defect::ParametersMissing)?;
        let dn = std::str::from_utf8(dn).ok().and_then(Dn::parse);
        dn.filter(|dn| self.is_within_bases(Some(dn)))
            .and_then(|dn| find(&dn))
            .ok_or(Defect::ParametersNotFound)
    }

    fn period(&self, from: &Entry, absent: Option<&Parameters>) -> Result<Period, Defect> {
        match number(from, &self.layout.token.period, Defect::Period)? {
            Some(seconds) if seconds < self.layout.token.least_period => Ok(Period::HALF_MINUTE),
            Some(seconds) => Ok(Period::from_seconds(seconds)?),
            None => match absent.ok_or(Defect::Period)?.moving {
                Moving::Time { period } => Ok(period),
                Moving::Counter { .. } => Ok(Period::HALF_MINUTE),
            },
        }
    }

    fn look_ahead(&self, from: &Entry) -> Result<LookAhead, Defect> {
        match (number(from, &self.layout.token.look_ahead, Defect::Window)?, self.defaults.moving) {
            (Some(codes), _) => Ok(LookAhead::new(codes)?),
            (None, Moving::Counter { look_ahead }) => Ok(look_ahead),
            (None, Moving::Time { .. }) => Ok(LookAhead::DEFAULT),
        }
    }

    /// The last step or counter that the directory says is used up, in whichever way it counts (LDAP-20).
    pub(super) fn spent(&self, token: &Entry, kind: Kind) -> Result<Option<Step>, Defect> {
        let Some(names) = &self.layout.token.spent else { return Ok(None) };
        let value = token.integer(names.of(kind))?;
        let last = match self.layout.token.counts {
            Counts::LastUsed => value,
            Counts::Next => value.and_then(|next| next.checked_sub(1)),
        };
        // A last counter of -1 is "none yet".
        Ok(last.and_then(|last| u64::try_from(last).ok()).map(Step))
    }

    /// A counter says how often its key was used; a time step does not.
    fn check_uses(&self, token: &Entry, from: &Entry, kind: Kind) -> Result<(), Defect> {
        let most = number(from, &self.layout.token.max_uses, Defect::Value)?.filter(|&most| most > 0);
        match (kind, most, self.spent(token, kind)?) {
            (Kind::Counter, Some(most), Some(last)) if last.0 >= most - 1 => Err(Defect::WornOut),
            _ => Ok(()),
        }
    }

    fn worn_out(&self, token: &Entry, from: &Entry) -> Result<Option<Wall>, Defect> {
        let names = &self.layout.token;
        match number(from, &names.secret_max_age, Defect::Value)? {
            None | Some(0) => Ok(None),
            // Nobody knows the secret's age, so nobody can say that it is young enough.
            Some(age) => {
                let since = time(token, &names.secret_time)?.ok_or(Defect::WornOut)?;
                Ok(Some(since.plus(Duration::from_secs(age))))
            }
        }
    }

    pub(super) fn secret(&self, entry: &Entry, serial: &str) -> Result<Secret, Defect> {
        let names = &self.layout.token;
        let value =
            entry.one(&names.secret)?.filter(|value| !value.is_empty()).ok_or(Defect::SecretMissing)?;
        let secret = if seal::is_sealed(value) {
            self.keyring.open(serial, value).map_err(|_| Defect::SecretSealed)?
        } else {
            decode(value, names.secret_form).ok_or(Defect::SecretUnreadable)?
        };
        match check_secret(secret.expose()) {
            Ok(()) => Ok(secret),
            Err(_) if secret.len() < SECRET_MIN => Err(Defect::SecretTooShort),
            Err(_) => Err(Defect::SecretUnreadable),
        }
    }
}

/// The key in a value that is not sealed; `None` if the value is not in the declared form, or encrypted for
/// `oathEncKey` (a JSON object).
fn decode(value: &[u8], form: SecretForm) -> Option<Secret> {
    let letters = |fold: fn(&u8) -> u8| -> Zeroizing<Vec<u8>> {
        Zeroizing::new(value.iter().filter(|b| !b" -=\t\r\n".contains(b)).map(fold).collect())
    };
    match form {
        SecretForm::Raw if is_json_object(value) => None,
        SecretForm::Raw => Some(Secret::new(value)),
        SecretForm::Base32 => BASE32_NOPAD.decode(&letters(u8::to_ascii_uppercase)).ok().map(Secret::new),
        SecretForm::Base64 => {
            let text = value.trim_ascii().trim_ascii_end();
            let padding = text.iter().rev().take(2).take_while(|&&octet| octet == b'=').count();
            let (text, _) = text.split_at_checked(text.len().checked_sub(padding)?)?;
            BASE64_NOPAD.decode(text).ok().map(Secret::new)
        }
        SecretForm::Hex => HEXUPPER.decode(&letters(u8::to_ascii_uppercase)).ok().map(Secret::new),
    }
}

fn is_json_object(value: &[u8]) -> bool {
    value.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok()
}

/// The hash behind the OID of an HMAC (RFC 8018 §B.1.2), or behind its name.
fn algorithm(text: &str) -> Option<Algorithm> {
    match text {
        "1.2.840.113549.2.7" => Some(Algorithm::Sha1),
        "1.2.840.113549.2.9" => Some(Algorithm::Sha256),
        "1.2.840.113549.2.11" => Some(Algorithm::Sha512),
        _ => {
            let (prefix, hash) = text.split_at_checked("hmacWith".len()).unwrap_or(("", text));
            let hash = if prefix.eq_ignore_ascii_case("hmacWith") { hash } else { text };
            Algorithm::parse(hash).ok()
        }
    }
}

/// A number that is not negative; `otherwise` if it is anything else.
fn number(entry: &Entry, name: &Option<Name>, otherwise: Defect) -> Result<Option<u64>, Defect> {
    let Some(name) = name else { return Ok(None) };
    let number = entry.integer(name).map_err(|unreadable| defect_or(unreadable, otherwise))?;
    number.map(|number| u64::try_from(number).map_err(|_| otherwise)).transpose()
}

fn time(entry: &Entry, name: &Option<Name>) -> Result<Option<Wall>, Defect> {
    Ok(name.as_ref().map_or(Ok(None), |name| entry.time(name))?)
}

fn defect_or(unreadable: Unreadable, otherwise: Defect) -> Defect {
    match unreadable {
        Unreadable::ManyValues(_) => Defect::ManyValues,
        Unreadable::Syntax => otherwise,
    }
}

impl From<Unreadable> for Defect {
    fn from(unreadable: Unreadable) -> Defect {
        defect_or(unreadable, Defect::Value)
    }
}

impl From<ManyValues> for Defect {
    fn from(_: ManyValues) -> Defect {
        Defect::ManyValues
    }
}

impl From<ParameterProblem> for Defect {
    fn from(problem: ParameterProblem) -> Defect {
        match problem {
            ParameterProblem::Algorithm => Defect::Algorithm,
            ParameterProblem::Digits => Defect::Digits,
            ParameterProblem::Period => Defect::Period,
            ParameterProblem::Window | ParameterProblem::LookAhead => Defect::Window,
            ParameterProblem::Secret => Defect::SecretTooShort,
        }
    }
}
