//! One server: its two pools, whether it answers, and the task that finds out.

use super::act::Act;
use super::connection::{ActAnswer, BindAnswer, Connection, Identity, SearchEnd, Trouble, within};
use super::event::{Ended, Event, Events, Operation};
use super::message::{Control, Criticality, PASSWORD_POLICY, RawEntry, Search, WHO_AM_I};
use super::pool::{Age, Pool, TooLate};
use super::settings::{Server, Settings};
use crate::clock::{Mono, now};
use crate::directory::{ServerStatus, Unavailable};
use crate::secret::Secret;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often a server that answers is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// The longest that a look may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// The shortest and the longest pause before looking again at a server that does not answer.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(800));

/// One server with everything we have open to it.
pub struct Link {
    /// Its URL, as events name it.
    pub url: Arc<str>,
    settings: Arc<Settings>,
    server: Server,
    events: Events,
    binds: Pool,
    searches: Pool,
    health: AtomicU8,
    trouble: Mutex<Option<Trouble>>,
    /// What was last told about it.
    told: AtomicU8,
    nudge: Notify,
}

/// Whether a server is worth asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Health {
    /// It answers.
    Up,
    /// It has just failed somebody, or nobody has looked yet: asked last.
    Doubtful,
    /// It does not answer and is not asked.
    Down,
}

/// Why a server gave no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// Nothing was begun, because there is not enough time left.
    TooLate,
    /// The server failed.
    Trouble(Trouble),
}

/// Why there is no answer to a change.
#[derive(Debug)]
pub enum NotActed {
    /// Nothing was sent.
    Before(NoAnswer),
    /// It was sent, or partly: nobody can say whether it was made.
    Unknown(Trouble),
}

/// An entry as it came, to be kept: it may carry keys.
pub struct Kept {
    /// Its DN.
    pub dn: Box<str>,
    /// Its attributes in BER.
    pub attributes: Secret,
}

impl Kept {
    /// Keeps an entry.
    pub fn new(entry: RawEntry<'_>) -> Kept {
        Kept { dn: entry.dn.into(), attributes: Secret::new(entry.kept()) }
    }

    /// The entry again.
    pub fn entry(&self) -> RawEntry<'_> {
        RawEntry::again(&self.dn, self.attributes.expose())
    }
}

impl Link {
    /// A server that nobody has looked at yet.
    pub fn new(settings: &Arc<Settings>, server: &Server, events: &Events) -> Link {
        Link {
            url: server.url.as_str().into(),
            settings: Arc::clone(settings),
            server: server.clone(),
            events: Arc::clone(events),
            binds: Pool::new(Identity::Nobody, settings.binds),
            searches: Pool::new(Identity::Service, settings.searches),
            health: AtomicU8::new(Health::Doubtful as u8),
            trouble: Mutex::new(None),
            told: AtomicU8::new(Health::Doubtful as u8),
            nudge: Notify::new(),
        }
    }

    /// Whether it is worth asking.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Up,
            1 => Health::Doubtful,
            _ => Health::Down,
        }
    }

    /// What operators see.
    pub fn status(&self) -> ServerStatus {
        let up = self.health() != Health::Down;
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        ServerStatus { server: self.url.to_string(), up, trouble: trouble.as_ref().map(Trouble::to_string) }
    }

    /// One bind as a user.
    pub async fn bind(&self, dn: &str, password: &Secret, deadline: Mono) -> Result<BindAnswer, NoAnswer> {
        let turn = self.binds.turn(deadline).await?;
        let controls = [Control { oid: PASSWORD_POLICY, criticality: Criticality::Optional, value: None }];
        let begun = now().mono;
        let result = loop {
            let time = self.time_left(deadline)?;
            let attempt = async {
                let (mut connection, age) = turn
                    .connection(&self.settings, &self.server, time)
                    .await
                    .map_err(|trouble| (trouble, Age::Fresh))?;
                match connection.bind(dn, password.expose(), &controls).await {
                    Ok(answer) => {
                        turn.keep(connection);
                        Ok(answer)
                    }
                    Err(trouble) => Err((trouble, age)),
                }
            };
            match tokio::time::timeout(time, attempt).await {
                Ok(Err((Trouble::Broken(_) | Trouble::Disconnected(_), Age::Kept))) => self.binds.clear(),
                Ok(result) => break result.map_err(|(trouble, _)| trouble),
                Err(_) => break Err(Trouble::TimedOut(time)),
            }
        };
        self.ended(Operation::Bind, begun, &result);
        if result.is_ok() {
            self.binds.learn(now().mono.since(begun));
        }
        Ok(result?)
    }

    /// One search by the service identity; at most `limit` entries are taken, more are trouble.
    pub async fn search(
        &self,
        search: &Search<'_>,
        limit: usize,
        deadline: Mono,
    ) -> Result<(Vec<Kept>, SearchEnd), NoAnswer> {
        let turn = self.searches.turn(deadline).await?;
        let begun = now().mono;
        let result = loop {
            let time = self.time_left(deadline)?;
            let attempt = async {
                let (mut connection, age) = turn
                    .connection(&self.settings, &self.server, time)
                    .await
                    .map_err(|trouble| (trouble, Age::Fresh))?;
                let mut entries = Vec::new();
                let end = connection.search(search, |entry| {
                    if entries.len() >= limit {
                        return Err(Trouble::TooMany);
                    }
                    entries.push(Kept::new(entry));
                    Ok(())
                });
                match end.await {
                    Ok(end) => {
                        turn.keep(connection);
                        Ok((entries, end))
                    }
                    Err(trouble) => Err((trouble, age)),
                }
            };
            match tokio::time::timeout(time, attempt).await {
                Ok(Err((Trouble::Broken(_) | Trouble::Disconnected(_), Age::Kept))) => self.searches.clear(),
                Ok(result) => break result.map_err(|(trouble, _)| trouble),
                Err(_) => break Err(Trouble::TimedOut(time)),
            }
        };
        self.ended(Operation::Search, begun, &result);
        if result.is_ok() {
            self.searches.learn(now().mono.since(begun));
        }
        Ok(result?)
    }

    /// One change by the service identity. Once anything of it was sent it is not sent again.
    pub async fn act(&self, act: &Act<'_>, deadline: Mono) -> Result<ActAnswer, NotActed> {
        let before = |trouble: Trouble| NotActed::Before(trouble.into());
        let turn = self.searches.turn(deadline).await.map_err(|late| NotActed::Before(late.into()))?;
        let begun = now().mono;
        let time = self.time_left(deadline).map_err(NotActed::Before)?;
        let opening = turn.connection(&self.settings, &self.server, time);
        let (mut connection, _) = match within(time, opening).await {
            Ok(open) => open,
            Err(trouble) => {
                self.ended(Operation::Write, begun, &Err::<(), _>(trouble.clone()));
                return Err(before(trouble));
            }
        };
        let time = self.time_left(deadline).map_err(NotActed::Before)?;
        let result = within(time, connection.act(act)).await;
        self.ended(Operation::Write, begun, &result);
        if result.is_ok() {
            turn.keep(connection);
        }
        result.map_err(NotActed::Unknown)
    }

    /// Reports why a request got no answer here, and gives what the pipeline is told if no other server has one.
    pub fn gave_up(&self, operation: Operation, why: NoAnswer, deadline: Mono) -> Unavailable {
        match why {
            NoAnswer::TooLate => Unavailable::TooLate,
            NoAnswer::Trouble(trouble) => {
                (self.events)(Event::Failed { server: Arc::clone(&self.url), operation, trouble });
                if deadline <= now().mono { Unavailable::TooLate } else { Unavailable::Unreachable }
            }
        }
    }

    /// A connection of its own, for reading or following everything.
    pub async fn connect(&self) -> Result<Connection, Trouble> {
        Connection::open(&self.settings, &self.server, Identity::Service, self.settings.timeout).await
    }

    /// Reports the end of an operation; one that failed makes the server doubtful until somebody has looked.
    pub fn ended<T>(&self, operation: Operation, begun: Mono, result: &Result<T, Trouble>) {
        let took = now().mono.since(begun);
        (self.events)(Event::Operation {
            server: Arc::clone(&self.url),
            operation,
            took,
            ended: Ended::of(result),
        });
        if result.is_err() {
            self.doubt();
        }
    }

    /// Has the server looked at now; until then others are asked first.
    pub fn doubt(&self) {
        let (up, doubtful) = (Health::Up as u8, Health::Doubtful as u8);
        let _ = self.health.compare_exchange(up, doubtful, Ordering::Relaxed, Ordering::Relaxed);
        self.nudge.notify_one();
    }

    /// Looks at the server for ever.
    pub async fn watch(&self) {
        let mut connection = None;
        let mut pause = BACK_OFF.0;
        loop {
            let begun = now().mono;
            let kept = connection.is_some();
            let mut result = self.probe(&mut connection).await;
            if result.is_err() && kept {
                // It may have hung up on this connection only, or have been restarted between two looks.
                result = self.probe(&mut connection).await;
            }
            let took = now().mono.since(begun);
            (self.events)(Event::Operation {
                server: Arc::clone(&self.url),
                operation: Operation::Probe,
                took,
                ended: Ended::of(&result),
            });
            match result {
                Ok(()) => {
                    self.found(Ok(()));
                    pause = BACK_OFF.0;
                    let _ = tokio::time::timeout(jittered(EVERY), self.nudge.notified()).await;
                }
                Err(trouble) => {
                    self.found(Err(trouble));
                    tokio::time::sleep(jittered(pause)).await;
                    pause = pause.saturating_mul(2).min(BACK_OFF.1);
                }
            }
        }
    }

    async fn probe(&self, connection: &mut Option<Connection>) -> Result<(), Trouble> {
        let time = PROBE_TIMEOUT.min(self.settings.timeout);
        let asking = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(&self.settings, &self.server, Identity::Service, time).await?,
            };
            // Whatever the result code: a server that answers is up.
            open.extended(WHO_AM_I).await?;
            *connection = Some(open);
            Ok(())
        };
        within(time, asking).await
    }

    fn found(&self, state: Result<(), Trouble>) {
        let health = if state.is_ok() { Health::Up } else { Health::Down } as u8;
        self.health.store(health, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = state.as_ref().err().cloned();
        if self.told.swap(health, Ordering::Relaxed) == health {
            return;
        }
        let server = Arc::clone(&self.url);
        match state {
            Ok(()) => (self.events)(Event::ServerUp { server }),
            Err(trouble) => {
                self.binds.clear();
                self.searches.clear();
                (self.events)(Event::ServerDown { server, trouble });
            }
        }
    }

    fn time_left(&self, deadline: Mono) -> Result<Duration, NoAnswer> {
        let left = deadline.since(now().mono);
        if left.is_zero() { Err(NoAnswer::TooLate) } else { Ok(left.min(self.settings.timeout)) }
    }
}

/// The servers to ask, best first; those that are down are left out.
pub fn worth_asking(links: &[Arc<Link>]) -> Vec<&Arc<Link>> {
    let mut order: Vec<(Health, &Arc<Link>)> = links.iter().map(|link| (link.health(), link)).collect();
    order.sort_by_key(|(health, _)| *health);
    order.into_iter().filter(|(health, _)| *health != Health::Down).map(|(_, link)| link).collect()
}

/// Between half of a pause and all of it, so that many daemons do not come back at the same moment.
pub fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 2];
    let _ = getrandom::fill(&mut random);
    pause.mul_f64(0.5 + f64::from(u16::from_le_bytes(random)) / 131_072.0)
}

impl From<TooLate> for NoAnswer {
    fn from(_: TooLate) -> NoAnswer {
        NoAnswer::TooLate
    }
}

impl From<Trouble> for NoAnswer {
    fn from(trouble: Trouble) -> NoAnswer {
        NoAnswer::Trouble(trouble)
    }
}
