use std::{sync::Mutex, time::Duration};

use balancer::Place;
use discovery::{Discovery, Policies, Policy, Settings};
use model::{Exposure, ServiceId};
use serde_json::json;
use transport::ClientTls;

use super::*;
use crate::testing::{PATIENCE, Stage};

/// Policies that expose everything and route `lonely`, which nobody serves.
fn policies() -> Policies {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let tls = Arc::new(ClientTls { config: Arc::new(config), server_name: None, fingerprint: 1 });
    Policies {
        default: Arc::new(Policy::new(tls)),
        services: [].into(),
        routed: [ServiceId::new("lonely").unwrap()].into(),
        exposure: Exposure::Everything,
        first_use: None,
        environment: None,
        place: Place::default(),
        hold: Duration::from_secs(30),
        holds: [].into(),
    }
}

const PETS: &str =
    r#"direct: { static: { services: { pets: [{ url: "https://10.0.0.1:8443", weight: 2, tags: [x] }] } } }"#;

async fn start(yaml: &str) -> (Discovery, Admin, Stage) {
    let entries: settings::Entries<Settings> =
        settings::parse(yaml, std::path::Path::new("router.yml"), &|_| None).unwrap();
    let sources = entries.into_iter().map(|(name, settings)| (name.into_inner(), settings)).collect();
    let retired = Mutex::new(Vec::new());
    let retire = move |leaving| retired.lock().unwrap().extend(leaving);
    let discovery = Discovery::start(sources, policies(), None, retire).await.unwrap();
    let (_, mut registry) = telemetry::metrics::Metrics::new();
    registry.register_collector(Box::new(metrics::DiscoveryMetrics {
        table: discovery.table(),
        status: discovery.status(),
        freshness: discovery.freshness(),
        findings: discovery.findings(),
        ejections: discovery.ejections(),
    }));
    let admin = Admin {
        table: discovery.table(),
        status: discovery.status(),
        freshness: discovery.freshness(),
        history: discovery.history(),
        operator: discovery.operator(),
        findings: discovery.findings(),
        readiness: Arc::default(),
        loads: Loads([].into()),
        metrics: Arc::new(registry),
    };
    let stage = Stage::new(app(admin.clone(), Router::new(), SocketAddr::from(([127, 0, 0, 1], 0)))).await;
    (discovery, admin, stage)
}

/// Waits until every source has answered.
async fn settled(discovery: &Discovery) {
    let mut status = discovery.status();
    tokio::time::timeout(PATIENCE, status.wait_for(|s| s.is_ready())).await.unwrap().unwrap();
    let cell = discovery.table();
    let mut generations = cell.generations();
    let filled = async {
        while cell.load().service("pets").is_none() {
            generations.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, filled).await.unwrap();
}

#[tokio::test]
async fn health_tells_ready_from_alive() {
    let (discovery, admin, stage) = start(PETS).await;
    settled(&discovery).await;
    for path in ["/health", "/health/live", "/health/ready", "/health/pets"] {
        let answer = stage.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "OK"), "{path}");
    }
    assert_eq!(stage.get("/health/none").await.status, 404);
    let json = stage.ask("GET /health/ready", &["accept: application/json"], "").await.json();
    assert_eq!(json, json!({ "status": "UP", "reasons": [] }));
    admin.readiness.drain();
    let answer = stage.get("/health/ready").await;
    assert_eq!((answer.status, answer.body.trim()), (503, "the router is draining"));
    assert_eq!(stage.get("/health/live").await.status, 200);
    assert_eq!(stage.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_source_that_never_answered_keeps_the_router_unready_and_is_named() {
    // Nobody listens on port 1 of loopback.
    let yaml = format!("{PETS}\ndc1: {{ consul: {{ url: \"http://127.0.0.1:1\" }} }}");
    let (discovery, _, stage) = start(&yaml).await;
    let mut status = discovery.status();
    let live = |s: &Arc<Status>| s.sources[0].answered && s.sources[1].state != discovery::status::State::Starting;
    tokio::time::timeout(PATIENCE, status.wait_for(live)).await.unwrap().unwrap();
    let answer = stage.get("/health/ready").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("source dc1 has not answered yet: "), "{}", answer.body);
    let sources = stage.get("/table").await.json()["sources"].clone();
    assert_eq!((&sources[0]["state"], &sources[1]["state"]), (&json!("live"), &json!("down")));
    assert_eq!((&sources[0]["members"], &sources[1]["kind"]), (&json!(1), &json!("consul")));
}

#[tokio::test]
async fn a_source_that_cannot_tell_about_a_service_says_which_why_and_since_when() {
    let (discovery, admin, stage) = start("dc1: { consul: { url: \"http://127.0.0.1:1\" } }").await;
    drop((discovery, stage));
    let mut source = (*admin.status.borrow().sources[0]).clone();
    let (pets, now) = (ServiceId::new("pets").unwrap(), transport::clock::tick());
    let error = model::ProviderError::Denied("no service:read".into());
    source.state = discovery::status::State::Live;
    source.answered = false;
    source.awaited = [ServiceId::new("orders").unwrap(), pets.clone()].into();
    source.doubts = [(pets, discovery::status::Doubt { error, since: now })].into();
    let ready = async |source: discovery::status::Source| {
        let (_keep, status) = watch::channel(Arc::new(Status { sources: vec![Arc::new(source)], ..Status::default() }));
        let stage =
            Stage::new(app(Admin { status, ..admin.clone() }, Router::new(), SocketAddr::from(([127, 0, 0, 1], 0))))
                .await;
        let doubts = stage.get("/sources").await.json()[0]["doubts"].clone();
        assert_eq!(
            (&doubts[0]["service"], &doubts[0]["error"]),
            (&json!("pets"), &json!("access denied: no service:read"))
        );
        assert!(doubts[0]["for_s"].is_u64(), "{doubts}");
        let answer = stage.get("/health/ready").await;
        (answer.status, answer.body)
    };
    let (status, body) = ready(source.clone()).await;
    assert_eq!(status, 503);
    let says = "source dc1 cannot tell yet about pets and 1 other services: access denied: no service:read (for ";
    assert!(body.starts_with(says), "{body}");
    source.answered = true;
    let (status, body) = ready(source).await;
    assert_eq!(status, 200);
    assert!(body.starts_with("OK, stale:\nsource dc1 cannot tell about pets (for "), "{body}");
    assert!(body.contains("access denied: no service:read"), "{body}");
}

#[tokio::test]
async fn what_is_remembered_makes_it_ready_and_stale() {
    // Nobody listens on port 1 of loopback.
    let yaml = "dc1: { consul: { url: \"http://127.0.0.1:1\" } }";
    let (discovery, admin, stage) = start(yaml).await;
    drop((discovery, stage));
    let mut source = (*admin.status.borrow().sources[0]).clone();
    source.recalled = true;
    source.inherited = [(ServiceId::new("pets").unwrap(), Duration::from_secs(70))].into();
    source.state = discovery::status::State::Down(model::ProviderError::Unreachable("dc1".into()));
    let (keep, status) = watch::channel(Arc::new(Status { sources: vec![Arc::new(source)], ..Status::default() }));
    let stage = Stage::new(app(Admin { status, ..admin }, Router::new(), SocketAddr::from(([127, 0, 0, 1], 0)))).await;
    let answer = stage.get("/health/ready").await;
    assert_eq!(answer.status, 200);
    let says = "OK, stale:\nsource dc1 has not answered since the start; 1 services are remembered, of up to 7";
    assert!(answer.body.starts_with(says) && answer.body.contains("cannot reach dc1"), "{}", answer.body);
    let json = stage.ask("GET /health/ready", &["accept: application/json"], "").await.json();
    assert_eq!((&json["status"], json["stale"].as_array().unwrap().len()), (&json!("UP"), 1));
    assert_eq!(stage.get("/table").await.json()["sources"][0]["remembered"], 1);
    drop(keep);
}

#[tokio::test]
async fn the_table_is_shown_with_what_was_learned() {
    let (discovery, _, stage) = start(PETS).await;
    settled(&discovery).await;
    let upstream = discovery.table().load().service("pets").unwrap().members[0].upstream.clone();
    upstream.vitals.begin();
    let table = stage.get("/table").await.json();
    assert_eq!(table["digest"], format!("{:016x}", discovery.table().load().digest()));
    let names: Vec<_> = table["services"].as_array().unwrap().iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["lonely", "pets"]);
    assert_eq!(table["services"][0]["members"], json!([]));
    let member = json!({
        "id": "10.0.0.1:8443", "address": "10.0.0.1:8443", "protocol": "https", "source": "direct", "weight": 2,
        "standing": "serving", "tags": ["x"], "in_flight": 1, "admission": "in", "requests": 0, "failures": 0,
    });
    assert_eq!(table["services"][1]["members"][0], member);
    assert_eq!(stage.get("/table/pets").await.json(), table["services"][1]);
    let missing = stage.get("/table/none").await;
    assert_eq!((missing.status, missing.json()["code"].as_str()), (404, Some("PTS40411")));
}

#[tokio::test]
async fn the_history_is_told_and_filtered() {
    let (discovery, _, stage) = start(PETS).await;
    settled(&discovery).await;
    let all = stage.get("/history").await.json();
    let words: Vec<_> = all["events"].as_array().unwrap().iter().map(|e| e["event"].clone()).collect();
    assert_eq!(words, ["arranged", "up", "added"]);
    assert_eq!((&all["last"], &all["digest"]), (&json!(3), &stage.get("/table").await.json()["digest"]));
    let added = &all["events"][2];
    assert_eq!((&added["service"], &added["source"]), (&json!("pets"), &json!("direct")));
    assert_eq!(added["instances"], json!(["10.0.0.1:8443 10.0.0.1:8443"]));
    for (query, count) in [("service=pets", 1), ("source=direct", 2), ("since=2", 1), ("limit=1", 1), ("service=no", 0)]
    {
        let told = stage.get(&format!("/history?{query}")).await.json();
        assert_eq!(told["events"].as_array().unwrap().len(), count, "{query}");
    }
    for query in ["since=yesterday", "sevice=pets"] {
        let refused = stage.get(&format!("/history?{query}")).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("PTS40011")), "{query}");
    }
    let sources = stage.get("/sources").await.json();
    assert_eq!((&sources[0]["name"], &sources[0]["state"]), (&json!("direct"), &json!("live")));
    assert!(sources[0]["heard_s_ago"].is_u64() && sources[0]["read_s_ago"].is_u64(), "{sources}");
}

#[tokio::test]
async fn an_instance_is_put_out_and_let_in_again() {
    let (discovery, admin, stage) = start(PETS).await;
    settled(&discovery).await;
    let id = stage.get("/table/pets").await.json()["members"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/table/pets/{id}");
    let admission =
        async || stage.get("/table/pets").await.json()["members"][0]["admission"].as_str().unwrap().to_owned();
    for (verb, drained, word) in [("drain", true, "drained"), ("undrain", false, "in")] {
        for changed in [true, false] {
            let answer = stage.post(&format!("{path}/{verb}"), "").await;
            let expected = json!({ "service": "pets", "instance": id, "drained": drained, "changed": changed });
            assert_eq!((answer.status, answer.json()), (200, expected));
            assert!(admission().await.contains(word), "{}", admission().await);
        }
    }
    let events: Vec<&str> =
        admin.history.select(&discovery::history::Filter::default()).iter().map(|e| e.event.word()).collect();
    assert!(events.ends_with(&["drained", "undrained"]), "{events:?}");
    assert_eq!(stage.post("/table/pets/none/drain", "").await.status, 404);
    assert_eq!(stage.post("/table/none/none/drain", "").await.status, 404);
    assert_eq!(stage.get(&format!("{path}/drain")).await.status, 405);
    let page = stage.ask(&format!("POST {path}/drain"), &["origin: http://evil.example"], "").await;
    assert_eq!(page.status, 403);
}

/// Of a histogram: its buckets in their order, and how many it counted.
type Counted = (Vec<(String, u64)>, Option<u64>);

/// The buckets of each histogram, by its name and labels without `le`: as Prometheus reads them.
fn histograms(text: &str) -> std::collections::BTreeMap<String, Counted> {
    let families: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram")).collect();
    let mut found = std::collections::BTreeMap::<String, Counted>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let Some(family) = families.iter().find(|family| name.starts_with(**family)) else { continue };
        let (bounds, others): (Vec<&str>, Vec<&str>) = labels
            .trim_end_matches('}')
            .split(',')
            .filter(|label| !label.is_empty())
            .partition(|label| label.starts_with("le="));
        let (buckets, count) = found.entry(format!("{family}{others:?}")).or_default();
        match &name[family.len()..] {
            "_bucket" => buckets.push((bounds[0].to_owned(), value.parse().unwrap())),
            "_count" => *count = Some(value.parse().unwrap()),
            "_sum" => assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}"),
            other => panic!("{other} is no part of a histogram: {line}"),
        }
    }
    found
}

#[tokio::test]
async fn every_histogram_ends_with_all_it_counted() {
    let (discovery, _, stage) = start(PETS).await;
    settled(&discovery).await;
    let text = stage.get("/metrics").await.body;
    let histograms = histograms(&text);
    assert!(histograms.len() >= 2, "{text}");
    for (name, (buckets, count)) in &histograms {
        let (bound, all) = buckets.last().unwrap();
        assert_eq!((bound.as_str(), Some(*all)), ("le=\"+Inf\"", *count), "{name}");
        assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{name} grows");
        let bounds = buckets[..buckets.len() - 1].iter().map(|(bound, _)| bound[4..bound.len() - 1].parse::<f64>());
        assert!(bounds.map(Result::unwrap).is_sorted(), "{name}: {buckets:?}");
    }
    assert!(histograms.values().any(|(_, count)| *count > Some(0)), "something was counted: {text}");
}
