//! One service with a host that stays and a guest that comes and goes.

use std::time::Duration;

use benches::{
    Probe, Spread,
    registry::{GUEST, HOST, Registry, Told},
};
use router::Router;
use testkit::Instance;
use tokio::time::{Instant, sleep};

/// Between changes: all is quiet again, and no rate limit of a source (10 changes a second) takes part.
const PAUSE: Duration = Duration::from_millis(130);
/// Comings and goings before the measurement: connections open, code and caches warm.
const WARMING: u32 = 5;

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

/// Lets the guest come and go so many times, and prints what that took.
pub(crate) async fn measure<R: Registry>(router: &Router, registry: &R, changes: u32) {
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
    added.print(R::NAME, "added");
    removed.print(R::NAME, "removed");
    registry.deregister(HOST).await;
}
