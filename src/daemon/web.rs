//! HTTP as a part of the daemon: bound before anything else, served last, and what a reload replaces.

use crate::admin::operations::Operations;
use crate::config;
use crate::http::{self, Api, Door, Perform, State};
use crate::metrics::Metrics;
use crate::secret::Secret;
use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Listeners before anything is served on them.
pub(super) struct Bound {
    everything: TcpListener,
    monitoring: Option<TcpListener>,
}

/// What is served.
pub(super) struct Web {
    /// The address of everything.
    pub(super) address: SocketAddr,
    /// The address of monitoring alone.
    pub(super) monitoring: Option<SocketAddr>,
    api: Arc<Api>,
    tls: Arc<ArcSwapOption<ServerConfig>>,
    /// Dropped, it ends both.
    _stop: watch::Sender<()>,
}

impl Bound {
    /// Binds the addresses; an error names the one that it is about.
    pub(super) fn to(settings: &config::Http, runtime: &Runtime) -> Result<Bound, (SocketAddr, io::Error)> {
        let bind = |address| runtime.block_on(TcpListener::bind(address)).map_err(|error| (address, error));
        Ok(Bound {
            everything: bind(settings.listen)?,
            monitoring: settings.monitoring.map(bind).transpose()?,
        })
    }

    /// Serves until the [`Web`] is gone.
    pub(super) fn serve(
        self,
        settings: config::Http,
        state: State,
        operations: &Arc<Operations>,
        metrics: &Arc<Metrics>,
        runtime: &Runtime,
    ) -> io::Result<Web> {
        let address = self.everything.local_addr()?;
        let monitoring = self.monitoring.as_ref().map(TcpListener::local_addr).transpose()?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
        let operations = Arc::clone(operations);
        let perform: Perform = Arc::new(move |question, caller| {
            let operations = Arc::clone(&operations);
            Box::pin(async move { operations.carry_out(question, &caller).await })
        });
        let api = Api::new(perform, settings.callers, settings.paces, Arc::clone(metrics), Secret::new(key));
        let (stop, stopped) = watch::channel(());
        let tls = Arc::new(ArcSwapOption::new(settings.tls));
        let end = |mut stopped: watch::Receiver<()>| async move { while stopped.changed().await.is_ok() {} };
        let serve = |door, routes| {
            let (metrics, stopped) = (Arc::clone(metrics), end(stopped.clone()));
            runtime.spawn(async move {
                if let Err(error) = http::serve(door, metrics, routes, stopped).await {
                    tracing::error!(event = "http", %error, "not served any more");
                }
            });
        };
        let cleartext = settings.cleartext;
        let door = Door { listener: self.everything, tls: Arc::clone(&tls), cleartext };
        serve(door, http::routes(state.clone(), Arc::clone(&api)));
        if let Some(listener) = self.monitoring {
            let door = Door { listener, tls: Arc::default(), cleartext };
            serve(door, http::monitoring(state));
        }
        Ok(Web { address, monitoring, api, tls, _stop: stop })
    }
}

impl Web {
    /// Takes over who may call and, where there is TLS, the certificates.
    pub(super) fn reload(&self, settings: config::Http) {
        self.api.callers.store(Arc::new(settings.callers));
        // Between TLS and clear text nothing changes while somebody is connected: that takes a restart.
        if self.tls.load().is_some()
            && let Some(config) = settings.tls
        {
            self.tls.store(Some(config));
        }
    }
}
