//! From what the operations tell to a status and a document.

use super::idempotency::Answer;
use super::problem::Problem;
use super::routes::{Admission, Route, Success};
use crate::admin::protocol::{Kind, Password, Refused, SetUpShown, Told};
use crate::formats::pskc::{self, Randomness, Shown, Under};
use crate::otp::uri::KeyMoving;
use crate::otp::{Algorithm, Digits, Period};
use crate::secret::Secret;
use axum::http::{HeaderMap, header};
use data_encoding::BASE32_NOPAD;
use serde::Serialize;
use serde_json::json;

/// The media type of documents.
const JSON: &str = "application/json";

/// The media type of keys (RFC 6030 §12.1).
pub(super) const PSKC: &str = "application/pskc+xml";

/// Rounds of PBKDF2 over a start password. Four digits are four digits: the rounds cost whoever has the file seconds, and
/// us a twentieth of one.
const ROUNDS: u32 = 100_000;

/// In which form an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    /// A key as PSKC under the start password.
    Pskc,
}

impl Media {
    /// What the Accept header asks for, in its order; only keys come in two forms.
    pub(super) fn wanted(route: &Route, headers: &HeaderMap) -> Result<Media, Problem> {
        let is_key = matches!(route.success, Success::Key(_));
        let accepted: Vec<&str> =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        if accepted.is_empty() {
            return Ok(Media::Json);
        }
        for range in accepted.iter().flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            if parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
                continue;
            }
            match kind.as_str() {
                JSON | "application/*" | "*/*" => return Ok(Media::Json),
                PSKC if is_key => return Ok(Media::Pskc),
                _ => {}
            }
        }
        Err(Problem::NotAcceptable)
    }

    /// What the form needs beside the key.
    pub(super) fn randomness(self) -> Result<Option<Randomness>, Problem> {
        if self == Media::Json {
            return Ok(None);
        }
        let mut random = Randomness { salt: [0; 16], mac_key: [0; 20], initial_vector: [0; 16] };
        let drawn = getrandom::fill(&mut random.salt)
            .and_then(|()| getrandom::fill(&mut random.mac_key))
            .and_then(|()| getrandom::fill(&mut random.initial_vector));
        drawn.map(|()| Some(random)).map_err(|_| Problem::Broken)
    }
}

/// The answer to a route; with randomness and a start password, a key as PSKC.
pub(super) fn answer(
    told: Told,
    route: &Route,
    pskc: Option<(&Randomness, &Secret)>,
) -> Result<Answer, Problem> {
    match told {
        Told::Refused(refused) | Told::NotAllowed(refused) => Err(refusal(refused, route)),
        Told::SetUp(key) => match pskc {
            Some((random, password)) => as_pskc(&key, random, password),
            None => document(200, &*key),
        },
        Told::Status(status) => document(200, &*status),
        Told::User(user) => document(200, &*user),
        Told::Users { users, next } => document(200, &json!({ "users": users, "next": next })),
        Told::Token(token) => document(200, &*token),
        Told::Tokens { tokens, next } => document(200, &json!({ "tokens": tokens, "next": next })),
        Told::Contract(contract) => document(200, &*contract),
        Told::Contracts(contracts) => document(200, &json!({ "contracts": contracts })),
        Told::Requests(requests) => document(200, &json!({ "requests": requests })),
        Told::Explained(steps) => document(200, &json!({ "steps": steps })),
        Told::Why(lines) => document(200, &json!({ "lines": lines })),
        Told::Issued(issued) => document(201, &*issued),
        // Keys leave by the local socket alone: no route asks for them.
        Told::Exported { .. } => Err(Problem::Broken),
        Told::Keys(keys) => document(200, &*keys),
        Told::Pending(request) => document(202, &*request),
        Told::Done { what, serial } => {
            document(200, &json!({ "done": true, "what": what, "serial": serial }))
        }
        Told::WouldDo { what } => document(200, &json!({ "done": false, "what": what, "serial": null })),
    }
}

/// A setup tells everybody the same, whatever was wrong: ids that exist are worth something to who tries them.
fn refusal(refused: Refused, route: &Route) -> Problem {
    match (route.admission, refused.kind) {
        (Admission::App, Kind::Unknown | Kind::State | Kind::Proof | Kind::NotAllowed | Kind::Conflict) => {
            Problem::Setup
        }
        _ => Problem::Refused(refused),
    }
}

fn document(status: u16, content: &impl Serialize) -> Result<Answer, Problem> {
    let body = serde_json::to_vec(content).map_err(|_| Problem::Broken)?;
    Ok(Answer { status, media_type: JSON, body })
}

/// The key as PSKC, under the start password that the app has just shown.
fn as_pskc(key: &SetUpShown, random: &Randomness, password: &Secret) -> Result<Answer, Problem> {
    let Password(letters) = &key.key;
    let letters = letters.trim_end_matches('=');
    let secret = Secret::new(BASE32_NOPAD.decode(letters.as_bytes()).map_err(|_| Problem::Broken)?);
    let digits = u64::try_from(key.digits).ok().and_then(|digits| Digits::new(digits).ok());
    let ends = key.ends.as_deref().and_then(|ends| ends.parse::<jiff::Timestamp>().ok());
    let shown = Shown {
        serial: &key.serial,
        issuer: None,
        secret: &secret,
        algorithm: Algorithm::parse(&key.algorithm).map_err(|_| Problem::Broken)?,
        digits: digits.ok_or(Problem::Broken)?,
        moving: KeyMoving::Time { period: Period::from_seconds(key.period).map_err(|_| Problem::Broken)? },
        begins: None,
        ends: ends
            .and_then(|ends| u64::try_from(ends.as_second()).ok())
            .map(crate::clock::Wall::from_seconds),
        user: None,
    };
    let under = Under::Password { password, rounds: ROUNDS };
    let text = pskc::whole(&shown, under, random).map_err(|_| Problem::Broken)?;
    Ok(Answer { status: 200, media_type: PSKC, body: text.into_bytes() })
}
