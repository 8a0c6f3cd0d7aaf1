//! Start passwords as argon2id hashes: the same strength as passwords, because a directory that is read by others holds
//! them for days; a bounded number at a time, because anybody may ask.

use super::refusal::Refuse;
use crate::secret::Secret;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// OWASP's first choice: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many are hashed or checked at once: 38 MiB.
const AT_ONCE: usize = 2;

/// The longest that is looked at; the longest that a rule can allow is 32.
const OCTETS_MAX: usize = 128;

/// Hashes and checks start passwords.
pub struct StartPasswords {
    at_once: Arc<Semaphore>,
    /// The hash of one that nobody knows: checked where no setup waits, so that it costs the same.
    decoy: String,
}

impl StartPasswords {
    /// # Errors
    /// If the system gives no random octets.
    pub fn new() -> Result<StartPasswords, Refuse> {
        let decoy = hash(&super::random::<16>()?)?;
        Ok(StartPasswords { at_once: Arc::new(Semaphore::new(AT_ONCE)), decoy })
    }

    /// The PHC string of a start password.
    ///
    /// # Errors
    /// If the system gives no random octets or no thread.
    pub async fn hash(&self, password: Secret) -> Result<String, Refuse> {
        self.work(move || hash(password.expose())).await?
    }

    /// Whether it is the start password behind `known`; never, and at the same cost, where there is none.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub async fn check(&self, password: Secret, known: Option<&str>) -> Result<bool, Refuse> {
        let could_be = known.is_some() && (1..=OCTETS_MAX).contains(&password.len());
        let hash = known.unwrap_or(&self.decoy).to_owned();
        let fits = move || {
            let octets = password.expose();
            let octets = octets.get(..OCTETS_MAX.min(octets.len())).unwrap_or_default();
            Argon2::default().verify_password(octets, hash.as_str()).is_ok()
        };
        Ok(self.work(fits).await? && could_be)
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refuse> {
        let permit = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_| Refuse::System)?;
        let worked = tokio::task::spawn_blocking(move || {
            let worked = work();
            drop(permit);
            worked
        });
        worked.await.map_err(|_| Refuse::System)
    }
}

fn hash(password: &[u8]) -> Result<String, Refuse> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| Refuse::System)?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = super::random::<16>()?;
    let hash = hasher.hash_password_with_salt(password, &salt).map_err(|_| Refuse::System)?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn s_12_a_start_password_is_kept_as_a_hash_and_checked_against_it() {
        let passwords = StartPasswords::new().unwrap();
        let kept = passwords.hash(Secret::new(*b"4711")).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        for (tried, known, right) in [
            (b"4711".as_slice(), Some(kept.as_str()), true),
            (b"4712", Some(&kept), false),
            (b"", Some(&kept), false),
            (&[b'4'; 4096], Some(&kept), false),
            (b"4711", None, false),
        ] {
            assert_eq!(passwords.check(Secret::new(tried), known).await, Ok(right));
        }
    }
}
