//! What an operator may do to the running daemon.
//!
//! [`protocol`] is shared by both ends, [`client`] is the command line's end, [`socket`] the daemon's, and
//! [`operations`] does what is asked and says who may ask it.

pub mod client;
pub mod operations;
pub mod protocol;
pub mod socket;
