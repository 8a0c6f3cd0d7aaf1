//! What is looked at when somebody asks: gauges at each scrape, readiness at each probe.

use crate::audit::Audit;
use crate::clock;
use crate::directory::ldap::{Ended, Event, Events, Operation};
use crate::http::Readiness;
use crate::identity::{EntryId, Escaped, TokenSerial};
use crate::listen::{Hold, Socket, Sockets};
use crate::metrics::{DirectoryOperation, Loss, Metrics, Table, TokenState};
use crate::outcome::Reason;
use crate::pipeline::Outgoing;
use crate::pipeline::drive::Drive;
use crate::store;
use crate::tokens::{Defect, Standing};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Says what keeps the daemon from being ready; empty when it is.
pub type NotReady = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Says what keeps the daemon from being ready.
pub fn not_ready(drive: &Arc<Drive>, audit: &Arc<Audit>) -> NotReady {
    // Weak: whoever probes must not keep a stopping daemon alive.
    let (drive, audit) = (Arc::downgrade(drive), Arc::clone(audit));
    Arc::new(move || {
        let Some(drive) = drive.upgrade() else { return vec!["stopping".into()] };
        let mut missing = Vec::new();
        let tables = drive.pipeline().tables();
        let now = clock::now();
        if drive.is_draining() {
            missing.push("stopping".to_owned());
        }
        if !tables.bindings.is_fresh(now.mono) {
            missing.push("the directory has not been read, or not confirmed for too long".to_owned());
        }
        if !directory_answers(&drive) {
            missing.push("no directory server answers".to_owned());
        }
        if tables.time_guard.is_guarded() {
            missing.push("the clock jumped and is not trusted".to_owned());
        }
        if let Some(cluster) = drive.pipeline().cluster().filter(|cluster| !cluster.answers()) {
            let shown = cluster.shown();
            let trouble = shown.trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
            missing.push(format!("the shared engine ({}) is {}{trouble}", shown.engine, shown.standing));
        }
        if let store::Health::Failed { why } = drive.store().health() {
            missing.push(format!("the journal cannot be written: {why}"));
        }
        if let Some(trouble) = audit.trouble() {
            missing.push(format!("audit: {trouble}"));
        }
        missing
    })
}

/// Whether what is judged can be made durable and sent.
pub fn answers_leave(drive: &Drive, audit: &Audit) -> bool {
    !drive.is_draining()
        && drive.pipeline().cluster().is_none_or(|cluster| cluster.answers())
        && drive.store().health() == store::Health::Writing
        && !(audit.stops_service() && audit.trouble().is_some())
}

/// Whether a server of the directory answers; one without servers always does.
pub fn directory_answers(drive: &Drive) -> bool {
    let servers = drive.directory().servers();
    servers.is_empty() || servers.iter().any(|server| server.up)
}

/// The same for `/readyz`.
pub fn readiness(not_ready: &NotReady) -> Arc<dyn Fn() -> Readiness + Send + Sync> {
    let not_ready = Arc::clone(not_ready);
    Arc::new(move || Readiness { missing: not_ready() })
}

/// Has every gauge set whenever the metrics are read.
pub fn set_at_scrape(metrics: &Metrics, drive: &Arc<Drive>, sockets: Sockets, hold: &Arc<Hold<Outgoing>>) {
    let (drive, hold) = (Arc::downgrade(drive), Arc::downgrade(hold));
    metrics.on_scrape(move |metrics| {
        if let Some(drive) = drive.upgrade() {
            set_tables(metrics, &drive, &hold);
        }
        set_losses(metrics, sockets.all());
    });
}

fn set_tables(metrics: &Metrics, drive: &Drive, hold: &Weak<Hold<Outgoing>>) {
    let tables = drive.pipeline().tables();
    let now = clock::now();
    let set = |table, entries: usize| metrics.state_entries.at(table).set(whole(entries));
    set(Table::Duplicates, tables.passing.duplicates.len());
    set(Table::Challenges, tables.passing.challenges.len());
    set(Table::Throttle, tables.passing.sources.len());
    set(Table::Users, tables.durable.users.len());
    set(Table::Tokens, tables.durable.tokens.len());
    set(Table::Pinned, tables.durable.pins.len());
    set(Table::Proofs, tables.bindings.proofs().len());
    set(Table::Held, hold.upgrade().map_or(0, |hold| hold.len()));
    metrics.in_flight.set(whole(tables.admission.in_flight()));
    metrics.users_locked.set(whole(tables.durable.users.locked(now.wall).len()));
    metrics.pinned_sources.set(whole(tables.durable.pins.len()));
    metrics.directory_bindings.set(whole(tables.bindings.len()));
    metrics.clock_guarded.set(tables.time_guard.is_guarded().into());
    if let Some(age) = tables.bindings.age(now.mono) {
        metrics.directory_sync_age.set(age.as_secs_f64());
    }
    for status in drive.directory().servers() {
        if let Ok(up) = metrics.directory_up(&status.server) {
            up.set(status.up.into());
        }
    }
    set_tokens(metrics, drive, now);
}

fn set_tokens(metrics: &Metrics, drive: &Drive, now: clock::Moment) {
    let tables = drive.pipeline().tables();
    let (mut active, mut locked, mut suspended, mut expired, mut unusable) = (0, 0, 0, 0, 0);
    let (mut set_up, mut revoked) = (0, 0);
    // Walks everybody and stops at nobody.
    let _: Option<()> = tables.bindings.find(|user| {
        let tokens = user.tokens();
        let user_locked = tables.durable.users.lockout(user.id(), now.wall).is_locked(now.wall);
        for token in tokens.all() {
            if token.standing == Standing::AwaitsConfirmation {
                set_up += 1;
                continue;
            }
            match token.refusal(now.wall) {
                None if user_locked => locked += 1,
                None => active += 1,
                Some(Reason::TokenSuspended) => suspended += 1,
                Some(Reason::TokenExpired) => expired += 1,
                Some(Reason::TokenRevoked) => revoked += 1,
                Some(_) => unusable += 1,
            }
        }
        None
    });
    let set = |state, count: usize| metrics.tokens.at(state).set(whole(count));
    set(TokenState::Active, active);
    set(TokenState::SetUp, set_up);
    set(TokenState::Locked, locked);
    set(TokenState::Suspended, suspended);
    set(TokenState::Expired, expired);
    set(TokenState::Revoked, revoked);
    set(TokenState::Unusable, unusable);
    set(TokenState::Disabled, tables.durable.tokens.disabled());
}

fn set_losses(metrics: &Metrics, sockets: &[Socket]) {
    let mut totals: Vec<(Loss, u64)> = Vec::new();
    let mut add = |loss: Loss, count: u64| match totals.iter_mut().find(|(found, _)| *found == loss) {
        Some((_, total)) => *total = total.saturating_add(count),
        None => totals.push((loss, count)),
    };
    for socket in sockets {
        for (loss, count) in socket.traffic().lost() {
            add(loss, count);
        }
        add(Loss::KernelBuffer, socket.kernel_dropped().unwrap_or(0));
    }
    for (loss, total) in totals {
        metrics.follow(loss, total);
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Counts what the directory client tells, and says in the log what an operator has to know.
pub fn directory_events(metrics: &Arc<Metrics>) -> Events {
    let metrics = Arc::clone(metrics);
    let told = ToldTokens::default();
    Arc::new(move |event| match event {
        Event::Operation { operation, took, ended, .. } => {
            let operation = match operation {
                Operation::Bind => DirectoryOperation::Bind,
                Operation::Search | Operation::Probe => DirectoryOperation::Search,
                Operation::Load => DirectoryOperation::Sync,
                Operation::Write => DirectoryOperation::Modify,
            };
            metrics.directory_duration.at(operation).observe(took.as_secs_f64());
            if ended != Ended::Answered {
                metrics.directory_errors.at(operation).inc();
            }
        }
        Event::Failed { server, operation, trouble } => {
            tracing::debug!(event = "directory-failed", %server, ?operation, %trouble);
        }
        Event::ServerUp { server } => tracing::info!(event = "directory-up", %server),
        Event::ServerDown { server, trouble } => {
            tracing::error!(event = "directory-down", %server, %trouble);
        }
        Event::Loaded { users } => tracing::info!(event = "directory-loaded", users),
        Event::SyncBroken { server, trouble } => {
            tracing::warn!(event = "directory-sync-broken", %server, %trouble);
        }
        Event::SyncRestarted { server } => tracing::info!(event = "directory-sync-restarted", %server),
        Event::ReferralIgnored { server } => tracing::warn!(event = "directory-referral", %server),
        Event::HeldBack { before, after } => tracing::error!(
            event = "directory-held-back",
            before,
            after,
            "so many users disappeared at once that the table was left as it was; restart the daemon if it is right"
        ),
        Event::Unusable { user, serial, defect } => told.tell(user, serial, defect),
        Event::Unreadable { dn } => {
            tracing::warn!(event = "entry-unreadable", dn = %Escaped(dn.as_bytes()));
        }
        Event::Restarted => tracing::error!(event = "directory-task-restarted"),
    })
}

/// The unusable tokens that the log has been told of, so that each is told once (OTP-13).
#[derive(Default)]
struct ToldTokens(Mutex<HashSet<(TokenSerial, Defect)>>);

impl ToldTokens {
    /// More than these are a mistake in all of them, such as a key that is missing: `sekisho_tokens` has the number.
    const MAX: usize = 1000;

    fn tell(&self, user: EntryId, serial: TokenSerial, defect: Defect) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < ToldTokens::MAX && told.insert((serial.clone(), defect)) {
            tracing::warn!(event = "token-unusable", entry = %user, %serial, "{defect}");
            if told.len() == ToldTokens::MAX {
                tracing::warn!(event = "token-unusable", "further unusable tokens are only counted");
            }
        }
    }
}
