//! `sekisho check`: everything that `serve` would refuse, and why.

use super::command::Check;
use super::output::{complain, print};
use super::{Exit, Failure};
use crate::config::{self, Inputs};
use std::fmt::Write as _;

/// Lists all problems on standard output, one a line, and the result on standard error.
pub fn run(arguments: &Check) -> Result<Exit, Failure> {
    let file = &arguments.config.file;
    let loaded = config::load(&Inputs::of_process(file));
    let mut lines = String::new();
    for problem in &loaded.problems {
        let _ = writeln!(lines, "{problem}");
    }
    print(&lines)?;
    let (errors, warnings) = (loaded.errors().count(), loaded.warnings().count());
    complain(&format!("{}: {errors} errors, {warnings} warnings", file.display()));
    Ok(if loaded.settings.is_some() { Exit::Done } else { Exit::Configuration })
}
