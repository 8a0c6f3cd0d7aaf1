//! Configuration: the file as written, the settings as meant, and all problems at once.
//!
//! ```text
//! defaults.toml ─┐
//! services       ├─ document: strict, ─▶ layers: merged, each ─▶ file: typed ─▶ build: checked ─▶ Settings
//! FILE           │  every mistake        value with its origin                        │
//! conf.d/*.toml  │         └──────────────────────────────────────────────────────────┴──▶ all problems
//! environment   ─┘
//! ```

pub mod document;
pub mod file;
pub mod layers;
pub mod problem;
pub mod value;
