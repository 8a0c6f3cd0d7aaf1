//! `sekisho check`: everything that `serve` would refuse, and why.

use super::command::Check;
use super::output::{complain, print};
use super::{Exit, Failure};
use crate::cluster;
use crate::config::{self, Directory, Inputs};
use crate::directory::ldap::{self, Guarded, Lacks};
use std::fmt::Write as _;

/// Lists all problems on standard output, one a line, and the result on standard error.
pub fn run(arguments: &Check) -> Result<Exit, Failure> {
    let file = &arguments.config.file;
    let loaded = config::load(&Inputs::of_process(file));
    let mut lines = String::new();
    for problem in &loaded.problems {
        let _ = writeln!(lines, "{problem}");
    }
    let (mut errors, mut warnings) = (loaded.errors().count(), loaded.warnings().count());
    if arguments.online
        && let Some(settings) = &loaded.settings
        && let Directory::Ldap(directory) = &settings.directory
    {
        match trouble(&directory.settings)? {
            Ok(read_only) => {
                for lacks in &read_only {
                    let key =
                        format!("{}: warning: directory.ldap: read-only for acts on tokens", file.display());
                    let _ = writeln!(lines, "{key}: {lacks}");
                }
                warnings = warnings.saturating_add(read_only.len());
            }
            Err(why) => {
                let _ = writeln!(lines, "{}: error: directory.ldap: {why}", file.display());
                errors = errors.saturating_add(1);
            }
        }
    }
    if arguments.online
        && let Some(cluster) = loaded.settings.and_then(|settings| settings.cluster)
        && let Some(why) = cluster_trouble(cluster)?
    {
        let _ = writeln!(lines, "{}: error: state.cluster: the engine {why}", file.display());
        errors = errors.saturating_add(1);
    }
    print(&lines)?;
    complain(&format!("{}: {errors} errors, {warnings} warnings", file.display()));
    Ok(if errors == 0 { Exit::Done } else { Exit::Configuration })
}

/// What keeps the shared engine from being used: connection, certificate, password.
fn cluster_trouble(settings: cluster::Settings) -> Result<Option<String>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io("the runtime".to_owned(), error))?;
    Ok(runtime.block_on(cluster::try_out(settings)).err().map(|trouble| trouble.to_string()))
}

/// What the directory itself says against the settings: connection, certificate, bind, and the combination that would
/// use each code up twice (contract.md 4). Without trouble, what keeps acts on tokens from being written.
fn trouble(settings: &ldap::Settings) -> Result<Result<Vec<Lacks>, String>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io("the runtime".to_owned(), error))?;
    let unusable = |trouble| format!("no server can be used: {trouble}");
    Ok(match runtime.block_on(ldap::otp_overlay_guards(settings)) {
        Ok(Guarded::No | Guarded::Unknown) => {
            runtime.block_on(ldap::writing_lacks(settings)).map_err(unusable)
        }
        Ok(Guarded::Yes) => Err(
            "slapd's otp overlay asks for the code in the bind itself and would use it up; take the overlay away from \
             the database of the users"
                .to_owned(),
        ),
        Err(trouble) => Err(unusable(trouble)),
    })
}
