//! Secrets from files and systemd credentials; inline only where nothing leaves this machine.

use super::Report;
use crate::config::problem::Key;
use crate::secret::Secret;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

/// Where a secret may be written, as the file says it.
pub struct Written<'f> {
    /// The key of the secret itself, such as `bind-password`; `-file` and `-credential` are added to it.
    pub name: &'static str,
    /// The secret itself.
    pub inline: Option<&'f String>,
    /// The file that holds it.
    pub file: Option<&'f PathBuf>,
    /// The credential that holds it.
    pub credential: Option<&'f String>,
}

/// Whether everything that a secret protects stays on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It does.
    Loopback,
    /// It does not, or nobody knows.
    Network,
}

/// A larger file holds no secret.
const SECRET_MAX: u64 = 64 << 10;

impl Written<'_> {
    /// The key that the secret was given under, for problems with what it holds.
    pub fn key(&self, table: &Key) -> Key {
        match (self.inline, self.file, self.credential) {
            (None, Some(_), _) => table.name(&format!("{}-file", self.name)),
            (None, None, Some(_)) => table.name(&format!("{}-credential", self.name)),
            _ => table.name(self.name),
        }
    }

    /// Whether it is given in any way.
    pub fn is_given(&self) -> bool {
        self.inline.is_some() || self.file.is_some() || self.credential.is_some()
    }

    /// Reads it from the one place that is given; reports and returns `None` otherwise.
    pub fn read(&self, table: &Key, reach: Reach, report: &mut Report<'_>) -> Option<Secret> {
        let name = self.name;
        let key = self.key(table);
        let given = [self.inline.is_some(), self.file.is_some(), self.credential.is_some()];
        if given.iter().filter(|&&given| given).count() > 1 {
            let right = format!("leave one of {name}, {name}-file and {name}-credential");
            report.refuse(&key, "the secret is given in more than one way", right);
            return None;
        }
        if let Some(inline) = self.inline {
            if reach == Reach::Network {
                let right = format!("use {name}-file or {name}-credential");
                report.refuse(&key, "a secret in a configuration file is for loopback only", right);
                return None;
            }
            return Some(Secret::new(inline.as_bytes()));
        }
        if let Some(credential) = self.credential {
            let plain = !credential.is_empty() && !credential.contains('/') && !credential.starts_with('.');
            if !plain {
                report.refuse(
                    &key,
                    "this is no name of a credential",
                    "write the name that LoadCredential= gives it",
                );
                return None;
            }
            let Some(folder) = report.credentials() else {
                let right = format!("start under systemd with LoadCredential={credential}:/path/to/file");
                report.refuse(&key, "there are no credentials: CREDENTIALS_DIRECTORY is not set", right);
                return None;
            };
            // systemd guards the folder; the files in it carry an access list that looks like a group's.
            return read(&folder.join(credential), &key, Guard::Folder, report);
        }
        let Some(file) = self.file else {
            let right = format!("write {name}-file or {name}-credential");
            report.missing(&table.name(&format!("{name}-file")), "it is missing", &right);
            return None;
        };
        read(&report.path(&key, file), &key, Guard::Mode, report)
    }
}

/// A file that nobody else may read, without the line end behind its content.
pub fn file(path: &Path, key: &Key, report: &mut Report<'_>) -> Option<Secret> {
    read(&report.path(key, path), key, Guard::Mode, report)
}

/// What keeps others from reading a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// The file's own mode.
    Mode,
    /// The folder it is in.
    Folder,
}

/// The content of a file without the line end behind it.
fn read(path: &Path, key: &Key, guard: Guard, report: &mut Report<'_>) -> Option<Secret> {
    let mut octets = Vec::new();
    let opened = std::fs::File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        Ok((file, metadata))
    });
    let (file, metadata) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let right = "name a file that the service may read";
            report.refuse(key, format!("{} cannot be read: {error}", path.display()), right);
            return None;
        }
    };
    if !metadata.is_file() {
        report.refuse(
            key,
            format!("{} is no regular file", path.display()),
            "name a file with the secret in it",
        );
        return None;
    }
    if guard == Guard::Mode && metadata.mode() & 0o077 != 0 {
        let (path, mode) = (path.display(), metadata.mode() & 0o7777);
        report.refuse(
            key,
            format!("others may use {path} (mode {mode:04o})"),
            format!("run: chmod 600 {path}"),
        );
        return None;
    }
    octets.reserve_exact(usize::try_from(metadata.len().min(SECRET_MAX)).unwrap_or(0).saturating_add(1));
    let read = file.take(SECRET_MAX.saturating_add(1)).read_to_end(&mut octets);
    let too_long = u64::try_from(octets.len()).unwrap_or(u64::MAX) > SECRET_MAX;
    if let Err(error) = read {
        octets.zeroize();
        report.refuse(key, format!("{} cannot be read: {error}", path.display()), "try again");
        return None;
    }
    if too_long {
        octets.zeroize();
        report.refuse(
            key,
            format!("{} is longer than 64 KiB", path.display()),
            "name a file with one secret in it",
        );
        return None;
    }
    let line = octets.strip_suffix(b"\n").map_or(&*octets, |line| line.strip_suffix(b"\r").unwrap_or(line));
    let secret = Secret::new(line);
    octets.zeroize();
    Some(secret)
}
