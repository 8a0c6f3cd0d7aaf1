//! What the tasks of one directory client share.

use super::event::{Event, Events};
use super::link::Link;
use super::message::RawEntry;
use super::packed::Packed;
use super::reading::Reading;
use super::roll::Rolls;
use super::settings::Settings;
use super::table::Table;
use crate::state::Bindings;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a table that would shrink too much is left alone before it is looked at again.
const HELD: Duration = Duration::from_secs(10);

/// Settings, servers and memory of one directory.
pub struct Shared {
    pub settings: Arc<Settings>,
    pub reading: Arc<Reading>,
    pub links: Vec<Arc<Link>>,
    pub bindings: Arc<Bindings>,
    pub events: Events,
    pub permission: AtomicBool,
    /// The place of the server that has taken the last change.
    pub writable: AtomicUsize,
    pub permitted: Notify,
    pub rolls: Rolls,
}

impl Shared {
    /// A table of its own for whoever reads everything.
    pub fn table(&self) -> Table {
        Table::new(&self.settings, &self.reading, &self.bindings, &self.events)
    }

    /// Packs an entry to be kept; one that cannot be read is reported.
    pub fn pack(&self, entry: RawEntry<'_>) -> Option<Packed> {
        let packed = self.reading.phrases.pack(entry);
        if packed.is_err() {
            (self.events)(Event::Unreadable { dn: entry.dn.into() });
        }
        packed.ok()
    }

    /// Takes an operator's permission to let much disappear; it serves once.
    pub fn take_permission(&self) -> bool {
        self.permission.swap(false, Ordering::Relaxed)
    }

    /// Waits for such a permission, but not for long: what disappeared may have come back.
    pub async fn wait_for_permission(&self) {
        let _ = tokio::time::timeout(HELD, self.permitted.notified()).await;
    }
}
