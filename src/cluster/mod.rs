//! Marks, locks, challenges and answers in an engine that several nodes share; never a protocol of our own.
//!
//! ```text
//!  requests ─▶ queue ─▶ keeper: one round trip for a batch ─▶ engine: each step at once or not at all
//!                         │ connects, says hello, writes back what this node knows, beats
//!                         └▶ standing: together · silent · alone        (read by every request when it begins)
//! ```
//!
//! The engine decides who was first. Every node keeps its own tables and journal all the same, and refuses what it
//! knows itself: an engine can lose its memory. What each engine promises is in `docs/reliability.md`.

mod address;
mod engine;
mod form;
mod keeper;
mod knowledge;
mod postgres;
mod redis;
mod seal;
mod standing;

pub use address::{Address, Problem as AddressProblem, Tls};
pub use engine::{Change, Fence, Link, Node, Note, SLOTS_MAX, Settled, Stand, Step, Term, Then, Trouble};
pub use form::{NoteKey, SlotKey, SlotValue, slot};
pub use seal::{About, KEY_OCTETS};
pub use standing::{Doubt, Silence, Standing, Way};

use crate::clock::{self, Mono, Wall};
use crate::metrics::Metrics;
use crate::outcome::Reason;
use crate::secret::Secret;
use crate::state::Durable;
use arc_swap::ArcSwap;
use engine::Engine;
use keeper::{Keeper, Message};
use seal::Sealer;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait for the engine: as many as may wait for the journal.
pub const QUEUE: usize = 8192;

/// How long the lease of the node that may go on alone holds. It is renewed ten times as often.
pub const LEASE: Duration = Duration::from_secs(5);

/// Everything that is configured of an engine.
pub struct Settings {
    /// Where it is.
    pub address: Address,
    /// The password, if it asks for one.
    pub password: Option<Secret>,
    /// The authorities of its certificate as PEM, where the connection is protected.
    pub authorities: Option<Vec<u8>>,
    /// The key that all nodes share.
    pub key: [u8; KEY_OCTETS],
    /// This node's name.
    pub node: Box<str>,
    /// What happens when the engine cannot be reached.
    pub when_lost: WhenLost,
    /// How long one answer may take.
    pub timeout: Duration,
}

/// What happens when the engine cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhenLost {
    /// Nobody is answered.
    NoAnswer,
    /// The node of this name goes on alone.
    Alone(Box<str>),
}

/// The engine as requests use it.
pub struct Cluster {
    name: &'static str,
    node: Box<str>,
    sealer: Sealer,
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    timeout: Duration,
}

/// What the keeper tells everybody.
struct Shared {
    standing: ArcSwap<Standing>,
    /// Requests that are being settled on this node alone at this moment.
    inside: AtomicUsize,
    trouble: Mutex<Option<String>>,
}

/// Nobody could say whether it happened: never a reason to refuse the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The engine cannot be reached.
    #[error("the shared engine cannot be reached")]
    Unreachable,
    /// It did not answer in time.
    #[error("the shared engine did not answer in time")]
    TooLate,
    /// What was used may not be in it yet.
    #[error("the shared engine does not know yet what was used")]
    CatchingUp,
    /// The node that may go on alone is not connected.
    #[error("the node that may go on alone is not connected to the shared engine")]
    Fenced,
}

impl Lost {
    /// Every one.
    pub const ALL: [Lost; 4] = [Lost::Unreachable, Lost::TooLate, Lost::CatchingUp, Lost::Fenced];

    /// The reason that it is for an answer that is not given.
    pub fn reason(self) -> Reason {
        match self {
            Lost::Unreachable => Reason::ClusterUnreachable,
            Lost::TooLate => Reason::ClusterTooLate,
            Lost::CatchingUp => Reason::ClusterCatchingUp,
            Lost::Fenced => Reason::ClusterFenced,
        }
    }
}

/// A node settles by itself for as long as this is held.
pub struct Inside<'c>(&'c Shared);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The engine as operators see it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// `redis` or `postgres`.
    pub engine: &'static str,
    /// This node's name.
    pub node: String,
    /// `together`, `alone`, `catching-up`, …
    pub standing: &'static str,
    /// The last trouble, if it is not answering.
    pub trouble: Option<String>,
}

impl Cluster {
    /// Starts the keeper; it connects by itself, now or when the engine can be reached. `random` are fresh octets.
    ///
    /// # Errors
    /// If TLS cannot be set up as configured.
    pub fn start(
        settings: Settings,
        durable: Arc<Durable>,
        metrics: Arc<Metrics>,
        random: [u8; 16],
        runtime: &Handle,
    ) -> Result<Arc<Cluster>, Trouble> {
        let name = settings.address.engine();
        let sealer = Sealer::new(&settings.key, random);
        let (node, timeout) = (settings.node.clone(), settings.timeout);
        let (queue, waiting) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            standing: ArcSwap::from_pointee(Standing::silent(Silence::Unreachable)),
            inside: AtomicUsize::new(0),
            trouble: Mutex::new(None),
        });
        let keeper = Keeper::new(settings, durable, metrics, Arc::clone(&shared))?;
        let keeping = runtime.spawn(keeper.keep(waiting));
        let told = Arc::clone(&shared);
        runtime.spawn(async move {
            // It ends with its last asker. A panic of ours must not leave the word standing that all is well.
            if keeping.await.is_err_and(|error| error.is_panic()) {
                told.standing.store(Arc::new(Standing::silent(Silence::Unreachable)));
                tracing::error!(
                    event = "cluster-task-ended",
                    "nobody is answered until the daemon is restarted"
                );
            }
        });
        Ok(Arc::new(Cluster { name, node, sealer, queue, shared, timeout }))
    }

    /// How things stand: taken once by each request, so that what it found out and what it settles belong together.
    pub fn standing(&self) -> Arc<Standing> {
        self.shared.standing.load_full()
    }

    /// Whether requests are answered now.
    pub fn answers(&self) -> bool {
        !matches!(self.shared.standing.load().way, Way::Silent(_))
    }

    /// Why they are not, if they are not.
    pub fn silence(&self) -> Option<Lost> {
        match self.shared.standing.load().way {
            Way::Silent(silence) => Some(silence.into()),
            Way::Together(_) | Way::Alone => None,
        }
    }

    /// Settles on this node alone, if it still is alone as it was when the request began. What is held must not be
    /// held while anything is waited for.
    pub fn alone(&self, since: &Standing) -> Option<Inside<'_>> {
        self.shared.inside.fetch_add(1, Ordering::SeqCst);
        let inside = Inside(&self.shared);
        (**self.shared.standing.load() == *since && since.way == Way::Alone).then_some(inside)
    }

    /// Settles steps in the term that their requests began in, each by itself all or nothing; the answers come in their
    /// order.
    ///
    /// # Errors
    /// If nobody can say whether they happened, or they may not happen now.
    pub async fn settle(&self, term: Term, steps: Vec<Step>, deadline: Mono) -> Result<Vec<Settled>, Lost> {
        self.ask(deadline, |done| Message::Settle { term, steps, done }).await?
    }

    /// What slots hold now.
    ///
    /// # Errors
    /// If the engine does not answer in time.
    pub async fn look(&self, slots: Vec<SlotKey>, deadline: Mono) -> Result<Vec<Option<SlotValue>>, Lost> {
        self.ask(deadline, |done| Message::Look { slots, done }).await?
    }

    /// What a note says, opened; `None` if there is none.
    ///
    /// # Errors
    /// If the engine does not answer in time.
    pub async fn note(&self, key: NoteKey, then: Then, deadline: Mono) -> Result<Option<Secret>, Lost> {
        let sealed = self.ask(deadline, |done| Message::Note { key, then, done }).await??;
        // One that does not open was sealed under another key: the same as none.
        Ok(sealed.and_then(|sealed| self.open(&key, sealed)))
    }

    /// The key of the note about these parts.
    pub fn name(&self, about: About, parts: &[&[u8]]) -> NoteKey {
        self.sealer.name(about, parts)
    }

    /// A note that says this for a while.
    pub fn seal(&self, key: NoteKey, clear: &[u8], lasts: Duration) -> Option<Note> {
        Some(Note { key, sealed: self.sealer.seal(&key, clear)?, lasts })
    }

    /// Opens what a note says.
    pub fn open(&self, key: &NoteKey, sealed: Vec<u8>) -> Option<Secret> {
        self.sealer.open(key, sealed)
    }

    /// The engine as operators see it.
    pub fn shown(&self) -> Shown {
        let standing = self.standing();
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Shown { engine: self.name, node: self.node.to_string(), standing: standing.text(), trouble }
    }

    async fn ask<T>(
        &self,
        deadline: Mono,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Lost> {
        let left = deadline.since(clock::now().mono).min(self.timeout);
        let (done, answer) = oneshot::channel();
        self.queue.try_send(message(done)).map_err(|_| Lost::TooLate)?;
        match tokio::time::timeout(left, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Lost::Unreachable),
            Err(_) => Err(Lost::TooLate),
        }
    }
}

/// The engine that the settings name.
fn engine_of(settings: &mut Settings) -> Result<Box<dyn Engine>, Trouble> {
    let (password, authorities) = (settings.password.take(), settings.authorities.take());
    Ok(match settings.address {
        Address::Redis(_) | Address::Sentinel { .. } => {
            // The process has one library for TLS; a second call changes nothing.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            Box::new(redis::Redis::new(settings.address.clone(), password, authorities, settings.timeout))
        }
        Address::Postgres { .. } => {
            Box::new(postgres::Postgres::new(&settings.address, password.as_ref(), authorities.as_deref())?)
        }
    })
}

/// One connection as these settings say, and what it is told of us: who asks it takes no part before it says hello.
///
/// # Errors
/// What the engine says, or that it says nothing.
pub async fn connect(mut settings: Settings) -> Result<(Box<dyn Link>, Node), Trouble> {
    let node = node_of(&settings);
    let link = engine_of(&mut settings)?.connect().await?;
    Ok((link, node))
}

/// Connects once and reads, without taking part: for `check --online`.
///
/// # Errors
/// What the engine says, or that it says nothing.
pub async fn try_out(settings: Settings) -> Result<(), Trouble> {
    let (link, _) = connect(settings).await?;
    link.look(&[SlotKey::user(crate::identity::EntryId::new([0; 16]))]).await.map(drop)
}

fn node_of(settings: &Settings) -> Node {
    let alone = match &settings.when_lost {
        WhenLost::NoAnswer => Box::default(),
        WhenLost::Alone(node) => node.clone(),
    };
    Node {
        name: settings.node.clone(),
        alone,
        clock: clock::now().wall,
        lease: LEASE,
        answered: Wall::default(),
        nodes: Vec::new(),
        has_marks: false,
    }
}
