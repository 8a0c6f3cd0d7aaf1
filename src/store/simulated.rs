//! A disk in memory that breaks on demand: chosen operations fail, and a power cut loses or reorders what was not
//! synced, the same way for the same seed.

use super::disk::{Disk, File, Operation};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is written is lost or kept in pieces of this size.
const SECTOR: usize = 512;

/// The disk; clones share it.
#[derive(Clone, Default)]
pub struct Simulated(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    files: Vec<Content>,
    /// What a process sees.
    names: BTreeMap<String, usize>,
    /// What is on disk.
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the last sync of the directory.
    pending: Vec<Change>,
    faults: Vec<(Operation, Fault)>,
    /// Operations until the process is dead.
    life: Option<u64>,
    operations: u64,
    locked: bool,
}

#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that were written since they were last synced.
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
enum Change {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

/// What happens instead of an operation, until it is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error and does nothing.
    Error(io::ErrorKind),
    /// A write puts half of its octets and fails with this error; a sync loses what it should have saved, as Linux
    /// does: later syncs succeed and do not bring it back.
    Half(io::ErrorKind),
}

impl Simulated {
    /// An empty disk.
    pub fn new() -> Simulated {
        Simulated::default()
    }

    /// From now on this operation fails so.
    pub fn break_down(&self, operation: Operation, fault: Fault) {
        self.state().faults.push((operation, fault));
    }

    /// Everything works again.
    pub fn repair(&self) {
        self.state().faults.clear();
    }

    /// The process dies after this many more operations: none has any effect afterwards.
    pub fn die_after(&self, operations: u64) {
        self.state().life = Some(operations);
    }

    /// How many operations were asked for so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// What a new process finds after the old one was killed: everything that was written.
    pub fn killed(&self) -> Simulated {
        let mut state = self.state().clone();
        (state.locked, state.life) = (false, None);
        state.faults.clear();
        Simulated(Arc::new(Mutex::new(state)))
    }

    /// What a new process finds after a power cut: of what was not synced, some sectors and some names, chosen by the
    /// seed.
    pub fn power_cut(&self, seed: u64) -> Simulated {
        let mut dice = Dice(seed ^ 0x9e37_79b9_7f4a_7c15);
        let old = self.state().clone();
        let mut names = old.durable_names;
        for change in old.pending {
            if dice.throw() {
                apply(&mut names, change);
            }
        }
        let mut files = old.files;
        for file in &mut files {
            file.settle(|| dice.throw());
            file.seen = file.durable.clone();
        }
        Simulated(Arc::new(Mutex::new(State {
            files,
            durable_names: names.clone(),
            names,
            ..State::default()
        })))
    }

    /// Changes the content of a file behind everybody's back.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let Some(&at) = state.names.get(name) else { return };
        if let Some(file) = state.files.get_mut(at) {
            change(&mut file.seen);
            file.durable = file.seen.clone();
        }
    }

    /// Removes a file behind everybody's back.
    pub fn lose(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if this operation is to happen; otherwise how it fails.
    fn begin(&self, operation: Operation) -> Result<MutexGuard<'_, State>, Fault> {
        let mut state = self.state();
        state.operations = state.operations.saturating_add(1);
        if let Some(life) = &mut state.life {
            match life.checked_sub(1) {
                Some(rest) => *life = rest,
                None => return Err(Fault::Error(io::ErrorKind::Interrupted)),
            }
        }
        match state.faults.iter().find(|(broken, _)| *broken == operation) {
            Some((_, fault)) => Err(*fault),
            None => Ok(state),
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let at = *self.state().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Open { disk: self.clone(), at, name: name.to_owned() }))
    }
}

impl Content {
    fn write(&mut self, start: usize, bytes: &[u8]) -> io::Result<()> {
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        if let Some(place) = self.seen.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
        self.dirty.extend(start / SECTOR..=end / SECTOR);
        Ok(())
    }

    /// Puts dirty sectors on the disk, those that `choose` says.
    fn settle(&mut self, mut choose: impl FnMut() -> bool) {
        if self.durable.len() != self.seen.len() && choose() {
            self.durable.resize(self.seen.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector.saturating_mul(SECTOR);
            let end = start.saturating_add(SECTOR).min(self.seen.len()).min(self.durable.len());
            if let (Some(place), Some(seen)) = (self.durable.get_mut(start..end), self.seen.get(start..end))
                && choose()
            {
                place.copy_from_slice(seen);
            }
        }
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: Change) {
    match change {
        Change::Create(name, at) => {
            names.insert(name, at);
        }
        Change::Rename(from, to) => {
            if let Some(at) = names.remove(&from) {
                names.insert(to, at);
            }
        }
        Change::Remove(name) => {
            names.remove(&name);
        }
    }
}

impl State {
    fn change(&mut self, change: Change) {
        apply(&mut self.names, change.clone());
        self.pending.push(change);
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        match fault {
            Fault::Error(kind) | Fault::Half(kind) => kind.into(),
        }
    }
}

impl Disk for Simulated {
    fn lock(&self) -> io::Result<()> {
        self.begin(Operation::Lock)?.locked = true;
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.begin(Operation::List)?.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        let state = self.begin(Operation::Read)?;
        let at = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(state.files.get(at).map(|file| file.seen.clone()).unwrap_or_default())))
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn File>> {
        let mut state = self.begin(Operation::Create)?;
        let at = state.files.len();
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        state.files.push(Content { seen: vec![0; size], ..Content::default() });
        state.change(Change::Create(name.to_owned(), at));
        drop(state);
        self.open(name)
    }

    fn modify(&self, name: &str) -> io::Result<Box<dyn File>> {
        drop(self.begin(Operation::Create)?);
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.begin(Operation::Rename)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.begin(Operation::Remove)?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.begin(Operation::SyncDirectory)?;
        state.pending.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }
}

struct Open {
    disk: Simulated,
    at: usize,
    name: String,
}

impl Open {
    fn put(&self, state: &mut State, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        state.files.get_mut(self.at).ok_or(io::ErrorKind::NotFound)?.write(start, bytes)
    }
}

impl File for Open {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.disk.begin(Operation::Write) {
            Ok(mut state) => self.put(&mut state, offset, bytes),
            Err(fault @ Fault::Half(_)) => {
                let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                self.put(&mut self.disk.state(), offset, half)?;
                Err(fault.into())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let result = self.disk.begin(Operation::Sync);
        let (fault, mut state) = match result {
            Ok(state) => (None, state),
            Err(fault) => (Some(fault), self.disk.state()),
        };
        if let Some(file) = state.files.get_mut(self.at) {
            match fault {
                None => file.settle(|| true),
                Some(Fault::Half(_)) => file.dirty.clear(),
                Some(Fault::Error(_)) => {}
            }
        }
        fault.map_or(Ok(()), |fault| Err(fault.into()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.begin(Operation::Write)?;
        if let Some(file) = state.files.get_mut(self.at) {
            file.seen.resize(usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?, 0);
        }
        Ok(())
    }

    fn is_present(&self) -> io::Result<bool> {
        let state = self.disk.begin(Operation::Find)?;
        Ok(state.names.get(&self.name) == Some(&self.at))
    }
}

/// A small generator of pseudo-random bits (SplitMix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) & 1 == 1
    }
}
