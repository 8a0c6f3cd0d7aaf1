//! What became of a request: its lines in the audit log.

use super::Operations;
use crate::admin::caller::Actor;
use crate::admin::protocol::Told;
use crate::admin::refusal::Refuse;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

/// The most lines that one request leaves.
const LINES_MAX: usize = 64;

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
        let found = tokio::task::spawn_blocking(move || lines_about(&file, &wanted)).await;
        let found =
            found.map_err(|_| Refuse::System)?.map_err(|_| Refuse::NothingKnown(request.to_owned()))?;
        if found.is_empty() { Err(Refuse::NothingKnown(request.to_owned())) } else { Ok(Told::Why(found)) }
    }
}

/// Every line of the file that is about the request.
fn lines_about(file: &Path, request: &str) -> io::Result<Vec<serde_json::Value>> {
    let wanted = format!("\"request\":\"{request}\"");
    let mut reader = BufReader::with_capacity(256 * 1024, File::open(file)?);
    let mut found = Vec::new();
    let mut line = Vec::new();
    while found.len() < LINES_MAX {
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
        let found = lines_about(&file, "00000000000000aa").unwrap();
        let events: Vec<_> = found.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["a", "c"]);
        assert!(lines_about(&file, "00000000000000ac").unwrap().is_empty());
        assert!(lines_about(&folder.path().join("none"), "00000000000000aa").is_err());
    }
}
