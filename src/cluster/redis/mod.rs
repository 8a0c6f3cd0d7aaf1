//! Redis and Valkey: each kind of question is one script, so that each is atomic and one round trip.
//!
//! Two scripts never run at the same time in one server, and a script that has begun ends. What a server has
//! acknowledged it can still forget in a fail-over, whatever it is told: see `docs/reliability.md`.

mod asking;
mod reading;

use super::address::{Address, Host, Login, RedisAt, Tls};
use super::engine::{CONNECT, Engine, Fence, Link, Node, Settled, Stand, Step, Then, Trouble};
use super::form::{NoteKey, SlotKey, SlotValue};
use crate::secret::Secret;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, RedisConnectionInfo,
    RedisError, Script, TlsCertificates, TlsMode, Value,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const STANDING: &str = include_str!("standing.lua");
const HELLO: &str = include_str!("hello.lua");
const BEAT: &str = include_str!("beat.lua");
const SETTLE: &str = include_str!("settle.lua");

/// Redis or Valkey, alone or watched by sentinels.
pub struct Redis {
    at: Address,
    password: Option<Secret>,
    authorities: Option<Vec<u8>>,
    timeout: Duration,
    scripts: Arc<Scripts>,
}

struct Scripts {
    hello: Script,
    beat: Script,
    settle: Script,
}

/// One connection, with what tells this server process from any other.
struct Connection {
    redis: MultiplexedConnection,
    run: String,
    scripts: Arc<Scripts>,
}

impl Redis {
    /// The engine at an address that names Redis or sentinels.
    pub fn new(
        at: Address,
        password: Option<Secret>,
        authorities: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Redis {
        let script = |text: &str| Script::new(&[STANDING, text].concat());
        let scripts = Arc::new(Scripts { hello: script(HELLO), beat: script(BEAT), settle: script(SETTLE) });
        Redis { at, password, authorities, timeout, scripts }
    }

    fn password(&self) -> Option<&str> {
        self.password.as_ref().and_then(|password| std::str::from_utf8(password.expose()).ok())
    }

    fn certificates(&self) -> TlsCertificates {
        TlsCertificates { client_tls: None, root_cert: self.authorities.clone() }
    }

    async fn client(&self) -> Result<Client, RedisError> {
        match &self.at {
            Address::Redis(RedisAt { host, login }) => {
                let mut settings = RedisConnectionInfo::default().set_db(login.database.into());
                if let Some(user) = &login.user {
                    settings = settings.set_username(user);
                }
                if let Some(password) = self.password() {
                    settings = settings.set_password(password);
                }
                let at = addr(host, login.tls).into_connection_info()?.set_redis_settings(settings);
                match login.tls {
                    Tls::Yes => Client::build_with_tls(at, self.certificates()),
                    Tls::No => Client::open(at),
                }
            }
            Address::Sentinel { sentinels, service, login } => self.master(sentinels, service, login).await,
            Address::Postgres { .. } => Err((ErrorKind::InvalidClientConfig, "no Redis").into()),
        }
    }

    /// Asks the sentinels who is master now.
    async fn master(&self, sentinels: &[Host], service: &str, login: &Login) -> Result<Client, RedisError> {
        let addresses = sentinels.iter().map(|host| addr(host, login.tls));
        let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?
            .set_client_to_redis_db(login.database.into());
        if login.tls == Tls::Yes {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(self.certificates())
                .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_certificates(self.certificates());
        }
        if let Some(user) = &login.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = self.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        let client = builder.build()?.async_get_client().await?;
        // The URL was judged by its sentinels; where they send us may be elsewhere.
        if let (Tls::No, ConnectionAddr::Tcp(name, port)) = (login.tls, client.get_connection_info().addr())
            && !(Host { name: name.clone(), port: *port }).is_loopback()
        {
            let why = "the sentinels name a master that is not on loopback; use rediss+sentinel://";
            return Err((ErrorKind::InvalidClientConfig, why).into());
        }
        Ok(client)
    }

    async fn open(&self) -> Result<Connection, Trouble> {
        let client = self.client().await.map_err(trouble)?;
        // The deadlines of single questions are ours; this one only ends what nobody waits for any more.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let mut redis =
            client.get_multiplexed_async_connection_with_config(&config).await.map_err(trouble)?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut redis).await.map_err(trouble)?;
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).ok_or(Trouble::Unclear)?;
        Ok(Connection { redis, run: run.trim().to_owned(), scripts: Arc::clone(&self.scripts) })
    }
}

impl Engine for Redis {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Link>, Trouble>> {
        async {
            let opened = tokio::time::timeout(CONNECT, self.open()).await;
            let connection = opened.map_err(|_| Trouble::TooLate)??;
            Ok(Box::new(connection) as Box<dyn Link>)
        }
        .boxed()
    }

    /// One is being answered while the next is sent.
    fn batches(&self) -> usize {
        4
    }
}

impl Connection {
    async fn say(&self, script: &Script, node: &Node, wrote: &[u8]) -> Result<Stand, Trouble> {
        let mut redis = self.redis.clone();
        let mut call = script.prepare_invoke();
        call.arg(node.name.as_bytes())
            .arg(reading::milliseconds(node.clock))
            .arg(node.alone.as_bytes())
            .arg(reading::whole_milliseconds(node.lease))
            .arg(self.run.as_bytes())
            .arg(wrote)
            .arg(reading::milliseconds(node.answered))
            .arg(node.nodes.join(" "))
            .arg(u8::from(node.has_marks));
        let said: Value = call.invoke_async(&mut redis).await.map_err(trouble)?;
        reading::stand(said)
    }
}

impl Link for Connection {
    fn hello<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<Stand, Trouble>> {
        self.say(&self.scripts.hello, node, b"").boxed()
    }

    fn beat<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<Stand, Trouble>> {
        self.say(&self.scripts.beat, node, b"").boxed()
    }

    fn written<'a>(&'a self, node: &'a Node) -> BoxFuture<'a, Result<Stand, Trouble>> {
        self.say(&self.scripts.beat, node, b"1").boxed()
    }

    fn settle<'a>(
        &'a self,
        node: &'a Node,
        fence: Fence,
        steps: &'a [Step],
    ) -> BoxFuture<'a, Result<Vec<Settled>, Trouble>> {
        async move {
            let mut redis = self.redis.clone();
            let mut call = self.scripts.settle.prepare_invoke();
            asking::settle(&mut call, node, fence, steps);
            let said: Value = call.invoke_async(&mut redis).await.map_err(trouble)?;
            reading::settled(said, steps)
        }
        .boxed()
    }

    fn look<'a>(&'a self, slots: &'a [SlotKey]) -> BoxFuture<'a, Result<Vec<Option<SlotValue>>, Trouble>> {
        async move {
            if slots.is_empty() {
                return Ok(Vec::new());
            }
            let mut question = redis::cmd("MGET");
            for slot in slots {
                question.arg(&asking::in_full(&slot.0));
            }
            let said: Value = question.query_async(&mut self.redis.clone()).await.map_err(trouble)?;
            reading::values(said, slots.len())
        }
        .boxed()
    }

    fn note<'a>(&'a self, key: &'a NoteKey, then: Then) -> BoxFuture<'a, Result<Option<Vec<u8>>, Trouble>> {
        async move {
            let verb = if then == Then::Take { "GETDEL" } else { "GET" };
            let mut question = redis::cmd(verb);
            question.arg(&asking::in_full(&key.0));
            question.query_async(&mut self.redis.clone()).await.map_err(trouble)
        }
        .boxed()
    }

    fn pins(&self) -> BoxFuture<'_, Result<Vec<IpAddr>, Trouble>> {
        async {
            let mut question = redis::cmd("SMEMBERS");
            question.arg(b"sekisho:pins");
            let said: Vec<String> = question.query_async(&mut self.redis.clone()).await.map_err(trouble)?;
            Ok(said.iter().filter_map(|pin| pin.parse().ok()).collect())
        }
        .boxed()
    }
}

fn addr(host: &Host, tls: Tls) -> ConnectionAddr {
    match tls {
        Tls::No => ConnectionAddr::Tcp(host.name.clone(), host.port),
        Tls::Yes => ConnectionAddr::TcpTls {
            host: host.name.clone(),
            port: host.port,
            insecure: false,
            tls_params: None,
        },
    }
}

fn trouble(error: RedisError) -> Trouble {
    if error.is_timeout() {
        Trouble::TooLate
    } else if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() {
        Trouble::Unreachable(error.to_string())
    } else {
        Trouble::Refused(error.to_string())
    }
}
