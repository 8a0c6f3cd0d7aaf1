//! A problem in the configuration: where it stands, what is wrong, and what would be right.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong, or looks wrong. Prints on one line in the form that editors jump to:
/// `FILE:LINE:COLUMN: error: KEY = VALUE: WHY; RIGHT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the configuration can be used nevertheless.
    pub weight: Weight,
    /// Where the value stands, or should stand.
    pub place: Place,
    /// The key, such as `radius.client[0].timeout`; empty if the text is not TOML.
    pub key: Key,
    /// The value as written; never that of a secret.
    pub value: Option<String>,
    /// What is wrong with it.
    pub why: String,
    /// What would be right.
    pub right: String,
}

/// Whether a configuration with the problem is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It is refused.
    Error,
    /// It is used, and the operator is told.
    Warning,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nobody has set it.
    Default,
    /// A file; line and column count from 1, and are missing if the value is missing or the file cannot be read.
    File(PathBuf, Option<(usize, usize)>),
    /// An environment variable.
    Environment(String),
}

/// A key with the tables and lists it stands in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Key(Vec<Part>);

/// One step down to a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Into a table.
    Name(String),
    /// Into a list, counted from 0.
    Item(usize),
}

impl Key {
    /// A key that stands in tables, outermost first.
    pub fn of(names: &[&str]) -> Key {
        Key(names.iter().map(|&name| Part::Name(name.to_owned())).collect())
    }

    /// The key `name` in the table that this one names.
    #[must_use]
    pub fn name(&self, name: &str) -> Key {
        self.with(Part::Name(name.to_owned()))
    }

    /// The item at `index` of the list that this one names.
    #[must_use]
    pub fn item(&self, index: usize) -> Key {
        self.with(Part::Item(index))
    }

    /// The steps from the top.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The table or list around it; `None` at the top.
    pub fn parent(&self) -> Option<Key> {
        self.0.split_last().map(|(_, above)| Key(above.to_vec()))
    }

    /// The innermost name.
    pub fn last_name(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Item(_) => None,
        })
    }

    /// Whether the value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.last_name().is_some_and(|name| SECRETS.contains(&name))
    }

    /// The same for a value that may carry a secret within it: the URL of an engine with a password.
    pub fn hides(&self, value: &config::Value) -> bool {
        let carries = |url: &str| {
            let authority = url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
            authority.and_then(|text| text.rsplit_once('@')).is_some_and(|(login, _)| login.contains(':'))
        };
        let url = self.last_name() == Some("cluster");
        self.is_secret() || url && matches!(&value.kind, config::ValueKind::String(text) if carries(text))
    }

    /// Whether this is `other` or stands within it.
    pub fn is_within(&self, other: &Key) -> bool {
        self.0.starts_with(&other.0)
    }

    fn with(&self, part: Part) -> Key {
        let mut parts = self.0.clone();
        parts.push(part);
        Key(parts)
    }
}

/// The keys whose values are secrets themselves, not names of files.
const SECRETS: [&str; 4] = ["secret", "next-secret", "bind-password", "cluster-password"];

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            match part {
                Part::Name(name) => {
                    let dot = if at == 0 { "" } else { "." };
                    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                    if !name.is_empty() && name.bytes().all(bare) {
                        write!(f, "{dot}{name}")?;
                    } else {
                        write!(f, "{dot}{name:?}")?;
                    }
                }
                Part::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Default => f.write_str("default"),
            Place::File(file, None) => write!(f, "{}", file.display()),
            Place::File(file, Some((line, column))) => write!(f, "{}:{line}:{column}", file.display()),
            Place::Environment(variable) => write!(f, "environment {variable}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
        };
        write!(f, "{}: {weight}: ", self.place)?;
        match (&self.value, self.key.parts()) {
            (_, []) => {}
            (Some(value), _) => write!(f, "{} = {value}: ", self.key)?,
            (None, _) => write!(f, "{}: ", self.key)?,
        }
        f.write_str(&self.why)?;
        if self.right.is_empty() { Ok(()) } else { write!(f, "; {}", self.right) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_09_a_problem_names_file_line_key_value_reason_and_cure() {
        let problem = Problem {
            weight: Weight::Error,
            place: Place::File("a.toml".into(), Some((3, 5))),
            key: Key::of(&["radius", "client"]).item(1).name("Attr-241.1"),
            value: Some("\"x\"".into()),
            why: "it is wrong".into(),
            right: "write y".into(),
        };
        let text = r#"a.toml:3:5: error: radius.client[1]."Attr-241.1" = "x": it is wrong; write y"#;
        assert_eq!(problem.to_string(), text);
    }
}
