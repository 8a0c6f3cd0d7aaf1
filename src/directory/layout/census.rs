//! Who has which token: two users with one token, or two tokens with one serial number, use neither (LDAP-31).

use crate::identity::{EntryId, TokenSerial};
use crate::tokens::{Defect, Standing, Token, Tokens, User};
use ahash::RandomState;
use std::collections::{BTreeSet, HashSet};

/// Every token of every user that was entered. Not for names typed by anybody: only directory entries get in, and they
/// are as many as the table of users holds.
///
/// One set for each way to ask, of plain octets in order: some 45 of them for a token in each set, and no allocation of
/// its own for anybody.
#[derive(Default)]
pub struct Census {
    hashers: [RandomState; 2],
    /// What each user has.
    users: BTreeSet<(EntryId, EntryId, SerialKey)>,
    /// Who has each token.
    owners: BTreeSet<(EntryId, EntryId)>,
    /// Which tokens carry each serial number, once for each user who has them.
    serials: BTreeSet<(SerialKey, EntryId, EntryId)>,
}

/// A serial number, hashed under two random keys.
type SerialKey = [u64; 2];

/// One user's token.
type Having = (EntryId, SerialKey);

const FIRST: EntryId = EntryId::new([0; 16]);
const LAST: EntryId = EntryId::new([0xff; 16]);

impl Census {
    /// Enters a user just assembled, in place of what was known of them, and makes the tokens unusable that collide with
    /// others. Gives the *other* users whose tokens have begun or ceased to collide by this: assemble and enter them
    /// again, which changes nobody else in turn. Of the tokens in `shared` the user may be one owner of several.
    pub fn enter(&mut self, user: &mut User, shared: &[EntryId]) -> HashSet<EntryId> {
        let tokens: Vec<Having> = match &user.tokens {
            Tokens::These(tokens) => tokens.iter().map(|token| (token.id, self.key(&token.serial))).collect(),
            Tokens::TooMany(_) => Vec::new(),
        };
        if let [one] = tokens.as_slice()
            && self.enter_alone(user.id, one)
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

    /// Enters the only token of a user who had none, if nobody has it or its serial number: nearly everybody, when all are
    /// read. Nothing collides then.
    fn enter_alone(&mut self, user: EntryId, having: &Having) -> bool {
        let &(token, serial) = having;
        let is_new = self.tokens(user).next().is_none()
            && self.owners(token).next().is_none()
            && self.carriers(serial).next().is_none();
        if is_new {
            self.add(user, having);
        }
        is_new
    }

    fn defect(&self, token: &Token, shared: &[EntryId]) -> Option<Defect> {
        if !shared.contains(&token.id) && self.owners(token.id).nth(1).is_some() {
            Some(Defect::SeveralOwners)
        } else {
            self.repeats(self.key(&token.serial)).then_some(Defect::SerialRepeated)
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
        for &(token, serial) in &before {
            self.users.remove(&(user, token, serial));
            self.owners.remove(&(token, user));
            self.serials.remove(&(serial, token, user));
        }
        for having in tokens {
            self.add(user, having);
        }
        let is = self.contested(touched());
        let mut changed: HashSet<EntryId> = was.symmetric_difference(&is).map(|(user, _)| *user).collect();
        changed.remove(&user);
        changed
    }

    fn add(&mut self, user: EntryId, &(token, serial): &Having) {
        self.users.insert((user, token, serial));
        self.owners.insert((token, user));
        self.serials.insert((serial, token, user));
    }

    /// The users, each with their token, among whom some of these tokens collide.
    fn contested<'a>(&self, tokens: impl Iterator<Item = &'a Having>) -> HashSet<(EntryId, EntryId)> {
        let mut users = HashSet::new();
        for &(token, serial) in tokens {
            if self.owners(token).nth(1).is_some() {
                users.extend(self.owners(token).map(|owner| (owner, token)));
            }
            if self.repeats(serial) {
                users.extend(self.carriers(serial).map(|(token, owner)| (owner, token)));
            }
        }
        users
    }

    fn tokens(&self, user: EntryId) -> impl Iterator<Item = Having> {
        let all = (user, FIRST, [0; 2])..=(user, LAST, [u64::MAX; 2]);
        self.users.range(all).map(|&(_, token, serial)| (token, serial))
    }

    fn owners(&self, token: EntryId) -> impl Iterator<Item = EntryId> {
        self.owners.range((token, FIRST)..=(token, LAST)).map(|&(_, user)| user)
    }

    /// The tokens under a serial number, and whose they are.
    fn carriers(&self, serial: SerialKey) -> impl Iterator<Item = (EntryId, EntryId)> {
        let all = (serial, FIRST, FIRST)..=(serial, LAST, LAST);
        self.serials.range(all).map(|&(_, token, user)| (token, user))
    }

    /// Whether different tokens stand under one serial number; one token of several users is one.
    fn repeats(&self, serial: SerialKey) -> bool {
        let mut tokens = self.carriers(serial).map(|(token, _)| token);
        tokens.next().is_some_and(|first| tokens.any(|token| token != first))
    }

    fn key(&self, serial: &TokenSerial) -> SerialKey {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(serial))
    }
}
