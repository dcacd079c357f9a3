//! The same among many services, of which one or another changes all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use benches::{
    registry::{Consul, Embedded, Etcd, HOST, Many},
    threads,
};
use clap::ValueEnum;
use router::Router;
use testkit::Instance;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    guest,
    load::{Load, Outcome},
    start,
};

/// The thread of the router that follows registries.
const CONTROL: &str = "control";
/// How long the router is left alone, to see what it spends without changes.
const CALM: Duration = Duration::from_secs(5);
/// Spells of load without changes; each is followed by one with them, so that what else the machine does meets both.
const SPELLS: usize = 4;
/// Of each.
const SPELL: Duration = Duration::from_secs(5);
/// Nothing more to take in: what was spent in a second is below this.
const RESTING: Duration = Duration::from_millis(20);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    registry: Kind,
    /// 10,000; of Consul, over TLS, 1,000.
    #[arg(long)]
    services: Option<usize>,
    /// Of each service.
    #[arg(long, default_value_t = 10)]
    instances: usize,
    /// A second.
    #[arg(long, default_value_t = 100)]
    changes: u32,
    /// Comings and goings of the guest that are measured meanwhile.
    #[arg(long, default_value_t = 100)]
    guests: u32,
    /// Requests a second, with and without changes.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
}

impl Options {
    fn services(&self) -> usize {
        self.services.unwrap_or(if matches!(self.registry, Kind::Consul) { 1000 } else { 10_000 })
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Consul,
    Embedded,
    Etcd,
}

pub(crate) async fn measure(options: &Options) {
    match options.registry {
        Kind::Consul => among(Consul::start_tls(), options).await,
        Kind::Embedded => among(Embedded::new(), options).await,
        Kind::Etcd => among(Etcd::start(), options).await,
    }
}

async fn among<R: Many>(registry: R, options: &Options) {
    let router = start(&registry, "expose: { service: [ 'many-*' ] }\n");
    let begun = Instant::now();
    registry.fill(options.services(), options.instances).await;
    println!(
        "{:<9} {} x {} instances registered in {:.0?}",
        R::NAME,
        options.services(),
        options.instances,
        begun.elapsed()
    );
    while spent_in(Duration::from_secs(1)).await > RESTING {}
    let calm = share(spent_in(CALM).await, CALM);

    let (before, begun) = (threads::spent(CONTROL), Instant::now());
    let changes = Changes::start(registry.clone(), options);
    guest::measure(&router, &registry, options.guests).await;
    let (count, took) = (changes.end(), begun.elapsed());
    let busy = share(threads::spent(CONTROL) - before, took);
    let rate = count as f64 / took.as_secs_f64();
    println!("{:<9} {rate:.0} changes/s: control thread {busy:.1} % of a core, {calm:.1} % without them", R::NAME);
    requests(&router, &registry, options).await;
}

/// What requests take, with and without changes.
async fn requests<R: Many>(router: &Router, registry: &R, options: &Options) {
    let host = Instance::h2c().start().await;
    registry.register(HOST, host.addr()).await;
    // One that is routed by now, and as warm as it will be.
    let mut first = Outcome::default();
    spell(router, options, &mut first).await;
    let (mut without, mut with) = (Outcome::default(), Outcome::default());
    for _ in 0..SPELLS {
        spell(router, options, &mut without).await;
        let changes = Changes::start(registry.clone(), options);
        spell(router, options, &mut with).await;
        changes.end();
    }
    println!("{:<9} without changes  {without}", R::NAME);
    println!("{:<9} with changes     {with}", R::NAME);
    registry.deregister(HOST).await;
}

async fn spell(router: &Router, options: &Options, outcome: &mut Outcome) {
    let load = Load::start(router.addresses().clients[0].0, options.rate).await;
    sleep(SPELL).await;
    load.end(outcome).await;
}

async fn spent_in(time: Duration) -> Duration {
    let before = threads::spent(CONTROL);
    sleep(time).await;
    threads::spent(CONTROL) - before
}

/// In percent.
fn share(spent: Duration, of: Duration) -> f64 {
    100.0 * spent.as_secs_f64() / of.as_secs_f64()
}

/// Instances that get other weights, one after the other, each of another service than the one before.
struct Changes {
    count: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Changes {
    fn start<R: Many>(registry: R, options: &Options) -> Self {
        let count = Arc::<AtomicU64>::default();
        let (made, services, instances) = (count.clone(), options.services(), options.instances);
        let mut ticks = interval(Duration::from_secs(1) / options.changes);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let task = tokio::spawn(async move {
            for number in 0.. {
                ticks.tick().await;
                let round = number / services;
                registry.alter(number % services, round % instances, round + 2).await;
                made.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { count, task }
    }

    /// How many were made.
    fn end(self) -> u64 {
        self.task.abort();
        self.count.load(Ordering::Relaxed)
    }
}
