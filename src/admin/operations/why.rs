//! What became of a request: its lines in the audit log.

use super::Operations;
use crate::admin::caller::Actor;
use crate::admin::protocol::Told;
use crate::admin::refusal::Refuse;
use crate::clock;
use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most lines that one request leaves.
const LINES_MAX: usize = 64;

/// The most entries of the folder that are looked at, and for how long files are begun: the admin socket waits no longer.
const FILES_MAX: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest line that is looked at.
const LINE_OCTETS_MAX: u64 = 64 * 1024;

impl Operations {
    /// The lines of the audit log about a request, oldest first.
    pub(super) async fn why(&self, request: &str, actor: &Actor) -> Result<Told, Refuse> {
        self.allows_look(actor)?;
        if actor.user.is_some() {
            return Err(Refuse::OtherContract);
        }
        let usable = request.len() == 16 && request.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !usable {
            let right = "16 hexadecimal digits, as `request` in the audit log has it";
            return Err(Refuse::Value { what: "the request's id", right });
        }
        let (file, wanted) = (self.audit_file.clone(), request.to_owned());
        let found = tokio::task::spawn_blocking(move || in_files(&file, &wanted)).await;
        let found = found.map_err(|_| Refuse::System)?;
        if found.is_empty() { Err(Refuse::NothingKnown(request.to_owned())) } else { Ok(Told::Why(found)) }
    }
}

/// Every line about the request in the audit file and the older ones beside it. A request may have begun before the file
/// was changed and ended after it, or have been approved long after: so the search ends only one file behind a find.
fn in_files(current: &Path, request: &str) -> Vec<serde_json::Value> {
    let begun = clock::now().mono;
    let mut found = Vec::new();
    for file in files(current) {
        let had = !found.is_empty();
        // A file that cannot be read, or ended meanwhile, hides nothing that the others say.
        let mut older =
            lines_about(&file, request, LINES_MAX.saturating_sub(found.len())).unwrap_or_default();
        older.append(&mut found);
        found = older;
        if had || clock::now().mono.since(begun) > PATIENCE {
            break;
        }
    }
    found
}

/// The audit file, and what was moved away from it to a name that begins with its own, newest first.
fn files(current: &Path) -> Vec<PathBuf> {
    let mut older = Vec::new();
    if let (Some(folder), Some(name)) = (current.parent(), current.file_name().and_then(OsStr::to_str)) {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(FILES_MAX);
        for entry in entries {
            let moved = entry.file_name();
            let rest = moved.to_str().and_then(|moved| moved.strip_prefix(name));
            let is_moved = rest.is_some_and(|rest| rest.starts_with(['.', '-']) && !is_compressed(rest));
            let time = entry.metadata().and_then(|known| known.modified());
            older.extend(time.ok().filter(|_| is_moved).map(|time| (Reverse(time), entry.path())));
        }
    }
    older.sort();
    std::iter::once(current.to_owned()).chain(older.into_iter().map(|(_, path)| path)).collect()
}

fn is_compressed(name: &str) -> bool {
    [".gz", ".xz", ".zst", ".bz2"].iter().any(|end| name.ends_with(end))
}

/// Every line of the file that is about the request.
fn lines_about(file: &Path, request: &str, most: usize) -> io::Result<Vec<serde_json::Value>> {
    let wanted = format!("\"request\":\"{request}\"");
    let mut reader = BufReader::with_capacity(256 * 1024, File::open(file)?);
    let mut found = Vec::new();
    let mut line = Vec::new();
    while found.len() < most {
        line.clear();
        if reader.by_ref().take(LINE_OCTETS_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let holds = line.windows(wanted.len()).any(|window| window == wanted.as_bytes());
        if let Some(value) = holds.then(|| serde_json::from_slice(&line).ok()).flatten() {
            found.push(value);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_about_the_request_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        let lines = "{\"event\":\"a\",\"request\":\"00000000000000aa\"}\nno JSON \"request\":\"00000000000000aa\"\n\
                     {\"event\":\"b\",\"request\":\"00000000000000ab\"}\n{\"event\":\"c\",\"request\":\"00000000000000aa\"}\n";
        std::fs::write(&file, lines).unwrap();
        let events = |request| {
            let found = in_files(&file, request);
            found.iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(events("00000000000000aa"), ["a", "c"]);
        assert!(events("00000000000000ac").is_empty());

        // Moved away: where it begins and where it ends are told in order; compressed and other files are not read.
        let moved = |name: &str, event: &str, at| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("{{\"event\":\"{event}\",\"request\":\"00000000000000ad\"}}\n"))
                .unwrap();
            let time = std::time::UNIX_EPOCH + Duration::from_secs(at);
            File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        moved("audit.jsonl.1", "ended", 2_000_000);
        moved("audit.jsonl-20260901", "begun", 1_000_000);
        moved("audit.jsonl.3.gz", "packed", 1_500_000);
        moved("audit.jsonlx", "other", 1_500_000);
        assert_eq!(events("00000000000000ad"), ["begun", "ended"]);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(events("00000000000000ad"), ["begun", "ended"], "the moment between two files");
    }
}
