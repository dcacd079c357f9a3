//! Instances that are new to a registry without health prove themselves first.

use testkit::{Gate, Reply};

use super::{QUICK, config, instances, passes, reload, shares, stands};
use crate::{
    discover::rig::{IN_MEMORY, Registrar, serving},
    support::Config,
};

fn check() -> String {
    format!("{{ http: {{ path: /health }}, timeout: 200ms, {QUICK} }}")
}

/// Traefik 4544, 12654.
#[tokio::test]
async fn who_is_new_gets_its_first_request_after_its_first_success() {
    let [a, b] = instances(["a", "b"]).await;
    let router = config(&check(), &[&a]).start();
    passes(&router, "pets", &a).await;
    let ready = Gate::new();
    b.on("/health", Reply::script().gate(&ready).head(200));
    reload(&router, config(&check(), &[&a, &b])).await;
    // From the first request on, and while nobody knows how it is.
    assert_eq!(shares(&router, "pets", 30, [&a, &b]).await, [30, 0]);
    stands(&router, "pets", &b, "out (").await;
    ready.open();
    stands(&router, "pets", &b, "in").await;
    let [_, of_b] = shares(&router, "pets", 60, [&a, &b]).await;
    assert!(of_b > 0);
}

#[tokio::test]
async fn who_is_there_when_the_router_starts_serves_at_once() {
    let [a, b] = instances(["a", "b"]).await;
    let slow = "{ http: { path: /health }, interval: 1h }";
    let router = config(slow, &[&a, &b]).start();
    let [of_a, of_b] = shares(&router, "pets", 60, [&a, &b]).await;
    assert!(of_a > 0 && of_b > 0, "nobody has looked at them yet");
    // A check that is new to old instances puts nobody out either.
    reload(&router, config("{ tcp: {}, interval: 1h }", &[&a, &b])).await;
    let [of_a, of_b] = shares(&router, "pets", 60, [&a, &b]).await;
    assert!(of_a > 0 && of_b > 0);
}

#[tokio::test]
async fn a_service_whose_instances_are_all_new_is_served() {
    let [a, b] = instances(["a", "b"]).await;
    let router = config(&check(), &[&a]).start();
    passes(&router, "pets", &a).await;
    b.on("/health", Reply::silence());
    reload(&router, config(&check(), &[&a]).service("orders", &[b.url()])).await;
    assert_eq!(shares(&router, "orders", 5, [&b]).await, [5], "there is no other");
}

#[tokio::test]
async fn a_registry_that_reports_health_is_believed() {
    let [a] = instances(["a"]).await;
    let check = r#"{ "*": { check: { http: { path: /health }, interval: 1h } } }"#;
    let router = Config::new().set("registries", IN_MEMORY).set("services", check).start();
    let registrar = Registrar::of(&router).await;
    registrar.register("pets", &a).await;
    serving(&router, "pets", &["a"]).await;
    stands(&router, "pets", &a, "in").await;
}

#[tokio::test]
async fn who_fails_from_the_beginning_is_told_by_its_check() {
    let [a, b] = instances(["a", "b"]).await;
    let router = config(&check(), &[&a]).start();
    passes(&router, "pets", &a).await;
    b.on("/health", Reply::status(500));
    reload(&router, config(&check(), &[&a, &b])).await;
    stands(&router, "pets", &b, "out (check)").await;
    assert_eq!(shares(&router, "pets", 30, [&a, &b]).await, [30, 0]);
}
