//! One trial: a real provider in a real reconciler, a fault that begins and ends, and what must hold meanwhile.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use balancer::{Algorithm, Place};
use discovery::{Discovery, Policies, Policy, Settings, provider::embedded::Registry, status::State};
use model::{Exposure, ServiceId};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use transport::ClientTls;

use super::{
    cells::{Cell, Fault},
    weather::{DAY, Weather},
};

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
    /// Where connections to it are counted.
    pub(crate) port: Option<u16>,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    /// If it is part of the router.
    pub(crate) inner: Option<Inner>,
    /// What has to stay while it runs.
    pub(crate) _keep: Vec<Box<dyn Send>>,
}

/// A registry that lives and dies with the router.
pub(crate) struct Inner {
    /// The one that runs.
    pub(crate) registry: watch::Sender<Option<Registry>>,
    /// Whether this befalls it when the router ends and begins.
    pub(crate) begins_anew: fn(Fault) -> bool,
    /// What it does to what is on disk.
    pub(crate) damage: Box<dyn Fn(Fault)>,
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
        Self { settings, world, calls, port: Some(address.port()), tasks, inner: None, _keep: keep }
    }

    /// Questions so far; if it refuses connections, how often that was.
    fn asked(&self, fault: Fault) -> u64 {
        match (fault, self.port) {
            (Fault::Refuses, Some(port)) => weather().connects(port),
            _ => self.calls.count(),
        }
    }
}

/// Of the program in which all trials of a source run.
fn weather() -> Weather {
    Weather::here().expect("the weather of the trials")
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
pub(crate) struct Found {
    pub(crate) fault: Fault,
    pub(crate) exposure: Exposure,
    pub(crate) shown: &'static str,
    pub(crate) served: &'static str,
    pub(crate) noticed: Duration,
    pub(crate) back: Duration,
    pub(crate) calls: u64,
    pub(crate) during: Duration,
}

pub(crate) async fn trial(source: &'static str, cell: Cell, exposure: Exposure, subject: Subject) -> Found {
    let fault = cell.fault;
    let mut stage = Stage::new(format!("{source}, {}", fault.name()), &subject, exposure.clone()).await;
    stage.until("two instances at first", |now| *now == Now { serving: 2, resort: 0, shown: "live" }, |_| true).await;

    let before = subject.asked(fault);
    let begun = Instant::now();
    begin(&subject.world, fault);
    if subject.inner.as_ref().is_some_and(|inner| (inner.begins_anew)(fault)) {
        stage = stage.again(&subject, fault).await;
    }
    let holds = |now: &Now| match cell.served {
        "kept" => now.serving == 2 && now.resort == 0,
        "last resort" => now.serving + now.resort == 2,
        _ => true,
    };
    // What looks as before counts only once the registry was asked again.
    let same = (cell.shown, cell.served) == ("live", "kept") && fault != Fault::ClockJump && subject.port.is_some();
    let shown =
        |now: &Now| now.shown == cell.shown && now.served() == cell.served && (!same || subject.asked(fault) > before);
    stage.until(&format!("{} and {}", cell.shown, cell.served), shown, holds).await;
    let noticed = begun.elapsed();
    for ahead in [1, -1] {
        if fault == Fault::ClockJump {
            jump(ahead);
        }
        let end = Instant::now() + AFTER / 2;
        stage.until("the end", |_| Instant::now() >= end, holds).await;
    }
    let (calls, during) = (subject.asked(fault) - before, begun.elapsed());
    stage.until(&format!("{} and {} still", cell.shown, cell.served), shown, holds).await;
    let now = stage.now();
    stage.is_stored(&subject, fault).await;
    // A few at once when a life begins, and then the pauses of the backoff.
    assert!(
        Duration::from_millis(calls * 200) < during + Duration::from_secs(2),
        "{}: {calls} calls in {during:?}",
        stage.what
    );

    let ended = Instant::now();
    end_fault(&subject, &stage).await;
    let back = ended.elapsed();
    if subject.inner.is_some() {
        // What failed to be written was written since.
        stage.is_stored(&subject, Fault::Empty).await;
        stage.again(&subject, Fault::Reset).await.ends("three instances after all", 3).await;
    }
    let (shown, served) = (now.shown, now.served());
    Found { fault, exposure, shown, served, noticed, back, calls, during }
}

/// The time of day is another: a day ahead, or a day behind.
fn jump(days: i64) {
    let before = SystemTime::now();
    weather().clock(days * i64::try_from(DAY.as_secs()).unwrap());
    let after = SystemTime::now();
    let moved = if days > 0 { after.duration_since(before) } else { before.duration_since(after) };
    assert!(moved.is_ok_and(|moved| moved > DAY / 2), "the clock did not jump: {before:?}, {after:?}");
}

/// A router that starts when the registry has failed already: it knows nothing, and so is not ready.
pub(crate) async fn start(source: &'static str, cell: Cell, exposure: Exposure, subject: Subject) {
    begin(&subject.world, cell.fault);
    // For the registry to be as its world is.
    sleep(LOOK * 10).await;
    let stage = Stage::new(format!("start of {source}, {}", cell.fault.name()), &subject, exposure.clone()).await;
    let nothing = |now: &Now| now.serving + now.resort == 0 && !stage.discovery.status().borrow().is_ready();
    // A catalogue that may not be read names nothing to be in doubt about.
    if cell.shown == "down" || exposure == Exposure::Routed {
        stage.until(cell.shown, |now| now.shown == cell.shown, nothing).await;
    }
    let end = Instant::now() + AFTER;
    stage.until("the end", |_| Instant::now() >= end, nothing).await;
    end_fault(&subject, &stage).await;
}

/// The registry is well again, and a third instance comes.
async fn end_fault(subject: &Subject, stage: &Stage) {
    subject.world.send_modify(|world| (world.fault, world.instances, world.index) = (None, 3, world.index + 1));
    stage.ends("three instances again", 3).await;
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
    fn served(&self) -> &'static str {
        match (self.serving, self.resort) {
            (0, 0) => "gone",
            (0, _) => "last resort",
            _ => "kept",
        }
    }
}

struct Stage {
    discovery: Discovery,
    what: String,
    exposure: Exposure,
}

impl Stage {
    async fn new(what: String, subject: &Subject, exposure: Exposure) -> Self {
        let end = Instant::now() + PATIENCE;
        let discovery = loop {
            let sources = vec![("test".to_owned(), subject.settings.clone())];
            match Discovery::start(sources, policies(exposure.clone()), None, |_| {}).await {
                Ok(discovery) => break discovery,
                // The one before may not have let go yet.
                Err(error) => assert!(Instant::now() < end, "{what}: {error}"),
            }
            sleep(LOOK).await;
        };
        if let Some(inner) = &subject.inner {
            let (_, _, registry) = discovery.registries().await.remove(0);
            inner.registry.send_replace(Some(registry));
        }
        Self { discovery, what: format!("{what}, {exposure:?}"), exposure }
    }

    /// The router ends, this befalls its registry, and it begins.
    async fn again(self, subject: &Subject, fault: Fault) -> Self {
        let inner = subject.inner.as_ref().expect("a registry within the router");
        inner.registry.send_replace(None);
        self.discovery.shutdown().await;
        (inner.damage)(fault);
        let stage = Self::new(self.what, subject, self.exposure).await;
        stage.until("an answer", |now| now.shown != "starting", |_| true).await;
        stage
    }

    /// Whether the registry's disk has all that was registered, which is to be so unless that is the fault.
    async fn is_stored(&self, subject: &Subject, fault: Fault) {
        let there = subject.inner.as_ref().and_then(|inner| inner.registry.borrow().clone());
        if let Some(registry) = there {
            let well = !matches!(fault, Fault::Hangs | Fault::ServerError);
            assert_eq!(registry.settled().await, well, "{}", self.what);
        }
    }

    /// Waits for this many instances, all serving.
    async fn ends(&self, what: &str, instances: usize) {
        // What was skipped stays counted.
        let is = |now: &Now| now.serving == instances && now.resort == 0 && matches!(now.shown, "live" | "skipped");
        self.until(what, is, |_| true).await;
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
