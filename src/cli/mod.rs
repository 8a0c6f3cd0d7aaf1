//! The command line: one file per subcommand.

mod audit;
mod check;
mod command;
mod config;
mod demo;
mod exit;
mod generate;
mod output;
mod probe;
mod remote;
mod serve;
mod state;
mod status;
mod token;
mod user;

pub use command::{Cli, LogFormat};
pub use exit::{Exit, Failure};

use clap::Parser;
use clap::error::ErrorKind;
use command::{AuditVerb, Command, StateVerb, TokenVerb, UserVerb};
use std::ffi::OsString;

/// Runs the command line and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(refusal) => {
            // Where the message goes is gone; the exit code says it too.
            let _ = refusal.print();
            return match refusal.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            };
        }
    };
    let ended = match &cli.command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Config(arguments) => config::run(arguments),
        Command::Probe(arguments) => probe::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::User(UserVerb::Show(arguments)) => user::show(arguments),
        Command::User(UserVerb::Release(arguments)) => user::release(arguments),
        Command::Token(TokenVerb::Show(arguments)) => token::show(arguments),
        Command::Audit(AuditVerb::Verify(arguments)) => audit::verify(arguments),
        Command::State(StateVerb::Verify(arguments)) => state::verify(arguments),
        Command::State(StateVerb::Dump(arguments)) => state::dump(arguments),
        Command::State(StateVerb::Backup(arguments)) => state::backup(arguments),
        Command::State(StateVerb::Restore(arguments)) => state::restore(arguments),
        Command::State(StateVerb::Recover(arguments)) => state::recover(arguments),
        Command::Completions(arguments) => generate::completions(arguments),
        Command::Man(arguments) => generate::man(arguments),
    };
    ended.unwrap_or_else(|failure| {
        output::complain(&failure.to_string());
        failure.exit()
    })
}
