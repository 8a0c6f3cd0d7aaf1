//! `sekisho keys`: a new key for token secrets, and every token sealed anew under it.

use super::command::{KeysList, KeysRewrap, KeysRotate};
use super::output::{complain, print};
use super::remote::{ask, ended, look, print_json};
use super::{Exit, Failure};
use crate::admin::protocol::{Ask, KeysShown, Mode, Question, RewrapState, Told};
use crate::config::{self, Directory, Inputs};
use crate::directory::embedded::KEY_FILE;
use crate::directory::seal;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

/// How often a run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Puts a new key before the others in the key file.
pub fn rotate(arguments: &KeysRotate) -> Result<Exit, Failure> {
    let file = match &arguments.key_file {
        Some(file) => file.clone(),
        None => configured(&arguments.config.file)?,
    };
    match seal::rotate(&file, &arguments.id) {
        Ok(()) => {
            print(&format!(
                "key {} stands first in {}; now reload every node (systemctl reload sekisho), then: sekisho keys rewrap\n",
                arguments.id,
                file.display()
            ))?;
            Ok(Exit::Done)
        }
        Err(seal::RotateProblem::File { file, source }) => {
            Err(Failure::Io(file.display().to_string(), source))
        }
        Err(problem) => {
            complain(&problem.to_string());
            Ok(Exit::Refused)
        }
    }
}

/// Lists the keys of the running daemon, and how far sealing anew is.
pub fn list(arguments: &KeysList) -> Result<Exit, Failure> {
    match look(&arguments.looking, Ask::KeysList)? {
        Told::Keys(keys) if arguments.looking.json => print_json(&*keys),
        Told::Keys(keys) => {
            let mut text = String::new();
            for (at, id) in keys.keys.iter().enumerate() {
                text.push_str(&format!("{id}{}\n", if at == 0 { "  seals" } else { "" }));
            }
            text.push_str(&format!("{}\n", words(&keys)));
            print(&text)?;
            Ok(Exit::Done)
        }
        other => ended(other, arguments.looking.json),
    }
}

/// Has every token sealed anew, and waits for the end.
pub fn rewrap(arguments: &KeysRewrap) -> Result<Exit, Failure> {
    let acting = &arguments.acting;
    let question = |ask_for, mode| Question { ask: ask_for, actor: acting.actor.clone(), mode };
    let mode = if acting.dry_run { Mode::DryRun } else { Mode::Do };
    let mut told = ask(&acting.daemon, &question(Ask::KeysRewrap, mode))?;
    let shows = std::io::stderr().is_terminal() && !acting.json;
    loop {
        match told {
            Told::WouldDo { what } => {
                print(&format!("would {what}\n"))?;
                return Ok(Exit::Done);
            }
            Told::Keys(keys) if keys.rewrap.state == RewrapState::Running => {
                if shows {
                    complain(&words(&keys));
                }
                std::thread::sleep(LOOK_EVERY);
                told = ask(&acting.daemon, &question(Ask::KeysList, Mode::Do))?;
            }
            Told::Keys(keys) => {
                if acting.json {
                    print_json(&*keys)?;
                } else {
                    print(&format!("{}\n", words(&keys)))?;
                    keys.rewrap.why.iter().for_each(|why| complain(why));
                }
                let done = keys.rewrap.state == RewrapState::Done;
                return Ok(if done { Exit::Done } else { Exit::Refused });
            }
            other => return ended(other, acting.json),
        }
    }
}

fn words(keys: &KeysShown) -> String {
    let rewrap = &keys.rewrap;
    let state = match rewrap.state {
        RewrapState::Idle => return "nothing was sealed anew since the start".to_owned(),
        RewrapState::Running => "sealing anew",
        RewrapState::Done => "sealed anew",
        RewrapState::Failed => "not all could be sealed anew",
    };
    format!(
        "{state}: {} tokens looked at, {} sealed under {}, {} not sealed at all, {} failed",
        rewrap.looked_at,
        rewrap.resealed,
        keys.keys.first().map_or("no key", String::as_str),
        rewrap.plain,
        rewrap.failed
    )
}

/// The key file that configuration names.
fn configured(config: &std::path::Path) -> Result<PathBuf, Failure> {
    let loaded = config::load(&Inputs::of_process(config));
    let file = match loaded.settings.as_ref().map(|settings| &settings.directory) {
        Some(Directory::Ldap(ldap)) => ldap.seal_key_file.clone(),
        Some(Directory::Embedded(embedded)) => Some(embedded.folder.join(KEY_FILE)),
        None => {
            let why = format!(
                "{} has errors, see `sekisho check`; or name the file with --key-file",
                config.display()
            );
            return Err(Failure::Configuration(why));
        }
    };
    file.ok_or_else(|| {
        Failure::Usage(
            "the configuration names no seal-key-file (a credential cannot be rewritten here); name its source with \
             --key-file"
                .to_owned(),
        )
    })
}
