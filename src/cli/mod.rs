//! The command line: one file per subcommand.

mod audit;
mod check;
mod command;
mod config;
mod contract;
mod demo;
mod exit;
mod explain;
mod export;
mod generate;
mod import;
mod keys;
mod output;
mod probe;
mod progress;
mod remote;
mod request;
mod serve;
mod state;
mod status;
mod token;
mod user;

pub use command::{Cli, LogFormat};
pub use exit::{Exit, Failure};

use clap::Parser;
use clap::error::ErrorKind;
use command::{AuditVerb, Command, ContractVerb, KeysVerb, RequestVerb, StateVerb, TokenVerb, UserVerb};
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
        Command::Contract(verb) => match verb {
            ContractVerb::Enable(arguments) => contract::enable(arguments),
            ContractVerb::Disable(arguments) => contract::disable(arguments),
            ContractVerb::List(looking) => contract::list(looking),
            ContractVerb::Show(arguments) => contract::show(arguments),
        },
        Command::User(verb) => match verb {
            UserVerb::List(arguments) => user::list(arguments),
            UserVerb::Show(arguments) => user::show(arguments),
            UserVerb::Release(arguments) => user::release(arguments),
            UserVerb::LoginCode(arguments) => user::login_code(arguments),
            UserVerb::Add(arguments) => user::add(arguments),
            UserVerb::Remove(arguments) => user::remove(arguments),
        },
        Command::Token(verb) => match verb {
            TokenVerb::List(arguments) => token::list(arguments),
            TokenVerb::Show(arguments) => token::show(arguments),
            TokenVerb::Issue(arguments) => token::issue(arguments),
            TokenVerb::Setup(arguments) => token::setup(arguments),
            TokenVerb::Confirm(arguments) => token::confirm(arguments),
            TokenVerb::Register(arguments) => token::register(arguments),
            TokenVerb::Exchange(arguments) => token::exchange(arguments),
            TokenVerb::Revoke(arguments) => token::revoke(arguments),
            TokenVerb::Suspend(arguments) => token::suspend(arguments),
            TokenVerb::Resume(arguments) => token::resume(arguments),
            TokenVerb::Renew(arguments) => token::renew(arguments),
            TokenVerb::Stop(arguments) => token::stop(arguments),
            TokenVerb::Resync(arguments) => token::resync(arguments),
            TokenVerb::Import(arguments) => import::run(arguments),
            TokenVerb::Export(arguments) => export::run(arguments),
        },
        Command::Request(verb) => match verb {
            RequestVerb::List(arguments) => request::list(arguments),
            RequestVerb::Approve(arguments) => request::approve(arguments),
            RequestVerb::Deny(arguments) => request::deny(arguments),
        },
        Command::Keys(verb) => match verb {
            KeysVerb::Rotate(arguments) => keys::rotate(arguments),
            KeysVerb::Rewrap(arguments) => keys::rewrap(arguments),
            KeysVerb::List(arguments) => keys::list(arguments),
        },
        Command::Explain(arguments) => explain::explain(arguments),
        Command::Why(arguments) => explain::why(arguments),
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
