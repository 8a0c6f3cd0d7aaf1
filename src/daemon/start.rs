//! From settings to a running daemon, in the one order that keeps all promises.

use super::systemd::{HandedError, HandedSocket};
use super::web::{self, Web};
use super::workers::Workers;
use super::{gauges, systemd};
use crate::admin::operations::{Ground, Operations, Rules};
use crate::admin::refusal::Refuse;
use crate::admin::socket;
use crate::audit::{self, Audit};
use crate::clock::{self, Moment};
use crate::cluster::{self, Cluster};
use crate::config;
use crate::config::Settings;
use crate::directory::Directory;
use crate::directory::embedded::{self, Embedded, EmbeddedProblem};
use crate::directory::ldap::{self, Guarded, Ldap};
use crate::directory::registry::Registry;
use crate::directory::seal::Keyring;
use crate::http;
use crate::listen::{BindError, Hold, Sockets, Stop};
use crate::mail::{self, Letters};
use crate::metrics::Metrics;
use crate::pipeline::drive::{self, Drive, Exit, Release};
use crate::pipeline::{self, Outgoing, Pipeline, Tables};
use crate::policy::Profile;
use crate::secret::Secret;
use crate::state::{
    Admission, Bindings, Challenges, Duplicates, Durable, Passing, Proofs, Scope, Sources, TimeGuard,
    duplicates,
};
use crate::store::{self, Recovered, Store};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A daemon that answers. Ends by [`super::run`].
pub struct Running {
    /// Addresses that RADIUS is answered on.
    pub radius: Vec<SocketAddr>,
    /// The address of the API, metrics and health.
    pub http: SocketAddr,
    /// What is written to users, and how it reaches them.
    pub letters: Arc<Letters>,
    pub(super) runtime: Runtime,
    pub(super) drive: Arc<Drive>,
    pub(super) workers: Workers,
    pub(super) metrics: Arc<Metrics>,
    pub(super) audit: Arc<Audit>,
    pub(super) hold: Arc<Hold<Outgoing>>,
    pub(super) web: Option<Web>,
    pub(super) admin_socket: PathBuf,
    pub(super) keys: Keys,
    pub(super) operations: Arc<Operations>,
}

impl Running {
    /// Tells the log that requests are answered, and where.
    pub fn say_ready(&self) {
        let addresses: Vec<String> = self.radius.iter().map(ToString::to_string).collect();
        tracing::info!(
            event = "ready",
            radius_udp = addresses.join(","),
            http = %self.http,
            http_monitoring = self.web.as_ref().and_then(|web| web.monitoring).map(tracing::field::display),
            admin = %self.admin_socket.display(),
            version = env!("CARGO_PKG_VERSION"),
            "answering"
        );
    }
}

/// Why the daemon does not start, and whose doing it is.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// What systemd has opened for us cannot be taken over.
    #[error(transparent)]
    Handed(#[from] HandedError),
    /// The HTTP address cannot be listened on.
    #[error("cannot listen for [http] on {0}: {1}")]
    Http(SocketAddr, std::io::Error),
    /// The admin socket cannot be made.
    #[error("cannot make the admin socket {0}: {1}")]
    Admin(PathBuf, std::io::Error),
    /// The directory cannot be asked for what the layout names.
    #[error("the directory cannot be used: {0}")]
    Filter(#[from] ldap::FilterProblem),
    /// The embedded directory cannot be opened.
    #[error("the embedded directory cannot be used: {0}")]
    Embedded(#[from] EmbeddedProblem),
    /// Nothing new came from the directory for a minute.
    #[error(
        "nothing new has come from the directory for 60 s, and it has never been read whole ({0}); \
         `sekisho check --online` tries its servers"
    )]
    DirectorySilent(String),
    /// The directory's own binds ask for codes.
    #[error(
        "slapd's otp overlay asks for the code in the bind itself and would use it up; \
         take the overlay away from the database of the users"
    )]
    OverlayGuards,
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The requests that wait for a second person cannot be kept.
    #[error("the state directory cannot be used: {0}")]
    Requests(Refuse),
    /// The audit file cannot be used.
    #[error("the audit file cannot be used: {0}")]
    Audit(#[from] audit::Error),
    /// The system gives no thread, no randomness or no socket.
    #[error("the system refuses: {0}")]
    System(#[from] std::io::Error),
    /// The engine that nodes share cannot be used as configured.
    #[error("the shared engine of [state] cluster {0}")]
    Cluster(#[from] cluster::Trouble),
    /// Our own counters contradict each other.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Mail cannot be sent as configured.
    #[error("[mail] cannot be used: {0}")]
    Mail(#[from] mail::PostError),
    /// More clients than there can be.
    #[error(transparent)]
    Clients(#[from] pipeline::SettingsError),
}

/// Delayed rejects that may wait at once.
const HOLD_MAX: usize = 65_536;

/// How long nothing new may come from the directory, before it has been read whole once, until the start is given up.
const NOTHING_COMES: Duration = Duration::from_secs(60);

/// How often systemd is told that the reading goes on.
const TELL: Duration = Duration::from_secs(1);

/// Starts everything. When it returns, requests are answered.
///
/// # Errors
/// See [`StartError`]; nothing is left behind but an empty journal.
pub fn start(settings: Settings) -> Result<Running, StartError> {
    if let Err(error) = systemd::forbid_core_dumps() {
        tracing::warn!(event = "core-dumps", %error, "core dumps could not be forbidden");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("edge").build()?;
    let metrics = Arc::new(Metrics::new()?);

    // Sockets first: an address in use must be found before the journal is touched.
    let mut sockets = Sockets::new();
    let mut radius = Vec::new();
    let workers = workers_per_address(&settings);
    for handed in systemd::handed_over()? {
        if let HandedSocket::Udp(socket) = handed.socket {
            radius.push(sockets.adopt(socket)?);
        }
    }
    for address in &settings.radius.listen {
        if !radius.contains(address) {
            radius.push(sockets.bind(*address, workers)?);
        }
    }
    let web = web::Bound::to(&settings.http, &runtime)
        .map_err(|(address, error)| StartError::Http(address, error))?;
    let outbound = sockets.outbound();

    // Then the memory: what was used up before this start stays used up.
    let now = clock::now();
    let durable = Arc::new(Durable::default());
    let (audit, audited) = Audit::open(&settings.audit)?;
    let audit = Arc::new(audit);
    let hold = Arc::new(drive::hold(outbound.clone(), Arc::clone(&metrics), HOLD_MAX)?);
    let state_folder = settings.state.directory.clone();
    let exit = Exit { hold: Arc::clone(&hold), outbound, metrics: Arc::clone(&metrics) };
    let release = Release::new(Arc::clone(&audit), exit.clone());
    let (opened, recovered) = store::open(settings.state, audited, |mark| durable.replay(&mark))?;
    tell_recovery(&recovered);
    let evidence = recovered.evidence.iter().map(|(sequence, evidence)| (*sequence, &**evidence));
    audit.append(evidence).map_err(audit::Error::from)?;
    if let Some(until) = recovered.refuse {
        durable.refuse_until(until);
    }
    let time_guard = Arc::new(TimeGuard::new(now, recovered.highest));
    let (walked, guard) = (Arc::clone(&durable), Arc::clone(&time_guard));
    let store =
        Store::start(opened, move |sink| walked.each_mark(guard.believed(clock::now().mono), sink), release)?;

    // Then the directory, whose first whole reading is waited for.
    let events = gauges::directory_events(&metrics);
    let (edges, bindings, keys) = open_directory(settings.directory, events, &runtime)?;

    let clients_max = usize::from(pipeline::CLIENTS_MAX);
    let tables = Tables {
        durable,
        passing: Arc::new(Passing {
            duplicates: Duplicates::new(clients_max, duplicates::SHARE, settings.radius.reply_cache_lifetime),
            challenges: Challenges::new(clients_max, Secret::new(random_key()?)),
            sources: Sources::default(),
        }),
        bindings,
        admission: Arc::new(Admission::new(clients_max, settings.radius.in_flight_max)),
        time_guard,
    };
    let attributes_max = settings.radius.attributes_max;
    let judged_by = pipeline::Settings::new(settings.clients, attributes_max, &metrics, None)?;
    let cluster = join_cluster(settings.cluster, &tables, &metrics, &runtime)?;
    let pipeline = Pipeline::new(judged_by, tables, Arc::clone(&metrics), first_request(now)).with(cluster);
    let pipeline = Arc::new(pipeline);
    let drive = Drive::new(pipeline, edges, store, Arc::clone(&audit), exit, runtime.handle().clone());

    let letters = {
        let _inside = runtime.enter();
        Letters::start(settings.mail.templates, settings.mail.post, &metrics)?
    };

    let stop = Stop::new()?;
    let not_ready = gauges::not_ready(&drive, &audit);
    let workers = Workers::start(&sockets, &drive, &hold, &audit, &stop)?;
    gauges::set_at_scrape(&metrics, &drive, sockets, &hold);

    let rules = admin_rules(&settings.admin, &settings.http, &settings.profiles);
    let admin_socket = settings.admin.socket;
    let operations = Operations::new(Ground {
        drive: Arc::clone(&drive),
        rules,
        state: state_folder,
        letters: Arc::clone(&letters),
        audit_file: settings.audit.file,
        not_ready: Arc::clone(&not_ready),
    })
    .map_err(StartError::Requests)?;
    let listener = {
        let _inside = runtime.enter();
        socket::bind(&admin_socket, settings.admin.group.as_deref())
            .map_err(|error| StartError::Admin(admin_socket.clone(), error))?
    };
    runtime.spawn(socket::serve(listener, Arc::clone(&operations)));

    let shown = http::State {
        metrics: Arc::clone(&metrics),
        readiness: gauges::readiness(&not_ready),
        health: workers.health(),
    };
    let web = web.serve(settings.http, shown, &operations, &metrics, &runtime)?;

    Ok(Running {
        radius,
        http: web.address,
        letters,
        runtime,
        drive,
        workers,
        metrics,
        audit,
        hold,
        web: Some(web),
        admin_socket,
        keys,
        operations,
    })
}

/// Whose keys a reload replaces.
pub(super) enum Keys {
    /// Those that configuration names.
    Ldap(Arc<Keyring>),
    /// Those in the directory's own folder.
    Embedded(Arc<Embedded>),
}

/// What configuration says about acts.
pub(super) fn admin_rules(admin: &config::Admin, http: &config::Http, profiles: &[Arc<Profile>]) -> Rules {
    Rules {
        credentials: http.callers.credentials(),
        authority: admin.authority.clone(),
        operators: admin.operators.clone(),
        profiles: profiles.to_vec(),
        request_lifetime: admin.request_lifetime,
    }
}

/// One directory as the judgement and as acts see it.
type Edges = (Arc<dyn Directory>, Arc<dyn Registry>);

/// The engine that nodes share, if there is one. Nobody is answered before it can be reached, but the start does not wait.
fn join_cluster(
    settings: Option<cluster::Settings>,
    tables: &Tables,
    metrics: &Arc<Metrics>,
    runtime: &Runtime,
) -> Result<Option<Arc<Cluster>>, StartError> {
    let Some(settings) = settings else { return Ok(None) };
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
    let (durable, metrics) = (Arc::clone(&tables.durable), Arc::clone(metrics));
    Ok(Some(Cluster::start(settings, durable, metrics, random, runtime.handle())?))
}

/// A directory that has been read and goes together with us.
fn open_directory(
    directory: config::Directory,
    events: ldap::Events,
    runtime: &Runtime,
) -> Result<(Edges, Arc<Bindings>, Keys), StartError> {
    match directory {
        config::Directory::Ldap(wanted) => {
            let bindings = Arc::new(Bindings::new(wanted.scope).with_proofs(proofs(wanted.password_cache)?));
            let ldap = Ldap::start(wanted.settings, Arc::clone(&bindings), events, runtime.handle())?;
            runtime.block_on(first_reading(&bindings, &*ldap))?;
            match runtime.block_on(ldap.otp_overlay_guards()) {
                Ok(Guarded::Yes) => Err(StartError::OverlayGuards),
                // A server that does not show its configuration, or is not there yet, is taken at the operator's word.
                Ok(Guarded::No | Guarded::Unknown) | Err(_) => {
                    let keys = Keys::Ldap(Arc::clone(ldap.keyring()));
                    Ok(((Arc::clone(&ldap) as _, ldap), bindings, keys))
                }
            }
        }
        config::Directory::Embedded(wanted) => {
            let scope = Scope::Complete { max_stale: embedded::MAX_STALE };
            let bindings = Arc::new(Bindings::new(scope));
            let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let embedded = Arc::new(Embedded::open(&wanted.folder, Arc::clone(&bindings), at_once)?);
            runtime.spawn(Arc::clone(&embedded).keep_confirmed());
            runtime.block_on(first_reading(&bindings, &*embedded))?;
            let registry = embedded.registry();
            let keys = Keys::Embedded(Arc::clone(&embedded));
            Ok(((embedded, registry), bindings, keys))
        }
    }
}

/// Proofs of passwords under a key of this process, if any are to be kept.
fn proofs(lifetime: Duration) -> std::io::Result<Proofs> {
    if lifetime.is_zero() {
        return Ok(Proofs::none());
    }
    Ok(Proofs::new(&Secret::new(random_key()?), lifetime))
}

fn random_key() -> std::io::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(key)
}

/// Waits until what the directory holds is known: nobody is answered from half a table.
async fn first_reading(bindings: &Bindings, directory: &dyn Directory) -> Result<(), StartError> {
    let mut now = clock::now().mono;
    let (mut read, mut last, mut told) = (bindings.progress(), now, now);
    while !bindings.is_fresh(now) {
        if bindings.progress() != read {
            (read, last) = (bindings.progress(), now);
            if now.since(told) >= TELL {
                systemd::starting(&format!("reading the directory: {read} so far"), NOTHING_COMES);
                told = now;
            }
        }
        if now.since(last) > NOTHING_COMES {
            let troubles = directory
                .servers()
                .into_iter()
                .filter_map(|status| status.trouble.map(|trouble| format!("{}: {trouble}", status.server)));
            return Err(StartError::DirectorySilent(troubles.collect::<Vec<_>>().join("; ")));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        now = clock::now().mono;
    }
    Ok(())
}

fn tell_recovery(recovered: &Recovered) {
    if let Some(torn) = &recovered.torn {
        let (file, offset) = (&torn.file, torn.offset);
        tracing::warn!(event = "journal-torn", file, offset, "the end of an interrupted write was cut off");
    }
    if let Some(until) = recovered.refuse {
        let until = until.seconds();
        tracing::warn!(event = "journal-recovered", until, "codes of steps before this time are refused");
    }
    tracing::info!(event = "journal-replayed", marks = recovered.marks, segments = recovered.segments);
}

/// One worker for each processor, but at least one for each address.
fn workers_per_address(settings: &Settings) -> NonZeroU16 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = settings.radius.workers.unwrap_or(processors);
    u16::try_from(workers).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN)
}

/// Request ids never repeat: the start's second in the upper half, a count in the lower.
fn first_request(now: Moment) -> u64 {
    now.wall.seconds() << 32
}
