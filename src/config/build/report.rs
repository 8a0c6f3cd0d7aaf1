//! Collects what is wrong while settings are built, and looks up where it stands.

use crate::config::document::Syntax;
use crate::config::layers::Layers;
use crate::config::problem::{Key, Problem, Weight};
use crate::config::show::toml;
use crate::config::value::Length;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The problems found so far, and the layers that tell where each stands.
pub struct Report<'l> {
    layers: &'l Layers,
    credentials: Option<&'l Path>,
    problems: Vec<Problem>,
}

impl<'l> Report<'l> {
    /// An empty report. `credentials` is the folder of systemd credentials.
    pub fn new(layers: &'l Layers, credentials: Option<&'l Path>) -> Report<'l> {
        Report { layers, credentials, problems: Vec::new() }
    }

    /// What has been found.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Whether there is no error; warnings do not count.
    pub fn is_clean(&self) -> bool {
        self.problems.iter().all(|problem| problem.weight == Weight::Warning)
    }

    /// The folder of systemd credentials, if there is one.
    pub fn credentials(&self) -> Option<&'l Path> {
        self.credentials
    }

    /// The value of a key cannot be used.
    pub fn refuse(&mut self, key: &Key, why: impl Into<String>, right: impl Into<String>) {
        self.add(Weight::Error, key, why.into(), right.into());
    }

    /// The value of a key is used, but the operator should know.
    pub fn warn(&mut self, key: &Key, why: impl Into<String>, right: impl Into<String>) {
        self.add(Weight::Warning, key, why.into(), right.into());
    }

    /// A value that must be there.
    pub fn need<T>(&mut self, key: &Key, value: Option<T>, right: &str) -> Option<T> {
        if value.is_none() {
            self.missing(key, "it is missing", right);
        }
        value
    }

    /// A value is not there. One that was there but wrong has been reported already.
    pub fn missing(&mut self, key: &Key, why: &str, right: &str) {
        if !self.layers.is_removed(key) && self.layers.syntax() == Syntax::Whole {
            self.refuse(key, why, right);
        }
    }

    /// The value that a type's own constructor made, or its refusal.
    pub fn keep<T, E: Display>(&mut self, key: &Key, made: Result<T, E>) -> Option<T> {
        made.map_err(|refusal| self.refuse(key, refusal.to_string(), "")).ok()
    }

    /// A number within bounds; the lower bound after a refusal.
    pub fn number(&mut self, key: &Key, value: Option<u64>, bounds: RangeInclusive<u64>) -> usize {
        let value = value.unwrap_or(*bounds.start());
        if !bounds.contains(&value) {
            let right = format!("write a number from {} to {}", bounds.start(), bounds.end());
            self.refuse(key, "it is out of bounds", right);
        }
        usize::try_from(value).unwrap_or(usize::MAX)
    }

    /// A length of time within bounds; the lower bound after a refusal.
    pub fn length(&mut self, key: &Key, value: Option<Length>, bounds: RangeInclusive<Duration>) -> Duration {
        let value = value.map_or(*bounds.start(), |value| value.0);
        if !bounds.contains(&value) {
            let (from, to) = (Length(*bounds.start()), Length(*bounds.end()));
            self.refuse(key, "it is out of bounds", format!("write a length of time from {from} to {to}"));
        }
        value
    }

    /// A path, relative to the file that names it.
    pub fn path(&self, key: &Key, path: &Path) -> PathBuf {
        self.layers.value(key).map_or_else(|| path.to_owned(), |value| self.layers.folder(value).join(path))
    }

    fn add(&mut self, weight: Weight, key: &Key, why: String, right: String) {
        let written = self.layers.value(key);
        let place = self.layers.place(key);
        let value = written.filter(|value| !key.hides(value)).and_then(toml);
        self.problems.push(Problem { weight, place, key: key.clone(), value, why, right });
    }
}
