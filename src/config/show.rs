//! The effective configuration as text: every value, no secret, and where each comes from.

use super::layers::Layers;
use super::problem::Key;
use config::{Map, Value, ValueKind};
use std::fmt::{self, Write as _};

/// What stands in the place of a secret.
const HIDDEN: &str = "\"[hidden]\"";

/// Prints as TOML that could be read again, were the secrets not hidden; each value's origin is a comment behind it.
pub struct Effective<'l>(pub &'l Layers);

impl fmt::Display for Effective<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.root().kind {
            ValueKind::Table(root) => self.table(f, &Key::default(), root),
            _ => Ok(()),
        }
    }
}

impl Effective<'_> {
    fn table(&self, f: &mut fmt::Formatter<'_>, at: &Key, table: &Map<String, Value>) -> fmt::Result {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.as_str());
        let mut inner = Vec::new();
        for (name, value) in entries {
            let key = at.name(name);
            match &value.kind {
                ValueKind::Table(_) if !is_plain(&key) => inner.push((key, value)),
                ValueKind::Array(items)
                    if items.iter().any(|item| matches!(item.kind, ValueKind::Table(_))) =>
                {
                    inner.push((key, value));
                }
                ValueKind::Array(items) if items.is_empty() && is_list_of_tables(&key) => {}
                _ => {
                    let text = if key.hides(value) { Some(HIDDEN.to_owned()) } else { toml(value) };
                    let name = Key::of(&[name]);
                    writeln!(f, "{name} = {}  # {}", text.unwrap_or_default(), self.0.origin(value))?;
                }
            }
        }
        for (key, value) in inner {
            match &value.kind {
                ValueKind::Table(table) => {
                    writeln!(f, "\n[{}]", header(&key))?;
                    self.table(f, &key, table)?;
                }
                ValueKind::Array(items) => {
                    for (at, item) in items.iter().enumerate() {
                        writeln!(f, "\n[[{}]]", header(&key))?;
                        if let ValueKind::Table(table) = &item.kind {
                            self.table(f, &key.item(at), table)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Tables that are written on one line.
fn is_plain(key: &Key) -> bool {
    matches!(key.last_name(), Some("match" | "window"))
}

fn is_list_of_tables(key: &Key) -> bool {
    matches!(key.last_name(), Some("client" | "operation"))
}

/// The key as it stands in a header: without the numbers of list items.
fn header(key: &Key) -> Key {
    use super::problem::Part;
    key.parts().iter().fold(Key::default(), |header, part| match part {
        Part::Name(name) => header.name(name),
        Part::Item(_) => header,
    })
}

/// A value on one line; `None` for one that TOML cannot hold.
pub fn toml(value: &Value) -> Option<String> {
    let mut text = String::new();
    match &value.kind {
        ValueKind::String(written) => text.push_str(&serde_json::Value::from(written.as_str()).to_string()),
        ValueKind::Boolean(truth) => write!(text, "{truth}").ok()?,
        ValueKind::I64(number) => write!(text, "{number}").ok()?,
        ValueKind::Float(number) => write!(text, "{number}").ok()?,
        ValueKind::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(toml).collect();
            write!(text, "[{}]", items?.join(", ")).ok()?;
        }
        ValueKind::Table(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(name, _)| name.as_str());
            let entry = |(name, value): (&String, &Value)| {
                let key = Key::of(&[name]);
                let value = if key.hides(value) { Some(HIDDEN.to_owned()) } else { toml(value) };
                value.map(|value| format!("{key} = {value}"))
            };
            let entries: Option<Vec<String>> = entries.into_iter().map(entry).collect();
            write!(text, "{{ {} }}", entries?.join(", ")).ok()?;
        }
        _ => return None,
    }
    Some(text)
}
