//! Instances to which no connection could be made: who finds out that one can again, and how often it is tried.

use std::{net::SocketAddr, time::Duration};

use testkit::{Instance, Reply, get};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::until_circuit;
use crate::support::{Config, Front, Running, nobody};

const TO_PETS: &[(&str, &str)] = &[("service_id", "pets")];

fn start(urls: &[String], services: &str) -> Running {
    let services = format!("{{ '*': {{ balance: round_robin, {services} }} }}");
    Config::new().service("pets", urls).set("services", &services).set("threads", "2").start()
}

#[tokio::test]
async fn a_check_that_passes_ends_a_rest() {
    let [back, good] = [Instance::http().start().await, Instance::http().start().await];
    // It does not fail often enough to put anybody out, so only requests do.
    let check = "check: { tcp: {}, interval: 500ms, fast: 500ms, fall: 20 }";
    let base = Duration::from_secs(25);
    let router = start(&[back.url(), good.url()], &format!("{check}, eject: {{ base: 25s, longest: 60s }}"));
    let client = router.client(Front::H1).await;
    back.kill().await;
    let cut_off = Instant::now();
    testkit::bounded("it rests", async {
        while super::member(&router, &back.url()).await["circuit"].is_null() {
            assert_eq!(client.send(get("/", TO_PETS)).await.status, 200);
        }
    })
    .await;
    back.restart_on_same_port().await;
    testkit::bounded("it gets requests", async {
        while back.counts().requests() == 0 {
            assert_eq!(client.send(get("/", TO_PETS)).await.status, 200);
        }
    })
    .await;
    assert!(cut_off.elapsed() < base, "its rest would not be over");
    until_circuit(&router, &back.url(), None).await;
}

/// Accepts connections without a word, and says how many.
async fn listen(address: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let first = testkit::bounded("a knock", listener.accept()).await.unwrap().0;
    (listener, vec![first])
}

#[tokio::test]
async fn two_cores_knock_at_once_and_one_connection_is_made() {
    let address = nobody().await;
    let good = Instance::http().answer(|_| Reply::ok("well")).start().await;
    let silent = format!("https://{address}");
    let router = start(&[silent.clone(), good.url()], "eject: { base: 500ms }");
    // One for each core: a connection goes to the core that has the fewest.
    let clients = [router.client(Front::H2c).await, router.client(Front::H2c).await];
    let ask = async |client: &testkit::Client| assert_eq!(client.send(get("/", TO_PETS)).await.status, 200);
    testkit::bounded("it rests", async {
        while super::member(&router, &silent).await["circuit"].is_null() {
            ask(&clients[0]).await;
        }
    })
    .await;
    // It accepts connections, and never ends a handshake: each try lasts until `timeouts.connect`, a second.
    let listening = tokio::spawn(listen(address));
    testkit::bounded("it is knocked at", async {
        while !listening.is_finished() {
            tokio::join!(ask(&clients[0]), ask(&clients[1]));
        }
    })
    .await;
    let (listener, mut knocks) = listening.await.unwrap();
    for _ in 0..50 {
        tokio::join!(ask(&clients[0]), ask(&clients[1]));
    }
    while let Ok(another) = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await {
        knocks.push(another.unwrap().0);
    }
    assert_eq!(knocks.len(), 1);
    let per_core: Vec<u64> = cores(&router).await;
    assert!(per_core.len() == 2 && per_core.iter().all(|connections| *connections > 0), "{per_core:?}");
}

/// Connections of clients, by core.
async fn cores(router: &Running) -> Vec<u64> {
    let table = testkit::Client::http(router.admin()).await.send(get("/table", &[])).await.json();
    table["cores"].as_array().unwrap().iter().map(|core| core["connections"].as_u64().unwrap()).collect()
}
