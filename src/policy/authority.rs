//! Who may do what to whom: the acts, the roles of those who act, and what each has to prove.

use std::fmt;

/// Declares the acts, each with its word and the roles that may do it where nobody says otherwise.
macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident = $text:literal, [$($role:ident)*];)*) => {
        /// What somebody does to a contract, a user or a token.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Act { $($(#[$doc])* $name,)* }

        impl Act {
            /// Every act.
            pub const ALL: &'static [Act] = &[$(Act::$name),*];

            /// The word in configuration, in the audit log and on the command line.
            pub const fn text(self) -> &'static str {
                match self { $(Act::$name => $text),* }
            }

            /// Who may do it, where configuration says nothing.
            pub const fn default_roles(self) -> Roles {
                match self { $(Act::$name => Roles::NONE$(.with(ActorRole::$role))*),* }
            }
        }
    };
}

acts! {
    /// Looking at users, tokens, contracts and requests; nothing changes.
    Look = "look", [Counter Auditor Master Admin User];
    /// One-time passwords begin for a contract (S-11).
    ContractEnable = "contract-enable", [Counter];
    /// One-time passwords end for a contract.
    ContractDisable = "contract-disable", [Counter];
    /// A token is promised to a user (S-12, S-13).
    Issue = "issue", [Counter User];
    /// The app fetches its key (S-14). Nobody acts: the start password is the proof.
    SetUp = "set-up", [User];
    /// The first correct code completes the activation (S-15).
    Confirm = "confirm", [Counter User];
    /// A user takes a token that was made before (S-16).
    Register = "register", [Counter User];
    /// A user moves to another token (S-21).
    Exchange = "exchange", [Counter User];
    /// The last exchange is undone.
    UndoExchange = "undo-exchange", [Counter User];
    /// A token ends (S-19, S-20).
    Revoke = "revoke", [Counter Master Admin];
    /// A token is stopped for a time (S-23).
    Suspend = "suspend", [Counter];
    /// A suspended token goes on.
    Resume = "resume", [Counter];
    /// A token gets a new end (S-24).
    Renew = "renew", [Counter User];
    /// A user gives the second factor up (S-22).
    Stop = "stop", [Counter User];
    /// A token's clock is learned anew (S-05).
    Resync = "resync", [Counter];
    /// A lock is lifted (S-18).
    Release = "release", [Counter Master Admin];
    /// A user's own choice for login (S-08).
    LoginCode = "login-code", [Counter User];
    /// A user of the embedded directory is added.
    UserAdd = "user-add", [Counter];
    /// One is removed.
    UserRemove = "user-remove", [Counter];
    /// Tokens come in from a file.
    Import = "import", [Counter];
    /// Tokens go out into a file, with their keys.
    Export = "export", [Counter];
    /// The keys that seal tokens change.
    Keys = "keys", [Counter];
    /// A request of another person is approved or denied.
    Decide = "decide", [Counter];
}

impl Act {
    /// Reads the word.
    pub fn parse(text: &str) -> Option<Act> {
        Act::ALL.iter().copied().find(|act| act.text() == text)
    }

    /// Whether it can wait for a second person: it must have nothing secret in it, and change something.
    pub const fn can_wait(self) -> bool {
        !matches!(
            self,
            Act::Look | Act::SetUp | Act::UserAdd | Act::Import | Act::Export | Act::Keys | Act::Decide
        )
    }

    /// What somebody in this role has to prove before the act; codes and passwords that the act itself takes (the
    /// codes of an exchange, for example) come on top.
    pub const fn proof(self, role: ActorRole) -> Proof {
        match (self, role) {
            (Act::Look | Act::SetUp | Act::Confirm | Act::Register | Act::Exchange, _)
            | (_, ActorRole::Counter | ActorRole::Auditor) => Proof::Nothing,
            (Act::Revoke | Act::Resume, ActorRole::Master | ActorRole::Admin)
            | (Act::Stop, ActorRole::User | ActorRole::Master | ActorRole::Admin) => Proof::CodeAndPassword,
            (Act::Renew | Act::LoginCode, _) => Proof::Code,
            _ => Proof::Password,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// In which role somebody acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ActorRole {
    /// The bank's counter: any user, any contract.
    Counter,
    /// The master user of a contract, for the users of that contract.
    Master,
    /// An admin user of a contract, for the users of that contract.
    Admin,
    /// A user, for themselves.
    User,
    /// Looks at everything and changes nothing.
    Auditor,
}

impl ActorRole {
    /// Every role.
    pub const ALL: [ActorRole; 5] =
        [ActorRole::Counter, ActorRole::Master, ActorRole::Admin, ActorRole::User, ActorRole::Auditor];

    /// The word.
    pub const fn text(self) -> &'static str {
        match self {
            ActorRole::Counter => "counter",
            ActorRole::Master => "master",
            ActorRole::Admin => "admin",
            ActorRole::User => "user",
            ActorRole::Auditor => "auditor",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<ActorRole> {
        ActorRole::ALL.into_iter().find(|role| role.text() == text)
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Nobody.
    pub const NONE: Roles = Roles(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, role: ActorRole) -> Roles {
        Roles(self.0 | 1 << role as u8)
    }

    /// Whether the role is among them.
    pub const fn has(self, role: ActorRole) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    /// The roles, in the order of [`ActorRole::ALL`].
    pub fn iter(self) -> impl Iterator<Item = ActorRole> {
        ActorRole::ALL.into_iter().filter(move |role| self.has(*role))
    }
}

impl FromIterator<ActorRole> for Roles {
    fn from_iter<I: IntoIterator<Item = ActorRole>>(roles: I) -> Roles {
        roles.into_iter().fold(Roles::NONE, Roles::with)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for role in self.iter() {
            f.write_str(if first { "" } else { ", " })?;
            f.write_str(role.text())?;
            first = false;
        }
        if first { f.write_str("nobody") } else { Ok(()) }
    }
}

/// What somebody has to show beside their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: the socket or the certificate says who it is.
    Nothing,
    /// The confirmation password.
    Password,
    /// A code of the own token.
    Code,
    /// Both.
    CodeAndPassword,
}

/// Who may do what: everything that configuration says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    may: Vec<Roles>,
    four_eyes: u32,
}

impl Default for Authority {
    fn default() -> Authority {
        Authority { may: Act::ALL.iter().map(|act| act.default_roles()).collect(), four_eyes: 0 }
    }
}

impl Authority {
    /// Lets these roles, and no others, do the act.
    pub fn allow(&mut self, act: Act, roles: Roles) {
        if let Some(may) = self.may.get_mut(act as usize) {
            *may = roles;
        }
    }

    /// Demands a second person for the act.
    pub fn demand_second(&mut self, act: Act) {
        self.four_eyes |= 1 << act as u32;
    }

    /// Who may do the act, under a service profile that may say otherwise.
    pub fn roles(&self, act: Act, service: &Exceptions) -> Roles {
        let general = || self.may.get(act as usize).copied().unwrap_or(Roles::NONE);
        service.0.iter().find(|(other, _)| *other == act).map_or_else(general, |(_, roles)| *roles)
    }

    /// Whether the act needs a second person.
    pub const fn needs_second(&self, act: Act) -> bool {
        self.four_eyes & 1 << act as u32 != 0
    }
}

/// Where a service profile says otherwise than `[admin.may]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Exceptions(pub Vec<(Act, Roles)>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_has_its_own_word_and_somebody_who_may_do_it() {
        for act in Act::ALL {
            assert_eq!(Act::parse(act.text()), Some(*act));
            assert!(act.default_roles().iter().next().is_some(), "{act}");
            assert!(*act == Act::Look || !act.default_roles().has(ActorRole::Auditor), "{act} by an auditor");
        }
        assert!(Act::ALL.len() <= 32);
    }

    #[test]
    fn what_customers_prove_and_the_counter_does_not() {
        use ActorRole::{Admin, Counter, Master, User};
        for (act, role, proof) in [
            (Act::Release, Counter, Proof::Nothing),
            (Act::Release, Master, Proof::Password),
            (Act::Revoke, Master, Proof::CodeAndPassword),
            (Act::Revoke, Admin, Proof::CodeAndPassword),
            (Act::Revoke, User, Proof::Password),
            (Act::Stop, User, Proof::CodeAndPassword),
            (Act::Renew, User, Proof::Code),
            (Act::Exchange, User, Proof::Nothing),
            (Act::Issue, User, Proof::Password),
        ] {
            assert_eq!(act.proof(role), proof, "{act} by {role:?}");
        }
    }

    #[test]
    fn a_service_may_say_otherwise() {
        let mut authority = Authority::default();
        let user = Roles::NONE.with(ActorRole::User);
        let personal = Exceptions(vec![(Act::Revoke, user)]);
        assert!(!authority.roles(Act::Revoke, &Exceptions::default()).has(ActorRole::User));
        assert_eq!(authority.roles(Act::Revoke, &personal), user);
        authority.allow(Act::Suspend, user);
        assert_eq!(authority.roles(Act::Suspend, &personal).to_string(), "user");
        assert!(!authority.needs_second(Act::Export));
        authority.demand_second(Act::Export);
        assert!(authority.needs_second(Act::Export) && !authority.needs_second(Act::Keys));
    }
}
