//! How long from a registry's own answer until the router acts on it. `freshness [CHANGES]`, 300 unless told otherwise.
//!
//! Consul's row needs an agent: `CONSUL_URL`, or one is started by tests/registries/up.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program that prints its measurement or ends")]

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use benches::{
    Probe, Registry, Spread,
    registry::{GUEST, HOST, SERVICE, Told},
};
use router::{
    Router, Start,
    control::{Origin, Overrides},
};
use testkit::Instance;
use tokio::time::{Instant, sleep};

/// The router's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Comings and goings that are measured, unless told otherwise.
const CHANGES: u32 = 300;
/// Between changes: all is quiet again, and no rate limit of a source (10 changes a second) takes part.
const PAUSE: Duration = Duration::from_millis(130);
/// Comings and goings before the measurement: connections open, code and caches warm.
const WARMING: u32 = 5;

#[tokio::main]
async fn main() {
    let changes = std::env::args().nth(1).map_or(CHANGES, |text| text.parse().expect("CHANGES is a number"));
    let directory = std::env::temp_dir().join(format!("pointsman-freshness-{}", std::process::id()));
    let embedded = format!("embedded: {{ address: '127.0.0.1:0', directory: '{}' }}", directory.display());
    measure("embedded", &embedded, changes, |addresses| Registry::embedded(addresses[0].1)).await;
    std::fs::remove_dir_all(&directory).ok();

    let agent = Agent::find();
    let consul = format!("consul: {{ url: '{}' }}", agent.url);
    measure("consul", &consul, changes, |_| Registry::consul(&agent.url)).await;
}

/// What was measured of one kind of change.
#[derive(Default)]
struct Row {
    /// From the registry's answer to routing.
    after_told: Spread,
    /// From sending the change to routing.
    after_asked: Spread,
}

impl Row {
    fn add(&mut self, Told { asked, told }: Told, routed: Instant) {
        self.after_told.add(routed.saturating_duration_since(told));
        self.after_asked.add(routed - asked);
    }

    fn print(&self, name: &str, kind: &str) {
        println!("{name:<9} {kind:<8} registry told to routed   {}", self.after_told);
        println!("{name:<9} {kind:<8} change sent to routed     {}", self.after_asked);
    }
}

async fn measure(name: &str, source: &str, changes: u32, registry: impl Fn(&[(String, SocketAddr)]) -> Registry) {
    let router = start(source);
    let registry = registry(&router.addresses().registries);
    let (host, guest) = (Instance::h2c().start().await, Instance::h2c().start().await);
    registry.register(HOST, host.addr()).await;
    let probe = Probe::connect(router.addresses().clients[0].0);
    let (mut added, mut removed) = (Row::default(), Row::default());
    for round in 0..WARMING + changes {
        sleep(PAUSE).await;
        let routed = probe.until(true).await;
        let told = registry.register(GUEST, guest.addr()).await;
        let came = (told, routed.await.expect("the probe lives"));

        sleep(PAUSE).await;
        let routed = probe.until(false).await;
        let told = registry.deregister(GUEST).await;
        let went = (told, routed.await.expect("the probe lives"));
        if round >= WARMING {
            added.add(came.0, came.1);
            removed.add(went.0, went.1);
        }
    }
    added.print(name, "added");
    removed.print(name, "removed");
    registry.deregister(HOST).await;
}

fn start(source: &str) -> Router {
    let yaml = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         registries: {{ measured: {{ {source} }} }}\n\
         routes: [{{ prefix: /, service: {SERVICE} }}]\n\
         access_log: {{ format: off }}\n"
    );
    let settings = settings::parse(&yaml, Path::new("freshness.yml"), &|_| None).expect("valid settings");
    let origin = Origin::Given(Box::new(settings));
    Router::start(Start { origin, overrides: Overrides::default(), log: None }).expect("the router starts")
}

/// A Consul agent: the one of the environment, or our own, stopped at the end.
struct Agent {
    url: String,
    own: Option<String>,
}

impl Agent {
    fn find() -> Self {
        if let Ok(url) = std::env::var("CONSUL_URL") {
            return Self { url, own: None };
        }
        let id = format!("freshness-{}", std::process::id());
        registries("install", &["consul"]);
        let printed = registries("up", &["consul", "dev", "--id", &id]);
        let url = printed.trim().strip_prefix("export CONSUL_URL=").expect("up prints the agent's URL").to_owned();
        Self { url, own: Some(id) }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(id) = &self.own {
            registries("down", &[id]);
        }
    }
}

fn registries(tool: &str, arguments: &[&str]) -> String {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/registries/").to_owned() + tool;
    let output = Command::new(&tool).args(arguments).stderr(Stdio::inherit()).output().expect("the scripts are there");
    assert!(output.status.success(), "{tool} {arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}
