//! The way of one API request: who asks, how often, for what; then the operation, and its answer as a document.

use super::callers::Callers;
use super::idempotency::{Answer, Begun, Claim, Repeats};
use super::limits::{Admitted, Counted, Limits, Pace, source};
use super::listener::{Peer, Protection};
use super::problem::Problem;
use super::routes::{Admission, Form, Given, LIMIT_MAX, Method, Needed, Parameter, Route};
use super::told::{self, Media};
use crate::admin::caller::{Caller, Own};
use crate::admin::protocol::{Ask, Mode, Password, Question, Told};
use crate::clock::{self, Mono};
use crate::metrics::{HttpOutcome, Metrics};
use crate::secret::Secret;
use arc_swap::ArcSwap;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, FromRequestParts as _, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;
use std::num::NonZeroU32;
use std::sync::Arc;
use zeroize::{Zeroize as _, Zeroizing};

/// Octets of a request's body; the header is bounded by the HTTP library (about 400 KiB in 100 fields).
pub(super) const BODY: usize = 64 * 1024;

/// Carries out a question of a caller.
pub type Perform = Arc<dyn Fn(Question, Caller) -> BoxFuture<'static, Told> + Send + Sync>;

/// How often whoever may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paces {
    /// Requests of one source, and of one caller.
    pub requests: Pace,
    /// Setups of one source.
    pub setups: Pace,
}

/// Requests of one source that nobody recognised. A caller with a wrong token notices after the first.
const STRANGERS: Pace = match NonZeroU32::new(30) {
    Some(per_minute) => Pace { per_minute },
    None => Pace { per_minute: NonZeroU32::MIN },
};

/// The role and name in which a caller acts, as `--as` on the command line.
pub(super) const ACTS_AS: &str = "sekisho-as";

/// The key under which an act is done once.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Everything that the API stands on.
pub struct Api {
    perform: Perform,
    /// Replaced by a reload.
    pub callers: ArcSwap<Callers>,
    limits: Limits,
    paces: Paces,
    repeats: Arc<Repeats>,
    metrics: Arc<Metrics>,
}

impl Api {
    /// An API over these operations; `key` is random.
    pub fn new(
        perform: Perform,
        callers: Callers,
        paces: Paces,
        metrics: Arc<Metrics>,
        key: Secret,
    ) -> Arc<Api> {
        let (callers, repeats) = (ArcSwap::from_pointee(callers), Repeats::new(key));
        Arc::new(Api { perform, callers, limits: Limits::default(), paces, repeats, metrics })
    }

    /// Who asks, if that is known, whatever they ask.
    pub(super) fn recognise(&self, headers: &HeaderMap, peer: &Peer) -> Option<Caller> {
        self.callers.load().recognise(headers, peer)
    }

    /// Answers one request of a route.
    pub(super) async fn answer(self: Arc<Api>, route: &'static Route, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let answered = self.clone().within(route, &mut parts, body).await;
        let (answer, retry_after) = match answered {
            Ok(answer) => (answer, None),
            Err(problem) => (problem.answer(), problem.retry_after()),
        };
        self.metrics.http_requests.at(HttpOutcome::of(answer.status)).inc();
        // Strangers must not fill the log.
        tracing::debug!(event = "http", route = route.path, id = route.id, status = answer.status);
        let mut response = respond(answer);
        if let Some(wait) = retry_after {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }

    async fn within(
        self: Arc<Api>,
        route: &'static Route,
        parts: &mut Parts,
        body: Body,
    ) -> Result<Answer, Problem> {
        let now = clock::now().mono;
        let peer = peer(parts)?;
        if peer.protection == Protection::Clear && !peer.is_loopback() {
            return Err(Problem::TlsRequired);
        }
        let caller = self.admit(route, &parts.headers, &peer, now)?;
        let given = given(route, parts, body).await?;
        let media = Media::wanted(route, &parts.headers)?;
        let ask = (route.ask)(&given)?;
        let key = idempotency_key(route, &parts.headers)?;
        let claim = match key {
            None => None,
            Some(key) => {
                let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
                let actor = parts.headers.get(ACTS_AS).map_or(&b""[..], |value| value.as_bytes());
                match self.repeats.begin(&caller.name, &key, [path.as_bytes(), actor, &given.body], now)? {
                    Begun::Answered(answer) => return Ok(answer),
                    Begun::New(claim) => Some(claim),
                }
            }
        };
        let question = Question {
            ask,
            actor: acts_as(&parts.headers)?,
            mode: if given.flag("dry-run") { Mode::DryRun } else { Mode::Do },
        };
        drop(given);
        // A task of its own: who hangs up does not cut an act in two.
        let task = tokio::spawn(self.carry_out(route, question, caller, media, claim));
        task.await.map_err(|_| Problem::Broken)?
    }

    /// Who asks and whether they may now.
    fn admit(&self, route: &Route, headers: &HeaderMap, peer: &Peer, now: Mono) -> Result<Caller, Problem> {
        let from = source(peer.address.ip());
        self.paced(Counted::Source(from), self.paces.requests, now)?;
        match route.admission {
            Admission::App => {
                self.paced(Counted::Setup(from), self.paces.setups, now)?;
                let (evidence, credential) = (format!("app:{from}"), String::new());
                Ok(Caller { name: "app".into(), evidence, own: Own::Another, credential })
            }
            Admission::Caller => match self.recognise(headers, peer) {
                Some(caller) => {
                    self.paced(Counted::Caller(caller.evidence.as_str().into()), self.paces.requests, now)?;
                    Ok(caller)
                }
                None => {
                    self.paced(Counted::Stranger(from), STRANGERS, now)?;
                    Err(Problem::Unauthenticated)
                }
            },
        }
    }

    fn paced(&self, who: Counted, pace: Pace, now: Mono) -> Result<(), Problem> {
        match self.limits.admit(who, pace, now) {
            Admitted::Yes => Ok(()),
            Admitted::After(wait) => Err(Problem::TooMany(wait)),
        }
    }

    async fn carry_out(
        self: Arc<Api>,
        route: &'static Route,
        question: Question,
        caller: Caller,
        media: Media,
        claim: Option<Claim>,
    ) -> Result<Answer, Problem> {
        let evidence = caller.evidence.clone();
        let start_password = match &question.ask {
            Ask::TokenSetup { start_password: Password(password), .. } => {
                Some(Secret::new(password.as_bytes()))
            }
            _ => None,
        };
        // The key leaves the operation once: what could still fail afterwards is drawn before.
        let random = media.randomness()?;
        let told = (self.perform)(question, caller).await;
        let answered = told::answer(told, route, random.as_ref().zip(start_password.as_ref()));
        let status = match &answered {
            Ok(answer) => answer.status,
            Err(problem) => problem.status(),
        };
        if route.method == Method::Post {
            let reason = answered.as_ref().err().map_or("", |problem| problem.word());
            tracing::info!(event = "http-act", id = route.id, caller = %evidence, status, reason);
        }
        if let Some(claim) = claim {
            match &answered {
                Ok(answer) => claim.answer(answer),
                Err(problem) => claim.answer(&problem.answer()),
            }
        }
        answered
    }
}

/// A response with this answer.
pub(super) fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CONTENT_TYPE, answer.media_type)], answer.body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"sekisho\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// Who is at the other end.
pub(super) fn peer(parts: &Parts) -> Result<Peer, Problem> {
    parts.extensions.get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer.clone()).ok_or(Problem::Broken)
}

/// Path, query and body, held against what the route takes.
async fn given(route: &Route, parts: &mut Parts, body: Body) -> Result<Given, Problem> {
    let raw = RawPathParams::from_request_parts(parts, &()).await.map_err(|_| Problem::Path)?;
    let path: Vec<_> = raw.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if path.iter().any(|(_, value)| value.is_empty()) {
        return Err(Problem::NotFound);
    }
    let query = query(route, parts)?;
    let octets = to_bytes(body, BODY).await.map_err(|_| Problem::TooLarge)?;
    let body = Zeroizing::new(octets.to_vec());
    // The HTTP library's own buffer, where nobody else holds it.
    if let Ok(mut octets) = octets.try_into_mut() {
        octets.as_mut().zeroize();
    }
    match (&route.body, body.is_empty()) {
        (None, false) => Err(Problem::Body("this route takes no body".into())),
        (Some(_), true) if route.body_needed == Needed::Yes => {
            Err(Problem::Body("the body is missing".into()))
        }
        (Some(_), false) if !is_json(&parts.headers) => Err(Problem::MediaType),
        _ => Ok(Given { path, query, body }),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    sent.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The parameters of a query: each known, once, and of its form.
fn query(route: &Route, parts: &Parts) -> Result<Vec<(&'static str, String)>, Problem> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|_| Problem::Query("the query is not percent-encoded UTF-8".into()))?;
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for (name, value) in pairs {
        let parameter = route.query.iter().find(|parameter| parameter.name == name);
        let parameter = parameter.ok_or_else(|| Problem::Query(unknown(&name, route.query)))?;
        if found.iter().any(|(earlier, _)| *earlier == parameter.name) {
            return Err(Problem::Query(format!("{} stands twice", parameter.name)));
        }
        let fits = match parameter.form {
            Form::Text => !value.is_empty(),
            Form::Flag => matches!(value.as_str(), "true" | "false"),
            Form::Limit => {
                let digits = value.bytes().all(|b| b.is_ascii_digit());
                digits && value.parse().is_ok_and(|limit: usize| (1..=LIMIT_MAX).contains(&limit))
            }
        };
        if !fits {
            let right = match parameter.form {
                Form::Text => "a text of at least one character".to_owned(),
                Form::Flag => "true or false".to_owned(),
                Form::Limit => format!("a number from 1 to {LIMIT_MAX}"),
            };
            return Err(Problem::Query(format!("{} must be {right}", parameter.name)));
        }
        found.push((parameter.name, value));
    }
    let missing = route.query.iter().find(|parameter| {
        parameter.needed == Needed::Yes && !found.iter().any(|(name, _)| *name == parameter.name)
    });
    match missing {
        Some(parameter) => Err(Problem::Query(format!("{} is missing", parameter.name))),
        None => Ok(found),
    }
}

fn unknown(name: &str, known: &[Parameter]) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    let known: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
    match known.as_slice() {
        [] => format!("there is no parameter {name} here; this route takes none"),
        known => format!("there is no parameter {name} here; there are {}", known.join(", ")),
    }
}

/// The key of an act; other routes have none.
fn idempotency_key(route: &Route, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let acts = route.method == Method::Post && route.admission == Admission::Caller;
    match key.to_str() {
        Ok(key) if acts && keys.next().is_none() => Ok(Some(key.to_owned())),
        _ => Err(Problem::IdempotencyKey),
    }
}

/// As whom the caller acts.
fn acts_as(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(ACTS_AS).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).ok().filter(|_| values.next().is_none());
    let why = "Sekisho-As must stand once, as ROLE or ROLE:NAME in UTF-8";
    text.map(|text| Some(text.to_owned())).ok_or_else(|| Problem::Header(why.into()))
}
