//! What whoever acts may do to the running daemon, and to the tokens of its users.
//!
//! [`protocol`] is shared by both ends, [`client`] is the command line's end, [`socket`] the daemon's. [`operations`]
//! carries out what is asked, from the command line and over HTTP alike: [`caller`] says who asks and as whom, [`deed`]
//! is an act with everything proven, [`requests`] are deeds that wait for a second person, and [`refusal`] is why
//! something was not done.

pub mod caller;
pub mod client;
pub mod deed;
mod evidence;
pub mod operations;
pub mod protocol;
pub mod refusal;
pub mod requests;
pub mod socket;
mod start_password;

use crate::clock::Wall;
use refusal::Refuse;

/// A time in UTC, for people and programs.
fn time_text(time: Wall) -> String {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

fn random<const N: usize>() -> Result<[u8; N], Refuse> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|_| Refuse::System)?;
    Ok(octets)
}
