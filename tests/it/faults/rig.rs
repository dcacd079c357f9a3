//! One trial: a real provider in a real reconciler, a fault that begins and ends, and what must hold meanwhile.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use balancer::{Algorithm, Place};
use discovery::{Discovery, Policies, Policy, Settings, status::State};
use model::{Exposure, ServiceId};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet, LocalSet},
    time::{Instant, sleep},
};
use transport::ClientTls;

use super::cells::{By, Cell, Fault};

/// Long enough for the longest deadline of a source on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a fault goes on once it is seen.
const AFTER: Duration = Duration::from_millis(1500);
const LOOK: Duration = Duration::from_millis(10);

/// What the registry is made of, and what is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// Instances of `pets`: 10.0.0.1, 10.0.0.2 and so on.
    pub(crate) instances: u8,
    /// Grows with every change.
    pub(crate) index: u64,
    /// Another one is another registry: what was before is forgotten.
    pub(crate) era: u64,
    pub(crate) fault: Option<Fault>,
}

/// A registry that can be made to fail, and how a router is told of it. Dropped, it is gone.
pub(crate) struct Subject {
    pub(crate) settings: Settings,
    pub(crate) world: watch::Sender<World>,
    pub(crate) calls: Calls,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    /// What has to stay while it runs.
    pub(crate) _keep: Vec<Box<dyn Send>>,
}

/// Questions it was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<AtomicU64>);

impl Calls {
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Subject {
    /// One that listens on loopback: `serve` starts it, `settings` is given its address.
    pub(crate) async fn listening(
        serve: impl FnOnce(TcpListener, watch::Receiver<World>, Calls) -> Vec<JoinHandle<()>>,
        settings: impl FnOnce(SocketAddr) -> (Settings, Vec<Box<dyn Send>>),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (world, calls) = (world(), Calls::default());
        let tasks = serve(listener, world.subscribe(), calls.clone());
        let (settings, keep) = settings(address);
        Self { settings, world, calls, tasks, _keep: keep }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Until it refuses connections.
pub(crate) async fn refuses(world: &mut watch::Receiver<World>) {
    drop(world.wait_for(|world| world.fault == Some(Fault::Refuses)).await);
}

/// A world of two instances.
pub(crate) fn world() -> watch::Sender<World> {
    watch::Sender::new(World { instances: 2, index: 100, era: 1, fault: None })
}

/// What one trial found.
#[derive(Debug)]
struct Found {
    cell: Cell,
    exposure: Exposure,
    noticed: Duration,
    back: Duration,
    calls: u64,
    during: Duration,
}

/// Tries every cell of a source that is to be tried, all at once, and prints its rows.
pub(crate) async fn table<F: Future<Output = Subject>>(source: &'static str, subject: impl Fn() -> F) {
    let all = async {
        let (mut trials, mut starts) = (JoinSet::new(), JoinSet::new());
        for cell in super::cells::of(source).iter().filter(|cell| matches!(cell.by, By::Trial)) {
            // Found by its name, and in the catalogue.
            for exposure in [Exposure::Routed, Exposure::Everything] {
                if matches!(cell.shown, "down" | "doubt") {
                    starts.spawn_local(start(source, *cell, exposure.clone(), subject().await));
                }
                trials.spawn_local(trial(source, *cell, exposure, subject().await));
            }
        }
        starts.join_all().await;
        trials.join_all().await
    };
    let mut found = LocalSet::new().run_until(all).await;
    found.sort_by_key(|found| (found.cell.fault, found.exposure != Exposure::Routed));
    found.dedup_by_key(|found| found.cell.fault);
    for Found { cell, noticed, back, calls, during, .. } in found {
        let (fault, shown, served) = (cell.fault.name(), cell.shown, cell.served);
        let [noticed, back, during] = [noticed, back, during].map(|time| time.as_secs_f64());
        // Connections that were refused were not seen, and a disk counts nothing.
        let calls = if calls == 0 { String::new() } else { format!("{calls} in {during:.1} s") };
        println!("{source} | {fault} | {shown} | {served} | {noticed:.1} s | {back:.1} s | {calls} | trial |");
    }
}

async fn trial(source: &'static str, cell: Cell, exposure: Exposure, subject: Subject) -> Found {
    let stage = Stage::new(format!("{source}, {}", cell.fault.name()), &subject, exposure.clone()).await;
    stage.until("two instances at first", |now| *now == Now { serving: 2, resort: 0, shown: "live" }, |_| true).await;

    let before = subject.calls.count();
    let begun = Instant::now();
    begin(&subject.world, cell.fault);
    let holds = |now: &Now| match cell.served {
        "kept" => now.serving == 2 && now.resort == 0,
        "last resort" => now.serving + now.resort == 2,
        _ => true,
    };
    let shown = |now: &Now| now.shown == cell.shown && now.is_served(cell.served);
    stage.until(&format!("{} and {}", cell.shown, cell.served), shown, holds).await;
    let noticed = begun.elapsed();
    let end = Instant::now() + AFTER;
    stage.until("the end", |_| Instant::now() >= end, holds).await;
    let (calls, during) = (subject.calls.count() - before, begun.elapsed());
    // A few at once when a life begins, and then the pauses of the backoff.
    assert!(
        Duration::from_millis(calls * 200) < during + Duration::from_secs(2),
        "{}: {calls} calls in {during:?}",
        stage.what
    );

    let ended = Instant::now();
    end_fault(&subject, &stage).await;
    Found { cell, exposure, noticed, back: ended.elapsed(), calls, during }
}

/// A router that starts when the registry has failed already: it knows nothing, and so is not ready.
async fn start(source: &'static str, cell: Cell, exposure: Exposure, subject: Subject) {
    begin(&subject.world, cell.fault);
    // For the registry to be as its world is.
    sleep(LOOK * 10).await;
    let stage = Stage::new(format!("start of {source}, {}", cell.fault.name()), &subject, exposure).await;
    let nothing = |now: &Now| now.serving + now.resort == 0 && !stage.discovery.status().borrow().is_ready();
    stage.until(cell.shown, |now| now.shown == cell.shown, nothing).await;
    let end = Instant::now() + AFTER;
    stage.until("the end", |_| Instant::now() >= end, nothing).await;
    end_fault(&subject, &stage).await;
}

/// The registry is well again, and a third instance comes.
async fn end_fault(subject: &Subject, stage: &Stage) {
    subject.world.send_modify(|world| (world.fault, world.instances, world.index) = (None, 3, world.index + 1));
    // What was skipped stays counted.
    let again = |now: &Now| now.serving == 3 && now.resort == 0 && matches!(now.shown, "live" | "skipped");
    stage.until("three instances again", again, |_| true).await;
}

/// What the fault does to the registry itself; what it does to its answers is the registry's.
fn begin(world: &watch::Sender<World>, fault: Fault) {
    world.send_modify(|world| {
        world.fault = Some(fault);
        match fault {
            Fault::Empty => (world.instances, world.index) = (0, world.index + 1),
            Fault::RestartEmpty => (world.instances, world.index, world.era) = (0, 3, world.era + 1),
            Fault::Reset => (world.index, world.era) = (5, world.era + 1),
            _ => {}
        }
    });
}

/// What a router shows of `pets` and its source.
#[derive(Debug, PartialEq, Eq)]
struct Now {
    serving: usize,
    resort: usize,
    shown: &'static str,
}

impl Now {
    fn is_served(&self, how: &str) -> bool {
        match how {
            "kept" => self.serving > 0,
            "last resort" => self.serving == 0 && self.resort > 0,
            _ => self.serving + self.resort == 0,
        }
    }
}

struct Stage {
    discovery: Discovery,
    what: String,
}

impl Stage {
    async fn new(what: String, subject: &Subject, exposure: Exposure) -> Self {
        let (what, sources) = (format!("{what}, {exposure:?}"), vec![("test".to_owned(), subject.settings.clone())]);
        let discovery = Discovery::start(sources, policies(exposure), None, |_| {}).await.unwrap();
        Self { discovery, what }
    }

    fn now(&self) -> Now {
        let table = self.discovery.table().load();
        let members = table.service("pets").map_or(&[][..], |service| &service.members);
        let resort = members.iter().filter(|member| member.resort).count();
        let status = self.discovery.status().borrow().clone();
        let source = &status.sources[0];
        let shown = match &source.state {
            State::Down(_) => "down",
            _ if !source.doubts.is_empty() => "doubt",
            State::Live if source.skipped.count > 0 => "skipped",
            State::Live => "live",
            State::Starting => "starting",
        };
        Now { serving: members.len() - resort, resort, shown }
    }

    /// Looks until it is as wanted; at each look this must hold.
    async fn until(&self, wanted: &str, is: impl Fn(&Now) -> bool, holds: impl Fn(&Now) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = self.now();
            let sources = || format!("{:?}", self.discovery.status().borrow().sources);
            assert!(holds(&now), "{}: waiting for {wanted}: {now:?}; {}", self.what, sources());
            if is(&now) {
                return;
            }
            assert!(Instant::now() < end, "{}: never {wanted}: {now:?}; {}", self.what, sources());
            sleep(LOOK).await;
        }
    }
}

/// One service, routed to unless everything is exposed.
fn policies(exposure: Exposure) -> Policies {
    let routed = (exposure == Exposure::Routed).then(|| ServiceId::new("pets").unwrap());
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let tls = Arc::new(ClientTls { config: Arc::new(tls), server_name: None, fingerprint: 1 });
    let policy = Policy { balance: Algorithm::LeastRequests.into(), ..Policy::new(tls) };
    Policies {
        default: Arc::new(policy),
        services: HashMap::new(),
        routed: routed.into_iter().collect(),
        exposure,
        first_use: None,
        environment: None,
        place: Place::default(),
        hold: Duration::from_secs(300),
        holds: HashMap::new(),
    }
}
