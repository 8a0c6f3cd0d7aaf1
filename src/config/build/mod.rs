//! From the text as written to the settings as meant, or to everything that is wrong with it.

mod admin;
mod client;
mod cluster;
mod directory;
mod http;
mod mail;
mod report;
mod secret;
mod service;

pub use report::Report;

use super::file;
use super::problem::Key;
use crate::audit;
use crate::policy::{Clients, Profile};
use crate::store;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use admin::Admin;
pub use directory::{Directory, Embedded, Ldap};
pub use http::Http;
pub use mail::Mail;

/// A configuration without a problem.
pub struct Settings {
    /// The RADIUS server.
    pub radius: Radius,
    /// Who may ask.
    pub clients: Clients,
    /// The service profiles, by name.
    pub profiles: Vec<Arc<Profile>>,
    /// Where users and tokens live.
    pub directory: Directory,
    /// What survives a restart.
    pub state: store::Settings,
    /// The engine that several nodes share, if there are several.
    pub cluster: Option<crate::cluster::Settings>,
    /// Metrics and health.
    pub http: Http,
    /// The operator's socket.
    pub admin: Admin,
    /// Letters to users.
    pub mail: Mail,
    /// The evidence.
    pub audit: audit::Settings,
    /// The log.
    pub log: Log,
}

/// `[radius]` without its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Radius {
    /// UDP addresses, at least one, each once.
    pub listen: Vec<SocketAddr>,
    /// How long replies are kept, at least: 5 s to 11 min, and never shorter than a client repeats itself.
    pub reply_cache_lifetime: Duration,
    /// The most attributes a packet may have: 16 to 2038.
    pub attributes_max: usize,
    /// The most requests in flight: 16 to 65536.
    pub in_flight_max: usize,
    /// Threads that judge, 1 to 256; `None` for as many as processors.
    pub workers: Option<usize>,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: file::LogFormat,
    /// The least that is logged.
    pub level: file::LogLevel,
}

/// Builds everything, and reports everything that is wrong. `None` if any of it is an error.
pub fn build(root: &file::Root, report: &mut Report<'_>) -> Option<Settings> {
    let radius = radius(root.radius.as_ref()?, report);
    let profiles = service::profiles(root.service.as_ref(), report);
    let clients = client::clients(root.radius.as_ref()?, &radius, &profiles, report);
    let in_use: Vec<_> = match &clients {
        Some(clients) => clients.iter().map(|client| client.profile.parameters).collect(),
        None => Vec::new(),
    };
    let directory = directory::directory(root.directory.as_ref()?, &in_use, report);
    let http = http::http(root.http.as_ref()?, report);
    let mail = mail::mail(root.mail.as_ref()?, report);
    let (state, evidence, log) = (root.state.as_ref()?, root.audit.as_ref()?, root.log.as_ref()?);
    let shared = cluster::cluster(state, report);
    let settings = Settings {
        cluster: shared,
        state: store::Settings {
            durability: match state.durability? {
                file::Durability::Sync => store::Durability::Sync,
                file::Durability::Relaxed => store::Durability::Relaxed,
                file::Durability::Memory => store::Durability::Memory,
            },
            ..store::Settings::new(report.path(&Key::of(&["state", "directory"]), state.directory.as_ref()?))
        },
        http: http?,
        admin: admin::admin(root.admin.as_ref()?, report)?,
        audit: audit::Settings {
            file: report.path(&Key::of(&["audit", "file"]), evidence.file.as_ref()?),
            on_failure: match evidence.on_failure? {
                file::OnFailure::Stop => audit::OnFailure::Stop,
                file::OnFailure::Alarm => audit::OnFailure::Alarm,
            },
        },
        log: Log { format: log.format?, level: log.level? },
        radius,
        clients: clients?,
        profiles,
        directory: directory?,
        mail: mail?,
    };
    report.is_clean().then_some(settings)
}

fn radius(written: &file::Radius, report: &mut Report<'_>) -> Radius {
    let at = Key::of(&["radius"]);
    let listen: Vec<SocketAddr> =
        written.listen.iter().flat_map(|listen| listen.0.iter().map(|listen| listen.0)).collect();
    if listen.is_empty() {
        report.refuse(
            &at.name("listen"),
            "there is no address to listen on",
            r#"write ["0.0.0.0:1812", "[::]:1812"]"#,
        );
    }
    for (index, address) in listen.iter().enumerate() {
        if address.port() != 0 && listen.iter().take(index).any(|earlier| earlier == address) {
            report.refuse(&at.name("listen"), format!("{address} is there twice"), "leave one of them");
        }
    }
    Radius {
        listen,
        reply_cache_lifetime: report.length(
            &at.name("reply-cache-lifetime"),
            written.reply_cache_lifetime,
            Duration::from_secs(5)..=Duration::from_secs(660),
        ),
        attributes_max: report.number(&at.name("attributes-max"), written.attributes_max, 16..=2038),
        in_flight_max: report.number(&at.name("in-flight-max"), written.in_flight_max, 16..=65_536),
        workers: written.workers.map(|workers| report.number(&at.name("workers"), Some(workers), 1..=256)),
    }
}
