//! `GET /metrics`: the counters as text for Prometheus.

use super::State;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Answers 200 with the text, or 500 if it could not be made, which then is a gap in the graphs and nothing else.
pub(super) async fn show(extract::State(state): extract::State<State>) -> Response {
    let metrics = Arc::clone(&state.metrics);
    // A thousand clients make some milliseconds of text, and callbacks read /proc: not on a thread of the directory's.
    match tokio::task::spawn_blocking(move || metrics.text()).await {
        Ok(Ok(text)) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
