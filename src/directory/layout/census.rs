//! Who has which token: two users with one token, or two tokens with one serial number, use neither (LDAP-31).

use crate::identity::EntryId;
use crate::tokens::{Defect, Standing, Token, Tokens, User};
use ahash::RandomState;
use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;

/// Every token of every user that was entered. Not for names typed by anybody: only directory entries get in, and they
/// are as many as the table of users holds.
///
/// Two sets of plain octets in order: no allocation of its own for anybody, and who has a token is found by its serial
/// number, which is the token's whoever has it.
#[derive(Default)]
pub struct Census {
    hasher: RandomState,
    /// Each token under its serial number, once for each user who has it.
    tokens: BTreeSet<(SerialKey, EntryId, EntryId)>,
    /// The serial numbers that each user's tokens carry.
    users: BTreeSet<(UserKey, SerialKey)>,
}

/// A serial number, hashed under a random key. Two that fall together are two tokens that nobody may use: one chance in
/// a million with five million tokens.
type SerialKey = u64;

/// A user, hashed likewise. Two that fall together share what is looked through, and nothing else.
type UserKey = u64;

/// One user's token.
type Having = (SerialKey, EntryId);

const FIRST: EntryId = EntryId::new([0; 16]);
const LAST: EntryId = EntryId::new([0xff; 16]);

impl Census {
    /// Enters a user just assembled, in place of what was known of them, and makes the tokens unusable that collide with
    /// others. Gives the *other* users whose tokens have begun or ceased to collide by this: assemble and enter them
    /// again, which changes nobody else in turn. Of the tokens in `shared` the user may be one owner of several.
    pub fn enter(&mut self, user: &mut User, shared: &[EntryId]) -> HashSet<EntryId> {
        let tokens: Vec<Having> = match &user.tokens {
            Tokens::These(tokens) => tokens.iter().map(|token| (self.key(&token.serial), token.id)).collect(),
            Tokens::TooMany(_) => Vec::new(),
        };
        if let [one] = tokens.as_slice()
            && self.enter_alone(user.id, *one)
        {
            return HashSet::new();
        }
        let changed = self.replace(user.id, &tokens);
        if let Tokens::These(tokens) = &mut user.tokens {
            for token in tokens {
                // This user has no part in it, whoever else has.
                if token.standing != Standing::Unusable(Defect::OwnerDiffers)
                    && let Some(defect) = self.defect(token, shared)
                {
                    token.standing = Standing::Unusable(defect);
                }
            }
        }
        changed
    }

    /// Forgets a user; gives the users whose tokens have ceased to collide by this: assemble and enter them again.
    pub fn leave(&mut self, user: EntryId) -> HashSet<EntryId> {
        self.replace(user, &[])
    }

    /// Enters the only token of a user who had none, if nobody has its serial number: nearly everybody, when all are
    /// read. Nothing collides then.
    fn enter_alone(&mut self, user: EntryId, having: Having) -> bool {
        let is_new = self.tokens(user).next().is_none() && self.carriers(having.0).next().is_none();
        if is_new {
            self.add(user, having);
        }
        is_new
    }

    fn defect(&self, token: &Token, shared: &[EntryId]) -> Option<Defect> {
        let having = (self.key(&token.serial), token.id);
        if !shared.contains(&token.id) && self.owners(having).nth(1).is_some() {
            Some(Defect::SeveralOwners)
        } else {
            self.repeats(having.0).then_some(Defect::SerialRepeated)
        }
    }

    fn replace(&mut self, user: EntryId, tokens: &[Having]) -> HashSet<EntryId> {
        let before: Vec<Having> = self.tokens(user).collect();
        // Read again with nothing new in it: nearly every change of an entry is one of something else.
        if before.len() == tokens.len() && tokens.iter().all(|having| before.contains(having)) {
            return HashSet::new();
        }
        let touched = || before.iter().chain(tokens);
        let was = self.contested(touched());
        for &having in &before {
            self.take_out(user, having);
        }
        for &having in tokens {
            self.add(user, having);
        }
        let is = self.contested(touched());
        let mut changed: HashSet<EntryId> = was.symmetric_difference(&is).map(|(user, _)| *user).collect();
        changed.remove(&user);
        changed
    }

    fn add(&mut self, user: EntryId, (serial, token): Having) {
        self.tokens.insert((serial, token, user));
        self.users.insert((self.key(&user), serial));
    }

    fn take_out(&mut self, user: EntryId, (serial, token): Having) {
        self.tokens.remove(&(serial, token, user));
        let key = self.key(&user);
        if self.carriers(serial).all(|(_, other)| self.key(&other) != key) {
            self.users.remove(&(key, serial));
        }
    }

    /// The users, each with their token, among whom some of these tokens collide.
    fn contested<'a>(&self, tokens: impl Iterator<Item = &'a Having>) -> HashSet<(EntryId, EntryId)> {
        let mut users = HashSet::new();
        for &having in tokens {
            let (serial, token) = having;
            if self.owners(having).nth(1).is_some() {
                users.extend(self.owners(having).map(|owner| (owner, token)));
            }
            if self.repeats(serial) {
                users.extend(self.carriers(serial).map(|(token, owner)| (owner, token)));
            }
        }
        users
    }

    /// What a user has.
    fn tokens(&self, user: EntryId) -> impl Iterator<Item = Having> {
        let key = self.key(&user);
        let serials = self.users.range((key, 0)..=(key, SerialKey::MAX)).map(|&(_, serial)| serial);
        serials.flat_map(move |serial| {
            let own = self.carriers(serial).filter(move |(_, owner)| *owner == user);
            own.map(move |(token, _)| (serial, token))
        })
    }

    /// Who has a token.
    fn owners(&self, (serial, token): Having) -> impl Iterator<Item = EntryId> {
        let all = (serial, token, FIRST)..=(serial, token, LAST);
        self.tokens.range(all).map(|&(_, _, user)| user)
    }

    /// The tokens under a serial number, and whose they are.
    fn carriers(&self, serial: SerialKey) -> impl Iterator<Item = (EntryId, EntryId)> {
        let all = (serial, FIRST, FIRST)..=(serial, LAST, LAST);
        self.tokens.range(all).map(|&(_, token, user)| (token, user))
    }

    /// Whether different tokens stand under one serial number; one token of several users is one.
    fn repeats(&self, serial: SerialKey) -> bool {
        let mut tokens = self.carriers(serial).map(|(token, _)| token);
        tokens.next().is_some_and(|first| tokens.any(|token| token != first))
    }

    fn key(&self, what: &impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }
}
