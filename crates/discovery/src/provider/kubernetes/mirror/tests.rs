use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::provider::kubernetes::slice::{Rules, read};

fn id(name: &str) -> ServiceId {
    ServiceId::new(name).unwrap()
}

fn object(name: &str, service: &str, address: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop", "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4", "endpoints": [{ "addresses": [address] }], "ports": [{ "port": 80 }] })
}

fn record(object: &Value) -> Record {
    read(object, &Rules { home: "shop".into(), service_label: None }).unwrap()
}

fn slice(name: &str, service: &str, address: &str) -> Record {
    record(&object(name, service, address))
}

fn bad(name: &str) -> Record {
    let mut object = object(name, "pets", "10.0.0.1");
    object["addressType"] = json!("Pigeon");
    record(&object)
}

fn addresses(mirror: &Mirror, service: &str) -> Vec<String> {
    mirror.read(&id(service), None).instances.iter().map(|i| i.endpoint.address.to_string()).collect()
}

fn gone() -> ProviderError {
    ProviderError::Unreachable("the test".into())
}

#[test]
fn a_list_replaces_what_its_scope_said_and_no_other() {
    let mut mirror = Mirror::new(2);
    mirror.list(0, vec![slice("a", "pets", "10.0.0.1"), slice("b", "pets", "10.0.0.2")], false);
    assert!(!mirror.is_whole());
    mirror.list(1, vec![slice("c", "orders", "10.0.0.3")], false);
    assert!(mirror.is_whole());
    assert_eq!(mirror.list(0, vec![slice("b", "pets", "10.0.0.2")], false), [id("pets")].into());
    assert_eq!((addresses(&mirror, "pets"), addresses(&mirror, "orders").len()), (vec!["10.0.0.2:80".into()], 1));
}

#[test]
fn a_slice_that_goes_over_to_another_service_touches_both() {
    let mut mirror = Mirror::new(1);
    mirror.list(0, vec![slice("a", "pets", "10.0.0.1")], false);
    let touched = mirror.event(0, Event::Applied(slice("a", "orders", "10.0.0.1")));
    assert_eq!(touched, [id("orders"), id("pets")].into());
    assert!(addresses(&mirror, "pets").is_empty());
    assert_eq!(mirror.services().count(), 1);
    assert_eq!(mirror.event(0, Event::Deleted(slice("a", "", "").key)), [id("orders")].into());
    assert_eq!(mirror.services().count(), 0);
}

#[test]
fn a_record_that_turns_bad_keeps_its_last_good_content() {
    let mut mirror = Mirror::new(1);
    mirror.list(0, vec![slice("a", "pets", "10.0.0.1")], false);
    mirror.event(0, Event::Applied(bad("a")));
    let reading = mirror.read(&id("pets"), None);
    assert_eq!((reading.instances.len(), reading.skipped.len()), (1, 1));
    assert!(reading.skipped[0].contains("Pigeon"));
    assert_eq!(reading.outdated.as_ref(), reading.skipped.first());
    // And again, from a list.
    mirror.list(0, vec![bad("a")], false);
    assert_eq!(addresses(&mirror, "pets").len(), 1);
    mirror.event(0, Event::Applied(slice("a", "pets", "10.0.0.2")));
    let reading = mirror.read(&id("pets"), None);
    assert_eq!((reading.skipped.len(), reading.outdated), (0, None));
}

#[test]
fn while_a_record_cannot_be_named_no_slice_is_taken_for_gone() {
    let mut mirror = Mirror::new(1);
    mirror.list(0, vec![slice("a", "pets", "10.0.0.1")], false);
    mirror.list(0, vec![], true);
    assert_eq!(addresses(&mirror, "pets").len(), 1);
    mirror.list(0, vec![], false);
    assert!(addresses(&mirror, "pets").is_empty());
}

#[test]
fn a_scope_that_cannot_be_heard_casts_doubt_on_what_lies_in_it() {
    let mut mirror = Mirror::new(2);
    mirror.list(0, vec![slice("a", "pets", "10.0.0.1")], false);
    mirror.fail(1, gone());
    assert!(!mirror.is_deaf() && mirror.doubt(&id("pets")).is_none());
    assert!(mirror.doubt(&id("elsewhere")).is_some(), "it may lie in what was never read");
    mirror.list(1, vec![], false);
    mirror.fail(0, gone());
    assert!(mirror.doubt(&id("pets")).is_some() && mirror.doubt(&id("elsewhere")).is_none());
    mirror.fail(1, gone());
    assert!(mirror.is_deaf());
    mirror.recover(0);
    assert!(mirror.doubt(&id("pets")).is_none());
}

proptest! {
    /// Whatever the order of events, the index of services is what the slices say.
    #[test]
    fn the_index_follows_the_slices(events in prop::collection::vec((0..4_usize, 0..3_usize, 0..4_u8), 0..60)) {
        let mut mirror = Mirror::new(1);
        let mut expected: BTreeMap<usize, usize> = BTreeMap::new();
        for (name, service, kind) in events {
            let record = slice(&format!("s{name}"), &format!("v{service}"), &format!("10.0.0.{}", name + 1));
            match kind {
                0 => {
                    mirror.event(0, Event::Deleted(record.key));
                    expected.remove(&name);
                }
                1 => {
                    mirror.list(0, vec![record], false);
                    expected = [(name, service)].into();
                }
                _ => {
                    mirror.event(0, Event::Applied(record));
                    expected.insert(name, service);
                }
            }
        }
        for service in 0..3 {
            let names = expected.iter().filter(|(_, s)| **s == service).map(|(n, _)| format!("10.0.0.{}:80", n + 1));
            prop_assert_eq!(addresses(&mirror, &format!("v{service}")), names.collect::<Vec<_>>());
        }
    }
}
