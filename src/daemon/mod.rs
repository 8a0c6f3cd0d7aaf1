//! Start, supervise, reload, drain.
//!
//! Nothing is listened on before the configuration is whole; nobody is answered before the journal is replayed, the
//! directory is read and the clock is looked at; nothing ends before what is being judged has ended.

mod ends;
mod gauges;
pub mod log;
mod start;
pub mod systemd;
mod web;
mod workers;

pub use ends::{Ending, Reload, run};
pub use start::{Running, StartError, start};
