//! Faults a real agent cannot be made to show, from a fake one. The rest is tested against real agents, in the
//! workspace's integration tests.

mod sweep;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ::settings::Span;
use model::{Exposure, Knowledge};
use testkit::{Instance, Reply};

use super::*;
use crate::provider::{
    Interest,
    testing::{Source, routed},
};

/// A source that watches these services at a fake agent.
struct Fake {
    source: Source,
    agent: Instance,
}

const A: &str = r#"[{"Node":{"Node":"n","Address":"10.0.0.1"},"Service":{"ID":"a","Port":1},"Checks":[]}]"#;
const B: &str = r#"[{"Node":{"Node":"n","Address":"10.0.0.1"},"Service":{"ID":"b","Port":1},"Checks":[]}]"#;

/// `say` is given the request's path and how many requests for services came before.
async fn fake(services: usize, say: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Fake {
    let before = AtomicUsize::new(0);
    let agent = Instance::http().answer(move |seen| {
        let path = seen.uri.to_string();
        let about_services = usize::from(path.contains("/pets"));
        say(&path, before.fetch_add(about_services, Ordering::SeqCst))
    });
    let agent = agent.start().await;
    let names: Vec<_> = (0..services).map(|n| format!("pets{n}")).collect();
    let settings = Settings { wait: Span::from_secs(1), ..Settings::new(agent.url()) };
    let source = Source::start(Consul::new(settings).unwrap(), routed(names.iter().map(String::as_str)));
    Fake { source, agent }
}

/// 200 with this index and body.
fn answer(index: u64, body: &'static str) -> Reply {
    Reply::status(200).header("x-consul-index", &index.to_string()).data(body)
}

/// The same, of which access control left something out.
fn filtered(body: &'static str) -> Reply {
    Reply::status(200).header("x-consul-index", "9").header("x-consul-results-filtered-by-acls", "true").data(body)
}

impl Fake {
    /// The next update in short.
    async fn said(&mut self) -> String {
        self.source.said(|instance| instance.id.to_string()).await
    }

    /// Paths with queries, in order.
    fn asked(&self) -> Vec<String> {
        self.agent.seen().iter().map(|seen| seen.uri.to_string()).collect()
    }

    /// Indexes of the questions about services, `None` for those that do not block.
    fn indexes(&self) -> Vec<Option<u64>> {
        let index = |path: &String| path.split("index=").nth(1)?.split('&').next()?.parse().ok();
        self.asked().iter().filter(|path| path.contains("/health/service/pets")).map(index).collect()
    }
}

/// Everything works that is not about a service of ours; what that gets is said by `pets`.
fn otherwise(path: &str, pets: impl FnOnce() -> Reply) -> Reply {
    if path.starts_with("/v1/health/service/consul") {
        answer(1, "[]")
    } else if path.starts_with("/v1/agent/health") {
        Reply::status(404).data("[]")
    } else if path.starts_with("/v1/catalog/nodes") {
        answer(1, "[{}]")
    } else {
        pets()
    }
}

/// light-4j 726.
#[tokio::test]
async fn an_index_that_goes_back_starts_the_watch_anew() {
    let mut fake = fake(1, |path, before| {
        otherwise(path, || match before {
            0 => answer(10, A),
            1 => answer(5, "[]"),
            2 => answer(6, B),
            _ => Reply::silence(),
        })
    })
    .await;
    assert_eq!(fake.said().await, "a@n");
    assert_eq!(fake.said().await, "b@n");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(fake.indexes(), [None, Some(10), None, Some(6)]);
}

/// Traefik 8207.
#[tokio::test]
async fn an_agent_that_never_blocks_is_not_flooded() {
    let mut fake = fake(1, |path, _| otherwise(path, || answer(7, A))).await;
    assert_eq!(fake.said().await, "a@n");
    let begun = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let allowed = 12 + begun.elapsed().as_millis() / 100;
    assert!(fake.indexes().len() as u128 <= allowed, "{}", fake.indexes().len());
    assert!(fake.source.updates.try_recv().is_err(), "the same list is said once");
}

/// After a first list the agent fails so often in this way; the source says so once and then goes on.
async fn outage(times: usize, reply: fn() -> Reply, expected: &str) {
    let say = move |path: &str, before| {
        otherwise(path, || match before {
            0 => answer(10, A),
            n if n <= times => reply(),
            _ => answer(11, B),
        })
    };
    let mut fake = fake(1, say).await;
    assert_eq!([fake.said().await, fake.said().await, fake.said().await], ["a@n", expected, "b@n"]);
}

/// Fabio 481.
/// light-4j 1503, 1304.
#[tokio::test]
async fn a_hung_agent_is_unreachable() {
    outage(1, Reply::silence, "unreachable: unreachable").await;
}

/// light-4j 1503, 1304.
#[tokio::test]
async fn a_cut_answer_is_an_outage_and_no_list() {
    outage(1, || Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n["), "unreachable: unreachable").await;
}

#[tokio::test]
async fn an_agent_that_turns_us_away_limits_us() {
    outage(1, || Reply::status(429).data("too many"), "unreachable: limited").await;
    // Twice, because a kept connection that was closed is tried again on a new one.
    outage(2, || Reply::raw(""), "unreachable: limited").await;
}

#[tokio::test]
async fn garbage_concerns_one_service_only() {
    let mut fake = fake(2, |path, _| {
        otherwise(path, || match (path.contains("pets0"), path.contains("index=")) {
            (true, _) => answer(3, r#"{"not":"a list"}"#),
            (false, false) => answer(3, A),
            (false, true) => Reply::silence(),
        })
    })
    .await;
    let mut said = [fake.said().await, fake.said().await];
    said.sort();
    assert_eq!(said, ["a@n", "unknown: malformed"]);
}

#[tokio::test]
async fn server_errors_with_a_good_canary_are_no_outage_and_one_is_no_doubt() {
    for (errors, expected) in [(1, &["a@n", "b@n"][..]), (2, &["a@n", "unknown: failed", "b@n"])] {
        let mut fake = fake(1, move |path, before| {
            otherwise(path, || match before {
                0 => answer(10, A),
                n if n <= errors => Reply::status(500).data("rpc error making call: EOF"),
                n if n == errors + 1 => answer(12, B),
                _ => Reply::silence(),
            })
        })
        .await;
        for said in expected {
            assert_eq!(fake.said().await, *said);
        }
    }
}

#[tokio::test]
async fn many_errors_at_once_ask_for_few_canaries() {
    let mut fake = fake(50, |path, _| otherwise(path, || Reply::status(500).data("rpc error"))).await;
    for _ in 0..50 {
        assert_eq!(fake.said().await, "unknown: failed");
    }
    let canaries = fake.asked().iter().filter(|path| path.starts_with("/v1/health/service/consul")).count();
    // The first of the life, and one for all that failed while another one was asked.
    assert!(canaries < 25, "{canaries}");
}

/// Fabio 764.
#[tokio::test]
async fn in_an_outage_one_question_is_asked_for_all_services() {
    let broken = Arc::new(AtomicBool::new(false));
    let down = Arc::clone(&broken);
    let mut fake = fake(20, move |path, _| {
        let blocked = path.contains("index=");
        if down.load(Ordering::SeqCst) {
            return Reply::status(500).data("No cluster leader");
        }
        otherwise(path, || answer(if blocked { 11 } else { 10 }, A))
    })
    .await;
    for _ in 0..20 {
        assert_eq!(fake.said().await, "a@n");
    }
    broken.store(true, Ordering::SeqCst);
    while fake.said().await != "unreachable: failed" {}
    // Questions that were on their way when their watches ended may still come in before the first canary.
    assert_eq!(fake.said().await, "unreachable: failed");
    let before = fake.asked().len();
    for _ in 0..3 {
        assert_eq!(fake.said().await, "unreachable: failed");
    }
    let asked = fake.asked().split_off(before);
    assert!(asked.iter().all(|path| path.starts_with("/v1/health/service/consul")), "{asked:?}");
    assert!((3..=4).contains(&asked.len()), "{asked:?}");
    broken.store(false, Ordering::SeqCst);
    while fake.said().await != "a@n" {}
}

#[tokio::test]
async fn a_list_that_access_control_shortened_is_told() {
    let mut some =
        fake(1, move |path, before| otherwise(path, || if before == 0 { filtered(A) } else { Reply::silence() })).await;
    assert!(some.said().await.starts_with("skipped: Consul left out"));
    assert_eq!(some.said().await, "part: a@n");
    let mut none = fake(1, move |path, _| otherwise(path, || filtered("[]"))).await;
    assert_eq!(none.said().await, "unknown: denied");
}

#[tokio::test]
async fn a_part_of_a_list_is_said_as_such_also_by_a_watch_that_begins_anew() {
    let say = |before| match before {
        0 => answer(8, A),
        1 => filtered(A),
        // The agent is lost, and the next life begins with a part.
        2 => Reply::status(500),
        3 => filtered(B),
        4 => answer(12, B),
        _ => Reply::silence(),
    };
    let mut fake = fake(1, move |path, before| otherwise(path, || say(before))).await;
    let mut said = Vec::new();
    while said.last().is_none_or(|word| word != "b@n") {
        let word = fake.said().await;
        said.extend((!word.starts_with("skipped") && !word.starts_with("un")).then_some(word));
    }
    assert_eq!(said, ["a@n", "part: a@n", "part: b@n", "b@n"]);
}

#[tokio::test]
async fn an_empty_list_without_the_right_to_read_is_not_believed() {
    let mut service = fake(1, |path, _| match path {
        path if path.starts_with("/v1/agent/health") => Reply::status(403).data("Permission denied"),
        path => otherwise(path, || answer(3, "[]")),
    })
    .await;
    assert_eq!(service.said().await, "unknown: denied");
    let mut nodes = fake(1, |path, _| match path {
        path if path.starts_with("/v1/catalog/nodes") => answer(3, "[]\n"),
        path => otherwise(path, || answer(3, "[]")),
    })
    .await;
    assert_eq!(nodes.said().await, "unknown: denied");
}

#[tokio::test]
async fn a_right_that_is_taken_away_later_is_missed_too() {
    let (taken, nodes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (now, asked) = (Arc::clone(&taken), Arc::clone(&nodes));
    let mut fake = fake(2, move |path, _| {
        let taken = now.load(Ordering::SeqCst);
        match path {
            path if path.starts_with("/v1/catalog/nodes") => {
                asked.fetch_add(1, Ordering::SeqCst);
                answer(3, if taken { "[]" } else { "[{}]" })
            }
            path if path.contains("/pets0") && !taken => otherwise(path, || answer(3, A)),
            path if path.contains("/pets1") && path.contains("index=") => Reply::silence(),
            path => otherwise(path, || answer(4, "[]")),
        }
    })
    .await;
    let mut said = [fake.said().await, fake.said().await];
    said.sort();
    assert_eq!(said, ["a@n", "empty"]);
    taken.store(true, Ordering::SeqCst);
    assert_eq!(fake.said().await, "unknown: denied");
    assert!(nodes.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn what_leaves_the_catalogue_while_nobody_could_read_it_is_told() {
    let (left, gone) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let now = Arc::clone(&left);
    let mut fake = fake(0, move |path, _| match path {
        path if path.starts_with("/v1/catalog/services") => match (path.contains("index="), now.load(Ordering::SeqCst))
        {
            (true, true) if gone.swap(true, Ordering::SeqCst) => Reply::silence(),
            (_, true) => answer(3, r#"{"consul":[]}"#),
            (_, false) => answer(2, r#"{"consul":[],"pets0":[]}"#),
        },
        path if path.contains("/pets0") => Reply::status(403).data("Permission denied"),
        path => otherwise(path, Reply::silence),
    })
    .await;
    let prefix = Exposure::Matching { services: BTreeSet::new(), prefixes: vec!["pets".into()], tags: BTreeSet::new() };
    fake.source.wants(Interest { exposure: prefix, ..Interest::default() });
    assert_eq!([fake.said().await, fake.said().await], ["catalogue of 1", "unknown: denied"]);
    left.store(true, Ordering::SeqCst);
    assert_eq!(fake.said().await, "catalogue of 0");
}

/// When the fake was asked for something, set once.
type When = Arc<Mutex<Option<tokio::time::Instant>>>;

#[tokio::test]
async fn a_change_counts_from_its_answer_and_not_from_what_is_asked_because_of_it() {
    let asked = When::default();
    let when = Arc::clone(&asked);
    let mut fake = fake(1, move |path, _| {
        if path.starts_with("/v1/agent/health") {
            when.lock().unwrap().get_or_insert_with(tokio::time::Instant::now);
        }
        otherwise(path, || answer(3, "[]"))
    })
    .await;
    let message = fake.source.next().await;
    assert!(matches!(message.update, Update::Service { knowledge: Knowledge::KnownEmpty, .. }));
    assert!(message.seen <= asked.lock().unwrap().unwrap());
}

#[tokio::test]
async fn an_empty_list_is_not_believed_while_the_right_to_read_cannot_be_told() {
    let mut fake = fake(1, |path, _| match path {
        path if path.starts_with("/v1/agent/health") => Reply::status(500).data("ACL resolution failed"),
        path => otherwise(path, || answer(3, "[]")),
    })
    .await;
    assert_eq!(fake.said().await, "unknown: failed");
}
