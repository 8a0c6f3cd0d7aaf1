//! Templates: a subject and a text with places for what differs from letter to letter, checked when they are read.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The placeholders of a letter with the ids, in the order in which they are explained.
pub const PLACEHOLDERS: [&str; 6] = ["user", "link", "service-id", "user-id", "serial", "until"];

/// Those of a letter without the ids: they do not exist there, so that no template can mail them by mistake.
const WITHOUT_IDS: [&str; 4] = ["user", "link", "serial", "until"];

/// The names of the files that replace the templates that ship.
pub const FILES: [(Kind, Language, &str); 4] = [
    (Kind::WithIds, Language::Japanese, "issued.ja.txt"),
    (Kind::WithIds, Language::English, "issued.en.txt"),
    (Kind::LinkOnly, Language::Japanese, "issued-link.ja.txt"),
    (Kind::LinkOnly, Language::English, "issued-link.en.txt"),
];

/// A longer template is no letter.
const TEMPLATE_MAX: usize = 64 * 1024;

/// Which letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The link, the service id and the user id (P-A, P-D).
    WithIds,
    /// The link alone: the ids stand on the screen (P-B).
    LinkOnly,
}

/// In which language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Japanese.
    Japanese,
    /// English.
    English,
}

/// What a letter about an issued token says.
#[derive(Clone, Copy, Debug)]
pub struct Issued<'a> {
    /// The user's name.
    pub user: &'a str,
    /// Where the app is set up.
    pub link: &'a str,
    /// The token's serial number.
    pub serial: &'a str,
    /// Until when the setup is possible, in the bank's time zone.
    pub until: &'a str,
    /// The ids, or that they are on the screen.
    pub ids: Mailed<'a>,
}

/// Whether the ids are in the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mailed<'a> {
    /// They are.
    Ids {
        /// The service id.
        service_id: &'a str,
        /// The user id.
        user_id: &'a str,
    },
    /// They stand on the screen only.
    OnScreen,
}

/// A letter without an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The subject: one line.
    pub subject: String,
    /// The text.
    pub text: String,
}

/// A template that has been read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    subject: Vec<Part>,
    text: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Place(&'static str),
}

/// What is wrong with a template, and on which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    /// Too long to be a letter.
    #[error("it is longer than 64 KiB")]
    TooLong,
    /// Not text.
    #[error("it is not UTF-8")]
    NotText,
    /// No subject.
    #[error("the first line must be \"Subject: \" and the subject, the second must be empty")]
    Subject,
    /// No text.
    #[error("there is no text below the subject")]
    Empty,
    /// A placeholder that does not exist.
    #[error("line {line}: there is no {{{name}}} here; there are {known}")]
    Unknown {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        name: Box<str>,
        /// What could.
        known: Box<str>,
    },
    /// A brace that does not end, or begins nothing.
    #[error("line {line}: a brace without its other one; write {{{{ or }}}} for the character itself")]
    Brace {
        /// Counted from 1.
        line: usize,
    },
}

impl Template {
    /// Reads a template for this kind of letter.
    ///
    /// # Errors
    /// See [`TemplateProblem`].
    pub fn parse(octets: &[u8], kind: Kind) -> Result<Template, TemplateProblem> {
        if octets.len() > TEMPLATE_MAX {
            return Err(TemplateProblem::TooLong);
        }
        let text = std::str::from_utf8(octets).map_err(|_| TemplateProblem::NotText)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        let (subject, rest) = text.split_once('\n').ok_or(TemplateProblem::Subject)?;
        let subject = subject.strip_prefix("Subject:").map(str::trim).filter(|subject| !subject.is_empty());
        let subject = subject.ok_or(TemplateProblem::Subject)?;
        let text = rest.strip_prefix('\n').ok_or(TemplateProblem::Subject)?;
        if text.trim().is_empty() {
            return Err(TemplateProblem::Empty);
        }
        let known: &'static [&'static str] = match kind {
            Kind::WithIds => &PLACEHOLDERS,
            Kind::LinkOnly => &WITHOUT_IDS,
        };
        Ok(Template { subject: parts(subject, 1, known)?, text: parts(text, 3, known)? })
    }

    fn fill(&self, issued: &Issued<'_>) -> Letter {
        let filled = |parts: &[Part]| {
            let mut text = String::new();
            for part in parts {
                match part {
                    Part::Text(part) => text.push_str(part),
                    Part::Place(name) => text.push_str(&issued.value(name)),
                }
            }
            text
        };
        Letter { subject: filled(&self.subject), text: filled(&self.text) }
    }
}

impl Issued<'_> {
    /// The kind of letter that this is.
    pub fn kind(&self) -> Kind {
        match self.ids {
            Mailed::Ids { .. } => Kind::WithIds,
            Mailed::OnScreen => Kind::LinkOnly,
        }
    }

    /// What stands at a place. A line end in a value would let it write a header or a paragraph of its own.
    fn value(&self, name: &str) -> Cow<'_, str> {
        let value = match (name, self.ids) {
            ("user", _) => self.user,
            ("link", _) => self.link,
            ("serial", _) => self.serial,
            ("until", _) => self.until,
            ("service-id", Mailed::Ids { service_id, .. }) => service_id,
            ("user-id", Mailed::Ids { user_id, .. }) => user_id,
            _ => "",
        };
        if value.chars().any(char::is_control) {
            Cow::Owned(value.chars().filter(|c| !c.is_control()).collect())
        } else {
            Cow::Borrowed(value)
        }
    }
}

/// Text and places, from a line counted from 1.
fn parts(
    text: &str,
    first_line: usize,
    known: &'static [&'static str],
) -> Result<Vec<Part>, TemplateProblem> {
    let (mut parts, mut plain) = (Vec::new(), String::new());
    for (line, number) in text.split_inclusive('\n').zip(first_line..) {
        let mut rest = line;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
                plain.push_str(brace.get(..1).unwrap_or_default());
                rest = after;
                continue;
            }
            let place = brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, after) = place.ok_or(TemplateProblem::Brace { line: number })?;
            let Some(&name) = known.iter().find(|&&place| place == name.trim()) else {
                let known = braced(known);
                let name = name.chars().take(40).collect();
                return Err(TemplateProblem::Unknown { line: number, name, known });
            };
            parts.push(Part::Text(std::mem::take(&mut plain).into()));
            parts.push(Part::Place(name));
            rest = after;
        }
        plain.push_str(rest);
    }
    parts.push(Part::Text(plain.into()));
    Ok(parts)
}

fn braced(names: &[&str]) -> Box<str> {
    let mut list = String::new();
    for name in names {
        // Writing to a String cannot fail.
        let _ = write!(list, "{}{{{name}}}", if list.is_empty() { "" } else { ", " });
    }
    list.into()
}

/// The templates in use: those that ship, or what replaces them.
#[derive(Clone, Debug)]
pub struct Templates {
    ids: [Template; 2],
    link: [Template; 2],
}

impl Templates {
    /// The four that ship.
    ///
    /// # Errors
    /// Never: a test reads them.
    pub fn shipped() -> Result<Templates, TemplateProblem> {
        let read = |text: &str, kind| Template::parse(text.as_bytes(), kind);
        Ok(Templates {
            ids: [
                read(include_str!("../../conf/mail/issued.ja.txt"), Kind::WithIds)?,
                read(include_str!("../../conf/mail/issued.en.txt"), Kind::WithIds)?,
            ],
            link: [
                read(include_str!("../../conf/mail/issued-link.ja.txt"), Kind::LinkOnly)?,
                read(include_str!("../../conf/mail/issued-link.en.txt"), Kind::LinkOnly)?,
            ],
        })
    }

    /// Puts a template in the place of the one that ships.
    pub fn replace(&mut self, kind: Kind, language: Language, template: Template) {
        let [japanese, english] = match kind {
            Kind::WithIds => &mut self.ids,
            Kind::LinkOnly => &mut self.link,
        };
        *match language {
            Language::Japanese => japanese,
            Language::English => english,
        } = template;
    }

    /// Writes the letter.
    pub fn write(&self, language: Language, issued: &Issued<'_>) -> Letter {
        self.template(language, issued).fill(issued)
    }

    /// Whether the letter has a place for the link, and there is none.
    pub fn lacks_link(&self, language: Language, issued: &Issued<'_>) -> bool {
        let Template { subject, text } = self.template(language, issued);
        issued.link.is_empty() && subject.iter().chain(text).any(|part| *part == Part::Place("link"))
    }

    fn template(&self, language: Language, issued: &Issued<'_>) -> &Template {
        let [japanese, english] = match issued.kind() {
            Kind::WithIds => &self.ids,
            Kind::LinkOnly => &self.link,
        };
        match language {
            Language::Japanese => japanese,
            Language::English => english,
        }
    }
}
