//! Users and their tokens, as the directory binds them: parsed once, and then only asked whether they may be used.

mod account;
mod kept;
pub mod life;
mod past;
mod record;
mod token;
mod user;

pub use account::{Account, AccountStanding};
pub use kept::{DnEnds, KeptToken, KeptTokens, KeptUser};
pub use past::{FAILURES_DISABLE, Past};
pub use record::{Contract, Record, Setup, State};
pub use token::{Defect, Standing, Token};
pub use user::{LoginCode, Role, TOKENS_MAX, Tokens, User};
