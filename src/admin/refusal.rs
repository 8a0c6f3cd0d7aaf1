//! Why an act was not done: one closed vocabulary for the command line, the HTTP routes and the audit log.

use super::protocol::{Kind, Refused, Told};
use crate::cluster::Lost;
use crate::directory::Unavailable;
use crate::directory::registry::NotChanged;
use crate::identity::Escaped;
use crate::pipeline::drive::NotDurable;
use crate::policy::four_eyes::NoDecision;
use crate::policy::{Act, Roles, StartPassword};
use crate::tokens::life::Refusal;
use std::fmt;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refuse {
    /// It does not fit the token's stage.
    Life(Refusal),
    /// The waiting time after a revocation runs until then.
    WaitingUntil(String),
    /// The token may be renewed from then on.
    RenewalFrom(String),
    /// A second person's answer does not count.
    Request(NoDecision),
    /// Whoever asked for what waits may not do it any more.
    AskerMayNot,
    /// The directory has not made the change.
    NotChanged(NotChanged),
    /// The directory cannot be asked.
    Directory(Unavailable),
    /// The directory has not been read, or not lately.
    Stale,
    /// The clock is not trusted.
    Clock,
    /// The journal cannot be written.
    Journal,
    /// The engine that nodes share does not have it, or may not.
    Cluster(Lost),
    /// Another node has changed the same at this moment, so nothing was done here.
    Raced,
    /// The table of requests cannot be read or written.
    RequestTable(String),
    /// Too many requests wait.
    RequestsTooMany,
    /// The system gives no random octets, or no thread.
    System,

    /// A value of impossible form: which, and what would be right.
    Value {
        /// Which value.
        what: &'static str,
        /// What would be right.
        right: &'static str,
    },
    /// A start password that the service does not allow.
    StartPassword(StartPassword),
    /// No start password, although one is needed.
    StartPasswordMissing,

    /// Nobody has this name.
    UserUnknown(String),
    /// Several entries have this name.
    UserAmbiguous(String),
    /// No contract with this id is enabled.
    ContractUnknown(String),
    /// The contract is enabled already.
    ContractThere(String),
    /// There is no such service profile.
    ServiceUnknown(String),
    /// The user belongs to no contract.
    NoContract(String),
    /// One-time passwords are not enabled for the user's contract.
    ContractNotEnabled(String),
    /// No RADIUS client has this name.
    ClientUnknown(String),
    /// The profile has no such operation.
    OperationUnknown(String),
    /// There is no such request of a second person.
    RequestUnknown(String),
    /// The audit log has no line about this request.
    NothingKnown(String),
    /// A token with this serial number exists.
    SerialTaken(String),
    /// Binding a token takes a second person, and an import cannot wait for one: it has a key in it.
    ImportUnseen,
    /// The users of this directory come and go by its own tools.
    UsersElsewhere,
    /// There is nothing to release.
    NothingHeld(String),

    /// The caller is in no list of operators.
    NoOperator(String),
    /// The caller may not act so.
    RoleNotYours {
        /// The caller.
        caller: String,
        /// As whom.
        wanted: String,
    },
    /// `--as` of impossible form.
    ActorForm,
    /// The directory does not know the actor.
    ActorUnknown(String),
    /// The actor's role in the directory is another one.
    ActorRole(String),
    /// The act is not the actor's to do.
    MayNot {
        /// The act.
        act: Act,
        /// Who may.
        roles: Roles,
    },
    /// The other one belongs to another contract.
    OtherContract,
    /// Nobody releases themselves.
    OwnRelease,
    /// A master user is released by an admin user or the counter.
    MasterRelease,
    /// The actor is locked, or the account is.
    ActorLocked(String),
    /// The actor has no token in service to prove anything with.
    ActorTokenless(String),

    /// A code is needed and none was given.
    CodeMissing(String),
    /// The confirmation password is needed and was not given.
    PasswordMissing(String),
    /// The code is wrong.
    CodeWrong,
    /// The code was used.
    CodeUsed,
    /// The confirmation password is wrong.
    PasswordWrong(String),
    /// The directory refuses the account.
    AccountRefused(String),
    /// Two codes that are not two codes in a row of this token.
    NotInARow,
}

impl Refuse {
    /// The word for the cause: in the audit log, in JSON, and in `docs/refusals.md`.
    pub fn word(&self) -> &'static str {
        match self {
            Refuse::Life(refusal) => refusal.word(),
            Refuse::WaitingUntil(_) => Refusal::Waiting.word(),
            Refuse::RenewalFrom(_) => Refusal::TooEarly.word(),
            Refuse::Request(no) => no.word(),
            Refuse::AskerMayNot => "asker-may-not",
            Refuse::NotChanged(NotChanged::Conflict) => "conflict",
            Refuse::NotChanged(NotChanged::Exists) => "exists-already",
            Refuse::NotChanged(NotChanged::Refused(_)) => "directory-refused",
            Refuse::NotChanged(NotChanged::NoSealKey) => "no-seal-key",
            Refuse::NotChanged(NotChanged::Unknown) => "change-unknown",
            Refuse::NotChanged(NotChanged::Unavailable(_)) | Refuse::Directory(_) => "directory-unreachable",
            Refuse::Stale => "directory-stale",
            Refuse::Clock => "clock-guarded",
            Refuse::Journal => "disk-failed",
            Refuse::Cluster(lost) => lost.reason().text(),
            Refuse::Raced => "changed-meanwhile",
            Refuse::RequestTable(_) => "request-table",
            Refuse::RequestsTooMany => "requests-too-many",
            Refuse::System => "system",
            Refuse::Value { .. } | Refuse::ActorForm => "value",
            Refuse::StartPassword(_) | Refuse::StartPasswordMissing => "start-password",
            Refuse::UserUnknown(_) => "user-unknown",
            Refuse::UserAmbiguous(_) => "user-ambiguous",
            Refuse::ContractUnknown(_) => "contract-unknown",
            Refuse::ContractThere(_) => "contract-there",
            Refuse::ServiceUnknown(_) => "service-unknown",
            Refuse::NoContract(_) => "no-contract",
            Refuse::ContractNotEnabled(_) => "contract-not-enabled",
            Refuse::ClientUnknown(_) => "client-unknown",
            Refuse::OperationUnknown(_) => "operation-unknown",
            Refuse::RequestUnknown(_) => "request-unknown",
            Refuse::NothingKnown(_) => "nothing-known",
            Refuse::SerialTaken(_) => "serial-taken",
            Refuse::ImportUnseen => "import-unseen",
            Refuse::UsersElsewhere => "users-elsewhere",
            Refuse::NothingHeld(_) => Refusal::NotLocked.word(),
            Refuse::NoOperator(_) => "no-operator",
            Refuse::RoleNotYours { .. } => "role-not-yours",
            Refuse::ActorUnknown(_) => "actor-unknown",
            Refuse::ActorRole(_) => "actor-role",
            Refuse::MayNot { .. } => "may-not",
            Refuse::OtherContract => "other-contract",
            Refuse::OwnRelease => "own-release",
            Refuse::MasterRelease => "master-release",
            Refuse::ActorLocked(_) => "actor-locked",
            Refuse::ActorTokenless(_) => "actor-tokenless",
            Refuse::CodeMissing(_) => "code-missing",
            Refuse::PasswordMissing(_) => "password-missing",
            Refuse::CodeWrong => "code-wrong",
            Refuse::CodeUsed => "code-used",
            Refuse::PasswordWrong(_) => "password-wrong",
            Refuse::AccountRefused(_) => "account-refused",
            Refuse::NotInARow => "not-in-a-row",
        }
    }

    /// Every word, for the table of `docs/refusals.md`.
    pub fn words() -> Vec<&'static str> {
        let mut words = vec![
            "asker-may-not",
            "conflict",
            "exists-already",
            "directory-refused",
            "no-seal-key",
            "change-unknown",
            "directory-unreachable",
            "directory-stale",
            "clock-guarded",
            "disk-failed",
            "changed-meanwhile",
            "request-table",
            "requests-too-many",
            "system",
            "value",
            "start-password",
            "user-unknown",
            "user-ambiguous",
            "contract-unknown",
            "contract-there",
            "service-unknown",
            "no-contract",
            "contract-not-enabled",
            "client-unknown",
            "operation-unknown",
            "request-unknown",
            "nothing-known",
            "serial-taken",
            "import-unseen",
            "users-elsewhere",
            "no-operator",
            "role-not-yours",
            "actor-unknown",
            "actor-role",
            "may-not",
            "other-contract",
            "own-release",
            "master-release",
            "actor-locked",
            "actor-tokenless",
            "code-missing",
            "password-missing",
            "code-wrong",
            "code-used",
            "password-wrong",
            "account-refused",
            "not-in-a-row",
        ];
        words.extend(Lost::ALL.map(|lost| lost.reason().text()));
        words
            .extend([NoDecision::SamePerson, NoDecision::Decided, NoDecision::Expired].map(NoDecision::word));
        words.extend(Refusal::ALL.iter().map(|refusal| refusal.word()));
        words
    }

    /// What kind of refusal it is.
    pub fn kind(&self) -> Kind {
        match self {
            Refuse::Life(Refusal::NoSuchToken | Refusal::NoSetup)
            | Refuse::UserUnknown(_)
            | Refuse::UserAmbiguous(_)
            | Refuse::ContractUnknown(_)
            | Refuse::ClientUnknown(_)
            | Refuse::OperationUnknown(_)
            | Refuse::RequestUnknown(_)
            | Refuse::NothingKnown(_) => Kind::Unknown,
            Refuse::Value { .. }
            | Refuse::ActorForm
            | Refuse::StartPassword(_)
            | Refuse::StartPasswordMissing
            | Refuse::ServiceUnknown(_) => Kind::Invalid,
            Refuse::NotChanged(NotChanged::Conflict | NotChanged::Exists)
            | Refuse::SerialTaken(_)
            | Refuse::Raced => Kind::Conflict,
            Refuse::NotChanged(_)
            | Refuse::Directory(_)
            | Refuse::Stale
            | Refuse::Clock
            | Refuse::Journal
            | Refuse::Cluster(_)
            | Refuse::RequestTable(_)
            | Refuse::RequestsTooMany
            | Refuse::System => Kind::Unavailable,
            Refuse::NoOperator(_)
            | Refuse::RoleNotYours { .. }
            | Refuse::ActorUnknown(_)
            | Refuse::ActorRole(_)
            | Refuse::MayNot { .. }
            | Refuse::OtherContract
            | Refuse::ImportUnseen
            | Refuse::OwnRelease
            | Refuse::MasterRelease
            | Refuse::ActorLocked(_)
            | Refuse::Request(NoDecision::SamePerson) => Kind::NotAllowed,
            Refuse::ActorTokenless(_)
            | Refuse::CodeMissing(_)
            | Refuse::PasswordMissing(_)
            | Refuse::PasswordWrong(_)
            | Refuse::AccountRefused(_)
            | Refuse::CodeWrong
            | Refuse::CodeUsed => Kind::Proof,
            Refuse::Life(_)
            | Refuse::WaitingUntil(_)
            | Refuse::RenewalFrom(_)
            | Refuse::Request(_)
            | Refuse::AskerMayNot
            | Refuse::ContractThere(_)
            | Refuse::NoContract(_)
            | Refuse::ContractNotEnabled(_)
            | Refuse::NothingHeld(_)
            | Refuse::UsersElsewhere
            | Refuse::NotInARow => Kind::State,
        }
    }

    /// The answer. What the actor could not prove is not allowed; what the act itself takes is refused.
    pub fn told(&self, proof_of: ProofOf) -> Told {
        let kind = self.kind();
        let refused = Refused { reason: self.word().to_owned(), why: self.to_string(), kind };
        match (kind, proof_of) {
            (Kind::NotAllowed, _) | (Kind::Proof, ProofOf::Actor) => Told::NotAllowed(refused),
            _ => Told::Refused(refused),
        }
    }
}

/// Whose proof an act takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofOf {
    /// The actor's: without it they may not.
    Actor,
    /// The act's own: codes that show which token is meant.
    Act,
}

impl fmt::Display for Refuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| Escaped(text.as_bytes()).to_string();
        match self {
            Refuse::Life(refusal) => refusal.fmt(f),
            Refuse::WaitingUntil(time) => {
                write!(f, "a token was revoked lately; a new one may follow from {time} on")
            }
            Refuse::RenewalFrom(time) => write!(f, "the token is not due yet; it may be renewed from {time} on"),
            Refuse::Request(no) => no.fmt(f),
            Refuse::AskerMayNot => f.write_str(
                "whoever asked for it may not do it any more, so it cannot be approved; somebody who may asks again",
            ),
            Refuse::NotChanged(not) => not.fmt(f),
            Refuse::Directory(unavailable) => unavailable.fmt(f),
            Refuse::Stale => f.write_str("the directory has not been read yet, or not lately"),
            Refuse::Clock => f.write_str("the clock is not trusted now, so no code can be judged; see sekisho status"),
            Refuse::Journal => {
                f.write_str("the journal cannot be written, so it may not last; see `sekisho status`")
            }
            Refuse::Cluster(lost) => write!(f, "{lost}, so it may not count on every node; see `sekisho status`"),
            Refuse::Raced => {
                f.write_str("another node changed the same at this moment, so nothing was done; repeat the command, with a new code if it takes one")
            }
            Refuse::RequestTable(why) => write!(f, "the table of requests cannot be used: {why}"),
            Refuse::RequestsTooMany => f.write_str("too many requests wait for a second person; decide on some first"),
            Refuse::System => f.write_str("the system gives no random octets or no thread; try again"),
            Refuse::Value { what, right } => write!(f, "{what} cannot be meant: {right}"),
            Refuse::StartPassword(rule) => write!(f, "the start password must be {rule}"),
            Refuse::StartPasswordMissing => f.write_str("there is no start password; the user chooses one"),
            Refuse::UserUnknown(user) => write!(f, "no user {} is known to the directory", shown(user)),
            Refuse::UserAmbiguous(user) => {
                write!(f, "several entries have the name {}; make it one", shown(user))
            }
            Refuse::ContractUnknown(contract) => {
                write!(f, "one-time passwords are not enabled for a contract {}; see sekisho contract list", shown(contract))
            }
            Refuse::ContractThere(contract) => write!(f, "contract {} is enabled already", shown(contract)),
            Refuse::ServiceUnknown(service) => {
                write!(f, "there is no service profile {}; see [service.…] in the configuration", shown(service))
            }
            Refuse::NoContract(user) => {
                write!(f, "{} belongs to no contract; give the entry its sekishoContract", shown(user))
            }
            Refuse::ContractNotEnabled(contract) => write!(
                f,
                "one-time passwords are not enabled for contract {0}; sekisho contract enable {0} --service PROFILE",
                shown(contract)
            ),
            Refuse::ClientUnknown(client) => {
                write!(f, "there is no [[radius.client]] named {}", shown(client))
            }
            Refuse::OperationUnknown(operation) => {
                write!(f, "the client's service profile has no operation {}", shown(operation))
            }
            Refuse::RequestUnknown(id) => write!(f, "there is no request {}; see sekisho request list", shown(id)),
            Refuse::NothingKnown(id) => {
                write!(f, "the audit log has no line about request {}, nor have the older files beside it that are not compressed", shown(id))
            }
            Refuse::SerialTaken(serial) => write!(f, "a token {} exists already", shown(serial)),
            Refuse::UsersElsewhere => f.write_str(
                "the users of an LDAP directory are added and removed by its own tools",
            ),
            Refuse::ImportUnseen => f.write_str(
                "register needs a second person, and an import cannot wait for one; import without users, then register",
            ),
            Refuse::NothingHeld(user) => write!(f, "{} is not locked and has no failures", shown(user)),
            Refuse::NoOperator(caller) => {
                write!(f, "{} is no operator; add the name to [admin.operators]", shown(caller))
            }
            Refuse::RoleNotYours { caller, wanted } => write!(
                f,
                "{} may not act as {}; [admin.operators] says who may",
                shown(caller),
                shown(wanted)
            ),
            Refuse::ActorForm => f.write_str(
                "an actor is written ROLE:NAME: counter, auditor, master:NAME, admin:NAME or user:NAME",
            ),
            Refuse::ActorUnknown(name) => write!(f, "no user {} is known to the directory", shown(name)),
            Refuse::ActorRole(name) => {
                write!(f, "{} has another role in the directory; see sekisho user show", shown(name))
            }
            Refuse::MayNot { act, roles } => {
                write!(f, "{act} is not for this role; who may: {roles} ([admin.may] or the service's own table)")
            }
            Refuse::OtherContract => {
                f.write_str("only users of the same contract, or the counter, may do that")
            }
            Refuse::OwnRelease => f.write_str(
                "nobody releases themselves; another master or admin user, or the counter, does",
            ),
            Refuse::MasterRelease => {
                f.write_str("a master user is released by an admin user or by the counter")
            }
            Refuse::ActorLocked(name) => write!(f, "{} is locked and can do nothing for anybody", shown(name)),
            Refuse::ActorTokenless(name) => write!(
                f,
                "{} has no token in service and cannot show a code; the counter can do it",
                shown(name)
            ),
            Refuse::CodeMissing(name) => write!(f, "{} has to give a code", shown(name)),
            Refuse::PasswordMissing(name) => write!(f, "{} has to give the confirmation password", shown(name)),
            Refuse::CodeWrong => f.write_str("the code is wrong; use the one that the token shows now"),
            Refuse::CodeUsed => f.write_str("the code was used; wait for the next one"),
            Refuse::PasswordWrong(name) => {
                write!(f, "this is not the confirmation password of {}", shown(name))
            }
            Refuse::AccountRefused(why) => write!(f, "the directory refuses the account: {why}"),
            Refuse::NotInARow => f.write_str(
                "these are not two codes in a row of this token within a day; wait for a new code and take the one after it",
            ),
        }
    }
}

impl From<Refusal> for Refuse {
    fn from(refusal: Refusal) -> Refuse {
        Refuse::Life(refusal)
    }
}

impl From<NotDurable> for Refuse {
    fn from(not: NotDurable) -> Refuse {
        match not {
            NotDurable::Journal => Refuse::Journal,
            NotDurable::Cluster(lost) => Refuse::Cluster(lost),
            NotDurable::Changed => Refuse::Raced,
        }
    }
}

impl From<NotChanged> for Refuse {
    fn from(not: NotChanged) -> Refuse {
        Refuse::NotChanged(not)
    }
}

impl From<Unavailable> for Refuse {
    fn from(unavailable: Unavailable) -> Refuse {
        Refuse::Directory(unavailable)
    }
}

impl From<NoDecision> for Refuse {
    fn from(no: NoDecision) -> Refuse {
        Refuse::Request(no)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_race_with_another_node_is_no_failure_of_the_disk() {
        for (not, word, kind) in [
            (NotDurable::Journal, "disk-failed", Kind::Unavailable),
            (NotDurable::Cluster(Lost::Unreachable), "cluster-unreachable", Kind::Unavailable),
            (NotDurable::Changed, "changed-meanwhile", Kind::Conflict),
        ] {
            let why = Refuse::from(not);
            assert_eq!((why.word(), why.kind()), (word, kind), "{not:?}");
        }
        assert!(Refuse::from(NotDurable::Changed).to_string().contains("repeat the command"));
    }
}
