//! The engine that several nodes share: address, password, key, and what happens when it is lost.

use super::Report;
use super::client::name_is_usable;
use super::secret::{Reach, Written};
use crate::cluster::{Address, AddressProblem, KEY_OCTETS, Settings, Tls, WhenLost};
use crate::config::file;
use crate::config::problem::Key;
use crate::secret::Secret;
use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::time::Duration;

/// Builds it, if `cluster` is given. `None` also after an error, which is reported.
pub fn cluster(written: &file::State, report: &mut Report<'_>) -> Option<Settings> {
    let at = Key::of(&["state"]);
    let Some(url) = &written.cluster else {
        // Whoever has written one of them believes that nodes share what they know.
        let given = [
            ("cluster-lost", written.cluster_lost == Some(file::ClusterLost::Alone)),
            ("cluster-alone", written.cluster_alone.is_some()),
            ("cluster-password", written.cluster_password.is_some()),
            ("cluster-password-file", written.cluster_password_file.is_some()),
            ("cluster-password-credential", written.cluster_password_credential.is_some()),
            ("cluster-key-file", written.cluster_key_file.is_some()),
            ("cluster-key-credential", written.cluster_key_credential.is_some()),
        ];
        for (key, _) in given.into_iter().filter(|&(_, given)| given) {
            let right = "write cluster = \"redis://…\" or \"postgres://…\", or take it out";
            report.refuse(&at.name(key), "there is no cluster that it could belong to", right);
        }
        return None;
    };
    let parsed = Address::parse(url).map_err(|problem| refuse_address(&problem, &at, report)).ok();
    let key = shared_key(written, &at, report);
    let node = node(written, &at, report);
    let when_lost = when_lost(written, node, &at, report);
    let bounds = Duration::from_millis(50)..=Duration::from_secs(10);
    let timeout = report.length(&at.name("cluster-timeout"), written.cluster_timeout, bounds);
    let (address, in_url) = parsed?;
    let authorities = authorities(written, &address, &at, report);
    let password = password(written, &address, in_url, &at, report);
    Some(Settings {
        address,
        password: password?,
        authorities: authorities?,
        key: key?,
        node: node?.into(),
        when_lost: when_lost?,
        timeout,
    })
}

fn refuse_address(problem: &AddressProblem, at: &Key, report: &mut Report<'_>) {
    let right = match problem {
        AddressProblem::Password => "take it out of the URL",
        _ => "",
    };
    report.refuse(&at.name("cluster"), problem.to_string(), right);
}

fn node<'f>(written: &'f file::State, at: &Key, report: &mut Report<'_>) -> Option<&'f str> {
    let key = at.name("node");
    let right = "write a name for this node, such as \"tokyo-1\"; each node has its own";
    let name = report.need(&key, written.node.as_deref(), right)?;
    name_is_usable(name, &key, report).then_some(name)
}

fn when_lost(
    written: &file::State,
    node: Option<&str>,
    at: &Key,
    report: &mut Report<'_>,
) -> Option<WhenLost> {
    let key = at.name("cluster-alone");
    match (written.cluster_lost?, &written.cluster_alone) {
        (file::ClusterLost::NoAnswer, None) => Some(WhenLost::NoAnswer),
        (file::ClusterLost::NoAnswer, Some(_)) => {
            let why = "it means something with cluster-lost = \"alone\" only";
            report.refuse(&key, why, "take it out, or set cluster-lost");
            None
        }
        (file::ClusterLost::Alone, alone) => {
            let right = "write the name of the one node that goes on, the same on all nodes";
            let alone = report.need(&key, alone.as_deref(), right)?;
            if !name_is_usable(alone, &key, report) {
                return None;
            }
            if node.is_some_and(|node| node != alone) {
                let why = format!("this node does not answer while {alone} is not connected to the engine");
                report.warn(&key, why, "");
            }
            Some(WhenLost::Alone(alone.into()))
        }
    }
}

/// The password: none at all, the URL's, or the one that the keys name.
fn password(
    written: &file::State,
    address: &Address,
    in_url: Option<String>,
    at: &Key,
    report: &mut Report<'_>,
) -> Option<Option<Secret>> {
    let named = Written {
        name: "cluster-password",
        inline: written.cluster_password.as_ref(),
        file: written.cluster_password_file.as_ref(),
        credential: written.cluster_password_credential.as_ref(),
    };
    if !named.is_given() {
        return Some(in_url.map(|password| Secret::new(password.into_bytes())));
    }
    if in_url.is_some() {
        report.refuse(&at.name("cluster"), "the password is given in more than one way", "leave one of them");
        return None;
    }
    let reach = if address.is_loopback() { Reach::Loopback } else { Reach::Network };
    let secret = named.read(at, reach, report)?;
    if std::str::from_utf8(secret.expose()).is_err() {
        report.refuse(&named.key(at), "the password is no text", "write it in UTF-8");
        return None;
    }
    Some(Some(secret))
}

/// The key that all nodes share: 32 octets, as they are or in base64.
fn shared_key(written: &file::State, at: &Key, report: &mut Report<'_>) -> Option<[u8; KEY_OCTETS]> {
    let named = Written {
        name: "cluster-key",
        inline: None,
        file: written.cluster_key_file.as_ref(),
        credential: written.cluster_key_credential.as_ref(),
    };
    let secret = named.read(at, Reach::Network, report)?;
    if let Ok(key) = secret.expose().try_into() {
        return Some(key);
    }
    let decoded = BASE64.decode(secret.expose()).map(Secret::new);
    let key = decoded.ok().and_then(|key| key.expose().try_into().ok());
    if key.is_none() {
        let right = "make one and give it to all nodes: head -c 32 /dev/urandom | base64";
        report.refuse(&named.key(at), "the key is not 32 octets in base64", right);
    }
    key
}

/// The authorities as PEM, where the connection is protected.
fn authorities(
    written: &file::State,
    address: &Address,
    at: &Key,
    report: &mut Report<'_>,
) -> Option<Option<Vec<u8>>> {
    if address.tls() == Tls::No {
        return Some(None);
    }
    let key = at.name("cluster-ca-file");
    let file = report.path(&key, written.cluster_ca_file.as_ref()?);
    let right = "name a PEM file with the authorities of the engine's certificate";
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) => {
            report.refuse(&key, format!("{} cannot be read: {error}", file.display()), right);
            return None;
        }
    };
    let whole = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    if whole.map_or(true, |certificates| certificates.is_empty()) {
        report.refuse(&key, format!("{} holds no certificate", file.display()), right);
        return None;
    }
    Some(Some(text))
}
