//! The etcd provider against real members.

mod access;
mod cluster;
pub(crate) mod rig;

use std::{collections::BTreeSet, sync::Arc};

use discovery::provider::{Interest, etcd::Settings};
use model::{Exposure, Knowledge, Protocol, Update};
use serde_json::json;
use settings::Span;

use crate::{
    registry::unique,
    source::{Source, named},
};
use rig::{Own, Registrar, environment, never_shorter, source};

fn settings(url: &str) -> Settings {
    Settings::new([url])
}

#[tokio::test]
async fn instances_come_change_and_go_as_they_are_registered() {
    let Some(url) = environment("ETCD_URL") else { return };
    let registrar = Registrar::clear(&url);
    let name = unique("pets");
    let mut source = source(settings(&url), named(&[&name]));
    source.empty(&name).await;

    let full = json!({ "ip": "10.0.0.1", "port": 8080, "protocol": "h2c", "version": "2", "zone": "a", "weight": 5,
        "tags": ["blue"], "environment": "test" });
    registrar.put(&format!("{name}/one"), &full.to_string()).await;
    let list = source.known(&name, 1).await;
    assert_eq!((list[0].id.as_str(), list[0].endpoint.address.to_string().as_str()), ("one", "10.0.0.1:8080"));
    assert_eq!(list[0].endpoint.protocol, Some(Protocol::H2c));
    assert_eq!((list[0].weight, list[0].zone.as_deref(), list[0].label("version")), (5, Some("a"), Some("2")));
    assert!(list[0].is_in("test") && list[0].is_in("blue"));

    // The least a registrar can say, and what gRPC's own naming writes.
    registrar.put(&format!("{name}/two"), "10.0.0.2:8080").await;
    registrar.put(&format!("{name}/three"), r#"{"Op":0,"Addr":"10.0.0.3:8080","Metadata":null}"#).await;
    source.known(&name, 3).await;

    registrar.put(&format!("{name}/two"), "https://10.0.0.2:8443").await;
    let moved = |k: &Knowledge| matches!(k, Knowledge::Known(list) if list.iter().any(|i| i.endpoint.address.to_string() == "10.0.0.2:8443"));
    source.knowledge(&name, moved).await;
    for id in ["one", "two", "three"] {
        registrar.delete(&format!("{name}/{id}")).await;
    }
    source.empty(&name).await;
}

/// Who is said to have left on purpose, with the first update that says so, or with that of an empty service.
async fn left(source: &mut Source) -> Vec<String> {
    let said = |update| match update {
        Update::Service { deregistered, .. } if !deregistered.is_empty() => Some(deregistered),
        _ => None,
    };
    source.until("a deregistration", said).await.iter().map(|id| id.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_deletion_is_told_from_a_lease_that_ended() {
    let Some(url) = environment("ETCD_URL") else { return };
    let registrar = Registrar::clear(&url);
    let name = unique("leases");
    let mut source = source(settings(&url), named(&[&name]));
    source.empty(&name).await;
    let (kept, short) = (registrar.grant(60).await, registrar.grant(1).await);
    registrar.put(&format!("{name}/unleased"), "10.0.0.1:1").await;
    registrar.put_leased(&format!("{name}/leased"), "10.0.0.2:1", kept).await;
    registrar.put_leased(&format!("{name}/revoked"), "10.0.0.3:1", registrar.grant(60).await).await;
    registrar.put_leased(&format!("{name}/expires"), "10.0.0.4:1", short).await;
    source.known(&name, 4).await;

    registrar.delete(&format!("{name}/unleased")).await;
    assert_eq!(left(&mut source).await, ["unleased"]);
    registrar.delete(&format!("{name}/leased")).await;
    assert_eq!(left(&mut source).await, ["leased"]);
    // Nobody said that it shall go.
    let update = source
        .until("the end of the lease", |update| match &update {
            Update::Service { knowledge: Knowledge::Known(list), .. } if list.len() == 1 => Some(update),
            _ => None,
        })
        .await;
    assert!(matches!(&update, Update::Service { deregistered, .. } if deregistered.is_empty()), "{update:?}");
    registrar.delete(&format!("{name}/revoked")).await;
    source.empty(&name).await;
    registrar.revoke(kept).await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_told_and_the_rest_holds() {
    let Some(url) = environment("ETCD_URL") else { return };
    let registrar = Registrar::clear(&url);
    let (name, other) = (unique("bad"), unique("garbage"));
    let mut source = source(settings(&url), named(&[&name, &other]));
    source.empty(&name).await;
    registrar.put(&format!("{name}/one"), "10.0.0.1:1").await;
    registrar.put(&format!("{name}/two"), "10.0.0.2:1").await;
    source.known(&name, 2).await;
    registrar.put(&format!("{name}/one"), "{ what is this").await;
    let skipped = |update| match update {
        Update::Skipped { service: Some(_), reason } => Some(reason),
        _ => None,
    };
    let reason = source.until("a skipped record", skipped).await;
    assert!(reason.contains(&format!("/services/{name}/one")), "{reason}");
    registrar.put(&format!("{name}/three"), "10.0.0.3:1").await;
    source.known(&name, 3).await;
    // Not even the first word of this one can be read: that is not nothing.
    registrar.put(&format!("{other}/one"), "?").await;
    source.knowledge(&other, |k| matches!(k, Knowledge::Unknown(_))).await;
    registrar.delete(&format!("{other}/one")).await;
    source.empty(&other).await;
    for id in ["one", "two", "three"] {
        registrar.delete(&format!("{name}/{id}")).await;
    }
}

#[tokio::test]
async fn services_are_of_interest_by_name_prefix_or_tag() {
    let Some(url) = environment("ETCD_URL") else { return };
    let registrar = Registrar::clear(&url);
    let (first, second, other) = (unique("first"), unique("second"), unique("other"));
    for name in [&first, &second, &other] {
        registrar.put(&format!("{name}/one"), "10.0.0.1:1").await;
    }
    let mut source = source(settings(&url), named(&[&first]));
    source.known(&first, 1).await;
    source.interest.send_replace(Arc::new(named(&[&second])));
    source.forgotten(&first).await;
    source.known(&second, 1).await;
    let exposure =
        Exposure::Matching { services: BTreeSet::new(), prefixes: vec![other.clone()], tags: BTreeSet::new() };
    source.interest.send_replace(Arc::new(Interest { services: BTreeSet::new(), exposure }));
    let catalogue = |update| match update {
        Update::Catalogue(services) => Some(services),
        _ => None,
    };
    let catalogue = source.until("the catalogue", catalogue).await;
    assert!(catalogue.iter().map(|s| s.as_str()).eq([&*other]), "{catalogue:?}");
    source.known(&other, 1).await;
    for name in [&first, &second, &other] {
        registrar.delete(&format!("{name}/one")).await;
    }
    source.empty(&other).await;
}

#[tokio::test]
async fn what_does_not_change_is_not_said_again() {
    let Some(url) = environment("ETCD_URL") else { return };
    let registrar = Registrar::clear(&url);
    let name = unique("calm");
    registrar.put(&format!("{name}/one"), "10.0.0.1:1").await;
    // Short watches: several of them pass while we listen.
    let mut source = source(Settings { wait: Span::from_secs(1), ..settings(&url) }, named(&[&name]));
    source.known(&name, 1).await;
    registrar.put(&format!("{}/one", unique("busy")), "10.0.0.1:1").await;
    for _ in 0..5 {
        registrar.put(&format!("{name}/one"), "10.0.0.1:1").await;
        source.silent().await;
    }
    registrar.delete(&format!("{name}/one")).await;
    source.empty(&name).await;
}

#[tokio::test]
async fn a_list_of_many_pages_is_whole() {
    if environment("ETCD_URL").is_none() {
        return;
    }
    let own = Own::start("single").await;
    let registrar = Registrar::clear(&own.urls[0]);
    // etcd takes 128 operations in one transaction.
    for chunk in (0..2_500).collect::<Vec<_>>().chunks(125) {
        let put = |n: &i32| {
            json!({ "request_put": { "key": rig::b64(&format!("/services/many/{n}")),
                "value": rig::b64(&format!("10.0.{}.{}:80", n / 250, n % 250 + 1)) } })
        };
        registrar.ask("kv/txn", json!({ "success": chunk.iter().map(put).collect::<Vec<_>>() })).await;
    }
    let mut source = source(settings(&own.urls[0]), named(&["many"]));
    source.known("many", 2_500).await;
    registrar.delete("many/2499").await;
    source.known("many", 2_499).await;
}

#[tokio::test]
async fn a_compacted_history_is_listed_anew() {
    if environment("ETCD_URL").is_none() {
        return;
    }
    let own = Own::start("single").await;
    let registrar = Registrar::clear(&own.urls[0]);
    registrar.put("pets/one", "10.0.0.1:1").await;
    let mut source = source(Settings { wait: Span::from_secs(1), ..settings(&own.urls[0]) }, named(&["pets"]));
    source.known("pets", 1).await;
    for _ in 0..5 {
        registrar.elsewhere().await;
    }
    let revision = registrar.elsewhere().await;
    registrar.ask("kv/compaction", json!({ "revision": revision.to_string(), "physical": true })).await;
    // The next watch asks for what is gone.
    let listed = source
        .until("a new list", |update| {
            assert!(!matches!(update, Update::Unreachable(_)), "{update:?}");
            never_shorter(&update, 1);
            matches!(update, Update::Catalogue(_)).then_some(())
        })
        .await;
    registrar.put("pets/two", "10.0.0.2:1").await;
    source.known("pets", 2).await;
    listed
}

#[tokio::test]
async fn an_outage_is_told_and_an_emptied_etcd_is_a_new_history() {
    if environment("ETCD_URL").is_none() {
        return;
    }
    let own = Own::start("single").await;
    let registrar = Registrar::clear(&own.urls[0]);
    for id in 1..=5 {
        registrar.put(&format!("pets/{id}"), &format!("10.0.0.{id}:1")).await;
    }
    let mut source = source(settings(&own.urls[0]), named(&["pets"]));
    let before = source.known("pets", 5).await;

    own.node(1, "kill");
    let outage = |update| {
        never_shorter(&update, 5);
        matches!(update, Update::Unreachable(_)).then_some(())
    };
    source.until("outage", outage).await;
    own.node(1, "start");
    assert_eq!(source.known("pets", 5).await, before);

    own.node(1, "kill");
    source.until("another outage", outage).await;
    own.empty();
    own.node(1, "start");
    // It answers, so it is believed; but nobody deregistered, so the claims hold them as last resort.
    let gone = |update| match update {
        Update::Service { knowledge: Knowledge::KnownEmpty, deregistered, .. } => Some(deregistered),
        _ => None,
    };
    assert!(source.until("the empty list", gone).await.is_empty());
    let registrar = Registrar::clear(&own.urls[0]);
    registrar.put("pets/new", "10.0.0.9:1").await;
    assert_eq!(source.known("pets", 1).await[0].id.as_str(), "new");
}
