//! Recorded exchanges with an API server of Kubernetes 1.36, played again: see `tests/fixtures/kubernetes`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use model::{Knowledge, ProviderError, Standing, Update};
use serde::Deserialize;
use testkit::{Instance, Reply, Seen};

use super::rig::{kubeconfig, settings, source};
use crate::source::{Source, named};

/// One recorded exchange.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Exchange {
    name: String,
    status: u16,
    headers: Vec<(String, String)>,
    #[serde(default)]
    pub(super) body: String,
    /// Of a watch, as they came.
    #[serde(default)]
    chunks: Option<Vec<String>>,
    end: String,
}

pub(super) fn recorded(name: &str) -> Exchange {
    let all = include_str!("../../fixtures/kubernetes/exchanges.jsonl");
    let mut all = all.lines().map(|line| serde_json::from_str::<Exchange>(line).unwrap());
    all.find(|exchange| exchange.name == name).unwrap_or_else(|| panic!("no exchange {name:?}"))
}

/// A source in front of a server that answers lists and watches with these exchanges, in this order. After the last,
/// lists are answered as before, and watches stay silent.
struct Replay {
    source: Source,
    server: Instance,
    _kubeconfig: Arc<tempfile::NamedTempFile>,
}

#[derive(Debug, Default)]
struct Script {
    lists: VecDeque<Exchange>,
    watches: VecDeque<Exchange>,
}

impl Script {
    fn next(&mut self, seen: &Seen) -> Option<Exchange> {
        if seen.uri.query().is_some_and(|query| query.contains("watch=1")) {
            return self.watches.pop_front();
        }
        if self.lists.len() > 1 { self.lists.pop_front() } else { self.lists.front().cloned() }
    }
}

async fn replay(lists: &[&str], watches: &[&str], services: &[&str]) -> Replay {
    let all = |names: &[&str]| names.iter().map(|name| recorded(name)).collect();
    let script = Mutex::new(Script { lists: all(lists), watches: all(watches) });
    let silent = || Reply::status(200).hang();
    let server = Instance::http().answer(move |seen| script.lock().unwrap().next(seen).map_or_else(silent, played));
    let server = server.start().await;
    let file = kubeconfig(&server.url(), "insecure-skip-tls-verify: false", "token: t", "default");
    let source = source(settings(file.path()), named(services));
    Replay { source, server, _kubeconfig: file }
}

fn played(exchange: Exchange) -> Reply {
    let fields = exchange.headers.iter();
    let head = fields.fold(Reply::status(exchange.status), |reply, (name, value)| reply.header(name, value));
    let reply = match exchange.chunks {
        // Its length is not known beforehand.
        Some(chunks) => chunks.into_iter().fold(head.wait(Duration::ZERO), Reply::data),
        None => head.data(exchange.body),
    };
    if exchange.end == "clean" { reply } else { reply.close() }
}

impl Replay {
    /// What was asked, without what all questions have in common.
    fn asked(&self) -> Vec<String> {
        self.server.seen().iter().map(|seen| seen.uri.query().unwrap_or_default().to_owned()).collect()
    }

    /// The next list said of a service, in short.
    async fn list(&mut self, name: &str) -> String {
        self.source
            .until(name, |update| match update {
                Update::Service { service, knowledge, .. } if service.as_str() == name => Some(match knowledge {
                    Knowledge::Known(list) | Knowledge::Part(list) => {
                        let drains = |standing| if standing == Standing::Draining { " drains" } else { "" };
                        let one = |i: &Arc<model::Instance>| format!("{}{}", i.endpoint.address, drains(i.standing));
                        list.iter().map(one).collect::<Vec<_>>().join(", ")
                    }
                    Knowledge::KnownEmpty => "empty".into(),
                    Knowledge::Unknown(error) => error.to_string(),
                }),
                Update::Unreachable(error) => panic!("{error}"),
                _ => None,
            })
            .await
    }

    async fn outage(&mut self) -> ProviderError {
        self.source.until("an outage", |u| if let Update::Unreachable(e) = u { Some(e) } else { None }).await
    }
}

const WEB: &str = "10.1.0.1:8443, 10.1.0.2:8443, 10.1.0.3:8443, 10.1.0.4:8443 drains, 10.1.0.9:8080, [fd00::1]:8443, \
                   backend.example.com:8443";

#[tokio::test]
async fn a_list_of_every_kind_of_slice_is_read() {
    let mut replay = replay(&["list"], &[], &["web", "orders"]).await;
    assert_eq!(replay.list("web").await, WEB);
    let mut pages =
        self::replay(&["chunked list, page 1", "chunked list, page 2", "chunked list, page 3"], &[], &["web"]).await;
    assert_eq!(pages.list("web").await, WEB);
    let asked = pages.asked();
    assert!(asked[0] == "limit=500" && asked[1].starts_with("limit=500&continue=eyJ"), "{asked:?}");
}

#[tokio::test]
async fn an_empty_list_is_empty() {
    assert_eq!(replay(&["empty list"], &[], &["web"]).await.list("web").await, "empty");
}

#[tokio::test]
async fn a_watch_is_followed_to_its_end_and_renewed_there() {
    let mut replay = replay(&["empty list"], &["watch"], &["api"]).await;
    assert_eq!(replay.list("api").await, "empty");
    // What comes in one piece may be said in one: the last word counts, and every word was true.
    let all = [
        "10.3.0.1:8443",
        "10.3.0.1:8443, 10.3.0.2:8443",
        "10.3.0.1:8443 drains, 10.3.0.2:8443",
        "10.3.0.2:8443",
        "empty",
    ];
    let mut at = 0;
    loop {
        let said = replay.list("api").await;
        at += all[at..].iter().position(|word| *word == said).unwrap_or_else(|| panic!("{said} after {at}"));
        if said == "empty" {
            break;
        }
    }
    while replay.asked().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(replay.asked()[2].contains("resourceVersion=240"), "{:?}", replay.asked());
}

/// linkerd 11480.
#[tokio::test]
async fn a_version_that_is_too_old_is_followed_by_a_new_list() {
    let mut watch = replay(&["empty list", "list after 410"], &["old watch"], &["sel-a"]).await;
    assert_eq!(watch.list("sel-a").await, "empty");
    assert_eq!(watch.list("sel-a").await, "10.4.0.1:8443");

    let lists = ["chunked list, page 1", "old continue token", "list after 410"];
    let mut pages = replay(&lists, &[], &["sel-a"]).await;
    assert_eq!(pages.list("sel-a").await, "10.4.0.1:8443");
    assert_eq!(pages.asked()[2], "", "all on one page");
}

#[tokio::test]
async fn refusals_are_told_apart_and_end() {
    for (name, reason, part) in [
        ("invalid token", "denied", "does not know the token"),
        ("no token", "denied", "no token or certificate was presented"),
        // Its token was good until then; who cached that may say yes for ten seconds more.
        ("token of a deleted account", "denied", "does not know the token"),
        // In its first second a server knows no rights, and refuses everybody.
        ("just started", "denied", "cannot list resource"),
        ("list not allowed", "denied", "cannot list resource \"endpointslices\""),
        ("too many requests", "limited", "try again later"),
        ("bad label selector", "malformed", "expected: !, identifier"),
    ] {
        let mut replay = replay(&[name, "list"], &[], &["orders"]).await;
        let error = replay.outage().await;
        assert!(error.reason() == reason && error.to_string().contains(part), "{name}: {error}");
        assert_eq!(replay.list("orders").await, "10.2.0.1:8443");
    }
}

#[tokio::test]
async fn a_watch_that_is_refused_or_crashes_keeps_the_list() {
    for (name, reason) in [("watch not allowed", "denied"), ("crash", "unreachable")] {
        let mut replay = replay(&["list"], &[name], &["orders"]).await;
        assert_eq!(replay.list("orders").await, "10.2.0.1:8443");
        assert_eq!(replay.outage().await.reason(), reason);
        assert_eq!(replay.list("orders").await, "10.2.0.1:8443");
    }
}

/// A server that is told to end (SIGTERM) ends its watches as if their time were over.
#[tokio::test]
async fn a_watch_that_ends_with_its_server_is_no_outage_and_is_not_trusted() {
    let mut replay = replay(&["empty list", "list"], &["termination"], &["orders"]).await;
    assert_eq!(replay.list("orders").await, "empty");
    assert_eq!(replay.list("orders").await, "10.2.0.1:8443", "listed anew");
}

/// Once a minute, and before its end, a server says how far a watch is in which nothing happens.
#[tokio::test]
async fn bookmarks_alone_carry_a_quiet_watch_on() {
    for (watch, version) in [("quiet watch", "299"), ("watch by selector", "248")] {
        let mut replay = replay(&["list after 410"], &[watch], &["sel-a"]).await;
        assert_eq!(replay.list("sel-a").await, "10.4.0.1:8443");
        testkit::until("the next watch", async || replay.asked(), |asked| asked.len() >= 3).await;
        let asked = replay.asked();
        assert!(asked[2].contains("watch=1") && asked[2].contains(&format!("resourceVersion={version}")), "{asked:?}");
    }
}

#[tokio::test]
async fn a_version_of_the_future_does_not_silence_the_source() {
    // Such a watch ends well and says nothing, not even a bookmark: a restored server would go on like this for ever.
    let mut replay = replay(&["empty list", "list"], &["watch of the future"], &["orders"]).await;
    assert_eq!(replay.list("orders").await, "empty");
    assert_eq!(replay.list("orders").await, "10.2.0.1:8443");
}
