//! The command line's end of the admin socket.

use super::protocol::{Question, Told};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The longest answer in octets.
const ANSWER_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there.
    #[error("no daemon answers at {path}: {error}; is it running, and is this its admin socket?")]
    NotRunning {
        /// The socket.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// It listens and does not answer as it should.
    #[error("the daemon did not answer: {0}")]
    NoAnswer(#[from] io::Error),
    /// It answers something else.
    #[error("the daemon's answer is not understood ({0}); are both of the same version?")]
    NotUnderstood(#[from] serde_json::Error),
}

/// Asks the daemon behind `socket` and waits for its answer.
///
/// # Errors
/// See [`Error`].
pub fn ask(socket: &Path, question: &Question) -> Result<Told, Error> {
    let mut stream = UnixStream::connect(socket)
        .map_err(|error| Error::NotRunning { path: socket.display().to_string(), error })?;
    stream.set_read_timeout(Some(Duration::from_secs(40)))?;
    let mut octets = zeroize::Zeroizing::new(serde_json::to_vec(question)?);
    octets.push(b'\n');
    stream.write_all(&octets)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(ANSWER_OCTETS_MAX)).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(serde_json::from_slice(&line)?)
}
