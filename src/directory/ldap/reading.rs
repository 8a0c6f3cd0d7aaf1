//! What is asked for, and how users are made of what comes back: the same in every mode.

use super::event::{Event, Events};
use super::filter::{Filter, FilterProblem};
use super::message::RawEntry;
use super::packed::Phrases;
use super::settings::Settings;
use crate::directory::entry::{Dn, Entry};
use crate::directory::layout::record;
use crate::directory::layout::{ACT_ATTRIBUTES, Assembled, Assembly};
use crate::identity::UserName;
use crate::tokens::{Contract, Standing, Tokens, User};
use std::sync::Arc;

/// The most names of one user.
const NAMES_MAX: usize = 32;

/// What is asked for, worked out once.
pub struct Reading {
    /// Everything that is asked of any entry.
    pub attributes: Vec<String>,
    /// The same of entries that are followed ([`Layout::followed_attributes`]).
    ///
    /// [`Layout::followed_attributes`]: crate::directory::layout::Layout::followed_attributes
    pub followed: Vec<String>,
    /// Those of them that few servers know ([`Layout::foreign_attributes`]).
    ///
    /// [`Layout::foreign_attributes`]: crate::directory::layout::Layout::foreign_attributes
    pub foreign: Vec<String>,
    /// The attributes that hold users' names.
    pub names: Vec<String>,
    /// Finds token entries, if tokens have entries of their own.
    pub tokens: Option<Filter>,
    /// Finds parameter entries, if there are any.
    pub parameters: Option<Filter>,
    /// Finds password policies.
    pub policies: Filter,
    /// Finds contracts.
    pub contracts: Filter,
    /// Where contracts are.
    pub contract_base: Option<Dn>,
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
        let with_names = |mut attributes: Vec<String>| {
            for name in &names {
                if !attributes.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                    attributes.push(name.clone());
                }
            }
            attributes
        };
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let attributes = with_names(owned(layout.attributes()));
        let followed = with_names(owned(layout.followed_attributes()));
        let is_name = |foreign: &&str| names.iter().any(|name| name.eq_ignore_ascii_case(foreign));
        let foreign = layout.foreign_attributes().into_iter().filter(|foreign| !is_name(foreign));
        let parse = |text: Option<String>| text.map(|text| Filter::parse(&text)).transpose();
        let tokens = parse(layout.token_filter())?;
        let parameters = parse(layout.parameters_filter())?;
        let policies = Filter::parse(layout.policies_filter())?;
        let contracts = Filter::equals("objectClass", record::CONTRACT_CLASS.as_bytes());
        // The container itself, too: only whoever sees it knows that what is not in it does not exist.
        let container = container(&settings.contract_base);
        let others = tokens.iter().chain(&parameters).chain([&policies, &contracts, &container]);
        let others: Vec<Filter> = others.cloned().collect();
        Ok(Reading {
            phrases: Phrases::new(&settings.base, &followed),
            foreign: foreign.map(str::to_owned).collect(),
            attributes,
            followed,
            names,
            users: settings.user_filter.for_everybody(),
            others: Filter::any(&others),
            tokens,
            parameters,
            policies,
            contracts,
            contract_base: Dn::parse(&settings.contract_base),
            bases: Dn::parse(&settings.base).into_iter().collect(),
        })
    }

    /// The attributes in the form a search takes them.
    pub fn attribute_list(&self) -> Vec<&str> {
        self.attributes.iter().map(String::as_str).collect()
    }

    /// What acts ask of any entry, in the form a search takes it.
    pub fn act_attributes(&self) -> Vec<&str> {
        let more = ACT_ATTRIBUTES
            .iter()
            .filter(|name| !self.attributes.iter().any(|other| other.eq_ignore_ascii_case(name)));
        self.attribute_list().into_iter().chain(more.copied()).collect()
    }

    /// Whether a DN is that of the container of contracts.
    pub fn is_contract_base(&self, dn: &Dn) -> bool {
        self.contract_base.as_ref() == Some(dn)
    }

    /// The contract of an entry, if it is one and lies where contracts are.
    pub fn contract(&self, entry: &Entry) -> Option<Contract> {
        let base = self.contract_base.as_ref()?;
        record::contract(entry).filter(|_| Dn::parse(&entry.dn).is_some_and(|dn| dn.is_within(base)))
    }

    /// What makes users and tokens of entries.
    pub fn assembly<'a>(&'a self, settings: &'a Settings) -> Assembly<'a> {
        Assembly {
            layout: &settings.layout,
            names: &self.names,
            defaults: &settings.defaults,
            keyring: &settings.keyring,
            bases: &self.bases,
        }
    }

    /// Reads an entry; `None` if it is no list of attributes.
    pub fn entry(&self, settings: &Settings, raw: RawEntry<'_>) -> Option<Entry> {
        Some(Entry::new(raw.dn, settings.layout.identity(), raw.attributes().ok()?))
    }

    /// Makes a user, and the names they are found by.
    pub fn user(
        &self,
        settings: &Settings,
        entry: &Entry,
        owned: &[Arc<Entry>],
        find: &dyn Fn(&Dn) -> Option<Arc<Entry>>,
    ) -> Assembled {
        let assembled = self.assembly(settings).assemble(entry, owned, find);
        // The filter may surround a name with what is not part of it: (mail={user}@example.jp).
        let values = settings.user_filter.names().iter().flat_map(|pattern| {
            let values = entry.all(&pattern.attribute).filter_map(|value| std::str::from_utf8(value).ok());
            values.filter_map(|value| pattern.name(value))
        });
        let names = values.filter(|name| (1..=UserName::MAX).contains(&name.len()));
        Assembled { names: names.take(NAMES_MAX).map(str::to_owned).collect(), ..assembled }
    }
}

/// Finds an entry by the attribute that names it, as far as a filter can.
fn container(dn: &str) -> Filter {
    match dn.split(',').next().and_then(|rdn| rdn.split_once('=')) {
        Some((name, value)) if !value.contains('\\') && !name.contains('+') && !value.contains('+') => {
            Filter::equals(name.trim(), value.trim().as_bytes())
        }
        _ => Filter::equals("objectClass", b"organizationalUnit"),
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
