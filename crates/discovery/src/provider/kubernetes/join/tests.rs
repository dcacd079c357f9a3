use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::provider::kubernetes::slice::{Record, Rules, read};

/// Slices of one service, each with this address type, these endpoints and a port `http` 80.
fn slices(parts: &[(&str, Value)]) -> Vec<Record> {
    let one = |(n, (family, endpoints)): (usize, &(&str, Value))| {
        let object = json!({ "metadata": { "name": format!("pets-{n}"), "namespace": "shop",
                "labels": { "kubernetes.io/service-name": "pets", "version": "2" } },
            "addressType": family, "endpoints": endpoints, "ports": [{ "name": "http", "port": 80 }] });
        read(&object, &Rules { home: "shop".into(), service_label: None }).unwrap()
    };
    parts.iter().enumerate().map(one).collect()
}

fn joined(records: &[Record]) -> Reading {
    join(records.iter().map(|record| (&record.key, &record.content)), None)
}

/// In short: address and standing.
fn short(reading: &Reading) -> Vec<String> {
    let one = |i: &Arc<Instance>| {
        let drains = if i.standing == Standing::Draining { " drains" } else { "" };
        format!("{}{drains}", i.endpoint.address)
    };
    reading.instances.iter().map(one).collect()
}

fn pod(address: &str, name: &str, conditions: &Value) -> Value {
    json!({ "addresses": [address], "conditions": conditions, "nodeName": "node-1", "zone": "a",
        "targetRef": { "kind": "Pod", "name": name, "uid": format!("uid-{name}") } })
}

fn leaves() -> Value {
    json!({ "ready": false, "serving": true, "terminating": true })
}

#[test]
fn several_slices_are_one_service_and_an_endpoint_in_two_is_one() {
    let (ready, waits) = (json!({ "ready": true }), json!({ "ready": false }));
    let reading = joined(&slices(&[
        ("IPv4", json!([pod("10.0.0.1", "a", &ready), pod("10.0.0.2", "b", &leaves())])),
        ("IPv4", json!([pod("10.0.0.1", "a", &waits), pod("10.0.0.2", "b", &ready), pod("10.0.0.3", "c", &waits)])),
    ]));
    assert_eq!(short(&reading), ["10.0.0.1:80", "10.0.0.2:80"]);
    let first = &reading.instances[0];
    assert_eq!((first.id.as_str(), first.zone.as_deref()), ("a@10.0.0.1", Some("a")));
    assert_eq!(first.endpoint.protocol, Some(Protocol::Http));
    assert_eq!(["version", "node", "namespace"].map(|name| first.label(name).unwrap()), ["2", "node-1", "shop"]);
}

#[test]
fn terminating_endpoints_drain_while_others_serve_and_serve_while_none_does() {
    let ready = json!({});
    let gone = json!({ "ready": false, "serving": false, "terminating": true });
    let both = joined(&slices(&[("IPv4", json!([pod("10.0.0.1", "a", &ready), pod("10.0.0.2", "b", &leaves())]))]));
    assert_eq!(short(&both), ["10.0.0.1:80", "10.0.0.2:80 drains"]);
    assert_eq!(both.leaving, [InstanceId::new("b@10.0.0.2").unwrap()].into());
    let last = joined(&slices(&[("IPv4", json!([pod("10.0.0.2", "b", &leaves()), pod("10.0.0.3", "c", &gone)]))]));
    assert_eq!(short(&last), ["10.0.0.2:80"]);
    assert_eq!(last.leaving.len(), 2);
}

#[test]
fn a_pod_of_two_families_is_one_instance() {
    let ready = json!({});
    let two = |six: &Value| {
        joined(&slices(&[
            ("IPv6", json!([pod("fd00::1", "a", six), pod("fd00::2", "b", &ready)])),
            ("IPv4", json!([pod("10.0.0.1", "a", &leaves())])),
        ]))
    };
    assert_eq!(short(&two(&leaves())), ["10.0.0.1:80 drains", "[fd00::2]:80"]);
    assert_eq!(short(&two(&ready)), ["10.0.0.1:80 drains", "[fd00::1]:80", "[fd00::2]:80"]);
}

#[test]
fn hints_decide_the_zone_if_every_endpoint_has_one() {
    let with = |hints: [Option<&[&str]>; 2]| {
        let endpoint = |n: usize, zones: Option<&[&str]>| {
            let zones: Option<Vec<_>> = zones.map(|zones| zones.iter().map(|name| json!({ "name": name })).collect());
            json!({ "addresses": [format!("10.0.0.{n}")], "zone": "a", "hints": { "forZones": zones } })
        };
        let reading = joined(&slices(&[("IPv4", json!([endpoint(1, hints[0]), endpoint(2, hints[1])]))]));
        reading.instances.iter().map(|i| i.zone.as_deref().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(with([Some(&["b"]), Some(&["c", "a"])]), ["b", "a"]);
    assert_eq!(with([Some(&["b"]), None]), ["a", "a"]);
}

#[test]
fn a_missing_port_is_told_only_if_an_endpoint_needs_it() {
    let with = |endpoints: Value| {
        let object = json!({ "metadata": { "name": "a", "namespace": "shop" }, "addressType": "IPv4",
            "endpoints": endpoints, "ports": null });
        joined(&[read(&object, &Rules::default()).unwrap()])
    };
    assert_eq!(with(json!([pod("10.0.0.1", "a", &json!({ "ready": false }))])), Reading::default());
    let needs = with(json!([{ "addresses": ["10.0.0.1"] }]));
    assert!(needs.instances.is_empty() && needs.skipped[0].contains("slice shop/a: has no ports"), "{needs:?}");
}

#[test]
fn a_service_cannot_lie_about_where_it_runs() {
    let object = json!({ "metadata": { "name": "a", "namespace": "shop", "labels": { "namespace": "aaa", "node": "aaa" } },
        "addressType": "IPv4", "endpoints": [{ "addresses": ["10.0.0.1"], "nodeName": "n" }], "ports": [{ "port": 80 }] });
    let reading = joined(&[read(&object, &Rules::default()).unwrap()]);
    assert_eq!(["namespace", "node"].map(|name| reading.instances[0].label(name).unwrap()), ["shop", "n"]);
}

proptest! {
    /// However the endpoints are spread over slices, and in whatever order, the same instances come out, each once.
    #[test]
    fn how_endpoints_are_spread_does_not_matter(spread in prop::collection::vec((0..6_usize, 0..3_usize, 0..4_usize), 1..30)) {
        let conditions = [json!({}), json!({ "ready": false }), leaves(), json!({ "ready": false, "terminating": true })];
        let endpoint = |&(n, _, state): &(usize, usize, usize)| pod(&format!("10.0.0.{n}"), &format!("p{n}"), &conditions[state]);
        let apart: Vec<_> = (0..3)
            .map(|part| ("IPv4", spread.iter().filter(|(_, in_part, _)| *in_part == part).map(endpoint).collect()))
            .collect();
        let one = joined(&slices(&[("IPv4", spread.iter().map(endpoint).collect())]));
        let many = joined(&slices(&apart));
        prop_assert_eq!(short(&one), short(&many));
        prop_assert_eq!(&one.leaving, &many.leaving);
        let addresses: BTreeSet<_> = one.instances.iter().map(|i| &i.endpoint.address).collect();
        prop_assert_eq!(addresses.len(), one.instances.len());
    }
}
