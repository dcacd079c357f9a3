//! Checks that agents make themselves, maintenance of a whole node, and another datacenter.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use discovery::provider::consul::Settings;
use model::{Knowledge, ProviderError, Standing, Update};
use serde_json::{Value, json};
use settings::Span;
use testkit::{Instance, Reply};

use super::rig::{Own, Registrar, environment, source};
use crate::{registry::unique, source::named};

#[tokio::test]
async fn what_a_tcp_check_finds_counts() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let (registrar, name, instance) = (Registrar::clear(&url), unique("tcp"), Instance::http().start().await);
    let mut source = source(Settings::new(&*url), named(&[&name]));
    source.empty(&name).await;
    let (address, port) = (instance.addr().to_string(), instance.addr().port());
    registrar
        .register(&json!({ "ID": name, "Name": name, "Port": port, "Check": { "TCP": address, "Interval": "1s" } }))
        .await;
    source.known(&name, 1).await;
    instance.kill().await;
    source.empty(&name).await;
    instance.restart_on_same_port().await;
    source.known(&name, 1).await;
    registrar.deregister(&name).await;
    source.empty(&name).await;
}

#[tokio::test]
async fn what_an_http_check_finds_counts_and_an_alias_follows() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let (registrar, name, alias) = (Registrar::clear(&url), unique("http"), unique("alias"));
    let status = Arc::new(AtomicU16::new(200));
    let now = Arc::clone(&status);
    let answer = move |_: &testkit::Seen| Reply::script().head(now.load(Ordering::Relaxed));
    let instance = Instance::http().answer(answer).start().await;
    let weights = json!({ "Passing": 5, "Warning": 2 });
    let check = json!({ "HTTP": format!("{}/health", instance.url()), "Interval": "1s" });
    registrar.register(&json!({ "ID": name, "Name": name, "Port": 1, "Weights": weights, "Check": check })).await;
    registrar
        .register(
            &json!({ "ID": alias, "Name": alias, "Port": 2, "Weights": weights, "Check": { "AliasService": name } }),
        )
        .await;
    for service in [&name, &alias] {
        // A watch each, so that neither passes over what the other says.
        let mut source = source(Settings::new(&*url), named(&[service]));
        let weighing = |weight| move |k: &Knowledge| matches!(k, Knowledge::Known(list) if list[0].weight == weight);
        status.store(200, Ordering::Relaxed);
        source.knowledge(service, weighing(5)).await;
        // Consul's own word for "warning".
        status.store(429, Ordering::Relaxed);
        source.knowledge(service, weighing(2)).await;
        status.store(500, Ordering::Relaxed);
        source.empty(service).await;
        status.store(204, Ordering::Relaxed);
        source.knowledge(service, weighing(5)).await;
    }
    for service in [&alias, &name] {
        registrar.deregister(service).await;
    }
}

#[tokio::test]
async fn maintenance_of_a_node_lets_all_its_instances_drain() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let own = tokio::task::spawn_blocking(Own::forgetful).await.unwrap();
    let registrar = Registrar::clear(&own.url);
    for name in ["pets", "orders"] {
        registrar.register(&json!({ "ID": name, "Name": name, "Port": 1 })).await;
    }
    let standing = |standing| move |k: &Knowledge| matches!(k, Knowledge::Known(list) if list[0].standing == standing);
    for name in ["pets", "orders"] {
        let mut source = source(Settings::new(&*own.url), named(&[name]));
        source.knowledge(name, standing(Standing::Serving)).await;
        registrar.put("/v1/agent/maintenance?enable=true&reason=test", &Value::Null).await;
        source.knowledge(name, standing(Standing::Draining)).await;
        registrar.put("/v1/agent/maintenance?enable=false", &Value::Null).await;
        source.knowledge(name, standing(Standing::Serving)).await;
    }
}

#[tokio::test]
async fn another_datacenter_is_watched_by_way_of_the_own_agent_and_its_loss_empties_nothing() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let own = tokio::task::spawn_blocking(Own::datacenters).await.unwrap();
    let (here, there) = (Registrar::clear(&own.urls[0]), Registrar::clear(&own.urls[1]));
    here.register(&json!({ "ID": "near", "Name": "pets", "Port": 1 })).await;
    there.register(&json!({ "ID": "far", "Name": "pets", "Port": 2 })).await;
    let to = |datacenter: Option<&str>| Settings {
        datacenter: datacenter.map(Into::into),
        wait: Span::from_secs(1),
        ..Settings::new(&*own.urls[0])
    };
    let mut plain = source(to(None), named(&["pets"]));
    assert_eq!(plain.known("pets", 1).await[0].label("datacenter"), Some("dc1"));
    let mut other = source(to(Some("dc2")), named(&["pets"]));
    let found = other.known("pets", 1).await;
    assert_eq!((found[0].label("datacenter"), found[0].endpoint.address.port), (Some("dc2"), 2));

    // A change there is heard here.
    there.register(&json!({ "ID": "farther", "Name": "pets", "Port": 3 })).await;
    other.known("pets", 2).await;
    own.server(2, "kill");
    let lost = |update| match update {
        Update::Unreachable(error) => Some(error),
        Update::Service { knowledge: Knowledge::Known(list), .. } => {
            assert_eq!(list.len(), 2);
            None
        }
        Update::Service { knowledge: Knowledge::KnownEmpty, .. } => panic!("it is not known"),
        _ => None,
    };
    let error = other.until("its loss", lost).await;
    assert!(matches!(error, ProviderError::Failed(_) | ProviderError::Unreachable(_)), "{error}");
    own.server(2, "start");
    other.known("pets", 2).await;
    // One that is not there is not empty either.
    let mut nowhere = source(to(Some("dc9")), named(&["pets"]));
    let told = nowhere.until("an outage", lost).await.to_string();
    assert!(told.contains("dc9") || told.contains("datacenter"), "{told}");
}
