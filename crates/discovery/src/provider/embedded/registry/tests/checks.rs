//! Checks, maintenance, and what the registry remembers, with the provider running.

use model::Standing;
use tokio::net::TcpListener;

use super::*;

/// Of an instance at this port of this machine, with these checks.
fn checked(id: &str, port: u16, more: &str) -> Registration {
    let json = format!(r#"{{"name":"pets","id":"{id}","ip":"127.0.0.1","port":{port},"ttl":"none",{more}}}"#);
    serde_json::from_str(&json).unwrap()
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn actions(registry: &Registry) -> Vec<Action> {
    registry.audit(0).into_iter().map(|entry| entry.action).collect()
}

const READY: &str = r#""checks":[{"type":"tcp","interval":"1s","fall":2}]"#;

/// Traefik 4544, 12654.
#[tokio::test]
async fn an_instance_serves_when_its_check_passes_and_not_when_it_fails() {
    let registry = Registry::in_memory();
    let mut published = running(&registry);
    let (listener, port) = listener().await;
    registry.register(&By::registry(), checked("a", port, READY)).await;
    assert!(matches!(published.recv().await, Some((_, Update::Everything(_)))));
    let mut seen = next(&mut published).await;
    while seen.0.is_empty() {
        seen = next(&mut published).await;
    }
    assert_eq!(seen, ("a".to_owned(), String::new()));
    let index = registry.services().0;
    drop(listener);
    assert_eq!(next(&mut published).await, (String::new(), String::new()), "nobody calls it a deregistration");
    assert!(registry.services().0 > index, "who waits for a change is told");
    let listed = registry.instance(key("a").0, key("a").1).unwrap();
    assert!(!listed.ready && listed.verdicts[0].output.contains("refused"), "{listed:?}");
    assert_eq!(actions(&registry), [Action::Register, Action::Ready, Action::Unready]);
}

#[tokio::test]
async fn a_failed_liveness_check_ends_the_registration() {
    let registry = Registry::in_memory();
    let mut published = running(&registry);
    let (listener, port) = listener().await;
    let live = r#""checks":[{"type":"tcp","role":"liveness","interval":"1s","fall":1}]"#;
    assert!(matches!(published.recv().await, Some((_, Update::Everything(_)))));
    registry.register(&By::registry(), checked("a", port, live)).await;
    assert_eq!(next(&mut published).await.0, "a");
    drop(listener);
    assert_eq!(next(&mut published).await, (String::new(), String::new()));
    check(&registry, "");
    assert_eq!(actions(&registry).last(), Some(&Action::Dead));
}

#[tokio::test]
async fn who_is_not_ready_for_too_long_is_deregistered() {
    let registry = Registry::in_memory();
    let _published = running(&registry);
    let (closed, port) = listener().await;
    drop(closed);
    let impatient = r#""deregister_after":"1s","checks":[{"type":"tcp","interval":"1s","fall":1}]"#;
    registry.register(&By::registry(), checked("a", port, impatient)).await;
    let watch = registry.watch(Some("pets"));
    while !registry.services().1.is_empty() {
        timeout(SECOND * 20, watch.changed()).await.unwrap();
    }
    assert!(registry.audit(0).last().unwrap().detail.contains("deregister_after"));
}

#[tokio::test(start_paused = true)]
async fn checks_are_spread_and_bounded() {
    let registry = Registry::in_memory();
    let registrations: Vec<_> = (0..1000).map(|n| Arc::new(checked(&format!("i{n}"), 1, READY))).collect();
    let start = Instant::now();
    *registry.lock() = State::restored(registrations, 7, start);
    assert_eq!(registry.lock().due(1000, start).len(), 0, "a start looks at nobody at once");
    let mut seen = 0;
    for tenth in 1..=10_u32 {
        let due = registry.lock().due(1000, start + SECOND * tenth / 10).len();
        assert!(due < 200, "{due} of 1000 within a tenth of the interval");
        seen += due;
    }
    assert!(seen >= 1000, "{seen}: everyone within the interval");
    assert_eq!(registry.lock().due(3, start + SECOND * 10).len(), 3);
    let listing = registry.lock().listing("pets");
    assert!(listing.instances.iter().all(|listed| listed.ready), "what was known serves until it is seen to fail");
}

#[tokio::test]
async fn maintenance_drains_and_outlives_registrations_and_restarts() {
    let directory = tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    let by = By { who: Arc::from("ops"), from: None };
    registry.register(&by, registration("a", "20s")).await;
    sleep(SECOND / 50).await;
    let ((name, id), end) = (key("a"), registry.lock().listing("pets").instances[0].end);
    let begun = registry.maintain(&by, name.clone(), id.clone(), Some("disk".to_owned())).await.unwrap();
    assert!(begun.changed && begun.stored);
    assert_eq!(registry.lock().listing("pets").instances[0].end, end, "it is no heartbeat");
    assert!(!registry.maintain(&by, name.clone(), id.clone(), Some("disk".to_owned())).await.unwrap().changed);
    assert!(!registry.register(&by, registration("a", "20s")).await.changed);
    drop(registry);

    let registry = Registry::open(directory.path()).unwrap();
    let (_, instances) = registry.take_everything().remove(0);
    assert_eq!(instances[0].standing, Standing::Draining);
    assert!(registry.maintain(&by, name.clone(), id.clone(), None).await.unwrap().changed);
    let news = registry.take_news().remove(0);
    assert_eq!((news.list[0].standing, news.deregistered.len()), (Standing::Serving, 0));
    assert!(registry.maintain(&by, name, key("z").1, None).await.is_err());
    assert_eq!(actions(&registry), [Action::Resume]);
}

#[tokio::test(start_paused = true)]
async fn names_of_services_that_left_are_forgotten_in_time_and_in_number() {
    let registry = Registry::in_memory();
    let mut published = running(&registry);
    assert!(matches!(published.recv().await, Some((_, Update::Everything(_)))));
    registry.register(&By::registry(), registration("a", "none")).await;
    let (name, id) = key("a");
    registry.deregister(&By::registry(), name.clone(), id).await.unwrap();
    assert_eq!(next(&mut published).await, (String::new(), "a".to_owned()));
    assert_eq!(published.recv().await.unwrap().1, Update::Forgotten(name));

    for n in 0..1500 {
        let mut other = registration("x", "none");
        other.name = ServiceId::new(&format!("s{n}")).unwrap();
        let name = other.name.clone();
        registry.register(&By::registry(), other).await;
        registry.deregister(&By::registry(), name, key("x").1).await.unwrap();
    }
    assert_eq!(registry.lock().take_forgotten(Instant::now()).len(), 1500 - 1024);
}

#[tokio::test(start_paused = true)]
async fn watchers_resume_where_they_were() {
    let registry = Registry::in_memory();
    let named = |name: &str| Registration { name: ServiceId::new(name).unwrap(), ..registration("a", "none") };
    let first = registry.register(&By::registry(), named("one")).await.index;
    registry.register(&By::registry(), named("two")).await;
    let names = |after| {
        let changes = registry.changes(after);
        let listed = changes.services.iter().map(|(name, l)| format!("{name}{}", l.instances.len()));
        (changes.complete, listed.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(names(None), (true, "one1 two1".to_owned()));
    assert_eq!(names(Some(first)), (false, "two1".to_owned()));
    registry.deregister(&By::registry(), named("one").name, key("a").1).await.unwrap();
    assert_eq!(names(Some(first)), (false, "two1 one0".to_owned()));
    assert_eq!(names(Some(999)), (true, "two1".to_owned()), "an index of another registry");
    sleep(SECOND * 601).await;
    assert_eq!(registry.take_forgotten().len(), 1);
    assert_eq!(names(Some(first)), (true, "two1".to_owned()), "what left is not known any more");
}

#[tokio::test]
async fn a_repeat_on_a_failing_disk_is_not_called_stored() {
    let directory = tempdir().unwrap();
    let registry = Registry::open(directory.path()).unwrap();
    assert!(registry.register(&By::registry(), registration("a", "none")).await.stored);
    assert!(registry.register(&By::registry(), registration("a", "none")).await.stored, "a repeat of what is stored");
    // A directory that is gone stands for a disk that does not write: the journal cannot be written anew in it.
    std::fs::remove_dir_all(directory.path()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..1500 {
        let registry = registry.clone();
        let change = registration("b", if n % 2 == 0 { "1s" } else { "2s" });
        tasks.spawn(async move { registry.register(&By::registry(), change).await });
    }
    tasks.join_all().await;
    let last = registry.register(&By::registry(), registration("c", "none")).await;
    let repeat = registry.register(&By::registry(), registration("c", "none")).await;
    assert_eq!((last.stored, repeat.changed, repeat.stored), (false, false, false));
    std::fs::create_dir(directory.path()).unwrap();
    let mended = registry.register(&By::registry(), registration("c", "none")).await;
    assert!(!mended.changed && mended.stored, "the repeat had it written");
}
