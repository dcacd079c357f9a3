//! Real Consul agents behind a whole router.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Instance, get, wait_for};

use super::rig::{self, Load, instances, until};
use crate::{
    consul::rig::{Own, Registrar, ca, environment},
    registry::unique,
    support::{self, Config, Front, Running},
};

/// A router that asks this agent about one service.
fn router(consul: &str, service: &str) -> Running {
    Config::new()
        .set("registries", &format!("{{ dc1: {{ consul: {consul} }} }}"))
        .set("expose", &format!("{{ service: {service} }}"))
        .set("services", "{ '*': { warm_hold: off } }")
        .start()
}

/// What a registrar writes about an instance; `more` is added.
fn record(service: &str, instance: &Instance, more: &Value) -> Value {
    let id = format!("{service}-{}", instance.name());
    let mut record = json!({ "ID": id, "Name": service, "Address": "127.0.0.1", "Port": instance.addr().port(),
        "Meta": { "protocol": "h2c" } });
    record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    record
}

/// A check that the test passes and fails.
fn check(service: &str, instance: &Instance) -> Value {
    json!({ "Check": { "CheckID": format!("check-{service}-{}", instance.name()), "TTL": "10m", "Status": "passing" } })
}

/// Waits until requests reach exactly these instances first.
async fn reached(router: &Running, service: &str, names: &[&str]) {
    until(router, service, &format!("{names:?} serve"), |now| {
        let serving: Vec<_> = now.values().filter(|m| m["standing"] == "serving").collect();
        // Ids carry the node's name too.
        let named = |m: &Value, name: &&str| m["id"].as_str().unwrap().contains(&format!("{service}-{name}"));
        serving.len() == names.len() && serving.iter().all(|m| names.iter().any(|name| named(m, name)))
    })
    .await;
}

async fn source(router: &Running) -> Value {
    rig::admin(router.admin(), "/table").await.json()["sources"][0].clone()
}

/// Waits until what is said of the only source is as wanted.
async fn told(router: &Running, what: &str, wanted: impl Fn(&Value) -> bool) {
    testkit::until(what, async || source(router).await, wanted).await;
}

async fn in_doubt(router: &Running, service: &str) {
    let lacking = |now: &Value| {
        let doubts = now["doubts"].to_string();
        doubts.contains(service) && doubts.contains("service:read")
    };
    told(router, "the source does not know", lacking).await;
}

/// Fabio 578, 704.
#[tokio::test]
async fn instances_come_fail_recover_and_leave_while_clients_ask() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let registrar = Registrar::clear(&url);
    let service = unique("api-life");
    let router = router(&format!("{{ url: {url:?} }}"), &service);
    router.ready().await;
    let client = router.client(Front::H2c).await;
    let none = client.send(get("/", &[("service_id", &service)])).await;
    assert_eq!(support::told(&none), (503, Some("no_instance")));

    let all = instances(&["one", "two"]).await;
    for instance in &all {
        registrar.register(&record(&service, instance, &check(&service, instance))).await;
    }
    reached(&router, &service, &["one", "two"]).await;
    let load = Load::start(&router, &[Front::H1, Front::H2Tls], &service).await;
    load.more(100).await;
    assert!(all.iter().all(|instance| instance.counts().requests() > 10));

    registrar.put(&format!("/v1/agent/check/fail/check-{service}-one"), &Value::Null).await;
    reached(&router, &service, &["two"]).await;
    load.more(10).await;
    let had = all[0].counts().requests();
    load.more(50).await;
    assert_eq!(all[0].counts().requests(), had);

    // Its own check says that it is down, which could be a fault of the check: better than nobody.
    registrar.put(&format!("/v1/agent/check/fail/check-{service}-two"), &Value::Null).await;
    until(&router, &service, "two is the last resort", |now| now.values().any(|m| m["standing"] == "resort")).await;
    load.more(50).await;
    registrar.put(&format!("/v1/agent/check/pass/check-{service}-one"), &Value::Null).await;
    reached(&router, &service, &["one"]).await;
    load.more(50).await;
    load.end().await;
    registrar.deregister(&format!("{service}-one")).await;
    registrar.deregister(&format!("{service}-two")).await;
}

#[tokio::test]
async fn tags_are_environments_and_open_doors() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let registrar = Registrar::clear(&url);
    let (service, hidden, public) = (unique("api-tags"), unique("api-hidden"), unique("public"));
    let router = Config::new()
        .set("registries", &format!("{{ dc1: {{ consul: {{ url: {url:?} }} }} }}"))
        .set("expose", &format!("{{ tag: {public} }}"))
        .start();
    // Nothing in the catalogue has the tag yet, which is an answer too.
    router.ready().await;
    let client = router.client(Front::H2c).await;
    let [plain, test] = <[Instance; 2]>::try_from(instances(&["plain", "test"]).await).unwrap();
    registrar.register(&record(&service, &plain, &json!({ "Tags": [public] }))).await;
    registrar.register(&record(&service, &test, &json!({ "Tags": [public, "test"] }))).await;
    registrar.register(&record(&hidden, &plain, &json!({ "Tags": ["private"] }))).await;
    reached(&router, &service, &["plain", "test"]).await;
    for _ in 0..10 {
        let answer = client.send(get("/", &[("service_id", &service), ("env_tag", "test")])).await;
        assert_eq!(answer.json()["instance"], "test");
    }
    let other = client.send(get("/", &[("service_id", &service), ("env_tag", "stage")])).await;
    assert_eq!(other.header("x-pointsman-reason"), Some("no_instance"));
    let closed = client.send(get("/", &[("service_id", &hidden)])).await;
    assert_eq!(closed.header("x-pointsman-reason"), Some("no_service"));
    for (service, instance) in [(&service, "plain"), (&service, "test"), (&hidden, "plain")] {
        registrar.deregister(&format!("{service}-{instance}")).await;
    }
}

#[tokio::test]
async fn three_kinds_of_sources_fill_one_service() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let registrar = Registrar::clear(&url);
    let service = unique("api-union");
    let all = instances(&["listed", "local", "remote"]).await;
    let [listed, local, remote] = &all[..] else { unreachable!() };
    let registries = format!(
        "{{ direct: {{ static: {{ services: {{ {service}: [ {:?} ] }} }} }}, \
            local: {{ embedded: {{ address: 127.0.0.1:0, directory: null }} }}, \
            dc1: {{ consul: {{ url: {url:?} }} }} }}",
        listed.url()
    );
    let routes = format!("[ {{ prefix: /union, service: {service} }} ]");
    let router = Config::new().set("registries", &registries).set("expose", "{}").set("routes", &routes).start();
    router.ready().await;
    rig::Registrar::of(&router).await.register(&service, local).await;
    registrar.register(&record(&service, remote, &json!({}))).await;
    until(&router, &service, "three members", |now| now.len() == 3).await;
    let sources: std::collections::BTreeSet<_> =
        rig::members(&router, &service).await.values().map(|m| m["source"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sources, ["direct", "local", "dc1"].map(str::to_owned).into());
    let client = router.client(Front::H1Tls).await;
    let each = || all.iter().all(|instance| instance.counts().requests() > 0);
    for _ in 0..200 {
        assert_eq!(client.send(get("/union/x", &[])).await.status, 200);
    }
    assert!(each(), "every source's instance has its share");
    registrar.deregister(&format!("{service}-remote")).await;
}

#[tokio::test]
async fn over_tls_a_token_file_opens_and_a_token_that_lost_its_right_empties_nothing() {
    let Some(url) = environment("CONSUL_TLS_URL") else { return };
    let token = |kind: &str| std::env::var(format!("CONSUL_TOKEN_{kind}")).unwrap();
    let registrar = Registrar::secure(&url, &token("WRITE"));
    let service = unique("api-secure");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, token("READ") + "\n").unwrap();
    let instance = Instance::h2c().named("one").start().await;
    registrar.register(&record(&service, &instance, &json!({}))).await;
    let config = |token: &str| {
        let consul = format!("{{ url: {url:?}, ca: {:?}, token: {token} }}", ca());
        Config::new()
            .set("registries", &format!("{{ dc1: {{ consul: {consul} }} }}"))
            .set("expose", &format!("{{ service: {service} }}"))
    };
    let router = config(&format!("{{ file: {file:?} }}")).start();
    reached(&router, &service, &["one"]).await;
    router.ready().await;
    let load = Load::start(&router, &[Front::H1, Front::H2c], &service).await;
    load.more(20).await;
    // The anonymous token sees an empty list, and the agent does not say that it left something out.
    let next = config("''");
    let without = settings::parse(&next.yaml(), "next.yml".as_ref(), &|_| None).unwrap();
    router.router.replace(without).await.unwrap();
    in_doubt(&router, &service).await;
    load.more(50).await;
    serving_still(&router, &service).await;
    load.end().await;

    // Started so, the router knows that it does not know.
    let blind = config("''").start();
    in_doubt(&blind, &service).await;
    assert!(blind.router.readiness().await.is_err());
    registrar.deregister(&format!("{service}-one")).await;
}

async fn serving_still(router: &Running, service: &str) {
    let members = rig::members(router, service).await;
    assert!(members.len() == 1 && members.values().all(|m| m["standing"] == "serving"), "{members:#?}");
}

/// Fabio 481.
/// Spring 594.
#[tokio::test]
async fn an_agent_that_dies_or_hangs_costs_no_request() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let own = tokio::task::spawn_blocking(Own::start).await.unwrap();
    let registrar = Registrar::clear(&own.url);
    let service = unique("api-outage");
    let all = instances(&["one", "two"]).await;
    registrar.register(&record(&service, &all[0], &json!({}))).await;
    let router = router(&format!("{{ url: {:?}, wait: 1s }}", own.url), &service);
    reached(&router, &service, &["one"]).await;
    let load = Load::start(&router, &Front::ALL, &service).await;
    load.more(50).await;

    // It takes connections and never answers: the path of a request does not go there, and the watch is found overdue.
    own.node("pause");
    load.more(500).await;
    told(&router, "overdue", |now| now["state"] == "down").await;
    load.more(50).await;
    own.node("resume");
    told(&router, "live as soon as it answers", |now| now["state"] == "live").await;

    own.node("kill");
    told(&router, "down", |now| now["state"] == "down").await;
    load.more(200).await;
    serving_still(&router, &service).await;
    assert!(router.router.readiness().await.is_ok(), "an outage of a registry is none of the router");

    own.node("start");
    told(&router, "live again", |now| now["state"] == "live").await;
    let registrar = Registrar::clear(&own.url);
    registrar.register(&record(&service, &all[1], &json!({}))).await;
    reached(&router, &service, &["one", "two"]).await;
    assert!(wait_for(|| all[1].counts().requests() > 10, testkit::DEADLINE).await);
    load.end().await;
}

/// Traefik 2552.
#[tokio::test]
async fn what_an_agent_forgot_in_an_outage_leaves_once_it_says_so() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let own = tokio::task::spawn_blocking(Own::forgetful).await.unwrap();
    let registrar = Registrar::clear(&own.url);
    let (service, other) = (unique("com-forgotten"), unique("com-other"));
    let all = instances(&["one"]).await;
    registrar.register(&record(&service, &all[0], &json!({}))).await;
    let router = Config::new()
        .set("registries", &format!("{{ dc1: {{ consul: {{ url: {:?} }} }} }}", own.url))
        .set("expose", "{ service: 'com-*' }")
        .set("hold", "1s")
        .start();
    reached(&router, &service, &["one"]).await;
    own.node("kill");
    told(&router, "down", |now| now["state"] == "down").await;
    serving_still(&router, &service).await;
    own.node("start");
    told(&router, "live again", |now| now["state"] == "live").await;
    registrar.register(&record(&other, &all[0], &json!({}))).await;
    reached(&router, &other, &["one"]).await;
    testkit::bounded("the forgotten service to leave", async {
        while !rig::members(&router, &service).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_that_sees_less_of_the_catalogue_takes_nothing_out() {
    let Some(url) = environment("CONSUL_TLS_URL") else { return };
    let token = |kind: &str| std::env::var(format!("CONSUL_TOKEN_{kind}")).unwrap();
    let (registrar, operator) =
        (Registrar::secure(&url, &token("WRITE")), Registrar::secure(&url, &token("MANAGEMENT")));
    let (seen, unseen, public) = (unique("api-seen"), unique("api-unseen"), unique("public"));
    let [one, two] = <[Instance; 2]>::try_from(instances(&["one", "two"]).await).unwrap();
    registrar.register(&record(&seen, &one, &json!({ "Tags": [public] }))).await;
    registrar.register(&record(&unseen, &two, &json!({ "Tags": [public] }))).await;
    let rules = format!("service \"{seen}\" {{ policy = \"read\" }} node_prefix \"\" {{ policy = \"read\" }}");
    let narrow = operator.token(&seen, &rules).await.secret;
    let config = |token: &str| {
        let consul = format!("{{ url: {url:?}, ca: {:?}, token: {token:?} }}", ca());
        Config::new()
            .set("registries", &format!("{{ dc1: {{ consul: {consul} }} }}"))
            .set("expose", &format!("{{ tag: {public} }}"))
    };
    let router = config(&token("READ")).start();
    reached(&router, &seen, &["one"]).await;
    reached(&router, &unseen, &["two"]).await;
    let load = Load::start(&router, &[Front::H1], &unseen).await;
    let next = config(&narrow);
    let parsed = settings::parse(&next.yaml(), "next.yml".as_ref(), &|_| None).unwrap();
    router.router.replace(parsed).await.unwrap();
    in_doubt(&router, &unseen).await;
    load.more(50).await;
    reached(&router, &unseen, &["two"]).await;
    reached(&router, &seen, &["one"]).await;
    load.end().await;
    registrar.deregister(&format!("{seen}-one")).await;
    registrar.deregister(&format!("{unseen}-two")).await;
}
