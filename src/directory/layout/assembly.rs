//! From entries to users: follow the references, within bounds, and read what they lead to.

use super::{Kind, Layout, TokensAt, UserNames, account, record};
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

/// A user as entries make them.
pub struct Assembled {
    /// The user.
    pub user: User,
    /// The names they are found by.
    pub names: Vec<String>,
    /// The tokens that list this user among several who may be bound to them (S-13).
    pub shared: Vec<EntryId>,
}

/// By which reference of a user a token was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    /// It is the user's.
    Own,
    /// It becomes the user's with the first correct code (S-13).
    Pending,
}

impl Assembly<'_> {
    /// The user of an entry, with the names they are found by. Whatever is wrong with a token makes that token unusable
    /// and nothing else.
    ///
    /// `owned` are the tokens whose [`Layout::owner_dns`] name the user (none where users refer to tokens). `find` is
    /// asked for the DNs of [`Layout::token_dns`], [`Layout::parameter_dns`] and [`Layout::policy_dns`].
    pub fn assemble(&self, entry: &Entry, owned: &[Arc<Entry>], find: &Find<'_>) -> Assembled {
        let mut shared = Vec::new();
        let names: Vec<String> = self
            .names
            .iter()
            .flat_map(|name| entry.all(name))
            .filter(|value| (1..=UserName::MAX).contains(&value.len()))
            .filter_map(|value| std::str::from_utf8(value).ok())
            .take(NAMES_MAX)
            .map(str::to_owned)
            .collect();
        let UserNames { contract, role, login_code, pending: _ } = &self.layout.user;
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
            tokens: self.tokens(entry, owned, find, &mut shared),
        };
        Assembled { user, names, shared }
    }

    fn tokens(
        &self,
        user: &Entry,
        owned: &[Arc<Entry>],
        find: &Find<'_>,
        shared: &mut Vec<EntryId>,
    ) -> Tokens {
        let mut tokens = Vec::new();
        let too_many = |count| count > Layout::REFERENCES_MAX;
        match &self.layout.tokens {
            TokensAt::User => {
                // A user without a secret has no token; that is no defect.
                if user.all(&self.layout.token.secret).next().is_some() {
                    tokens.extend(self.token(user, self.layout.kind, Reference::Own, find));
                }
            }
            TokensAt::Referred(names) => {
                let count = names.iter().map(|(name, _)| user.all(name).count()).sum();
                if too_many(count) {
                    return Tokens::TooMany(count);
                }
                for (name, kind) in names {
                    for dn in user.all(name) {
                        let kind = Some(*kind);
                        tokens.extend(self.referred(user.id, dn, kind, Reference::Own, find, shared));
                    }
                }
                for dn in self.layout.user.pending.iter().flat_map(|name| user.all(name)) {
                    tokens.extend(self.referred(user.id, dn, None, Reference::Pending, find, shared));
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
                        tokens.extend(self.token(token, self.kind_of(token), Reference::Own, find));
                    }
                }
            }
        }
        if tokens.len() > TOKENS_MAX { Tokens::TooMany(tokens.len()) } else { Tokens::These(tokens) }
    }

    /// The token that a user refers to, if it is in service at all.
    fn referred(
        &self,
        user: EntryId,
        reference: &[u8],
        kind: Option<Kind>,
        from: Reference,
        find: &Find<'_>,
        shared: &mut Vec<EntryId>,
    ) -> Option<Token> {
        let text = String::from_utf8_lossy(reference);
        let dn = Dn::parse(&text).filter(|dn| self.is_within_bases(Some(dn)));
        match dn.and_then(|dn| find(&dn)) {
            Some(entry) => {
                let kind = kind.unwrap_or_else(|| self.kind_of(&entry));
                let mut token = self.token(&entry, kind, from, find)?;
                if self.layout.token.owner.is_some() {
                    let owners = record::owners(&entry);
                    if owners.contains(&user) {
                        shared.push(token.id);
                    } else if from == Reference::Pending {
                        // A wish alone must not take the token away from whoever has it.
                        return None;
                    } else if !owners.is_empty() {
                        token.standing = Standing::Unusable(Defect::OwnerDiffers);
                    }
                }
                Some(token)
            }
            None if from == Reference::Own => {
                Some(self.unusable(EntryId::of_dn(&text), &text, Defect::TokenNotFound))
            }
            // Nobody has this token yet: it takes nothing away from the user's own.
            None => None,
        }
    }

    pub(super) fn kind_of(&self, token: &Entry) -> Kind {
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
