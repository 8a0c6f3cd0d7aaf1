//! What an operator may do to the running daemon.
