//! Records that cannot be used, namespaces that are refused, and interest that changes.

use model::{Exposure, Knowledge};

use super::*;
use crate::provider::Interest;

#[tokio::test]
async fn bad_records_are_skipped_one_by_one() {
    let bad = json!({ "metadata": { "name": "pets-2", "namespace": "shop", "labels": { "kubernetes.io/service-name": "pets" } },
        "addressType": 7 });
    let mut fake = fake(&[], move |path, _| match path.contains("watch=1") {
        false => listed("7", &[Value::Null, bad.clone(), slice("10.0.0.1")]),
        true => open(vec![event("MODIFIED", &json!([])), event("MODIFIED", &slice("10.0.0.2"))]),
    })
    .await;
    assert!(fake.said().await.starts_with("skipped: an EndpointSlice without"));
    assert!(fake.said().await.starts_with("skipped: slice shop/pets-2: has addressType"));
    fake.hears(&[A]).await;
    assert!(fake.said().await.starts_with("skipped: an EndpointSlice without"));
    fake.hears(&[B]).await;
}

#[tokio::test]
async fn a_service_of_which_nothing_can_be_read_is_not_empty() {
    let mut bad = slice("10.0.0.1");
    bad["endpoints"] = json!([{ "addresses": ["nowhere"] }]);
    let mut fake = fake(&[], move |path, _| match path.contains("watch=1") {
        false => listed("7", &[bad.clone()]),
        true => open(vec![]),
    })
    .await;
    assert!(fake.said().await.starts_with("skipped: slice shop/pets-1: endpoint \"nowhere\""));
    fake.hears(&["unknown: malformed"]).await;
}

#[tokio::test]
async fn a_slice_that_becomes_unreadable_is_uncertain_and_a_wrong_mark_is_left_out() {
    let (mut bad, mut typo) = (slice("10.0.0.2"), slice("10.0.0.2"));
    bad["endpoints"] = json!("none");
    watch_of(move || open(vec![event("MODIFIED", &bad)]))
        .await
        .hears(&[A, "skipped: slice shop/pets-1: endpoints is no list", "unknown: malformed"])
        .await;
    typo["metadata"]["labels"]["pointsman/weight"] = json!("abc");
    let told = "skipped: slice shop/pets-1: pointsman/weight is \"abc\": write 0 to 65535";
    watch_of(move || open(vec![event("MODIFIED", &typo)])).await.hears(&[A, told, B]).await;
}

#[tokio::test]
async fn news_of_another_slice_leave_the_doubt_about_an_unreadable_one() {
    let (mut bad, mut other) = (slice("10.0.0.1"), slice("10.0.0.2"));
    bad["endpoints"] = json!("none");
    other["metadata"]["name"] = json!("pets-2");
    let lines = [bad, other].map(|slice| event("MODIFIED", &slice) + "\n");
    let reply = move || {
        let one = |reply: Reply, line: &String| reply.wait(Duration::from_millis(100)).data(line.clone());
        lines.iter().fold(Reply::status(200).wait(Duration::ZERO), one).hang()
    };
    let told = "skipped: slice shop/pets-1: endpoints is no list";
    let both = format!("{A} {B}");
    watch_of(reply).await.hears(&[A, told, "unknown: malformed", &both, "unknown: malformed"]).await;
}

#[tokio::test]
async fn what_left_while_a_watcher_began_anew_is_empty() {
    let Fake { source, server: _server, _kubeconfig } =
        fake(&[], |path, before| match (path.contains("watch=1"), before) {
            (false, 0) => listed("7", &[slice("10.0.0.1")]),
            (false, _) => listed("9", &[]),
            (true, _) => open(vec![]),
        })
        .await;
    drop(source);
    let settings = Settings { kubeconfig: Some(_kubeconfig.path().into()), ..Settings::default() };
    let mut provider = Kubernetes::new(settings).unwrap();
    let (sender, mut updates) = mpsc::channel(64);
    let everything = Interest { exposure: Exposure::Everything, ..Interest::default() };
    let (_keep, interest) = tokio::sync::watch::channel(Arc::new(everything));
    let feed = Feed::new(0, sender, interest);
    for found in [true, false] {
        let mut watching = std::pin::pin!(provider.watch(&feed));
        loop {
            tokio::select! {
                error = &mut watching => panic!("{error:?}"),
                said = updates.recv() => match said.unwrap().1 {
                    Update::Service { knowledge: Knowledge::Known(_), .. } if found => break,
                    Update::Service { knowledge: Knowledge::KnownEmpty, .. } if !found => break,
                    Update::Catalogue(_) => {}
                    other => panic!("{other:?}"),
                },
                () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nothing was said"),
            }
        }
    }
}

#[tokio::test]
async fn one_namespace_that_is_refused_does_not_hide_the_other() {
    let mut fake = fake(&["shop", "billing"], |path, _| match (path.contains("/billing/"), path.contains("watch=1")) {
        (true, _) => Reply::status(403).data("{}"),
        (false, false) => listed("7", &[slice("10.0.0.1")]),
        (false, true) => open(vec![]),
    })
    .await;
    // Until the other one was asked nobody knows whether it is there.
    while fake.said().await != A {}
    fake.source.wants(routed(["pets", "bills.billing"]));
    fake.hears(&["unknown: denied"]).await;
}

#[tokio::test]
async fn services_come_and_go_with_interest_without_a_question() {
    let mut fake = watch_of(|| open(vec![])).await;
    fake.hears(&[A]).await;
    fake.source.wants(routed(["other"]));
    fake.hears(&["forgotten pets", "empty"]).await;
    fake.source.wants(Interest { exposure: Exposure::Everything, ..Interest::default() });
    fake.hears(&["forgotten other", "catalogue of 1", A]).await;
    assert_eq!(fake.asked("limit="), 1);
}
