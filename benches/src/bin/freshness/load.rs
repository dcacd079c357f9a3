//! Clients that ask at a steady rate.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use benches::Spread;
use testkit::{Client, get};
use tokio::{
    sync::Mutex,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};

/// Each carries many requests at once.
const CONNECTIONS: usize = 8;

/// Requests at a steady rate, whatever becomes of those before.
pub(crate) struct Load {
    task: JoinHandle<()>,
    answers: Arc<Mutex<JoinSet<(bool, Duration)>>>,
}

/// What became of them.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) sent: usize,
    pub(crate) errors: usize,
    pub(crate) times: Spread,
}

impl Load {
    /// So many a second, for the service that is measured.
    pub(crate) async fn start(router: SocketAddr, rate: u32) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(Arc::new(Client::h2c(router).await));
        }
        let answers = Arc::<Mutex<JoinSet<_>>>::default();
        let (asked, mut ticks) = (answers.clone(), interval(Duration::from_secs(1) / rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let task = tokio::spawn(async move {
            for client in clients.iter().cycle() {
                ticks.tick().await;
                let (client, begun) = (client.clone(), Instant::now());
                let one = async move { (client.send(get("/", &[])).await.status.is_success(), begun.elapsed()) };
                asked.lock().await.spawn(one);
            }
        });
        Self { task, answers }
    }

    /// Ends when all are answered.
    pub(crate) async fn end(self, outcome: &mut Outcome) {
        self.task.abort();
        let mut answers = self.answers.lock().await;
        while let Some(done) = answers.join_next().await {
            let (good, took) = done.unwrap_or_default();
            outcome.sent += 1;
            outcome.errors += usize::from(!good);
            outcome.times.add(took);
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} requests, {} errors; {}", self.sent, self.errors, self.times)
    }
}
