//! `sekisho completions` and `sekisho man`: made from the definition of the command line.

use super::command::{Cli, Completions, Man};
use super::output::print;
use super::{Exit, Failure};
use clap::CommandFactory;

/// Prints the completions of one shell.
pub fn completions(arguments: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "sekisho", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Writes one page for each command.
pub fn man(arguments: &Man) -> Result<Exit, Failure> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .map_err(|error| Failure::Io(folder.display().to_string(), error))?;
    Ok(Exit::Done)
}
