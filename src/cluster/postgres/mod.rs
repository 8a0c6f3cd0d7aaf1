//! PostgreSQL: functions in a schema of our own, so that each question is one round trip and one transaction.
//!
//! What it has committed it keeps, as far as the server was told to keep it: on its disk, and on a synchronous standby
//! before it answers. The session insists on the first; the second is the administrator's.

mod round;
mod tls;

use super::address::{Address, Host, Tls};
use super::engine::{CONNECT, Engine, Fence, Link, Node, Settled, Stand, Step, Term, Then, Trouble};
use super::form::{NoteKey, SlotKey, SlotValue};
use crate::clock::Wall;
use crate::secret::Secret;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use round::Round;
use std::net::IpAddr;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, Row, Statement};

const SCHEMA: &str = include_str!("schema.sql");

/// What the schema says of its own form, and what this version makes.
const FORM: &str = "select obj_description(to_regnamespace('sekisho')::oid, 'pg_namespace')";
const FORM_NOW: &str = "sekisho 4";

/// Held while the schema is made: nodes that start together do not make it twice.
const LOCK: &str = "select pg_advisory_xact_lock(7165484)";

/// What each session needs: plans that stay right while the tables grow, nothing compiled for statements of a
/// millisecond, and commits that are on disk.
const PREPARE: &str = "set enable_seqscan = off; set jit = off; \
    select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') in ('off', 'local'); \
    set client_min_messages = warning";

/// What tells this history of the database from any other: the cluster of files, and the timeline since the last
/// promotion.
const HISTORY: &str = "select current_database() || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8)";

/// A PostgreSQL database.
pub struct Postgres {
    config: Config,
    tls: tls::Connector,
}

/// One connection, with what it asks prepared.
struct Connection {
    client: Client,
    run: String,
    statements: Statements,
    _mover: Mover,
}

/// Moves octets for a client, and ends with it, whatever the server does.
struct Mover(JoinHandle<()>);

impl Drop for Mover {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Statements {
    hello: Statement,
    beat: Statement,
    settle: Statement,
    look: Statement,
    note: Statement,
    take: Statement,
    pins: Statement,
}

impl Postgres {
    /// The engine at an address that names PostgreSQL.
    ///
    /// # Errors
    /// If TLS cannot be set up with these authorities.
    pub fn new(
        at: &Address,
        password: Option<&Secret>,
        authorities: Option<&[u8]>,
    ) -> Result<Postgres, Trouble> {
        let Address::Postgres { hosts, database, user, tls } = at else { return Err(Trouble::Unclear) };
        let mut config = Config::new();
        for Host { name, port } in hosts {
            config.host(name).port(*port);
        }
        config
            .dbname(database)
            .user(user)
            .application_name("sekisho")
            .connect_timeout(CONNECT)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .ssl_mode(if *tls == Tls::Yes { SslMode::Require } else { SslMode::Disable });
        if let Some(password) = password {
            config.password(password.expose());
        }
        Ok(Postgres { config, tls: tls::Connector::new(*tls, authorities)? })
    }

    async fn open(&self) -> Result<Connection, Trouble> {
        let (client, connection) = self.config.connect(self.tls.clone()).await.map_err(trouble)?;
        // Its end shows in the client's next question.
        let mover = Mover(tokio::spawn(async move { drop(connection.await) }));
        client.batch_execute(PREPARE).await.map_err(trouble)?;
        let form: Option<String> =
            client.query_one(FORM, &[]).await.and_then(|row| row.try_get(0)).map_err(trouble)?;
        if form.as_deref() != Some(FORM_NOW) {
            client.batch_execute(&format!("begin; {LOCK}; {SCHEMA}; commit")).await.map_err(trouble)?;
        }
        let run: String =
            client.query_one(HISTORY, &[]).await.and_then(|row| row.try_get(0)).map_err(trouble)?;
        let statements = Statements::prepare(&client).await.map_err(trouble)?;
        Ok(Connection { client, run, statements, _mover: mover })
    }
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Statements, Error> {
        Ok(Statements {
            hello: client.prepare("select * from sekisho.hello($1, $2, $3, $4, $5, $6)").await?,
            beat: client.prepare("select * from sekisho.beat($1, $2, $3, $4, $5, $6, $7)").await?,
            settle: client
                .prepare(
                    "select * from sekisho.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
                     $15, $16, $17)",
                )
                .await?,
            look: client
                .prepare(
                    "select s.value from unnest($1::bytea[]) with ordinality as u (key, place) \
                     left join sekisho.slot s on s.key = u.key order by u.place",
                )
                .await?,
            note: client
                .prepare("select value from sekisho.note where key = $1 and ends > sekisho.moment()")
                .await?,
            take: client
                .prepare(
                    "delete from sekisho.note where key = $1 returning value, ends > sekisho.moment() as live",
                )
                .await?,
            pins: client.prepare("select source from sekisho.pin").await?,
        })
    }
}

impl Engine for Postgres {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Link>, Trouble>> {
        async {
            let opened = tokio::time::timeout(CONNECT, self.open()).await;
            let connection = opened.map_err(|_| Trouble::TooLate)??;
            Ok(Box::new(connection) as Box<dyn Link>)
        }
        .boxed()
    }

    /// Batches exclude each other there: a second one would only make both smaller, and each costs a commit.
    fn batches(&self) -> usize {
        1
    }
}

impl Connection {
    async fn beat_with(&self, node: &Node, wrote: bool) -> Result<Stand, Trouble> {
        let (name, alone) = (&*node.name, &*node.alone);
        let (wall, lease) = (milliseconds(node.clock.since(Wall::default())), milliseconds(node.lease));
        let answered = milliseconds(node.answered.since(Wall::default()));
        let asked: [&(dyn ToSql + Sync); 7] = [&name, &wall, &alone, &lease, &self.run, &wrote, &answered];
        let row = self.client.query_one(&self.statements.beat, &asked).await.map_err(trouble)?;
        stand(&row)
    }
}

impl Link for Connection {
    fn hello<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<Stand, Trouble>> {
        async move {
            let (name, alone) = (&*node.name, &*node.alone);
            let wall = milliseconds(node.clock.since(Wall::default()));
            let asked: [&(dyn ToSql + Sync); 6] =
                [&name, &wall, &alone, &self.run, &node.nodes, &node.has_marks];
            let row = self.client.query_one(&self.statements.hello, &asked).await.map_err(trouble)?;
            stand(&row)
        }
        .boxed()
    }

    /// Its commit waits for disk and standby like any other: a server that cannot commit is not there.
    fn beat<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<Stand, Trouble>> {
        self.beat_with(node, false).boxed()
    }

    fn written<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<Stand, Trouble>> {
        self.beat_with(node, true).boxed()
    }

    fn settle<'a>(
        &'a self,
        node: &'a Node,
        fence: Fence,
        steps: &'a [Step],
    ) -> BoxFuture<'a, Result<Vec<Settled>, Trouble>> {
        async move {
            let term = match fence {
                Fence::Term(Term(term)) => Some(i64::try_from(term).unwrap_or(i64::MAX)),
                Fence::WritingBack => None,
            };
            let mut settled: Vec<Option<Settled>> = steps.iter().map(|_| None).collect();
            for round in Round::all(steps) {
                let asked = round.arguments(&term, &node.alone);
                let asked: Vec<&(dyn ToSql + Sync)> =
                    asked.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
                let rows = self.client.query(&self.statements.settle, &asked).await.map_err(trouble)?;
                round.read(&rows, &mut settled)?;
            }
            settled.into_iter().collect::<Option<Vec<_>>>().ok_or(Trouble::Unclear)
        }
        .boxed()
    }

    fn look<'a>(&'a self, slots: &'a [SlotKey]) -> BoxFuture<'a, Result<Vec<Option<SlotValue>>, Trouble>> {
        async move {
            let keys: Vec<&[u8]> = slots.iter().map(|slot| &slot.0[..]).collect();
            let rows = self.client.query(&self.statements.look, &[&keys]).await.map_err(trouble)?;
            let values = rows.iter().map(|row| {
                let value: Option<&[u8]> = row.try_get(0).map_err(trouble)?;
                value.map(SlotValue::try_from).transpose().map_err(|_| Trouble::Unclear)
            });
            let values: Vec<_> = values.collect::<Result<_, _>>()?;
            if values.len() == slots.len() { Ok(values) } else { Err(Trouble::Unclear) }
        }
        .boxed()
    }

    fn note<'a>(&'a self, key: &'a NoteKey, then: Then) -> BoxFuture<'a, Result<Option<Vec<u8>>, Trouble>> {
        async move {
            let key = &key.0[..];
            let statement = if then == Then::Take { &self.statements.take } else { &self.statements.note };
            let row = self.client.query_opt(statement, &[&key]).await.map_err(trouble)?;
            let Some(row) = row else { return Ok(None) };
            let live = then == Then::Keep || row.try_get(1).map_err(trouble)?;
            if live { row.try_get(0).map(Some).map_err(trouble) } else { Ok(None) }
        }
        .boxed()
    }

    fn pins(&self) -> BoxFuture<'_, Result<Vec<IpAddr>, Trouble>> {
        async {
            let rows = self.client.query(&self.statements.pins, &[]).await.map_err(trouble)?;
            let pins = rows.iter().filter_map(|row| row.try_get::<_, &str>(0).ok()?.parse().ok());
            Ok(pins.collect())
        }
        .boxed()
    }
}

fn stand(row: &Row) -> Result<Stand, Trouble> {
    let word: &str = row.try_get(0).map_err(trouble)?;
    if let Some(name) = word.strip_prefix("differs ") {
        return Err(Trouble::Differs(name.to_owned()));
    }
    if word != "ok" {
        return Err(Trouble::Forgotten);
    }
    let number = |at: usize| -> Result<u64, Trouble> {
        let number: i64 = row.try_get(at).map_err(trouble)?;
        u64::try_from(number).map_err(|_| Trouble::Unclear)
    };
    let flag = |at: usize| row.try_get::<_, bool>(at).map_err(trouble);
    let wall = |at: usize| Ok(Wall::default().plus(Duration::from_millis(number(at)?)));
    Ok(Stand {
        term: Term(number(1)?),
        written: flag(2)?,
        complete: flag(3)?,
        lease: flag(4)?,
        since: wall(5)?,
        ahead: Duration::from_millis(number(6)?),
        clock: wall(7)?,
        pins: number(8)?,
        unsure: wall(9)?,
        nodes: row.try_get::<_, Option<Vec<String>>>(10).map_err(trouble)?.unwrap_or_default(),
    })
}

fn milliseconds(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

fn trouble(error: Error) -> Trouble {
    match error.as_db_error() {
        // Its words name no value of ours.
        Some(refusal) => Trouble::Refused(format!("{} ({})", refusal.message(), refusal.code().code())),
        None => Trouble::Unreachable(chain(&error)),
    }
}

/// An error with its causes: the outer one alone says only that something went wrong.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
