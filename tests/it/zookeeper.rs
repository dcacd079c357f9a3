//! The ZooKeeper provider against real servers, written to by kazoo.

mod access;
mod faults;
pub(crate) mod rig;

use std::{collections::BTreeSet, sync::Arc};

use discovery::provider::{
    Interest,
    zookeeper::{Ensemble, LayoutKind},
};
use model::{Exposure, Knowledge, Protocol, ProviderError, Standing, Update};
use serde_json::json;

use crate::{registry::unique, source::named};
use rig::{Link, Writer, environment, record, source, word};

/// An ensemble with a base of this test's own.
pub(crate) fn below(servers: &str, base: &str) -> Ensemble {
    Ensemble { path: Some(base.to_owned()), ..Ensemble::new(servers) }
}

#[tokio::test]
async fn instances_come_change_and_go_as_they_are_registered() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (base, name) = (format!("/{}/below/here", unique("base")), unique("pets"));
    let at = |id: &str| format!("{base}/{name}/{id}");
    // Nothing of the path exists: an answer, and watched until it does.
    let mut source = source(below(&servers, &base), named(&[&name]));
    source.empty(&name).await;

    let mut writer = Writer::new(&servers);
    let meta = json!({ "protocol": "h2c", "zone": "a", "weight": "5", "tags": "test,blue", "version": "2" });
    writer.register(&at("1"), &record("10.0.0.1", 8080, &meta));
    let list = source.known(&name, 1).await;
    assert_eq!((list[0].id.as_str(), list[0].endpoint.address.to_string()), ("1", "10.0.0.1:8080".to_owned()));
    assert_eq!(list[0].endpoint.protocol, Some(Protocol::H2c));
    assert_eq!((list[0].weight, list[0].zone.as_deref(), list[0].label("version")), (5, Some("a"), Some("2")));
    assert!(list[0].is_in("test") && list[0].is_in("blue"));

    let mut other = Writer::new(&servers);
    other.register(&at("2"), &record("10.0.0.2", 8080, &json!({})));
    source.known(&name, 2).await;
    writer.set(&at("1"), &record("10.0.0.1", 8080, &json!({ "instance_status": "OUT_OF_SERVICE" })));
    let drains = |k: &Knowledge| matches!(k, Knowledge::Known(list) if list[0].standing == Standing::Draining);
    source.knowledge(&name, drains).await;

    // It leaves after a word of its own; the other one dies, and its session has to expire.
    writer.delete(&at("1"));
    let left = source
        .until("one left", |update| match update {
            Update::Service { knowledge: Knowledge::Known(list), deregistered, .. } if list.len() == 1 => {
                Some(deregistered)
            }
            _ => None,
        })
        .await;
    assert_eq!(left.iter().map(model::InstanceId::as_str).collect::<Vec<_>>(), ["1"]);
    other.kill();
    let told = source
        .until("none left", |update| match update {
            Update::Service { knowledge: Knowledge::KnownEmpty, deregistered, .. } => Some(deregistered),
            _ => None,
        })
        .await;
    assert_eq!(told, [], "an expired session is no word of the instance");
}

#[tokio::test]
async fn a_chroot_in_the_connection_string_is_a_root() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (root, name) = (unique("root"), unique("pets"));
    let mut writer = Writer::new(&servers);
    writer.register(&format!("/{root}/prod/services/{name}/1"), &record("10.0.0.1", 80, &json!({})));
    let mut source = source(Ensemble::new(format!("{servers}/{root}/prod")), named(&[&name]));
    source.known(&name, 1).await;
    writer.register(&format!("/{root}/prod/services/{name}/2"), &record("10.0.0.2", 80, &json!({})));
    source.known(&name, 2).await;
}

#[tokio::test]
async fn light_4j_services_are_read_as_java_writes_them() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (base, name) = (format!("/{}", unique("light")), "com.networknt.petstore-1.0.0");
    let at = |directory: &str, node: &str| format!("{base}/blue/{name}/{directory}/{node}");
    let light = Ensemble { layout: LayoutKind::Light4j, group: Some("blue".into()), ..below(&servers, &base) };
    let mut source = source(light, named(&[name]));
    source.empty(name).await;

    let mut writer = Writer::new(&servers);
    let url = format!("light://10.0.0.1:8443/{name}?environment=dev&protocol=https");
    let mut serialized = b"\xac\xed\0\x05\x74".to_vec();
    serialized.extend(u16::try_from(url.len()).unwrap().to_be_bytes());
    serialized.extend(url.as_bytes());
    writer.register_bytes(&at("server", "10.0.0.1:8443"), &serialized);
    let list = source.known(name, 1).await;
    assert_eq!((list[0].endpoint.protocol, list[0].is_in("dev")), (Some(Protocol::Https), true));
    writer.register(&at("server", "10.0.0.2:80"), &format!("http://10.0.0.2:80/{name}?environment=test"));
    writer.register(&at("client", "10.0.0.9"), "light://10.0.0.9:0/any");
    assert!(source.known(name, 2).await[1].is_in("test"));

    // Not available any more: it drains, and then leaves on its own word.
    writer.register(&at("unavailableServer", "10.0.0.2:80"), "");
    writer.delete(&at("server", "10.0.0.2:80"));
    let drains =
        |k: &Knowledge| matches!(k, Knowledge::Known(l) if l.len() == 2 && l[1].standing == Standing::Draining);
    source.knowledge(name, drains).await;
    writer.delete(&at("unavailableServer", "10.0.0.2:80"));
    source.known(name, 1).await;
    drop(writer);
    source.empty(name).await;
}

#[tokio::test]
async fn services_are_watched_as_they_become_of_interest() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (base, tag) = (format!("/{}", unique("base")), unique("tag"));
    let (first, second, third) = (unique("first"), unique("second"), unique("third"));
    let mut writer = Writer::new(&servers);
    let tagged = record("10.0.0.1", 80, &json!({ "tags": tag }));
    for name in [&first, &second] {
        writer.register(&format!("{base}/{name}/1"), &tagged);
    }
    let mut source = source(below(&servers, &base), named(&[&first]));
    source.known(&first, 1).await;

    // A reload names another service and lets the first one go.
    source.interest.send_replace(Arc::new(named(&[&second])));
    source.forgotten(&first).await;
    source.known(&second, 1).await;
    writer.register(&format!("{base}/{first}/2"), &tagged);
    source.silent().await;

    // Exposure by tag: the catalogue is looked at, for services that are and for one that comes.
    let exposure = Exposure::Matching {
        services: BTreeSet::new(),
        prefixes: Vec::new(),
        tags: [model::Tag::new(&tag).unwrap()].into(),
    };
    source.interest.send_replace(Arc::new(Interest { services: BTreeSet::new(), exposure }));
    source.known(&first, 2).await;
    writer.register(&format!("{base}/{third}/1"), &tagged);
    source.known(&third, 1).await;
    writer.delete(&format!("{base}/{third}"));
    source.empty(&third).await;
}

#[tokio::test]
async fn an_empty_catalogue_is_an_answer() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let base = format!("/{}", unique("base"));
    let everything = Interest { services: BTreeSet::new(), exposure: Exposure::Everything };
    let mut source = source(below(&servers, &base), everything);
    let told = source.until("a catalogue", |u| if let Update::Catalogue(names) = u { Some(names) } else { None }).await;
    assert_eq!(told, BTreeSet::new());
    let (mut writer, name) = (Writer::new(&servers), unique("pets"));
    writer.register(&format!("{base}/{name}/1"), &record("10.0.0.1", 80, &json!({})));
    source.known(&name, 1).await;
}

#[tokio::test]
async fn garbage_is_skipped_one_by_one() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (base, name, bad) = (format!("/{}", unique("base")), unique("pets"), unique("bad"));
    let mut writer = Writer::new(&servers);
    writer.register(&format!("{base}/{name}/good"), &record("10.0.0.1", 80, &json!({})));
    writer.register(&format!("{base}/{name}/text"), "no JSON at all");
    writer.register_bytes(&format!("{base}/{name}/bytes"), &[0xff; 100]);
    writer.register(&format!("{base}/{name}/empty"), "");
    writer.register(&format!("{base}/{bad}/nobody"), &record("0.0.0.0", 80, &json!({})));
    let mut source = source(below(&servers, &base), named(&[&name, &bad]));
    let (mut skipped, mut known, mut unknown) = (BTreeSet::new(), false, false);
    source
        .until("all of it", |update| {
            match update {
                Update::Skipped { service: Some(_), reason } => drop(skipped.insert(reason)),
                Update::Service { knowledge: Knowledge::Known(list), .. } => known = list.len() == 1,
                Update::Service { knowledge: Knowledge::Unknown(error), .. } => {
                    unknown = matches!(error, ProviderError::Malformed(_));
                }
                other => panic!("{other:?}"),
            }
            (known && unknown && skipped.len() == 4).then_some(())
        })
        .await;
    for node in ["text", "bytes", "empty", "nobody"] {
        assert!(skipped.iter().any(|reason| reason.contains(&format!("/{node}\""))), "{node}: {skipped:?}");
    }
    writer.set(&format!("{base}/{name}/text"), &record("10.0.0.2", 80, &json!({})));
    source.known(&name, 2).await;
}

/// How many packets the server had from the connections of this port, by its own count.
fn received(servers: &str, own: &BTreeSet<String>) -> u64 {
    let count = |line: &str| line.split("recved=").nth(1)?.split(',').next()?.parse::<u64>().ok();
    let said = word(servers, "cons").unwrap();
    said.lines().filter(|line| own.iter().any(|port| line.contains(&format!(":{port}[")))).filter_map(count).sum()
}

/// Traefik 4368.
#[tokio::test]
async fn a_change_of_one_among_many_costs_one_question() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (base, name) = (format!("/{}", unique("base")), unique("many"));
    let mut writer = Writer::new(&servers);
    for id in 0..300 {
        writer.register(&format!("{base}/{name}/{id}"), &record("10.0.0.1", 1000 + id, &json!({})));
    }
    // Through a link, which knows the one connection that is the source's.
    let link = Link::to(&servers).await;
    let mut source = source(below(&link.address, &base), named(&[&name]));
    source.known(&name, 300).await;
    let own: BTreeSet<_> = link.ports().into_iter().map(|port| port.to_string()).collect();
    let before = received(&servers, &own);
    assert!((302..330).contains(&before), "one watch, one list, one read for each, and few pings: {before}");
    for weight in 1..=20 {
        writer.set(&format!("{base}/{name}/7"), &record("10.0.0.1", 1007, &json!({ "weight": weight + 1 })));
        let heard = |k: &Knowledge| matches!(k, Knowledge::Known(l) if l.iter().any(|i| i.weight == weight + 1));
        source.knowledge(&name, heard).await;
    }
    let asked = received(&servers, &own) - before;
    assert!((20..30).contains(&asked), "{asked} questions for 20 changes");
}
