//! Who may ask: RADIUS clients by address, with what each of them is trusted and asked.

use super::encoding::PasswordEncoding;
use super::profile::Profile;
use crate::clock::Mono;
use crate::identity::{ClientName, UserName};
use crate::radius::{Secrets, SignaturePolicy};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A gateway, VPN or bank front end that asks.
#[derive(Debug)]
pub struct Client {
    /// Its name in configuration.
    pub name: ClientName,
    /// Its place in tables of counters and shares; [`Clients::new`] gives it.
    pub number: u16,
    /// Where its requests come from.
    pub networks: Vec<IpNet>,
    /// What its users are asked.
    pub profile: Arc<Profile>,
    /// The shared secrets.
    pub secrets: Secrets,
    /// Which requests must be signed.
    pub signature: SignaturePolicy,
    /// How it writes passwords.
    pub encoding: PasswordEncoding,
    /// How long it waits.
    pub patience: Patience,
    /// How it writes user names.
    pub user_name: UserNameForm,
    /// How many of its requests may be in flight, so that one client does not take every place.
    pub in_flight_max: u32,
    /// For how long an accepted login that is asked for again in a new packet gets its answer again, once; zero for
    /// never.
    pub lost_answer_grace: Duration,
}

impl Client {
    /// The default of [`Client::in_flight_max`]: two Identifier spaces, more than one socket of a gateway can fill.
    pub const IN_FLIGHT_MAX: u32 = 512;
}

/// How long a client waits for a reply and how often it asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    timeout: Duration,
    retries: u8,
}

impl Patience {
    /// 1 to 60 s, and at most 10 repetitions.
    ///
    /// # Errors
    /// [`PatienceProblem`] outside of that.
    pub fn new(timeout: Duration, retries: u64) -> Result<Patience, PatienceProblem> {
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&timeout) {
            return Err(PatienceProblem::Timeout);
        }
        let retries = u8::try_from(retries).ok().filter(|&n| n <= 10).ok_or(PatienceProblem::Retries)?;
        Ok(Patience { timeout, retries })
    }

    /// How long it waits before it asks again.
    pub const fn timeout(self) -> Duration {
        self.timeout
    }

    /// When the reply to a request must have left: a tenth before the client would ask again, for the way there and
    /// back. What is not judged by then is dropped and a repetition is judged anew, so that also a client that repeats
    /// itself under a new Identifier never finds its own code used up.
    pub fn deadline(self, received: Mono) -> Mono {
        received.plus(self.timeout / 10 * 9)
    }

    /// How long after the first sending the last repetition may still come, and the reply to it be of use: how long
    /// replies must be remembered.
    pub fn whole(self) -> Duration {
        self.timeout * (u32::from(self.retries) + 1)
    }
}

impl Default for Patience {
    /// 5 s and 2 repetitions, as most gateways.
    fn default() -> Patience {
        Patience { timeout: Duration::from_secs(5), retries: 2 }
    }
}

/// A patience that no client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatienceProblem {
    /// Too short or too long.
    #[error("the client's timeout must be 1 to 60 seconds")]
    Timeout,
    /// Too often.
    #[error("the client's retries must be 0 to 10")]
    Retries,
}

/// How a client writes user names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UserNameForm {
    /// As the directory knows them.
    #[default]
    AsSent,
    /// With a realm that the directory does not know: `user@realm` (RFC 7542) or `DOMAIN\user`.
    StripRealm,
}

impl UserNameForm {
    /// The name as the directory knows it. A name of which nothing would be left stays as it is.
    pub fn apply(self, name: UserName) -> UserName {
        match self {
            UserNameForm::AsSent => name,
            UserNameForm::StripRealm => {
                let octets = name.octets();
                let (user, _) = split_at_last(octets, b'@').unwrap_or((octets, &[]));
                let user = user.splitn(2, |&octet| octet == b'\\').last().unwrap_or(user);
                UserName::new(user).unwrap_or(name)
            }
        }
    }
}

fn split_at_last(octets: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    octets.split_at_checked(octets.iter().rposition(|&octet| octet == mark)?)
}

/// All clients, found by source address: the longest prefix wins. IPv4 addresses that an IPv6 socket reports as
/// `::ffff:a.b.c.d` are the IPv4 addresses they are.
#[derive(Default)]
pub struct Clients {
    all: Vec<Arc<Client>>,
    v4: PrefixMap<Ipv4Net, Arc<Client>>,
    v6: PrefixMap<Ipv6Net, Arc<Client>>,
}

impl Clients {
    /// Numbers the clients in the order given and makes them ready for lookup.
    ///
    /// # Errors
    /// Everything that is wrong with them together, not only the first.
    pub fn new(clients: Vec<Client>) -> Result<Clients, Vec<ClientsProblem>> {
        let (mut found, mut problems) = (Clients::default(), Vec::new());
        let mut names = HashSet::new();
        for (number, mut client) in clients.into_iter().enumerate() {
            let Ok(number) = u16::try_from(number) else {
                problems.push(ClientsProblem::TooMany);
                break;
            };
            client.number = number;
            let client = Arc::new(client);
            let name = || client.name.clone();
            if !names.insert(name()) {
                problems.push(ClientsProblem::NameRepeated { name: name() });
            }
            if client.networks.is_empty() {
                problems.push(ClientsProblem::NoNetwork { name: name() });
            }
            if client.profile.reject_delay.duration() >= client.patience.timeout {
                problems.push(ClientsProblem::RejectTooLate { name: name() });
            }
            for &network in &client.networks {
                let other = match canonical(network) {
                    IpNet::V4(network) => found.v4.insert(network, client.clone()),
                    IpNet::V6(network) => found.v6.insert(network, client.clone()),
                };
                if let Some(other) = other {
                    let first = other.name.clone();
                    problems.push(ClientsProblem::NetworkRepeated { network, first, second: name() });
                }
            }
            found.all.push(client);
        }
        if problems.is_empty() { Ok(found) } else { Err(problems) }
    }

    /// The client at an address; `None` for a stranger, who gets no answer.
    pub fn find(&self, address: IpAddr) -> Option<&Arc<Client>> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.get_lpm(&address.into()).map(|(_, client)| client),
            IpAddr::V6(address) => self.v6.get_lpm(&address.into()).map(|(_, client)| client),
        }
    }

    /// The client with a name, for people who ask about it.
    pub fn named(&self, name: &str) -> Option<&Arc<Client>> {
        self.all.iter().find(|client| client.name.as_str() == name)
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Client>> {
        self.all.iter()
    }
}

/// Clients that cannot stand beside each other, or can never be served: the fault of whoever configured them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientsProblem {
    /// Two clients of one name.
    #[error("two clients are named {name}; logs and metrics could not tell them apart")]
    NameRepeated {
        /// The name.
        name: ClientName,
    },
    /// Two clients at one network, or one twice.
    #[error("network {network} belongs to {first} and to {second}; give it to one of them, once")]
    NetworkRepeated {
        /// The network as written.
        network: IpNet,
        /// Who has it first.
        first: ClientName,
        /// Who has it again.
        second: ClientName,
    },
    /// More than there are numbers.
    #[error(
        "there may be at most 65536 clients; join those that share a secret into one with several networks"
    )]
    TooMany,
    /// A client that comes from nowhere.
    #[error("client {name} has no network")]
    NoNetwork {
        /// The client.
        name: ClientName,
    },
    /// Rejects would leave when the client no longer waits for them.
    #[error(
        "the reject delay of client {name}'s service is not below the client's timeout; lower it or raise the timeout"
    )]
    RejectTooLate {
        /// The client.
        name: ClientName,
    },
}

/// The network without host bits, and as IPv4 if it lies in `::ffff:0:0/96`.
fn canonical(network: IpNet) -> IpNet {
    match network.trunc() {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
            .addr()
            .to_ipv4_mapped()
            .and_then(|v4| Ipv4Net::new(v4, v6.prefix_len().saturating_sub(96)).ok())
            .map_or(IpNet::V6(v6), IpNet::V4),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ServiceName;
    use crate::radius::SharedSecret;
    use crate::secret::Secret;

    fn client(name: &str, networks: &[&str]) -> Client {
        Client {
            name: ClientName::new(name),
            number: 0,
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            profile: Arc::new(Profile::new(ServiceName::new("p"))),
            secrets: Secrets { current: SharedSecret::new(Secret::new(*b"secret")).unwrap(), next: None },
            signature: SignaturePolicy::default(),
            encoding: PasswordEncoding::default(),
            patience: Patience::default(),
            user_name: UserNameForm::AsSent,
            in_flight_max: Client::IN_FLIGHT_MAX,
            lost_answer_grace: Duration::ZERO,
        }
    }

    #[test]
    fn the_longest_prefix_wins_in_both_families() {
        let clients = Clients::new(vec![
            client("all", &["0.0.0.0/0"]),
            client("net", &["192.0.2.0/24", "2001:db8::/32"]),
            client("host", &["192.0.2.10/32", "2001:db8::10/128", "::ffff:198.51.100.7/128"]),
        ])
        .unwrap();
        for (address, name) in [
            ("192.0.2.10", Some("host")),
            ("::ffff:192.0.2.10", Some("host")),
            ("192.0.2.11", Some("net")),
            ("198.51.100.7", Some("host")),
            ("198.51.100.8", Some("all")),
            ("2001:db8::10", Some("host")),
            ("2001:db8::11", Some("net")),
            ("2001:db9::1", None),
            ("::1", None),
        ] {
            let found = clients.find(address.parse().unwrap()).map(|client| client.name.as_str());
            assert_eq!(found, name, "{address}");
        }
        let numbers: Vec<_> = clients.iter().map(|client| (client.number, client.name.as_str())).collect();
        assert_eq!(numbers, [(0, "all"), (1, "net"), (2, "host")]);
        assert_eq!(clients.named("net").map(|client| client.number), Some(1));
    }

    #[test]
    fn clients_that_collide_are_all_named() {
        let mut slow = client("slow", &["192.0.2.1/32"]);
        slow.patience = Patience::new(Duration::from_secs(1), 0).unwrap();
        let problems = Clients::new(vec![
            client("a", &["192.0.2.0/24"]),
            client("b", &["192.0.2.9/24"]),
            client("c", &["::ffff:192.0.2.0/120"]),
            client("a", &["10.0.0.0/8"]),
            client("none", &[]),
            slow,
        ])
        .err()
        .unwrap();
        let name = ClientName::new;
        let network = |text: &str| text.parse().unwrap();
        assert_eq!(
            problems,
            [
                ClientsProblem::NetworkRepeated {
                    network: network("192.0.2.9/24"),
                    first: name("a"),
                    second: name("b")
                },
                ClientsProblem::NetworkRepeated {
                    network: network("::ffff:192.0.2.0/120"),
                    first: name("b"),
                    second: name("c")
                },
                ClientsProblem::NameRepeated { name: name("a") },
                ClientsProblem::NoNetwork { name: name("none") },
                ClientsProblem::RejectTooLate { name: name("slow") },
            ]
        );
    }

    #[test]
    fn patience_gives_deadlines() {
        let patience = Patience::default();
        assert_eq!(patience.deadline(Mono::from_nanos(7)).nanos(), 4_500_000_007);
        assert_eq!(patience.whole(), Duration::from_secs(15));
        for (seconds, retries, good) in
            [(0, 2, false), (1, 0, true), (60, 10, true), (61, 0, false), (5, 11, false)]
        {
            assert_eq!(
                Patience::new(Duration::from_secs(seconds), retries).is_ok(),
                good,
                "{seconds} {retries}"
            );
        }
    }

    #[test]
    fn realms_come_off() {
        for (sent, stripped) in [
            ("alice", "alice"),
            ("alice@example.jp", "alice"),
            ("a@b@example.jp", "a@b"),
            ("BANK\\alice", "alice"),
            ("BANK\\alice@example.jp", "alice"),
            ("a\\b\\c", "b\\c"),
            ("@realm", "@realm"),
            ("BANK\\", "BANK\\"),
        ] {
            let name = UserName::new(sent.as_bytes()).unwrap();
            assert_eq!(UserNameForm::AsSent.apply(name.clone()), name);
            assert_eq!(
                UserNameForm::StripRealm.apply(name),
                UserName::new(stripped.as_bytes()).unwrap(),
                "{sent}"
            );
        }
    }
}
