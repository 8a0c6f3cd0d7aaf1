//! Log lines that strangers can cause: each kind at most once in a while, with the number of those left out.

use crate::clock::Mono;
use crate::identity::ClientName;
use crate::outcome::{Fault, Reason};
use dashmap::DashMap;
use std::time::Duration;

/// How often one client's drops for one reason are logged at most. Counters are exact; lines need not be (SEC-25).
const EVERY: Duration = Duration::from_secs(10);

/// What was logged lately, by client and reason: bounded by configuration and a closed enum.
#[derive(Default)]
pub struct Notices(DashMap<(ClientName, Reason), Notice>);

struct Notice {
    logged: Mono,
    suppressed: u64,
}

impl Notices {
    /// Logs that something of `client` was dropped, unless it was said less than ten seconds ago.
    pub fn dropped(&self, client: &ClientName, reason: Reason, now: Mono) {
        // Retransmissions are a gateway's way of waiting.
        if reason == Reason::DuplicateInFlight {
            return;
        }
        let mut first = false;
        let mut notice = self.0.entry((client.clone(), reason)).or_insert_with(|| {
            first = true;
            Notice { logged: now, suppressed: 0 }
        });
        if !first && now.since(notice.logged) < EVERY {
            notice.suppressed = notice.suppressed.saturating_add(1);
            return;
        }
        let suppressed = std::mem::take(&mut notice.suppressed);
        notice.logged = now;
        drop(notice);
        let (reason, fault) = (reason.text(), reason.fault());
        if fault == Fault::Ours {
            tracing::error!(event = "dropped", %client, reason, suppressed, "not answered, by a failure of ours");
        } else {
            tracing::warn!(event = "dropped", %client, reason, suppressed, "not answered");
        }
    }
}
