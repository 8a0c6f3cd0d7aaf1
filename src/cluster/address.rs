//! Where the engine is: one URL, checked before anything connects.

use std::net::IpAddr;

/// An engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// One Redis or Valkey server.
    Redis(RedisAt),
    /// The master of a Redis or Valkey set that sentinels watch.
    Sentinel {
        /// The sentinels, asked in order.
        sentinels: Vec<Host>,
        /// What they call the set.
        service: String,
        /// Database and user of the servers, and whether both they and the sentinels speak TLS.
        login: Login,
    },
    /// A PostgreSQL database.
    Postgres {
        /// The servers of it; the one that takes writes is used.
        hosts: Vec<Host>,
        /// Its name.
        database: String,
        /// The role.
        user: String,
        /// Whether the connection is protected.
        tls: Tls,
    },
}

/// A Redis or Valkey server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisAt {
    /// The server.
    pub host: Host,
    /// How to log in.
    pub login: Login,
}

/// How to log in to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The ACL user, if one is named.
    pub user: Option<String>,
    /// The number of the database.
    pub database: u16,
    /// Whether the connection is protected.
    pub tls: Tls,
}

/// A name or address with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name or address, without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// Whether the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS, with the server's certificate checked.
    Yes,
    /// Nothing: for loopback.
    No,
}

/// Why a URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Another scheme, or none.
    #[error(
        "write redis://, rediss:// (TLS), redis+sentinel://, rediss+sentinel:// or postgres://, then the host"
    )]
    Scheme,
    /// A password in the URL.
    #[error(
        "a password in the URL is for loopback only; use cluster-password-file or cluster-password-credential"
    )]
    Password,
    /// No host, or one that cannot be.
    #[error("there is no usable host in it; write host, host:port or [IPv6]:port")]
    Host,
    /// The path is not what the scheme wants.
    #[error("{0}")]
    Path(&'static str),
    /// Clear text over a network.
    #[error("everything would cross the network in clear; use {0}, or an engine on loopback")]
    Cleartext(&'static str),
    /// Something behind the path that we do not know.
    #[error("{0:?} is not known; PostgreSQL knows ?sslmode=require (the certificate is always checked)")]
    Option(String),
}

impl Address {
    /// Reads a URL, and the password that it may carry on loopback.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<(Address, Option<String>), Problem> {
        let (scheme, rest) = url.split_once("://").ok_or(Problem::Scheme)?;
        let (rest, options) = rest.split_once('?').map_or((rest, None), |(rest, after)| (rest, Some(after)));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) =
            authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
        let (user, password) =
            login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        let (user, password) = (decoded(user), password.map(decoded));
        let standard = match scheme {
            "redis" | "rediss" => 6379,
            "redis+sentinel" | "rediss+sentinel" => 26379,
            "postgres" | "postgresql" => 5432,
            _ => return Err(Problem::Scheme),
        };
        let hosts: Vec<Host> = hosts
            .split(',')
            .map(|host| Host::parse(host, standard))
            .collect::<Option<_>>()
            .ok_or(Problem::Host)?;
        let loopback = hosts.iter().all(Host::is_loopback);
        if password.is_some() && !loopback {
            return Err(Problem::Password);
        }
        let mut tls = if scheme.starts_with("rediss") { Tls::Yes } else { Tls::No };
        let postgres = scheme.starts_with("postgres");
        if postgres {
            tls = if loopback { Tls::No } else { Tls::Yes };
            match options {
                None => {}
                Some("sslmode=require" | "sslmode=verify-full") => tls = Tls::Yes,
                Some("sslmode=disable") => tls = Tls::No,
                Some(other) => return Err(Problem::Option(other.to_owned())),
            }
        } else if let Some(option) = options {
            return Err(Problem::Option(option.to_owned()));
        }
        if tls == Tls::No && !loopback {
            return Err(Problem::Cleartext(match scheme {
                "redis" => "rediss://",
                "redis+sentinel" => "rediss+sentinel://",
                _ => "sslmode=require",
            }));
        }
        let address = match scheme {
            "redis" | "rediss" => {
                let [host] = <[Host; 1]>::try_from(hosts).map_err(|_| Problem::Host)?;
                Address::Redis(RedisAt { host, login: Login::new(user, path, tls)? })
            }
            "redis+sentinel" | "rediss+sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err(Problem::Path(
                        "write the name that the sentinels give the set behind the hosts, such as /mymaster",
                    ));
                }
                let login = Login::new(user, database, tls)?;
                Address::Sentinel { sentinels: hosts, service: service.to_owned(), login }
            }
            _ => {
                let wanted = "write the database behind the host, such as /sekisho";
                if path.is_empty() || path.contains('/') {
                    return Err(Problem::Path(wanted));
                }
                let user = if user.is_empty() { "sekisho".to_owned() } else { user };
                Address::Postgres { hosts, database: decoded(path), user, tls }
            }
        };
        Ok((address, password))
    }

    /// The engine's name in metrics.
    pub fn engine(&self) -> &'static str {
        match self {
            Address::Redis(_) | Address::Sentinel { .. } => "redis",
            Address::Postgres { .. } => "postgres",
        }
    }

    /// Whether the connection is protected.
    pub fn tls(&self) -> Tls {
        match self {
            Address::Redis(at) => at.login.tls,
            Address::Sentinel { login, .. } => login.tls,
            Address::Postgres { tls, .. } => *tls,
        }
    }

    /// Whether nothing leaves this machine.
    pub fn is_loopback(&self) -> bool {
        match self {
            Address::Redis(at) => at.host.is_loopback(),
            Address::Sentinel { sentinels, .. } => sentinels.iter().all(Host::is_loopback),
            Address::Postgres { hosts, .. } => hosts.iter().all(Host::is_loopback),
        }
    }
}

impl Login {
    fn new(user: String, database: &str, tls: Tls) -> Result<Login, Problem> {
        let database = match database {
            "" => 0,
            number => {
                number.parse().map_err(|_| Problem::Path("write the number of the database, such as /0"))?
            }
        };
        Ok(Login { user: Some(user).filter(|user| !user.is_empty()), database, tls })
    }
}

impl Host {
    fn parse(text: &str, standard: u16) -> Option<Host> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']')?;
                name.parse::<IpAddr>().ok()?;
                (name, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")))
            }
            None => text.split_once(':').map_or((text, Some("")), |(name, port)| (name, Some(port))),
        };
        let port = match port? {
            "" => standard,
            port => port.parse().ok().filter(|&port| port > 0)?,
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        (!name.is_empty() && name.bytes().all(plain)).then(|| Host { name: name.to_owned(), port })
    }

    /// Whether it can only be this machine.
    pub fn is_loopback(&self) -> bool {
        self.name == "localhost" || self.name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Undoes the percent signs of a URL; what is no escape stays as it is.
fn decoded(text: &str) -> String {
    let (mut octets, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let escaped =
            (first == b'%').then(|| after.split_at_checked(2)).flatten().and_then(|(hex, after)| {
                Some((u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?, after))
            });
        let (octet, after) = escaped.unwrap_or((first, after));
        octets.push(octet);
        rest = after;
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.into(), port }
    }

    #[test]
    fn every_kind_of_address_reads() {
        let (address, password) = Address::parse("redis://127.0.0.1").unwrap();
        let login = Login { user: None, database: 0, tls: Tls::No };
        assert_eq!(address, Address::Redis(RedisAt { host: host("127.0.0.1", 6379), login: login.clone() }));
        assert_eq!(password, None);

        let (address, _) = Address::parse("rediss://node@redis.example.jp:7000/3").unwrap();
        let login = Login { user: Some("node".into()), database: 3, tls: Tls::Yes };
        assert_eq!(address, Address::Redis(RedisAt { host: host("redis.example.jp", 7000), login }));

        let (address, _) = Address::parse("rediss+sentinel://s1,[2001:db8::1]:99/bank/2").unwrap();
        let login = Login { user: None, database: 2, tls: Tls::Yes };
        let sentinels = vec![host("s1", 26379), host("2001:db8::1", 99)];
        assert_eq!(address, Address::Sentinel { sentinels, service: "bank".into(), login });

        let (address, password) = Address::parse("postgres://u%20s:p%40w@[::1]:5433/otp").unwrap();
        let hosts = vec![host("::1", 5433)];
        assert_eq!(
            address,
            Address::Postgres { hosts, database: "otp".into(), user: "u s".into(), tls: Tls::No }
        );
        assert_eq!(password.as_deref(), Some("p@w"));

        let (address, _) = Address::parse("postgres://db1.example.jp,db2.example.jp/otp").unwrap();
        assert_eq!((address.tls(), address.is_loopback(), address.engine()), (Tls::Yes, false, "postgres"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        for (url, problem) in [
            ("127.0.0.1:6379", Problem::Scheme),
            ("etcd://127.0.0.1", Problem::Scheme),
            ("rediss://:secret@redis.example.jp", Problem::Password),
            ("redis://", Problem::Host),
            ("redis://127.0.0.1,127.0.0.2", Problem::Host),
            ("redis://127.0.0.1:0", Problem::Host),
            ("redis://redis.example.jp", Problem::Cleartext("rediss://")),
            ("redis+sentinel://s1/bank", Problem::Cleartext("rediss+sentinel://")),
            ("postgres://db/otp?sslmode=disable", Problem::Cleartext("sslmode=require")),
            ("postgres://127.0.0.1/otp?x=1", Problem::Option("x=1".into())),
        ] {
            assert_eq!(Address::parse(url), Err(problem), "{url}");
        }
        for url in ["redis://127.0.0.1/x", "redis+sentinel://127.0.0.1", "postgres://127.0.0.1"] {
            assert!(matches!(Address::parse(url), Err(Problem::Path(_))), "{url}");
        }
    }
}
