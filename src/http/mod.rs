//! Metrics, health and readiness, the setup of apps, and the operators' API, over HTTP.
//!
//! What a monitoring system asks for is one file per endpoint. The API has its routes in one table (`routes`), one way
//! for all of them (`api`), and a document made from the same table (`openapi`). [`serve`] bounds what a stranger can hold
//! open. In clear only loopback is served, but for monitoring where the operator allows it: the counters tell an attacker
//! how far he got.

// Connections, and who is behind them.
mod callers;
mod listener;
pub mod tls;

// Monitoring.
mod healthz;
mod metrics;
mod readyz;

// The API.
mod api;
mod bodies;
mod idempotency;
mod limits;
mod openapi;
mod problem;
mod routes;
mod told;

#[cfg(test)]
mod tests;

pub use api::{Api, Paces, Perform};
pub use callers::{CALLERS_MAX, CallerProblem, Callers, TOKEN_MIN};
pub use healthz::Health;
pub use limits::Pace;
pub use problem::{Problem, TYPE};
pub use readyz::Readiness;

use crate::metrics::Metrics;
use api::{peer, respond};
use arc_swap::ArcSwapOption;
use axum::Router;
use axum::extract::{self, DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use listener::{Bounded, Limits, Peer, Protection};
use routes::{Method, ROUTES, Route};
use rustls::ServerConfig;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Monitoring needs two connections, and Prometheus waits ten seconds; the rest is for apps and operators, whose acts wait
/// for the directory.
const LIMITS: Limits = Limits { connections: 64, patience: Duration::from_secs(20) };

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

/// Where is listened, and how it is protected.
pub struct Door {
    /// The listener.
    pub listener: TcpListener,
    /// TLS; `None` serves in clear. What a reload puts here holds for the next connection.
    pub tls: Arc<ArcSwapOption<ServerConfig>>,
    /// Whether clear text may leave this machine.
    pub cleartext: Cleartext,
}

/// Whether clear text may leave this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleartext {
    /// It may not.
    LoopbackOnly,
    /// The operator trusts the network; the API is not served there nevertheless.
    Allowed,
}

/// Why nothing is served: always the configuration or the system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that others can reach.
    #[error("{0} is no loopback address; give a certificate, or listen on 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// The listener cannot be used.
    #[error("the listener cannot be used: {0}")]
    Listener(#[from] io::Error),
}

/// The routes of monitoring: `/metrics`, `/healthz`, `/readyz`. Others may be merged with them.
pub fn monitoring(state: State) -> Router {
    Router::new()
        .route("/metrics", get(metrics::show))
        .route("/healthz", get(healthz::show))
        .route("/readyz", get(readyz::show))
        .with_state(state)
}

/// The routes of monitoring and of the API. Over TLS monitoring is for known callers: whoever sets an app up must not see
/// the counters.
pub fn routes(state: State, api: Arc<Api>) -> Router {
    let document: Arc<str> = openapi::document().to_string().into();
    let mut router = Router::new().route(openapi::PATH, get(move || show_document(Arc::clone(&document))));
    for route in ROUTES {
        router = router.route(route.path, method_router(route, Arc::clone(&api)));
    }
    let guarded = monitoring(state).layer(from_fn_with_state(api, only_known));
    router
        .merge(guarded)
        .fallback(|| async { respond(Problem::NotFound.answer()) })
        .method_not_allowed_fallback(|| async { respond(Problem::Method.answer()) })
}

fn method_router(route: &'static Route, api: Arc<Api>) -> MethodRouter {
    let filter = match route.method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
    };
    on(filter, move |request: Request| Arc::clone(&api).answer(route, request))
}

async fn show_document(document: Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

/// Lets monitoring through in clear, from this machine, and for known callers.
async fn only_known(extract::State(api): extract::State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let known = peer(&parts).is_ok_and(|peer| {
        peer.protection == Protection::Clear
            || peer.is_loopback()
            || api.recognise(&parts.headers, &peer).is_some()
    });
    if known {
        next.run(Request::from_parts(parts, body)).await
    } else {
        respond(Problem::Unauthenticated.answer())
    }
}

/// Serves `routes` until `shutdown` is done, and then what is under way.
///
/// Each of 64 connections carries one request and lives for twenty seconds at most, so that neither slow nor silent peers
/// can take all of them or delay the end. An error of one connection is its own.
///
/// # Errors
///
/// [`Error::NotLoopback`] before anything is served.
pub async fn serve(
    door: Door,
    metrics: Arc<Metrics>,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    serve_within(LIMITS, door, metrics, routes, shutdown).await
}

async fn serve_within(
    limits: Limits,
    door: Door,
    metrics: Arc<Metrics>,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let Door { listener, tls, cleartext } = door;
    let address = listener.local_addr()?;
    let stays = address.ip().to_canonical().is_loopback() || cleartext == Cleartext::Allowed;
    if tls.load().is_none() && !stays {
        return Err(Error::NotLoopback(address));
    }
    let routes = routes.layer(DefaultBodyLimit::max(api::BODY)).layer(map_response(last_words));
    let service = routes.into_make_service_with_connect_info::<Peer>();
    axum::serve(Bounded::new(listener, limits, tls, metrics), service)
        .with_graceful_shutdown(shutdown)
        .await?;
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
