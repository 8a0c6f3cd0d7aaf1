//! The counters of one RADIUS client, held by whoever serves it.

use super::labels::{Each, SecretUsed};
use crate::identity::ClientName;
use crate::outcome::Reason;
use prometheus::{IntCounter, IntCounterVec};
use std::sync::OnceLock;

/// The children of the per-client families that belong to one client (RFC 4669's per-client counters).
///
/// Kept with the client's settings, so that no request looks up a label.
#[derive(Debug)]
pub struct ClientMetrics {
    name: ClientName,
    requests: IntCounterVec,
    /// One place per reason, filled when the reason first occurs: few clients ever see most of them.
    by_reason: Box<[OnceLock<IntCounter>]>,
    /// Retransmissions that were recognised.
    pub duplicates: IntCounter,
    /// Status-Server requests that were answered.
    pub status_server: IntCounter,
    /// Requests by the secret they were signed with: tells when a rotation is complete.
    pub secret: Each<SecretUsed, IntCounter>,
}

/// The families that have a `client` label.
#[derive(Debug)]
pub(super) struct ClientFamilies {
    pub(super) requests: IntCounterVec,
    pub(super) duplicates: IntCounterVec,
    pub(super) status_server: IntCounterVec,
    pub(super) secret: IntCounterVec,
}

/// Shown from the start with zero, so that a rate over them is right from the first event on.
const FROM_THE_START: [Reason; 5] = [
    Reason::CodeAccepted,
    Reason::ChallengeSent,
    Reason::CodeWrong,
    Reason::PasswordWrong,
    Reason::MessageAuthenticatorBad,
];

impl ClientMetrics {
    /// A configured client.
    pub(super) fn new(name: &ClientName, families: &ClientFamilies) -> prometheus::Result<ClientMetrics> {
        ClientMetrics::showing(name, families, &FROM_THE_START)
    }

    /// Whoever is no client: only one thing can become of such a request.
    pub(super) fn unknown(name: &ClientName, families: &ClientFamilies) -> prometheus::Result<ClientMetrics> {
        ClientMetrics::showing(name, families, &[Reason::ClientUnknown])
    }

    fn showing(
        name: &ClientName,
        families: &ClientFamilies,
        from_the_start: &[Reason],
    ) -> prometheus::Result<ClientMetrics> {
        let only_name = [name.as_str()];
        let client = ClientMetrics {
            name: name.clone(),
            requests: families.requests.clone(),
            by_reason: Reason::ALL.iter().map(|_| OnceLock::new()).collect(),
            duplicates: families.duplicates.get_metric_with_label_values(&only_name)?,
            status_server: families.status_server.get_metric_with_label_values(&only_name)?,
            secret: Each::with(|used| families.secret.get_metric_with_label_values(&[name.as_str(), used]))?,
        };
        for reason in from_the_start {
            client.of(*reason);
        }
        Ok(client)
    }

    /// The client's configured name.
    pub fn name(&self) -> &ClientName {
        &self.name
    }

    /// How often this client's requests ended so.
    pub fn count(&self, reason: Reason) -> u64 {
        self.by_reason.get(reason.index()).and_then(OnceLock::get).map_or(0, IntCounter::get)
    }

    /// The counter of one reason; made when first asked for.
    pub(super) fn of(&self, reason: Reason) -> Option<&IntCounter> {
        let place = self.by_reason.get(reason.index())?;
        if let Some(counter) = place.get() {
            return Some(counter);
        }
        let labels = [self.name.as_str(), reason.verdict().text(), reason.text()];
        // Two threads may come here at once: the family hands both the same counter.
        let counter = self.requests.get_metric_with_label_values(&labels).ok()?;
        Some(place.get_or_init(|| counter))
    }
}

impl ClientFamilies {
    /// Takes the client's series out of the text. Who still holds its [`ClientMetrics`] counts on unseen.
    pub(super) fn forget(&self, name: &ClientName) {
        for reason in Reason::ALL {
            let labels = [name.as_str(), reason.verdict().text(), reason.text()];
            // Not there is what is wanted.
            let _ = self.requests.remove_label_values(&labels);
        }
        let _ = self.duplicates.remove_label_values(&[name.as_str()]);
        let _ = self.status_server.remove_label_values(&[name.as_str()]);
        for used in ["current", "next"] {
            let _ = self.secret.remove_label_values(&[name.as_str(), used]);
        }
    }
}
