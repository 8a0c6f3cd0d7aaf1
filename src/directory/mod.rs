//! Where users, passwords and tokens live.
