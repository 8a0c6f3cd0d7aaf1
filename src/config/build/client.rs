//! The clients: networks, secrets, signatures, encodings, patience.

use super::secret::{Reach, Written};
use super::{Radius, Report};
use crate::config::file;
use crate::config::problem::Key;
use crate::config::value::Length;
use crate::identity::ClientName;
use crate::policy::{
    Charset, Client, Clients, ClientsProblem, Normalisation, PasswordEncoding, Patience, Profile,
    UserNameForm,
};
use crate::radius::{Demand, ProxyState, Secrets, SharedSecret, SignaturePolicy, StatusServer};
use crate::secret::Secret;
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;

/// The shortest secret without `insecure = true`, in octets.
const SECRET_MIN: usize = 16;

/// Secrets up to this length are warned about in any case (draft-ietf-radext-deprecating-radius §7.1).
const SECRET_SHORT: usize = 12;

/// Secrets from manuals, RFCs and examples: everybody knows them.
const EXAMPLES: [&str; 22] = [
    "testing123",
    "testing123testing123",
    "testing1234testing1234",
    "xyzzy5461",
    "secret",
    "radsec",
    "radius",
    "radius-secret",
    "radiussecret",
    "radius_secret",
    "sharedsecret",
    "shared-secret",
    "shared_secret",
    "thisisasharedsecret",
    "mysharedsecret",
    "my-shared-secret",
    "changeme",
    "changemechangeme",
    "change-me-change-me",
    "password",
    "passwordpassword",
    "1234567890123456",
];

/// Builds all clients, and looks at them together. `None` after an error.
pub fn clients(
    written: &file::Radius,
    radius: &Radius,
    profiles: &[Arc<Profile>],
    report: &mut Report<'_>,
) -> Option<Clients> {
    let list = Key::of(&["radius", "client"]);
    let written = written.client.as_deref().unwrap_or_default();
    if written.is_empty() {
        let right = "add a [[radius.client]] with name, network, secret-file and service";
        report.missing(&list, "there is nobody who may ask", right);
    }
    let mut seen: Vec<(Key, Arc<Secret>)> = Vec::new();
    let mut built = Vec::new();
    for (index, client) in written.iter().enumerate() {
        built.extend(Table { at: list.item(index), client, radius }.build(profiles, &mut seen, report));
    }
    let problems = Clients::new(built);
    problems
        .map_err(|problems| {
            for problem in problems {
                let (who, what) = match &problem {
                    ClientsProblem::NameRepeated { name } => (Some(name), "name"),
                    ClientsProblem::NetworkRepeated { second, .. } => (Some(second), "network"),
                    ClientsProblem::RejectTooLate { name } => (Some(name), "timeout"),
                    ClientsProblem::NoNetwork { name } => (Some(name), "network"),
                    ClientsProblem::TooMany => (None, ""),
                };
                let named = |name: &ClientName| {
                    let last =
                        written.iter().rposition(|client| client.name.as_deref() == Some(name.as_str()));
                    last.map(|index| list.item(index).name(what))
                };
                let key = who.and_then(named).unwrap_or_else(|| list.clone());
                report.refuse(&key, problem.to_string(), "");
            }
        })
        .ok()
}

/// One `[[radius.client]]`.
struct Table<'f> {
    at: Key,
    client: &'f file::Client,
    radius: &'f Radius,
}

impl Table<'_> {
    fn build(
        &self,
        profiles: &[Arc<Profile>],
        seen: &mut Vec<(Key, Arc<Secret>)>,
        report: &mut Report<'_>,
    ) -> Option<Client> {
        let (at, client) = (&self.at, self.client);
        let name = report.need(&at.name("name"), client.name.as_deref(), "write a name for logs and metrics");
        let name = name.filter(|name| name_is_usable(name, &at.name("name"), report));
        let networks = self.networks(report);
        let profile = self.profile(profiles, report);
        let reach = if !networks.is_empty() && networks.iter().all(is_loopback) {
            Reach::Loopback
        } else {
            Reach::Network
        };
        let secrets = self.secrets(reach, seen, report);
        let signature = self.signature(report);
        let patience = client.timeout.zip(client.retries).and_then(|(Length(timeout), retries)| {
            let key = if retries > 10 { "retries" } else { "timeout" };
            report.keep(&at.name(key), Patience::new(timeout, retries))
        });
        if let Some(patience) = patience
            && patience.whole() > self.radius.reply_cache_lifetime
        {
            let (whole, kept) = (Length(patience.whole()), Length(self.radius.reply_cache_lifetime));
            report.refuse(
                &at.name("timeout"),
                format!(
                    "the client repeats a request for up to {whole}, but replies are kept for {kept} only"
                ),
                format!("set radius.reply-cache-lifetime to {whole} or more, or lower timeout or retries"),
            );
        }
        let most = u64::try_from(self.radius.in_flight_max).unwrap_or(u64::MAX);
        let in_flight = report.number(&at.name("in-flight-max"), client.in_flight_max, 1..=most);
        let grace = Duration::ZERO..=Duration::from_secs(30);
        let lost_answer_grace = report.length(&at.name("lost-answer-grace"), client.lost_answer_grace, grace);
        Some(Client {
            name: ClientName::new(name?),
            number: 0,
            networks,
            profile: profile?,
            secrets: secrets?,
            signature,
            encoding: self.encoding()?,
            patience: patience?,
            user_name: match client.user_name? {
                file::UserName::AsSent => UserNameForm::AsSent,
                file::UserName::StripRealm => UserNameForm::StripRealm,
            },
            in_flight_max: u32::try_from(in_flight).ok()?,
            lost_answer_grace,
        })
    }

    fn networks(&self, report: &mut Report<'_>) -> Vec<IpNet> {
        let key = self.at.name("network");
        let networks =
            self.client.network.as_ref().map(|list| list.0.iter().map(|network| network.0).collect());
        let networks: Vec<IpNet> = report
            .need(&key, networks, r#"write where its requests come from, such as ["192.0.2.10/32"]"#)
            .unwrap_or_default();
        for network in &networks {
            if network.prefix_len() == 0 && self.client.any_network != Some(true) {
                report.refuse(
                    &key,
                    format!("{network} lets anybody on the network ask"),
                    "name the client's own addresses, or set any-network = true",
                );
            }
        }
        networks
    }

    fn profile(&self, profiles: &[Arc<Profile>], report: &mut Report<'_>) -> Option<Arc<Profile>> {
        let key = self.at.name("service");
        let known = || {
            let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
            if names.is_empty() {
                r#"write a [service.<name>] table, or name files that hold one: services = "services/*.toml""#
                    .to_owned()
            } else {
                format!("known are {}", names.join(", "))
            }
        };
        let name = report.need(&key, self.client.service.as_deref(), &known())?;
        let profile = profiles.iter().find(|profile| profile.name.as_str() == name);
        if profile.is_none() {
            report.refuse(&key, "there is no service of this name", known());
        }
        profile.cloned()
    }

    fn signature(&self, report: &mut Report<'_>) -> SignaturePolicy {
        let unlimited = self.client.limit_proxy_state == Some(false);
        let limit = self.at.name("limit-proxy-state");
        let require = match self.client.message_authenticator {
            Some(file::MessageAuthenticator::Optional) => {
                if unlimited && self.client.insecure != Some(true) {
                    report.refuse(
                        &limit,
                        "unsigned requests with Proxy-State can be turned into accepts (CVE-2024-3596)",
                        "leave it true, or set insecure = true as well if you must",
                    );
                } else if unlimited {
                    report.warn(
                        &limit,
                        "accepts for this client can be forged (CVE-2024-3596)",
                        "upgrade the client so that it sends Message-Authenticator",
                    );
                }
                let limit = if unlimited { ProxyState::Unlimited } else { ProxyState::Limited };
                Demand::Optional { limit_proxy_state: limit }
            }
            other => {
                if unlimited {
                    report.refuse(
                        &limit,
                        "it means something with message-authenticator = \"optional\" only",
                        "take it out",
                    );
                }
                match other {
                    Some(file::MessageAuthenticator::Auto) => Demand::Pinnable,
                    _ => Demand::Required,
                }
            }
        };
        let status_server = match self.client.status_server {
            Some(false) => StatusServer::Silent,
            _ => StatusServer::Answered,
        };
        SignaturePolicy { require, status_server }
    }

    fn encoding(&self) -> Option<PasswordEncoding> {
        Some(PasswordEncoding {
            charset: match self.client.password_encoding? {
                file::Charset::Utf8 => Charset::Utf8,
                file::Charset::Cp932 => Charset::Cp932,
                file::Charset::Latin1 => Charset::Latin1,
            },
            normalisation: match self.client.password_normalization? {
                file::Normalization::Off => Normalisation::Off,
                file::Normalization::Nfc => Normalisation::Nfc,
                file::Normalization::Nfkc => Normalisation::Nfkc,
            },
        })
    }

    fn secrets(
        &self,
        reach: Reach,
        seen: &mut Vec<(Key, Arc<Secret>)>,
        report: &mut Report<'_>,
    ) -> Option<Secrets> {
        let client = self.client;
        let current = Written {
            name: "secret",
            inline: client.secret.as_ref(),
            file: client.secret_file.as_ref(),
            credential: client.secret_credential.as_ref(),
        };
        let next = Written {
            name: "next-secret",
            inline: client.next_secret.as_ref(),
            file: client.next_secret_file.as_ref(),
            credential: client.next_secret_credential.as_ref(),
        };
        let current = self.secret(&current, reach, seen, report);
        let next = if next.is_given() { Some(self.secret(&next, reach, seen, report)?) } else { None };
        Some(Secrets { current: current?, next })
    }

    fn secret(
        &self,
        written: &Written<'_>,
        reach: Reach,
        seen: &mut Vec<(Key, Arc<Secret>)>,
        report: &mut Report<'_>,
    ) -> Option<SharedSecret> {
        let secret = written.read(&self.at, reach, report)?;
        let key = written.key(&self.at);
        let generate = "make one: head -c 32 /dev/urandom | base64";
        let (length, insecure) = (secret.len(), self.client.insecure == Some(true));
        if secret.is_empty() {
            report.refuse(&key, "the secret is empty (RFC 2865 §3)", generate);
            return None;
        }
        let known = |example: &&str| example.as_bytes().eq_ignore_ascii_case(secret.expose());
        if EXAMPLES.iter().any(known) {
            report.refuse(&key, "the secret is an example that everybody knows", generate);
        } else if length < SECRET_MIN && !insecure {
            let why = format!("the secret has {length} octets, fewer than {SECRET_MIN}");
            report.refuse(
                &key,
                why,
                format!("{generate}; or set insecure = true if the client cannot hold more"),
            );
        }
        if length <= SECRET_SHORT {
            let why = format!("a secret of {length} octets can be guessed from one recorded packet");
            report.warn(&key, why, generate);
        }
        if let Some((other, _)) = seen.iter().find(|(_, other)| **other == secret) {
            let why = format!("the secret is the same as {other}");
            report.warn(&key, why, "give each client its own, so that one that leaks opens one");
        }
        seen.push((key, Arc::new(secret.duplicate())));
        SharedSecret::new(secret)
    }
}

/// Names go into logs, labels and the command line.
pub fn name_is_usable(name: &str, key: &Key, report: &mut Report<'_>) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let usable = (1..=64).contains(&name.len()) && name.bytes().all(plain);
    if !usable {
        report.refuse(
            key,
            "the name cannot be used",
            "write 1 to 64 ASCII letters, digits, hyphens, underscores or dots",
        );
    }
    usable
}

fn is_loopback(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.addr().is_loopback() && network.prefix_len() >= 8,
        // Also one IPv4 address in its IPv6 form.
        IpNet::V6(network) => network.addr().to_canonical().is_loopback() && network.prefix_len() == 128,
    }
}
