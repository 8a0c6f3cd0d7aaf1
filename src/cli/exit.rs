//! How a command ends: the exit codes (sysexits.h) and the failures that lead to them.

use std::process::ExitCode;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for `probe`: accepted.
    Done = 0,
    /// Refused; for `probe`: rejected; for `audit verify`: the chain is broken.
    Refused = 1,
    /// `probe`: a challenge was left open.
    ChallengeOpen = 2,
    /// `probe`: no valid answer came.
    NoAnswer = 3,
    /// The command line is wrong (EX_USAGE).
    Usage = 64,
    /// The daemon does not run; or a listener or the directory refused at start (EX_UNAVAILABLE).
    Unavailable = 69,
    /// A file or the state directory cannot be used (EX_IOERR).
    Io = 74,
    /// The caller may not do that (EX_NOPERM).
    NotAllowed = 77,
    /// The configuration is wrong (EX_CONFIG).
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command could not be carried out, in words for standard error.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// Nobody is there to do it.
    #[error("{0}")]
    Unavailable(String),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// The caller may not do that.
    #[error("{0}")]
    NotAllowed(String),
    /// The configuration has errors; they have been listed.
    #[error("{0}")]
    Configuration(String),
}

impl Failure {
    /// The exit code for it.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) => Exit::Usage,
            Failure::Unavailable(_) => Exit::Unavailable,
            Failure::Io(..) => Exit::Io,
            Failure::NotAllowed(_) => Exit::NotAllowed,
            Failure::Configuration(_) => Exit::Configuration,
        }
    }
}
