//! The only writer of the table: one task that joins what the sources say and publishes the result.
//!
//! | File | |
//! |---|---|
//! | `reconciler.rs` | the task: hear, obey, publish |
//! | `reconciler/first_use.rs` | services that clients name and the file does not |
//! | `reconciler/pace.rs` | how fast tables follow each other |
//! | `reconciler/overdue.rs` | when what is known is too old |
//! | `reconciler/leaving.rs` | which instances begin or cease to leave |
//! | `reconciler/remember.rs` | what is kept for the next start |
//! | `reconciler/story.rs` | what happened, for history and log |

mod first_use;
mod leaving;
mod overdue;
mod pace;
mod remember;
mod story;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use model::{ServiceId, Tick, UpstreamKey};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use transport::{Upstream, clock};

use crate::{
    How, Leave, Member, Policies, Table, TableCell,
    claims::{Change, Claims, SourceId, TooOld},
    freshness::Freshness,
    health::{Findings, Monitor, Newcomers, new_ones},
    history::{About, History, What},
    memory::Memory,
    provider::{Interest, Kind, Message},
    reconciler::{first_use::FirstUse, overdue::Overdue, pace::Pace, remember::Remembering, story::Cause},
    sources::Interests,
    status::{Status, Turn, Word},
    table::{Next, Touched},
};

pub use first_use::Answer;
pub(crate) use first_use::{WANTS, Want};

#[cfg(test)]
mod tests;

/// How many updates wait before providers do. More would only make a storm's news older.
pub(crate) const MAILBOX: usize = 64;

/// How often replaced tables are looked at. A core lets go of its old table within a second.
const SWEEP: Duration = Duration::from_secs(1);

/// Is told which upstreams are to leave, so that every core lets what is under way there end.
pub(crate) type Retire = Arc<dyn Fn(Vec<Leave>) + Send + Sync>;

/// A message of the rest of the program.
#[derive(Debug)]
pub(crate) enum Command {
    /// Other sources or policies, from a reload; answered once the table follows them.
    Arrange { sources: Vec<(SourceId, Arc<str>, Kind)>, policies: Arc<Policies>, done: oneshot::Sender<()> },
    /// No connection to an upstream of last resort.
    ConnectFailed(Arc<Upstream>),
    /// An operator puts an instance out, or lets it in again; answered whether that changed anything, if it is there.
    Drain { service: String, instance: String, on: bool, done: oneshot::Sender<Option<bool>> },
}

/// What the reconciler listens to.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) updates: mpsc::Receiver<Message>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) wants: mpsc::Receiver<Want>,
}

/// Where what the reconciler makes goes. Nobody else writes any of it.
pub(crate) struct Outlets {
    pub(crate) cell: Arc<TableCell>,
    pub(crate) status: watch::Sender<Arc<Status>>,
    pub(crate) interests: Interests<watch::Sender<Arc<Interest>>>,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) history: Arc<History>,
    pub(crate) retire: Retire,
    /// Wants there was no room for; others count them.
    pub(crate) dropped: Arc<AtomicU64>,
}

/// Everything the reconciler owns.
pub(crate) struct Reconciler {
    out: Outlets,
    claims: Claims,
    policies: Arc<Policies>,
    /// Services whose list may differ from the published table.
    touched: BTreeMap<ServiceId, Cause>,
    /// Of each update that is not published yet: when its source saw the change, and where the time it took goes.
    unpublished: Vec<(Instant, Arc<Freshness>)>,
    pace: Pace,
    /// Replaced tables that a reader may still hold; dropped here, so that no core pays for it.
    replaced: Vec<Arc<Table>>,
    remembering: Remembering,
    overdue: Overdue,
    monitor: Monitor,
    newcomers: Newcomers,
    first_use: FirstUse,
    /// Whether the sources are to be told anew what to watch: once, however many words made it so.
    asks_anew: bool,
}

impl Reconciler {
    /// Begins with the table of the cell, and its policies.
    pub(crate) fn new(out: Outlets, memory: Option<Memory>) -> Self {
        let policies = out.cell.with(|table| table.policies.clone());
        let monitor = Monitor::new(Arc::clone(&out.history), Arc::clone(&out.retire));
        Self {
            out,
            claims: Claims::new(Vec::new(), policies.holds()),
            policies,
            touched: BTreeMap::new(),
            unpublished: Vec::new(),
            pace: Pace::default(),
            replaced: Vec::new(),
            remembering: Remembering::new(memory),
            overdue: Overdue::default(),
            monitor,
            newcomers: Newcomers::default(),
            first_use: FirstUse::default(),
            asks_anew: false,
        }
    }

    /// What active checks find.
    pub(crate) fn findings(&self) -> Arc<Findings> {
        self.monitor.findings()
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
                Some(message) = mailbox.updates.recv() => self.hear(message),
                Some(want) = mailbox.wants.recv(), if self.first_use.is_open() => self.attend(want, &mut mailbox.wants),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            // Whatever else waits goes into the same table.
            for _ in 0..MAILBOX {
                let Ok(message) = mailbox.updates.try_recv() else { break };
                self.hear(message);
            }
            if std::mem::take(&mut self.asks_anew) {
                self.tell_interests();
            }
            self.expire();
            self.settle();
            self.publish_when_due();
            self.settle();
            self.replaced.retain(|table| Arc::strong_count(table) > 1);
        }
    }

    /// When to look again without being spoken to.
    fn wake(&self) -> Option<Instant> {
        let now = clock::tick();
        let publish = (!self.touched.is_empty()).then(|| self.pace.next());
        let sweep = (!self.replaced.is_empty()).then(|| now.after(SWEEP));
        let ours = [publish, sweep, self.first_use.next(now)];
        let theirs = [self.claims.next_deadline(), self.overdue.next()];
        let next = ours.into_iter().chain(theirs).flatten().min()?;
        Some(Instant::now() + next.since(now))
    }

    fn hear(&mut self, Message { source, update, seen, pulse }: Message) {
        let now = clock::tick();
        if self.is_late(source, &update, now) {
            return;
        }
        let word = Word::of(&update);
        self.first_use.heard(&update);
        let changes = self.claims.apply(source, update, now);
        let suspected = changes.iter().map(|change| change.diff.suspected.len() as u64).sum();
        let (mut about, mut turns) = (None, Vec::new());
        self.out.status.send_modify(|status| {
            let status = Arc::make_mut(status);
            let unlisted = |status: &Status| status.source(source).map_or(0, |s| s.unlisted.len());
            status.feel(source, &pulse);
            let before = unlisted(status);
            turns = status.note(source, word, suspected, &self.claims, now);
            self.asks_anew |= unlisted(status) != before;
            about = status.source(source).map(|s| (s.name.clone(), s.freshness.clone()));
        });
        // A source that was removed changes nothing.
        let Some((name, freshness)) = about else { return };
        for turn in &turns {
            self.turn(source, &name, turn, now);
        }
        if !changes.is_empty() {
            self.unpublished.push((seen, freshness));
            self.changed(changes, &Cause::Source(name));
        }
    }

    /// Follows what is new about a source.
    fn turn(&mut self, id: SourceId, name: &Arc<str>, turn: &Turn, now: Tick) {
        let status = Arc::clone(&self.out.status.borrow());
        self.remembering.turn(turn, id, &status, &self.claims);
        story::tell_turn(&self.out.history, Some(name), turn);
        let cause = || Cause::Source(name.clone());
        let Some(source) = status.source(id) else { return };
        match turn {
            Turn::Down(_) => self.overdue.watch(source, &self.claims, &self.policies, now),
            Turn::Doubt(service, _) => self.overdue.watch_one(source, service, &self.policies, now),
            Turn::Live(_) => {
                let renewed = overdue::renewed(id, &self.claims, &self.policies);
                self.touched.extend(renewed.into_iter().map(|service| (service, cause())));
            }
            Turn::Certain(service, _) => drop(self.touched.insert(service.clone(), cause())),
            Turn::Confirmed(service) if self.policies.limits_age() => {
                self.touched.insert(service.clone(), cause());
            }
            Turn::Confirmed(_) | Turn::Skipped(_) => {}
        }
    }

    /// Notes that the words of sources changed.
    fn changed(&mut self, changes: Vec<Change>, cause: &Cause) {
        let status = Arc::clone(&self.out.status.borrow());
        let name = |source| status.source(source).map(|s| &s.name);
        story::tell_changes(&self.out.history, &changes, name, cause);
        self.touched.extend(changes.into_iter().map(|change| (change.service, cause.clone())));
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Arrange { sources, policies, done } => {
                self.arrange(&sources, policies);
                // The one who reloads may have given up waiting.
                let _gone = done.send(());
            }
            Command::ConnectFailed(upstream) => {
                let changes = self.claims.connect_failed(&upstream.service, &upstream.address, clock::tick());
                self.changed(changes, &Cause::ConnectFailed);
            }
            Command::Drain { service, instance, on, done } => {
                // The one who asked may have given up waiting.
                let _gone = done.send(self.drain(&service, &instance, on, clock::tick()));
            }
        }
    }

    fn arrange(&mut self, sources: &[(SourceId, Arc<str>, Kind)], policies: Arc<Policies>) {
        let (now, begins) = (clock::tick(), self.out.status.borrow().sources.is_empty());
        self.newcomers.arrange(sources.iter().map(|(_, name, _)| name));
        let ids = sources.iter().map(|(id, name, _)| (*id, name.clone())).collect();
        self.policies = policies;
        self.claims.arrange(ids, self.policies.holds(), &self.policies.interest(), now);
        self.permit(sources, now);
        let interests = self.meant();
        self.out.status.send_modify(|status| {
            let status = Arc::make_mut(status);
            status.arrange(sources, &interests, &self.claims, now);
            self.remembering.recall(status, &mut self.claims, &interests.whole, &self.out.history);
        });
        self.resume(now);
        let status = Arc::clone(&self.out.status.borrow());
        self.remembering.follow(&status, &self.claims);
        self.tell_interests();
        self.show();
        for source in &status.sources {
            self.overdue.watch(source, &self.claims, &self.policies, now);
        }
        let cause = format!("{} sources, {} routed services", sources.len(), self.policies.routed.len());
        self.out.history.record(What::Arranged, About { cause, ..About::default() }, &[]);
        // Before any source there is nothing but what is remembered.
        self.touch_all(&if begins { Cause::Remembered } else { Cause::Reload });
        self.publish();
    }

    fn touch_all(&mut self, cause: &Cause) {
        let tabled: Vec<_> = self.out.cell.with(|t| t.services().map(|s| s.id.clone()).collect());
        let claimed = self.claims.services().cloned();
        let all = claimed.chain(tabled).chain(self.policies.routed.iter().cloned());
        self.touched.extend(all.map(|s| (s, cause.clone())));
    }

    fn expire(&mut self) {
        let now = clock::tick();
        let over = self.claims.expire(now);
        self.changed(over, &Cause::HoldOver);
        let vacant = self.claims.forget_vacant(now);
        self.touched.extend(vacant.into_iter().map(|service| (service, Cause::Vacant)));
        self.look_at_use(now);
        for service in self.overdue.due(now) {
            if let Some(what) = self.too_old(&service, now) {
                story::tell_too_old(&self.out.history, &service, what);
            }
            self.touched.insert(service, Cause::TooOld);
        }
    }

    /// What becomes of what any source says of a service because it is too old.
    fn too_old(&self, service: &ServiceId, now: Tick) -> Option<TooOld> {
        let status = self.out.status.borrow();
        status.sources.iter().find_map(|s| overdue::too_old(&status, s.id, service, &self.policies, now))
    }

    fn publish_when_due(&mut self) {
        if !self.touched.is_empty() && self.pace.take(clock::tick()) {
            self.publish();
        }
    }

    /// Makes the next table of all that was touched and stores it.
    fn publish(&mut self) {
        let causes = std::mem::take(&mut self.touched);
        let unpublished = std::mem::take(&mut self.unpublished);
        let (status, now) = (Arc::clone(&self.out.status.borrow()), clock::tick());
        for service in causes.keys() {
            self.remembering.note(service, &status, &self.claims);
        }
        let joined = |service: &ServiceId| {
            let too_old = |source| overdue::too_old(&status, source, service, &self.policies, now);
            self.claims.joined(service, &self.policies.of(service).rules.merge, too_old)
        };
        // One after the other: all lists at once are much memory when all services are touched.
        let touched = causes.keys().map(|s| -> Touched { (s.clone(), joined(s)) });
        let next = self.out.cell.with(|t| t.next(touched, &self.policies, now));
        let Some(Next { table, arrived, departed }) = next else { return self.note_told(&causes, &status) };
        occupy(&table, causes.keys(), now);
        self.watch(&table, &causes, &new_ones(&arrived, &departed), &status);
        self.note_told(&causes, &status);
        let mut leaving = self.out.cell.with(|before| {
            story::warn_of_weights(before, &table, causes.keys());
            leaving::turned(before, &table, causes.keys(), now)
        });
        let generation = table.generation;
        self.replaced.push(self.out.cell.store(table));
        for (seen, freshness) in &unpublished {
            freshness.record(seen.elapsed());
        }
        if let Some(first) = unpublished.iter().map(|(seen, _)| seen).min() {
            self.out.freshness.record(first.elapsed());
        }
        story::log(generation, &causes, &arrived, &departed);
        let drain = |upstream: &Upstream| self.policies.of(&upstream.service).bounds.drain;
        leaving.extend(departed.iter().map(|u| Leave { key: u.key, how: How::Gone, drain: drain(u) }));
        if !leaving.is_empty() {
            (self.out.retire)(leaving);
        }
    }

    /// Looks after the instances as the next table has them. Those that have to prove themselves are held from here on,
    /// before any request can see them.
    fn watch(
        &mut self,
        table: &Table,
        services: &BTreeMap<ServiceId, Cause>,
        new: &HashSet<UpstreamKey>,
        status: &Status,
    ) {
        let newcomers = &self.newcomers;
        let vouches = |source: &str| status.sources.iter().any(|s| *s.name == *source && s.kind.reports_health());
        let is_new = |upstream: &Upstream, source: &Arc<str>| {
            new.contains(&upstream.key) && newcomers.are_of(source, &upstream.service) && !vouches(source)
        };
        for service in services.keys() {
            self.monitor.follow(service, table.service(service.as_str()).map(|s| &**s), is_new, clock::tick());
        }
    }

    /// What sources have said of these services by now is in the table.
    fn note_told(&mut self, services: &BTreeMap<ServiceId, Cause>, status: &Status) {
        for source in status.sources.iter().filter(|s| self.newcomers.awaits(&s.name)).cloned().collect::<Vec<_>>() {
            if source.answered {
                self.newcomers.told_all(&source.name);
                continue;
            }
            let itself =
                |s: &&ServiceId| self.claims.speaks_of(source.id, s) && !self.claims.is_inherited(source.id, s);
            services.keys().filter(itself).for_each(|service| self.newcomers.told(&source.name, service));
        }
    }
}

/// Notes which of these services have instances in a table that nobody reads yet, and which have none.
fn occupy<'a>(table: &Table, services: impl Iterator<Item = &'a ServiceId>, now: Tick) {
    for service in services.filter_map(|name| table.service(name.as_str())) {
        let occupancy = &service.vitals.occupancy;
        if service.members.is_empty() { occupancy.vacate(now) } else { occupancy.occupy() }
    }
}
