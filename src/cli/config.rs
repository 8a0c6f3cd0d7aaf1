//! `sekisho config`: the effective configuration.

use super::command::Config;
use super::output::{complain, print};
use super::{Exit, Failure};
use crate::config::{self, Inputs};

/// Prints it, with errors or not; problems go to standard error.
pub fn run(arguments: &Config) -> Result<Exit, Failure> {
    let loaded = config::load(&Inputs::of_process(&arguments.config.file));
    print(&loaded.effective().to_string())?;
    for problem in &loaded.problems {
        complain(&problem.to_string());
    }
    Ok(if loaded.settings.is_some() { Exit::Done } else { Exit::Configuration })
}
