//! From entries to users: follow the references, within bounds, and read what they lead to.

use super::{Kind, Layout, TokensAt, UserNames, account};
use crate::directory::entry::{Dn, Entry};
use crate::directory::seal::Keyring;
use crate::identity::{ContractId, EntryId, TokenSerial, UserName};
use crate::otp::Parameters;
use crate::secret::Secret;
use crate::tokens::{Defect, LoginCode, Role, Standing, TOKENS_MAX, Token, Tokens, User};
use std::sync::Arc;

/// Everything that turns entries into users, apart from the entries.
#[derive(Clone, Copy)]
pub struct Assembly<'a> {
    /// Which attributes hold what.
    pub layout: &'a Layout,
    /// The attributes of a user's entry that hold names users type.
    pub names: &'a [String],
    /// What holds where the layout leaves something open: the service's parameters.
    pub defaults: &'a Parameters,
    /// Opens sealed secrets.
    pub keyring: &'a Keyring,
    /// Tokens and parameters elsewhere are as if they did not exist.
    pub bases: &'a [Dn],
}

/// Finds an entry by its DN among those that were read.
pub type Find<'a> = dyn Fn(&Dn) -> Option<Arc<Entry>> + 'a;

/// The most names of one user.
const NAMES_MAX: usize = 32;

impl Assembly<'_> {
    /// The user of an entry, with the names they are found by. Whatever is wrong with a token makes that token unusable
    /// and nothing else.
    ///
    /// `owned` are the tokens whose [`Layout::owner_dns`] name the user (none where users refer to tokens). `find` is
    /// asked for the DNs of [`Layout::token_dns`], [`Layout::parameter_dns`] and [`Layout::policy_dns`].
    pub fn user(&self, entry: &Entry, owned: &[Arc<Entry>], find: &Find<'_>) -> (User, Vec<String>) {
        let names: Vec<String> = self
            .names
            .iter()
            .flat_map(|name| entry.all(name))
            .filter(|value| (1..=UserName::MAX).contains(&value.len()))
            .filter_map(|value| std::str::from_utf8(value).ok())
            .take(NAMES_MAX)
            .map(str::to_owned)
            .collect();
        let UserNames { contract, role, login_code } = &self.layout.user;
        let text = |name: &Option<super::Name>| match name {
            Some(name) => entry.text(name).map(|text| text.map(str::trim).filter(|text| !text.is_empty())),
            None => Ok(None),
        };
        let user = User {
            id: entry.id,
            name: names.first().unwrap_or(&entry.dn).as_str().into(),
            dn: entry.dn.as_str().into(),
            contract: text(contract).ok().flatten().map(ContractId::new),
            // What cannot be read gives no right and takes no duty away.
            role: match text(role) {
                Ok(Some(role)) if role.eq_ignore_ascii_case("master") => Role::Master,
                Ok(Some(role)) if role.eq_ignore_ascii_case("admin") => Role::Admin,
                _ => Role::General,
            },
            login_code: match text(login_code) {
                Ok(None) => None,
                Ok(Some(choice)) if choice.eq_ignore_ascii_case("not-required") => {
                    Some(LoginCode::NotRequired)
                }
                _ => Some(LoginCode::Required),
            },
            account: account::read(entry, self.layout.lock_lasts, find),
            tokens: self.tokens(entry, owned, find),
        };
        (user, names)
    }

    fn tokens(&self, user: &Entry, owned: &[Arc<Entry>], find: &Find<'_>) -> Tokens {
        let mut tokens = Vec::new();
        let too_many = |count| count > Layout::REFERENCES_MAX;
        match &self.layout.tokens {
            TokensAt::User => {
                // A user without a secret has no token; that is no defect.
                if user.all(&self.layout.token.secret).next().is_some() {
                    tokens.extend(self.token(user, self.layout.kind, find));
                }
            }
            TokensAt::Referred(names) => {
                let count = names.iter().map(|(name, _)| user.all(name).count()).sum();
                if too_many(count) {
                    return Tokens::TooMany(count);
                }
                for (name, kind) in names {
                    tokens.extend(user.all(name).filter_map(|dn| self.referred(dn, *kind, find)));
                }
                // One token under two spellings, or under both attributes, is one token.
                let mut seen = Vec::new();
                tokens.retain(|token: &Token| {
                    !seen.contains(&token.id) && {
                        seen.push(token.id);
                        true
                    }
                });
            }
            TokensAt::Owned(_) if too_many(owned.len()) => return Tokens::TooMany(owned.len()),
            TokensAt::Owned(owner) => {
                let me = Dn::parse(&user.dn);
                for token in owned {
                    let owners = self.layout.owner_dns(token);
                    if me.as_ref().is_none_or(|me| !owners.contains(me)) {
                        continue;
                    }
                    if token.all(owner).nth(1).is_some() {
                        tokens.push(self.unusable(token.id, &token.dn, Defect::SeveralOwners));
                    } else if self.is_within_bases(Dn::parse(&token.dn).as_ref()) {
                        tokens.extend(self.token(token, self.kind_of(token), find));
                    }
                }
            }
        }
        if tokens.len() > TOKENS_MAX { Tokens::TooMany(tokens.len()) } else { Tokens::These(tokens) }
    }

    /// The token that a user refers to, if it is in service at all.
    fn referred(&self, reference: &[u8], kind: Kind, find: &Find<'_>) -> Option<Token> {
        let text = String::from_utf8_lossy(reference);
        let dn = Dn::parse(&text).filter(|dn| self.is_within_bases(Some(dn)));
        match dn.and_then(|dn| find(&dn)) {
            Some(entry) => self.token(&entry, kind, find),
            None => Some(self.unusable(EntryId::of_dn(&text), &text, Defect::TokenNotFound)),
        }
    }

    fn kind_of(&self, token: &Entry) -> Kind {
        let told = self.layout.classes.iter().find(|(class, _)| token.is_a(class));
        told.map_or(self.layout.kind, |&(_, kind)| kind)
    }

    /// Whether a DN lies where tokens and parameters may be.
    pub(super) fn is_within_bases(&self, dn: Option<&Dn>) -> bool {
        dn.is_some_and(|dn| self.bases.iter().any(|base| dn.is_within(base)))
    }

    /// A token that can only be reported.
    pub(super) fn unusable(&self, id: EntryId, serial: &str, defect: Defect) -> Token {
        Token {
            id,
            serial: TokenSerial::new(serial),
            parameters: *self.defaults,
            secret: Secret::new([]),
            imprint: 0,
            spent: None,
            begins: None,
            ends: None,
            standing: Standing::Unusable(defect),
        }
    }
}
