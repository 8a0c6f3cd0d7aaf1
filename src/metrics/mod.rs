//! The counters, gauges and histograms, and their text for Prometheus.
//!
//! [`Metrics::record`] is the one exit of every request: whatever became of it is counted there and nowhere else. Labels
//! come from configuration and from closed enums, never from the network: no user name, serial number, code or address of
//! an end user can appear. Every name is in the text from the start, before anything happened.

mod client;
mod durations;
mod labels;

#[cfg(test)]
mod tests;

pub use client::ClientMetrics;
pub use labels::{
    Attempt, ClusterStanding, DirectoryOperation, Each, HttpOutcome, Label, Loss, MailResult, SecretUsed,
    Table, TokenState,
};
pub use prometheus::{Error, Gauge, Histogram, IntCounter, IntGauge};

use crate::identity::ClientName;
use crate::outcome::{Reason, Verdict};
use client::ClientFamilies;
use durations::Durations;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Everything that is counted. Made once; shared by reference.
///
/// Public fields are set or counted up by whoever knows: metrics that are cheap to compute are set by an
/// [`on_scrape`](Metrics::on_scrape) callback, the others where the event is.
pub struct Metrics {
    registry: Registry,
    clients: ClientFamilies,
    unknown_client: ClientMetrics,
    durations: Durations,
    /// By the index of the reason; only reasons that drop have one.
    dropped: Box<[Option<IntCounter>]>,
    lost: Each<Loss, IntCounter>,
    /// The totals of the losses at the last look.
    lost_before: Box<[AtomicU64]>,
    directory_up: IntGaugeVec,
    cluster_up: IntGaugeVec,
    cluster_standing: Each<ClusterStanding, IntGauge>,
    /// Guards the callbacks; held while they run, so that two scrapes do not mix.
    scrape: Mutex<Vec<Callback>>,

    /// Retransmissions that were recognised, of all clients.
    pub duplicates: IntCounter,
    /// Codes that were right and had been used.
    pub replays: IntCounter,
    /// Codes of another time within a day.
    pub other_time: IntCounter,
    /// Users that were locked since the start.
    pub lockouts: IntCounter,
    /// Requests being judged.
    pub in_flight: IntGauge,
    /// Users that are locked now.
    pub users_locked: IntGauge,
    /// Sources whose level of signing is pinned (automatic Message-Authenticator demand).
    pub pinned_sources: IntGauge,
    /// Tokens by state.
    pub tokens: Each<TokenState, IntGauge>,
    /// Entries of each bounded table.
    pub state_entries: Each<Table, IntGauge>,
    /// By how many seconds the clocks of accepted tokens were off; negative is late.
    pub token_clock_offset: Histogram,
    /// In which step of the window accepted codes were found; 0 is the current one, after the known drift.
    pub code_step_offset: Histogram,
    /// How long each operation of the directory took.
    pub directory_duration: Each<DirectoryOperation, Histogram>,
    /// Operations of the directory that failed: not those that it answered with a refusal.
    pub directory_errors: Each<DirectoryOperation, IntCounter>,
    /// Users that are known from the directory.
    pub directory_bindings: IntGauge,
    /// Seconds since what is known of the directory was last confirmed.
    pub directory_sync_age: Gauge,
    /// How long the journal's writes took to become durable.
    pub journal_sync: Histogram,
    /// How long one batch took in the shared engine.
    pub cluster_duration: Histogram,
    /// How many requests one batch carried.
    pub cluster_batch: Histogram,
    /// Attempts to load the configuration anew.
    pub config_reloads: Each<Attempt, IntCounter>,
    /// HTTP requests to the API by what became of them.
    pub http_requests: Each<HttpOutcome, IntCounter>,
    /// TLS handshakes of HTTP connections.
    pub http_tls_handshakes: Each<Attempt, IntCounter>,
    /// Letters by what became of them.
    pub mail: Each<MailResult, IntCounter>,
    /// Letters that wait.
    pub mail_waiting: IntGauge,
    /// 1 while the clock is not trusted and no code is judged.
    pub clock_guarded: IntGauge,
    /// Jumps of the wall clock against the monotonic one.
    pub clock_jumps: IntCounter,
}

type Callback = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The client label of requests that belong to no configured client.
const UNKNOWN_CLIENT: &str = "-";

/// Seconds. One directory operation: from a local bind to the longest patience.
const DIRECTORY_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Seconds. One fdatasync: from a disk with a safe cache to one that is failing.
const SYNC_SECONDS: &[f64] =
    &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

/// Seconds. One round trip to a shared engine: from a local Redis to one that is about to be given up.
const CLUSTER_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Requests in one batch, up to the most there can be.
const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Seconds, in halves and wholes of the usual 30 and 60 second steps.
const CLOCK_OFFSET_SECONDS: &[f64] =
    &[-120.0, -90.0, -60.0, -30.0, -15.0, 0.0, 15.0, 30.0, 60.0, 90.0, 120.0];

/// Steps; a window is at most ten wide.
const STEPS: &[f64] = &[-5.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0];

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    ///
    /// Only if two metrics were given one name, which a test rules out.
    pub fn new() -> Result<Metrics, Error> {
        let registry = Registry::new();
        let new = Families(&registry);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        new.gauges("build_info", "The version that runs.", "version")?
            .get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?
            .set(1);
        let clients = ClientFamilies {
            requests: new.counters(
                "requests_total",
                "Requests by what became of them; each is counted once.",
                &["client", "outcome", "reason"],
            )?,
            duplicates: new.counters(
                "client_duplicates_total",
                "Retransmissions that were recognised, by client.",
                &["client"],
            )?,
            status_server: new.counters(
                "client_status_server_total",
                "Status-Server requests that were answered.",
                &["client"],
            )?,
            secret: new.counters(
                "client_secret_total",
                "Requests by the secret they were signed with.",
                &["client", "secret"],
            )?,
        };
        let unknown_client = ClientMetrics::unknown(&ClientName::new(UNKNOWN_CLIENT), &clients)?;
        let durations = Durations::new(
            "sekisho_request_duration_seconds",
            "From the arrival of a request to its outcome, without the delay of rejects.",
        )?;
        registry.register(Box::new(durations.clone()))?;
        let dropped = new.counters(
            "dropped_total",
            "What got no answer: requests by reason, and what was lost at the sockets.",
            &["cause"],
        )?;
        let tokens = new.gauges("tokens", "Tokens by state.", "state")?;
        let cluster_standing = new.gauges(
            "cluster_standing",
            "How this node and the shared engine stand; 1 for what holds.",
            "standing",
        )?;
        let state_entries = new.gauges("state_entries", "Entries of each bounded table.", "table")?;
        let directory_duration = new.histograms(
            "directory_duration_seconds",
            "How long the directory took.",
            "operation",
            DIRECTORY_SECONDS,
        )?;
        let directory_errors = new.counters(
            "directory_errors_total",
            "Directory operations without an answer.",
            &["operation"],
        )?;
        let config_reloads =
            new.counters("config_reloads_total", "Reloads of the configuration.", &["result"])?;
        let http_requests = new.counters("http_requests_total", "Requests to the HTTP API.", &["outcome"])?;
        let handshakes =
            new.counters("http_tls_handshakes_total", "TLS handshakes of HTTP connections.", &["result"])?;
        let mail = new.counters("mail_total", "Letters by what became of them.", &["result"])?;
        Ok(Metrics {
            clients,
            unknown_client,
            durations,
            dropped: Reason::ALL
                .iter()
                .map(|reason| match reason.verdict() {
                    Verdict::Drop => dropped.get_metric_with_label_values(&[reason.text()]).map(Some),
                    _ => Ok(None),
                })
                .collect::<Result<_, Error>>()?,
            lost: Each::of(&dropped)?,
            lost_before: Loss::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            directory_up: new.gauges("directory_up", "Whether the server answers.", "server")?,
            cluster_up: new.gauges("cluster_up", "Whether the shared engine decides.", "engine")?,
            cluster_standing: Each::of(&cluster_standing)?,
            scrape: Mutex::default(),
            duplicates: new.counter("duplicates_total", "Retransmissions that were recognised.")?,
            replays: new.counter("code_replays_total", "Codes that were right and had been used.")?,
            other_time: new.counter("code_other_time_total", "Codes of another time within a day.")?,
            lockouts: new.counter("lockouts_total", "Users that were locked.")?,
            in_flight: new.gauge("in_flight", "Requests being judged.")?,
            users_locked: new.gauge("users_locked", "Users that are locked now.")?,
            pinned_sources: new.gauge("pinned_sources", "Sources that must sign since they once did.")?,
            tokens: Each::of(&tokens)?,
            state_entries: Each::of(&state_entries)?,
            token_clock_offset: new.histogram(
                "token_clock_offset_seconds",
                "How far the clocks of accepted tokens were off; negative is late.",
                CLOCK_OFFSET_SECONDS,
            )?,
            code_step_offset: new.histogram(
                "code_step_offset",
                "The step of the window in which accepted codes were found.",
                STEPS,
            )?,
            directory_duration: Each::of(&directory_duration)?,
            directory_errors: Each::of(&directory_errors)?,
            directory_bindings: new.gauge("directory_bindings", "Users known from the directory.")?,
            directory_sync_age: new.seconds(
                "directory_sync_age_seconds",
                "Time since what is known of the directory was confirmed.",
            )?,
            journal_sync: new.histogram(
                "journal_sync_seconds",
                "How long the journal's writes took to become durable.",
                SYNC_SECONDS,
            )?,
            cluster_duration: new.histogram(
                "cluster_duration_seconds",
                "How long one batch took in the shared engine.",
                CLUSTER_SECONDS,
            )?,
            cluster_batch: new.histogram("cluster_batch_size", "Requests in one batch.", BATCH_SIZES)?,
            config_reloads: Each::of(&config_reloads)?,
            http_requests: Each::of(&http_requests)?,
            http_tls_handshakes: Each::of(&handshakes)?,
            mail: Each::of(&mail)?,
            mail_waiting: new.gauge("mail_waiting", "Letters that wait to be sent.")?,
            clock_guarded: new.gauge("clock_guarded", "1 while the clock is not trusted.")?,
            clock_jumps: new.counter("clock_jumps_total", "Jumps of the wall clock.")?,
            registry,
        })
    }

    /// Counts one request and what became of it. `elapsed` is the time from its arrival to its outcome.
    ///
    /// Sums agree: over all clients and outcomes `sekisho_requests_total` counts each judged datagram once, and
    /// `sekisho_dropped_total{cause}` of a reason is its sum over the clients.
    pub fn record(&self, client: &ClientMetrics, reason: Reason, elapsed: Duration) {
        if let Some(counter) = client.of(reason) {
            counter.inc();
        }
        self.durations.observe(reason.verdict(), elapsed);
        if let Some(Some(dropped)) = self.dropped.get(reason.index()) {
            dropped.inc();
        }
        match reason {
            Reason::CodeUsed => self.replays.inc(),
            Reason::CodeOtherTime => self.other_time.inc(),
            Reason::DuplicateInFlight => self.duplicate(client),
            _ => {}
        }
    }

    /// Counts a retransmission that got the same answer again: it was not judged and is no request of its own.
    /// One whose first is still being judged is recorded as [`Reason::DuplicateInFlight`] and counted by that.
    pub fn duplicate(&self, client: &ClientMetrics) {
        self.duplicates.inc();
        client.duplicates.inc();
    }

    /// The counters of a configured client. Asked for again, it counts on where it was.
    ///
    /// # Errors
    ///
    /// None in practice: the number of labels is fixed.
    pub fn client(&self, name: &ClientName) -> Result<ClientMetrics, Error> {
        ClientMetrics::new(name, &self.clients)
    }

    /// The counters of everybody who is no configured client: one for all of them.
    pub fn unknown_client(&self) -> &ClientMetrics {
        &self.unknown_client
    }

    /// Takes a client that is no longer configured out of the text.
    pub fn forget_client(&self, name: &ClientName) {
        self.clients.forget(name);
    }

    /// 1 or 0 for a configured directory server.
    ///
    /// # Errors
    ///
    /// None in practice: the number of labels is fixed.
    pub fn directory_up(&self, server: &str) -> Result<IntGauge, Error> {
        self.directory_up.get_metric_with_label_values(&[server])
    }

    /// 1 or 0 for the configured shared engine.
    ///
    /// # Errors
    ///
    /// None in practice: the number of labels is fixed.
    pub fn cluster_up(&self, engine: &str) -> Result<IntGauge, Error> {
        self.cluster_up.get_metric_with_label_values(&[engine])
    }

    /// How this node and the shared engine stand now: one of the texts of [`ClusterStanding`].
    pub fn show_cluster(&self, standing: &str) {
        for label in ClusterStanding::ALL {
            self.cluster_standing.at(*label).set(i64::from(label.text() == standing));
        }
    }

    /// Takes a directory server that is no longer configured out of the text.
    pub fn forget_directory(&self, server: &str) {
        // Not there is what is wanted.
        let _ = self.directory_up.remove_label_values(&[server]);
    }

    /// One thing was lost.
    pub fn lose(&self, loss: Loss) {
        self.lost.at(loss).inc();
    }

    /// Brings a loss up to `total`, for counters that live elsewhere and are read at each scrape. A total that went down
    /// (a socket was closed) counts on from there. Only from an [`on_scrape`](Metrics::on_scrape) callback; one cause is
    /// either followed or counted with [`lose`](Metrics::lose).
    pub fn follow(&self, loss: Loss, total: u64) {
        if let Some(before) = self.lost_before.get(loss.index()) {
            let before = before.swap(total, Ordering::Relaxed);
            self.lost.at(loss).inc_by(total.saturating_sub(before));
        }
    }

    /// Has `set` called before each scrape.
    pub fn on_scrape(&self, set: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.callbacks().push(Box::new(set));
    }

    /// The text for Prometheus (exposition format 0.0.4), with everything up to date.
    ///
    /// # Errors
    ///
    /// None in practice: the encoder refuses only families without a name or without series.
    pub fn text(&self) -> Result<String, Error> {
        let callbacks = self.callbacks();
        callbacks.iter().for_each(|set| set(self));
        let families = self.registry.gather();
        drop(callbacks);
        TextEncoder::new().encode_to_string(&families)
    }

    fn callbacks(&self) -> std::sync::MutexGuard<'_, Vec<Callback>> {
        // A callback that panicked has spoiled its own gauges, not the list.
        self.scrape.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Makes families, all with the prefix of the daemon, and registers them.
struct Families<'a>(&'a Registry);

impl Families<'_> {
    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.register(IntCounter::with_opts(opts(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.register(IntCounterVec::new(opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.register(IntGauge::with_opts(opts(name, help))?)
    }

    fn seconds(&self, name: &str, help: &str) -> Result<Gauge, Error> {
        self.register(Gauge::with_opts(opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, Error> {
        self.register(IntGaugeVec::new(opts(name, help), &[label])?)
    }

    fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram, Error> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(bounds.to_vec());
        self.register(Histogram::with_opts(opts)?)
    }

    fn histograms(&self, name: &str, help: &str, label: &str, bounds: &[f64]) -> Result<HistogramVec, Error> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(bounds.to_vec());
        self.register(HistogramVec::new(opts, &[label])?)
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("sekisho")
}
