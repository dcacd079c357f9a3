//! What clients see when instances and services are slow, full, gone or leaving.

mod age;
mod budget;
mod bulkhead;
mod combined;
mod deadlines;
mod draining;
mod fallback;
mod grpc;
mod hedging;
mod hold;
mod lag;
mod lines;
mod replay;
mod retries;
mod shedding;
mod silence;

use http::Request;
use serde_json::Value;
use testkit::{Client, Gate, Instance, Reply, Seen, Stream};

use crate::support::{Config, Running};

/// Opens a request to this service over an HTTP/2 connection, with no body.
async fn open(client: &Client, target: &str, service: &str) -> Stream {
    let head = Request::builder().uri(target).header("service_id", service).body(()).expect("a request");
    client.open(head, true).await.expect("a stream")
}

/// An instance answers so once the gate is open.
fn held_by(gate: &Gate) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    let gate = gate.clone();
    move |_| Reply::script().gate(&gate).head(200).data("done")
}

/// Waits until a number that `/table/SERVICE` shows is this one.
async fn until(router: &Running, service: &str, field: &str, number: u64) {
    let shown = async || router.table(service).await[field].as_u64().unwrap_or_default();
    testkit::bounded(&format!("{service}: {field} is {number}"), async {
        while shown().await != number {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Everything of a service is over: nothing in flight, at no instance, and nobody waits.
async fn at_rest(router: &Running, service: &str) {
    for field in ["in_flight", "queued", "held"] {
        until(router, service, field, 0).await;
    }
    router.settled(service).await;
    let cores = || async { crate::discover::rig::admin(router.admin(), "/table").await.json()["cores"].clone() };
    let in_hand =
        |cores: &Value| cores.as_array().unwrap().iter().map(|c| c["requests"].as_u64().unwrap()).sum::<u64>();
    testkit::bounded("no core has anything in hand", async {
        while in_hand(&cores().await) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A service `pets` of these instances, which get their turns, with these settings.
fn router(instances: &[&Instance], settings: &str) -> Running {
    urls(&instances.iter().map(|instance| instance.url()).collect::<Vec<_>>(), settings)
}

/// The same of these URLs.
fn urls(urls: &[String], settings: &str) -> Running {
    let services = format!("{{ pets: {{ balance: round_robin, eject: off, {settings} }} }}");
    Config::new().service("pets", urls).set("services", &services).start()
}
