//! The embedded directory: users with argon2id passwords and tokens in one file, for the demo, small sites and tests.
//!
//! Everything it holds is in [`Bindings`] as well, from the start and after each change; the file is only read again for
//! a password. Changes and password checks take milliseconds of work, so the changing methods belong on blocking threads.

mod passwords;
mod records;
mod registry;
mod store;

use self::passwords::Passwords;
use self::records::{Record, Reference, TokenRecord, UserRecord};
use self::store::{Change, Changing, NAMES, Store, TOKENS, USERS};
use super::registry::NotChanged;
use super::seal::{KeyFileProblem, Keyring, NONCE, Refused};
use super::{Directory, Found, PasswordAnswer, ServerStatus, Unavailable};
use crate::clock::{Mono, Wall, now};
use crate::identity::{ContractId, EntryId, UserName};
use crate::otp::{ParameterProblem, Parameters, check_secret};
use crate::secret::{PASSWORD_MAX, Secret};
use crate::state::Bindings;
use crate::tokens::{Account, AccountStanding, KeptUser, LoginCode, Role, State, TOKENS_MAX, Tokens, User};
use futures_util::future::BoxFuture;
use redb::ReadableTable;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the table of users is confirmed ([`Embedded::keep_confirmed`]).
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long an unconfirmed table may be believed: for [`crate::state::Scope::Complete`].
pub const MAX_STALE: Duration = Duration::from_secs(60);
/// The file in the folder that holds users and tokens.
pub const STORE_FILE: &str = "directory.redb";
/// The file beside it with the key that seals the tokens' secrets.
pub const KEY_FILE: &str = "seal.key";

/// The directory in one file. One process at a time can have it open.
pub struct Embedded {
    store: Store,
    keyring: Keyring,
    key_file: PathBuf,
    passwords: Passwords,
    bindings: Arc<Bindings>,
    /// Held from the begin of a change until memory shows it, so that memory never goes back.
    changing: Mutex<()>,
}

/// A user to be added.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// The name; compared without case and surplus blanks.
    pub name: String,
    /// Further names.
    pub other_names: Vec<String>,
    /// The contract.
    pub contract: Option<ContractId>,
    /// The role within it.
    pub role: Role,
    /// The choice for login.
    pub login_code: Option<LoginCode>,
    /// Where mail goes.
    pub mail: Option<String>,
}

/// A token to be added.
#[derive(Debug)]
pub struct NewToken {
    /// Its serial number, unlike any other.
    pub serial: String,
    /// Its key.
    pub secret: Secret,
    /// How it makes its codes.
    pub parameters: Parameters,
    /// Not usable before this time.
    pub begins: Option<Wall>,
    /// Not usable from this time on.
    pub ends: Option<Wall>,
}

/// What a user's account or a token is switched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It may be used.
    On,
    /// It may not.
    Off,
}

/// Why the embedded directory cannot be opened, or refuses a change.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedProblem {
    /// A file cannot be created or written.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The store cannot be read or written, is damaged, or another process has it open.
    #[error("{file}: {source}")]
    Store {
        /// The file.
        file: PathBuf,
        /// What the store says.
        source: Box<redb::Error>,
    },
    /// A record of the store is not of the form that this version writes.
    #[error("{0} holds a record that cannot be read; it was written by another version or is damaged")]
    Record(PathBuf),
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileProblem),
    /// There are users and no key file.
    #[error("{0} is missing, and without it no token in the store can be used; restore it from the backup")]
    KeyMissing(PathBuf),
    /// A secret cannot be sealed.
    #[error(transparent)]
    Seal(#[from] Refused),
    /// The system gives no random octets.
    #[error("the system gives no random octets")]
    Random,
    /// A name or serial number of impossible form.
    #[error("a name or serial number has 1 to 253 octets and no control characters")]
    Name,
    /// The password has an impossible length.
    #[error("a password has 1 to {PASSWORD_MAX} octets")]
    Password,
    /// A password cannot be hashed.
    #[error("the password cannot be hashed: {0}")]
    Hash(#[from] argon2::password_hash::Error),
    /// The key of a token is too short or too long.
    #[error(transparent)]
    Token(#[from] ParameterProblem),
    /// Somebody has the name already.
    #[error("the name is taken")]
    NameTaken,
    /// A token has the serial number already.
    #[error("a token with this serial number exists")]
    SerialTaken,
    /// The user has as many tokens as a user may have.
    #[error("the user has {TOKENS_MAX} tokens; remove one first")]
    TokensTooMany,
    /// An act is refused.
    #[error(transparent)]
    Act(#[from] NotChanged),
    /// There is no such user.
    #[error("there is no such user")]
    UserUnknown,
    /// There is no such token.
    #[error("there is no such token")]
    TokenUnknown,
}

impl Embedded {
    /// Opens the directory in `folder`, or makes an empty one with a new key; fills and confirms `bindings`.
    /// `hashes_at_once` bounds how many passwords are checked in parallel: each takes 19 MiB and about 11 ms of a core.
    ///
    /// # Errors
    /// Files that cannot be used, another process, a missing key.
    pub fn open(
        folder: &Path,
        bindings: Arc<Bindings>,
        hashes_at_once: usize,
    ) -> Result<Embedded, EmbeddedProblem> {
        let file = folder.join(STORE_FILE);
        let key_file = folder.join(KEY_FILE);
        if !key_file.exists() {
            if file.exists() {
                return Err(EmbeddedProblem::KeyMissing(key_file));
            }
            write_key(folder).map_err(|source| EmbeddedProblem::File { file: key_file.clone(), source })?;
        }
        let keyring = Keyring::load(&[&key_file])?;
        let store = Store::open(&file)?;
        let passwords = Passwords::new(hashes_at_once)?;
        let embedded = Embedded { store, keyring, key_file, passwords, bindings, changing: Mutex::new(()) };
        embedded.show_all()?;
        embedded.show_contracts()?;
        embedded.bindings.confirm(now().mono);
        Ok(embedded)
    }

    /// Confirms the table of users again and again, as long as the store can be read. Never ends: spawn it.
    pub async fn keep_confirmed(self: Arc<Embedded>) {
        let mut beat = tokio::time::interval(HEARTBEAT);
        loop {
            beat.tick().await;
            self.confirm();
        }
    }

    /// Confirms the table of users at this moment, if the store can be read.
    pub fn confirm(&self) {
        if self.store.trouble().is_none() {
            self.bindings.confirm(now().mono);
        }
    }

    /// Reads the key file again: its first key seals from now on.
    ///
    /// # Errors
    /// A key file or a store that cannot be read; the keys stay as they were.
    pub fn reload_keys(&self) -> Result<(), EmbeddedProblem> {
        self.keyring.take_over(&Keyring::load(&[&self.key_file])?);
        self.show_all()
    }

    /// Adds a user.
    ///
    /// # Errors
    /// A name that is taken or of impossible form, an empty or overlong password, a store that cannot be written.
    pub fn add_user(&self, user: NewUser, password: &Secret) -> Result<EntryId, EmbeddedProblem> {
        let password = self.passwords.hash(password)?;
        let id = new_id()?;
        let record = UserRecord::new(id, user, password);
        let names: Vec<String> = record.names().map(folded).collect::<Result<_, _>>()?;
        self.change(|tables| {
            for name in &names {
                let before = tables.names.insert(name.as_str(), id.octets())?.map(|taken| taken.value());
                if before.is_some_and(|taken| taken != id.octets()) {
                    return Err(Change::Refused(EmbeddedProblem::NameTaken));
                }
            }
            tables.put_user(&record)
        })?;
        Ok(id)
    }

    /// Sets a user's password.
    ///
    /// # Errors
    /// No such user, an impossible password, a store that cannot be written.
    pub fn set_password(&self, name: &str, password: &Secret) -> Result<(), EmbeddedProblem> {
        let hash = self.passwords.hash(password)?;
        self.change_user(name, |record| record.password = hash)
    }

    /// Switches a user's account on or off.
    ///
    /// # Errors
    /// No such user, a store that cannot be written.
    pub fn switch_user(&self, name: &str, to: Switch) -> Result<(), EmbeddedProblem> {
        self.change_user(name, |record| record.disabled = to == Switch::Off)
    }

    /// Removes a user with all their tokens.
    ///
    /// # Errors
    /// No such user, a store that cannot be written.
    pub fn remove_user(&self, name: &str) -> Result<(), EmbeddedProblem> {
        let key = folded(name)?;
        self.change(|tables| {
            let record = tables.user(&key)?;
            tables.remove_user(&record)
        })
    }

    /// Gives a user a token; its secret is sealed before it is written.
    ///
    /// # Errors
    /// No such user, a serial number that is taken, a secret of impossible length, too many tokens, a store that cannot
    /// be written.
    pub fn add_token(&self, user: &str, token: NewToken) -> Result<EntryId, EmbeddedProblem> {
        check_secret(token.secret.expose())?;
        let key = folded(user)?;
        folded(&token.serial)?;
        let id = new_id()?;
        let sealed = self.keyring.seal(&token.serial, &token.secret, random::<NONCE>()?)?;
        self.change(|tables| {
            let mut owner = tables.user(&key)?;
            if owner.tokens.len() >= TOKENS_MAX {
                return Err(Change::Refused(EmbeddedProblem::TokensTooMany));
            }
            if tables.serials.insert(token.serial.as_str(), id.octets())?.is_some() {
                return Err(Change::Refused(EmbeddedProblem::SerialTaken));
            }
            tables.put_token(id, &TokenRecord::new(owner.id, &token, sealed.clone()))?;
            owner.tokens.push(id);
            tables.put_user(&owner)
        })?;
        Ok(id)
    }

    /// Suspends a token (lost phone), or lets it be used again.
    ///
    /// # Errors
    /// No such token, a store that cannot be written.
    pub fn switch_token(&self, serial: &str, to: Switch) -> Result<(), EmbeddedProblem> {
        self.change(|tables| {
            let (id, mut token) = tables.token(serial)?;
            token.set_state(if to == Switch::Off { State::Suspended } else { State::Active });
            tables.put_token(id, &token)?;
            tables.touch(&token)
        })
    }

    /// Removes a token.
    ///
    /// # Errors
    /// No such token, a store that cannot be written.
    pub fn remove_token(&self, serial: &str) -> Result<(), EmbeddedProblem> {
        self.change(|tables| {
            let (id, token) = tables.token(serial)?;
            tables.tokens.remove(id.octets())?;
            tables.serials.remove(serial)?;
            for owner in token.owners {
                let mut owner = tables.user_by_id(owner)?;
                owner.forget(id);
                tables.put_user(&owner)?;
            }
            Ok(())
        })
    }

    /// Everybody, with their tokens, by name.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn list(&self) -> Result<Vec<User>, EmbeddedProblem> {
        let mut users: Vec<User> =
            self.all_users()?.iter().map(|record| self.assemble(record)).collect::<Result<_, _>>()?;
        users.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(users)
    }

    fn show_all(&self) -> Result<(), EmbeddedProblem> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.all_users()?.iter().try_for_each(|record| self.show(record))
    }

    fn change_user(&self, name: &str, change: impl FnOnce(&mut UserRecord)) -> Result<(), EmbeddedProblem> {
        let key = folded(name)?;
        self.change(|tables| {
            let mut record = tables.user(&key)?;
            change(&mut record);
            tables.put_user(&record)
        })
    }

    /// One change: on disk whole or not at all, then in memory.
    fn change(
        &self,
        work: impl FnOnce(&mut Changing<'_>) -> Result<(), Change>,
    ) -> Result<(), EmbeddedProblem> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, gone) = self.store.change(work)?;
        for record in &changed {
            self.show(record)?;
        }
        gone.into_iter().for_each(|id| self.bindings.remove(id));
        self.bindings.confirm(now().mono);
        Ok(())
    }

    /// Puts a user as recorded into the table that the pipeline reads.
    fn show(&self, record: &UserRecord) -> Result<(), EmbeddedProblem> {
        let names: Vec<&str> = record.names().collect();
        self.bindings.put(&self.assemble(record)?, &names, now().mono);
        Ok(())
    }

    fn assemble(&self, record: &UserRecord) -> Result<User, EmbeddedProblem> {
        let tokens = self.store.read(|store| {
            let table = store.open_table(TOKENS)?;
            let mut tokens = Vec::with_capacity(record.tokens.len());
            let own = record.tokens.iter().map(|id| (*id, Reference::Own));
            for (id, from) in own.chain(record.pending.map(|id| (id, Reference::Pending))) {
                if let Some(stored) = table.get(id.octets())? {
                    tokens.extend(TokenRecord::parse(stored.value())?.token(id, from, &self.keyring));
                }
            }
            Ok(tokens)
        })?;
        Ok(User {
            id: record.id,
            name: record.name.as_str().into(),
            dn: record.name.as_str().into(),
            contract: record.contract.as_deref().map(ContractId::new),
            role: record.role(),
            login_code: record.login_code(),
            account: Account { standing: standing(record), ..Account::default() },
            tokens: Tokens::These(tokens),
        })
    }

    fn all_users(&self) -> Result<Vec<UserRecord>, EmbeddedProblem> {
        self.store.read(|store| {
            let mut users = Vec::new();
            for stored in store.open_table(USERS)?.iter()? {
                users.push(UserRecord::parse(stored?.1.value())?);
            }
            Ok(users)
        })
    }

    fn user_by_id(&self, id: EntryId) -> Result<Option<UserRecord>, EmbeddedProblem> {
        self.store.read(|store| {
            let stored = store.open_table(USERS)?.get(id.octets())?;
            stored.map(|stored| UserRecord::parse(stored.value())).transpose()
        })
    }

    fn find_now(&self, name: &UserName) -> Result<Found, EmbeddedProblem> {
        let Some(key) = name.text().and_then(|name| folded(name).ok()) else { return Ok(Found::Nobody) };
        let id =
            self.store.read(|store| Ok(store.open_table(NAMES)?.get(key.as_str())?.map(|id| id.value())))?;
        let Some(record) = id.map(|id| self.user_by_id(EntryId::new(id))).transpose()?.flatten() else {
            return Ok(Found::Nobody);
        };
        Ok(Found::One(KeptUser::new(&self.assemble(&record)?)))
    }

    async fn check(
        &self,
        user: EntryId,
        password: Secret,
        deadline: Mono,
    ) -> Result<PasswordAnswer, Unavailable> {
        // A user who is gone costs as much as one who is not.
        let record = self.user_by_id(user).map_err(|_| Unavailable::Unreachable)?;
        let known = record.as_ref().map(|record| record.password.clone());
        let right = self.passwords.check(password, known, deadline.since(now().mono)).await?;
        Ok(match record {
            Some(record) if right && standing(&record) == AccountStanding::Disabled => {
                PasswordAnswer::Disabled
            }
            Some(_) if right => PasswordAnswer::Right,
            _ => PasswordAnswer::Wrong,
        })
    }
}

impl Directory for Embedded {
    fn find<'a>(&'a self, name: &'a UserName, _: Mono) -> BoxFuture<'a, Result<Found, Unavailable>> {
        Box::pin(async move { self.find_now(name).map_err(|_| Unavailable::Unreachable) })
    }

    fn check_password<'a>(
        &'a self,
        user: &'a KeptUser,
        password: Secret,
        deadline: Mono,
    ) -> BoxFuture<'a, Result<PasswordAnswer, Unavailable>> {
        Box::pin(self.check(user.id(), password, deadline))
    }

    fn servers(&self) -> Vec<ServerStatus> {
        let trouble = self.store.trouble();
        vec![ServerStatus { server: self.store.file().display().to_string(), up: trouble.is_none(), trouble }]
    }
}

fn standing(record: &UserRecord) -> AccountStanding {
    if record.disabled { AccountStanding::Disabled } else { AccountStanding::Enabled }
}

/// A name in the form it is compared in, as [`Bindings`] compares names: without case and surplus blanks.
fn folded(name: &str) -> Result<String, EmbeddedProblem> {
    let words: Vec<String> =
        name.split_whitespace().map(|word| word.chars().flat_map(char::to_lowercase).collect()).collect();
    let fits = name.len() <= UserName::MAX && !words.is_empty() && !name.chars().any(char::is_control);
    if fits { Ok(words.join(" ")) } else { Err(EmbeddedProblem::Name) }
}

fn random<const N: usize>() -> Result<[u8; N], EmbeddedProblem> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|_| EmbeddedProblem::Random)?;
    Ok(octets)
}

/// A random UUID (RFC 9562 §5.4).
fn new_id() -> Result<EntryId, EmbeddedProblem> {
    let octets = u128::from_be_bytes(random()?);
    let version_and_variant = (octets & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
    Ok(EntryId::new(version_and_variant.to_be_bytes()))
}

/// Writes a new key so that after a crash there is a whole one or none.
fn write_key(folder: &Path) -> io::Result<()> {
    let key = super::seal::new_key()?;
    let unfinished = folder.join(format!("{KEY_FILE}.new"));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(Keyring::line("embedded", &key).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, folder.join(KEY_FILE))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
