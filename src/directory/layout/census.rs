//! Who has which token: two users with one token, or two tokens with one serial number, use neither (LDAP-31).

use crate::identity::EntryId;
use crate::tokens::{Defect, Standing, Token, Tokens, User};
use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroU64;

/// Every token of every user that was entered. Not for names typed by anybody: only directory entries get in, and they
/// are as many as the table of users holds.
///
/// Nearly every serial number is that of one token, and nearly every user has one token: each takes one place in a table, and
/// what is rarer has an allocation of its own.
#[derive(Default)]
pub struct Census {
    hasher: RandomState,
    /// The serial numbers that one token of one user carries.
    alone: HashTable<Alone>,
    /// All others, with the tokens that carry them and whose they are.
    together: HashMap<SerialKey, BTreeSet<(TokenKey, UserNumber)>>,
    /// The serial number of each user's only token, by the user's number.
    users: Vec<Option<SerialKey>>,
    /// What users with several tokens have.
    rich: HashMap<UserNumber, Vec<Having>>,
}

/// How the caller numbers its users: close together, and the same user the same way as long as they are entered.
pub type UserNumber = u32;

/// A serial number, hashed under a random key. Two that fall together are two tokens that nobody may use: one chance in
/// a million with five million tokens.
type SerialKey = NonZeroU64;

/// A token, hashed likewise: it tells those of one serial number apart.
type TokenKey = u32;

/// One user's token.
type Having = (SerialKey, TokenKey);

/// A serial number with its only token, and whose that is.
#[derive(Clone, Copy)]
struct Alone {
    serial: SerialKey,
    token: TokenKey,
    user: UserNumber,
}

impl Census {
    /// Enters a user just assembled, in place of what was known of them, and makes the tokens unusable that collide with
    /// others. Gives the *other* users whose tokens have begun or ceased to collide by this: assemble and enter them
    /// again, which changes nobody else in turn. Of the tokens in `shared` the user may be one owner of several.
    pub fn enter(&mut self, number: UserNumber, user: &mut User, shared: &[EntryId]) -> HashSet<UserNumber> {
        let tokens: Vec<Having> = match &user.tokens {
            Tokens::These(tokens) => tokens.iter().map(|token| self.having(token)).collect(),
            Tokens::TooMany(_) => Vec::new(),
        };
        let changed = self.replace(number, &tokens);
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
    pub fn leave(&mut self, user: UserNumber) -> HashSet<UserNumber> {
        self.replace(user, &[])
    }

    fn defect(&self, token: &Token, shared: &[EntryId]) -> Option<Defect> {
        let (serial, own) = self.having(token);
        let carriers = self.together.get(&serial)?;
        if !shared.contains(&token.id) && carriers.iter().filter(|(token, _)| *token == own).nth(1).is_some()
        {
            Some(Defect::SeveralOwners)
        } else {
            carriers.iter().any(|(token, _)| *token != own).then_some(Defect::SerialRepeated)
        }
    }

    fn replace(&mut self, user: UserNumber, tokens: &[Having]) -> HashSet<UserNumber> {
        let before = self.has(user);
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
        self.note(user, tokens);
        let is = self.contested(touched());
        let mut changed: HashSet<UserNumber> = was.symmetric_difference(&is).map(|(user, _)| *user).collect();
        changed.remove(&user);
        changed
    }

    fn add(&mut self, user: UserNumber, (serial, token): Having) {
        if let Some(carriers) = self.together.get_mut(&serial) {
            carriers.insert((token, user));
            return;
        }
        match self.alone.entry(serial.get(), |alone| alone.serial == serial, |alone| alone.serial.get()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Alone { serial, token, user });
            }
            Entry::Occupied(held) => {
                let (first, _) = held.remove();
                let carriers = BTreeSet::from([(first.token, first.user), (token, user)]);
                self.together.insert(serial, carriers);
            }
        }
    }

    fn take_out(&mut self, user: UserNumber, (serial, token): Having) {
        let Some(carriers) = self.together.get_mut(&serial) else {
            if let Ok(held) = self.alone.find_entry(serial.get(), |alone| alone.serial == serial) {
                held.remove();
            }
            return;
        };
        carriers.remove(&(token, user));
        if let (1, Some(&(token, user))) = (carriers.len(), carriers.first()) {
            self.together.remove(&serial);
            self.add(user, (serial, token));
        }
    }

    /// The users, each with their token, among whom some of these tokens collide.
    fn contested<'a>(&self, tokens: impl Iterator<Item = &'a Having>) -> HashSet<(UserNumber, TokenKey)> {
        let mut users = HashSet::new();
        for (serial, token) in tokens {
            let Some(carriers) = self.together.get(serial) else { continue };
            let own = carriers.iter().filter(|carrier| carrier.0 == *token);
            if own.clone().nth(1).is_some() {
                users.extend(own.map(|&(token, user)| (user, token)));
            }
            let first = carriers.first().map(|carrier| carrier.0);
            if carriers.iter().any(|carrier| Some(carrier.0) != first) {
                users.extend(carriers.iter().map(|&(token, user)| (user, token)));
            }
        }
        users
    }

    /// What a user has.
    fn has(&self, user: UserNumber) -> Vec<Having> {
        if let Some(tokens) = self.rich.get(&user) {
            return tokens.clone();
        }
        let Some(serial) = at(user).and_then(|at| *self.users.get(at)?) else { return Vec::new() };
        let token = match self.together.get(&serial) {
            Some(carriers) => carriers.iter().find(|carrier| carrier.1 == user).map(|carrier| carrier.0),
            None => self.alone.find(serial.get(), |alone| alone.serial == serial).map(|alone| alone.token),
        };
        token.map(|token| (serial, token)).into_iter().collect()
    }

    fn note(&mut self, user: UserNumber, tokens: &[Having]) {
        self.rich.remove(&user);
        let one = match tokens {
            [(serial, _)] => Some(*serial),
            [] => None,
            several => {
                self.rich.insert(user, several.to_vec());
                None
            }
        };
        let Some(at) = at(user) else { return };
        if at >= self.users.len() {
            self.users.resize(at + 1, None);
        }
        if let Some(place) = self.users.get_mut(at) {
            *place = one;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is a part of a hash")]
    fn having(&self, token: &Token) -> Having {
        let serial = SerialKey::new(self.hasher.hash_one(&token.serial)).unwrap_or(SerialKey::MIN);
        (serial, self.hasher.hash_one(token.id) as TokenKey)
    }
}

fn at(user: UserNumber) -> Option<usize> {
    usize::try_from(user).ok()
}
