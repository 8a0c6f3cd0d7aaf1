//! The whole daemon under load over loopback.

fn main() {}
