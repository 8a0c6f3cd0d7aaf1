//! Refusals as problem documents (RFC 9457): one word for the cause, the same for ever, and a sentence about what would be
//! right.

use super::idempotency::Answer;
use crate::admin::protocol::{Kind, Refused};
use std::time::Duration;

/// The media type of a refusal.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// What the type of a problem begins with; the word follows.
pub const TYPE: &str = "urn:sekisho:problem:";

/// Declares the problems of the API itself: status, word, sentence.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident $(($kind:ty))? = $status:literal, $word:literal, $title:literal;)*) => {
        /// Why a request got no further than the API itself; [`Problem::Refused`] is the operation's own refusal.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Problem {
            $($(#[$doc])* $name $(($kind))?,)*
            /// The operation refused it.
            Refused(Refused),
        }

        impl Problem {
            /// Word, status and title of every problem of the API itself, for the documentation.
            pub const ALL: &'static [(&'static str, u16, &'static str)] = &[$(($word, $status, $title)),*];

            /// The fixed word, status and title.
            fn fixed(&self) -> Option<(&'static str, u16, &'static str)> {
                match self {
                    $(problems!(@pattern $name $(($kind))?) => Some(($word, $status, $title)),)*
                    Problem::Refused(_) => None,
                }
            }
        }
    };
    (@pattern $name:ident) => { Problem::$name };
    (@pattern $name:ident ($kind:ty)) => { Problem::$name(_) };
}

problems! {
    /// The path holds octets that are no text.
    Path = 400, "path-invalid", "The path is not percent-encoded UTF-8.";
    /// A parameter that does not exist, stands twice, or has an impossible value.
    Query(String) = 400, "query-invalid", "A query parameter cannot be meant.";
    /// A header that cannot be meant.
    Header(String) = 400, "header-invalid", "A header cannot be meant.";
    /// A body that is no JSON object of the right form.
    Body(String) = 400, "body-invalid", "The body is not what this route takes.";
    /// Nobody that we know.
    Unauthenticated = 401, "unauthenticated", "Show a bearer token or a client certificate that is known here.";
    /// In clear over a network.
    TlsRequired = 403, "tls-required", "This route is served over TLS, or in clear on loopback only.";
    /// The setup's one answer to everything that is wrong.
    Setup = 403, "setup-refused", "The ids and the start password do not open a setup; ask for a new one if it has ended.";
    /// No such route.
    NotFound = 404, "route-unknown", "There is nothing at this path; see /v1/openapi.json.";
    /// Another method.
    Method = 405, "method-not-allowed", "The path exists, with another method; see /v1/openapi.json.";
    /// Nothing that we could answer with.
    NotAcceptable = 406, "not-acceptable", "The answer comes as application/json, a setup also as application/pskc+xml.";
    /// The same key while the act is being done.
    IdempotencyRunning = 409, "idempotency-running", "The act with this Idempotency-Key is being done; ask again in a moment.";
    /// A body beyond the bound.
    TooLarge = 413, "body-too-large", "The body is longer than 64 KiB.";
    /// Another media type.
    MediaType = 415, "media-type", "The body must be application/json.";
    /// A key that is none.
    IdempotencyKey = 400, "idempotency-key-invalid", "An Idempotency-Key has 1 to 128 printable characters, and goes with an act of a caller.";
    /// A key that stands for something else.
    IdempotencyReused = 422, "idempotency-key-reused", "This Idempotency-Key stands for another request; use a new one.";
    /// Too often.
    TooMany(Duration) = 429, "too-many-requests", "There were too many requests; wait as long as Retry-After says.";
    /// Our own fault.
    Broken = 500, "internal", "The request could not be finished; look at the log.";
    /// The table of keys is full.
    IdempotencyFull = 503, "idempotency-full", "Too many keys are remembered; leave Idempotency-Key out or ask again later.";
}

impl Problem {
    /// The status.
    pub(super) fn status(&self) -> u16 {
        match (self, self.fixed()) {
            (_, Some((_, status, _))) => status,
            (Problem::Refused(refused), None) => status_of(refused.kind),
            (_, None) => 500,
        }
    }

    /// The word for the cause.
    pub(super) fn word(&self) -> &str {
        match (self, self.fixed()) {
            (_, Some((word, _, _))) => word,
            (Problem::Refused(refused), None) => &refused.reason,
            (_, None) => "internal",
        }
    }

    /// The document.
    pub(super) fn answer(&self) -> Answer {
        let (word, status) = (self.word(), self.status());
        let title = match self {
            Problem::Refused(refused) => title_of(refused.kind),
            _ => self.fixed().map_or("", |(_, _, title)| title),
        };
        let detail = match self {
            Problem::Query(why) | Problem::Header(why) | Problem::Body(why) => Some(why.as_str()),
            Problem::Refused(refused) => Some(refused.why.as_str()),
            _ => None,
        };
        let mut document = serde_json::json!({
            "type": format!("{TYPE}{word}"),
            "title": title,
            "status": status,
            "reason": word,
        });
        if let (Some(detail), Some(document)) = (detail, document.as_object_mut()) {
            document.insert("detail".into(), detail.into());
        }
        Answer { status, media_type: MEDIA_TYPE, body: document.to_string().into_bytes() }
    }

    /// When it is worth asking again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Problem::TooMany(wait) => Some(*wait),
            Problem::IdempotencyRunning => Some(Duration::from_secs(1)),
            Problem::Refused(Refused { kind: Kind::Unavailable, .. }) => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}

fn status_of(kind: Kind) -> u16 {
    match kind {
        Kind::Invalid => 400,
        Kind::Proof | Kind::NotAllowed => 403,
        Kind::Unknown => 404,
        Kind::State | Kind::Conflict => 409,
        Kind::Unavailable => 503,
    }
}

fn title_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid => "A value cannot be meant.",
        Kind::Unknown => "There is no such thing.",
        Kind::State => "It does not fit the state in which things are.",
        Kind::Proof => "What should be proven is missing or wrong.",
        Kind::NotAllowed => "It is not allowed for whoever asked.",
        Kind::Conflict => "Somebody else was faster.",
        Kind::Unavailable => "It cannot be done now.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_problem_has_its_own_word_and_a_status_of_refusal() {
        let words: HashSet<_> = Problem::ALL.iter().map(|(word, ..)| word).collect();
        assert_eq!(words.len(), Problem::ALL.len());
        for (word, status, title) in Problem::ALL {
            assert!((400..600).contains(status) && title.ends_with('.'), "{word}");
        }
    }

    #[test]
    fn a_refusal_is_a_problem_document() {
        let refused =
            Refused { reason: "token-unknown".into(), why: "no token \"x\"".into(), kind: Kind::Unknown };
        let answer = Problem::Refused(refused).answer();
        let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, answer.media_type), (404, "application/problem+json"));
        assert_eq!(document["type"], "urn:sekisho:problem:token-unknown");
        assert_eq!((&document["status"], &document["detail"]), (&404.into(), &"no token \"x\"".into()));
        assert_eq!(Problem::TooMany(Duration::from_secs(3)).retry_after(), Some(Duration::from_secs(3)));
    }
}
