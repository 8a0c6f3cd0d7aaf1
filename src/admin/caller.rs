//! Who calls, and as whom they may act.
//!
//! A *caller* is what the connection itself proves: an operating-system user on the local socket, a certificate or a
//! token over HTTPS. An *actor* is who answers for the act: the bank's counter, an auditor, or a customer. Configuration
//! says which caller may be which actor (`[admin.operators]`).

use super::refusal::Refuse;
use crate::policy::ActorRole;
use crate::tokens::{Role, User};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whoever is at the other end, as the connection proves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// The name that `[admin.operators]` is looked up by.
    pub name: String,
    /// The same as the evidence has it: `uid:0`, `certificate:…`, `token:…`.
    pub evidence: String,
    /// Whether it is the operating-system user that the daemon runs as.
    pub own: Own,
    /// What was shown, as [`Credentials`] name it; nothing on the local socket.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credential: String,
}

/// Whether a caller is the daemon's own user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Own {
    /// It is.
    Ours,
    /// It is not.
    Another,
}

impl Caller {
    /// The operating-system user with this number, at the other end of the local socket.
    pub fn local(uid: u32) -> Caller {
        let own = if rustix::process::geteuid().as_raw() == uid { Own::Ours } else { Own::Another };
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = name_of(&passwd, uid).unwrap_or_else(|| format!("uid:{uid}"));
        Caller { name, evidence: format!("uid:{uid}"), own, credential: String::new() }
    }
}

/// The name of a user number in the form of passwd(5).
fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
    })
}

/// As whom a caller may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guise {
    /// In which role.
    pub role: ActorRole,
    /// Under which names.
    pub names: Names,
}

/// Under which names a caller may act in a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Under the caller's own name.
    Own,
    /// Under any name: `ROLE:*`.
    Any,
}

impl Guise {
    /// Reads `counter`, `counter:*` and the like.
    pub fn parse(text: &str) -> Option<Guise> {
        let (role, names) = match text.split_once(':') {
            None => (text, Names::Own),
            Some((role, "*")) => (role, Names::Any),
            Some(_) => return None,
        };
        Some(Guise { role: ActorRole::parse(role)?, names })
    }
}

/// The name in `[admin.operators]` that stands for the operating-system user that the daemon runs as.
pub const DAEMON: &str = "daemon";

/// Which caller may act as whom.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Operators(pub BTreeMap<String, Vec<Guise>>);

/// The tokens and certificates that open the API now, by marks that open nothing.
pub type Credentials = BTreeSet<String>;

impl Operators {
    fn of(&self, caller: &Caller) -> impl Iterator<Item = Guise> {
        let by_name = self.0.get(&caller.name);
        let own = self.0.get(DAEMON).filter(|_| caller.own == Own::Ours && by_name.is_none());
        by_name.or(own).into_iter().flatten().copied()
    }

    /// Who the caller claims to be, if they may: `ROLE`, `ROLE:NAME`, or nothing for their first role.
    ///
    /// # Errors
    /// A role that is none, or that is not theirs to take.
    pub fn claim(&self, caller: &Caller, wanted: Option<&str>) -> Result<Claim, Refuse> {
        let nothing = || Refuse::NoOperator(caller.name.clone());
        let mut guises = self.of(caller).peekable();
        let first = *guises.peek().ok_or_else(nothing)?;
        let Some(wanted) = wanted else {
            return Ok(Claim {
                role: first.role,
                name: caller.name.clone(),
                named: first.names == Names::Any,
            });
        };
        let (role, name) = match wanted.split_once(':') {
            Some((role, name)) if !name.is_empty() => (role, Some(name)),
            Some(_) => return Err(Refuse::ActorForm),
            None => (wanted, None),
        };
        let role = ActorRole::parse(role).ok_or(Refuse::ActorForm)?;
        let name_is_own = name.is_none_or(|name| name == caller.name);
        let allowed = guises.any(|guise| guise.role == role && (guise.names == Names::Any || name_is_own));
        if !allowed {
            return Err(Refuse::RoleNotYours { caller: caller.name.clone(), wanted: wanted.to_owned() });
        }
        let is_customer = matches!(role, ActorRole::Master | ActorRole::Admin | ActorRole::User);
        match name {
            None if is_customer => Err(Refuse::ActorForm),
            name => Ok(Claim { role, name: name.unwrap_or(&caller.name).to_owned(), named: name.is_some() }),
        }
    }
}

/// Who a caller claims to be, before anything is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// In which role.
    pub role: ActorRole,
    /// The name: of a person at the bank, or of a customer in the directory.
    pub name: String,
    /// Whether the name was given.
    pub named: bool,
}

/// Who answers for an act.
#[derive(Clone, Debug)]
pub struct Actor {
    /// In which role.
    pub role: ActorRole,
    /// The name, as the evidence has it.
    pub name: String,
    /// The person behind it: two persons differ in it, one person has it in every role.
    pub person: String,
    /// The entry of a customer.
    pub user: Option<Arc<User>>,
    /// Who is at the other end, as the connection proves it.
    pub caller: Caller,
}

impl Actor {
    /// Somebody of the bank.
    pub fn of_bank(claim: &Claim, caller: &Caller) -> Actor {
        let role = claim.role.text();
        let own = claim.name == caller.name;
        Actor {
            role: claim.role,
            name: if own { role.to_owned() } else { format!("{role}:{}", claim.name) },
            person: format!("{BANK}{}", claim.name),
            user: None,
            caller: caller.clone(),
        }
    }

    /// A customer, who still has to prove to be it.
    pub fn of_customer(role: ActorRole, user: Arc<User>, caller: &Caller) -> Actor {
        Actor {
            role,
            name: user.name.to_string(),
            person: format!("entry:{}", user.id),
            user: Some(user),
            caller: caller.clone(),
        }
    }
}

/// Who asked for an act that waits, as far as it takes to look once more whether they may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asker {
    /// In which role, and under which name, in the form of `--as`.
    pub wanted: String,
    /// The person, as [`Actor::person`] has it.
    pub person: String,
    /// Who was at the other end.
    pub caller: Caller,
}

impl Asker {
    /// The actor as who asked.
    pub fn of(actor: &Actor) -> Asker {
        let name = match (&actor.user, actor.person.strip_prefix(BANK)) {
            (None, Some(name)) => name,
            _ => &actor.name,
        };
        Asker {
            wanted: format!("{}:{name}", actor.role.text()),
            person: actor.person.clone(),
            caller: actor.caller.clone(),
        }
    }
}

/// What the persons of the bank begin with, so that none is a customer's.
const BANK: &str = "bank:";

/// The role of a customer within the contract, as one who acts.
pub fn acting_role(role: Role) -> ActorRole {
    match role {
        Role::Master => ActorRole::Master,
        Role::Admin => ActorRole::Admin,
        Role::General => ActorRole::User,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operators(table: &[(&str, &[&str])]) -> Operators {
        let guises = |texts: &[&str]| texts.iter().map(|text| Guise::parse(text).unwrap()).collect();
        Operators(table.iter().map(|(name, texts)| ((*name).to_owned(), guises(texts))).collect())
    }

    fn caller(name: &str, own: Own) -> Caller {
        Caller { name: name.into(), evidence: "uid:7".into(), own, credential: String::new() }
    }

    #[test]
    fn a_caller_is_who_configuration_lets_them_be() {
        let operators = operators(&[
            ("root", &["counter", "counter:*", "user:*"]),
            ("tanaka", &["counter"]),
            ("sato", &["auditor"]),
            (DAEMON, &["counter"]),
        ]);
        let root = caller("root", Own::Ours);
        let tanaka = caller("tanaka", Own::Another);
        let sato = caller("sato", Own::Another);
        for (who, wanted, expected) in [
            (&root, None, Some((ActorRole::Counter, "root"))),
            (&root, Some("counter"), Some((ActorRole::Counter, "root"))),
            (&root, Some("counter:yamada"), Some((ActorRole::Counter, "yamada"))),
            (&root, Some("user:u1"), Some((ActorRole::User, "u1"))),
            (&root, Some("user"), None),
            (&root, Some("user:"), None),
            (&root, Some("master:u1"), None),
            (&root, Some("king:u1"), None),
            (&tanaka, None, Some((ActorRole::Counter, "tanaka"))),
            (&tanaka, Some("counter:tanaka"), Some((ActorRole::Counter, "tanaka"))),
            (&tanaka, Some("counter:yamada"), None),
            (&tanaka, Some("auditor"), None),
            (&sato, None, Some((ActorRole::Auditor, "sato"))),
            (&sato, Some("counter"), None),
            (&caller("daemon-user", Own::Ours), None, Some((ActorRole::Counter, "daemon-user"))),
            (&caller("mallory", Own::Another), None, None),
            // Nobody is the daemon's own user by being called so.
            (&caller("mallory", Own::Another), Some("counter"), None),
        ] {
            let claim = operators.claim(who, wanted).ok();
            let found = claim.as_ref().map(|claim| (claim.role, claim.name.as_str()));
            assert_eq!(found, expected, "{who:?} as {wanted:?}");
        }
    }

    #[test]
    fn names_come_from_the_list_of_users() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\n:x:5:5\ntanaka:x:1000:1000::/:/bin/sh\n";
        assert_eq!(name_of(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_of(passwd, 1000).as_deref(), Some("tanaka"));
        assert_eq!(name_of(passwd, 5), None);
    }
}
