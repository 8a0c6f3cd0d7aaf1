//! The app fetches its key: service id, user id and start password, and the key goes out exactly once (S-14).

use super::{Operations, PATIENCE};
use crate::admin::evidence::{Acted, Outcome};
use crate::admin::protocol::{Password, SetUpShown, Told};
use crate::admin::refusal::{ProofOf, Refuse};
use crate::admin::time_text;
use crate::clock::{self, Moment};
use crate::directory::registry::{Change, NotChanged, Seen, TokenSet};
use crate::otp::uri::{KeyMoving, KeyUri};
use crate::otp::{Algorithm, Moving};
use crate::secret::Secret;
use crate::state::Marks;
use crate::tokens::life::{Refusal, Tried, try_setup};
use crate::tokens::{Record, State};
use data_encoding::BASE32_NOPAD;
use std::time::Duration;

/// How often a try is counted anew when somebody else has tried in the same moment.
const TRIES_AT_ONCE: usize = 5;

/// A refusal is told at a whole number of these after it was asked for: it says nothing then of what it took to come to it,
/// and so not whether the ids exist, whose wrong tries cost a change of the directory.
const REFUSED_EVERY: Duration = Duration::from_secs(1);

/// The longest id that is looked for.
const ID_OCTETS_MAX: usize = 32;

impl Operations {
    /// Hands the key out, or counts a wrong start password. Whatever is wrong, the answer is the same.
    pub(super) async fn set_up(
        &self,
        service_id: &str,
        user_id: &str,
        start_password: &Password,
        now: Moment,
    ) -> Told {
        let told = self.try_set_up(service_id, user_id, start_password, now).await;
        if !matches!(told, Told::SetUp(_)) {
            let spent = clock::now().mono.since(now.mono);
            let left = spent.as_nanos() % REFUSED_EVERY.as_nanos();
            let left = u64::try_from(left).map_or(Duration::ZERO, Duration::from_nanos);
            tokio::time::sleep(REFUSED_EVERY.saturating_sub(left)).await;
        }
        told
    }

    async fn try_set_up(
        &self,
        service_id: &str,
        user_id: &str,
        start_password: &Password,
        now: Moment,
    ) -> Told {
        if let Err(why) = self.can_record() {
            return why.told(ProofOf::Act);
        }
        let plain =
            |id: &str| (1..=ID_OCTETS_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit());
        let mut tried = None;
        let outcome = if plain(service_id) && plain(user_id) {
            self.try_key(service_id, user_id, start_password, &mut tried, now).await
        } else {
            Err(Refuse::Life(Refusal::NoSetup))
        };
        let id = self.drive.pipeline().next_request();
        let acted = Acted {
            act: crate::policy::Act::SetUp,
            actor: None,
            user: None,
            serial: tried.as_deref(),
            contract: None,
            deed: None,
            id,
            request: None,
        };
        let line = acted.line(outcome.as_ref().err().map_or(Outcome::Done, Outcome::Refused), now.wall);
        match (self.drive.record(Marks::new(), line).await, outcome) {
            (Err(not), _) => Refuse::from(not).told(ProofOf::Act),
            (Ok(()), Ok(shown)) => Told::SetUp(Box::new(shown)),
            (Ok(()), Err(why)) => why.told(ProofOf::Act),
        }
    }

    async fn try_key(
        &self,
        service_id: &str,
        user_id: &str,
        start_password: &Password,
        tried: &mut Option<String>,
        now: Moment,
    ) -> Result<SetUpShown, Refuse> {
        for _ in 0..TRIES_AT_ONCE {
            let deadline = clock::now().mono.plus(PATIENCE);
            let seen = self.registry().token_for_setup(service_id, user_id, deadline).await?;
            let secret = || Secret::new(start_password.0.as_bytes());
            let Some(Seen { value: record, version }) = seen else {
                // As costly as a wrong start password, so that nobody learns which ids exist.
                let _ = self.start_passwords.check(secret(), None).await?;
                return Err(Refuse::Life(Refusal::NoSetup));
            };
            *tried = Some(record.serial.to_string());
            let Some(setup) = record.setup.clone().filter(|_| is_awaited(&record)) else {
                return Err(Refuse::Life(Refusal::NoSetup));
            };
            // Nothing is told before the change is made, so that tries in parallel are counted one by one.
            let right = self.start_passwords.check(secret(), Some(&setup.start_password)).await?;
            let (set, key) = match try_setup(&setup, right, now.wall)? {
                Tried::Right => {
                    let (set, key) = self.ready(&record, now)?;
                    (set, Some(key))
                }
                Tried::Wrong(left) => (TokenSet { setup: Some(left), ..TokenSet::default() }, None),
            };
            let ends = set.ends;
            let change =
                Change::Token { id: record.id, serial: record.serial.clone(), version, set: Box::new(set) };
            match self.registry().change(change, deadline).await {
                Ok(()) => {}
                Err(NotChanged::Conflict) => continue,
                Err(other) => return Err(other.into()),
            }
            let key = key.ok_or(Refuse::Life(Refusal::NoSetup))?;
            return self.shown(&record, &key, ends.map(time_text), now).await;
        }
        Err(Refuse::NotChanged(NotChanged::Conflict))
    }

    /// The entry with its new key, and the key.
    fn ready(&self, record: &Record, now: Moment) -> Result<(TokenSet, Secret), Refuse> {
        let mut octets = zeroize::Zeroizing::new([0; 64]);
        getrandom::fill(octets.as_mut_slice()).map_err(|_| Refuse::System)?;
        // As long as the hash, RFC 4226 R6 and RFC 6238 §5.1.
        let length = match record.parameters.algorithm {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        };
        let key = Secret::new(octets.get(..length).unwrap_or_default());
        let life = &self.profile(record.service.as_ref()).life;
        let set = TokenSet {
            state: Some((State::SetUp, now.wall)),
            secret: Some(key.duplicate()),
            ends: life.lifetime.map(|lifetime| now.wall.plus(lifetime)),
            setup: Some(None),
            ..TokenSet::default()
        };
        Ok((set, key))
    }

    async fn shown(
        &self,
        record: &Record,
        key: &Secret,
        ends: Option<String>,
        now: Moment,
    ) -> Result<SetUpShown, Refuse> {
        let owners = self.owners(record, now).await?;
        let account =
            owners.first().map_or_else(|| record.serial.to_string(), |owner| owner.name.to_string());
        let Moving::Time { period } = record.parameters.moving else {
            return Err(Refuse::Life(Refusal::NoSetup));
        };
        let uri = KeyUri {
            issuer: record.service.as_ref().map(ToString::to_string),
            account,
            secret: key.duplicate(),
            algorithm: record.parameters.algorithm,
            digits: record.parameters.digits,
            moving: KeyMoving::Time { period },
        };
        let otpauth = String::from_utf8_lossy(uri.write().expose()).into_owned();
        Ok(SetUpShown {
            serial: record.serial.to_string(),
            otpauth: Password(otpauth),
            algorithm: record.parameters.algorithm.text().to_owned(),
            digits: record.parameters.digits.count(),
            period: period.seconds(),
            key: Password(BASE32_NOPAD.encode(key.expose())),
            ends,
        })
    }
}

/// Whether somebody waits for this token: an entry that nobody refers to hands out no key.
fn is_awaited(record: &Record) -> bool {
    record.state == State::Issued && !record.owners.is_empty()
}
