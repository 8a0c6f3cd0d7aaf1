//! Start, supervise, reload, drain.

pub mod systemd;
