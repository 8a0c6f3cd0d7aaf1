//! The task that keeps the connection: gathers steps into batches, beats, writes back, and says how things stand.

use super::engine::{Engine, Fence, Link, Node, Settled, Stand, Step, Term, Then, Trouble};
use super::form::{NoteKey, SlotKey, SlotValue};
use super::standing::{Silence, Standing, Way};
use super::{LEASE, Lost, Settings, Shared, engine_of, node_of};
use crate::clock::{self, Mono, Wall};
use crate::metrics::Metrics;
use crate::state::{Durable, Mark};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// Steps after which a batch is full, even if more wait: it keeps the engine busy with us for a few milliseconds.
const BATCH: usize = 256;

/// How often a node says that it is there.
const BEAT: Duration = Duration::from_millis(500);

/// How much longer than it must this node waits before it goes on alone: clocks do not run at one speed.
const SURELY: Duration = Duration::from_secs(1);

/// How soon a lost engine is tried again: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What is asked of the engine.
pub enum Message {
    /// Settle these, in this term.
    Settle { term: Term, steps: Vec<Step>, done: oneshot::Sender<Result<Vec<Settled>, Lost>> },
    /// Read these.
    Look { slots: Vec<SlotKey>, done: oneshot::Sender<Result<Vec<Option<SlotValue>>, Lost>> },
    /// Read this.
    Note { key: NoteKey, then: Then, done: oneshot::Sender<Result<Option<Vec<u8>>, Lost>> },
}

/// Who waits for some of a batch's steps, and how many.
type Waiting = (usize, oneshot::Sender<Result<Vec<Settled>, Lost>>);

/// What something on its way came to.
enum Came {
    /// A beat that was sent then.
    Beat(Mono, Result<Stand, Trouble>),
    /// A batch of another term than the engine's, how it stands now, and who waits.
    OtherTerm(Mono, Result<Stand, Trouble>, Vec<Waiting>),
    /// Anything else.
    Answered(Result<(), Trouble>),
    /// The pinned sources were read.
    Pins(Result<(), Trouble>),
}

/// The keeper.
pub struct Keeper {
    engine: Box<dyn Engine>,
    node: Node,
    timeout: Duration,
    pub(super) durable: Arc<Durable>,
    metrics: Arc<Metrics>,
    name: &'static str,
    shared: Arc<Shared>,
    /// When the last beat that was answered left: the lease is ours no longer than for its length from then.
    confirmed: Mono,
    /// By how much any node's clock was ahead of the engine's.
    ahead: Duration,
    /// The engine's clock, and when it was asked for.
    engine_clock: Option<(Wall, Mono)>,
    /// Since when this node has been alone, and what it said then.
    alone: Option<Standing>,
}

impl Keeper {
    /// A keeper that is not connected yet.
    pub fn new(
        mut settings: Settings,
        durable: Arc<Durable>,
        metrics: Arc<Metrics>,
        shared: Arc<Shared>,
    ) -> Result<Keeper, Trouble> {
        let engine = engine_of(&mut settings)?;
        let keeper = Keeper {
            engine,
            node: node_of(&settings),
            timeout: settings.timeout,
            durable,
            metrics,
            name: settings.address.engine(),
            shared,
            confirmed: clock::now().mono,
            ahead: Duration::ZERO,
            engine_clock: None,
            alone: None,
        };
        keeper.show();
        Ok(keeper)
    }

    /// Keeps at it until nobody can ask any more.
    pub async fn keep(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut again = AGAIN.0;
        loop {
            let begun = clock::now().mono;
            let Err(trouble) = self.take_part(&mut queue).await else { return };
            let lost = match trouble {
                Trouble::TooLate => Lost::TooLate,
                _ => Lost::Unreachable,
            };
            self.lose(&trouble);
            while let Ok(message) = queue.try_recv() {
                message.refuse(lost);
            }
            // What held for a while is tried again at once.
            if clock::now().mono.since(begun) > AGAIN.1 {
                again = AGAIN.0;
            }
            let wait = tokio::time::sleep(again);
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    message = queue.recv() => match message {
                        Some(message) => message.refuse(lost),
                        None => return,
                    },
                }
            }
            again = again.saturating_mul(2).min(AGAIN.1);
        }
    }

    /// Connects, writes back what has to be, and then answers until something goes wrong.
    async fn take_part(&mut self, queue: &mut mpsc::Receiver<Message>) -> Result<(), Trouble> {
        let link: Arc<dyn Link> = self.engine.connect().await?.into();
        if self.alone.is_some() {
            // From here on nothing is settled by ourselves; what has begun to be ends in a moment.
            self.stand(Standing::silent(Silence::CatchingUp));
            while self.shared.inside.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let mut sent = clock::now();
        self.node.clock = sent.wall;
        self.node.has_marks = !(self.durable.tokens.is_empty() && self.durable.users.is_empty());
        let mut stand = self.within(link.hello(&self.node)).await?;
        if !stand.written {
            self.stand(Standing::silent(Silence::CatchingUp));
            let count = self.write_back(&*link).await?;
            self.node.clock = clock::now().wall;
            let beat = self.within(link.beat(&self.node)).await?;
            sent = clock::now();
            (self.node.clock, self.node.answered) = (sent.wall, beat.clock);
            // Whether it is answered or not, it may begin a lease.
            self.confirmed = sent.mono;
            stand = self.within(link.written(&self.node)).await?;
            tracing::info!(
                event = "cluster-written-back",
                marks = count,
                "the shared engine has what we know"
            );
        }
        self.learn_pins(&*link).await?;
        self.stood(sent.mono, &stand)?;
        tracing::info!(event = "cluster-up", engine = self.name, node = %self.node.name);
        self.answer(&link, queue).await
    }

    /// Answers what is asked, batch by batch, and beats.
    async fn answer(
        &mut self,
        link: &Arc<dyn Link>,
        queue: &mut mpsc::Receiver<Message>,
    ) -> Result<(), Trouble> {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut on_its_way: FuturesUnordered<BoxFuture<'static, Came>> = FuturesUnordered::new();
        let (mut batches, mut beating, mut pins) = (0_usize, false, self.durable.pins.len());
        loop {
            tokio::select! {
                Some(came) = on_its_way.next(), if !on_its_way.is_empty() => match came {
                    Came::Beat(sent, stand) => {
                        beating = false;
                        let stand = stand?;
                        self.stood(sent, &stand)?;
                        // Another node has pinned a source: read them all, which are few.
                        let known = usize::try_from(stand.pins).unwrap_or(usize::MAX);
                        if known > pins.max(self.durable.pins.len()) {
                            pins = known;
                            on_its_way.push(self.reading_pins(link));
                        }
                    }
                    Came::OtherTerm(sent, stand, dones) => {
                        batches = batches.saturating_sub(1);
                        self.stood(sent, &stand?)?;
                        // They look how things stand now, and ask again.
                        for (_, done) in dones {
                            let _ = done.send(Err(Lost::CatchingUp));
                        }
                    }
                    Came::Pins(read) => read?,
                    Came::Answered(answered) => {
                        batches = batches.saturating_sub(1);
                        match answered {
                            Ok(()) => {}
                            Err(Trouble::Fenced) => self.stand(Standing::silent(Silence::Fenced)),
                            Err(trouble) => return Err(trouble),
                        }
                    }
                },
                _ = beat.tick(), if !beating => {
                    beating = true;
                    on_its_way.push(self.beating(link));
                }
                message = queue.recv(), if batches < self.engine.batches() => {
                    let Some(message) = message else { return Ok(()) };
                    batches += self.send(link, message, queue, &on_its_way);
                }
            }
        }
    }

    /// Sends a message, and what waits behind it; how many batches that makes.
    fn send(
        &self,
        link: &Arc<dyn Link>,
        first: Message,
        queue: &mut mpsc::Receiver<Message>,
        on_its_way: &FuturesUnordered<BoxFuture<'static, Came>>,
    ) -> usize {
        let Way::Together(now) = self.shared.standing.load().way else {
            first.refuse(Lost::CatchingUp);
            return 0;
        };
        let (mut batch, mut dones, mut others) = (Vec::new(), Vec::new(), 0_usize);
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Settle { term, steps, done } if term == now => {
                    // Whoever asked may have given up waiting: then it need not happen.
                    if !done.is_closed() {
                        dones.push((steps.len(), done));
                        batch.extend(steps);
                    }
                }
                message @ Message::Settle { .. } => message.refuse(Lost::CatchingUp),
                message => {
                    others += 1;
                    on_its_way.push(self.reading(link, message));
                }
            }
            next = if batch.len() + others < BATCH { queue.try_recv().ok() } else { None };
        }
        if batch.is_empty() {
            return others;
        }
        on_its_way.push(self.settling(link, now, batch, dones));
        others + 1
    }

    fn settling(
        &self,
        link: &Arc<dyn Link>,
        term: Term,
        steps: Vec<Step>,
        dones: Vec<Waiting>,
    ) -> BoxFuture<'static, Came> {
        let (link, node, metrics) = (Arc::clone(link), self.node.clone(), Arc::clone(&self.metrics));
        let timeout = self.timeout;
        Box::pin(async move {
            let sent = clock::now().mono;
            let settled = tokio::time::timeout(timeout, link.settle(&node, Fence::Term(term), &steps)).await;
            metrics.cluster_duration.observe(clock::now().mono.since(sent).as_secs_f64());
            #[expect(clippy::cast_precision_loss, reason = "a batch has at most a few hundred steps")]
            metrics.cluster_batch.observe(steps.len() as f64);
            match settled.unwrap_or(Err(Trouble::TooLate)) {
                Ok(settled) => {
                    let mut settled = settled.into_iter();
                    for (count, done) in dones {
                        // Whoever does not wait any more has given up: nobody is answered.
                        let _ = done.send(Ok(settled.by_ref().take(count).collect()));
                    }
                    Came::Answered(Ok(()))
                }
                Err(Trouble::OtherTerm) => {
                    let now = clock::now();
                    let node = Node { clock: now.wall, ..node };
                    let stand = tokio::time::timeout(timeout, link.beat(&node)).await;
                    Came::OtherTerm(now.mono, stand.unwrap_or(Err(Trouble::TooLate)), dones)
                }
                Err(trouble) => {
                    for (_, done) in dones {
                        let _ = done.send(Err(lost_by(&trouble)));
                    }
                    Came::Answered(Err(trouble))
                }
            }
        })
    }

    fn reading(&self, link: &Arc<dyn Link>, message: Message) -> BoxFuture<'static, Came> {
        let (link, timeout) = (Arc::clone(link), self.timeout);
        Box::pin(async move {
            Came::Answered(match message {
                Message::Settle { .. } => Ok(()),
                Message::Look { slots, done } => {
                    let read = tokio::time::timeout(timeout, link.look(&slots)).await;
                    tell(done, read.unwrap_or(Err(Trouble::TooLate)))
                }
                Message::Note { key, then, done } => {
                    let read = tokio::time::timeout(timeout, link.note(&key, then)).await;
                    tell(done, read.unwrap_or(Err(Trouble::TooLate)))
                }
            })
        })
    }

    fn beating(&mut self, link: &Arc<dyn Link>) -> BoxFuture<'static, Came> {
        let now = clock::now();
        self.node.clock = now.wall;
        let (link, node, timeout) = (Arc::clone(link), self.node.clone(), self.timeout);
        Box::pin(async move {
            let stand = tokio::time::timeout(timeout, link.beat(&node)).await;
            Came::Beat(now.mono, stand.unwrap_or(Err(Trouble::TooLate)))
        })
    }

    fn reading_pins(&self, link: &Arc<dyn Link>) -> BoxFuture<'static, Came> {
        let (link, durable, timeout) = (Arc::clone(link), Arc::clone(&self.durable), self.timeout);
        Box::pin(async move {
            let pins = tokio::time::timeout(timeout, link.pins()).await;
            Came::Pins(pins.unwrap_or(Err(Trouble::TooLate)).map(|pins| {
                for pin in pins {
                    durable.learn(&Mark::Pin(pin));
                }
            }))
        })
    }

    async fn learn_pins(&self, link: &dyn Link) -> Result<(), Trouble> {
        for pin in self.within(link.pins()).await? {
            self.durable.learn(&Mark::Pin(pin));
        }
        Ok(())
    }

    /// The engine has said how things stand.
    fn stood(&mut self, sent: Mono, stand: &Stand) -> Result<(), Trouble> {
        self.ahead = stand.ahead;
        if self.node.nodes != stand.nodes {
            self.node.nodes.clone_from(&stand.nodes);
        }
        self.engine_clock = Some((stand.clock, sent));
        let standing = Standing::of(stand).ok_or(Trouble::Forgotten)?;
        if matches!(standing.way, Way::Together(_)) {
            self.confirmed = sent;
            self.alone = None;
        }
        self.tell_trouble(None);
        self.stand(standing);
        Ok(())
    }

    /// The engine is lost: nobody is answered, or, after a while, this node goes on alone.
    fn lose(&mut self, trouble: &Trouble) {
        let known = self.tell_trouble(Some(trouble.to_string()));
        if !known {
            tracing::error!(event = "cluster-down", engine = self.name, %trouble);
        }
        let now = clock::now();
        let named = *self.node.alone == *self.node.name;
        // A beat was carried out within `timeout` of its sending, or it was not answered; and one that was not
        // answered may have been carried out as late as the lease was live, and renewed it once.
        let over = LEASE.saturating_mul(2).saturating_add(self.timeout).saturating_add(SURELY);
        let over = now.mono.since(self.confirmed) > over;
        // An engine that has other settings than ours is there, and so may the others be.
        if named && over && !matches!(trouble, Trouble::Differs(_)) {
            let standing = self.alone.get_or_insert_with(|| {
                tracing::warn!(event = "cluster-alone", node = %self.node.name, "going on alone");
                // By the engine's clock, as far as it is known: ours may be behind the others'.
                let engine = self.engine_clock.map(|(wall, at)| wall.plus(now.mono.since(at)));
                Standing::alone(engine.map_or(now.wall, |engine| engine.max(now.wall)), self.ahead)
            });
            let standing = standing.clone();
            return self.stand(standing);
        }
        self.stand(Standing::silent(Silence::Unreachable));
    }

    /// Says how things stand, if it is new.
    fn stand(&self, standing: Standing) {
        if **self.shared.standing.load() != standing {
            tracing::info!(event = "cluster-standing", standing = standing.text());
            self.shared.standing.store(Arc::new(standing));
            self.show();
        }
    }

    fn show(&self) {
        let standing = self.shared.standing.load();
        let up = matches!(standing.way, Way::Together(_));
        if let Ok(gauge) = self.metrics.cluster_up(self.name) {
            gauge.set(up.into());
        }
        self.metrics.show_cluster(standing.text());
    }

    /// Keeps the last trouble; whether it was the same before.
    fn tell_trouble(&self, trouble: Option<String>) -> bool {
        let mut held = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let same = *held == trouble;
        *held = trouble;
        same
    }

    /// Waits as long as one answer may take.
    pub(super) async fn within<T>(&self, asked: BoxFuture<'_, Result<T, Trouble>>) -> Result<T, Trouble> {
        tokio::time::timeout(self.timeout, asked).await.unwrap_or(Err(Trouble::TooLate))
    }

    /// Who we are, for the engine.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }
}

impl Message {
    fn refuse(self, lost: Lost) {
        // Whoever asked may be gone.
        match self {
            Message::Settle { done, .. } => drop(done.send(Err(lost))),
            Message::Look { done, .. } => drop(done.send(Err(lost))),
            Message::Note { done, .. } => drop(done.send(Err(lost))),
        }
    }
}

fn tell<T>(done: oneshot::Sender<Result<T, Lost>>, read: Result<T, Trouble>) -> Result<(), Trouble> {
    match read {
        Ok(read) => {
            let _ = done.send(Ok(read));
            Ok(())
        }
        Err(trouble) => {
            let _ = done.send(Err(lost_by(&trouble)));
            Err(trouble)
        }
    }
}

fn lost_by(trouble: &Trouble) -> Lost {
    match trouble {
        Trouble::TooLate => Lost::TooLate,
        Trouble::OtherTerm | Trouble::Forgotten => Lost::CatchingUp,
        Trouble::Fenced => Lost::Fenced,
        Trouble::Unreachable(_) | Trouble::Refused(_) | Trouble::Unclear | Trouble::Differs(_) => {
            Lost::Unreachable
        }
    }
}
