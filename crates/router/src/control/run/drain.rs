//! The end of a router: first without a client noticing, then at once.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Running;
use crate::{core::Order, plan::Operations};

/// How often the end of the last connection is looked for while draining.
const LOOK: Duration = Duration::from_millis(20);

impl Running {
    pub(super) async fn drain(&mut self) {
        let Operations { drain_delay, drain_deadline, .. } = self.operations;
        tracing::info!(?drain_delay, ?drain_deadline, "draining: readiness fails, service goes on");
        self.readiness.drain();
        // Those who find routers by a registry look elsewhere first, if it answers.
        tokio::join!(self.announced.leave(), sleep(drain_delay));
        self.acceptors.clear();
        let deadline = Instant::now() + drain_deadline;
        self.desks.iter().for_each(|desk| drop(desk.orders.send(Order::Drain(deadline))));
        let open = || self.desks.iter().map(|desk| desk.load.connections()).sum::<usize>();
        let over = async {
            while open() > 0 {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = over => tracing::info!("drained"),
            () = sleep_until(deadline) => tracing::warn!(connections = open(), "drain deadline: closing what is left"),
        }
    }

    pub(super) async fn end(mut self) {
        self.announced.leave().await;
        let Self { acceptors, discovery, desks, cores, .. } = self;
        drop(acceptors);
        discovery.shutdown().await;
        // Discovery's way to the cores went with it, so this ends them.
        drop(desks);
        for core in cores {
            tokio::task::spawn_blocking(|| core.join().ok()).await.ok();
        }
    }
}
