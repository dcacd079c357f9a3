//! Three servers: losing the leader, and agents that are near or far.

use std::time::Duration;

use discovery::provider::consul::Settings;
use http::StatusCode;
use model::{Knowledge, Update};
use serde_json::{Value, json};
use settings::Span;
use testkit::PATIENCE;
use tokio::time::{Instant, sleep};
use transport::client::{Client, ClientSettings};

use super::rig::{Own, environment, source};
use crate::source::{Source, named};

/// A new leader is chosen within two election times of a second or so, and what was asked meanwhile is asked again within
/// half a second; the rest is for a busy machine.
const ELECTION: Duration = Duration::from_secs(15);

/// An answer of this server, if it is well.
async fn ask(url: &str, path: &str) -> Option<Value> {
    let client = Client::new(ClientSettings::new(url)).unwrap();
    let answer = client.get(path, Instant::now() + Duration::from_secs(2)).await.ok()?;
    (answer.status == StatusCode::OK).then(|| serde_json::from_slice(&answer.body).unwrap())
}

/// Writes into the catalogue by some server, however long that takes.
async fn put(own: &Own, without: usize, path: &str, body: &Value) {
    let end = Instant::now() + PATIENCE;
    loop {
        for (at, url) in own.urls.iter().enumerate().filter(|(at, _)| at + 1 != without) {
            let client = Client::new(ClientSettings::new(&**url)).unwrap();
            let answer = client.put(path, body.to_string().into(), Instant::now() + Duration::from_secs(2)).await;
            if answer.is_ok_and(|answer| answer.status == StatusCode::OK) {
                return;
            }
            assert!(Instant::now() < end, "server {} and no other takes {path}", at + 1);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// An instance on a node of its own that no agent minds.
async fn register(own: &Own, without: usize, service: &str, node: &str) {
    let record = json!({ "Node": node, "Address": "10.0.0.1",
        "Service": { "Service": service, "ID": format!("{service}-{node}"), "Port": 80 } });
    put(own, without, "/v1/catalog/register", &record).await;
}

/// The number of the leader, as the others see it.
async fn leader(own: &Own) -> usize {
    let end = Instant::now() + PATIENCE;
    loop {
        for url in &own.urls {
            let leader = ask(url, "/v1/status/leader").await;
            let host = leader.as_ref().and_then(Value::as_str).and_then(|text| text.split(':').next());
            let host = host.map(|host| format!("://{host}:"));
            if let Some(at) = host.and_then(|host| own.urls.iter().position(|url| url.contains(&host))) {
                return at + 1;
            }
        }
        assert!(Instant::now() < end, "no leader");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits for this many instances; until then no list may be shorter than `least`.
async fn followed(source: &mut Source, count: usize, least: usize) {
    let what = format!("{count} instances");
    let list = |update| match update {
        Update::Service { knowledge: Knowledge::Known(list), .. } => {
            assert!(list.len() >= least, "{list:?}");
            (list.len() == count).then_some(())
        }
        Update::Service { knowledge: Knowledge::KnownEmpty, .. } => panic!("read as empty"),
        _ => None,
    };
    source.until(&what, list).await;
}

/// Traefik 515.
#[tokio::test]
async fn when_the_leader_dies_the_service_stays_and_changes_are_seen_after_the_election() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let own = tokio::task::spawn_blocking(Own::cluster).await.unwrap();
    register(&own, 0, "pets", "one").await;
    // One source for each server: two of them ask a server that goes on, one the server that dies.
    let mut sources: Vec<_> = own
        .urls
        .iter()
        .map(|url| source(Settings { wait: Span::from_secs(5), ..Settings::new(&**url) }, named(&["pets"])))
        .collect();
    for source in &mut sources {
        source.known("pets", 1).await;
    }
    let dead = leader(&own).await;
    own.server(dead, "kill");
    let killed = Instant::now();
    register(&own, dead, "pets", "two").await;
    for (_, source) in sources.iter_mut().enumerate().filter(|(at, _)| at + 1 != dead) {
        followed(source, 2, 1).await;
    }
    assert!(killed.elapsed() < ELECTION, "{:?}", killed.elapsed());

    // The dead one comes back as a follower, and its source with it.
    own.server(dead, "start");
    register(&own, 0, "pets", "three").await;
    for source in &mut sources {
        followed(source, 3, 1).await;
    }
}

#[tokio::test]
async fn without_a_quorum_a_follower_still_answers_and_nothing_is_lost() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let own = tokio::task::spawn_blocking(Own::cluster).await.unwrap();
    register(&own, 0, "pets", "one").await;
    let settings = Settings { wait: Span::from_secs(1), ..Settings::new(&*own.urls[0]) };
    let mut source = source(settings.clone(), named(&["pets"]));
    source.known("pets", 1).await;
    own.server(2, "kill");
    own.server(3, "kill");
    // Reads are allowed to be stale, so that a router that starts now knows the service too.
    let mut late = super::rig::source(settings, named(&["pets"]));
    followed(&mut late, 1, 1).await;
    // But not for ever: what it says grows old, and is not said to be certain.
    let down = |update| matches!(update, Update::Unreachable(_)).then_some(());
    source.until("an outage", down).await;
    own.server(2, "start");
    own.server(3, "start");
    register(&own, 0, "pets", "two").await;
    followed(&mut source, 2, 1).await;
    followed(&mut late, 2, 1).await;
}

#[tokio::test]
async fn near_ranks_instances_by_the_round_trip_time_of_their_nodes() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let own = tokio::task::spawn_blocking(Own::cluster).await.unwrap();
    for (node, seconds) in [("far", 0.3), ("middle", 0.2), ("close", 0.1), ("client", 0.0)] {
        register(&own, 0, "pets", node).await;
        let coordinate =
            json!({ "Vec": [seconds, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0, "Height": 0.00001 });
        put(&own, 0, "/v1/coordinate/update", &json!({ "Node": node, "Coord": coordinate })).await;
    }
    // Coordinates are written in batches.
    let coordinates = async || ask(&own.urls[0], "/v1/coordinate/node/client").await;
    testkit::until("coordinates", coordinates, Option::is_some).await;
    for (near, expected) in [("client", "client close middle far"), ("far", "far middle close client")] {
        let settings = Settings { near: Some(near.to_owned()), stale: false, ..Settings::new(&*own.urls[0]) };
        let mut source = source(settings, named(&["pets"]));
        let mut list = source.known("pets", 4).await;
        list.sort_by_key(|instance| instance.label("priority").unwrap().to_owned());
        let nodes: Vec<_> = list.iter().map(|instance| instance.label("node").unwrap()).collect();
        assert_eq!(nodes.join(" "), expected);
        assert_eq!(list[0].label("near"), Some("0"));
    }
}
