use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

fn record(key: &str, revision: u64, value: &str) -> Record {
    Record { key: format!("/s/{key}").into(), mod_revision: revision, value: value.into(), lease: 0 }
}

fn list(revision: u64, records: &[Record]) -> List {
    List { header: Header { cluster_id: 1, revision }, records: records.to_vec(), seen: Instant::now() }
}

fn pets() -> ServiceId {
    ServiceId::new("pets").unwrap()
}

fn contents() -> Contents {
    Contents::new(b"/s/".to_vec())
}

/// Ids and addresses of a service's instances.
fn known(contents: &Contents, service: &ServiceId) -> Vec<String> {
    match contents.knowledge(service) {
        Knowledge::Known(list) | Knowledge::Part(list) => {
            list.iter().map(|i| format!("{} {}", i.id, i.endpoint.address)).collect()
        }
        Knowledge::KnownEmpty => Vec::new(),
        Knowledge::Unknown(error) => vec![error.to_string()],
    }
}

#[test]
fn a_list_then_changes() {
    let mut all = contents();
    let change = all.replace(list(5, &[record("pets/1", 3, "h:1"), record("pets/2", 4, "h:2"), record("odd", 5, "")]));
    assert_eq!((change.services.len(), change.skipped.len(), all.revision()), (1, 1, 5));
    let leased = Record { lease: 7, ..record("pets/1", 3, "h:1") };
    let change = all.apply(vec![
        Event::put(record("pets/3", 6, "h:3")),
        Event::delete(record("pets/1", 7, ""), Some(leased)),
        Event::delete(record("pets/2", 8, ""), None),
    ]);
    assert_eq!((known(&all, &pets()), all.revision()), (vec!["3 h:3".to_owned()], 8));
    assert_eq!(change.left.iter().map(|left| left.lease).collect::<Vec<_>>(), [Some(7), None]);
    all.apply(vec![Event::delete(record("pets/3", 9, ""), None)]);
    assert_eq!((all.knowledge(&pets()), all.services().count()), (Knowledge::KnownEmpty, 0));
}

#[test]
fn a_value_that_cannot_be_read_leaves_the_instance_as_it_was() {
    let mut all = contents();
    all.replace(list(3, &[record("pets/1", 3, "h:1")]));
    let change = all.apply(vec![Event::put(record("pets/1", 4, "garbage"))]);
    assert!(change.skipped[0].1.contains("/s/pets/1"), "{change:?}");
    assert_eq!(known(&all, &pets()), ["1 h:1"]);
    assert!(matches!(all.outdated(&pets()), Some(ProviderError::Malformed(_))));
    let change = all.replace(list(9, &[record("pets/1", 4, "garbage")]));
    assert_eq!((known(&all, &pets()), change.skipped.len()), (vec!["1 h:1".to_owned()], 0), "said once");
    all.apply(vec![Event::put(record("pets/1", 10, "h:2"))]);
    assert_eq!((known(&all, &pets()), all.outdated(&pets())), (vec!["1 h:2".to_owned()], None));
    all.apply(vec![Event::put(record("pets/2", 11, "garbage"))]);
    assert_eq!(all.outdated(&pets()), None, "it never told of that one");
}

#[test]
fn a_service_of_unreadable_records_is_not_empty() {
    let mut all = contents();
    all.replace(list(3, &[record("pets/1", 3, "garbage")]));
    assert!(matches!(all.knowledge(&pets()), Knowledge::Unknown(ProviderError::Malformed(_))));
    all.apply(vec![Event::delete(record("pets/1", 4, ""), None)]);
    assert_eq!(all.knowledge(&pets()), Knowledge::KnownEmpty);
}

#[test]
fn another_history_is_known_and_read_anew() {
    let mut all = contents();
    assert!(!all.is_other(Header { cluster_id: 9, revision: 1 }), "nothing to compare with");
    all.replace(list(50, &[record("pets/1", 5, "h:1")]));
    assert!(!all.is_other(Header { cluster_id: 1, revision: 50 }));
    assert!(all.is_other(Header { cluster_id: 1, revision: 49 }));
    assert!(all.is_other(Header { cluster_id: 2, revision: 99 }));
    // By chance with the same revision.
    all.replace(list(6, &[record("pets/1", 5, "h:2")]));
    assert_eq!((known(&all, &pets()), all.revision()), (vec!["1 h:2".to_owned()], 6));
}

proptest! {
    /// Whatever happens, following the changes leads to where a new list does.
    #[test]
    fn events_lead_to_the_list(
        changes in prop::collection::vec((0u8..3, 0u8..4, prop::option::of(1u16..5)), 0..60),
        relist in 0usize..60,
    ) {
        let mut etcd = BTreeMap::new();
        let mut followed = contents();
        for (at, (service, instance, port)) in changes.into_iter().enumerate() {
            let revision = at as u64 + 2;
            let key = format!("s{service}/{instance}");
            let event = match port {
                Some(port) => {
                    let put = record(&key, revision, &format!("h:{port}"));
                    etcd.insert(key, put.clone());
                    Event::put(put)
                }
                None => Event::delete(record(&key, revision, ""), etcd.remove(&key)),
            };
            followed.apply(vec![event]);
            if at == relist {
                followed.replace(list(revision, &etcd.values().cloned().collect::<Vec<_>>()));
            }
        }
        let mut listed = contents();
        listed.replace(list(followed.revision(), &etcd.into_values().collect::<Vec<_>>()));
        for service in ["s0", "s1", "s2"].map(|name| ServiceId::new(name).unwrap()) {
            prop_assert_eq!(followed.knowledge(&service), listed.knowledge(&service));
        }
    }
}
