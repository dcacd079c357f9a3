use proptest::prelude::*;
use serde_json::json;

use super::*;

fn home() -> Rules {
    Rules { home: "shop".into(), service_label: Some("app.kubernetes.io/name".into()) }
}

fn labelled(namespace: &str, labels: &Value) -> Value {
    json!({ "metadata": { "name": "s-1", "namespace": namespace, "labels": labels }, "addressType": "IPv4" })
}

fn slice(object: &Value) -> Slice {
    read(object, &home()).unwrap().content.unwrap()
}

#[test]
fn a_service_goes_by_its_name_at_home_and_with_its_namespace_elsewhere() {
    let named = json!({ "kubernetes.io/service-name": "pets" });
    let both = json!({ "kubernetes.io/service-name": "pets", "app.kubernetes.io/name": "com.networknt.pets-1.0.0" });
    let id = |namespace: &str, labels: &Value| {
        read(&labelled(namespace, labels), &home()).unwrap().service.map(|id| id.to_string())
    };
    assert_eq!(id("shop", &named).as_deref(), Some("pets"));
    assert_eq!(id("billing", &named).as_deref(), Some("pets.billing"));
    assert_eq!(id("billing", &both).as_deref(), Some("com.networknt.pets-1.0.0"));
    assert_eq!(id("shop", &json!({})), None);
    assert_eq!(id("shop", &Value::Null), None);
}

#[test]
fn absent_conditions_mean_ready() {
    let check = |conditions: Value, expected| assert_eq!(state(&conditions), Ok(expected), "{conditions}");
    check(Value::Null, State::Serving);
    check(json!({}), State::Serving);
    check(json!({ "ready": null, "serving": null, "terminating": null }), State::Serving);
    check(json!({ "ready": false }), State::Waiting);
    check(json!({ "ready": true, "serving": true, "terminating": false }), State::Serving);
    check(json!({ "ready": false, "serving": true, "terminating": true }), State::Draining);
    check(json!({ "ready": false, "serving": false, "terminating": true }), State::Gone);
    check(json!({ "ready": false, "terminating": true }), State::Gone);
    // A service that publishes addresses which are not ready says `ready` of terminating ones too.
    check(json!({ "ready": true, "terminating": true }), State::Draining);
    assert!(state(&json!({ "ready": "yes" })).unwrap_err().contains("neither true nor false"));
}

#[test]
fn null_endpoints_and_null_ports_are_none_and_any() {
    let object = json!({ "metadata": { "name": "a" }, "addressType": "IPv4", "endpoints": null, "ports": null });
    assert_eq!((slice(&object).endpoints.len(), slice(&object).ports), (0, None));
    let object = json!({ "metadata": { "name": "a" }, "addressType": "IPv4", "ports": [] });
    assert_eq!(slice(&object).ports, Some(vec![]));
}

#[test]
fn an_address_is_of_its_family() {
    let read = |family: &str, address: &str| {
        let object =
            json!({ "metadata": { "name": "a" }, "addressType": family, "endpoints": [{ "addresses": [address] }] });
        slice(&object).endpoints.first().map(|endpoint| endpoint.host.to_string())
    };
    assert_eq!(read("IPv4", "10.0.0.1").as_deref(), Some("10.0.0.1"));
    assert_eq!(read("IPv6", "2001:db8::1").as_deref(), Some("[2001:db8::1]"));
    assert_eq!(read("FQDN", "db.example.com").as_deref(), Some("db.example.com"));
    for (family, address) in
        [("IPv4", "::1"), ("IPv6", "10.0.0.1"), ("FQDN", "10.0.0.1"), ("IPv4", "db.example.com"), ("IPv4", "0.0.0.0")]
    {
        assert_eq!(read(family, address), None, "{family} {address}");
    }
}

#[test]
fn one_bad_part_leaves_the_others() {
    let object = json!({ "metadata": { "name": "a" }, "addressType": "IPv4",
        "endpoints": [{ "addresses": ["10.0.0.1"] }, 7, { "addresses": [] }, { "addresses": ["10.0.0.2"], "nodeName": 5 },
            { "addresses": ["10.0.0.3"], "conditions": { "ready": 1 } }, { "addresses": null }, { "addresses": ["x y"] }],
        "ports": [{ "port": 80 }, { "port": 0, "name": "a" }, { "port": 70000 }, { "port": 53, "protocol": "UDP" }] });
    let read = slice(&object);
    assert_eq!(read.endpoints.len(), 1);
    assert_eq!(read.ports.unwrap().len(), 1);
    assert_eq!(read.skipped.len(), REASONS + 1, "{:?}", read.skipped);
    assert_eq!(read.skipped.last().unwrap(), "and 4 more");
}

#[test]
fn marks_are_read_from_annotations_before_labels() {
    let mut object = labelled("shop", &json!({ "pointsman/port": "web", "pointsman/weight": "3", "team": "a" }));
    object["metadata"]["annotations"] = json!({ "pointsman/port": "8080", "pointsman/tags": "public, blue" });
    let read = slice(&object);
    assert_eq!(read.marks.port, Some(PortChoice::Number(8080)));
    assert_eq!((read.marks.weight, read.marks.tags.len()), (Some(3), 2));
    assert_eq!(read.labels, [("team".into(), "a".into())]);
    for (mark, value) in [("protocol", "carrier-pigeon"), ("weight", "-1"), ("port", "0"), ("tags", "a|b")] {
        let object = labelled("shop", &json!({ format!("pointsman/{mark}"): value }));
        let read = slice(&object);
        assert!(read.skipped[0].contains(value) && read.skipped[0].contains(mark), "{:?}", read.skipped);
        assert_eq!(read.marks, Marks::default(), "{mark}: as if it were not there");
    }
}

#[test]
fn a_record_that_cannot_be_read_still_says_whose_it_is() {
    let mut object = labelled("shop", &json!({ "kubernetes.io/service-name": "pets" }));
    object["endpoints"] = json!("none");
    let record = read(&object, &home()).unwrap();
    assert_eq!(record.service.unwrap().as_str(), "pets");
    assert!(record.content.unwrap_err().contains("no list"));
    for nameless in
        [json!(null), json!([]), json!({ "metadata": { "name": 7 } }), json!({ "metadata": { "name": "" } })]
    {
        assert!(read(&nameless, &home()).is_err(), "{nameless}");
    }
}

/// Any JSON, with the words of a slice in it.
fn garbage() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9.:/ ]{0,9}".prop_map(Value::from),
        Just(Value::from("IPv4")),
        Just(Value::from("10.0.0.1")),
    ];
    let word = prop::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "labels",
        "addressType",
        "endpoints",
        "addresses",
        "conditions",
        "ready",
        "ports",
        "port",
        "hints",
        "forZones",
        "targetRef",
        "kind",
        "pointsman/port",
        "kubernetes.io/service-name",
    ]);
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..8)
                .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    /// Nothing that can be sent breaks the reader, and what it takes has an address and a name.
    #[test]
    fn garbage_is_survived(object in garbage()) {
        if let Ok(record) = read(&object, &home()) {
            prop_assert!(!record.key.name.is_empty());
        }
    }
}
