//! What the daemon remembers, shared between threads: each table is its own type with its own locks.

pub mod bindings;
pub mod marks;

pub use bindings::{Bindings, Known, Scope};
pub use marks::{Mark, TokenMark, UserMark};
