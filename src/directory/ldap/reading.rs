//! What is asked for, and how users are made of what comes back: the same in every mode.

use super::event::{Event, Events};
use super::filter::{Filter, FilterProblem};
use super::message::RawEntry;
use super::packed::Phrases;
use super::settings::Settings;
use crate::directory::entry::{Dn, Entry};
use crate::directory::layout::Assembly;
use crate::identity::{EntryId, UserName};
use crate::tokens::{Standing, Tokens, User};
use std::sync::Arc;

/// The most names of one user.
const NAMES_MAX: usize = 32;

/// What is asked for, worked out once.
pub struct Reading {
    /// Everything that is asked of any entry.
    pub attributes: Vec<String>,
    /// The attributes that hold users' names.
    pub names: Vec<String>,
    /// Finds token entries, if tokens have entries of their own.
    pub tokens: Option<Filter>,
    /// Finds parameter entries, if there are any.
    pub parameters: Option<Filter>,
    /// Finds password policies.
    pub policies: Filter,
    /// Everybody.
    pub users: Filter,
    /// Everything that users lead to.
    pub others: Filter,
    /// Nothing outside is believed.
    pub bases: Vec<Dn>,
    /// What entries have in common.
    pub phrases: Phrases,
}

impl Reading {
    /// Works out what to ask for.
    ///
    /// # Errors
    /// A name in a custom layout makes no filter.
    pub fn new(settings: &Settings) -> Result<Reading, FilterProblem> {
        let layout = &settings.layout;
        let names: Vec<String> =
            settings.user_filter.names().iter().map(|pattern| pattern.attribute.to_string()).collect();
        let mut attributes: Vec<String> = layout.attributes().into_iter().map(str::to_owned).collect();
        for name in &names {
            if !attributes.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                attributes.push(name.clone());
            }
        }
        let parse = |text: Option<String>| text.map(|text| Filter::parse(&text)).transpose();
        let tokens = parse(layout.token_filter())?;
        let parameters = parse(layout.parameters_filter())?;
        let policies = Filter::parse(layout.policies_filter())?;
        let others: Vec<Filter> = tokens.iter().chain(&parameters).chain([&policies]).cloned().collect();
        Ok(Reading {
            phrases: Phrases::new(&settings.base, &attributes),
            attributes,
            names,
            users: settings.user_filter.for_everybody(),
            others: Filter::any(&others),
            tokens,
            parameters,
            policies,
            bases: Dn::parse(&settings.base).into_iter().collect(),
        })
    }

    /// The attributes in the form a search takes them.
    pub fn attribute_list(&self) -> Vec<&str> {
        self.attributes.iter().map(String::as_str).collect()
    }

    /// Reads an entry. `known` is its identity if the server has said it apart from the entry; a layout that names an
    /// identity of its own goes before.
    pub fn entry(&self, settings: &Settings, raw: RawEntry<'_>, known: Option<EntryId>) -> Option<Entry> {
        let attributes = raw.attributes().ok()?;
        let identity = settings.layout.identity();
        Some(match known.filter(|_| identity.is_none()) {
            Some(id) => Entry::identified(raw.dn, id, attributes),
            None => Entry::new(raw.dn, identity, attributes),
        })
    }

    /// Makes a user, and the names they are found by.
    pub fn user(
        &self,
        settings: &Settings,
        entry: &Entry,
        owned: &[Arc<Entry>],
        find: &dyn Fn(&Dn) -> Option<Arc<Entry>>,
    ) -> (User, Vec<String>) {
        let assembly = Assembly {
            layout: &settings.layout,
            names: &self.names,
            defaults: &settings.defaults,
            keyring: &settings.keyring,
            bases: &self.bases,
        };
        let (user, _) = assembly.user(entry, owned, find);
        // The filter may surround a name with what is not part of it: (mail={user}@example.jp).
        let values = settings.user_filter.names().iter().flat_map(|pattern| {
            let values = entry.all(&pattern.attribute).filter_map(|value| std::str::from_utf8(value).ok());
            values.filter_map(|value| pattern.name(value))
        });
        let names = values.filter(|name| (1..=UserName::MAX).contains(&name.len()));
        (user, names.take(NAMES_MAX).map(str::to_owned).collect())
    }
}

/// Reports the tokens that cannot be used, and why.
pub fn tell_unusable(user: &User, events: &Events) {
    let Tokens::These(tokens) = &user.tokens else { return };
    for token in tokens {
        if let Standing::Unusable(defect) = token.standing {
            events(Event::Unusable { user: user.id, serial: token.serial.clone(), defect });
        }
    }
}
