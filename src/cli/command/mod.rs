//! The one definition of the command line; help, completions and man pages are made from it.

mod acts;

pub use acts::*;

use crate::store::offline::Mode;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// A second-factor server: a gateway asks over RADIUS, the token's code and the directory's password decide.
#[derive(Debug, Parser)]
#[command(name = "sekisho", version, about, propagate_version = true, disable_help_subcommand = true)]
#[command(
    after_help = "Example: sekisho demo\n\nExit codes: 0 done, 1 refused, 64 usage, 69 not running, 74 files, 77 not allowed, 78 configuration"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole daemon on loopback with demo users, in a temporary folder
    #[command(after_help = "Example: sekisho demo")]
    Demo(Demo),
    /// Run the daemon
    #[command(
        after_help = "Example: sekisho serve --config /etc/sekisho/sekisho.toml\n\nExit codes: 0 after a clean stop, 69 a listener or the directory refused at start, 74 the state directory cannot be used, 78 configuration"
    )]
    Serve(Serve),
    /// Check a configuration and list all problems
    #[command(
        after_help = "Example: sekisho check --config /etc/sekisho/sekisho.toml --online\n\nExit codes: 0 no error, 78 errors"
    )]
    Check(Check),
    /// Print the effective configuration, secrets hidden, with where each value comes from
    #[command(after_help = "Example: sekisho config --config /etc/sekisho/sekisho.toml")]
    Config(Config),
    /// Ask a RADIUS server as a gateway would
    #[command(
        after_help = "The password, with the code behind it, is the first line of standard input or is prompted for; \
        the second line answers an Access-Challenge.\n\n\
        Example: printf 'secret94287082\\n' | sekisho probe --server 127.0.0.1:1812 --secret-file gateway.secret --user u1 --operation transfer\n\n\
        Exit codes: 0 accept, 1 reject, 2 challenge left open, 3 no valid answer"
    )]
    Probe(Probe),
    /// Show the running daemon
    #[command(after_help = "Example: sekisho status --json")]
    Status(Status),
    /// Contracts that one-time passwords are enabled for: enable, disable, list, show
    #[command(subcommand, after_help = "Example: sekisho contract enable C-1 --service kenshin-business")]
    Contract(ContractVerb),
    /// Users: list, show, release, login-code
    #[command(subcommand, after_help = "Example: sekisho user show u1")]
    User(UserVerb),
    /// The life of tokens: issue, setup, confirm, register, exchange, revoke, suspend, resume, renew, stop, resync
    #[command(subcommand, after_help = "Example: sekisho token issue --user u1 --mail u1@example.jp")]
    Token(TokenVerb),
    /// Requests that wait for a second person: list, approve, deny
    #[command(subcommand, after_help = "Example: sekisho request list")]
    Request(RequestVerb),
    /// The keys that seal token secrets: rotate, rewrap, list
    #[command(subcommand, after_help = "Example: sekisho keys list")]
    Keys(KeysVerb),
    /// Say step by step what a user would be asked and why; nothing is used up
    #[command(
        after_help = "Example: sekisho explain --user u1 --client banking-gateway --operation transfer"
    )]
    Explain(Explain),
    /// Say what became of a request, from the audit log
    #[command(after_help = "Example: sekisho why 6925d2f000000001")]
    Why(Why),
    /// The audit log: verify
    #[command(subcommand, after_help = "Example: sekisho audit verify /var/log/sekisho/audit.jsonl")]
    Audit(AuditVerb),
    /// The journal: verify, dump, backup, restore, recover
    #[command(subcommand, after_help = "Example: sekisho state verify --config /etc/sekisho/sekisho.toml")]
    State(StateVerb),
    /// Print completions for a shell
    #[command(
        after_help = "Example: sekisho completions bash > /usr/share/bash-completion/completions/sekisho"
    )]
    Completions(Completions),
    /// Write the man pages into a folder
    #[command(after_help = "Example: sekisho man /usr/share/man/man1")]
    Man(Man),
}

/// What is done with the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Check that nothing was changed, left out or put in between
    #[command(
        after_help = "Example: sekisho audit verify audit.jsonl.1 audit.jsonl\n\nExit codes: 0 whole, 1 broken (it says where)"
    )]
    Verify(AuditVerify),
}

/// What is done with the state directory.
#[derive(Debug, Subcommand)]
pub enum StateVerb {
    /// Read everything and say whether it is whole
    #[command(after_help = "Example: sekisho state verify\n\nExit codes: 0 whole, 1 damaged, 74 unreadable")]
    Verify(StateDirectory),
    /// Print every mark and every line of evidence
    #[command(after_help = "Example: sekisho state dump | grep token")]
    Dump(StateDirectory),
    /// Copy the state, also while the daemon runs
    #[command(after_help = "Example: sekisho state backup --to /var/backups/sekisho")]
    Backup(StateTo),
    /// Put a backup into an empty state directory
    #[command(
        after_help = "Codes used since the backup are not known any more, so every code up to now is refused.\n\n\
        Example: sekisho state restore --from /var/backups/sekisho"
    )]
    Restore(StateRestore),
    /// Make a damaged state usable again, and say what is given up
    #[command(after_help = "Nothing is deleted: the old files stay under damaged-…\n\n\
        Example: sekisho state recover --mode drop-damaged")]
    Recover(StateRecover),
}

/// Which state directory.
#[derive(Clone, Debug, Args)]
pub struct StateDirectory {
    /// The configuration that names it
    #[command(flatten)]
    pub config: ConfigFile,
    /// The state directory itself
    #[arg(long, value_name = "DIR", conflicts_with = "file", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
}

/// `sekisho state backup`.
#[derive(Debug, Args)]
pub struct StateTo {
    /// Which state
    #[command(flatten)]
    pub state: StateDirectory,
    /// An empty folder; it is made if it does not exist
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
}

/// `sekisho state restore`.
#[derive(Debug, Args)]
pub struct StateRestore {
    /// Which state
    #[command(flatten)]
    pub state: StateDirectory,
    /// The backup
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub from: PathBuf,
}

/// `sekisho state recover`.
#[derive(Debug, Args)]
pub struct StateRecover {
    /// Which state
    #[command(flatten)]
    pub state: StateDirectory,
    /// How: drop-damaged keeps all that can be read; start-empty gives up everything
    #[arg(long, value_name = "MODE", value_parser = recovery_mode)]
    pub mode: Mode,
}

fn recovery_mode(text: &str) -> Result<Mode, String> {
    [Mode::DropDamaged, Mode::StartEmpty]
        .into_iter()
        .find(|mode| mode.text() == text)
        .ok_or_else(|| "write drop-damaged or start-empty".to_owned())
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
pub struct ConfigFile {
    /// The configuration file
    #[arg(long = "config", value_name = "FILE", default_value = "/etc/sekisho/sekisho.toml", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// Where the running daemon is.
#[derive(Clone, Debug, Args)]
pub struct Daemon {
    /// The configuration file of the daemon, which names its socket
    #[arg(long = "config", value_name = "FILE", default_value = "/etc/sekisho/sekisho.toml", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
    /// The daemon's admin socket itself
    #[arg(long, value_name = "PATH", conflicts_with = "config", value_hint = ValueHint::FilePath)]
    pub socket: Option<PathBuf>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For machines
    Json,
    /// For people
    Text,
}

/// `sekisho demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// The form of log lines
    #[arg(long, value_name = "FORM")]
    pub log_format: Option<LogFormat>,
}

/// `sekisho serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where the configuration is
    #[command(flatten)]
    pub config: ConfigFile,
    /// The form of log lines, instead of log.format
    #[arg(long, value_name = "FORM")]
    pub log_format: Option<LogFormat>,
}

/// `sekisho check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Where the configuration is
    #[command(flatten)]
    pub config: ConfigFile,
    /// Also connect to the directory, bind, and look for what does not go together
    #[arg(long)]
    pub online: bool,
}

/// `sekisho config`.
#[derive(Debug, Args)]
pub struct Config {
    /// Where the configuration is
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `sekisho probe`.
#[derive(Debug, Args)]
pub struct Probe {
    /// The server: HOST:PORT, `192.0.2.1:1812` or `[2001:db8::1]:1812`
    #[arg(long, value_name = "HOST:PORT")]
    pub server: String,
    /// A file with the shared secret
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secret_file: PathBuf,
    /// The User-Name
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// The operation, sent as NAS-Port-Id
    #[arg(long, value_name = "OPERATION")]
    pub operation: Option<String>,
    /// Another attribute to send, such as Calling-Station-Id=192.0.2.77; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
    /// How long to wait before asking again
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub timeout: String,
    /// How often to ask again
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=10))]
    pub retries: u8,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `sekisho status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Where the daemon is
    #[command(flatten)]
    pub daemon: Daemon,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `sekisho audit verify`.
#[derive(Debug, Args)]
pub struct AuditVerify {
    /// The files of one log, oldest first
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
}

/// `sekisho completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// `sekisho man`.
#[derive(Debug, Args)]
pub struct Man {
    /// The folder; it is made if it does not exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        fn examples(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example: ") && help.contains("sekisho "), "{}", command.get_name());
            command.get_subcommands().for_each(examples);
        }
        examples(&Cli::command());
    }
}
