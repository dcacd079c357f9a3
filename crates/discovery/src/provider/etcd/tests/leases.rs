//! Who left on purpose, when many leave at once.

use super::*;

/// So many instances that left at once, each with a lease of its own.
fn left(revision: u64, leases: std::ops::Range<u64>) -> String {
    let event = |lease: u64| {
        let key = wire::encode(format!("/s/pets/{lease}").as_bytes());
        let kv = format!(r#"{{"key":"{key}","mod_revision":"{revision}"}}"#);
        format!(r#"{{"type":"DELETE","kv":{kv},"prev_kv":{{"key":"{key}","mod_revision":"1","lease":"{lease}"}}}}"#)
    };
    let events: Vec<String> = leases.map(event).collect();
    format!(
        "{{\"result\":{{\"header\":{{\"cluster_id\":\"1\",\"revision\":\"{revision}\"}},\"events\":[{}]}}}}\n",
        events.join(",")
    )
}

/// Many leave in one message; the fake answers questions about leases in this way.
async fn many_leave(leases: u64, of_a_lease: fn() -> Reply) -> (Fake, Instant) {
    let mut fake = fake(move |path, _| match path {
        "/v3/kv/range" => list(5, "h:1"),
        "/v3/watch" => pieces(vec![made(5), left(6, 100..100 + leases), moved(7, "h:2")]),
        _ => of_a_lease(),
    })
    .await;
    assert_eq!(fake.said().await, "h:1");
    (fake, Instant::now())
}

#[tokio::test]
async fn leases_are_asked_about_together_and_not_for_long() {
    let (mut hung, begun) = many_leave(200, Reply::silence).await;
    while hung.said().await != "h:2" {}
    assert!(begun.elapsed() < Duration::from_secs(10), "one after the other they take minutes");
    assert!(hung.leases() >= 16);
}

#[tokio::test]
async fn whose_lease_runs_on_left_on_purpose_however_many_they_are() {
    let (mut fake, _) = many_leave(200, || Reply::ok(r#"{"TTL":"9"}"#)).await;
    loop {
        let update = fake.source.next().await.update;
        if let Update::Service { deregistered, .. } = update
            && !deregistered.is_empty()
        {
            return assert_eq!(deregistered.len(), 200);
        }
    }
}

#[tokio::test]
async fn more_leases_than_anybody_ends_on_purpose_are_not_asked_about() {
    let (mut fake, _) = many_leave(10_000, Reply::silence).await;
    while fake.said().await != "h:2" {}
    assert_eq!(fake.leases(), 0);
}
