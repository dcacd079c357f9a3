//! Faults a real member cannot be made to show, from a fake one. The rest is tested against real members, in the
//! workspace's integration tests.

mod leases;

use std::sync::{Arc, Mutex};

use ::settings::Span;
use model::{Exposure, Knowledge, ServiceId};
use serde_json::Value;
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
    /// 200 with this body.
    Json(String),
    /// Another status with this body.
    Refused(u16, &'static str),
    /// 200, these pieces of a body one by one, then nothing more.
    Pieces(Vec<String>),
    /// These bytes, then the end of the connection.
    Raw(&'static str),
    /// Nothing, ever.
    Hang,
}

/// A request: its path and body.
type Asked = (String, Value);

/// A source that watches `pets` at a fake member.
struct Fake {
    updates: mpsc::Receiver<Message>,
    asked: Arc<Mutex<Vec<Asked>>>,
    tasks: [JoinHandle<()>; 2],
    _interest: watch::Sender<Arc<Interest>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// `say` is given the request's path and how many for that path came before.
async fn fake(say: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let (log, say) = (Arc::clone(&asked), Arc::new(say));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&say)));
        }
    });
    let (sender, updates) = mpsc::channel(64);
    let services = [ServiceId::new("pets").unwrap()].into();
    let (interest, interested) = watch::channel(Arc::new(Interest { services, exposure: Exposure::Routed }));
    let feed = Feed::to_reconciler(0, sender, interested);
    let settings = Settings { wait: Span::from_secs(1), prefix: "/s".into(), ..Settings::new([url]) };
    let mut etcd = Etcd::new(settings).unwrap();
    let source = tokio::spawn(async move { drop(Provider::watch(&mut etcd, &feed).await) });
    Fake { updates, asked, tasks: [server, source], _interest: interest }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<Asked>>>, say: Arc<impl Fn(&str, usize) -> Reply>) {
    while let Some((path, body)) = request(&mut stream).await {
        let before = {
            let mut log = log.lock().unwrap();
            let before = log.iter().filter(|(other, _)| *other == path).count();
            log.push((path.clone(), body));
            before
        };
        let sent = match say(&path, before) {
            Reply::Json(body) => stream.write_all(answer(200, &body).as_bytes()).await,
            Reply::Refused(status, body) => stream.write_all(answer(status, body).as_bytes()).await,
            Reply::Pieces(pieces) => {
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await);
                for piece in pieces {
                    drop(stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await);
                    sleep(Duration::from_millis(20)).await;
                }
                return std::future::pending().await;
            }
            Reply::Raw(text) => return drop(stream.write_all(text.as_bytes()).await),
            Reply::Hang => return std::future::pending().await,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn request(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.contains("grpc-metadata-hasleader: true"), "{head}");
    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head.split(' ').nth(1).unwrap().to_owned(), serde_json::from_slice(&body).unwrap()))
}

impl Fake {
    /// The next update in short; the word about the catalogue is passed over.
    async fn said(&mut self) -> String {
        loop {
            let update = timeout(Duration::from_secs(20), self.updates.recv()).await.expect("an update in time");
            return match update.unwrap().update {
                Update::Catalogue(_) => continue,
                Update::Service { knowledge: Knowledge::Known(list), .. } => {
                    list.iter().map(|i| i.endpoint.address.to_string()).collect::<Vec<_>>().join(" ")
                }
                Update::Service { knowledge: Knowledge::KnownEmpty, .. } => "empty".into(),
                Update::Service { knowledge: Knowledge::Unknown(error), .. } => format!("unknown: {}", error.reason()),
                Update::Unreachable(error) => format!("unreachable: {}", error.reason()),
                other => format!("{other:?}"),
            };
        }
    }

    /// Where each watch began.
    fn watched_from(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let from = |(_, body): &Asked| body["create_request"]["start_revision"].as_str().map(str::to_owned);
        asked.iter().filter_map(from).collect()
    }

    fn lists(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|(path, _)| path == "/v3/kv/range").count()
    }
}

/// A list at this revision, of one instance at this address.
fn list(revision: u64, address: &str) -> Reply {
    Reply::Json(format!(
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
    let pieces: Vec<String> = text.as_bytes().chunks(37).map(|c| String::from_utf8(c.to_vec()).unwrap()).collect();
    let mut fake = fake(move |path, before| match (path, before) {
        ("/v3/kv/range", 0) => list(5, "h:1"),
        ("/v3/watch", 0) => Reply::Pieces(pieces.clone()),
        ("/v3/watch", _) => Reply::Pieces(vec![made(8)]),
        _ => Reply::Hang,
    })
    .await;
    for address in ["h:1", "h:2", "h:3", "h:4"] {
        assert_eq!(fake.said().await, address);
    }
}

#[tokio::test]
async fn a_change_counts_from_when_it_was_at_hand() {
    // Two changes in one piece: the second waits while the first is said.
    let mut fake = fake(|path, _| match path {
        "/v3/kv/range" => list(5, "h:1"),
        "/v3/watch" => Reply::Pieces(vec![made(5), moved(6, "h:2") + &moved(7, "h:3")]),
        _ => Reply::Hang,
    })
    .await;
    assert_eq!(fake.said().await, "h:1");
    let (first, second) = (fake.updates.recv().await.unwrap(), fake.updates.recv().await.unwrap());
    assert_eq!(first.seen, second.seen);
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_made_anew_where_it_stopped() {
    let mut fake = fake(|path, before| match (path, before) {
        ("/v3/kv/range", 0) => list(5, "h:1"),
        // Half of a line, then silence.
        ("/v3/watch", 0) => Reply::Pieces(vec![made(5) + &moved(6, "h:2"), moved(7, "h:3")[..40].into()]),
        ("/v3/watch", 1) => Reply::Pieces(vec![made(9) + &moved(7, "h:3")]),
        ("/v3/watch", _) => Reply::Pieces(vec![made(9)]),
        _ => Reply::Hang,
    })
    .await;
    for address in ["h:1", "h:2", "h:3"] {
        assert_eq!(fake.said().await, address);
    }
    assert_eq!((fake.watched_from(), fake.lists()), (vec!["6".to_owned(), "7".into()], 1));
}

#[tokio::test]
async fn a_watch_that_finds_another_history_lists_anew() {
    let mut fake = fake(|path, before| match (path, before) {
        ("/v3/kv/range", 0) => list(50, "h:1"),
        ("/v3/kv/range", 1) => list(3, "h:2"),
        ("/v3/watch", 0) => Reply::Pieces(vec![made(50)]),
        ("/v3/watch", _) => Reply::Pieces(vec![made(3)]),
        _ => Reply::Hang,
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
        ("/v3/watch", _) => Reply::Pieces(vec![made(5)]),
        _ => Reply::Hang,
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
        ("/v3/watch", _) => Reply::Pieces(vec![made(6)]),
        _ => Reply::Hang,
    })
    .await;
    assert_eq!([fake.said().await, fake.said().await, fake.said().await], ["h:1", expected, "h:2"]);
}

#[tokio::test]
async fn a_watch_that_is_never_made_is_an_outage() {
    outage(|| Reply::Hang, "unreachable: unreachable").await;
    outage(|| Reply::Pieces(vec![made(5)[..20].into()]), "unreachable: unreachable").await;
}

#[tokio::test]
async fn a_watch_that_talks_garbage_is_an_outage() {
    outage(|| Reply::Pieces(vec![made(5), "garbage\n".into()]), "unreachable: malformed").await;
    outage(|| Reply::Json("<html>".into()), "unreachable: failed").await;
    outage(|| Reply::Refused(502, "<html>"), "unreachable: failed").await;
}

#[tokio::test]
async fn a_watch_that_ends_is_an_outage_and_no_empty_list() {
    outage(|| Reply::Json(made(5)), "unreachable: failed").await;
    outage(|| Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n"), "unreachable: unreachable").await;
    const ERROR: &str = "{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}\n";
    outage(|| Reply::Pieces(vec![made(5), ERROR.into()]), "unreachable: failed").await;
}

/// The first list fails in this way.
async fn no_list(reply: fn() -> Reply, expected: &str) {
    let mut fake = fake(move |path, before| match (path, before) {
        ("/v3/kv/range", 0) => reply(),
        ("/v3/kv/range", _) => list(6, "h:2"),
        _ => Reply::Pieces(vec![made(6)]),
    })
    .await;
    assert_eq!([fake.said().await, fake.said().await], [expected, "h:2"]);
}

#[tokio::test]
async fn a_list_that_is_none_is_an_outage() {
    no_list(|| Reply::Hang, "unreachable: unreachable").await;
    no_list(|| Reply::Raw(""), "unreachable: unreachable").await;
    no_list(|| Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"), "unreachable: unreachable").await;
    no_list(|| Reply::Json("[]".into()), "unreachable: malformed").await;
    no_list(|| Reply::Json("{}".into()), "unreachable: malformed").await;
    no_list(|| Reply::Refused(429, "slow"), "unreachable: limited").await;
    no_list(
        || Reply::Json(r#"{"header":{"cluster_id":"1","revision":"5"},"more":true}"#.into()),
        "unreachable: malformed",
    )
    .await;
}

#[tokio::test]
async fn of_pages_that_are_compacted_away_the_list_begins_again() {
    let page = |more: &str| {
        let key = wire::encode(b"/s/pets/0");
        let value = wire::encode(b"h:9");
        Reply::Json(format!(
            r#"{{"header":{{"cluster_id":"1","revision":"5"}},"kvs":[{{"key":"{key}","mod_revision":"5","value":"{value}"}}]{more}}}"#
        ))
    };
    let mut fake = fake(move |path, before| match (path, before) {
        ("/v3/kv/range", 0 | 2) => page(r#","more":true,"count":"2""#),
        ("/v3/kv/range", 1) => {
            Reply::Refused(400, r#"{"message":"etcdserver: mvcc: required revision has been compacted","code":11}"#)
        }
        ("/v3/kv/range", _) => list(5, "h:1"),
        _ => Reply::Pieces(vec![made(5)]),
    })
    .await;
    assert_eq!(fake.said().await, "h:9 h:1");
    let asked = fake.asked.lock().unwrap();
    let pages: Vec<_> = asked.iter().filter(|(path, _)| path == "/v3/kv/range").map(|(_, body)| body).collect();
    assert_eq!(pages[1]["revision"], "5");
    assert_eq!(pages[1]["key"], wire::encode(b"/s/pets/0\0"));
    assert!(pages[2].get("revision").is_none());
}

#[tokio::test]
async fn a_page_that_is_repeated_ends_the_list() {
    let page = || {
        let (key, value) = (wire::encode(b"/s/pets/0"), wire::encode(b"h:9"));
        Reply::Json(format!(
            r#"{{"header":{{"cluster_id":"1","revision":"5"}},"kvs":[{{"key":"{key}","mod_revision":"5","value":"{value}"}}],"more":true}}"#
        ))
    };
    let mut fake = fake(move |path, before| match (path, before) {
        ("/v3/kv/range", 0..2) => page(),
        ("/v3/kv/range", _) => list(6, "h:2"),
        _ => Reply::Pieces(vec![made(6)]),
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
