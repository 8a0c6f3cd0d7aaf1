//! `sekisho token export`: tokens with their keys as a PSKC file. The keys are encrypted where they are, in the daemon.

use super::command::{TokenExport, Written};
use super::import::pre_shared;
use super::output::{complain, print};
use super::progress::Progress;
use super::remote::{act, ask, ended, read_line};
use super::{Exit, Failure};
use crate::admin::protocol::{Ask, Exported, Mode, Password, Question, Told};
use crate::formats::pskc::{self, Randomness, Seal, Under};
use crate::secret::Secret;
use data_encoding::BASE64;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Rounds of PBKDF2 over the password of a file, which whoever finds it can try at leisure (OWASP's figure for SHA-1 is
/// 1,300,000; readers of other makers take seconds for that).
const ROUNDS: u32 = 600_000;

/// The shortest password of a file, in characters.
const PASSWORD_MIN: usize = 12;

/// Exports tokens.
pub fn run(arguments: &TokenExport) -> Result<Exit, Failure> {
    let Written::Pskc = arguments.format;
    if arguments.acting.dry_run {
        let nothing = || Password(String::new());
        return act(&arguments.acting, question(arguments, nothing(), nothing(), None));
    }
    let (header, seal) = begun(arguments)?;
    // Before a single key leaves: a file that cannot be written must not cost an entry in the evidence.
    let mut file = arguments.output.as_deref().map(NewFile::create).transpose()?;
    let (key, mac_key) = seal.keys();
    let mut text = header;
    let (mut written, mut uncounted, mut after) = (0_usize, Vec::new(), None);
    let mut progress = Progress::new("exporting", None);
    loop {
        let encoded = |key: &Secret| Password(BASE64.encode(key.expose()));
        let ask_for = question(arguments, encoded(key), encoded(mac_key), after);
        let acting = &arguments.acting;
        let asked = Question { ask: ask_for, actor: acting.actor.clone(), mode: Mode::Do };
        match ask(&acting.daemon, &asked)? {
            Told::Exported { packages, uncounted: others, next } => {
                written = written.saturating_add(packages.len());
                uncounted.extend(others);
                packages.iter().for_each(|package| text.push_str(package));
                after = next;
            }
            other => return ended(other, arguments.acting.json),
        }
        progress.at(written);
        if after.is_none() {
            break;
        }
    }
    drop(progress);
    text.push_str(pskc::close());
    match &mut file {
        Some(file) => {
            file.keep(&text)?;
            print(&format!("{written} tokens are in {}\n", file.path.display()))?;
        }
        None => {
            print(&text)?;
            complain(&format!("{written} tokens"));
        }
    }
    for serial in &uncounted {
        complain(&format!(
            "{serial} was left out: marks were lost, so nobody knows which of its codes are used up; `sekisho token resync \
             {serial}` with two codes of it, then export it again"
        ));
    }
    Ok(if uncounted.is_empty() { Exit::Done } else { Exit::Refused })
}

fn question(arguments: &TokenExport, key: Password, mac_key: Password, after: Option<String>) -> Ask {
    Ask::TokenExport(Exported { key, mac_key, state: arguments.state.clone(), after })
}

/// The header of the file, and what protects its keys.
fn begun(arguments: &TokenExport) -> Result<(String, Seal), Failure> {
    let mut random = Randomness { salt: [0; 16], mac_key: [0; 20], initial_vector: [0; 16] };
    getrandom::fill(&mut random.salt)
        .and_then(|()| getrandom::fill(&mut random.mac_key))
        .and_then(|()| getrandom::fill(&mut random.initial_vector))
        .map_err(|error| Failure::Unavailable(format!("the system gives no random octets: {error}")))?;
    let sealed = match &arguments.pre_shared_key {
        Some(name) => {
            let key = pre_shared(&read_line("pre-shared key, hexadecimal")?)?;
            pskc::open(Under::PreShared { name, key }, &random)
        }
        None => {
            let password = read_line("password for the file")?;
            if password.0.chars().count() < PASSWORD_MIN {
                let why = format!("the password of a file with keys has at least {PASSWORD_MIN} characters");
                return Err(Failure::Usage(why));
            }
            let password = Secret::new(password.0.as_bytes());
            pskc::open(Under::Password { password: &password, rounds: ROUNDS }, &random)
        }
    };
    sealed.map_err(|problem| Failure::Usage(problem.to_string()))
}

/// A new file that nobody else may read; gone again unless it is kept.
struct NewFile<'a> {
    path: &'a Path,
    open: Option<File>,
}

impl<'a> NewFile<'a> {
    /// A file that exists is not overwritten: it may be the only copy of its keys.
    fn create(path: &'a Path) -> Result<NewFile<'a>, Failure> {
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let open = open.map_err(|error| Failure::Io(path.display().to_string(), error))?;
        Ok(NewFile { path, open: Some(open) })
    }

    fn keep(&mut self, text: &str) -> Result<(), Failure> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let written = open.write_all(text.as_bytes()).and_then(|()| open.sync_all());
        written.map_err(|error| Failure::Io(self.path.display().to_string(), error))?;
        self.open = None;
        Ok(())
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if self.open.is_some() {
            let _ = std::fs::remove_file(self.path);
        }
    }
}
