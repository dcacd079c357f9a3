//! More services than connections.

use super::*;
use crate::testing::service;

/// Traefik 4368.
#[tokio::test]
async fn with_many_services_a_changed_check_reads_its_service_and_no_other() {
    let failing = Arc::new(AtomicBool::new(false));
    let (now, read) = (Arc::clone(&failing), When::default());
    let when = Arc::clone(&read);
    let mut fake = fake(life::CONNECTIONS, move |path, _| match path {
        path if path.contains("/v1/health/state/any") && !path.contains("index=") => answer(2, "[]"),
        path if path.contains("/v1/health/state/any?stale&max_stale=30s&index=2") && now.load(Ordering::SeqCst) => {
            answer(3, r#"[{"Node":"n","CheckID":"c","Status":"passing","ServiceName":"pets7"}]"#)
        }
        path if path.contains("/v1/health/state/any?stale&max_stale=30s&index=2") => answer(2, "[]"),
        path if path.starts_with("/v1/catalog/services") && !path.contains("index=") => answer(2, "{}"),
        path if path.contains("index=") => Reply::silence(),
        path => otherwise(path, || {
            if now.load(Ordering::SeqCst) {
                when.lock().unwrap().get_or_insert_with(tokio::time::Instant::now);
            }
            answer(2, if now.load(Ordering::SeqCst) { B } else { A })
        }),
    })
    .await;
    for _ in 0..life::CONNECTIONS {
        assert_eq!(fake.said().await, "a@n");
    }
    // The catalogue's first answer may read everything once more.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = fake.asked().len();
    failing.store(true, Ordering::SeqCst);
    let message = fake.source.next().await;
    assert!(
        matches!(&message.update, Update::Service { knowledge: Knowledge::Known(list), .. } if list[0].id.as_str() == "b@n")
    );
    assert!(message.seen <= read.lock().unwrap().unwrap(), "the word was that of the check");
    let asked = fake.asked().split_off(before);
    let about: Vec<_> = asked.iter().filter(|path| path.contains("/pets")).collect();
    assert_eq!(about, ["/v1/health/service/pets7?stale&max_stale=30s"]);
}

#[tokio::test]
async fn with_many_services_a_change_that_a_server_did_not_know_yet_is_found_a_moment_later() {
    let told = AtomicBool::new(false);
    let reads = AtomicUsize::new(0);
    let mut fake = fake(life::CONNECTIONS, move |path, _| match path {
        path if path.contains("/v1/health/state/any") && !path.contains("index=") => answer(2, "[]"),
        path if path.contains("/v1/health/state/any") && !told.swap(true, Ordering::SeqCst) => {
            answer(3, r#"[{"Node":"n","CheckID":"c","Status":"passing","ServiceName":"pets7"}]"#)
        }
        path if path.contains("/v1/health/state/any") => answer(3, "[]"),
        path if path.starts_with("/v1/catalog/services") => answer(2, "{}"),
        // At the start, for the catalogue, and by a server that lags.
        path if path.contains("/pets7?") && reads.fetch_add(1, Ordering::SeqCst) > 2 => answer(3, B),
        path => otherwise(path, || answer(2, A)),
    })
    .await;
    for _ in 0..life::CONNECTIONS {
        assert_eq!(fake.said().await, "a@n");
    }
    assert_eq!(fake.said().await, "b@n");
}

#[tokio::test]
async fn with_many_services_a_watch_that_fails_is_no_outage_and_a_service_that_fails_is_read_again() {
    let (checks, reads) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut fake = fake(life::CONNECTIONS, move |path, _| match path {
        path if path.contains("/v1/health/state/any") => match checks.fetch_add(1, Ordering::SeqCst) {
            0 => answer(2, "[]"),
            1 | 2 => Reply::status(500).data("rpc error making call: EOF"),
            _ => answer(2, "[]"),
        },
        path if path.starts_with("/v1/catalog/services") => answer(2, "{}"),
        path if path.contains("/pets7?") => match reads.fetch_add(1, Ordering::SeqCst) {
            0 => otherwise(path, || answer(2, A)),
            1 => Reply::status(500).data("rpc error making call: EOF"),
            _ => answer(3, B),
        },
        path => otherwise(path, || answer(2, A)),
    })
    .await;
    for _ in 0..life::CONNECTIONS {
        assert_eq!(fake.said().await, "a@n");
    }
    assert_eq!([fake.said().await, fake.said().await], ["unknown: failed", "b@n"]);
}

#[tokio::test]
async fn with_many_services_one_that_nobody_means_any_longer_is_taken_back_after_its_last_word() {
    let mut fake = fake(life::CONNECTIONS + 1, |path, _| match path {
        path if path.contains("/v1/health/state/any") => answer(2, "[]"),
        path if path.starts_with("/v1/catalog/services") => answer(2, "{}"),
        path if path.contains("/pets0?") => {
            Reply::script().read().wait(Duration::from_millis(300)).head(200).header("x-consul-index", "2").data(A)
        }
        path => otherwise(path, || answer(2, A)),
    })
    .await;
    for _ in 0..life::CONNECTIONS {
        assert_eq!(fake.said().await, "a@n");
    }
    // While it is being read for the first time.
    let names: Vec<_> = (1..=life::CONNECTIONS).map(|n| format!("pets{n}")).collect();
    fake.source.wants(routed(names.iter().map(String::as_str)));
    let mut last = fake.said().await;
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(1), fake.source.updates.recv()).await {
        last = format!("{:?}", message.update);
    }
    assert!(last.starts_with("Forgotten"), "{last}");
}

#[tokio::test]
async fn with_many_services_all_are_read_from_time_to_time() {
    let moved = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&moved);
    let mut fake = fake(life::CONNECTIONS, move |path, _| match path {
        // Nothing is told of any change.
        path if path.contains("/v1/health/state/any") => answer(2, "[]"),
        path if path.starts_with("/v1/catalog/services") => answer(2, "{}"),
        path => otherwise(path, || answer(2, if now.load(Ordering::SeqCst) { B } else { A })),
    })
    .await;
    for _ in 0..life::CONNECTIONS {
        assert_eq!(fake.said().await, "a@n");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    moved.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(fake.source.updates.try_recv().is_err(), "it is not read without need");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    assert_eq!(fake.said().await, "b@n");
}

#[tokio::test]
async fn an_empty_answer_is_not_believed_on_what_was_proved_before_it() {
    let taken = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&taken);
    let fake = fake(0, move |path, _| match path {
        path if path.starts_with("/v1/catalog/nodes") && now.load(Ordering::SeqCst) => answer(3, "[]"),
        path => otherwise(path, || answer(3, "[]")),
    })
    .await;
    let settings = Settings::new(fake.agent.url());
    let (aside, accepted) = (::settings::Aside::default(), token::Accepted::default());
    let agent = agent::Agent::open(&settings, &aside, &accepted, Arc::default()).await.unwrap();
    let changed = tokio::time::Instant::now();
    assert_eq!(agent.lacks(&service("pets0"), changed).await, Ok(None));
    taken.store(true, Ordering::SeqCst);
    let answer = agent.ask(&watch::path(&service("pets1")), index::Cursor::default()).await.unwrap();
    let (updates, _heard) = tokio::sync::mpsc::channel(1);
    let (_interest, interested) = tokio::sync::watch::channel(Arc::default());
    let feed = Feed::new(0, updates, interested);
    let mut voice = watch::Voice::new(service("pets1"), Held::default(), feed);
    let heard = voice.hear(&agent, &answer, changed).await;
    assert!(matches!(heard, Err(failure::Failure::Question(ProviderError::Denied(_)))), "{heard:?}");
}
