//! What a running daemon does about signals: drain and end, or reload, or keep the old configuration and say so.

use super::start::{Keys, Running, admin_rules};
use super::systemd::{self, Phase};
use crate::config::{self, Inputs, Settings};
use crate::metrics::Attempt;
use crate::pipeline;
use crate::store::Health;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As asked; everything that was judged has left or was dropped, and the journal is whole.
    Clean,
    /// A long-lived thread ended by itself, or the journal could not be closed.
    Broken,
}

/// How long requests that are being judged, and rejects that wait for their time, may take to leave.
const DRAIN: Duration = Duration::from_secs(5);

/// Where the configuration is read again, and what of it was fixed at the start.
pub struct Reload {
    /// The file.
    pub file: PathBuf,
    /// What a reload cannot change ([`config::Loaded::fixed`]).
    pub fixed: BTreeMap<String, String>,
}

/// Runs until SIGTERM or SIGINT; SIGHUP reads the configuration again.
///
/// # Errors
/// If the system gives no signals.
pub fn run(mut running: Running, mut reload: Option<Reload>) -> std::io::Result<Ending> {
    let (mut terminate, mut interrupt, mut hangup) = running.runtime.block_on(async {
        let install = |kind| -> std::io::Result<Signal> { signal(kind) };
        std::io::Result::Ok((
            install(SignalKind::terminate())?,
            install(SignalKind::interrupt())?,
            install(SignalKind::hangup())?,
        ))
    })?;
    let watchdog = watch(&running);
    systemd::notify(Phase::Ready, "answering");
    loop {
        let again = running.runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => false,
                _ = hangup.recv() => true,
            }
        });
        if !again {
            break;
        }
        reload_from(&mut running, reload.as_mut());
    }
    systemd::notify(Phase::Stopping, "finishing what is being judged");
    Ok(end(running, watchdog))
}

/// Feeds systemd's watchdog for as long as every worker moves.
fn watch(running: &Running) -> Option<std::thread::JoinHandle<()>> {
    let within = systemd::watchdog()?;
    let (stop, stuck) = (running.workers.stop().clone(), running.workers.stuck());
    std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(move || systemd::feed_watchdog(within, &stop, stuck))
        .ok()
}

/// Builds the new configuration whole and then swaps it in, or keeps the old one.
fn reload_from(running: &mut Running, reload: Option<&mut Reload>) {
    let Some(reload) = reload else {
        tracing::warn!(event = "reload", "there is no configuration file to read again");
        return;
    };
    systemd::notify(Phase::Reloading, "reading the configuration again");
    let loaded = config::load(&Inputs::of_process(&reload.file));
    for problem in loaded.warnings() {
        tracing::warn!(event = "configuration", "{problem}");
    }
    for problem in loaded.errors() {
        tracing::error!(event = "configuration", "{problem}");
    }
    let fixed = loaded.fixed();
    let result = loaded.settings.map_or(Attempt::Failed, |settings| swap(running, settings));
    if let Err(error) = running.audit.reopen() {
        tracing::error!(event = "audit-reopen", %error);
    }
    running.metrics.config_reloads.at(result).inc();
    if result == Attempt::Succeeded {
        let all: BTreeSet<&String> = fixed.keys().chain(reload.fixed.keys()).collect();
        for table in all.into_iter().filter(|table| fixed.get(*table) != reload.fixed.get(*table)) {
            tracing::warn!(
                event = "restart-needed",
                table,
                "changed, and takes effect at the next start only"
            );
        }
    }
    let said = match result {
        Attempt::Succeeded => "answering; the new clients and services are in force",
        Attempt::Failed => "answering; the new configuration has problems, the old one stays in force",
    };
    match result {
        Attempt::Succeeded => tracing::info!(event = "reloaded", "{said}"),
        Attempt::Failed => tracing::error!(event = "reload-refused", "{said}"),
    }
    systemd::notify(Phase::Ready, said);
}

fn swap(running: &Running, settings: Settings) -> Attempt {
    let pipeline = running.drive.pipeline();
    let before = pipeline.settings();
    let attributes_max = settings.radius.attributes_max;
    let rules = admin_rules(&settings.admin, &settings.http, &settings.profiles);
    match pipeline::Settings::new(settings.clients, attributes_max, &running.metrics, Some(&before)) {
        Ok(judged_by) => {
            let gone =
                before.clients.iter().filter(|old| judged_by.clients.named(old.name.as_str()).is_none());
            gone.for_each(|old| running.metrics.forget_client(&old.name));
            pipeline.reload(judged_by);
            running.operations.reload(rules);
            if let Some(web) = &running.web {
                web.reload(settings.http);
            }
            take_over_keys(running, &settings.directory)
        }
        Err(error) => {
            tracing::error!(event = "reload", %error);
            Attempt::Failed
        }
    }
}

/// The keys that seal and open token secrets are read again, too: `keys rotate` needs no restart.
fn take_over_keys(running: &Running, directory: &config::Directory) -> Attempt {
    match (&running.keys, directory) {
        (Keys::Ldap(keyring), config::Directory::Ldap(wanted)) => {
            keyring.take_over(&wanted.settings.keyring);
            Attempt::Succeeded
        }
        (Keys::Embedded(embedded), _) => match embedded.reload_keys() {
            Ok(()) => Attempt::Succeeded,
            Err(error) => {
                tracing::error!(event = "reload", %error, "the keys stay as they were");
                Attempt::Failed
            }
        },
        // Another kind of directory takes effect at the next start.
        (Keys::Ldap(_), config::Directory::Embedded(_)) => Attempt::Succeeded,
    }
}

/// Nothing new is taken; what is being judged ends or is dropped; the journal is written out; then everything stops.
fn end(mut running: Running, watchdog: Option<std::thread::JoinHandle<()>>) -> Ending {
    tracing::info!(event = "stopping");
    running.drive.drain();
    running.workers.end();
    let admission = Arc::clone(&running.drive.pipeline().tables().admission);
    running.runtime.block_on(async {
        let empty = async {
            while admission.in_flight() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // What is not judged by then is dropped: nobody was answered and nothing used up.
        let _ = tokio::time::timeout(DRAIN, empty).await;
    });
    drop(running.web.take());
    running.runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(watchdog) = watchdog {
        let _ = watchdog.join();
    }
    let _ = std::fs::remove_file(&running.admin_socket);
    let healthy = running.drive.store().close() == Health::Writing;
    drop(running.operations);
    drop(running.drive);
    if let Some(hold) = Arc::into_inner(running.hold) {
        hold.finish(Duration::ZERO);
    }
    tracing::info!(event = "stopped", journal_whole = healthy);
    if healthy { Ending::Clean } else { Ending::Broken }
}
