//! A thousand instances are not looked at in one moment, counted where the looks arrive.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use testkit::{Instance, eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, sleep},
};

use super::{config, counted, reload, stands};
use crate::support::Config;

const MANY: usize = 1000;
/// Loopback has many addresses.
const HOSTS: u8 = 8;
/// What a router looks at once, over all and at one host: docs/resilience.md.
const AT_ONCE: usize = 64;
const AT_ONE_HOST: usize = 16;

/// Servers that take their time, and count.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
    looks: AtomicUsize,
    hosts: Mutex<HashMap<IpAddr, (usize, usize)>>,
}

impl Crowd {
    async fn start() -> (Arc<Self>, Vec<SocketAddr>) {
        let crowd = Arc::new(Self::default());
        let mut addresses = Vec::new();
        for last in 1..=HOSTS {
            let listener = TcpListener::bind((IpAddr::from([127, 0, 0, last]), 0)).await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let crowd = Arc::clone(&crowd);
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let crowd = Arc::clone(&crowd);
                    let host = listener.local_addr().unwrap().ip();
                    tokio::spawn(async move {
                        crowd.enter(host);
                        drop(stream.read(&mut [0; 1024]).await);
                        sleep(Duration::from_millis(20)).await;
                        // Before the answer: the router may begin another look as soon as it has that.
                        crowd.leave(host);
                        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await);
                    });
                }
            });
        }
        (crowd, addresses)
    }

    fn enter(&self, host: IpAddr) {
        self.looks.fetch_add(1, SeqCst);
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        let mut hosts = self.hosts.lock().unwrap();
        let (now, most) = hosts.entry(host).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }

    fn leave(&self, host: IpAddr) {
        self.now.fetch_sub(1, SeqCst);
        self.hosts.lock().unwrap().get_mut(&host).unwrap().0 -= 1;
    }

    fn looks(&self) -> usize {
        self.looks.load(SeqCst)
    }

    fn check(&self) {
        let most = self.most.load(SeqCst);
        assert!((AT_ONE_HOST + 1..=AT_ONCE).contains(&most), "{most} at once");
        let hosts = self.hosts.lock().unwrap();
        assert!(hosts.values().all(|(_, most)| *most <= AT_ONE_HOST), "{hosts:?}");
    }
}

/// A thousand services with an instance each, at a few addresses.
fn many(check: &str, addresses: &[SocketAddr]) -> Config {
    let service = |config: Config, number: usize| {
        let address = addresses[number % addresses.len()];
        config.service(&format!("s{number}"), &[format!("http://{address}")])
    };
    (0..MANY).fold(config(check, &[]), service)
}

#[tokio::test]
async fn a_thousand_newcomers_are_looked_at_soon_and_few_at_once() {
    let (crowd, addresses) = Crowd::start().await;
    let own = Instance::http().start().await;
    let check = "{ http: { path: / }, interval: 1h, timeout: 5s }";
    let router = config(check, &[&own]).start();
    stands(&router, "pets", &own, "in").await;
    reload(&router, many(check, &addresses)).await;
    eventually("every one is looked at", || crowd.looks() >= MANY).await;
    counted(&router, "pointsman_health_unproven", 0).await;
    assert_eq!(crowd.looks(), MANY, "each once");
    crowd.check();
}

#[tokio::test]
async fn a_router_that_starts_among_a_thousand_takes_an_interval_for_them() {
    let (crowd, addresses) = Crowd::start().await;
    let began = Instant::now();
    let _router = many("{ http: { path: / }, interval: 8s, timeout: 5s }", &addresses).start();
    eventually("half of them are looked at", || crowd.looks() >= MANY / 2).await;
    // Four seconds on average; the looks of a storm would take a third of one.
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
}
