//! The file itself: tables, whole changes, consistent reading.

use super::EmbeddedProblem;
use super::folded;
use super::records::{Record, TokenRecord, UserRecord};
use crate::directory::tables::{self, NotOpened};
use crate::identity::EntryId;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::{Path, PathBuf};

/// Users and tokens by identity, and who has a name or a serial number.
pub(super) const USERS: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("users-1");
pub(super) const TOKENS: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("tokens-1");
pub(super) const NAMES: TableDefinition<&str, [u8; 16]> = TableDefinition::new("names-1");
/// Enabled contracts by their folded id.
pub(super) const CONTRACTS: TableDefinition<&str, &[u8]> = TableDefinition::new("contracts-1");
pub(super) const SERIALS: TableDefinition<&str, [u8; 16]> = TableDefinition::new("serials-1");

/// The open file.
pub(super) struct Store {
    file: PathBuf,
    database: Database,
}

impl Store {
    /// Opens the file, or makes an empty one that only its owner can read.
    pub(super) fn open(file: &Path) -> Result<Store, EmbeddedProblem> {
        let database = tables::open(file).map_err(|error| match error {
            NotOpened::File(source) => EmbeddedProblem::File { file: file.into(), source },
            NotOpened::Tables(error) => Change::from(error).problem(file),
        })?;
        let store = Store { file: file.into(), database };
        // An empty change makes the tables, so that reading never finds them missing.
        store.change(|_| Ok(()))?;
        Ok(store)
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Why the file cannot be read now, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.database.begin_read().err().map(|error| error.to_string())
    }

    /// One change, on disk whole or not at all; the users it changed and those it removed.
    pub(super) fn change(
        &self,
        work: impl FnOnce(&mut Changing<'_>) -> Result<(), Change>,
    ) -> Result<(Vec<UserRecord>, Vec<EntryId>), EmbeddedProblem> {
        self.write(work).map_err(|change| change.problem(&self.file))
    }

    /// Reads as of one moment.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Change>,
    ) -> Result<T, EmbeddedProblem> {
        let read =
            self.database.begin_read().map_err(Change::from).and_then(|transaction| work(&transaction));
        read.map_err(|change| change.problem(&self.file))
    }

    fn write(
        &self,
        work: impl FnOnce(&mut Changing<'_>) -> Result<(), Change>,
    ) -> Result<(Vec<UserRecord>, Vec<EntryId>), Change> {
        let transaction = self.database.begin_write()?;
        let outcome = {
            let mut tables = Changing {
                users: transaction.open_table(USERS)?,
                tokens: transaction.open_table(TOKENS)?,
                names: transaction.open_table(NAMES)?,
                serials: transaction.open_table(SERIALS)?,
                contracts: transaction.open_table(CONTRACTS)?,
                changed: Vec::new(),
                gone: Vec::new(),
            };
            // Dropping the transaction on an error undoes it.
            work(&mut tables)?;
            (tables.changed, tables.gone)
        };
        transaction.commit()?;
        Ok(outcome)
    }
}

/// The tables inside one change.
pub(super) struct Changing<'t> {
    pub(super) users: redb::Table<'t, [u8; 16], &'static [u8]>,
    pub(super) tokens: redb::Table<'t, [u8; 16], &'static [u8]>,
    pub(super) names: redb::Table<'t, &'static str, [u8; 16]>,
    pub(super) serials: redb::Table<'t, &'static str, [u8; 16]>,
    pub(super) contracts: redb::Table<'t, &'static str, &'static [u8]>,
    changed: Vec<UserRecord>,
    pub(super) gone: Vec<EntryId>,
}

impl Changing<'_> {
    pub(super) fn user(&self, folded: &str) -> Result<UserRecord, Change> {
        let id = self.names.get(folded)?.ok_or(Change::Refused(EmbeddedProblem::UserUnknown))?.value();
        self.user_by_id(EntryId::new(id))
    }

    /// Takes a user away, and the tokens that are nobody else's.
    pub(super) fn remove_user(&mut self, user: &UserRecord) -> Result<(), Change> {
        for name in user.names().filter_map(|name| folded(name).ok()) {
            self.names.remove(name.as_str())?;
        }
        for (id, mut token) in self.tokens_of(user)? {
            token.owners.retain(|owner| *owner != user.id);
            if token.owners.is_empty() {
                self.tokens.remove(id.octets())?;
                self.serials.remove(token.serial.as_str())?;
            } else {
                self.put_token(id, &token)?;
            }
        }
        self.users.remove(user.id.octets())?;
        self.gone.push(user.id);
        Ok(())
    }

    pub(super) fn user_by_id(&self, id: EntryId) -> Result<UserRecord, Change> {
        let stored = self.users.get(id.octets())?.ok_or(Change::Refused(EmbeddedProblem::UserUnknown))?;
        UserRecord::parse(stored.value())
    }

    pub(super) fn token(&self, serial: &str) -> Result<(EntryId, TokenRecord), Change> {
        let unknown = || Change::Refused(EmbeddedProblem::TokenUnknown);
        let id = EntryId::new(self.serials.get(serial)?.ok_or_else(unknown)?.value());
        let stored = self.tokens.get(id.octets())?.ok_or_else(unknown)?;
        Ok((id, TokenRecord::parse(stored.value())?))
    }

    pub(super) fn token_by_id(&self, id: EntryId) -> Result<TokenRecord, Change> {
        let unknown = || Change::Refused(EmbeddedProblem::TokenUnknown);
        TokenRecord::parse(self.tokens.get(id.octets())?.ok_or_else(unknown)?.value())
    }

    pub(super) fn tokens_of(&self, user: &UserRecord) -> Result<Vec<(EntryId, TokenRecord)>, Change> {
        let mut tokens = Vec::new();
        for id in &user.tokens {
            if let Some(stored) = self.tokens.get(id.octets())? {
                tokens.push((*id, TokenRecord::parse(stored.value())?));
            }
        }
        Ok(tokens)
    }

    /// Has everybody whom a token belongs to shown anew.
    pub(super) fn touch(&mut self, token: &TokenRecord) -> Result<(), Change> {
        for owner in &token.owners {
            if let Some(stored) = self.users.get(owner.octets())? {
                let record = UserRecord::parse(stored.value())?;
                self.changed.push(record);
            }
        }
        Ok(())
    }

    pub(super) fn put_user(&mut self, record: &UserRecord) -> Result<(), Change> {
        self.users.insert(record.id.octets(), record.text()?.as_slice())?;
        self.changed.push(record.clone());
        Ok(())
    }

    pub(super) fn put_token(&mut self, id: EntryId, record: &TokenRecord) -> Result<(), Change> {
        self.tokens.insert(id.octets(), record.text()?.as_slice())?;
        Ok(())
    }
}

/// Why a change came to nothing.
pub(super) enum Change {
    Refused(EmbeddedProblem),
    Record,
    Store(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Change {
    fn from(error: E) -> Change {
        Change::Store(error.into())
    }
}

impl Change {
    fn problem(self, file: &Path) -> EmbeddedProblem {
        match self {
            Change::Refused(problem) => problem,
            Change::Record => EmbeddedProblem::Record(file.into()),
            Change::Store(error) => EmbeddedProblem::Store { file: file.into(), source: Box::new(error) },
        }
    }
}
