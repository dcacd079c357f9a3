//! How long from a registry's own answer until the router acts on it.
//!
//! `freshness [--changes N] [REGISTRY...]` measures while nothing else happens; `freshness many embedded|etcd|consul` among
//! many services of which one changes a hundred times a second; `freshness outage` kills Consul under load; `freshness
//! partition consul|etcd|kubernetes|zookeeper SECONDS` cuts the way to one for so long and heals it; `freshness remembered`
//! starts the program while its registry is silent. Servers are those of the environment, as in the tests (`CONSUL_URL`, `ETCD_URL`,
//! `ZOOKEEPER`, `DOCKER_SOCKET`), or are started by tests/registries/up. Kubernetes and Docker are measured only if they are named: the API server of the one is compiled
//! first, the engine of the other needs root.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program that prints its measurement or ends")]

mod gate;
mod guest;
mod load;
mod many;
mod namespace;
mod outage;
mod partition;
mod remembered;

use std::path::Path;

use benches::registry::{Consul, Docker, Embedded, Etcd, File, Kubernetes, Mounted, Registry, SERVICE, ZooKeeper};
use clap::{Parser, Subcommand, ValueEnum};
use router::{
    Router, Start,
    control::{Origin, Overrides},
};

/// The router's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long from a registry's own answer until the router acts on it.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    other: Option<Mode>,
    /// Comings and goings that are measured.
    #[arg(long, default_value_t = 300)]
    changes: u32,
    /// All but Kubernetes and Docker unless some are named.
    registries: Vec<Kind>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Among many services that change.
    Many(many::Options),
    /// Consul, killed under load and started again.
    Outage(outage::Options),
    /// A registry that is cut off for a while.
    Partition(partition::Options),
    /// A registry that is silent when the router starts.
    Remembered(remembered::Options),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Embedded,
    File,
    ConfigMap,
    Consul,
    Docker,
    Etcd,
    Kubernetes,
    Zookeeper,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    match options.other {
        Some(Mode::Many(many)) => many::measure(&many).await,
        Some(Mode::Outage(outage)) => outage::measure(&outage).await,
        Some(Mode::Partition(partition)) => Box::pin(partition::measure(&partition)).await,
        Some(Mode::Remembered(remembered)) => remembered::measure(&remembered).await,
        None => {
            let mut kinds = options.registries;
            if kinds.is_empty() {
                kinds.extend(
                    Kind::value_variants().iter().filter(|kind| !matches!(kind, Kind::Kubernetes | Kind::Docker)),
                );
            }
            for kind in kinds {
                idle(kind, options.changes).await;
            }
        }
    }
}

async fn idle(kind: Kind, changes: u32) {
    match kind {
        Kind::Embedded => alone(&Embedded::new(), changes).await,
        Kind::File => alone(&File::new(), changes).await,
        Kind::ConfigMap => alone(&Mounted::new(), changes).await,
        Kind::Consul => alone(&Consul::start(), changes).await,
        Kind::Docker => alone(&Docker::start(), changes).await,
        Kind::Etcd => alone(&Etcd::start(), changes).await,
        Kind::Kubernetes => alone(&Kubernetes::start().await, changes).await,
        Kind::Zookeeper => alone(&ZooKeeper::start().await, changes).await,
    }
}

/// With one service, of which an instance comes and goes.
async fn alone<R: Registry>(registry: &R, changes: u32) {
    let router = start(registry, "");
    guest::measure(&router, registry, changes).await;
}

/// A router with this registry alone, and these further lines in its configuration.
fn start<R: Registry>(registry: &R, more: &str) -> Router {
    start_with(&registry.section(), more)
}

fn start_with(section: &str, more: &str) -> Router {
    let yaml = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         registries: {{ measured: {{ {section} }} }}\n\
         routes: [{{ prefix: /, service: {SERVICE} }}]\n\
         access_log: {{ format: off }}\n\
         {more}"
    );
    let settings = settings::parse(&yaml, Path::new("freshness.yml"), &|_| None).expect("valid settings");
    let origin = Origin::Given(Box::new(settings));
    Router::start(Start { origin, overrides: Overrides::default(), log: None }).expect("the router starts")
}
