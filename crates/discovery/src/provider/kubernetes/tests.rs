//! Faults a real API server cannot be made to show, from a fake one. What it does show, recorded or live, is in the
//! workspace's integration tests.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use model::Update;
use serde_json::{Value, json};
use testkit::{Instance, Reply};

mod records;

use super::*;
use crate::provider::testing::{self, Source, routed};

/// A source that watches `pets` at a fake API server.
struct Fake {
    source: Source,
    server: Instance,
    _kubeconfig: tempfile::NamedTempFile,
}

fn slice(address: &str) -> Value {
    json!({ "metadata": { "name": "pets-1", "namespace": "shop", "resourceVersion": "8",
            "labels": { "kubernetes.io/service-name": "pets" } },
        "addressType": "IPv4", "endpoints": [{ "addresses": [address] }], "ports": [{ "port": 80 }] })
}

fn listed(version: &str, items: &[Value]) -> Reply {
    let body = json!({ "kind": "EndpointSliceList", "metadata": { "resourceVersion": version }, "items": items });
    Reply::ok(body.to_string())
}

fn event(kind: &str, object: &Value) -> String {
    json!({ "type": kind, "object": object }).to_string()
}

/// A stream of these lines, as far as they go; without a length, as of a watch.
fn lines(lines: Vec<String>) -> Reply {
    lines.into_iter().fold(Reply::status(200).wait(Duration::ZERO), |reply, line| reply.data(line + "\n"))
}

/// The same, which then stays open.
fn open(lines: Vec<String>) -> Reply {
    self::lines(lines).hang()
}

/// One byte of a stream now and then, for long.
fn drip() -> Reply {
    Reply::status(200).pieces(100, 1, Duration::from_millis(500))
}

/// `say` is given the request's path, and how many of its kind (list or watch) came before.
async fn fake(namespaces: &[&str], say: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Fake {
    let before = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let server = Instance::http().answer(move |seen| {
        let path = seen.uri.to_string();
        let kind = usize::from(path.contains("watch=1"));
        say(&path, before[kind].fetch_add(1, Ordering::SeqCst))
    });
    let server = server.start().await;
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let clusters = format!("[{{ name: c, cluster: {{ server: '{}' }} }}]", server.url());
    let file = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: {clusters}\nusers: [{{ name: u, user: {{ token: t }} }}]\n\
         contexts: [{{ name: x, context: {{ cluster: c, user: u, namespace: shop }} }}]\n"
    );
    std::fs::write(kubeconfig.path(), file).unwrap();
    let settings = Settings {
        kubeconfig: Some(kubeconfig.path().into()),
        namespaces: namespaces.iter().map(|&name| name.into()).collect(),
        wait: ::settings::Span::from_secs(5),
        ..Settings::default()
    };
    let source = Source::start(Kubernetes::new(settings).unwrap(), routed(["pets"]));
    Fake { source, server, _kubeconfig: kubeconfig }
}

impl Fake {
    /// The next update in short.
    async fn said(&mut self) -> String {
        self.source.said(testing::address).await
    }

    async fn hears(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.said().await, *expected, "asked: {:#?}", self.server.seen());
        }
    }

    fn asked(&self, kind: &str) -> usize {
        self.server.seen().iter().filter(|seen| seen.uri.to_string().contains(kind)).count()
    }
}

const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";

#[tokio::test]
async fn all_that_one_answer_says_counts_from_when_it_was_at_hand() {
    let mut bad = slice("10.0.0.1");
    bad["endpoints"].as_array_mut().unwrap().push(json!({ "addresses": ["nowhere"] }));
    let mut fake = fake(&[], move |path, _| match path.contains("watch=1") {
        false => listed("7", &[bad.clone()]),
        true => open(vec![]),
    })
    .await;
    let (first, second) = (fake.source.next().await, fake.source.next().await);
    assert!(matches!(first.update, Update::Skipped { .. }), "{first:?}");
    assert!(matches!(second.update, Update::Service { .. }), "{second:?}");
    assert_eq!(first.seen, second.seen);
}

#[tokio::test]
async fn what_no_watch_told_is_found_by_the_list_that_is_due_from_time_to_time() {
    let mut fake = fake(&[], |path, before| match (path.contains("watch=1"), before) {
        (false, 0) => listed("7", &[slice("10.0.0.1")]),
        (false, _) => listed("9", &[slice("10.0.0.2")]),
        // Alive, and tells of nothing.
        (true, _) => lines(vec![event("BOOKMARK", &json!({ "metadata": { "resourceVersion": "7" } }))]),
    })
    .await;
    fake.hears(&[A]).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(fake.asked("limit="), 1, "a watch that lives is trusted");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    fake.hears(&[B]).await;
}

/// The list fails so in the beginning; the source says so, and then reads it.
async fn no_list(reply: fn() -> Reply, expected: &str) {
    let mut fake = fake(&[], move |path, before| match (path.contains("watch=1"), before) {
        (false, 0) => reply(),
        (false, _) => listed("7", &[slice("10.0.0.1")]),
        (true, _) => open(vec![]),
    })
    .await;
    fake.hears(&[expected, A]).await;
}

#[tokio::test]
async fn what_is_no_list_is_never_an_empty_list() {
    no_list(|| Reply::ok("{}"), "unreachable: malformed").await;
    no_list(|| Reply::ok("<html>"), "unreachable: malformed").await;
    no_list(|| Reply::ok(""), "unreachable: malformed").await;
    no_list(|| Reply::status(500).data("etcdserver: leader changed"), "unreachable: failed").await;
    no_list(|| Reply::status(404).data("404 page not found"), "unreachable: failed").await;
    no_list(|| Reply::status(403).data("{}"), "unreachable: denied").await;
    no_list(|| Reply::status(401).data("{}"), "unreachable: denied").await;
    no_list(|| Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"), "unreachable: unreachable").await;
    no_list(|| Reply::raw("garbage\r\n\r\n"), "unreachable: unreachable").await;
}

#[tokio::test]
async fn a_list_that_hangs_or_drips_is_an_outage() {
    for reply in [|| Reply::silence(), || drip()] {
        let say = move |path: &str, before| match (path.contains("watch=1"), before) {
            (false, 0) => reply(),
            (false, _) => listed("7", &[slice("10.0.0.1")]),
            (true, _) => open(vec![]),
        };
        let mut fake = fake(&[], say).await;
        while fake.asked("endpointslices") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        later(16).await;
        fake.hears(&["unreachable: unreachable", A]).await;
    }
}

/// Lets so many seconds pass at once.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// The first watch after a list goes like this; the second list differs.
async fn watch_of(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Fake {
    fake(&[], move |path, before| match (path.contains("watch=1"), before) {
        (false, 0) => listed("7", &[slice("10.0.0.1")]),
        (false, _) => listed("9", &[slice("10.0.0.2")]),
        (true, 0) => reply(),
        (true, _) => open(vec![]),
    })
    .await
}

#[tokio::test]
async fn a_broken_watch_is_told_once_and_the_list_is_read_again() {
    for (reply, reason) in [
        ((|| lines(vec![]).close()) as fn() -> Reply, "unreachable: unreachable"),
        (|| Reply::raw(""), "unreachable: unreachable"),
        (|| Reply::status(503).data("shutting down"), "unreachable: failed"),
        (|| open(vec!["garbage".into()]), "unreachable: malformed"),
        (|| open(vec![event("RENAMED", &slice("10.0.0.9"))]), "unreachable: malformed"),
        (|| open(vec![event("DELETED", &json!({}))]), "unreachable: malformed"),
        (|| open(vec![event("ERROR", &json!({ "code": 500 }))]), "unreachable: failed"),
    ] {
        watch_of(reply).await.hears(&[A, reason, B]).await;
    }
}

#[tokio::test]
async fn a_watch_that_died_quietly_is_found_and_heals_itself() {
    for reply in [(|| open(vec![])) as fn() -> Reply, || drip()] {
        let mut fake = watch_of(reply).await;
        fake.hears(&[A]).await;
        while fake.asked("watch=1") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        later(16).await;
        fake.hears(&["unreachable: unreachable", B]).await;
    }
}

#[tokio::test]
async fn a_version_that_ran_out_is_no_outage() {
    let gone = || lines(vec![event("ERROR", &json!({ "kind": "Status", "code": 410 }))]);
    watch_of(gone).await.hears(&[A, B]).await;
}

#[tokio::test]
async fn a_server_that_only_ever_says_gone_is_not_flooded() {
    let mut fake = fake(&[], |path, _| match path.contains("watch=1") {
        false => listed("7", &[slice("10.0.0.1")]),
        true => lines(vec![event("ERROR", &json!({ "kind": "Status", "code": 410 }))]),
    })
    .await;
    fake.hears(&[A]).await;
    let before = fake.asked("limit=");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(fake.asked("limit=") <= before + 4, "{:#?}", fake.server.seen());
}

#[tokio::test]
async fn a_watch_that_ends_well_goes_on_and_a_silent_one_is_followed_by_a_list() {
    let mark = || event("BOOKMARK", &json!({ "metadata": { "resourceVersion": "8" }, "endpoints": null }));
    let mut well = watch_of(move || lines(vec![mark()])).await;
    well.hears(&[A]).await;
    while well.asked("watch=1") < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((well.asked("limit="), well.asked("resourceVersion=8")), (1, 1));
    watch_of(|| lines(vec![])).await.hears(&[A, B]).await;
}

#[tokio::test]
async fn a_refused_watch_keeps_the_list_and_its_place() {
    for (status, field, reason) in
        [(403, ("x", "y"), "unreachable: denied"), (429, ("retry-after", "1"), "unreachable: limited")]
    {
        let mut fake = watch_of(move || Reply::status(status).header(field.0, field.1).data("no")).await;
        fake.hears(&[A, reason, A]).await;
        assert_eq!((fake.asked("limit="), fake.asked("resourceVersion=7")), (1, 2));
    }
}
