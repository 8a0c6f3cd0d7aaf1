//! What is asked: clients, service profiles, operations.

mod authority;
mod calendar;
mod client;
mod encoding;
pub mod four_eyes;
mod letter;
mod life;
mod operation;
mod profile;

pub use authority::{Act, ActorRole, Authority, Exceptions, Proof, Roles};
pub use calendar::{ClosedDay, NoDay, opening};
pub use client::{Client, Clients, ClientsProblem, Patience, PatienceProblem, UserNameForm};
pub use encoding::{Charset, Normalisation, PasswordEncoding, Unreadable};
pub use letter::{IdsTold, LetterLanguage, LinkProblem, SetupLetter};
pub use life::{ClosedHours, LifeProblem, MinuteOfDay, StartPassword, TokenLife, Undecided};
pub use operation::{Condition, ConditionProblem, Operation, Otherwise, Pattern, Requirement};
pub use profile::{
    ChallengeLifetime, ContractRule, Contradiction, LockLength, MaxFailures, PasswordCheck, Profile,
    ProfileProblem, RejectDelay, ReplyText, SecondStep, Texts, WithoutToken, WrongPassword,
};
