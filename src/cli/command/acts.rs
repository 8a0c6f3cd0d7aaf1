//! The commands about contracts, users, tokens and requests.

use super::Daemon;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// What every command that looks at something has.
#[derive(Clone, Debug, Args)]
pub struct Looking {
    /// Where the daemon is
    #[command(flatten)]
    pub daemon: Daemon,
    /// In whose name: ROLE:NAME, where the operating-system user may act for others
    #[arg(long = "as", value_name = "ROLE:NAME")]
    pub actor: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What every command that changes something has.
#[derive(Clone, Debug, Args)]
pub struct Acting {
    /// Where the daemon is
    #[command(flatten)]
    pub daemon: Daemon,
    /// In whose name: ROLE:NAME, where the operating-system user may act for others
    #[arg(long = "as", value_name = "ROLE:NAME")]
    pub actor: Option<String>,
    /// Only say what would be done; no secret is asked for and nothing is used up
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What is done with contracts.
#[derive(Debug, Subcommand)]
pub enum ContractVerb {
    /// Enable one-time passwords for a contract
    #[command(after_help = "Example: sekisho contract enable C-1 --service kenshin-business")]
    Enable(ContractEnable),
    /// End them
    #[command(after_help = "Example: sekisho contract disable C-1")]
    Disable(ContractDisable),
    /// List the enabled contracts
    #[command(after_help = "Example: sekisho contract list --json")]
    List(Looking),
    /// Show a contract
    #[command(after_help = "Example: sekisho contract show C-1")]
    Show(ContractShow),
}

/// `sekisho contract enable`.
#[derive(Debug, Args)]
pub struct ContractEnable {
    /// The contract's id
    #[arg(value_name = "CONTRACT")]
    pub contract: String,
    /// The service profile
    #[arg(long, value_name = "PROFILE")]
    pub service: String,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho contract disable`.
#[derive(Debug, Args)]
pub struct ContractDisable {
    /// The contract's id
    #[arg(value_name = "CONTRACT")]
    pub contract: String,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho contract show`.
#[derive(Debug, Args)]
pub struct ContractShow {
    /// The contract's id
    #[arg(value_name = "CONTRACT")]
    pub contract: String,
    /// Who looks, and how
    #[command(flatten)]
    pub looking: Looking,
}

/// What is done with users.
#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// List users
    #[command(after_help = "Example: sekisho user list --contract C-1 --locked")]
    List(UserList),
    /// Show what is known of a user: standing, tokens, failures, lock
    #[command(after_help = "Example: sekisho user show u1")]
    Show(UserShow),
    /// Lift a user's lock
    #[command(
        after_help = "Example: sekisho user release u1 --by counter\n\nThe actor's confirmation password is read from standard input; \
        `--by counter` needs none on the local socket."
    )]
    Release(UserRelease),
    /// Set a user's own choice whether login asks for a code
    #[command(after_help = "Example: sekisho user login-code u1 required")]
    LoginCode(UserLoginCode),
    /// Add a user to the embedded directory
    #[command(
        after_help = "The user's password is read from standard input. In an LDAP directory users are added by its own tools.\n\n\
        Example: sekisho user add taro --contract C-1 --role master"
    )]
    Add(UserAdd),
    /// Remove a user of the embedded directory, with the tokens that are nobody else's
    #[command(after_help = "Example: sekisho user remove taro --dry-run")]
    Remove(UserRemove),
}

/// `sekisho user add`.
#[derive(Debug, Args)]
pub struct UserAdd {
    /// The user's name
    #[arg(value_name = "USER")]
    pub user: String,
    /// The contract
    #[arg(long, value_name = "CONTRACT")]
    pub contract: Option<String>,
    /// The role within it: master, admin or general
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Where mail goes
    #[arg(long, value_name = "ADDRESS")]
    pub mail: Option<String>,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho user remove`.
#[derive(Debug, Args)]
pub struct UserRemove {
    /// The user's name
    #[arg(value_name = "USER")]
    pub user: String,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho user list`.
#[derive(Debug, Args)]
pub struct UserList {
    /// Only the users of this contract
    #[arg(long, value_name = "CONTRACT")]
    pub contract: Option<String>,
    /// Only those who are locked
    #[arg(long)]
    pub locked: bool,
    /// Who looks, and how
    #[command(flatten)]
    pub looking: Looking,
}

/// `sekisho user show`.
#[derive(Debug, Args)]
pub struct UserShow {
    /// The user's name
    #[arg(value_name = "USER")]
    pub user: String,
    /// Who looks, and how
    #[command(flatten)]
    pub looking: Looking,
}

/// `sekisho user release`.
#[derive(Debug, Args)]
pub struct UserRelease {
    /// The name of the user who is locked
    #[arg(value_name = "USER")]
    pub user: String,
    /// Who releases: the name of a master or admin user, or `counter`
    #[arg(long, value_name = "ACTOR", required_unless_present = "actor", conflicts_with = "actor")]
    pub by: Option<String>,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho user login-code`.
#[derive(Debug, Args)]
pub struct UserLoginCode {
    /// The user's name
    #[arg(value_name = "USER")]
    pub user: String,
    /// Whether login asks for a code
    #[arg(value_name = "CHOICE")]
    pub choice: Choice,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// Whether login asks for a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// It does
    Required,
    /// It does not
    NotRequired,
}

/// What is done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// List tokens
    #[command(after_help = "Example: sekisho token list --user u1 --json")]
    List(TokenList),
    /// Show what is known of a token: state, parameters, last step, clock offset
    #[command(after_help = "Example: sekisho token show 12345678")]
    Show(TokenShow),
    /// Promise a user a token: service id and user id for the app, and a letter
    #[command(after_help = "The start password is read from standard input.\n\n\
        Example: printf '4711\\n' | sekisho token issue --user u1 --mail u1@example.jp")]
    Issue(TokenIssue),
    /// Fetch the key of an issued token, as an app does; it is shown once, also as a QR code
    #[command(after_help = "The start password is read from standard input.\n\n\
        Example: printf '4711\\n' | sekisho token setup --service-id 0123456789 --user-id 9876543210")]
    Setup(TokenSetup),
    /// Put a token into service by its first correct code
    #[command(
        after_help = "The code is read from standard input.\n\nExample: printf '12345678\\n' | sekisho token confirm --user u1"
    )]
    Confirm(TokenConfirm),
    /// Give a user a token of the inventory
    #[command(after_help = "Code and confirmation password are read from standard input, one a line.\n\n\
        Example: printf '123456\\nsecret\\n' | sekisho token register --user u1 --serial A1B2 --login-code required")]
    Register(TokenRegister),
    /// Move a user to another token of the inventory, or take that back
    #[command(
        after_help = "The code of the old token and the code of the new one are read from standard input, one a line.\n\n\
        Example: printf '123456\\n654321\\n' | sekisho token exchange --user u1 --serial A1B3"
    )]
    Exchange(TokenExchange),
    /// End a token
    #[command(
        after_help = "A master or admin user gives a code and the confirmation password on standard input, one a line.\n\n\
        Example: sekisho token revoke S123456789012"
    )]
    Revoke(TokenAct),
    /// Stop a token for a time, on every node
    #[command(after_help = "Example: sekisho token suspend S123456789012")]
    Suspend(TokenAct),
    /// Let a suspended token go on
    #[command(after_help = "Example: sekisho token resume S123456789012")]
    Resume(TokenAct),
    /// Give a token a new expiry date
    #[command(after_help = "Example: sekisho token renew S123456789012")]
    Renew(TokenAct),
    /// End a user's use of one-time passwords
    #[command(
        after_help = "The user gives a code and the confirmation password on standard input, one a line.\n\n\
        Example: sekisho token stop --user u1"
    )]
    Stop(TokenStop),
    /// Learn a token's clock anew
    #[command(after_help = "Two codes in a row are read from standard input, one a line.\n\n\
        Example: printf '123456\\n654321\\n' | sekisho token resync S123456789012")]
    Resync(TokenAct),
    /// Put the tokens of a file into the inventory, or in service for their users: all of them, or none
    #[command(
        after_help = "The password or the pre-shared key (hexadecimal) of a PSKC file is read from standard input.\n\n\
        Example: sekisho token import tokens.xml --format pskc --dry-run\n\
        Example: sekisho token import tokens.csv --format csv --bind"
    )]
    Import(TokenImport),
    /// Write tokens with their keys as a PSKC file, encrypted under a password or a pre-shared key
    #[command(
        after_help = "The password, or with --pre-shared-key the key (32, 48 or 64 hexadecimal digits), is read from \
        standard input.\n\nExample: sekisho token export --format pskc --state inventory --output tokens.xml"
    )]
    Export(TokenExport),
}

/// The format of a file with tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// PSKC (RFC 6030)
    Pskc,
    /// Comma-separated: named columns, or the layouts of LinOTP and privacyIDEA
    Csv,
    /// otpauth:// URIs, one a line
    Otpauth,
}

/// The format of a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Written {
    /// PSKC (RFC 6030)
    Pskc,
}

/// `sekisho token import`.
#[derive(Debug, Args)]
pub struct TokenImport {
    /// The file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Its format
    #[arg(long, value_name = "FORMAT")]
    pub format: Format,
    /// The service profile that the tokens are meant for
    #[arg(long, value_name = "PROFILE")]
    pub service: Option<String>,
    /// Put each token in service for the user whom the file names; those without one go into the inventory
    #[arg(long)]
    pub bind: bool,
    /// The same with the users of another file: CSV with the columns serial and user, or a token list of LinOTP or
    /// privacyIDEA
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "bind")]
    pub users: Option<PathBuf>,
    /// Take what can be taken, and only name the rest
    #[arg(long)]
    pub good_only: bool,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho token export`.
#[derive(Debug, Args)]
pub struct TokenExport {
    /// The format
    #[arg(long, value_name = "FORMAT")]
    pub format: Written,
    /// Only tokens in this state, such as inventory or active
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Where it is written, readable for nobody else; standard output, if not given
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Encrypt under a pre-shared key of this name instead of a password
    #[arg(long, value_name = "NAME")]
    pub pre_shared_key: Option<String>,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho token list`.
#[derive(Debug, Args)]
pub struct TokenList {
    /// Only this user's tokens
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Only those in this state: issued, set-up, active, locked, suspended, expired, revoked, inventory
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Who looks, and how
    #[command(flatten)]
    pub looking: Looking,
}

/// `sekisho token show`.
#[derive(Debug, Args)]
pub struct TokenShow {
    /// The token's serial number
    #[arg(value_name = "SERIAL")]
    pub serial: String,
    /// Who looks, and how
    #[command(flatten)]
    pub looking: Looking,
}

/// `sekisho token issue`.
#[derive(Debug, Args)]
pub struct TokenIssue {
    /// The user
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// Where the letter goes; the directory's address, if not given
    #[arg(long, value_name = "ADDRESS")]
    pub mail: Option<String>,
    /// The serial number of the token that the user has for another contract: nothing is issued, and the first correct
    /// code puts it into service here too
    #[arg(long, value_name = "SERIAL", conflicts_with = "mail")]
    pub existing: Option<String>,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho token setup`.
#[derive(Debug, Args)]
pub struct TokenSetup {
    /// The service id
    #[arg(long, value_name = "ID")]
    pub service_id: String,
    /// The user id
    #[arg(long, value_name = "ID")]
    pub user_id: String,
    /// Where the daemon is
    #[command(flatten)]
    pub daemon: Daemon,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `sekisho token confirm`.
#[derive(Debug, Args)]
pub struct TokenConfirm {
    /// The user
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho token register`.
#[derive(Debug, Args)]
pub struct TokenRegister {
    /// The user
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// The serial number that the app shows
    #[arg(long, value_name = "SERIAL")]
    pub serial: String,
    /// Whether login asks for a code
    #[arg(long, value_name = "CHOICE")]
    pub login_code: Option<Choice>,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho token exchange`.
#[derive(Debug, Args)]
pub struct TokenExchange {
    /// The user
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// The serial number of the new token
    #[arg(long, value_name = "NEW", required_unless_present = "undo", conflicts_with = "undo")]
    pub serial: Option<String>,
    /// Take the last exchange back, as long as the new token has not been used
    #[arg(long)]
    pub undo: bool,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// An act on one token.
#[derive(Debug, Args)]
pub struct TokenAct {
    /// The token's serial number
    #[arg(value_name = "SERIAL")]
    pub serial: String,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho token stop`.
#[derive(Debug, Args)]
pub struct TokenStop {
    /// The user
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// What is done with requests.
#[derive(Debug, Subcommand)]
pub enum RequestVerb {
    /// List the requests that wait for a second person
    #[command(after_help = "Example: sekisho request list --all --json")]
    List(RequestList),
    /// Let what somebody else asked for happen
    #[command(after_help = "Example: sekisho request approve R7")]
    Approve(RequestAct),
    /// Do not let it happen
    #[command(after_help = "Example: sekisho request deny R7")]
    Deny(RequestAct),
}

/// `sekisho request list`.
#[derive(Debug, Args)]
pub struct RequestList {
    /// Also those that are decided or expired
    #[arg(long)]
    pub all: bool,
    /// Who looks, and how
    #[command(flatten)]
    pub looking: Looking,
}

/// `sekisho request approve` and `deny`.
#[derive(Debug, Args)]
pub struct RequestAct {
    /// The request's id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The user
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// The RADIUS client that would ask
    #[arg(long, value_name = "NAME")]
    pub client: String,
    /// The operation; what applies to all others, if not given
    #[arg(long, value_name = "OPERATION")]
    pub operation: Option<String>,
    /// Who looks, and how
    #[command(flatten)]
    pub looking: Looking,
}

/// `sekisho why`.
#[derive(Debug, Args)]
pub struct Why {
    /// The request's id, as `request` in the audit log
    #[arg(value_name = "REQUEST-ID")]
    pub request: String,
    /// Who looks, and how
    #[command(flatten)]
    pub looking: Looking,
}

/// What is done with the keys that seal token secrets.
#[derive(Debug, Subcommand)]
pub enum KeysVerb {
    /// Put a new key before the others in the key file: it seals after a reload, the others go on opening
    #[command(after_help = "Example: sekisho keys rotate 2027-01 && systemctl reload sekisho\n\n\
        With several nodes: give the new file to all of them and reload all before `sekisho keys rewrap`.")]
    Rotate(KeysRotate),
    /// Have the running daemon seal every token under the key that seals now, and wait for the end
    #[command(
        after_help = "Broken off or repeated, it passes over what is done.\n\nExample: sekisho keys rewrap"
    )]
    Rewrap(KeysRewrap),
    /// List the keys, and how far sealing anew is
    #[command(after_help = "Example: sekisho keys list --json")]
    List(KeysList),
}

/// `sekisho keys rotate`.
#[derive(Debug, Args)]
pub struct KeysRotate {
    /// The id of the new key: 1 to 64 letters, digits, dots, hyphens or underscores
    #[arg(value_name = "ID")]
    pub id: String,
    /// The configuration that names the key file
    #[command(flatten)]
    pub config: super::ConfigFile,
    /// The key file itself, for example the source of a credential
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<std::path::PathBuf>,
}

/// `sekisho keys rewrap`.
#[derive(Debug, Args)]
pub struct KeysRewrap {
    /// Who acts, and how
    #[command(flatten)]
    pub acting: Acting,
}

/// `sekisho keys list`.
#[derive(Debug, Args)]
pub struct KeysList {
    /// Who looks, and how
    #[command(flatten)]
    pub looking: Looking,
}
