//! Starts, reloads and ends discovery: the sources' tasks and the reconciler.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use model::ServiceId;
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinHandle,
};
use transport::Upstream;

use crate::{
    Leave, Operator, Policies, Table, TableCell,
    freshness::Freshness,
    health::Findings,
    history::History,
    memory::Memory,
    outliers::{Outliers, Totals},
    provider::{
        Settings,
        embedded::{self, Registry},
    },
    reconciler::{Answer, Command, MAILBOX, Mailbox, Outlets, Reconciler, WANTS, Want},
    sources::{Change, Interests, Source, Sources},
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
    reporter: Reporter,
    /// Held over a whole reload, so that two do not mix.
    sources: Mutex<Sources>,
    reconciler: Option<JoinHandle<()>>,
    outliers: JoinHandle<()>,
    ejections: Arc<Totals>,
}

/// The data path's way to say what it found out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reporter {
    commands: mpsc::Sender<Command>,
    wants: mpsc::Sender<Want>,
    /// Of `wants`, those there was no room for.
    dropped: Arc<AtomicU64>,
}

impl Discovery {
    /// Starts all sources and the reconciler on the current runtime; returns when the table holds the policies, and what
    /// `memory` remembers of the sources.
    ///
    /// `retire` is told which upstreams are to leave; the reconciler and active checks call it, so it must not block.
    ///
    /// # Errors
    /// If a source's settings cannot work; nothing runs then.
    pub async fn start(
        sources: Vec<(String, Settings)>,
        policies: Policies,
        memory: Option<Memory>,
        retire: impl Fn(Vec<Leave>) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let policies = Arc::new(policies);
        let (whole_sender, whole) = watch::channel(Arc::default());
        let (by_name_sender, by_name) = watch::channel(Arc::default());
        let (updates_sender, updates) = mpsc::channel(MAILBOX);
        let (commands_sender, commands) = mpsc::channel(MAILBOX);
        let (wants_sender, wants) = mpsc::channel(WANTS);
        let dropped = Arc::<AtomicU64>::default();
        let reporter = Reporter { commands: commands_sender, wants: wants_sender, dropped: dropped.clone() };
        let mut all = Sources::new(updates_sender, Interests { whole, by_name });
        let change = all.plan(sources).await?;

        let table = Arc::new(TableCell::new(Table::empty(policies.clone())));
        let (status_sender, status) = watch::channel(Arc::default());
        let (freshness, history) = (Arc::new(Freshness::default()), Arc::new(History::default()));
        let outlets = Outlets {
            cell: table.clone(),
            status: status_sender,
            interests: Interests { whole: whole_sender, by_name: by_name_sender },
            freshness: freshness.clone(),
            history: history.clone(),
            retire: Arc::new(retire),
            dropped,
        };
        let reconciler = Reconciler::new(outlets, memory);
        let findings = reconciler.findings();
        let reconciler = tokio::spawn(reconciler.run(Mailbox { updates, commands, wants }));
        arrange(&reporter.commands, &mut all, change, policies).await;
        let ejections = Arc::new(Totals::default());
        let outliers = Outliers::new(table.clone(), history.clone(), ejections.clone());
        let outliers = tokio::spawn(outliers.run());
        Ok(Self {
            table,
            status,
            freshness,
            history,
            findings,
            reporter,
            sources: Mutex::new(all),
            reconciler: Some(reconciler),
            outliers,
            ejections,
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
        let change = running.plan(sources).await?;
        arrange(&self.reporter.commands, &mut running, change, Arc::new(policies)).await;
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

    /// How often instances were put out.
    #[must_use]
    pub fn ejections(&self) -> Arc<Totals> {
        self.ejections.clone()
    }

    /// For the data path to say what it found out.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// For the operator to put instances out.
    #[must_use]
    pub fn operator(&self) -> Operator {
        Operator(self.reporter.commands.clone())
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
        self.outliers.abort();
        if let Some(reconciler) = &self.reconciler {
            reconciler.abort();
        }
    }
}

impl Reporter {
    /// No connection could be made to an upstream of last resort: its withdrawal was true, so it is left out from now on.
    ///
    /// Never waits. If the reconciler has no room the word is lost, and the end of the hold does the same later. Of other
    /// upstreams it is to be told nothing: in an outage they would leave no room.
    pub fn connect_failed(&self, upstream: &Arc<Upstream>) {
        let _lost = self.commands.try_send(Command::ConnectFailed(upstream.clone()));
    }

    /// A client names a service that the table does not have: registries may have to be asked about it. `asker` is a hash of
    /// its address, so that one client does not use up what is there for all. What becomes of that is told later; `None` if
    /// too many names come in, so that this one was not looked at.
    ///
    /// Never waits.
    #[must_use]
    pub fn want(&self, service: ServiceId, asker: u64) -> Option<oneshot::Receiver<Answer>> {
        let (answer, answered) = oneshot::channel();
        if self.wants.try_send(Want { service, asker, answer }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(answered)
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
