//! Metrics, health and readiness over HTTP.
//!
//! What a monitoring system asks for, one file per endpoint; [`serve`] bounds what a stranger can hold open. Without TLS
//! only loopback is served: the counters tell an attacker how far he got.

mod healthz;
mod listener;
mod metrics;
mod readyz;

#[cfg(test)]
mod tests;

pub use healthz::Health;
pub use readyz::Readiness;

use crate::metrics::Metrics;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use listener::{Bounded, Limits};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Monitoring needs two connections, and Prometheus waits ten seconds.
const LIMITS: Limits = Limits { connections: 32, patience: Duration::from_secs(10) };

/// Octets of a request's body; the header is bounded by the HTTP library (about 400 KiB in 100 fields).
const BODY: usize = 64 * 1024;

/// What the endpoints show. The closures are asked at each request.
#[derive(Clone)]
pub struct State {
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Whether requests can be judged now.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Whether the process works at all.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
}

/// Why nothing is served: always the configuration or the system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that others can reach.
    #[error("{0} is no loopback address; without TLS listen on 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// The listener cannot be used.
    #[error("the listener cannot be used: {0}")]
    Listener(#[from] io::Error),
}

/// The routes of monitoring: `/metrics`, `/healthz`, `/readyz`. Others may be merged with them.
pub fn routes(state: State) -> Router {
    Router::new()
        .route("/metrics", get(metrics::show))
        .route("/healthz", get(healthz::show))
        .route("/readyz", get(readyz::show))
        .with_state(state)
}

/// Serves `routes` until `shutdown` is done, and then what is under way.
///
/// Each of 32 connections carries one request and lives for ten seconds at most, so that neither slow nor silent peers
/// can take all of them or delay the end. An error of one connection is its own.
///
/// # Errors
///
/// [`Error::NotLoopback`] before anything is served.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    serve_within(LIMITS, listener, routes, shutdown).await
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let address = listener.local_addr()?;
    if !address.ip().to_canonical().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    let routes = routes.layer(DefaultBodyLimit::max(BODY)).layer(map_response(last_words));
    axum::serve(Bounded::new(listener, limits), routes).with_graceful_shutdown(shutdown).await?;
    Ok(())
}

/// Ends the connection with its reply, and keeps the reply out of caches and of guesses at its type.
async fn last_words(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}
