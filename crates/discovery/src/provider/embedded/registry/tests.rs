use std::collections::HashMap;

use model::{Knowledge, Update};
use tempfile::tempdir;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::*;
mod checks;

use crate::provider::{Feed, Interest, Provider, embedded::Embedded};

const SECOND: Duration = Duration::from_secs(1);

fn registration(id: &str, ttl: &str) -> Registration {
    let json = format!(r#"{{"name":"pets","id":"{id}","ip":"10.0.0.1","port":80,"ttl":"{ttl}"}}"#);
    serde_json::from_str(&json).unwrap()
}

fn key(id: &str) -> (ServiceId, InstanceId) {
    (ServiceId::new("pets").unwrap(), InstanceId::new(id).unwrap())
}

/// A registry with its provider running, and what that publishes.
fn running(registry: &Registry) -> mpsc::Receiver<(usize, Update)> {
    let (updates, published) = mpsc::channel(64);
    let (interest, receiver) = watch::channel(Arc::new(Interest::default()));
    let mut provider = Embedded::new(registry.clone());
    tokio::spawn(async move {
        let _keep = interest;
        provider.watch(&Feed::new(0, updates, receiver)).await
    });
    published
}

/// Ids of the service in the next update, and who left on its own word.
async fn next(published: &mut mpsc::Receiver<(usize, Update)>) -> (String, String) {
    let (_, update) = published.recv().await.unwrap();
    let Update::Service { knowledge, deregistered, .. } = update else { panic!("{update:?}") };
    let list = match knowledge {
        Knowledge::Known(list) => list,
        _ => Vec::new(),
    };
    let ids = list.iter().map(|i| i.id.as_str()).collect();
    (ids, deregistered.iter().map(InstanceId::as_str).collect())
}

fn check(registry: &Registry, expected: &str) {
    let listing = registry.lock().listing("pets");
    assert_eq!(listing.instances.iter().map(|listed| listed.registration.id.as_str()).collect::<String>(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_heartbeat_ends_and_one_with_goes_on() {
    let registry = Registry::in_memory();
    let mut published = running(&registry);
    for (id, ttl) in [("a", "10s"), ("b", "10s"), ("c", "none")] {
        registry.register(&By::registry(), registration(id, ttl)).await;
    }
    for _ in 0..4 {
        sleep(SECOND * 6).await;
        let (name, id) = key("b");
        assert_eq!(registry.heartbeat(name, id), Ok(Some(SECOND * 10)));
    }
    check(&registry, "bc");
    assert!(matches!(published.recv().await, Some((_, Update::Everything(_)))));
    assert_eq!(next(&mut published).await, ("bc".to_owned(), String::new()));
    sleep(SECOND * 11).await;
    check(&registry, "c");
    assert_eq!(next(&mut published).await, ("c".to_owned(), String::new()));
}

#[tokio::test(start_paused = true)]
async fn who_is_not_registered_is_told_to_register() {
    let registry = Registry::in_memory();
    let (name, id) = key("a");
    let error = registry.heartbeat(name.clone(), id.clone()).unwrap_err().to_string();
    assert!(error.contains("register it first"), "{error}");
    assert!(registry.deregister(&By::registry(), name, id).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_pushed_and_a_deregistration_named() {
    let registry = Registry::in_memory();
    registry.register(&By::registry(), registration("a", "30s")).await;
    let mut published = running(&registry);
    let (_, first) = published.recv().await.unwrap();
    let Update::Everything(all) = first else { panic!("{first:?}") };
    assert_eq!(all.into_values().map(|l| l.len()).collect::<Vec<_>>(), [1]);

    let before = Instant::now();
    registry.register(&By::registry(), registration("b", "30s")).await;
    assert_eq!(next(&mut published).await, ("ab".to_owned(), String::new()));
    let (name, id) = key("a");
    registry.deregister(&By::registry(), name, id).await.unwrap();
    assert_eq!(next(&mut published).await, ("b".to_owned(), "a".to_owned()));
    assert_eq!(before.elapsed(), Duration::ZERO, "pushed, not polled");

    let again = registry.register(&By::registry(), registration("b", "30s")).await;
    assert!(!again.changed);
    assert!(published.try_recv().is_err(), "the same again is no news");
}

#[tokio::test(start_paused = true)]
async fn who_is_back_before_anybody_looked_did_not_leave() {
    let registry = Registry::in_memory();
    registry.register(&By::registry(), registration("a", "30s")).await;
    let (name, id) = key("a");
    registry.deregister(&By::registry(), name, id).await.unwrap();
    registry.register(&By::registry(), registration("a", "30s")).await;
    let news = registry.take_news();
    assert_eq!((news.len(), news[0].list.len(), news[0].deregistered.len()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn news_are_as_old_as_the_first_change_in_them() {
    let registry = Registry::in_memory();
    let first = Instant::now();
    registry.register(&By::registry(), registration("a", "30s")).await;
    tokio::time::advance(SECOND).await;
    registry.register(&By::registry(), registration("b", "30s")).await;
    assert_eq!(registry.take_news()[0].seen, first);
    let second = Instant::now();
    let (name, id) = key("a");
    registry.deregister(&By::registry(), name, id).await.unwrap();
    assert_eq!(registry.take_news()[0].seen, second);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_for_its_own_service_only() {
    let registry = Registry::in_memory();
    let first = registry.register(&By::registry(), registration("a", "none")).await.index;
    let waiting = {
        let registry = registry.clone();
        tokio::spawn(async move {
            let listing = registry.listing("pets", Some(first), SECOND * 30).await;
            (listing, Instant::now())
        })
    };
    sleep(SECOND).await;
    let mut other = registration("x", "none");
    other.name = ServiceId::new("other").unwrap();
    registry.register(&By::registry(), other).await;
    sleep(SECOND).await;
    assert!(!waiting.is_finished());
    let start = Instant::now();
    let second = registry.register(&By::registry(), registration("b", "none")).await.index;
    let (listing, woken) = waiting.await.unwrap();
    assert_eq!((listing.index, listing.instances.len(), woken), (second, 2, start));

    let listing = registry.listing("pets", Some(second), SECOND * 30).await;
    assert_eq!((listing.index, start.elapsed()), (second, SECOND * 30), "nothing came");
    registry.listing("pets", Some(second + 1000), SECOND * 30).await;
    assert_eq!(start.elapsed(), SECOND * 30, "an index of another registry is answered at once");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_vanished_wakes_those_who_wait_for_it_once() {
    let registry = Registry::in_memory();
    let first = registry.register(&By::registry(), registration("a", "none")).await.index;
    let (name, id) = key("a");
    let gone = registry.deregister(&By::registry(), name, id).await.unwrap().index;
    let start = Instant::now();
    let listing = registry.listing("pets", Some(first), SECOND * 30).await;
    assert_eq!((listing.index, listing.instances.len()), (gone, 0));
    registry.listing("pets", Some(gone), SECOND * 30).await;
    assert_eq!(start.elapsed(), SECOND * 30);
}

#[tokio::test]
async fn a_restart_forgets_nothing_and_leases_run_anew() {
    let directory = tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    for id in ["a", "b", "c"] {
        let registered = registry.register(&By::registry(), registration(id, "20s")).await;
        assert!(registered.stored);
    }
    let (name, id) = key("b");
    let last = registry.deregister(&By::registry(), name, id).await.unwrap().index;
    let services = registry.services().1;
    assert_eq!((services.len(), services[0].2), (1, 2));
    drop(registry);

    let registry = Registry::open(directory.path()).unwrap();
    check(&registry, "ac");
    let listing = registry.lock().listing("pets");
    assert!(listing.index > last);
    for listed in &listing.instances {
        let left = listed.end.unwrap() - Instant::now();
        assert!(left > SECOND * 15 && left <= SECOND * 20, "{left:?}");
    }
}

#[tokio::test]
async fn a_registry_that_lost_its_storage_is_known_to_be_another() {
    let [lost, found] = [tempdir().unwrap(), tempdir().unwrap()];
    let stored = Registry::open(lost.path()).unwrap();
    let last = stored.register(&By::registry(), registration("a", "none")).await.index;
    for other in [Registry::in_memory(), Registry::open(found.path()).unwrap()] {
        assert!(!other.knows_since(Some(last)), "{} {last}", other.index());
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_for_a_disk_that_hangs() {
    let (_hangs, told) = oneshot::channel();
    assert!(!timeout(SECOND * 30, stored(Some(told))).await.unwrap());
}

#[tokio::test]
async fn many_at_once_are_all_stored() {
    let directory = tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let registry = registry.clone();
        tasks.spawn(
            async move { registry.register(&By::registry(), registration(&format!("i{n}"), "none")).await.stored },
        );
    }
    assert!(tasks.join_all().await.into_iter().all(|stored| stored));
    drop(registry);
    let registry = Registry::open(directory.path()).unwrap();
    let by_service: HashMap<_, _> = registry.services().1.into_iter().map(|(name, _, n)| (name, n)).collect();
    assert_eq!(by_service[&ServiceId::new("pets").unwrap()], 200);
}

#[tokio::test(start_paused = true)]
async fn changes_are_found_from_the_newest_on() {
    let registry = Registry::in_memory();
    let register = async |service: &str, id: &str| {
        let mut registration = registration(id, "none");
        registration.name = ServiceId::new(service).unwrap();
        registry.register(&By::registry(), registration).await.index
    };
    let mut indices = Vec::new();
    for (service, id) in [("b", "1"), ("a", "1"), ("c", "1"), ("b", "2")] {
        indices.push(register(service, id).await);
    }
    let since = |after| {
        let changes = registry.changes(after);
        let names: Vec<_> = changes.services.iter().map(|(name, _)| name.as_str().to_owned()).collect();
        assert_eq!((changes.index, changes.complete), (registry.index(), !registry.knows_since(after)));
        names.join(" ")
    };
    assert_eq!(since(None), "a b c");
    assert_eq!(
        (since(Some(indices[1])), since(Some(indices[2])), since(Some(indices[3]))),
        ("b c".into(), "b".into(), String::new())
    );
    let (name, id) = (ServiceId::new("c").unwrap(), InstanceId::new("1").unwrap());
    registry.deregister(&By::registry(), name, id).await.unwrap();
    assert_eq!((since(Some(indices[3])), since(None)), ("c".into(), "a b".into()));
}
