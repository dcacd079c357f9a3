//! Faults a real API server cannot be made to show, from a fake one. What it does show, recorded or live, is in the
//! workspace's integration tests.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use model::{Exposure, Knowledge, ServiceId, Update};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

mod records;

use super::*;
use crate::provider::{Interest, Message};

/// What the fake says to one request.
enum Reply {
    /// This status and body.
    Answer(u16, String),
    /// The same, with one more header line.
    Marked(u16, &'static str, &'static str),
    /// A stream of these lines, which then stays open.
    Open(Vec<String>),
    /// The same, ended as it should be.
    Ended(Vec<String>),
    /// The same, cut off.
    Cut(Vec<String>),
    /// One byte of a stream now and then, without end.
    Drip,
    /// These bytes, then the end of the connection.
    Raw(&'static str),
    /// Nothing, ever.
    Hang,
}

/// A source that watches `pets` at a fake API server.
struct Fake {
    updates: mpsc::Receiver<Message>,
    asked: Arc<Mutex<Vec<String>>>,
    tasks: [JoinHandle<()>; 2],
    interest: watch::Sender<Arc<Interest>>,
    _kubeconfig: tempfile::NamedTempFile,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn slice(address: &str) -> Value {
    json!({ "metadata": { "name": "pets-1", "namespace": "shop", "resourceVersion": "8",
            "labels": { "kubernetes.io/service-name": "pets" } },
        "addressType": "IPv4", "endpoints": [{ "addresses": [address] }], "ports": [{ "port": 80 }] })
}

fn listed(version: &str, items: &[Value]) -> Reply {
    let body = json!({ "kind": "EndpointSliceList", "metadata": { "resourceVersion": version }, "items": items });
    Reply::Answer(200, body.to_string())
}

fn event(kind: &str, object: &Value) -> String {
    json!({ "type": kind, "object": object }).to_string()
}

/// `say` is given the request's path, and how many of its kind (list or watch) came before.
async fn fake(namespaces: &[&str], say: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let clusters = format!("[{{ name: c, cluster: {{ server: 'http://{}' }} }}]", listener.local_addr().unwrap());
    let file = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: {clusters}\nusers: [{{ name: u, user: {{ token: t }} }}]\n\
         contexts: [{{ name: x, context: {{ cluster: c, user: u, namespace: shop }} }}]\n"
    );
    std::fs::write(kubeconfig.path(), file).unwrap();
    let asked = Arc::<Mutex<Vec<String>>>::default();
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
    let settings = Settings {
        kubeconfig: Some(kubeconfig.path().into()),
        namespaces: namespaces.iter().map(|&name| name.into()).collect(),
        wait: ::settings::Span::from_secs(5),
        ..Settings::default()
    };
    let mut source = Kubernetes::new(settings).unwrap();
    let source = tokio::spawn(async move { drop(source.watch(&feed).await) });
    Fake { updates, asked, tasks: [server, source], interest, _kubeconfig: kubeconfig }
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
            let before = log.iter().filter(|other| other.contains("watch=1") == path.contains("watch=1")).count();
            log.push(path.clone());
            before
        };
        let chunked = |lines: Vec<String>| {
            let chunks: String = lines.iter().map(|line| format!("{:x}\r\n{line}\n\r\n", line.len() + 1)).collect();
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")
        };
        let (text, goes_on) = match say(&path, before) {
            Reply::Answer(status, body) => {
                (format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()), true)
            }
            Reply::Marked(status, line, body) => {
                (format!("HTTP/1.1 {status} X\r\n{line}\r\ncontent-length: {}\r\n\r\n{body}", body.len()), true)
            }
            Reply::Open(lines) => {
                stream.write_all(chunked(lines).as_bytes()).await.unwrap_or_default();
                return std::future::pending().await;
            }
            Reply::Ended(lines) => (chunked(lines) + "0\r\n\r\n", true),
            Reply::Cut(lines) => (chunked(lines), false),
            Reply::Drip => {
                let mut next = chunked(Vec::new());
                while stream.write_all(next.as_bytes()).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    next = "1\r\n{\r\n".to_owned();
                }
                return;
            }
            Reply::Raw(text) => (text.to_owned(), false),
            Reply::Hang => return std::future::pending().await,
        };
        if stream.write_all(text.as_bytes()).await.is_err() || !goes_on {
            return;
        }
    }
}

impl Fake {
    /// The next update in short: addresses of the instances, or the reason for not knowing.
    async fn said(&mut self) -> String {
        let next =
            timeout(Duration::from_secs(20), self.updates.recv()).await.expect("an update in time").unwrap().update;
        match next {
            Update::Service { knowledge: Knowledge::Known(list), .. } => {
                list.iter().map(|i| i.endpoint.address.to_string()).collect::<Vec<_>>().join(" ")
            }
            Update::Service { knowledge: Knowledge::KnownEmpty, .. } => "empty".into(),
            Update::Service { knowledge: Knowledge::Unknown(error), .. } => format!("unknown: {}", error.reason()),
            Update::Unreachable(error) => format!("unreachable: {}", error.reason()),
            Update::Skipped { reason, .. } => format!("skipped: {reason}"),
            Update::Everything(_) => "everything".into(),
            Update::Catalogue(services) => format!("catalogue of {}", services.len()),
            Update::Forgotten(service) => format!("forgotten {service}"),
        }
    }

    async fn hears(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.said().await, *expected, "asked: {:#?}", self.asked.lock().unwrap());
        }
    }

    fn asked(&self, kind: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.contains(kind)).count()
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
        true => Reply::Open(vec![]),
    })
    .await;
    let (first, second) = (fake.updates.recv().await.unwrap(), fake.updates.recv().await.unwrap());
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
        (true, _) => Reply::Ended(vec![event("BOOKMARK", &json!({ "metadata": { "resourceVersion": "7" } }))]),
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
        (true, _) => Reply::Open(vec![]),
    })
    .await;
    fake.hears(&[expected, A]).await;
}

#[tokio::test]
async fn what_is_no_list_is_never_an_empty_list() {
    no_list(|| Reply::Answer(200, "{}".into()), "unreachable: malformed").await;
    no_list(|| Reply::Answer(200, "<html>".into()), "unreachable: malformed").await;
    no_list(|| Reply::Answer(200, String::new()), "unreachable: malformed").await;
    no_list(|| Reply::Answer(500, "etcdserver: leader changed".into()), "unreachable: failed").await;
    no_list(|| Reply::Answer(404, "404 page not found".into()), "unreachable: failed").await;
    no_list(|| Reply::Answer(403, "{}".into()), "unreachable: denied").await;
    no_list(|| Reply::Answer(401, "{}".into()), "unreachable: denied").await;
    no_list(|| Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"), "unreachable: unreachable").await;
    no_list(|| Reply::Raw("garbage\r\n\r\n"), "unreachable: unreachable").await;
}

#[tokio::test]
async fn a_list_that_hangs_or_drips_is_an_outage() {
    for reply in [|| Reply::Hang, || Reply::Drip] {
        let say = move |path: &str, before| match (path.contains("watch=1"), before) {
            (false, 0) => reply(),
            (false, _) => listed("7", &[slice("10.0.0.1")]),
            (true, _) => Reply::Open(vec![]),
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
        (true, _) => Reply::Open(vec![]),
    })
    .await
}

#[tokio::test]
async fn a_broken_watch_is_told_once_and_the_list_is_read_again() {
    for (reply, reason) in [
        ((|| Reply::Cut(vec![])) as fn() -> Reply, "unreachable: unreachable"),
        (|| Reply::Raw(""), "unreachable: unreachable"),
        (|| Reply::Answer(503, "shutting down".into()), "unreachable: failed"),
        (|| Reply::Open(vec!["garbage".into()]), "unreachable: malformed"),
        (|| Reply::Open(vec![event("RENAMED", &slice("10.0.0.9"))]), "unreachable: malformed"),
        (|| Reply::Open(vec![event("DELETED", &json!({}))]), "unreachable: malformed"),
        (|| Reply::Open(vec![event("ERROR", &json!({ "code": 500 }))]), "unreachable: failed"),
    ] {
        watch_of(reply).await.hears(&[A, reason, B]).await;
    }
}

#[tokio::test]
async fn a_watch_that_died_quietly_is_found_and_heals_itself() {
    for reply in [(|| Reply::Open(vec![])) as fn() -> Reply, || Reply::Drip] {
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
    let gone = || Reply::Ended(vec![event("ERROR", &json!({ "kind": "Status", "code": 410 }))]);
    watch_of(gone).await.hears(&[A, B]).await;
}

#[tokio::test]
async fn a_server_that_only_ever_says_gone_is_not_flooded() {
    let mut fake = fake(&[], |path, _| match path.contains("watch=1") {
        false => listed("7", &[slice("10.0.0.1")]),
        true => Reply::Ended(vec![event("ERROR", &json!({ "kind": "Status", "code": 410 }))]),
    })
    .await;
    fake.hears(&[A]).await;
    let before = fake.asked("limit=");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(fake.asked("limit=") <= before + 4, "{:#?}", fake.asked.lock().unwrap());
}

#[tokio::test]
async fn a_watch_that_ends_well_goes_on_and_a_silent_one_is_followed_by_a_list() {
    let mark = || event("BOOKMARK", &json!({ "metadata": { "resourceVersion": "8" }, "endpoints": null }));
    let mut well = watch_of(move || Reply::Ended(vec![mark()])).await;
    well.hears(&[A]).await;
    while well.asked("watch=1") < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((well.asked("limit="), well.asked("resourceVersion=8")), (1, 1));
    watch_of(|| Reply::Ended(vec![])).await.hears(&[A, B]).await;
}

#[tokio::test]
async fn a_refused_watch_keeps_the_list_and_its_place() {
    for (status, line, reason) in
        [(403, "x: y", "unreachable: denied"), (429, "retry-after: 1", "unreachable: limited")]
    {
        let mut fake = watch_of(move || Reply::Marked(status, line, "no")).await;
        fake.hears(&[A, reason, A]).await;
        assert_eq!((fake.asked("limit="), fake.asked("resourceVersion=7")), (1, 2));
    }
}
