//! The only writer of the table: one task that joins what the sources say and publishes the result.

mod pace;
mod remember;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use model::{ServiceId, Update, UpstreamKey};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use transport::{Upstream, clock};

use crate::{
    Policies, Table, TableCell,
    claims::{Claims, SourceId},
    freshness::Freshness,
    memory::Memory,
    provider::Interest,
    reconciler::{pace::Pace, remember::Remembering},
    status::{Status, Word},
    table::{Next, Touched},
};

#[cfg(test)]
mod tests;

/// How many updates wait before providers do. More would only make a storm's news older.
pub(crate) const MAILBOX: usize = 64;

/// How often replaced tables are looked at. A core lets go of its old table within a second.
const SWEEP: Duration = Duration::from_secs(1);

/// How many services of one table get a log line of their own: more is a start or a reload, which nobody reads line by
/// line.
const LOGGED: usize = 32;

/// Is told which upstreams left the table, so that every core drains their connections.
pub(crate) type Retire = Box<dyn Fn(Vec<UpstreamKey>) + Send>;

/// A message of the rest of the program.
#[derive(Debug)]
pub(crate) enum Command {
    /// Other sources or policies, from a reload; answered once the table follows them.
    Arrange { sources: Vec<(SourceId, Arc<str>, &'static str)>, policies: Arc<Policies>, done: oneshot::Sender<()> },
    /// No connection to an upstream of last resort.
    ConnectFailed(Arc<Upstream>),
}

/// What the reconciler listens to.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) updates: mpsc::Receiver<(SourceId, Update)>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

/// Why a service is looked at again, for the log.
#[derive(Debug, Clone)]
enum Cause {
    Source(Arc<str>),
    Reload,
    HoldOver,
    ConnectFailed,
}

/// Everything the reconciler owns. Nobody else writes any of it.
pub(crate) struct Reconciler {
    pub(crate) cell: Arc<TableCell>,
    pub(crate) status: watch::Sender<Arc<Status>>,
    pub(crate) interest: watch::Sender<Arc<Interest>>,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) retire: Retire,
    claims: Claims,
    policies: Arc<Policies>,
    /// Services whose list may differ from the published table.
    touched: BTreeMap<ServiceId, Cause>,
    /// When the first update came that is not published yet.
    unpublished: Option<Instant>,
    pace: Pace,
    /// Replaced tables that a reader may still hold; dropped here, so that no core pays for it.
    replaced: Vec<Arc<Table>>,
    remembering: Remembering,
}

impl Reconciler {
    pub(crate) fn new(
        cell: Arc<TableCell>,
        policies: Arc<Policies>,
        status: watch::Sender<Arc<Status>>,
        interest: watch::Sender<Arc<Interest>>,
        freshness: Arc<Freshness>,
        memory: Option<Memory>,
        retire: Retire,
    ) -> Self {
        Self {
            cell,
            status,
            interest,
            freshness,
            retire,
            claims: Claims::new(Vec::new(), policies.hold),
            policies,
            touched: BTreeMap::new(),
            unpublished: None,
            pace: Pace::default(),
            replaced: Vec::new(),
            remembering: Remembering::new(memory),
        }
    }

    /// Runs until nobody can send commands any more.
    pub(crate) async fn run(mut self, mut mailbox: Mailbox) {
        loop {
            let wake = self.wake();
            tokio::select! {
                biased;
                command = mailbox.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                Some((source, update)) = mailbox.updates.recv() => self.hear(source, update),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            // Whatever else waits goes into the same table.
            for _ in 0..MAILBOX {
                let Ok((source, update)) = mailbox.updates.try_recv() else { break };
                self.hear(source, update);
            }
            self.expire();
            self.publish_when_due();
            self.replaced.retain(|table| Arc::strong_count(table) > 1);
        }
    }

    /// When to look again without being spoken to.
    fn wake(&self) -> Option<Instant> {
        let now = clock::tick();
        let publish = (!self.touched.is_empty()).then(|| self.pace.next());
        let sweep = (!self.replaced.is_empty()).then(|| now.after(SWEEP));
        let next = [publish, sweep, self.claims.next_deadline()].into_iter().flatten().min()?;
        Some(Instant::now() + next.since(now))
    }

    fn hear(&mut self, source: SourceId, update: Update) {
        let now = clock::tick();
        let word = Word::of(&update);
        let touched = self.claims.apply(source, update, now);
        let (mut name, mut turns) = (None, Vec::new());
        self.status.send_modify(|status| {
            let status = Arc::make_mut(status);
            turns = status.note(source, word, &self.claims, now);
            name = status.sources.iter().find(|s| s.id == source).map(|s| s.name.clone());
        });
        for turn in &turns {
            self.remembering.turn(turn, source, &self.status.borrow(), &self.claims);
        }
        if let Some(name) = name.filter(|_| !touched.is_empty()) {
            self.unpublished.get_or_insert_with(Instant::now);
            self.touched.extend(touched.into_iter().map(|s| (s, Cause::Source(name.clone()))));
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Arrange { sources, policies, done } => {
                let ids = sources.iter().map(|(id, name, _)| (*id, name.clone())).collect();
                let interest = policies.interest();
                self.claims.arrange(ids, policies.hold, &interest);
                self.status.send_modify(|status| {
                    let status = Arc::make_mut(status);
                    status.arrange(&sources, &interest, &self.claims, clock::tick());
                    self.remembering.recall(status, &mut self.claims, &interest);
                });
                self.remembering.follow(&self.status.borrow());
                self.interest.send_if_modified(|old| {
                    let changed = **old != interest;
                    if changed {
                        *old = Arc::new(interest);
                    }
                    changed
                });
                self.policies = policies;
                self.touch_all();
                self.publish();
                // The one who reloads may have given up waiting.
                let _gone = done.send(());
            }
            Command::ConnectFailed(upstream) => {
                if self.claims.connect_failed(&upstream.service, &upstream.address) {
                    self.touched.insert(upstream.service.clone(), Cause::ConnectFailed);
                }
            }
        }
    }

    fn touch_all(&mut self) {
        let tabled: Vec<_> = self.cell.with(|t| t.services().map(|s| s.id.clone()).collect());
        let claimed = self.claims.services().cloned();
        let all = claimed.chain(tabled).chain(self.policies.routed.iter().cloned());
        self.touched.extend(all.map(|s| (s, Cause::Reload)));
    }

    fn expire(&mut self) {
        let over = self.claims.expire(clock::tick());
        self.touched.extend(over.into_iter().map(|s| (s, Cause::HoldOver)));
    }

    fn publish_when_due(&mut self) {
        if !self.touched.is_empty() && self.pace.take(clock::tick()) {
            self.publish();
        }
    }

    /// Makes the next table of all that was touched and stores it.
    fn publish(&mut self) {
        let causes = std::mem::take(&mut self.touched);
        let since = self.unpublished.take();
        for service in causes.keys() {
            self.remembering.note(service, &self.claims);
        }
        // One after the other: all lists at once are much memory when all services are touched.
        let touched = causes.keys().map(|s| -> Touched { (s.clone(), self.claims.joined(s)) });
        let Some(Next { table, arrived, departed }) = self.cell.with(|t| t.next(touched, &self.policies)) else {
            return;
        };
        let generation = table.generation;
        self.replaced.push(self.cell.store(table));
        if let Some(since) = since {
            self.freshness.record(since.elapsed());
        }
        log(generation, &causes, &arrived, &departed);
        if !departed.is_empty() {
            (self.retire)(departed.iter().map(|u| u.key).collect());
        }
    }
}

/// One line per service whose members changed, or one for all if they are many.
fn log(generation: u64, causes: &BTreeMap<ServiceId, Cause>, arrived: &[Arc<Upstream>], departed: &[Arc<Upstream>]) {
    let mut changes: BTreeMap<&ServiceId, (Vec<&Upstream>, Vec<&Upstream>)> = BTreeMap::new();
    for upstream in arrived {
        changes.entry(&upstream.service).or_default().0.push(upstream);
    }
    for upstream in departed {
        changes.entry(&upstream.service).or_default().1.push(upstream);
    }
    if changes.len() > LOGGED {
        let (services, came, left) = (changes.len(), arrived.len(), departed.len());
        tracing::info!(services, came, left, generation, "instances of many services changed");
        return;
    }
    let labels = |list: Vec<&Upstream>| list.iter().map(|u| u.address.to_string()).collect::<Vec<_>>();
    for (service, (came, left)) in changes {
        if let Some(cause) = causes.get(service) {
            let (came, left) = (labels(came), labels(left));
            tracing::info!(%service, ?came, ?left, %cause, generation, "instances changed");
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(name) => write!(f, "source {name}"),
            Self::Reload => f.write_str("reload"),
            Self::HoldOver => f.write_str("hold over"),
            Self::ConnectFailed => f.write_str("connect failed"),
        }
    }
}
