//! The judgement by itself: layering, vocabulary, properties and model checks, with no process, socket or clock.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::type_complexity,
    reason = "what goes wrong here has to stop the run, and it is about real time"
)]

#[path = "core/bank.rs"]
mod bank;
#[path = "core/claim.rs"]
mod claim;
#[path = "core/conformance.rs"]
mod conformance;
#[path = "core/deployment.rs"]
mod deployment;
#[path = "core/layering.rs"]
mod layering;
#[path = "core/machine.rs"]
mod machine;
#[path = "core/metrics_doc.rs"]
mod metrics_doc;
#[path = "core/reasons.rs"]
mod reasons;
#[path = "core/refusals.rs"]
mod refusals;
#[path = "core/split.rs"]
mod split;
