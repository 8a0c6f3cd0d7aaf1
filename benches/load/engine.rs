//! The engine that nodes share, started for one daemon: what agreeing costs on one machine.

use crate::postgres::{DATABASE, Postgres, USER};
use crate::redis::Redis;

/// A running engine; every write is on its disk before it is answered.
pub enum Engine {
    Redis(Redis),
    Postgres(Postgres),
}

impl Engine {
    pub fn start(name: &str) -> Engine {
        if name == "redis" { Engine::Redis(Redis::start()) } else { Engine::Postgres(Postgres::start()) }
    }

    /// The keys of `[state]` for it.
    pub fn keys(&self) -> String {
        let url = match self {
            Engine::Redis(redis) => format!("redis://127.0.0.1:{}", redis.port()),
            Engine::Postgres(postgres) => {
                format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}", postgres.port())
            }
        };
        format!("cluster = \"{url}\"\nnode = \"load\"\ncluster-key-file = \"cluster.key\"\n")
    }
}
