//! **sekisho** (関所) is the barrier station in front of a bank's services: a gateway asks over RADIUS "may this person
//! do this?", and sekisho examines the pass: the code against the user's token, the password against the directory.
//!
//! # The floors
//!
//! A module uses the floors below its own, never its own floor or above, but for the few exceptions that
//! `tests/core/layering.rs` lists and checks.
//!
//! | floor | modules | what it may do |
//! | --- | --- | --- |
//! | 0 words | [`clock`], [`secret`], [`identity`], [`outcome`], [`compact`] | plain types |
//! | 1 core | [`radius`], [`otp`], [`lockout`], [`policy`], [`tokens`], [`authenticate`], [`formats`] | pure functions: no I/O, no clock, no locks, no async |
//! | 2 memory | [`state`], [`metrics`] | shared and concurrent, never waits |
//! | 3 edges | [`listen`], [`directory`], [`store`], [`cluster`], [`audit`], [`mail`] | I/O; no edge knows another edge |
//! | 4 service | [`pipeline`], [`admin`] | joins core, memory and edges; `admin` may use `pipeline` |
//! | 5 assembly | [`http`], [`config`], [`daemon`], [`cli`] | sees everything |
//!
//! # The way of one request
//!
//! Read [`pipeline`] top to bottom: it is the only place that knows the order of steps. A datagram becomes a
//! [`radius::Request`], the request names an [`policy::Operation`], the user's tokens decide which code was meant
//! ([`authenticate`]), [`state`] claims the code so that it counts once, the directory is asked for the password, and
//! the claim is settled. The mark goes into the journal ([`store`]) and only then does an accept leave.

// 0 words: plain types.
pub mod clock;
pub mod compact;
pub mod identity;
pub mod outcome;
pub mod secret;

// 1 core: pure functions over values.
pub mod authenticate;
pub mod formats;
pub mod lockout;
pub mod otp;
pub mod policy;
pub mod radius;
pub mod tokens;

// 2 memory: shared, concurrent, never waits.
pub mod metrics;
pub mod state;

// 3 edges: input and output; no edge knows another edge.
pub mod audit;
pub mod cluster;
pub mod directory;
pub mod listen;
pub mod mail;
pub mod store;

// 4 service: the only modules that join core, memory and edges.
pub mod admin;
pub mod pipeline;

// 5 assembly: the only modules that see everything.
pub mod cli;
pub mod config;
pub mod daemon;
pub mod http;

// For the fuzz targets only.
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
