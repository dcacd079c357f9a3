//! A registry that is cut off, changes meanwhile, and can be reached again.

use std::{net::SocketAddr, time::Duration};

use benches::{
    Probe, Spread,
    registry::{Consul, Etcd, GUEST, HOST, Kubernetes, Registry, ZooKeeper},
};
use clap::ValueEnum;
use serde_json::Value;
use testkit::Instance;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use transport::client::{Client, ClientSettings};

use crate::{
    gate::Gate,
    load::{Load, Outcome},
    namespace::Namespace,
    start_with,
};

/// Of the load.
const RATE: u32 = 200;
/// Between partitions.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    registry: Kind,
    /// Seconds that each partition lasts.
    #[arg(default_value_t = 10)]
    seconds: u64,
    /// How long a watch of the router lasts, or its session with ZooKeeper (`5s`); otherwise as its configuration has it.
    #[arg(long)]
    wait: Option<String>,
    /// Partitions in which the guest leaves; in as many it comes.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The way leads through a network namespace, which loses all packets meanwhile. Needs root.
    #[arg(long)]
    namespace: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Consul,
    Etcd,
    Kubernetes,
    Zookeeper,
}

/// The way to the registry.
struct Way {
    gate: Gate,
    namespace: Option<Namespace>,
}

impl Way {
    async fn open(to: SocketAddr, namespace: bool) -> Self {
        let namespace = namespace.then(Namespace::make);
        let gate = match &namespace {
            Some(namespace) => Gate::at(TcpListener::from_std(namespace.listener()).expect("a runtime"), to),
            None => Gate::open(to).await,
        };
        Self { gate, namespace }
    }

    fn cut(&self) {
        self.namespace.as_ref().map_or_else(|| self.gate.cut(), Namespace::cut);
    }

    /// What the router spent on it while it was cut: packets that were lost, or connections to the proxy.
    fn spent(&self, before: u64) -> u64 {
        self.namespace.as_ref().map_or_else(|| self.gate.calls() - before, Namespace::lost)
    }

    fn heal(&self) {
        self.namespace.as_ref().map_or_else(|| self.gate.heal(), Namespace::heal);
    }
}

pub(crate) async fn measure(options: &Options) {
    match options.registry {
        Kind::Consul => {
            let consul = Consul::start();
            cut(&consul, consul.address(), "wait", options, |way| by(&consul, consul.address(), way)).await;
        }
        Kind::Etcd => {
            let etcd = Etcd::start();
            cut(&etcd, etcd.address(), "wait", options, |way| by(&etcd, etcd.address(), way)).await;
        }
        Kind::Kubernetes => {
            let kubernetes = Kubernetes::start().await;
            cut(&kubernetes, kubernetes.address(), "wait", options, |way| kubernetes.section_by(way)).await;
        }
        Kind::Zookeeper => {
            let zookeeper = ZooKeeper::start().await;
            let section = |way| by(&zookeeper, zookeeper.address(), way);
            cut(&zookeeper, zookeeper.address(), "session_timeout", options, section).await;
        }
    }
}

/// The section of a registry for a router that comes this way.
fn by(registry: &impl Registry, address: SocketAddr, way: SocketAddr) -> String {
    registry.section().replace(&address.to_string(), &way.to_string())
}

/// How long a watch of this registry lasts is said by a `key` of its section.
async fn cut<R: Registry>(
    registry: &R,
    address: SocketAddr,
    key: &str,
    options: &Options,
    section: impl Fn(SocketAddr) -> String,
) {
    let way = Way::open(address, options.namespace).await;
    let mut section = section(way.gate.address);
    if let (Some(wait), Some(end)) = (&options.wait, section.rfind('}')) {
        section.insert_str(end, &format!(", {key}: {wait} "));
    }
    let router = start_with(&section, "");
    let (host, guest) = (Instance::h2c().start().await, Instance::h2c().start().await);
    registry.register(HOST, host.addr()).await;
    registry.register(GUEST, guest.addr()).await;
    let client = router.addresses().clients[0].0;
    Probe::connect(client).until(true).await.await.expect("the probe lives");

    let admin = format!("http://{}", router.addresses().admin.expect("an admin listener"));
    let admin = Client::new(ClientSettings::new(admin)).expect("http://HOST:PORT");

    let load = Load::start(client, RATE).await;
    let (mut noticed, mut spent) = (0, 0);
    let mut spreads = [Spread::default(), Spread::default()];
    for round in 0..2 * options.rounds {
        let comes = round % 2 == 1;
        sleep(PAUSE).await;
        let before = way.gate.calls();
        way.cut();
        if comes {
            registry.register(GUEST, guest.addr()).await;
        } else {
            registry.deregister(GUEST).await;
        }
        sleep(Duration::from_secs(options.seconds)).await;
        spent += way.spent(before);
        noticed += usize::from(is_down(&admin).await);
        // A new one each time: the router ends connections that rest.
        let probe = Probe::connect(client);
        let routed = probe.until(comes).await;
        // The probe is under way. The commands that heal are read from the disk, which may take its time.
        way.heal();
        let healed = Instant::now();
        spreads[usize::from(comes)].add(routed.await.expect("the probe lives") - healed);
    }
    let mut outcome = Outcome::default();
    load.end(&mut outcome).await;
    let (name, what) = (R::NAME, if options.namespace { "packets" } else { "connections" });
    println!("{name:<9} cut off for {} s: {outcome}", options.seconds);
    println!("{name:<9} the router had noticed it at the end of {noticed} of {}", 2 * options.rounds);
    let all = u64::try_from(2 * options.rounds).unwrap_or(u64::MAX) * options.seconds;
    println!("{name:<9} the router spent {:.1} {what} a second on it", spent as f64 / all as f64);
    println!("{name:<9} healed to routed, removed meanwhile   {}", spreads[0]);
    println!("{name:<9} healed to routed, added meanwhile     {}", spreads[1]);
    registry.deregister(HOST).await;
}

/// Whether the router says that its registry cannot be used.
async fn is_down(admin: &Client) -> bool {
    let answer = admin.get("/sources", Instant::now() + PAUSE).await.expect("the router answers");
    let sources: Value = serde_json::from_slice(&answer.body).expect("JSON");
    sources.to_string().contains("\"state\":\"down\"")
}
