//! `sekisho status`: how the running daemon is.

use super::command::Status;
use super::output::print;
use super::remote::{ask, print_json};
use super::{Exit, Failure};
use crate::admin::protocol::{self, Ask, Question, Told};
use std::fmt::Write as _;

/// Shows the daemon.
pub fn run(arguments: &Status) -> Result<Exit, Failure> {
    match ask(&arguments.daemon, &Question::from(Ask::Status))? {
        Told::Status(status) if arguments.json => print_json(&*status),
        Told::Status(status) => {
            print(&text(&status))?;
            Ok(Exit::Done)
        }
        other => super::remote::ended(other, arguments.json),
    }
}

fn text(status: &protocol::Status) -> String {
    let mut text = String::new();
    let ready = if status.not_ready.is_empty() { "ready" } else { "not ready" };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "sekisho {} (pid {}): {ready}", status.version, status.pid);
    for missing in &status.not_ready {
        let _ = writeln!(text, "  not ready: {missing}");
    }
    let _ = writeln!(text, "up for        {} s", status.uptime_seconds);
    let _ = writeln!(text, "in flight     {}", status.in_flight);
    let age = status
        .directory_age_seconds
        .map_or("never read".to_owned(), |age| format!("confirmed {age:.1} s ago"));
    let _ = writeln!(text, "users         {} ({age})", status.users);
    for server in &status.servers {
        let state = match (server.up, &server.trouble) {
            (true, _) => "answers".to_owned(),
            (false, Some(trouble)) => format!("does not answer: {trouble}"),
            (false, None) => "does not answer".to_owned(),
        };
        let _ = writeln!(text, "directory     {}: {state}", server.server);
    }
    if let Some(cluster) = &status.cluster {
        let trouble = cluster.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
        let (engine, node, standing) = (&cluster.engine, &cluster.node, &cluster.standing);
        let _ = writeln!(text, "cluster       {engine}, this is {node}: {standing}{trouble}");
    }
    let _ = writeln!(text, "locked        {} users", status.locked);
    let _ = writeln!(text, "disabled      {} tokens", status.tokens_disabled);
    let _ = writeln!(text, "pinned        {} sources", status.pinned);
    let _ = writeln!(text, "journal       {}", status.journal);
    text
}
