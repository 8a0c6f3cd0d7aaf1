//! `sekisho state`: the journal of a daemon that does not run: verify, dump, backup, restore, recover.

use super::command::{StateDirectory, StateRecover, StateRestore, StateTo};
use super::output::{complain, print};
use super::{Exit, Failure};
use crate::audit::Audit;
use crate::clock;
use crate::config::{self, Inputs};
use crate::identity::Escaped;
use crate::state::Mark;
use crate::store::Item;
use crate::store::offline::{self, GivenUp, Report};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Reads everything and says whether it is whole.
pub fn verify(arguments: &StateDirectory) -> Result<Exit, Failure> {
    let report = offline::verify(&directory(arguments)?).map_err(failed)?;
    print(&described(&report))?;
    Ok(if report.damage.is_empty() { Exit::Done } else { Exit::Refused })
}

/// Prints every mark and every line of evidence, one a line.
pub fn dump(arguments: &StateDirectory) -> Result<Exit, Failure> {
    let mut text = String::new();
    let mut sink = |item: Item<'_>| {
        // Writing to a String cannot fail.
        let _ = match item {
            Item::Mark(Mark::User(mark)) => writeln!(text, "user {mark:?}"),
            Item::Mark(Mark::Token(mark)) => writeln!(text, "token {mark:?}"),
            Item::Mark(Mark::Pin(source)) => writeln!(text, "pin {source}"),
            Item::Mark(Mark::Clock(wall)) => writeln!(text, "clock {}", wall.seconds()),
            Item::Evidence(sequence, line) => writeln!(text, "evidence {sequence} {}", Escaped(line)),
        };
    };
    let damage = offline::dump(&directory(arguments)?, &mut sink).map_err(failed)?;
    print(&text)?;
    for place in &damage {
        complain(&place.to_string());
    }
    Ok(if damage.is_empty() { Exit::Done } else { Exit::Refused })
}

/// Copies the state; also while the daemon runs.
pub fn backup(arguments: &StateTo) -> Result<Exit, Failure> {
    let report = offline::backup(&directory(&arguments.state)?, &arguments.to).map_err(failed)?;
    print(&described(&report))?;
    Ok(Exit::Done)
}

/// Puts a backup in the place of an empty state directory.
pub fn restore(arguments: &StateRestore) -> Result<Exit, Failure> {
    let (to, audited) = (directory(&arguments.state)?, audited(&arguments.state)?);
    let given_up = offline::restore(&arguments.from, &to, audited, clock::now().wall).map_err(failed)?;
    print(&given(&given_up))?;
    Ok(Exit::Done)
}

/// Makes a damaged state usable again, and says what is given up.
pub fn recover(arguments: &StateRecover) -> Result<Exit, Failure> {
    let (state, audited) = (directory(&arguments.state)?, audited(&arguments.state)?);
    let given_up = offline::recover(&state, arguments.mode, audited, clock::now().wall).map_err(failed)?;
    print(&given(&given_up))?;
    Ok(Exit::Done)
}

fn directory(arguments: &StateDirectory) -> Result<PathBuf, Failure> {
    if let Some(directory) = &arguments.directory {
        return Ok(directory.clone());
    }
    Ok(settings(arguments)?.state.directory)
}

/// The last sequence that the audit file has: evidence up to it need not be kept.
fn audited(arguments: &StateDirectory) -> Result<u64, Failure> {
    if arguments.directory.is_some() {
        return Ok(0);
    }
    let (_, last) = Audit::open(&settings(arguments)?.audit)
        .map_err(|error| Failure::Unavailable(format!("the audit file: {error}")))?;
    Ok(last)
}

fn settings(arguments: &StateDirectory) -> Result<config::Settings, Failure> {
    let file = &arguments.config.file;
    let loaded = config::load(&Inputs::of_process(file));
    loaded.settings.ok_or_else(|| {
        let right = "see `sekisho check`, or name the folder with --directory";
        Failure::Configuration(format!("{} has errors; {right}", file.display()))
    })
}

fn described(report: &Report) -> String {
    let mut text =
        format!("{} segments, {} marks, last entry {}\n", report.segments, report.marks, report.last);
    // Writing to a String cannot fail.
    if let Some(torn) = &report.torn {
        let _ = writeln!(text, "torn end in {} at {}: normal after a crash", torn.file, torn.offset);
    }
    for place in &report.damage {
        let _ = writeln!(text, "damaged: {place}");
    }
    text
}

fn given(up: &GivenUp) -> String {
    let mut text = format!("{} marks and {} lines of evidence were kept\n", up.marks, up.evidence);
    // Writing to a String cannot fail.
    for place in &up.damage {
        let _ = writeln!(text, "given up: {place}");
    }
    if let Some(until) = up.refuse {
        let _ = writeln!(
            text,
            "codes of steps before {} (Unix time), and of ten steps and the window after it, are refused, for everybody, and \
             every code of a counter token until `sekisho token resync`",
            until.seconds()
        );
    }
    text
}

fn failed(error: crate::store::Error) -> Failure {
    Failure::Io("the state directory".to_owned(), std::io::Error::other(error.to_string()))
}
