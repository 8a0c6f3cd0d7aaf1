//! Who has which token: two users with one token, or two tokens with one serial number, use neither (LDAP-31).

use crate::identity::{EntryId, TokenSerial};
use crate::tokens::{Defect, Standing, Tokens, User};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// Every token of every user that was entered. Not for names typed by anybody: only directory entries get in, and they
/// are as many as the table of users holds.
#[derive(Default)]
pub struct Census {
    /// What each user has.
    users: HashMap<EntryId, Vec<(EntryId, TokenSerial)>>,
    /// Who has each token.
    owners: HashMap<EntryId, Vec<EntryId>>,
    /// Which tokens carry each serial number, once for each user who has them.
    serials: HashMap<TokenSerial, Vec<(EntryId, EntryId)>>,
}

impl Census {
    /// Enters a user just assembled, in place of what was known of them, and makes the tokens unusable that collide with
    /// others. Gives the *other* users whose tokens have begun or ceased to collide by this: assemble and enter them
    /// again, which changes nobody else in turn. Of the tokens in `shared` the user may be one owner of several.
    pub fn enter(&mut self, user: &mut User, shared: &[EntryId]) -> HashSet<EntryId> {
        let tokens = match &user.tokens {
            Tokens::These(tokens) => tokens.iter().map(|token| (token.id, token.serial.clone())).collect(),
            Tokens::TooMany(_) => Vec::new(),
        };
        let changed = self.replace(user.id, tokens);
        if let Tokens::These(tokens) = &mut user.tokens {
            for token in tokens {
                // This user has no part in it, whoever else has.
                if token.standing == Standing::Unusable(Defect::OwnerDiffers) {
                    continue;
                }
                let alone = !shared.contains(&token.id);
                let defect = if alone && self.owners.get(&token.id).is_some_and(|owners| owners.len() > 1) {
                    Defect::SeveralOwners
                } else if self.serials.get(&token.serial).is_some_and(|tokens| repeats(tokens)) {
                    Defect::SerialRepeated
                } else {
                    continue;
                };
                token.standing = Standing::Unusable(defect);
            }
        }
        changed
    }

    /// Forgets a user; gives the users whose tokens have ceased to collide by this: assemble and enter them again.
    pub fn leave(&mut self, user: EntryId) -> HashSet<EntryId> {
        self.replace(user, Vec::new())
    }

    fn replace(&mut self, user: EntryId, tokens: Vec<(EntryId, TokenSerial)>) -> HashSet<EntryId> {
        let before = self.users.remove(&user).unwrap_or_default();
        let touched: HashSet<(EntryId, TokenSerial)> = before.iter().chain(&tokens).cloned().collect();
        let was = self.contested(&touched);
        for (token, serial) in &before {
            take_out(&mut self.owners, token, |owner| *owner != user);
            take_out(&mut self.serials, serial, |(_, owner)| *owner != user);
        }
        for (token, serial) in &tokens {
            self.owners.entry(*token).or_default().push(user);
            self.serials.entry(serial.clone()).or_default().push((*token, user));
        }
        if !tokens.is_empty() {
            self.users.insert(user, tokens);
        }
        let is = self.contested(&touched);
        let mut changed: HashSet<EntryId> = was.symmetric_difference(&is).map(|(user, _)| *user).collect();
        changed.remove(&user);
        changed
    }

    /// The users, each with their token, among whom some of these tokens collide.
    fn contested(&self, tokens: &HashSet<(EntryId, TokenSerial)>) -> HashSet<(EntryId, EntryId)> {
        let mut users = HashSet::new();
        for (token, serial) in tokens {
            let owners = self.owners.get(token).into_iter().filter(|owners| owners.len() > 1).flatten();
            users.extend(owners.map(|owner| (*owner, *token)));
            let serials = self.serials.get(serial).into_iter().filter(|tokens| repeats(tokens)).flatten();
            users.extend(serials.map(|(token, owner)| (*owner, *token)));
        }
        users
    }
}

/// Whether different tokens stand under one serial number; one token of several users is one.
fn repeats(tokens: &[(EntryId, EntryId)]) -> bool {
    tokens.iter().any(|(token, _)| tokens.first().is_some_and(|(first, _)| first != token))
}

fn take_out<K: Eq + Hash, V>(table: &mut HashMap<K, Vec<V>>, key: &K, keep: impl FnMut(&V) -> bool) {
    if let Some(values) = table.get_mut(key) {
        values.retain(keep);
        if values.is_empty() {
            table.remove(key);
        }
    }
}
