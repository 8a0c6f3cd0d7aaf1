//! Configuration: the file as written, the settings as meant, and all problems at once.
//!
//! ```text
//! defaults.toml ─┐
//! services       ├─ document: strict, ─▶ layers: merged, each ─▶ file: typed ─▶ build: checked ─▶ Settings
//! FILE           │  every mistake        value with its origin                        │
//! conf.d/*.toml  │         └──────────────────────────────────────────────────────────┴──▶ all problems
//! environment   ─┘
//! ```

mod build;
mod document;
mod file;
mod layers;
mod problem;
mod show;
mod value;

#[cfg(test)]
mod tests;

pub use build::{Admin, Directory, Embedded, Http, Ldap, Log, Mail, Radius, Settings};
pub use file::{LogFormat, LogLevel};
pub use layers::Inputs;
pub use problem::{Key, Place, Problem, Weight};

use build::Report;
use layers::Layers;
use show::Effective;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Tables that a reload replaces.
const RELOADED: [&str; 5] = ["radius.client", "service", "http.caller", "admin.may", "admin.operator"];

/// Reads a length of time such as `5s` or `30m`, as configuration and command line write it.
pub fn length(text: &str) -> Option<std::time::Duration> {
    value::Length::parse(text).map(|length| length.0)
}

/// What reading a configuration came to.
pub struct Loaded {
    /// The settings; `None` if anything is an error.
    pub settings: Option<Settings>,
    /// Everything that is wrong or looks wrong, in the order of files and lines.
    pub problems: Vec<Problem>,
    layers: Layers,
}

impl Loaded {
    /// The errors, without the warnings.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.weight == Weight::Error)
    }

    /// The warnings.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.weight == Weight::Warning)
    }

    /// What a reload cannot change, by table: everything but clients, services, and who may act, as text.
    pub fn fixed(&self) -> BTreeMap<String, String> {
        let mut tables = BTreeMap::new();
        let mut table = String::new();
        for line in self.effective().to_string().lines() {
            if let Some(header) = line.strip_prefix('[') {
                header.trim_matches(['[', ']']).clone_into(&mut table);
            } else if !RELOADED.iter().any(|reloaded| table.starts_with(reloaded)) {
                let value = line.split("  # ").next().unwrap_or_default();
                let text: &mut String = tables.entry(table.clone()).or_default();
                text.push_str(value);
                text.push('\n');
            }
        }
        tables
    }

    /// The effective configuration as TOML, secrets hidden, the origin of each value behind it.
    pub fn effective(&self) -> impl std::fmt::Display {
        Effective(&self.layers)
    }
}

/// Where the admin socket is, whatever else may be wrong: commands that ask the daemon need no secret of it.
pub fn admin_socket(inputs: &Inputs) -> Option<PathBuf> {
    let (layers, _) = Layers::read(inputs);
    let root = layers.root().clone().try_deserialize::<file::Root>().ok()?;
    let report = Report::new(&layers, None);
    Some(report.path(&Key::of(&["admin", "socket"]), root.admin?.socket.as_ref()?))
}

/// Reads and checks a whole configuration. Secrets and keys are read, sockets and databases are not touched.
pub fn load(inputs: &Inputs) -> Loaded {
    let (layers, mut problems) = Layers::read(inputs);
    let mut report = Report::new(&layers, inputs.credentials.as_deref());
    let settings = match layers.root().clone().try_deserialize::<file::Root>() {
        Ok(root) => build::build(&root, &mut report),
        Err(error) => {
            report.refuse(&Key::default(), format!("the layers contradict each other: {error}"), "");
            None
        }
    };
    problems.extend(report.into_problems());
    problems.sort_by(|a, b| (&a.place, &a.key).cmp(&(&b.place, &b.key)));
    problems.dedup();
    let settings = settings.filter(|_| problems.iter().all(|problem| problem.weight == Weight::Warning));
    Loaded { settings, problems, layers }
}
