//! Faults a real agent cannot be made to show, from a fake one. The rest is tested against real agents, in the
//! workspace's integration tests.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::settings::Span;
use model::{Exposure, Knowledge, ServiceId};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::provider::{Interest, Message};

/// What the fake says to one request.
enum Reply {
    /// 200 with this index and body.
    Answer(u64, &'static str),
    /// 200 with one more header line.
    Marked(&'static str, &'static str),
    /// Another status with a line of text.
    Status(u16, &'static str),
    /// These bytes, then the end of the connection.
    Raw(&'static str),
    /// Nothing, ever.
    Hang,
}

/// A source that watches these services at a fake agent.
struct Fake {
    updates: mpsc::Receiver<Message>,
    asked: Arc<Mutex<Vec<String>>>,
    tasks: [JoinHandle<()>; 2],
    _interest: watch::Sender<Arc<Interest>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

const A: &str = r#"[{"Node":{"Node":"n","Address":"10.0.0.1"},"Service":{"ID":"a","Port":1},"Checks":[]}]"#;
const B: &str = r#"[{"Node":{"Node":"n","Address":"10.0.0.1"},"Service":{"ID":"b","Port":1},"Checks":[]}]"#;

/// `say` is given the request's path and how many requests for services came before.
async fn fake(services: usize, say: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let (log, say) = (Arc::clone(&asked), Arc::new(say));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&say)));
        }
    });
    let (sender, updates) = mpsc::channel(64);
    let names = (0..services).map(|n| ServiceId::new(&format!("pets{n}")).unwrap()).collect();
    let (interest, interested) = watch::channel(Arc::new(Interest { services: names, exposure: Exposure::Routed }));
    let feed = Feed::to_reconciler(0, sender, interested);
    let mut consul = Consul::new(Settings { wait: Span::from_secs(1), ..Settings::new(url) }).unwrap();
    let source = tokio::spawn(async move { drop(consul.watch(&feed).await) });
    Fake { updates, asked, tasks: [server, source], _interest: interest }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<String>>>, say: Arc<impl Fn(&str, usize) -> Reply>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let path = String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned();
        let before = {
            let mut log = log.lock().unwrap();
            let before = log.iter().filter(|path| path.contains("/pets")).count();
            log.push(path.clone());
            before
        };
        let text = match say(&path, before) {
            Reply::Answer(index, body) => {
                format!("HTTP/1.1 200 OK\r\nx-consul-index: {index}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            }
            Reply::Marked(line, body) => {
                format!(
                    "HTTP/1.1 200 OK\r\nx-consul-index: 9\r\n{line}\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
            Reply::Status(status, text) => {
                format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{text}", text.len())
            }
            Reply::Raw(text) => return drop(stream.write_all(text.as_bytes()).await),
            Reply::Hang => return std::future::pending().await,
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Fake {
    async fn next(&mut self) -> Update {
        timeout(Duration::from_secs(20), self.updates.recv()).await.expect("an update in time").unwrap().update
    }

    /// The next update in short: ids of the instances, or the reason for not knowing.
    async fn said(&mut self) -> String {
        match self.next().await {
            Update::Service { knowledge: Knowledge::Known(list), .. } => {
                list.iter().map(|i| i.id.as_str()).collect::<Vec<_>>().join(" ")
            }
            Update::Service { knowledge: Knowledge::KnownEmpty, .. } => "empty".into(),
            Update::Service { knowledge: Knowledge::Unknown(error), .. } => format!("unknown: {}", error.reason()),
            Update::Unreachable(error) => format!("unreachable: {}", error.reason()),
            Update::Skipped { reason, .. } => format!("skipped: {reason}"),
            Update::Everything(_) => "everything".into(),
            Update::Forgotten(service) => format!("forgotten {service}"),
            Update::Catalogue(services) => format!("catalogue of {}", services.len()),
        }
    }

    /// Indexes of the questions about services, `None` for those that do not block.
    fn indexes(&self) -> Vec<Option<u64>> {
        let asked = self.asked.lock().unwrap();
        let index = |path: &String| path.split("index=").nth(1)?.split('&').next()?.parse().ok();
        asked.iter().filter(|path| path.contains("/health/service/pets")).map(index).collect()
    }
}

/// Everything works that is not about a service of ours; what that gets is said by `pets`.
fn otherwise(path: &str, pets: impl FnOnce() -> Reply) -> Reply {
    if path.starts_with("/v1/health/service/consul") {
        Reply::Answer(1, "[]")
    } else if path.starts_with("/v1/agent/health") {
        Reply::Status(404, "[]")
    } else if path.starts_with("/v1/catalog/nodes") {
        Reply::Answer(1, "[{}]")
    } else {
        pets()
    }
}

#[tokio::test]
async fn an_index_that_goes_back_starts_the_watch_anew() {
    let mut fake = fake(1, |path, before| {
        otherwise(path, || match before {
            0 => Reply::Answer(10, A),
            1 => Reply::Answer(5, "[]"),
            2 => Reply::Answer(6, B),
            _ => Reply::Hang,
        })
    })
    .await;
    assert_eq!(fake.said().await, "a@n");
    assert_eq!(fake.said().await, "b@n");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(fake.indexes(), [None, Some(10), None, Some(6)]);
}

#[tokio::test]
async fn an_agent_that_never_blocks_is_not_flooded() {
    let mut fake = fake(1, |path, _| otherwise(path, || Reply::Answer(7, A))).await;
    assert_eq!(fake.said().await, "a@n");
    let begun = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let allowed = 12 + begun.elapsed().as_millis() / 100;
    assert!(fake.indexes().len() as u128 <= allowed, "{}", fake.indexes().len());
    assert!(fake.updates.try_recv().is_err(), "the same list is said once");
}

/// After a first list the agent fails so often in this way; the source says so once and then goes on.
async fn outage(times: usize, reply: fn() -> Reply, expected: &str) {
    let say = move |path: &str, before| {
        otherwise(path, || match before {
            0 => Reply::Answer(10, A),
            n if n <= times => reply(),
            _ => Reply::Answer(11, B),
        })
    };
    let mut fake = fake(1, say).await;
    assert_eq!([fake.said().await, fake.said().await, fake.said().await], ["a@n", expected, "b@n"]);
}

#[tokio::test]
async fn a_hung_agent_is_unreachable() {
    outage(1, || Reply::Hang, "unreachable: unreachable").await;
}

#[tokio::test]
async fn a_cut_answer_is_an_outage_and_no_list() {
    outage(1, || Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n["), "unreachable: unreachable").await;
}

#[tokio::test]
async fn an_agent_that_turns_us_away_limits_us() {
    outage(1, || Reply::Status(429, "too many"), "unreachable: limited").await;
    // Twice, because a kept connection that was closed is tried again on a new one.
    outage(2, || Reply::Raw(""), "unreachable: limited").await;
}

#[tokio::test]
async fn garbage_concerns_one_service_only() {
    let mut fake = fake(2, |path, _| {
        otherwise(path, || match (path.contains("pets0"), path.contains("index=")) {
            (true, _) => Reply::Answer(3, r#"{"not":"a list"}"#),
            (false, false) => Reply::Answer(3, A),
            (false, true) => Reply::Hang,
        })
    })
    .await;
    let mut said = [fake.said().await, fake.said().await];
    said.sort();
    assert_eq!(said, ["a@n", "unknown: malformed"]);
}

#[tokio::test]
async fn one_server_error_with_a_good_canary_is_no_outage() {
    let mut fake = fake(1, |path, before| {
        otherwise(path, || match before {
            0 => Reply::Answer(10, A),
            1 => Reply::Status(500, "rpc error making call: EOF"),
            2 => Reply::Answer(12, B),
            _ => Reply::Hang,
        })
    })
    .await;
    assert_eq!([fake.said().await, fake.said().await, fake.said().await], ["a@n", "unknown: failed", "b@n"]);
}

#[tokio::test]
async fn in_an_outage_one_question_is_asked_for_all_services() {
    let broken = Arc::new(AtomicBool::new(false));
    let down = Arc::clone(&broken);
    let mut fake = fake(20, move |path, _| {
        let blocked = path.contains("index=");
        if down.load(Ordering::SeqCst) {
            return Reply::Status(500, "No cluster leader");
        }
        otherwise(path, || Reply::Answer(if blocked { 11 } else { 10 }, A))
    })
    .await;
    for _ in 0..20 {
        assert_eq!(fake.said().await, "a@n");
    }
    broken.store(true, Ordering::SeqCst);
    while fake.said().await != "unreachable: failed" {}
    // Questions that were on their way when their watches ended may still come in before the first canary.
    assert_eq!(fake.said().await, "unreachable: failed");
    fake.asked.lock().unwrap().clear();
    for _ in 0..3 {
        assert_eq!(fake.said().await, "unreachable: failed");
    }
    let asked = fake.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|path| path.starts_with("/v1/health/service/consul")), "{asked:?}");
    assert!((3..=4).contains(&asked.len()), "{asked:?}");
    broken.store(false, Ordering::SeqCst);
    while fake.said().await != "a@n" {}
}

#[tokio::test]
async fn a_list_that_access_control_shortened_is_told() {
    let line = "x-consul-results-filtered-by-acls: true";
    let mut some =
        fake(1, move |path, before| otherwise(path, || if before == 0 { Reply::Marked(line, A) } else { Reply::Hang }))
            .await;
    assert!(some.said().await.starts_with("skipped: Consul left out"));
    assert_eq!(some.said().await, "a@n");
    let mut none = fake(1, move |path, _| otherwise(path, || Reply::Marked(line, "[]"))).await;
    assert_eq!(none.said().await, "unknown: denied");
}

#[tokio::test]
async fn an_empty_list_without_the_right_to_read_is_not_believed() {
    let mut service = fake(1, |path, _| match path {
        path if path.starts_with("/v1/agent/health") => Reply::Status(403, "Permission denied"),
        path => otherwise(path, || Reply::Answer(3, "[]")),
    })
    .await;
    assert_eq!(service.said().await, "unknown: denied");
    let mut nodes = fake(1, |path, _| match path {
        path if path.starts_with("/v1/catalog/nodes") => Reply::Answer(3, "[]\n"),
        path => otherwise(path, || Reply::Answer(3, "[]")),
    })
    .await;
    assert_eq!(nodes.said().await, "unknown: denied");
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
        otherwise(path, || Reply::Answer(3, "[]"))
    })
    .await;
    let message = fake.updates.recv().await.unwrap();
    assert!(matches!(message.update, Update::Service { knowledge: Knowledge::KnownEmpty, .. }));
    assert!(message.seen <= asked.lock().unwrap().unwrap());
}

#[tokio::test]
async fn an_empty_list_is_not_believed_while_the_right_to_read_cannot_be_told() {
    let mut fake = fake(1, |path, _| match path {
        path if path.starts_with("/v1/agent/health") => Reply::Status(500, "ACL resolution failed"),
        path => otherwise(path, || Reply::Answer(3, "[]")),
    })
    .await;
    assert_eq!(fake.said().await, "unknown: failed");
}

#[tokio::test]
async fn with_many_services_a_changed_check_reads_its_service_and_no_other() {
    let failing = Arc::new(AtomicBool::new(false));
    let (now, read) = (Arc::clone(&failing), When::default());
    let when = Arc::clone(&read);
    let mut fake = fake(life::CONNECTIONS, move |path, _| match path {
        path if path.contains("/v1/health/state/any") && !path.contains("index=") => Reply::Answer(2, "[]"),
        path if path.contains("/v1/health/state/any?stale&index=2") && now.load(Ordering::SeqCst) => {
            Reply::Answer(3, r#"[{"Node":"n","CheckID":"c","Status":"passing","ServiceName":"pets7"}]"#)
        }
        path if path.contains("/v1/health/state/any?stale&index=2") => Reply::Answer(2, "[]"),
        path if path.starts_with("/v1/catalog/services") && !path.contains("index=") => Reply::Answer(2, "{}"),
        path if path.contains("index=") => Reply::Hang,
        path => otherwise(path, || {
            if now.load(Ordering::SeqCst) {
                when.lock().unwrap().get_or_insert_with(tokio::time::Instant::now);
            }
            Reply::Answer(2, if now.load(Ordering::SeqCst) { B } else { A })
        }),
    })
    .await;
    for _ in 0..life::CONNECTIONS {
        assert_eq!(fake.said().await, "a@n");
    }
    // The catalogue's first answer may read everything once more.
    tokio::time::sleep(Duration::from_millis(300)).await;
    fake.asked.lock().unwrap().clear();
    failing.store(true, Ordering::SeqCst);
    let message = fake.updates.recv().await.unwrap();
    assert!(
        matches!(&message.update, Update::Service { knowledge: Knowledge::Known(list), .. } if list[0].id.as_str() == "b@n")
    );
    assert!(message.seen <= read.lock().unwrap().unwrap(), "the word was that of the check");
    let asked = fake.asked.lock().unwrap().clone();
    let about: Vec<_> = asked.iter().filter(|path| path.contains("/pets")).collect();
    assert_eq!(about, ["/v1/health/service/pets7?stale"]);
}

#[tokio::test]
async fn with_many_services_all_are_read_from_time_to_time() {
    let moved = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&moved);
    let mut fake = fake(life::CONNECTIONS, move |path, _| match path {
        // Nothing is told of any change.
        path if path.contains("/v1/health/state/any") => Reply::Answer(2, "[]"),
        path if path.starts_with("/v1/catalog/services") => Reply::Answer(2, "{}"),
        path => otherwise(path, || Reply::Answer(2, if now.load(Ordering::SeqCst) { B } else { A })),
    })
    .await;
    for _ in 0..life::CONNECTIONS {
        assert_eq!(fake.said().await, "a@n");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    moved.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(fake.updates.try_recv().is_err(), "it is not read without need");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
    assert_eq!(fake.said().await, "b@n");
}
