use proptest::prelude::*;
use serde_json::json;

use super::*;

/// One record with this `Service` and these `(CheckID, Status)`.
fn record(service: impl Into<Value>, checks: &[(&str, &str)]) -> Value {
    let checks: Vec<_> = checks.iter().map(|(id, status)| json!({ "CheckID": id, "Status": status })).collect();
    let node =
        json!({ "Node": "n1", "Address": "10.0.0.9", "Datacenter": "dc1", "Meta": { "zone": "nz", "region": "eu" } });
    json!({ "Node": node, "Service": service.into(), "Checks": checks })
}

fn reading(records: &[Value]) -> Reading {
    read(&serde_json::to_vec(records).unwrap(), &[], false).unwrap()
}

fn one(service: impl Into<Value>, checks: &[(&str, &str)]) -> Instance {
    let mut reading = reading(&[record(service, checks)]);
    assert_eq!((reading.instances.len(), &*reading.skipped), (1, &[][..]));
    reading.instances.remove(0)
}

#[test]
fn a_full_record_becomes_an_instance() {
    let instance = one(
        json!({ "ID": "web-1", "Service": "web", "Address": "10.0.0.1", "Port": 8080, "Tags": ["test", "blue", "test"],
            "Meta": { "version": "2", "zone": "a", "protocol": "h2c" }, "Weights": { "Passing": 5, "Warning": 2 } }),
        &[("serfHealth", "passing")],
    );
    assert_eq!(instance.id.as_str(), "web-1@n1");
    assert_eq!(instance.endpoint.address.to_string(), "10.0.0.1:8080");
    assert_eq!(instance.endpoint.protocol, Some(Protocol::H2c));
    assert_eq!((instance.weight, instance.zone.as_deref()), (5, Some("a")));
    assert!(instance.is_in("test") && instance.is_in("blue") && instance.tags.len() == 2);
    assert_eq!(instance.label("version"), Some("2"));
    assert_eq!(instance.label("datacenter"), Some("dc1"));
    assert_eq!((instance.label("node"), instance.label("region")), (Some("n1"), Some("eu")));
}

#[test]
fn the_least_record_of_any_registrar_is_enough() {
    let instance = one(
        json!({ "ID": "host:web:80", "Service": "web", "Address": "", "Port": 80, "Tags": null, "Meta": null, "Weights": null }),
        &[],
    );
    assert_eq!(instance.endpoint.address.to_string(), "10.0.0.9:80");
    assert_eq!((instance.weight, instance.zone.as_deref()), (1, Some("nz")));
    assert_eq!(instance.endpoint.protocol, None);
}

/// APISIX 8856.
/// Traefik 4544, 12654.
#[test]
fn checks_decide_who_serves() {
    let service = || json!({ "ID": "a", "Port": 1, "Weights": { "Passing": 5, "Warning": 2 } });
    let weight = |checks| one(service(), checks).weight;
    assert_eq!(weight(&[("a", "passing")]), 5);
    assert_eq!(weight(&[("a", "passing"), ("b", "warning")]), 2);
    let critical = reading(&[record(service(), &[("a", "warning"), ("b", "critical")])]);
    assert_eq!((critical.instances.len(), critical.records, critical.skipped.len()), (0, 1, 0));
}

#[test]
fn an_instance_in_maintenance_drains_whatever_its_checks_say() {
    for id in ["_node_maintenance", "_service_maintenance:a"] {
        let instance = one(json!({ "ID": "a", "Port": 1 }), &[(id, "critical"), ("c", "critical")]);
        assert_eq!(instance.standing, Standing::Draining, "{id}");
    }
}

#[test]
fn the_protocol_is_found_where_registrars_write_it() {
    let check = |meta: Value, tags: Value, expected: Option<Protocol>| {
        let instance = one(json!({ "ID": "a", "Port": 1, "Meta": meta, "Tags": tags }), &[]);
        assert_eq!(instance.endpoint.protocol, expected);
    };
    check(json!({ "protocol": "HTTPS" }), json!(["h2c"]), Some(Protocol::Https));
    check(json!({ "secure": "true" }), json!([]), Some(Protocol::Https));
    check(json!({ "secure": "false" }), json!([]), None);
    check(json!(null), json!(["protocol=grpc", "https"]), Some(Protocol::H2c));
    check(json!(null), json!(["http", "https", "blue"]), Some(Protocol::Https));
    check(json!(null), json!(["httpsome"]), None);
}

#[test]
fn bad_records_are_named_and_the_rest_holds() {
    let reading = reading(&[
        record(json!({ "ID": "good", "Port": 1 }), &[]),
        record(json!({ "ID": "no-port" }), &[]),
        record(json!({ "ID": "big-port", "Port": 70000 }), &[]),
        record(json!({ "ID": "odd-host", "Port": 1, "Address": "a b" }), &[]),
        record(json!({ "ID": "odd-protocol", "Port": 1, "Meta": { "protocol": "htps" } }), &[]),
        json!({ "Service": { "ID": "no-node", "Port": 1 } }),
        json!("text"),
    ]);
    assert_eq!(reading.instances.len(), 1);
    let skipped = reading.skipped.join("\n");
    assert_eq!((reading.skipped.len(), reading.records), (6, 7), "{skipped}");
    for part in ["no-port", "register it with Port", "big-port", "odd-host", "write http, h2c or https"] {
        assert!(skipped.contains(part), "{part} in {skipped}");
    }
}

#[test]
fn only_wanted_tags_count_and_foreign_tags_do_not_hurt() {
    let body = serde_json::to_vec(&[
        record(json!({ "ID": "a", "Port": 1, "Tags": ["prod", "rule=Host(`x`, `y`)"] }), &[]),
        record(json!({ "ID": "b", "Port": 1, "Tags": ["test"] }), &[]),
    ])
    .unwrap();
    let reading = read(&body, &[Tag::new("prod").unwrap()], false).unwrap();
    assert_eq!(reading.instances.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["a@n1"]);
    assert_eq!(reading.instances[0].tags.len(), 1);
    assert!(reading.skipped.is_empty());
}

#[test]
fn order_does_not_matter_and_equal_ids_on_two_nodes_are_two() {
    let a = record(json!({ "ID": "web", "Port": 1 }), &[]);
    let mut b = a.clone();
    b["Node"]["Node"] = json!("n2");
    let forth = reading(&[a.clone(), b.clone()]);
    assert_eq!(forth.instances.len(), 2);
    assert_eq!(forth, reading(&[b, a]));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let key = prop::sample::select(vec![
            "Node", "Service", "Checks", "ID", "Address", "Port", "Tags", "Meta", "Weights", "Passing", "Status",
            "CheckID", "protocol", "x",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever JSON comes, each record is an instance, is skipped with a reason, or takes no requests.
    #[test]
    fn any_json_is_read_or_refused(value in any_json(), service in any_json()) {
        let mut odd = record(json!({ "ID": "a", "Port": 1 }), &[]);
        odd["Service"] = service;
        let body = serde_json::to_vec(&json!([value, odd])).unwrap();
        let reading = read(&body, &[], false).unwrap();
        prop_assert!(reading.instances.len() + reading.skipped.len() <= reading.records);
        for instance in &reading.instances {
            prop_assert!(instance.endpoint.address.port > 0);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _either_way = read(&body, &[], false);
    }
}

#[test]
fn the_order_of_nearness_is_metadata_by_node_and_a_registration_s_own_priority_counts() {
    let at = |node: &str, id: &str, meta: Value| json!({ "Node": { "Node": node, "Address": "10.0.0.1" }, "Service": { "ID": id, "Port": 1, "Meta": meta } });
    let none = || json!({});
    let answer =
        [at("z", "1", none()), at("a", "2", json!({ "priority": "7" })), at("z", "3", none()), at("b", "4", none())];
    let body = serde_json::to_vec(&answer).unwrap();
    let told = |sorted| {
        let instances = read(&body, &[], sorted).unwrap().told();
        let label = |i: &Instance, name| i.label(name).unwrap_or("-").to_owned();
        instances
            .iter()
            .map(|i| [i.id.to_string(), label(i, "near"), label(i, "priority")].join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(true), ["1@z 0 0", "2@a 1 7", "3@z 0 0", "4@b 2 2"]);
    assert_eq!(told(false), ["1@z - -", "2@a - 7", "3@z - -", "4@b - -"]);
}

#[test]
fn another_order_of_the_same_instances_is_told_from_another_list() {
    let at =
        |node: &str| json!({ "Node": { "Node": node, "Address": "10.0.0.1" }, "Service": { "ID": node, "Port": 1 } });
    let sorted = |list: &[Value]| read(&serde_json::to_vec(list).unwrap(), &[], true).unwrap();
    let (one, other) = (sorted(&[at("a"), at("b")]), sorted(&[at("b"), at("a")]));
    assert!(one != other && one.is_same_set(&other));
    assert!(!one.is_same_set(&sorted(&[at("a")])));
}
