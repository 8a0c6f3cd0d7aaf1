//! One TOML text, read strictly: every misspelt key and every value of the wrong form is found, each with its place.
//!
//! serde stops at the first mistake. So the offending key is noted, taken out, and the rest read again until nothing
//! is left to complain about. What remains goes into the layers.

use super::problem::{Key, Part, Place, Problem, Weight};
use config::{Map, Value, ValueKind};
use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// The most mistakes that are reported of one text; a file with more is not a configuration.
const MISTAKES_MAX: usize = 200;

/// What a text came to.
pub struct Document {
    /// The values that are right by themselves.
    pub table: Map<String, Value>,
    /// The keys that were taken out because they were wrong, and every table whose text could not be parsed.
    pub removed: Vec<Key>,
    /// Whether the text is TOML throughout.
    pub syntax: Syntax,
    /// The mistakes.
    pub problems: Vec<Problem>,
}

/// Whether a text is TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Syntax {
    /// It is.
    #[default]
    Whole,
    /// Parts of it are not, so nobody can say what is missing.
    Broken,
}

/// Reads `text` as a `T`. `place` tells where an octet of it stands; `origin` is kept with each value and must say
/// the same in a text.
pub fn read<T: DeserializeOwned>(
    text: &str,
    place: impl Fn(usize) -> Place,
    origin: impl Fn(usize) -> String,
) -> Document {
    let (mut root, errors) = DeTable::parse_recoverable(text);
    let syntax = if errors.is_empty() { Syntax::Whole } else { Syntax::Broken };
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| Problem {
            weight: Weight::Error,
            place: place(error.span().map_or(0, |span| span.start)),
            key: Key::default(),
            value: None,
            why: one_line(error.message()),
            right: "write it as TOML (https://toml.io)".to_owned(),
        })
        .collect();
    let mut removed = Vec::new();
    while removed.len() < MISTAKES_MAX {
        let Err(error) = T::deserialize(toml::de::Deserializer::from(root.clone())) else { break };
        let found = error.span().and_then(|span| locate(root.get_ref(), &span));
        let Some((key, value)) = found else {
            problems.push(mistake(Key::default(), None, error.message(), place(0)));
            return Document { table: Map::new(), removed: vec![Key::default()], syntax, problems };
        };
        let at = error.span().map_or(0, |span| span.start);
        let written = text.get(value).map(one_line).filter(|_| !key.is_secret());
        take_out(root.get_mut(), key.parts());
        // Items of a list have lost their number when another has been taken out before.
        let key =
            if let Some(Part::Item(_)) = key.parts().last() { key.parent().unwrap_or(key) } else { key };
        let problem = mistake(key.clone(), written, error.message(), place(at));
        removed.push(key);
        // Where the syntax is broken, the value is whatever could be made of it.
        if !errors.iter().any(|error| error.span().is_some_and(|span| span.start == at)) {
            problems.push(problem);
        }
    }
    Document { table: table(root.get_ref(), &origin), removed, syntax, problems }
}

/// Where line and column of an octet are, counted from 1; the column in characters.
pub fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|&b| b == b'\n').count();
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count());
    (line.saturating_add(1), column.saturating_add(1))
}

/// The key that serde complains about, and where its value is written. The span is that of an unknown key or of a
/// wrong value.
fn locate(table: &DeTable<'_>, span: &Range<usize>) -> Option<(Key, Range<usize>)> {
    fn in_table(table: &DeTable<'_>, at: &Key, span: &Range<usize>) -> Option<(Key, Range<usize>)> {
        table.iter().find_map(|(name, value)| {
            let key = at.name(name.get_ref());
            if name.span() == *span { Some((key, value.span())) } else { in_value(value, &key, span) }
        })
    }
    fn in_value(value: &Spanned<DeValue<'_>>, key: &Key, span: &Range<usize>) -> Option<(Key, Range<usize>)> {
        let deeper = match value.get_ref() {
            DeValue::Table(table) => in_table(table, key, span),
            DeValue::Array(items) => {
                items.iter().enumerate().find_map(|(at, item)| in_value(item, &key.item(at), span))
            }
            _ => None,
        };
        deeper.or_else(|| (value.span() == *span).then(|| (key.clone(), value.span())))
    }
    in_table(table, &Key::default(), span)
}

fn take_out(table: &mut DeTable<'_>, parts: &[Part]) {
    let Some((Part::Name(name), rest)) = parts.split_first() else { return };
    if rest.is_empty() {
        table.remove(name.as_str());
    } else if let Some(value) = table.get_mut(name.as_str()) {
        take_out_of(value.get_mut(), rest);
    }
}

fn take_out_of(value: &mut DeValue<'_>, parts: &[Part]) {
    match (value, parts) {
        (DeValue::Table(table), parts) => take_out(table, parts),
        (DeValue::Array(items), [Part::Item(at)]) => {
            let mut others = DeArray::new();
            let kept = std::mem::replace(items, DeArray::new()).into_iter().enumerate();
            kept.filter(|(index, _)| index != at).for_each(|(_, item)| others.push(item));
            *items = others;
        }
        (DeValue::Array(items), [Part::Item(at), rest @ ..]) => {
            if let Some(item) = items.get_mut(*at) {
                take_out_of(item.get_mut(), rest);
            }
        }
        _ => {}
    }
}

/// Turns serde's words into a problem: what is wrong before, what would be right after.
fn mistake(key: Key, value: Option<String>, message: &str, place: Place) -> Problem {
    let words = between_backticks(message);
    let (value, why, right) = if let Some((&unknown, known)) =
        words.split_first().filter(|_| message.starts_with("unknown field"))
    {
        (None, "there is no such key here".to_owned(), choose(unknown, known))
    } else if let Some((&unknown, known)) =
        words.split_first().filter(|_| message.starts_with("unknown variant"))
    {
        (value, "this word means nothing here".to_owned(), choose(unknown, known))
    } else if let Some((_, expected)) = message.split_once(", expected ") {
        (value, "the value has the wrong form".to_owned(), format!("write {}", plain(expected)))
    } else if key.is_secret() {
        (None, "the value cannot be used".to_owned(), String::new())
    } else {
        (value, one_line(message), String::new())
    };
    Problem { weight: Weight::Error, place, key, value, why, right }
}

/// What serde expects, in words for people.
fn plain(expected: &str) -> String {
    match expected {
        "u64" => "a whole number",
        "a string" | "path string" | "string or table" => "a text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => return one_line(other),
    }
    .to_owned()
}

fn between_backticks(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

/// Advice for a misspelt word: the nearest known one, or all of them.
fn choose(unknown: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|&word| (distance(unknown, word), word))
        .min()
        .filter(|&(steps, word)| steps <= 1 + word.len() / 4);
    match near {
        Some((_, word)) => format!("did you mean {word}?"),
        None if known.is_empty() => "take it out".to_owned(),
        None => format!("known are {}", known.join(", ")),
    }
}

/// How many letters must be changed, added, left out or swapped with their neighbour to make one word of the other
/// (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    let at = |rows: &[Vec<usize>], i: usize, j: usize| rows.get(i).and_then(|row| row.get(j)).copied();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i.saturating_add(1)];
        for (j, cb) in b.iter().enumerate() {
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca);
            let best = [
                at(&rows, i, j).map(|n| n + usize::from(ca != cb)),
                at(&rows, i, j + 1).map(|n| n + 1),
                row.get(j).map(|n| n + 1),
                swapped.then(|| at(&rows, i - 1, j - 1)).flatten().map(|n| n + 1),
            ];
            row.push(best.into_iter().flatten().min().unwrap_or(0));
        }
        rows.push(row);
    }
    at(&rows, a.len(), b.len()).unwrap_or(usize::MAX)
}

/// Text for one line of at most 120 characters.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(121).collect();
    if line.chars().count() > 120 {
        line = line.chars().take(119).chain(['…']).collect();
    }
    line
}

fn table(table: &DeTable<'_>, origin: &impl Fn(usize) -> String) -> Map<String, Value> {
    let entry = |(name, written): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        // The header of a table may stand anywhere; its name is where people look.
        let at = if written.get_ref().is_table() { name.span() } else { written.span() };
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        (name.clone().into_owned(), value(written, at.start, origin))
    };
    table.iter().map(entry).collect()
}

fn value(written: &Spanned<DeValue<'_>>, at: usize, origin: &impl Fn(usize) -> String) -> Value {
    let kind = match written.get_ref() {
        DeValue::String(text) => ValueKind::String(text.clone().into_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(ValueKind::Nil, ValueKind::I64)
        }
        DeValue::Float(number) => number.as_str().parse().map_or(ValueKind::Nil, ValueKind::Float),
        DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
        DeValue::Datetime(time) => ValueKind::String(time.to_string()),
        DeValue::Array(items) => {
            ValueKind::Array(items.iter().map(|item| value(item, item.span().start, origin)).collect())
        }
        DeValue::Table(inner) => ValueKind::Table(table(inner, origin)),
    };
    Value::new(Some(&origin(at)), kind)
}

#[cfg(test)]
mod tests {
    use super::super::file::Root;
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let place = |at| Place::File("f".into(), Some(line_and_column(text, at)));
        read::<Root>(text, place, |_| String::new()).problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn sec_09_every_mistake_of_a_file_is_found_at_once() {
        let text = r#"
[radius]
lisen = "127.0.0.1:1812"
attributes-max = "many"
[[radius.client]]
name = "a"
network = ["192.0.2.1/24", "192.0.2.2", "x"]
message-authenticator = "requird"
[service.x]
period = "60"
[[service.x.operation]]
nmae = "transfer"
[wholly]
new = 1
"#;
        let expected = [
            "f:3:1: error: radius.lisen: there is no such key here; did you mean listen?",
            r#"f:4:18: error: radius.attributes-max = "many": the value has the wrong form; write a whole number"#,
            r#"f:7:12: error: radius.client[0].network = "192.0.2.1/24": the value has the wrong form; write a network such as "192.0.2.0/24" or "2001:db8::/48", with no bits set after the mask"#,
            r#"f:7:41: error: radius.client[0].network = "x": the value has the wrong form; write a network such as "192.0.2.0/24" or "2001:db8::/48", with no bits set after the mask"#,
            r#"f:8:25: error: radius.client[0].message-authenticator = "requird": this word means nothing here; did you mean require?"#,
            r#"f:10:10: error: service.x.period = "60": the value has the wrong form; write a length of time such as "500ms", "5s", "30m", "8h", "30d" or "3y""#,
            "f:12:1: error: service.x.operation[0].nmae: there is no such key here; did you mean name?",
            "f:13:2: error: wholly: there is no such key here; known are services, radius, directory, service, state, http, admin, mail, audit, log",
        ];
        assert_eq!(problems(text), expected);
    }

    #[test]
    fn syntax_errors_are_all_found_and_the_rest_is_still_read() {
        let found = problems("[radius\nlisten = \n[http]\nlistn = 1\n");
        assert!(found.len() >= 2, "{found:?}");
        assert!(found.iter().any(|line| line.starts_with("f:4:1: error: http.listn")), "{found:?}");
    }

    #[test]
    fn sec_08_a_secret_of_the_wrong_type_is_not_shown() {
        for text in ["[[radius.client]]\nsecret = 8437218\n", "[[radius.client]]\nsecret = [\"8437218\"]\n"] {
            let found = problems(text);
            assert_eq!(found.len(), 1);
            assert!(!found[0].contains("8437218"), "{found:?}");
        }
    }

    #[test]
    fn near_words_are_near() {
        for (a, b, steps) in
            [("", "abc", 3), ("lisen", "listen", 1), ("nmae", "name", 1), ("same", "same", 0)]
        {
            assert_eq!(distance(a, b), steps);
        }
    }
}
