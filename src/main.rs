//! Parses the command line, runs it, and turns the result into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    sekisho::cli::run(std::env::args_os()).into()
}
