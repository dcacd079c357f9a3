//! A registry that is cut off, changes meanwhile, and can be reached again.

use std::{net::SocketAddr, time::Duration};

use benches::{
    Probe, Spread,
    registry::{Consul, Etcd, GUEST, HOST, Registry},
};
use clap::ValueEnum;
use testkit::Instance;
use tokio::time::{Instant, sleep};

use crate::{
    gate::Gate,
    load::{Load, Outcome},
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
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Partitions in which the guest leaves; in as many it comes.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Consul,
    Etcd,
}

pub(crate) async fn measure(options: &Options) {
    match options.registry {
        Kind::Consul => {
            let consul = Consul::start();
            cut(&consul, consul.address(), options).await;
        }
        Kind::Etcd => {
            let etcd = Etcd::start();
            cut(&etcd, etcd.address(), options).await;
        }
    }
}

async fn cut<R: Registry>(registry: &R, address: SocketAddr, options: &Options) {
    let gate = Gate::open(address).await;
    let section = registry.section().replace(&address.to_string(), &gate.address.to_string());
    let router = start_with(&section, "");
    let (host, guest) = (Instance::h2c().start().await, Instance::h2c().start().await);
    registry.register(HOST, host.addr()).await;
    registry.register(GUEST, guest.addr()).await;
    let client = router.addresses().clients[0].0;
    let probe = Probe::connect(client);
    probe.until(true).await.await.expect("the probe lives");

    let load = Load::start(client, RATE).await;
    let mut spreads = [Spread::default(), Spread::default()];
    for round in 0..2 * options.rounds {
        let comes = round % 2 == 1;
        sleep(PAUSE).await;
        gate.cut();
        if comes {
            registry.register(GUEST, guest.addr()).await;
        } else {
            registry.deregister(GUEST).await;
        }
        sleep(Duration::from_secs(options.seconds)).await;
        let routed = probe.until(comes).await;
        // The probe is under way; before that, nothing can have come through.
        let healed = Instant::now();
        gate.heal();
        spreads[usize::from(comes)].add(routed.await.expect("the probe lives") - healed);
    }
    let mut outcome = Outcome::default();
    load.end(&mut outcome).await;
    let name = R::NAME;
    println!("{name:<9} cut off for {} s: {outcome}", options.seconds);
    println!("{name:<9} healed to routed, removed meanwhile   {}", spreads[0]);
    println!("{name:<9} healed to routed, added meanwhile     {}", spreads[1]);
    registry.deregister(HOST).await;
}
