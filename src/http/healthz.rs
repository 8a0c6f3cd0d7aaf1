//! `GET /healthz`: whether the process is alive and its loops come round. A failure means: restart it.

use super::{State, readyz};
use axum::extract;
use axum::http::HeaderMap;
use axum::response::Response;

/// Whether the process works. A directory that is down does not make it ill: restarting would not help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The loops that do not come round, a line for each; empty is healthy.
    pub stuck: Vec<String>,
}

/// Answers 200 or 503 with what is stuck.
pub(super) async fn show(extract::State(state): extract::State<State>, headers: HeaderMap) -> Response {
    readyz::answer(&headers, "healthy", "stuck", &(state.health)().stuck)
}
