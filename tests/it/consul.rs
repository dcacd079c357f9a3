//! The Consul provider against real agents.

mod access;
mod checks;
mod cluster;
pub(crate) mod rig;

use std::{collections::BTreeSet, sync::Arc};

use discovery::provider::{Interest, consul::Settings};
use model::{Exposure, Knowledge, Standing, Tag, Update};
use serde_json::{Value, json};
use settings::Span;

use crate::{registry::unique, source::named};
use rig::{Own, Registrar, environment, source};

/// Traefik 2552.
#[tokio::test]
async fn instances_come_change_and_go_as_they_are_registered() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let registrar = Registrar::clear(&url);
    let name = unique("pets");
    let (one, two) = (format!("{name}:1"), format!("{name}:2"));
    let mut source = source(Settings::new(&*url), named(&[&name]));
    source.empty(&name).await;

    let full = json!({ "ID": one, "Name": name, "Address": "10.0.0.1", "Port": 8080, "Tags": ["test", "blue"],
        "Meta": { "version": "2", "zone": "a", "protocol": "h2c" }, "Weights": { "Passing": 5, "Warning": 2 } });
    registrar.register(&full).await;
    let list = source.known(&name, 1).await;
    assert_eq!(list[0].endpoint.address.to_string(), "10.0.0.1:8080");
    assert_eq!(list[0].endpoint.protocol, Some(model::Protocol::H2c));
    assert_eq!((list[0].weight, list[0].zone.as_deref()), (5, Some("a")));
    assert!(list[0].is_in("test") && list[0].is_in("blue"));
    assert_eq!((list[0].label("version"), list[0].label("datacenter")), (Some("2"), Some("dc1")));

    // The least a registrar can say: its node's address counts.
    registrar.register(&json!({ "ID": two, "Name": name, "Port": 9090 })).await;
    let list = source.known(&name, 2).await;
    assert!(list.iter().any(|i| i.endpoint.address.to_string() == "127.0.0.1:9090"), "{list:?}");

    registrar.deregister(&one).await;
    let list = source.known(&name, 1).await;
    assert!(list[0].id.as_str().starts_with(&two));
    registrar.deregister(&two).await;
    source.empty(&name).await;
}

/// APISIX 8856.
#[tokio::test]
async fn checks_and_maintenance_decide_who_serves() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let registrar = Registrar::clear(&url);
    let name = unique("ttl");
    let mut source = source(Settings::new(&*url), named(&[&name]));
    source.empty(&name).await;
    registrar
        .register(&json!({ "ID": name, "Name": name, "Port": 1, "Weights": { "Passing": 5, "Warning": 2 },
            "Check": { "CheckID": format!("check-{name}"), "TTL": "1s" } }))
        .await;

    registrar.put(&format!("/v1/agent/check/pass/check-{name}"), &Value::Null).await;
    assert_eq!(source.known(&name, 1).await[0].weight, 5);
    // The lease runs out.
    source.empty(&name).await;
    registrar.put(&format!("/v1/agent/check/warn/check-{name}"), &Value::Null).await;
    assert_eq!(source.known(&name, 1).await[0].weight, 2);

    registrar.put(&format!("/v1/agent/service/maintenance/{name}?enable=true"), &Value::Null).await;
    let drains = |k: &Knowledge| matches!(k, Knowledge::Known(list) if list[0].standing == Standing::Draining);
    source.knowledge(&name, drains).await;
    registrar.deregister(&name).await;
    source.empty(&name).await;
}

/// Consul 1244, 4810.
#[tokio::test]
async fn what_does_not_change_is_not_said_again() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let registrar = Registrar::clear(&url);
    let (name, other) = (unique("calm"), unique("busy"));
    registrar.register(&json!({ "ID": name, "Name": name, "Port": 1 })).await;
    // Short waits: several answers without a change come in while we listen.
    let settings = Settings { wait: Span::from_secs(1), ..Settings::new(&*url) };
    let mut source = source(settings, named(&[&name]));
    source.known(&name, 1).await;
    registrar.register(&json!({ "ID": other, "Name": other, "Port": 1 })).await;
    registrar.register(&json!({ "ID": name, "Name": name, "Port": 1 })).await;
    for _ in 0..5 {
        source.silent().await;
    }
    registrar.deregister(&other).await;
    registrar.deregister(&name).await;
}

#[tokio::test]
async fn services_are_watched_as_they_become_of_interest() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let registrar = Registrar::clear(&url);
    let (first, second, tag) = (unique("first"), unique("second"), unique("tag"));
    for name in [&first, &second] {
        registrar.register(&json!({ "ID": name, "Name": name, "Port": 1, "Tags": [tag] })).await;
    }
    let mut source = source(Settings::new(&*url), named(&[&first]));
    source.known(&first, 1).await;

    // A reload names another service and lets the first one go.
    source.interest.send_replace(Arc::new(named(&[&second])));
    source.forgotten(&first).await;
    source.known(&second, 1).await;

    // Exposure by tag: the catalogue is looked at, for services that are and for one that comes.
    let exposure =
        Exposure::Matching { services: BTreeSet::new(), prefixes: Vec::new(), tags: [Tag::new(&tag).unwrap()].into() };
    source.interest.send_replace(Arc::new(Interest { services: BTreeSet::new(), exposure }));
    source.known(&first, 1).await;
    let third = unique("third");
    registrar.register(&json!({ "ID": third, "Name": third, "Port": 1, "Tags": [tag] })).await;
    source.known(&third, 1).await;
    for name in [&first, &second, &third] {
        registrar.deregister(name).await;
    }
    source.empty(&third).await;
}

#[tokio::test]
async fn more_services_than_connections_are_still_followed() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let registrar = Registrar::clear(&url);
    let names: Vec<_> = (0..120).map(|_| unique("many")).collect();
    let mut source = source(Settings::new(&*url), named(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    let mut left: BTreeSet<_> = names.iter().cloned().collect();
    source
        .until("120 empty services", |update| {
            if let Update::Service { service, knowledge: Knowledge::KnownEmpty, .. } = update {
                left.remove(service.as_str());
            }
            left.is_empty().then_some(())
        })
        .await;
    let name = &names[60];
    let service = |meta: &str| {
        json!({ "ID": name, "Name": name, "Port": 1, "Meta": { "version": meta },
        "Check": { "CheckID": format!("check-{name}"), "TTL": "60s", "Status": "passing" } })
    };
    registrar.register(&service("1")).await;
    source.known(name, 1).await;
    registrar.put(&format!("/v1/agent/check/fail/check-{name}"), &Value::Null).await;
    source.empty(name).await;
    registrar.put(&format!("/v1/agent/check/pass/check-{name}"), &Value::Null).await;
    source.known(name, 1).await;
    // Nothing of this shows in any check.
    registrar.register(&service("2")).await;
    source.knowledge(name, |k| matches!(k, Knowledge::Known(l) if l[0].label("version") == Some("2"))).await;
    registrar.deregister(name).await;
    source.empty(name).await;
}

#[tokio::test]
async fn an_outage_is_told_once_and_the_watch_resumes() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let own = Own::start();
    let registrar = Registrar::clear(&own.url);
    let name = unique("kept");
    registrar.register(&json!({ "ID": name, "Name": name, "Port": 1 })).await;
    let mut source = source(Settings::new(&*own.url), named(&[&name]));
    let before = source.known(&name, 1).await;

    own.node("kill");
    let what = |update| match update {
        Update::Unreachable(error) => Some(error),
        Update::Service { knowledge: Knowledge::KnownEmpty, .. } => panic!("an outage was read as an empty list"),
        _ => None,
    };
    source.until("outage", what).await;
    own.node("start");
    let after = source
        .until("the list again", |update| match update {
            Update::Service { knowledge: Knowledge::Known(list), .. } => Some(list),
            _ => None,
        })
        .await;
    assert_eq!(before, after);
    let registrar = Registrar::clear(&own.url);
    registrar.deregister(&name).await;
    source.empty(&name).await;
}
