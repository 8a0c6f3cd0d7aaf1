//! How the daemon is.

use super::Operations;
use crate::admin::protocol::{ClusterShown, ServerShown, Status};
use crate::clock::Moment;
use crate::store::Health;

impl Operations {
    pub(super) fn status(&self, now: Moment) -> Status {
        let tables = self.drive.pipeline().tables();
        let servers = self.drive.directory().servers().into_iter();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: now.mono.nanos() / 1_000_000_000,
            not_ready: (self.not_ready)(),
            in_flight: tables.admission.in_flight(),
            users: tables.bindings.len(),
            directory_age_seconds: tables.bindings.age(now.mono).map(|age| age.as_secs_f64()),
            servers: servers
                .map(|status| ServerShown { server: status.server, up: status.up, trouble: status.trouble })
                .collect(),
            locked: tables.durable.users.locked(now.wall).len(),
            tokens_disabled: tables.durable.tokens.disabled(),
            pinned: tables.durable.pins.len(),
            cluster: self.drive.pipeline().cluster().map(|cluster| {
                let shown = cluster.shown();
                ClusterShown {
                    engine: shown.engine.into(),
                    node: shown.node,
                    standing: shown.standing.into(),
                    trouble: shown.trouble,
                }
            }),
            journal: match self.drive.store().health() {
                Health::Writing => "writing".into(),
                Health::Failed { why } => format!("failed: {why}"),
            },
        }
    }
}
