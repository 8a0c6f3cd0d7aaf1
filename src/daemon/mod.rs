//! Start, supervise, reload, drain.
