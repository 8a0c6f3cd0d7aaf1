//! The judgement by itself: layering, vocabulary, properties and model checks, with no process, socket or clock.

#[path = "core/bank.rs"]
mod bank;
#[path = "core/claim.rs"]
mod claim;
#[path = "core/conformance.rs"]
mod conformance;
#[path = "core/layering.rs"]
mod layering;
#[path = "core/machine.rs"]
mod machine;
#[path = "core/metrics_doc.rs"]
mod metrics_doc;
#[path = "core/reasons.rs"]
mod reasons;
#[path = "core/split.rs"]
mod split;
