//! Active health checks by the router: what a request meets while instances fail and come back, prove themselves, and are
//! many.

mod failing;
mod grpc;
mod newcomers;
mod storm;

use std::path::Path;

use serde_json::Value;
use testkit::{Client, Instance, Reply, get};

use crate::{
    discover::rig::{members, until},
    support::{Config, Front, Running},
};

/// Checks that are over quickly.
const QUICK: &str = "interval: 200ms, fast: 100ms, rise: 2, fall: 2";

/// A router whose service `pets` has these instances, and this check in all services.
fn config(check: &str, instances: &[&Instance]) -> Config {
    let urls: Vec<_> = instances.iter().map(|instance| instance.url()).collect();
    Config::new().set("services", &format!("{{ \"*\": {{ check: {check} }} }}")).service("pets", &urls)
}

async fn instances<const N: usize>(names: [&str; N]) -> [Instance; N] {
    let start = |name: &'static str| Instance::http().named(name).on("/health", Reply::ok("UP")).start();
    let mut all = Vec::new();
    for name in names {
        all.push(start(Box::leak(name.to_owned().into_boxed_str())).await);
    }
    all.try_into().unwrap()
}

/// Follows other settings.
async fn reload(router: &Running, config: Config) {
    let settings = settings::parse(&config.yaml(), Path::new("test.yml"), &|_| None).unwrap();
    router.router.replace(settings).await.unwrap();
}

/// What the table says of the member of a service that is at the address of this instance.
async fn member(router: &Running, service: &str, instance: &Instance) -> Value {
    let address = instance.addr().to_string();
    members(router, service).await.into_values().find(|m| m["address"] == *address).unwrap()
}

/// Waits until the admission of an instance begins so.
async fn stands(router: &Running, service: &str, instance: &Instance, admission: &str) {
    let address = instance.addr().to_string();
    let what = format!("{address} is {admission}");
    until(router, service, &what, |now| {
        now.values().any(|m| m["address"] == *address && m["admission"].as_str().unwrap().starts_with(admission))
    })
    .await;
}

/// Waits until every check of an instance has a verdict of success.
async fn passes(router: &Running, service: &str, instance: &Instance) {
    let address = instance.addr().to_string();
    until(router, service, &format!("{address} passes"), |now| {
        let found = now.values().find(|m| m["address"] == *address);
        found.is_some_and(|m| m["checks"].as_array().unwrap().iter().all(|check| check["result"] == "passing"))
    })
    .await;
}

/// How many of so many requests each of these instances got, its checks not counted.
async fn shares<const N: usize>(
    router: &Running,
    service: &str,
    count: usize,
    instances: [&Instance; N],
) -> [usize; N] {
    let client = router.client(Front::H1).await;
    let mut shares = [0; N];
    for _ in 0..count {
        let answer = client.send(get("/work", &[("service_id", service)])).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let name = answer.json()["instance"].as_str().unwrap().to_owned();
        shares[instances.iter().position(|instance| instance.name() == name).unwrap()] += 1;
    }
    shares
}

/// The value of a metric without labels.
async fn metric(router: &Running, name: &str) -> u64 {
    let text = Client::http(router.admin()).await.send(get("/metrics", &[])).await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// Waits until a metric has this value.
async fn counted(router: &Running, name: &str, wanted: u64) {
    testkit::until(&format!("{name} is {wanted}"), async || metric(router, name).await, |now| *now == wanted).await;
}
