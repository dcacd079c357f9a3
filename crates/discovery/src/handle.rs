//! Starts, reloads and ends discovery: the sources' tasks and the reconciler.

use std::sync::Arc;

use model::UpstreamKey;
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinHandle,
};
use transport::Upstream;

use crate::{
    Policies, Table, TableCell,
    freshness::Freshness,
    health::Findings,
    history::History,
    memory::Memory,
    provider::{
        Settings,
        embedded::{self, Registry},
    },
    reconciler::{Command, MAILBOX, Mailbox, Reconciler},
    sources::{Change, Source, Sources},
    status::Status,
};

/// A source could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("registries.{name}: {reason}")]
pub struct StartError {
    /// The source's name in the configuration.
    pub name: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Running discovery. Dropping it ends all its tasks; the last table stays readable.
#[derive(Debug)]
pub struct Discovery {
    table: Arc<TableCell>,
    status: watch::Receiver<Arc<Status>>,
    freshness: Arc<Freshness>,
    history: Arc<History>,
    findings: Arc<Findings>,
    commands: mpsc::Sender<Command>,
    /// Held over a whole reload, so that two do not mix.
    sources: Mutex<Sources>,
    reconciler: Option<JoinHandle<()>>,
}

/// The data path's way to say what it found out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reporter(mpsc::Sender<Command>);

impl Discovery {
    /// Starts all sources and the reconciler on the current runtime; returns when the table holds the policies, and what
    /// `memory` remembers of the sources.
    ///
    /// `retire` is told which upstreams left the table; the reconciler and active checks call it, so it must not block.
    ///
    /// # Errors
    /// If a source's settings cannot work; nothing runs then.
    pub async fn start(
        sources: Vec<(String, Settings)>,
        policies: Policies,
        memory: Option<Memory>,
        retire: impl Fn(Vec<UpstreamKey>) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let policies = Arc::new(policies);
        let (interest_sender, interest) = watch::channel(Arc::new(policies.interest()));
        let (updates_sender, updates) = mpsc::channel(MAILBOX);
        let (commands_sender, commands) = mpsc::channel(MAILBOX);
        let mut all = Sources::new(updates_sender, interest);
        let change = all.plan(sources)?;

        let table = Arc::new(TableCell::new(Table::empty(policies.clone())));
        let (status_sender, status) = watch::channel(Arc::default());
        let (freshness, history) = (Arc::new(Freshness::default()), Arc::new(History::default()));
        let reconciler = Reconciler::new(
            table.clone(),
            status_sender,
            interest_sender,
            freshness.clone(),
            history.clone(),
            memory,
            Arc::new(retire),
        );
        let findings = reconciler.findings();
        let reconciler = tokio::spawn(reconciler.run(Mailbox { updates, commands }));
        arrange(&commands_sender, &mut all, change, policies).await;
        Ok(Self {
            table,
            status,
            freshness,
            history,
            findings,
            commands: commands_sender,
            sources: Mutex::new(all),
            reconciler: Some(reconciler),
        })
    }

    /// Follows new settings. Sources whose name and settings stay go on untouched, with all they said.
    ///
    /// When this returns, the table holds the new policies.
    ///
    /// # Errors
    /// If a new source's settings cannot work; nothing is changed then.
    pub async fn reload(&self, sources: Vec<(String, Settings)>, policies: Policies) -> Result<(), StartError> {
        let mut running = self.sources.lock().await;
        let change = running.plan(sources)?;
        arrange(&self.commands, &mut running, change, Arc::new(policies)).await;
        Ok(())
    }

    /// The cell with the current table.
    #[must_use]
    pub fn table(&self) -> Arc<TableCell> {
        self.table.clone()
    }

    /// What the sources are doing; the receiver also tells of changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// The embedded registries that run, with their names and settings, for their HTTP APIs. Asked anew after a reload.
    pub async fn registries(&self) -> Vec<(Arc<str>, embedded::Settings, Registry)> {
        let sources = self.sources.lock().await;
        let embedded = |s: &Source| match (&s.settings, &s.registry) {
            (Settings::Embedded(settings), Some(registry)) => {
                Some((s.name.clone(), settings.clone(), registry.clone()))
            }
            _ => None,
        };
        sources.iter().filter_map(embedded).collect()
    }

    /// How long updates took to be published.
    #[must_use]
    pub fn freshness(&self) -> Arc<Freshness> {
        self.freshness.clone()
    }

    /// The last events.
    #[must_use]
    pub fn history(&self) -> Arc<History> {
        self.history.clone()
    }

    /// What active checks find.
    #[must_use]
    pub fn findings(&self) -> Arc<Findings> {
        self.findings.clone()
    }

    /// For the data path to say what it found out.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        Reporter(self.commands.clone())
    }

    /// Ends all sources, then the reconciler, which writes what is to be remembered. The last table stays readable.
    pub async fn shutdown(mut self) {
        self.sources.lock().await.end().await;
        if let Some(mut reconciler) = self.reconciler.take() {
            reconciler.abort();
            // That it was aborted is no error.
            let _aborted = (&mut reconciler).await;
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        if let Some(reconciler) = &self.reconciler {
            reconciler.abort();
        }
    }
}

impl Reporter {
    /// No connection could be made to an upstream of last resort: its withdrawal was true, so it is left out from now on.
    ///
    /// Never waits. If the reconciler has no room the word is lost, and the end of the hold does the same later.
    pub fn connect_failed(&self, upstream: &Arc<Upstream>) {
        let _lost = self.0.try_send(Command::ConnectFailed(upstream.clone()));
    }
}

/// Ends what must end, tells the reconciler, and then starts what is new: it knows every source that speaks.
async fn arrange(commands: &mpsc::Sender<Command>, all: &mut Sources, change: Change, policies: Arc<Policies>) {
    all.end_others(&change).await;
    let (done, arranged) = oneshot::channel();
    let command = Command::Arrange { sources: change.order(), policies, done };
    // Both fail only if the reconciler is gone, and then there is nobody to arrange anything for.
    let _sent = commands.send(command).await;
    let _arranged = arranged.await;
    all.start(change);
}

#[cfg(test)]
mod tests;
