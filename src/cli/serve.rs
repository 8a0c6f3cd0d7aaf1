//! `sekisho serve`: the daemon.

use super::command::{LogFormat, Serve};
use super::output::complain;
use super::{Exit, Failure};
use crate::config::{self, Inputs};
use crate::daemon::{self, Ending, Reload, StartError, log};

/// Starts the daemon and runs it until it is asked to stop.
pub fn run(arguments: &Serve) -> Result<Exit, Failure> {
    let file = &arguments.config.file;
    let loaded = config::load(&Inputs::of_process(file));
    for problem in &loaded.problems {
        complain(&problem.to_string());
    }
    let fixed = loaded.fixed();
    let Some(settings) = loaded.settings else {
        return Err(Failure::Configuration(format!("{} has errors; nothing was started", file.display())));
    };
    let format = arguments.log_format.map_or(settings.log.format, |form| match form {
        LogFormat::Json => config::LogFormat::Json,
        LogFormat::Text => config::LogFormat::Text,
    });
    log::start(format, settings.log.level);
    let running = daemon::start(settings).map_err(|error| refused(&error))?;
    running.say_ready();
    match daemon::run(running, Some(Reload { file: file.clone(), fixed })) {
        Ok(Ending::Clean) => Ok(Exit::Done),
        Ok(Ending::Broken) => Ok(Exit::Io),
        Err(error) => Err(Failure::Io("signals".to_owned(), error)),
    }
}

/// Which exit code a refused start has (contract.md 1).
pub fn refused(error: &StartError) -> Failure {
    match error {
        StartError::Store(_) | StartError::Requests(_) | StartError::Audit(_) => {
            Failure::Io("cannot start".to_owned(), std::io::Error::other(error.to_string()))
        }
        _ => Failure::Unavailable(error.to_string()),
    }
}
