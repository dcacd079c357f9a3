//! Registries that are not there: how often somebody looks whether they are back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use discovery::provider::{
    Provider,
    consul::{self, Consul},
    docker::{self, Docker},
    etcd::{self, Etcd},
    zookeeper::{self, ZooKeeper},
};
use tokio::net::TcpListener;

use crate::source::{Source, named, running};

/// Long enough that pauses that grow would show.
const LOOK: Duration = Duration::from_secs(8);

/// Counts how often somebody came, and sends everybody away.
async fn absent() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, came) = (listener.local_addr().unwrap().to_string(), Arc::<AtomicUsize>::default());
    let count = came.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            // Refuses as a system does where nobody listens.
            stream.set_zero_linger().unwrap();
        }
    });
    (address, came)
}

fn watching(provider: impl Provider) -> Source {
    running(provider, named(&["pets"]))
}

#[tokio::test]
async fn whoever_is_not_there_is_looked_for_twice_a_second_at_most_and_at_the_same_pace_for_good() {
    let mut all = Vec::new();
    for kind in ["consul", "docker", "etcd", "zookeeper"] {
        let (address, came) = absent().await;
        let url = format!("http://{address}");
        let source = match kind {
            "consul" => watching(Consul::new(consul::Settings::new(url)).unwrap()),
            "docker" => watching(Docker::new(docker::Settings::new(url)).unwrap()),
            "etcd" => watching(Etcd::new(etcd::Settings::new([url])).unwrap()),
            _ => watching(ZooKeeper::new(zookeeper::Settings::new(address)).unwrap()),
        };
        all.push((kind, came, source));
    }
    tokio::time::sleep(LOOK).await;
    let early: Vec<_> = all.iter().map(|(_, came, _)| came.load(Ordering::Relaxed)).collect();
    tokio::time::sleep(LOOK).await;
    let seconds = usize::try_from(LOOK.as_secs()).unwrap();
    for ((kind, came, _), early) in all.iter().zip(early) {
        let late = came.load(Ordering::Relaxed) - early;
        for came in [early, late] {
            assert!(came < 2 * seconds + 2, "{kind}: {came} times in {LOOK:?}");
            // One each 0.7 s; a machine that is busy may lose some.
            assert!(came > seconds / 2, "{kind}: {came} times in {LOOK:?}");
        }
    }
}
