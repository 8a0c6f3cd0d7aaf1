//! The daemon's end of the admin socket: a Unix socket that only its owner and root, and perhaps a group, may use.

use super::caller::Caller;
use super::operations::Operations;
use super::protocol::{Kind, QUESTION_OCTETS_MAX, Refused, Told};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// The most operators at once.
const CONNECTIONS_MAX: usize = 16;

/// How long one question may take to arrive and be carried out.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listens on `path`, which only the daemon's own user may open, and the members of `group` if there is one. A socket left over from a crash is replaced; any other
/// file is not touched.
///
/// # Errors
/// If the path is taken by something else, or the directory cannot be written.
pub fn bind(path: &Path, group: Option<&str>) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another daemon answers on this admin socket",
                ));
            }
            std::fs::remove_file(path)?;
        }
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Err(_) => {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
        }
    }
    let listener = UnixListener::bind(path)?;
    // First nobody else, then the group: there is no moment at which others may.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    if let Some(name) = group {
        let groups = std::fs::read_to_string("/etc/group")?;
        let number = group_number(&groups, name).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no group {name} in /etc/group"))
        })?;
        std::os::unix::fs::chown(path, None, Some(number))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    }
    Ok(listener)
}

/// The number of a group in the form of group(5).
fn group_number(groups: &str, wanted: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (name == wanted).then(|| number.parse().ok())?
    })
}

/// Answers operators until the daemon stops. An error of one connection is its own.
pub async fn serve(listener: UnixListener, operations: Arc<Operations>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let operations = Arc::clone(&operations);
                tokio::spawn(async move {
                    let answered = tokio::time::timeout(PATIENCE, answer(stream, &operations)).await;
                    if let Ok(Err(error)) = answered {
                        tracing::debug!(event = "admin-connection", %error);
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(event = "admin-accept", %error);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One question, one answer.
async fn answer(stream: UnixStream, operations: &Operations) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let (reading, mut writing) = stream.into_split();
    let mut line = zeroize::Zeroizing::new(Vec::new());
    BufReader::new(reading.take(QUESTION_OCTETS_MAX as u64)).read_until(b'\n', &mut line).await?;
    let told = match serde_json::from_slice(&line) {
        Ok(question) => operations.carry_out(question, &Caller::local(peer.uid())).await,
        Err(error) => Told::Refused(Refused {
            reason: "question".to_owned(),
            why: format!("this daemon does not understand the question: {error}"),
            kind: Kind::Invalid,
        }),
    };
    let mut octets = serde_json::to_vec(&told)?;
    octets.push(b'\n');
    writing.write_all(&octets).await
}
