//! What commands print. A reader that has gone away, as with `| head`, is no failure.

use super::Failure;
use std::io::{self, Write};

/// Prints to standard output, as it is.
///
/// # Errors
/// Standard output cannot be written, for example because the disk is full.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Io("standard output".to_owned(), error))
        }
        _ => Ok(()),
    }
}

/// Prints one line to standard error; if that fails, nobody is there to be told.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "sekisho: {line}");
}
