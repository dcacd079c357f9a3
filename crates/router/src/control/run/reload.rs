//! Follows other settings without a stop.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use settings::Mistakes;

use super::{super::StartError, Running, open, places, tell, warn, watched};
use crate::{
    accept::{Acceptor, Bound},
    core::Order,
    plan::{Compiled, Listener, Operations, compile},
};

/// Where a listener of new settings accepts from.
enum Socket {
    /// The acceptor of this number goes on.
    Open(usize),
    /// There was none at its address.
    New(Bound),
}

/// What the settings say now.
struct Read {
    level: String,
    compiled: Result<Compiled, Mistakes>,
    /// The files they name.
    named: Vec<PathBuf>,
}

impl Running {
    /// Reads the settings anew and follows them. If anything is wrong with them, nothing changes and the log says what.
    pub(super) async fn reload(&mut self) -> Result<(), StartError> {
        let result = Box::pin(self.try_reload()).await;
        match &result {
            Ok(()) => {
                tell(&self.metrics, &self.plan.borrow(), true);
                tracing::info!("configuration reloaded");
            }
            Err(error) => {
                self.metrics.not_followed();
                for error in error.to_string().lines() {
                    tracing::error!(%error, "configuration not reloaded, the old one goes on");
                }
            }
        }
        result
    }

    async fn try_reload(&mut self) -> Result<(), StartError> {
        let Read { level, compiled, mut named } = self.read().await?;
        // Watched from now on whatever comes of it: a certificate may arrive after the file that names it.
        named.extend(self.operations.files.iter().cloned());
        self.files.set_paths(self.start.origin.file().cloned().into_iter().chain(named)).await;
        let compiled = compiled?;
        warn(&compiled.warnings);
        let arranged = self.open_new(&compiled.plan.listeners)?;
        let prepared = self.apis.prepare(places(&compiled)).await?;
        // The last that may fail: from here on the new settings hold. Policies first: a new route never meets a service without its policy.
        self.discovery.reload(compiled.sources, compiled.policies).await?;
        if let Some(log) = &self.start.log
            && let Err(error) = log.set_level(&level)
        {
            tracing::error!(%error, "the log stays as it was");
        }
        for desk in self.desks.iter() {
            desk.orders.send(Order::Plan(Arc::clone(&compiled.plan))).ok();
        }
        self.plan.send_replace(Arc::clone(&compiled.plan));
        self.doors.follow(compiled.plan.connections.clone());
        // What no listener wants any more closes here.
        let mut open: Vec<Option<Acceptor>> = std::mem::take(&mut self.acceptors).into_iter().map(Some).collect();
        let acceptor = |(socket, listener)| match socket {
            Socket::New(socket) => Some(self.accept(socket, listener)),
            Socket::Open(at) => open[at].take().inspect(|acceptor| acceptor.change(listener)),
        };
        self.acceptors = arranged.into_iter().filter_map(acceptor).collect();
        self.files.set_paths(watched(&self.start.origin, &compiled.operations)).await;
        if compiled.operations.fixed != self.operations.fixed {
            tracing::warn!(
                "threads, access_log, log.format and discovery.directory are followed by a start only: restart to change them"
            );
        }
        let fixed = self.operations.fixed.clone();
        self.operations = Operations { fixed, ..compiled.operations };
        self.arrange_apis(prepared).await;
        self.announce().await;
        Ok(())
    }

    /// Reads the settings and all files they name, where it hurts nobody if one of them hangs.
    async fn read(&self) -> Result<Read, StartError> {
        let (origin, overrides) = (self.start.origin.clone(), self.start.overrides.clone());
        let made = Arc::clone(&self.made);
        let read = self.aside.run(move || {
            let settings = origin.load(&overrides)?;
            let mut named = Vec::new();
            let compiled = compile(&settings, &made, &mut named);
            Ok(Read { level: settings.log.level.clone(), compiled, named })
        });
        read.await
            .unwrap_or_else(|stalled| Err(StartError::Io(format!("the configuration, or a file it names: {stalled}"))))
    }

    /// Opens the listeners that are new, so that an address that cannot be had is known before anything changes. Several
    /// listeners may have port 0: they go on in their order.
    fn open_new(&self, listeners: &[Arc<Listener>]) -> Result<Vec<(Socket, Arc<Listener>)>, StartError> {
        let mut taken = HashSet::new();
        let mut socket = |listener: &Listener| {
            let mut same = (0..self.acceptors.len()).filter(|at| self.acceptors[*at].configured == listener.address);
            match same.find(|at| taken.insert(*at)) {
                Some(at) => Ok(Socket::Open(at)),
                None => open(listener).map(Socket::New),
            }
        };
        listeners.iter().map(|listener| Ok((socket(listener)?, Arc::clone(listener)))).collect()
    }
}
