//! What each step of one login costs, by itself.

fn main() {}
