//! `GET /readyz`: whether requests can be judged now. A failure means: send them elsewhere, and leave the process alone.

use super::State;
use axum::extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Whether requests can be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What is missing, a line for each with what would help; empty is ready.
    pub missing: Vec<String>,
}

/// Answers 200 or 503 with what is missing.
pub(super) async fn show(extract::State(state): extract::State<State>, headers: HeaderMap) -> Response {
    answer(&headers, "ready", "missing", &(state.readiness)().missing)
}

/// `good`, or the findings, one per line; as JSON `{"<good>":bool,"<list>":[…]}` where that is asked for.
pub(super) fn answer(headers: &HeaderMap, good: &str, list: &str, findings: &[String]) -> Response {
    let status = if findings.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if wants_json(headers) {
        let body = serde_json::json!({ good: findings.is_empty(), list: findings });
        return (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    }
    // A finding may quote a server's message: it must not begin a line of its own.
    let lines = if findings.is_empty() {
        vec![good.to_owned()]
    } else {
        findings.iter().map(|line| one_line(line)).collect()
    };
    (status, lines.join("\n") + "\n").into_response()
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|part| {
        part.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    })
}
