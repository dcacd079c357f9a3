//! Instances that fail their checks get no requests, and come back.

use serde_json::Value;
use testkit::{Client, Instance, PATIENCE, Reply, eventually, get, wait_for};

use super::{QUICK, config, counted, instances, member, passes, reload, shares, stands};
use crate::support::{Front, Running};

fn http(path: &str) -> String {
    format!("{{ http: {{ path: {path} }}, {QUICK} }}")
}

/// The last events of a service, in short.
async fn history(router: &Running) -> Vec<String> {
    let answer = Client::http(router.admin()).await.send(get("/history?service=pets", &[])).await;
    let short =
        |event: &Value| format!("{}: {}", event["event"].as_str().unwrap(), event["cause"].as_str().unwrap_or(""));
    answer.json()["events"].as_array().unwrap().iter().map(short).collect()
}

#[tokio::test]
async fn a_failing_instance_gets_no_request_and_comes_back() {
    let [a, b] = instances(["a", "b"]).await;
    let router = config(&http("/health"), &[&a, &b]).start();
    passes(&router, "pets", &a).await;
    let [of_a, of_b] = shares(&router, "pets", 60, [&a, &b]).await;
    assert!(of_a > 0 && of_b > 0);

    a.on("/health", Reply::status(503));
    stands(&router, "pets", &a, "out (check)").await;
    assert_eq!(shares(&router, "pets", 60, [&a, &b]).await, [0, 60]);
    counted(&router, "pointsman_health_down", 1).await;
    let check = member(&router, "pets", &a).await["checks"][0].clone();
    assert_eq!(
        (&check["kind"], &check["result"], &check["saw"]),
        (&"http".into(), &"failing".into(), &"GET /health: 503".into())
    );
    assert!(router.table("pets").await["panic"].is_null());

    a.on("/health", Reply::ok("UP"));
    stands(&router, "pets", &a, "in").await;
    let [of_a, _] = shares(&router, "pets", 60, [&a, &b]).await;
    assert!(of_a > 0);
    let told = history(&router).await;
    assert_eq!(told[1..], ["unhealthy: GET /health: 503", "healthy: GET /health: 200"], "{told:?}");
}

#[tokio::test]
async fn when_all_fail_all_are_used_and_it_is_shown() {
    let [a, b] = instances(["a", "b"]).await;
    let router = config(&http("/gone"), &[&a, &b]).start();
    for instance in [&a, &b] {
        instance.on("/gone", Reply::status(404));
    }
    for instance in [&a, &b] {
        stands(&router, "pets", instance, "out (check)").await;
    }
    let [of_a, of_b] = shares(&router, "pets", 60, [&a, &b]).await;
    assert!(of_a > 0 && of_b > 0, "all of them, not only the first");
    assert_eq!(router.table("pets").await["panic"], true);
}

#[tokio::test]
async fn a_reload_changes_the_check_and_keeps_what_is_known() {
    let [a, b] = instances(["a", "b"]).await;
    a.on("/health", Reply::status(500));
    a.on("/other", Reply::ok("UP"));
    let router = config(&http("/health"), &[&a, &b]).start();
    stands(&router, "pets", &a, "out (check)").await;
    passes(&router, "pets", &b).await;
    // Something else is changed: nobody is let in for that, not for a moment.
    let services = format!("{{ \"*\": {{ balance: round_robin, check: {} }} }}", http("/health"));
    reload(&router, config("[]", &[&a, &b]).set("services", &services)).await;
    assert!(member(&router, "pets", &a).await["admission"].as_str().unwrap().starts_with("out (check)"));
    // Another check: what the old one found is of no interest.
    reload(&router, config(&http("/other"), &[&a, &b])).await;
    assert_eq!(member(&router, "pets", &a).await["admission"], "in");
    b.on("/other", Reply::status(500));
    stands(&router, "pets", &b, "out (check)").await;
    passes(&router, "pets", &a).await;
    // None.
    reload(&router, config("[]", &[&a, &b])).await;
    let now = member(&router, "pets", &b).await;
    assert_eq!((&now["admission"], &now["checks"]), (&"in".into(), &Value::Null));
    counted(&router, "pointsman_health_watched", 0).await;
}

/// Caddy 7036, 7870.
#[tokio::test]
async fn two_services_at_one_address_are_looked_at_apart() {
    let [a] = instances(["a"]).await;
    a.on("/b", Reply::status(500));
    let checks = format!("{{ pets: {{ check: {} }}, orders: {{ check: {} }} }}", http("/health"), http("/b"));
    let router = config("[]", &[&a]).service("orders", &[a.url()]).set("services", &checks).start();
    stands(&router, "orders", &a, "out (check)").await;
    passes(&router, "pets", &a).await;
    assert_eq!(member(&router, "pets", &a).await["admission"], "in");
    a.on("/health", Reply::status(500));
    a.on("/b", Reply::status(200));
    stands(&router, "orders", &a, "in").await;
    stands(&router, "pets", &a, "out (check)").await;
}

/// An instance with one pooled connection to it, whose check by this role has come to fail.
async fn failed(role: &str) -> (Instance, Running) {
    let instance = Instance::h2c().named("a").on("/health", Reply::ok("UP")).start().await;
    let check = format!("{{ http: {{ path: /health }}, role: {role}, {QUICK} }}");
    let router = config(&check, &[&instance]).start();
    passes(&router, "pets", &instance).await;
    router.client(Front::H1).await.send(get("/", &[("service_id", "pets")])).await;
    instance.on("/health", Reply::status(500));
    stands(&router, "pets", &instance, "out (check)").await;
    (instance, router)
}

#[tokio::test]
async fn a_failing_liveness_check_closes_connections_and_one_of_readiness_does_not() {
    let (dead, router) = failed("liveness").await;
    eventually("its connection closes", || dead.counts().open() == 0).await;
    let told = history(&router).await;
    assert_eq!(told.last().unwrap(), "unhealthy: liveness: GET /health: 500");
    let (busy, _router) = failed("readiness").await;
    let looks = busy.counts().requests();
    assert!(wait_for(|| busy.counts().requests() > looks + 3, PATIENCE).await);
    assert!(busy.counts().open() > 0, "who is only busy keeps what it has");
}

#[tokio::test]
async fn every_check_of_several_must_pass() {
    let [a, b] = instances(["a", "b"]).await;
    let both = format!("[ {{ http: {{ path: /health }}, {QUICK} }}, {{ tcp: {{}}, role: liveness, {QUICK} }} ]");
    let router = config(&both, &[&a, &b]).start();
    passes(&router, "pets", &a).await;
    let kinds = member(&router, "pets", &a).await;
    assert_eq!((&kinds["checks"][0]["role"], &kinds["checks"][1]["role"]), (&"readiness".into(), &"liveness".into()));
    a.kill().await;
    stands(&router, "pets", &a, "out (check)").await;
    a.restart_on_same_port().await;
    stands(&router, "pets", &a, "in").await;
    passes(&router, "pets", &a).await;
}
