//! The requests that wait for a second person, in a file of the state directory: they survive a restart, and hold
//! nothing secret.

use super::caller::Asker;
use super::deed::Deed;
use super::protocol::RequestShown;
use super::refusal::Refuse;
use super::time_text;
use crate::clock::Wall;
use crate::directory::tables;
use crate::policy::four_eyes::{self, Answer, Fate};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file in the state directory.
pub const FILE: &str = "requests.redb";

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("requests-1");

/// The most requests that are kept; past it the oldest that are over go.
const KEPT_MAX: usize = 10_000;

/// The open file.
pub struct Requests {
    database: Database,
}

/// One request as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Kept {
    deed: Deed,
    digest: String,
    asked_by: String,
    /// Nobody in a file from before it was kept; such a request is asked for anew.
    #[serde(default)]
    asker: Option<Asker>,
    person: String,
    asked: u64,
    until: u64,
    fate: String,
    decided_by: Option<String>,
}

impl Requests {
    /// Opens the file, or makes an empty one that only its owner can read.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn open(folder: &Path) -> Result<Requests, Refuse> {
        let database = tables::open(&folder.join(FILE)).map_err(unusable)?;
        let requests = Requests { database };
        // An empty change makes the table, so that reading never finds it missing.
        requests.write(|_| Ok(()))?;
        Ok(requests)
    }

    /// Keeps a request; gives its id.
    ///
    /// # Errors
    /// A file that cannot be written, or too many requests that wait.
    pub fn ask(
        &self,
        deed: &Deed,
        asked_by: &str,
        asker: Asker,
        now: Wall,
        until: Wall,
    ) -> Result<RequestShown, Refuse> {
        let kept = Kept {
            deed: deed.clone(),
            digest: deed.digest(),
            asked_by: asked_by.to_owned(),
            person: asker.person.clone(),
            asker: Some(asker),
            asked: now.seconds(),
            until: until.seconds(),
            fate: Fate::Asked.text().to_owned(),
            decided_by: None,
        };
        self.write(|table| {
            make_room(table, now)?;
            let last = table.last().map_err(unusable)?.map_or(0, |(id, _)| id.value());
            let id = last.saturating_add(1);
            put(table, id, &kept)?;
            Ok(kept.shown(id, now))
        })
    }

    /// All requests, oldest first.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn list(&self, now: Wall) -> Result<Vec<RequestShown>, Refuse> {
        let reading = self.database.begin_read().map_err(unusable)?;
        let table = reading.open_table(TABLE).map_err(unusable)?;
        let mut requests = Vec::new();
        for stored in table.iter().map_err(unusable)? {
            let (id, text) = stored.map_err(unusable)?;
            requests.push(parse(text.value())?.shown(id.value(), now));
        }
        Ok(requests)
    }

    /// A second person answers. Gives the request as it is then, the deed that was asked for and no other, and who asked.
    ///
    /// # Errors
    /// No such request, an answer that does not count, a file that cannot be written.
    pub fn decide(
        &self,
        id: &str,
        answer: Answer,
        decided_by: &str,
        person: &str,
        now: Wall,
    ) -> Result<(RequestShown, Deed, Option<Asker>), Refuse> {
        self.write(|table| {
            let (number, mut kept, fate) = judged(table, id, answer, person, now)?;
            kept.fate = fate.text().to_owned();
            kept.decided_by = Some(decided_by.to_owned());
            put(table, number, &kept)?;
            Ok((kept.shown(number, now), kept.deed, kept.asker))
        })
    }

    /// The same without giving the answer: the request as it is.
    ///
    /// # Errors
    /// Those of [`Requests::decide`].
    pub fn would_decide(
        &self,
        id: &str,
        answer: Answer,
        person: &str,
        now: Wall,
    ) -> Result<(RequestShown, Deed, Option<Asker>), Refuse> {
        let reading = self.database.begin_read().map_err(unusable)?;
        let table = reading.open_table(TABLE).map_err(unusable)?;
        let (number, kept, _) = judged(&table, id, answer, person, now)?;
        Ok((kept.shown(number, now), kept.deed, kept.asker))
    }

    /// The act could not be carried out after its approval: it may be approved again.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn reopen(&self, id: &str) -> Result<(), Refuse> {
        let Some(number) = number(id) else { return Ok(()) };
        self.write(|table| {
            let stored = table.get(number).map_err(unusable)?.map(|stored| parse(stored.value()));
            let Some(kept) = stored.transpose()? else { return Ok(()) };
            put(table, number, &Kept { fate: Fate::Asked.text().to_owned(), decided_by: None, ..kept })
        })
    }

    fn write<T>(&self, work: impl FnOnce(&mut Table<'_>) -> Result<T, Refuse>) -> Result<T, Refuse> {
        let writing = self.database.begin_write().map_err(unusable)?;
        let worked = {
            let mut table = writing.open_table(TABLE).map_err(unusable)?;
            // Dropping the transaction on an error undoes it.
            work(&mut table)?
        };
        writing.commit().map_err(unusable)?;
        Ok(worked)
    }
}

type Table<'t> = redb::Table<'t, u64, &'static [u8]>;

impl Kept {
    fn shown(&self, id: u64, now: Wall) -> RequestShown {
        let expired = self.fate == Fate::Asked.text() && self.until <= now.seconds();
        RequestShown {
            id: format!("R{id}"),
            act: self.deed.act().text().to_owned(),
            what: self.deed.to_string(),
            digest: self.digest.clone(),
            asked_by: self.asked_by.clone(),
            asked: time_text(Wall::from_seconds(self.asked)),
            until: time_text(Wall::from_seconds(self.until)),
            state: if expired { "expired".to_owned() } else { self.fate.clone() },
            decided_by: self.decided_by.clone(),
        }
    }
}

/// A request, and what becomes of it by an answer.
fn judged(
    table: &impl redb::ReadableTable<u64, &'static [u8]>,
    id: &str,
    answer: Answer,
    person: &str,
    now: Wall,
) -> Result<(u64, Kept, Fate), Refuse> {
    let unknown = || Refuse::RequestUnknown(id.to_owned());
    let number = number(id).ok_or_else(unknown)?;
    let stored = table.get(number).map_err(unusable)?;
    let kept = parse(stored.ok_or_else(unknown)?.value())?;
    if kept.deed.digest() != kept.digest {
        return Err(Refuse::RequestTable("a request is not the one that was asked for".into()));
    }
    let fate = Fate::parse(&kept.fate).ok_or_else(unknown)?;
    let until = Wall::from_seconds(kept.until);
    let decided = four_eyes::decide(fate, &kept.person, until, person, answer, now)?;
    Ok((number, kept, decided))
}

fn number(id: &str) -> Option<u64> {
    let digits = id.strip_prefix('R')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn make_room(table: &mut Table<'_>, now: Wall) -> Result<(), Refuse> {
    let mut over = Vec::new();
    let mut count = 0_usize;
    for stored in table.iter().map_err(unusable)? {
        let (id, text) = stored.map_err(unusable)?;
        count = count.saturating_add(1);
        let kept = parse(text.value())?;
        if kept.fate != Fate::Asked.text() || kept.until <= now.seconds() {
            over.push(id.value());
        }
    }
    let surplus = count.saturating_add(1).saturating_sub(KEPT_MAX);
    if surplus > over.len() {
        return Err(Refuse::RequestsTooMany);
    }
    for id in over.into_iter().take(surplus) {
        table.remove(id).map_err(unusable)?;
    }
    Ok(())
}

fn put(table: &mut Table<'_>, id: u64, kept: &Kept) -> Result<(), Refuse> {
    let text = serde_json::to_vec(kept).map_err(unusable)?;
    table.insert(id, text.as_slice()).map_err(unusable)?;
    Ok(())
}

fn parse(text: &[u8]) -> Result<Kept, Refuse> {
    serde_json::from_slice(text).map_err(unusable)
}

fn unusable(error: impl std::fmt::Display) -> Refuse {
    Refuse::RequestTable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::caller::{Actor, Caller, Claim, Own};
    use crate::policy::ActorRole;
    use crate::policy::four_eyes::NoDecision;

    fn is_over(why: &Refuse) -> bool {
        matches!(why, Refuse::Request(NoDecision::Decided | NoDecision::Expired))
    }

    fn tanaka() -> Asker {
        let caller = Caller {
            name: "root".into(),
            evidence: "uid:0".into(),
            own: Own::Ours,
            credential: String::new(),
        };
        let claim = Claim { role: ActorRole::Counter, name: "tanaka".into(), named: true };
        let asker = Asker::of(&Actor::of_bank(&claim, &caller));
        assert_eq!((asker.wanted.as_str(), asker.person.as_str()), ("counter:tanaka", "bank:tanaka"));
        asker
    }

    fn deed() -> Deed {
        Deed::Revoke { serial: "S1".into() }
    }

    #[test]
    fn a_request_survives_a_restart_and_is_decided_once_by_another_person() {
        let folder = tempfile::tempdir().unwrap();
        let at = Wall::from_seconds;
        let requests = Requests::open(folder.path()).unwrap();
        let asked = requests.ask(&deed(), "counter:tanaka", tanaka(), at(10), at(100)).unwrap();
        assert_eq!(
            (asked.id.as_str(), asked.state.as_str(), asked.act.as_str()),
            ("R1", "pending", "revoke")
        );
        drop(requests);
        let requests = Requests::open(folder.path()).unwrap();
        let decide =
            |id: &str, person: &str, answer, now| requests.decide(id, answer, person, person, at(now));
        for id in ["", "1", "R2", "R+1", "R99999999999999999999", "\u{ff32}1"] {
            assert_eq!(decide(id, "x", Answer::Approve, 20).unwrap_err(), Refuse::RequestUnknown(id.into()));
        }
        let same = decide("R1", "bank:tanaka", Answer::Approve, 20).unwrap_err();
        assert_eq!(same, Refuse::Request(NoDecision::SamePerson));
        assert!(is_over(&decide("R1", "bank:sato", Answer::Approve, 100).unwrap_err()));
        let (approved, done, asker) = decide("R1", "bank:sato", Answer::Approve, 20).unwrap();
        assert_eq!((done, approved.state.as_str(), asker), (deed(), "approved", Some(tanaka())));
        assert!(is_over(&decide("R1", "bank:sato", Answer::Approve, 20).unwrap_err()));
        requests.reopen("R1").unwrap();
        assert_eq!(requests.list(at(20)).unwrap()[0].state, "pending");
        assert_eq!(requests.list(at(200)).unwrap()[0].state, "expired");
        assert_eq!(decide("R1", "bank:tanaka", Answer::Deny, 20).unwrap().0.state, "denied");
    }
}
