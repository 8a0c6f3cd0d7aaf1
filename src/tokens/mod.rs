//! Users and their tokens, as the directory binds them.
