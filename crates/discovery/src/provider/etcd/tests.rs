//! Faults a real member cannot be made to show, from a fake one. The rest is tested against real members, in the
//! workspace's integration tests.

mod leases;

use std::{collections::HashMap, sync::Mutex};

use ::settings::Span;
use serde_json::Value;
use testkit::{Instance, Reply};

use super::*;
use crate::provider::testing::{self, Source, routed};

/// A source that watches `pets` at a fake member.
struct Fake {
    source: Source,
    member: Instance,
}

/// `say` is given the request's path and how many for that path came before.
async fn fake(say: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Fake {
    let counts = Mutex::new(HashMap::<String, usize>::new());
    let member = Instance::http().answer(move |seen| {
        assert_eq!(seen.header("grpc-metadata-hasleader"), Some("true"));
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(seen.path().to_owned()).or_default();
        *count += 1;
        say(seen.path(), *count - 1)
    });
    let member = member.start().await;
    let settings = Settings { wait: Span::from_secs(1), prefix: "/s".into(), ..Settings::new([member.url()]) };
    Fake { source: Source::start(Etcd::new(settings).unwrap(), routed(["pets"])), member }
}

/// 200, these pieces of a body one by one, then nothing more.
fn pieces(pieces: Vec<String>) -> Reply {
    let one = |reply: Reply, piece| reply.data(piece).wait(Duration::from_millis(20));
    pieces.into_iter().fold(Reply::status(200), one).hang()
}

impl Fake {
    /// The next update in short; the word about the catalogue is passed over.
    async fn said(&mut self) -> String {
        loop {
            let said = self.source.said(testing::address).await;
            if !said.starts_with("catalogue") {
                return said;
            }
        }
    }

    /// The bodies of all requests for this path.
    fn asked(&self, path: &str) -> Vec<Value> {
        let seen = self.member.seen();
        seen.iter().filter(|seen| seen.path() == path).map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect()
    }

    /// Where each watch began.
    fn watched_from(&self) -> Vec<String> {
        let from = |body: &Value| body["create_request"]["start_revision"].as_str().map(str::to_owned);
        self.asked("/v3/watch").iter().filter_map(from).collect()
    }

    /// Questions about leases.
    fn leases(&self) -> usize {
        self.member.seen().iter().filter(|seen| seen.path().contains("lease")).count()
    }
}

/// A list at this revision, of one instance at this address.
fn list(revision: u64, address: &str) -> Reply {
    Reply::ok(format!(
        r#"{{"header":{{"cluster_id":"1","revision":"{revision}"}},"kvs":[{{"key":"{}","mod_revision":"{revision}","value":"{}"}}]}}"#,
        wire::encode(b"/s/pets/1"),
        wire::encode(address.as_bytes())
    ))
}

fn made(revision: u64) -> String {
    format!("{{\"result\":{{\"header\":{{\"cluster_id\":\"1\",\"revision\":\"{revision}\"}},\"created\":true}}}}\n")
}

/// The instance moved to this address.
fn moved(revision: u64, address: &str) -> String {
    format!(
        "{{\"result\":{{\"header\":{{\"cluster_id\":\"1\",\"revision\":\"{revision}\"}},\"events\":[{{\"kv\":{{\"key\":\"{}\",\"mod_revision\":\"{revision}\",\"value\":\"{}\"}}}}]}}}}\n",
        wire::encode(b"/s/pets/1"),
        wire::encode(address.as_bytes())
    )
}

#[tokio::test]
async fn events_are_read_however_the_network_cuts_them() {
    let text = made(5) + &moved(6, "h:2") + "\n" + &moved(7, "h:3") + &moved(8, "h:4");
    let cut: Vec<String> = text.as_bytes().chunks(37).map(|c| String::from_utf8(c.to_vec()).unwrap()).collect();
    let mut fake = fake(move |path, before| match (path, before) {
        ("/v3/kv/range", 0) => list(5, "h:1"),
        ("/v3/watch", 0) => pieces(cut.clone()),
        ("/v3/watch", _) => pieces(vec![made(8)]),
        _ => Reply::silence(),
    })
    .await;
    for address in ["h:1", "h:2", "h:3", "h:4"] {
        assert_eq!(fake.said().await, address);
    }
}

#[tokio::test]
async fn a_record_that_was_rewritten_and_cannot_be_read_makes_its_service_doubtful() {
    let mut fake = fake(|path, _| match path {
        "/v3/kv/range" => list(5, "h:1"),
        "/v3/watch" => pieces(vec![made(5), moved(6, "garbage"), moved(7, "h:2")]),
        _ => Reply::silence(),
    })
    .await;
    assert_eq!(fake.said().await, "h:1");
    assert!(fake.said().await.starts_with("skipped"));
    assert_eq!([fake.said().await, fake.said().await, fake.said().await], ["h:1", "unknown: malformed", "h:2"]);
}

#[tokio::test]
async fn what_is_doubtful_in_part_is_not_said_again_while_nothing_is_new() {
    let mut fake = fake(|path, _| match path {
        "/v3/kv/range" => list(5, "h:1"),
        "/v3/watch" => pieces(vec![made(5), moved(6, "garbage")]),
        _ => Reply::silence(),
    })
    .await;
    while fake.said().await != "unknown: malformed" {}
    // Everything of interest is said, in the order of names.
    fake.source.wants(routed(["pets", "zoo"]));
    assert_eq!(fake.said().await, "empty");
}

#[tokio::test]
async fn a_change_counts_from_when_it_was_at_hand() {
    // Two changes in one piece: the second waits while the first is said.
    let mut fake = fake(|path, _| match path {
        "/v3/kv/range" => list(5, "h:1"),
        "/v3/watch" => pieces(vec![made(5), moved(6, "h:2") + &moved(7, "h:3")]),
        _ => Reply::silence(),
    })
    .await;
    assert_eq!(fake.said().await, "h:1");
    let (first, second) = (fake.source.next().await, fake.source.next().await);
    assert_eq!(first.seen, second.seen);
}

/// Traefik 2068, 566.
#[tokio::test]
async fn a_watch_that_falls_silent_is_made_anew_where_it_stopped() {
    let mut fake = fake(|path, before| match (path, before) {
        ("/v3/kv/range", 0) => list(5, "h:1"),
        // Half of a line, then silence.
        ("/v3/watch", 0) => pieces(vec![made(5) + &moved(6, "h:2"), moved(7, "h:3")[..40].into()]),
        ("/v3/watch", 1) => pieces(vec![made(9) + &moved(7, "h:3")]),
        ("/v3/watch", _) => pieces(vec![made(9)]),
        _ => Reply::silence(),
    })
    .await;
    for address in ["h:1", "h:2", "h:3"] {
        assert_eq!(fake.said().await, address);
    }
    assert_eq!((fake.watched_from(), fake.asked("/v3/kv/range").len()), (vec!["6".to_owned(), "7".into()], 1));
}

#[tokio::test]
async fn a_watch_that_finds_another_history_lists_anew() {
    let mut fake = fake(|path, before| match (path, before) {
        ("/v3/kv/range", 0) => list(50, "h:1"),
        ("/v3/kv/range", 1) => list(3, "h:2"),
        ("/v3/watch", 0) => pieces(vec![made(50)]),
        ("/v3/watch", _) => pieces(vec![made(3)]),
        _ => Reply::silence(),
    })
    .await;
    assert_eq!([fake.said().await, fake.said().await], ["h:1", "h:2"]);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(fake.watched_from(), ["51", "51", "4"]);
}

#[tokio::test]
async fn what_no_watch_told_is_found_by_the_list_that_is_due_from_time_to_time() {
    let mut fake = fake(|path, before| match (path, before) {
        ("/v3/kv/range", 0) => list(5, "h:1"),
        ("/v3/kv/range", _) => list(6, "h:2"),
        // Alive, and tells of nothing.
        ("/v3/watch", _) => pieces(vec![made(5)]),
        _ => Reply::silence(),
    })
    .await;
    assert_eq!(fake.said().await, "h:1");
    sleep(Duration::from_millis(100)).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    assert_eq!(fake.said().await, "h:2");
}

/// After a first list the member fails once in this way at a watch, and then does well.
async fn outage(reply: fn() -> Reply, expected: &str) {
    let mut fake = fake(move |path, before| match (path, before) {
        ("/v3/kv/range", 0) => list(5, "h:1"),
        ("/v3/kv/range", _) => list(6, "h:2"),
        ("/v3/watch", 0) => reply(),
        ("/v3/watch", _) => pieces(vec![made(6)]),
        _ => Reply::silence(),
    })
    .await;
    assert_eq!([fake.said().await, fake.said().await, fake.said().await], ["h:1", expected, "h:2"]);
}

#[tokio::test]
async fn a_watch_that_is_never_made_is_an_outage() {
    outage(Reply::silence, "unreachable: unreachable").await;
    outage(|| pieces(vec![made(5)[..20].into()]), "unreachable: unreachable").await;
}

#[tokio::test]
async fn a_watch_that_talks_garbage_is_an_outage() {
    outage(|| pieces(vec![made(5), "garbage\n".into()]), "unreachable: malformed").await;
    outage(|| Reply::ok("<html>"), "unreachable: failed").await;
    outage(|| Reply::status(502).data("<html>"), "unreachable: failed").await;
}

#[tokio::test]
async fn a_watch_that_ends_is_an_outage_and_no_empty_list() {
    outage(|| Reply::ok(made(5)), "unreachable: failed").await;
    outage(|| Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n"), "unreachable: unreachable").await;
    const ERROR: &str = "{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}\n";
    outage(|| pieces(vec![made(5), ERROR.into()]), "unreachable: failed").await;
}

/// The first list fails in this way.
async fn no_list(reply: fn() -> Reply, expected: &str) {
    let mut fake = fake(move |path, before| match (path, before) {
        ("/v3/kv/range", 0) => reply(),
        ("/v3/kv/range", _) => list(6, "h:2"),
        _ => pieces(vec![made(6)]),
    })
    .await;
    assert_eq!([fake.said().await, fake.said().await], [expected, "h:2"]);
}

#[tokio::test]
async fn a_list_that_is_none_is_an_outage() {
    no_list(Reply::silence, "unreachable: unreachable").await;
    no_list(|| Reply::raw(""), "unreachable: unreachable").await;
    no_list(|| Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"), "unreachable: unreachable").await;
    no_list(|| Reply::ok("[]"), "unreachable: malformed").await;
    no_list(|| Reply::ok("{}"), "unreachable: malformed").await;
    no_list(|| Reply::status(429).data("slow"), "unreachable: limited").await;
    no_list(|| Reply::ok(r#"{"header":{"cluster_id":"1","revision":"5"},"more":true}"#), "unreachable: malformed")
        .await;
}

#[tokio::test]
async fn of_pages_that_are_compacted_away_the_list_begins_again() {
    let page = |more: &str| {
        let key = wire::encode(b"/s/pets/0");
        let value = wire::encode(b"h:9");
        Reply::ok(format!(
            r#"{{"header":{{"cluster_id":"1","revision":"5"}},"kvs":[{{"key":"{key}","mod_revision":"5","value":"{value}"}}]{more}}}"#
        ))
    };
    let mut fake = fake(move |path, before| match (path, before) {
        ("/v3/kv/range", 0 | 2) => page(r#","more":true,"count":"2""#),
        ("/v3/kv/range", 1) => {
            Reply::status(400).data(r#"{"message":"etcdserver: mvcc: required revision has been compacted","code":11}"#)
        }
        ("/v3/kv/range", _) => list(5, "h:1"),
        _ => pieces(vec![made(5)]),
    })
    .await;
    assert_eq!(fake.said().await, "h:9 h:1");
    let pages = fake.asked("/v3/kv/range");
    assert_eq!(pages[1]["revision"], "5");
    assert_eq!(pages[1]["key"], wire::encode(b"/s/pets/0\0"));
    assert!(pages[2].get("revision").is_none());
}

#[tokio::test]
async fn a_page_that_is_repeated_ends_the_list() {
    let page = || {
        let (key, value) = (wire::encode(b"/s/pets/0"), wire::encode(b"h:9"));
        Reply::ok(format!(
            r#"{{"header":{{"cluster_id":"1","revision":"5"}},"kvs":[{{"key":"{key}","mod_revision":"5","value":"{value}"}}],"more":true}}"#
        ))
    };
    let mut fake = fake(move |path, before| match (path, before) {
        ("/v3/kv/range", 0..2) => page(),
        ("/v3/kv/range", _) => list(6, "h:2"),
        _ => pieces(vec![made(6)]),
    })
    .await;
    assert_eq!([fake.said().await, fake.said().await], ["unreachable: malformed", "h:2"]);
}

#[test]
fn of_many_errors_the_one_of_a_member_that_speaks_is_told() {
    let error = |text: &str| ProviderError::Unreachable(text.into());
    let denied = ProviderError::Denied("x".into());
    assert_eq!(telling(vec![error("a"), denied.clone(), error("b")]), denied);
    assert_eq!(telling(vec![error("a"), error("b")]), error("a"));
}
