//! Passwords as argon2id hashes: 19 MiB, two passes, one lane (OWASP's first choice), a bounded number at a time.

use super::{EmbeddedProblem, random};
use crate::directory::Unavailable;
use crate::secret::{PASSWORD_MAX, Secret};
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes and checks passwords.
pub(super) struct Passwords {
    at_once: Arc<Semaphore>,
    /// The hash of a password that nobody knows: checked for users who do not exist, so that they cost the same.
    decoy: String,
}

impl Passwords {
    pub(super) fn new(at_once: usize) -> Result<Passwords, EmbeddedProblem> {
        let at_once = Arc::new(Semaphore::new(at_once.clamp(1, 64)));
        Ok(Passwords { at_once, decoy: hash(&random::<32>()?)? })
    }

    /// The PHC string of a password.
    pub(super) fn hash(&self, password: &Secret) -> Result<String, EmbeddedProblem> {
        if (1..=PASSWORD_MAX).contains(&password.len()) {
            hash(password.expose())
        } else {
            Err(EmbeddedProblem::Password)
        }
    }

    /// Whether `password` is the one behind `known`; never for an empty password or an unknown user, which cost the same.
    pub(super) async fn check(
        &self,
        password: Secret,
        known: Option<String>,
        patience: Duration,
    ) -> Result<bool, Unavailable> {
        let could_be = known.is_some() && !password.is_empty();
        let hash = known.unwrap_or_else(|| self.decoy.clone());
        let at_once = Arc::clone(&self.at_once);
        let work = async move {
            let permit = at_once.acquire_owned().await.ok()?;
            let check = move || {
                let fits = Argon2::default().verify_password(password.expose(), hash.as_str()).is_ok();
                // Not before: a check that nobody waits for any more still takes its memory.
                drop(permit);
                fits
            };
            tokio::task::spawn_blocking(check).await.ok()
        };
        match tokio::time::timeout(patience, work).await {
            Ok(Some(fits)) => Ok(fits && could_be),
            Ok(None) => Err(Unavailable::Unreachable),
            Err(_) => Err(Unavailable::TooLate),
        }
    }
}

fn hash(password: &[u8]) -> Result<String, EmbeddedProblem> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(argon2::password_hash::Error::from)?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Ok(hasher.hash_password_with_salt(password, &random::<16>()?)?.to_string())
}
