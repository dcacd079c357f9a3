//! Follows the table: which instances are looked at, by which checks, and how many at once.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use model::{Host, ServiceId, Tick};
use tokio::{
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use transport::{Upstream, clock};

use super::{
    Check, Findings, Pace,
    findings::Identity,
    probe,
    state::Standing,
    subject::{Subject, Target, Turn},
};
use crate::{
    How, Leave, Service,
    history::{About, History, What},
    reconciler::Retire,
};

/// Looks at once, over all services. More wait: a router that starts among thousands must not storm them, nor itself.
const AT_ONCE: usize = 64;
/// Looks at once at one host: a machine that hangs must not take all the others' turns.
const AT_ONE_HOST: usize = 16;
/// How long what is under way at an instance that fails its liveness check may go on.
const CLOSE: Duration = Duration::from_secs(30);

/// All instances under watch. Dropping it ends every look; what was found stays in force.
#[derive(Debug)]
pub(crate) struct Monitor {
    services: HashMap<ServiceId, HashMap<Identity, Watched>>,
    desk: Arc<Desk>,
}

/// One instance with its tasks, one for each check.
#[derive(Debug)]
struct Watched {
    subject: Arc<Subject>,
    tasks: Vec<AbortHandle>,
}

/// What all looks share.
struct Desk {
    findings: Arc<Findings>,
    history: Arc<History>,
    retire: Retire,
    all: Semaphore,
    hosts: Mutex<HashMap<Host, Weak<Semaphore>>>,
}

impl Monitor {
    pub(crate) fn new(history: Arc<History>, retire: Retire) -> Self {
        let (findings, all, hosts) = (Arc::default(), Semaphore::new(AT_ONCE), Mutex::default());
        Self { services: HashMap::new(), desk: Arc::new(Desk { findings, history, retire, all, hosts }) }
    }

    pub(crate) fn findings(&self) -> Arc<Findings> {
        Arc::clone(&self.desk.findings)
    }

    /// Follows a service as the next table has it; `None` if it has it no more. Newcomers among its instances are held
    /// when this returns.
    pub(crate) fn follow(
        &mut self,
        id: &ServiceId,
        service: Option<&Service>,
        is_new: impl Fn(&Upstream, &Arc<str>) -> bool,
        now: Tick,
    ) {
        let mut before = self.services.remove(id).unwrap_or_default();
        let mut after = HashMap::new();
        if let Some(service) = service.filter(|service| !service.policy.checks.is_empty()) {
            let checks = &service.policy.checks;
            for member in &service.members {
                let target = Target::new(member, &service.policy.tls);
                let identity = Identity::of(&member.upstream.vitals);
                let watched = match before.remove(&identity) {
                    Some(watched) => watched.under(checks, target, &self.desk, now),
                    None => {
                        let unproven = is_new(&member.upstream, &member.source);
                        let subject = Subject::new(Arc::clone(checks), target, unproven, now);
                        Watched::begin(subject, &self.desk, now)
                    }
                };
                after.insert(identity, watched);
            }
        }
        for (identity, watched) in before {
            self.desk.findings.remove(identity);
            watched.subject.let_go();
        }
        if !after.is_empty() {
            self.services.insert(id.clone(), after);
        }
    }
}

impl Watched {
    fn begin(subject: Subject, desk: &Arc<Desk>, now: Tick) -> Self {
        let subject = Arc::new(subject);
        desk.findings.add(&subject);
        let host = desk.host(&subject.target().upstream.address.host);
        let begin = |number: usize| {
            let first = match subject.next(number) {
                Some(planned) => planned.since(now),
                // It waits to be used. How many there may be at once is bounded.
                None if subject.standing() == Standing::Unproven => Duration::ZERO,
                None => subject.checks[number].pace.interval.mul_f64(fastrand::f64()),
            };
            let first = Instant::now() + first;
            tokio::spawn(watch(Arc::clone(&subject), number, Arc::clone(desk), Arc::clone(&host), first)).abort_handle()
        };
        let tasks = (0..subject.checks.len()).map(begin).collect();
        Self { subject, tasks }
    }

    /// Goes on as another table has the instance and its checks.
    fn under(self, checks: &Arc<[Check]>, target: Target, desk: &Arc<Desk>, now: Tick) -> Self {
        self.subject.aim(target);
        if self.subject.checks == *checks {
            return self;
        }
        Self::begin(self.subject.under(Arc::clone(checks), now), desk, now)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Looks at one instance by one of its checks, for good.
async fn watch(subject: Arc<Subject>, number: usize, desk: Arc<Desk>, host: Arc<Semaphore>, first: Instant) {
    let check = &subject.checks[number];
    let mut next = first;
    loop {
        subject.plan(number, clock::at(next));
        sleep_until(next).await;
        let found = {
            // The host's turn first: whoever waits for it must not keep others from theirs. Neither is ever closed.
            let _turns = (host.acquire().await, desk.all.acquire().await);
            next = Instant::now();
            Box::pin(probe::look(check, &subject.target())).await
        };
        desk.findings.count(check.what.kind(), &found);
        if let Some(turn) = subject.observe(number, &found, clock::tick()) {
            desk.tell(&turn);
        }
        next = (next + wait(subject.is_in_doubt(number), &check.pace, fastrand::f64())).max(Instant::now());
    }
}

/// From the beginning of one look to that of the next. `chance` is in `0.0..1.0`. Pure.
fn wait(in_doubt: bool, pace: &Pace, chance: f64) -> Duration {
    let every = if in_doubt { pace.fast } else { pace.interval };
    every.mul_f64(0.9 + chance / 5.0)
}

impl Desk {
    /// The turns of one host, shared by all that look at it. A name counts for itself, whatever it leads to.
    fn host(&self, host: &Host) -> Arc<Semaphore> {
        let host = match host {
            Host::Ip(ip) => Host::Ip(ip.to_canonical()),
            Host::Name(_) => host.clone(),
        };
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.get(&host).and_then(Weak::upgrade) {
            return known;
        }
        // Seldom, and each time half of them are gone at least: no host stays for good.
        if hosts.len() == hosts.capacity() {
            hosts.retain(|_, turns| turns.strong_count() > 0);
        }
        let turns = Arc::new(Semaphore::new(AT_ONE_HOST));
        hosts.insert(host, Arc::downgrade(&turns));
        turns
    }

    fn tell(&self, Turn { from, to, target, cause }: &Turn) {
        let (upstream, service) = (&target.upstream, &target.upstream.service);
        let (instance, address) = (&upstream.id, upstream.label());
        let what = match to {
            Standing::Up | Standing::Unproven => {
                tracing::info!(%service, %instance, address, %cause, "instance passes its checks: it takes requests");
                What::Healthy
            }
            Standing::Down => {
                tracing::warn!(%service, %instance, address, %cause, "instance fails a check: it gets no new requests");
                What::Unhealthy
            }
            Standing::Dead => {
                tracing::warn!(%service, %instance, address, %cause, "instance fails a liveness check: its connections close");
                (self.retire)(vec![Leave { key: upstream.key, how: How::Gone, drain: CLOSE }]);
                What::Unhealthy
            }
        };
        let role = if *to == Standing::Dead { "liveness: " } else { "" };
        let proven = if *from == Standing::Unproven && *to == Standing::Up { "proved itself: " } else { "" };
        let about =
            About { service: Some(service), source: Some(&target.source), cause: format!("{role}{proven}{cause}") };
        self.history.record(what, about, &[Arc::clone(&target.instance)]);
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("findings", &self.findings).finish_non_exhaustive()
    }
}

/// Which upstreams of a table are new: not those that only have other settings.
pub(crate) fn new_ones(arrived: &[Arc<Upstream>], departed: &[Arc<Upstream>]) -> HashSet<model::UpstreamKey> {
    let before: HashSet<_> = departed.iter().map(|upstream| Identity::of(&upstream.vitals)).collect();
    let is_new = |upstream: &&Arc<Upstream>| !before.contains(&Identity::of(&upstream.vitals));
    arrived.iter().filter(is_new).map(|upstream| upstream.key).collect()
}
