//! Services that are subscribed to when a client names them first: a whole router in front of an agent that counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use testkit::{Instance, Reply, eventually, get};
use tokio::{task::JoinHandle, time::Instant};

use super::rig::{self, instances};
use crate::{
    consul::rig::{Registrar, environment},
    registry::unique,
    support::{Config, Front, Running, told},
};

/// What the agent holds: the port of each service's one instance.
type Catalogue = Arc<Mutex<BTreeMap<String, u16>>>;

/// An agent that notes what it is asked.
struct Agent {
    server: Instance,
    holds: Catalogue,
}

impl Agent {
    async fn start() -> Self {
        let holds = Catalogue::default();
        let catalogue = Arc::clone(&holds);
        let server = Instance::http().answer(move |seen| {
            let name = seen.path().rsplit('/').next().unwrap();
            let (status, body) = match catalogue.lock().unwrap().get(name) {
                Some(port) if seen.path().contains("/health/service/") => (200, record(*port).to_string()),
                _ if seen.path().starts_with("/v1/agent/health") => (404, "[]".to_owned()),
                _ if seen.path().starts_with("/v1/catalog/nodes") => (200, "[{}]".to_owned()),
                _ => (200, "[]".to_owned()),
            };
            let blocks = seen.uri.query().is_some_and(|query| query.contains("index="));
            let wait = Duration::from_secs(u64::from(blocks));
            Reply::script().wait(wait).head(status).header("x-consul-index", "7").data(body)
        });
        Self { server: server.start().await, holds }
    }

    fn holds(&self, service: &str, instance: &Instance) {
        self.holds.lock().unwrap().insert(service.to_owned(), instance.addr().port());
    }

    /// Paths it was asked for, without queries.
    fn asked(&self) -> Vec<String> {
        self.server.seen().iter().map(|seen| seen.path().to_owned()).collect()
    }

    /// Names it was asked about, without its own.
    fn names(&self) -> BTreeSet<String> {
        let name = |path: &String| Some(path.strip_prefix("/v1/health/service/")?.to_owned());
        self.asked().iter().filter_map(name).filter(|name| name != "consul").collect()
    }

    fn calls(&self) -> usize {
        self.asked().len()
    }
}

fn record(port: u16) -> Value {
    json!([{ "Node": { "Node": "n", "Address": "127.0.0.1" },
        "Service": { "ID": "one", "Port": port, "Meta": { "protocol": "h2c" } }, "Checks": [] }])
}

fn router(url: &str, rules: &str) -> Running {
    Config::new()
        .set("registries", &format!("{{ dc1: {{ consul: {{ url: {url:?} }} }} }}"))
        .set("expose", "{ service: 'com.*' }")
        .set("discovery", &format!("{{ directory: null, on_first_use: {rules} }}"))
        .start()
}

async fn subscribed(router: &Running) -> Value {
    rig::admin(router.admin(), "/table").await.json()["on_first_use"].clone()
}

/// Waits until so many services are subscribed to.
async fn holds(router: &Running, services: u64) {
    let what = format!("{services} services");
    testkit::until(&what, async || subscribed(router).await, |now| now["services"] == services).await;
}

#[tokio::test]
async fn the_request_that_names_a_service_first_is_served_and_the_service_goes_when_it_is_not_used() {
    let agent = Agent::start().await;
    let all = instances(&["one"]).await;
    agent.holds("com.pets", &all[0]);
    let router = router(&agent.server.url(), "{ idle: 1s, wait: 10s }");
    router.ready().await;
    assert_eq!(agent.names(), BTreeSet::new());
    let client = router.client(Front::H2c).await;
    let ask = || client.send(get("/", &[("service_id", "com.pets")]));
    let answer = ask().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["instance"]), (200, &json!("one")));
    assert_eq!(agent.names(), ["com.pets".to_owned()].into());
    assert_eq!(subscribed(&router).await, json!({ "at_most": 1000, "services": 1, "unanswered": 0 }));
    // In use it stays.
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        assert_eq!(ask().await.status, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(subscribed(&router).await["services"], 1);
    // Out of use it goes, with its connections; and it comes back.
    holds(&router, 0).await;
    let left = all[0].counts().open();
    assert!(left <= 1, "{left}");
    eventually("the connection to be closed", || all[0].counts().open() == 0).await;
    assert_eq!(rig::admin(router.admin(), "/table/com.pets").await.status, 404);
    assert_eq!(ask().await.status, 200);
    assert!(!agent.asked().iter().any(|path| path.contains("/catalog/services")), "no catalogue is read");
}

#[tokio::test]
async fn what_does_not_exist_or_is_not_permitted_is_refused_and_costs_no_second_question() {
    let agent = Agent::start().await;
    let router = router(&agent.server.url(), "{ wait: 10s }");
    router.ready().await;
    let client = router.client(Front::H1).await;
    for name in ["org.pets", "com.none", "com.none", "com.none"] {
        let answer = client.send(get("/", &[("service_id", name)])).await;
        assert_eq!(told(&answer), (503, Some("no_service")), "{name}");
    }
    let asked = || agent.asked().iter().filter(|path| path.contains("/com.none")).count();
    assert!(asked() <= 3, "the list, the right to see it, and a watch that was just begun: {}", asked());
    assert_eq!(agent.names(), ["com.none".to_owned()].into());
    holds(&router, 0).await;
}

#[tokio::test]
async fn a_request_that_does_not_wait_is_told_to_come_again() {
    let agent = Agent::start().await;
    let all = instances(&["one"]).await;
    agent.holds("com.pets", &all[0]);
    let router = router(&agent.server.url(), "{ wait: 0s }");
    router.ready().await;
    let client = router.client(Front::H2Tls).await;
    let first = client.send(get("/", &[("service_id", "com.pets")])).await;
    assert_eq!(told(&first), (503, Some("unanswered")));
    assert_eq!(first.header("retry-after"), Some("1"));
    let ask = async || client.send(get("/", &[("service_id", "com.pets")])).await;
    testkit::until("it is served", ask, |answer| answer.status == 200).await;
}

#[tokio::test]
async fn a_flood_of_made_up_names_hardly_reaches_the_registry_and_no_service_in_use() {
    /// Requests at once, and names of each.
    const FLOODERS: usize = 16;
    const NAMES: usize = 250;
    let agent = Agent::start().await;
    let all = instances(&["one"]).await;
    agent.holds("com.pets", &all[0]);
    let router = router(&agent.server.url(), "{ at_most: 50 }");
    router.ready().await;
    let client = Arc::new(router.client(Front::H2c).await);
    assert_eq!(client.send(get("/", &[("service_id", "com.pets")])).await.status, 200);
    let (begun, before) = (Instant::now(), agent.calls());
    let flood = (0..FLOODERS).map(|flooder| {
        let client = Arc::clone(&client);
        tokio::spawn(async move {
            for n in 0..NAMES {
                let answer = client.send(get("/", &[("service_id", &format!("com.x{flooder}-{n}"))])).await;
                assert_eq!(answer.status, 503);
            }
        })
    });
    let flood: Vec<_> = flood.collect();
    while !flood.iter().all(JoinHandle::is_finished) {
        assert_eq!(client.send(get("/", &[("service_id", "com.pets")])).await.status, 200);
    }
    for flooder in flood {
        flooder.await.unwrap();
    }
    let names = agent.names().len() - 1;
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    assert!((1..=10 * (seconds + 1)).contains(&names), "{names} names in {seconds} s");
    // The list, two questions about rights, and a watch that was just begun.
    let calls = agent.calls() - before;
    assert!(calls <= 4 * names + 2 * seconds, "{calls} calls for {names} names");
    holds(&router, 1).await;
    let metrics = rig::admin(router.admin(), "/metrics").await.text();
    let lines = metrics.lines().filter(|line| line.starts_with("pointsman_subscription")).collect::<Vec<_>>();
    assert!(lines.contains(&"pointsman_subscriptions 1"), "{lines:?}");
    let asked = format!("pointsman_subscription_wants_total{{result=\"asked\"}} {}", names + 1);
    assert!(lines.contains(&&*asked), "{asked}: {lines:?}");
}

#[tokio::test]
async fn a_real_agent_is_asked_on_first_use_and_followed_from_then_on() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let registrar = Registrar::clear(&url);
    let service = unique("com.lazy");
    let all = instances(&["one", "two"]).await;
    let register = |instance: &Instance| {
        json!({ "ID": format!("{service}-{}", instance.name()), "Name": service, "Address": "127.0.0.1",
            "Port": instance.addr().port(), "Meta": { "protocol": "h2c" } })
    };
    registrar.register(&register(&all[0])).await;
    let router = router(&url, "{ wait: 10s }");
    router.ready().await;
    let client = router.client(Front::H2c).await;
    assert_eq!(client.send(get("/", &[("service_id", &service)])).await.status, 200);
    registrar.register(&register(&all[1])).await;
    rig::until(&router, &service, "two instances", |now| now.len() == 2).await;
    for instance in &all {
        registrar.deregister(&format!("{service}-{}", instance.name())).await;
    }
}
