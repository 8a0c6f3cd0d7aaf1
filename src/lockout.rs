//! Consecutive failures and locks: a state machine with time as an argument.
