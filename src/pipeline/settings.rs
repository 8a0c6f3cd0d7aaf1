//! Whom the pipeline serves: the clients of the configuration, and what stays with each over reloads.

use crate::metrics::{ClientMetrics, Metrics};
use crate::policy::Clients;
use std::sync::Arc;

/// What configuration decides, replaced as a whole by a reload.
pub struct Settings {
    /// Who may ask, under which service profile.
    pub clients: Clients,
    /// More attributes than this make a packet suspicious (200).
    pub attributes_max: usize,
    /// What goes on for each client over reloads, by its number in `clients`.
    pub(super) served: Vec<Arc<Served>>,
}

/// What stays with a client of one name over all reloads.
pub struct Served {
    /// Its share of every bounded table.
    pub slot: u16,
    /// Its counters.
    pub counters: ClientMetrics,
}

/// How many clients there may be in the life of one process: every bounded table has a share for each.
pub const CLIENTS_MAX: u16 = 1024;

impl Settings {
    /// The settings for these clients. Whoever had the same name `before` keeps its shares and counters.
    ///
    /// # Errors
    /// [`SettingsError::TooManyClients`], or those of [`Metrics::client`], which has none in practice.
    pub fn new(
        clients: Clients,
        attributes_max: usize,
        metrics: &Metrics,
        before: Option<&Settings>,
    ) -> Result<Settings, SettingsError> {
        let known = before.map(|before| before.served.as_slice()).unwrap_or_default();
        let mut next = known.iter().map(|served| served.slot.saturating_add(1)).max().unwrap_or(0);
        let mut served = Vec::new();
        for client in clients.iter() {
            if let Some(same) = known.iter().find(|served| *served.counters.name() == client.name) {
                served.push(Arc::clone(same));
                continue;
            }
            if next >= CLIENTS_MAX {
                return Err(SettingsError::TooManyClients);
            }
            served.push(Arc::new(Served { slot: next, counters: metrics.client(&client.name)? }));
            next = next.saturating_add(1);
        }
        Ok(Settings { clients, attributes_max, served })
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// More than [`CLIENTS_MAX`] names since the process started.
    #[error("more than 1024 different clients since the start; restart the daemon")]
    TooManyClients,
    /// Our own counters contradict each other.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}
