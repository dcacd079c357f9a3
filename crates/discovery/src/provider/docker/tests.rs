//! The source against an engine that misbehaves in ways a real one cannot be made to.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use ::settings::Span;
use model::{Knowledge, ServiceId};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::*;
use crate::provider::{
    Interest, Message,
    testing::{Source, routed},
};

/// What the fake says; changed by tests as they go.
#[derive(Default)]
struct Fake {
    /// What each container's inspection says, by id; all of them are in the list.
    containers: Mutex<BTreeMap<&'static str, String>>,
    /// In place of the list.
    list: Mutex<Option<String>>,
    /// Written to the stream of events once the list was asked for; then it is silent.
    events: Mutex<String>,
    /// Whether they are written again and again, to each stream.
    again: bool,
    /// Whether a container is gone once it was inspected.
    once: bool,
    /// When a container was inspected last.
    inspected: Mutex<Option<Instant>>,
    /// Streams of events so far.
    streams: AtomicUsize,
}

impl Fake {
    async fn start(self) -> (Arc<Self>, String) {
        let fake = Arc::new(self);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (served, (listed, _)) = (Arc::clone(&fake), watch::channel(()));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(Arc::clone(&served).serve(stream, listed.clone()));
            }
        });
        (fake, url)
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream, listed: watch::Sender<()>) {
        let mut asked = listed.subscribe();
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            if path.starts_with("/events") {
                self.streams.fetch_add(1, Ordering::SeqCst);
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
                asked.changed().await.unwrap();
                let events = std::mem::take(&mut *self.events.lock().unwrap());
                if self.again {
                    self.events.lock().unwrap().clone_from(&events);
                }
                if !events.is_empty() {
                    let chunk = format!("{:x}\r\n{events}\r\n", events.len());
                    while stream.write_all(chunk.as_bytes()).await.is_ok() && self.again {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                drop(stream.read_u8().await);
                return;
            }
            let (status, body) = self.answer(path);
            if body == HANGS {
                return std::future::pending().await;
            }
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            if path.starts_with("/containers/json") {
                listed.send_replace(());
            }
        }
    }

    fn answer(&self, path: &str) -> (u16, String) {
        let mut containers = self.containers.lock().unwrap();
        if path.starts_with("/containers/json") {
            let listed = |id: &&str| json!({ "Id": id, "Labels": { "pointsman.service": "pets" } });
            let list = json!(containers.keys().map(listed).collect::<Vec<_>>()).to_string();
            return (200, self.list.lock().unwrap().clone().unwrap_or(list));
        }
        *self.inspected.lock().unwrap() = Some(Instant::now());
        let id = path.split('/').nth(2).unwrap();
        let body = if self.once { containers.remove(id) } else { containers.get(id).cloned() };
        body.map_or((404, String::new()), |body| (200, body))
    }

    fn put(&self, id: &'static str, body: &str) {
        self.containers.lock().unwrap().insert(id, body.to_owned());
    }
}

/// A body that never comes.
const HANGS: &str = "hangs";

/// A container that runs.
fn running(id: &str) -> String {
    json!({ "Id": id, "Name": format!("/{id}"), "State": { "Status": "running" },
        "Config": { "Labels": { "pointsman.service": "pets", "pointsman.port": "80" } },
        "NetworkSettings": { "Networks": { "n": { "IPAddress": "10.0.0.1" } } } })
    .to_string()
}

fn event(action: &str, id: &str) -> String {
    json!({ "Type": "container", "Action": action, "Actor": { "ID": id, "Attributes": { "pointsman.service": "pets" } } })
        .to_string()
        + "\n"
}

fn source(url: &str, resync: Duration) -> Source {
    interested(url, resync, Interest::default())
}

fn interested(url: &str, resync: Duration, interest: Interest) -> Source {
    let millis = u64::try_from(resync.as_millis()).unwrap();
    let settings = Settings { resync: Span::from_millis(millis), ..Settings::new(url) };
    // Past the check, which refuses a resync as short as a test needs.
    let docker = Docker { settings, contents: Contents::default(), live: false, whole: false, aside: Aside::default() };
    Source::start(docker, interest)
}

async fn next(source: &mut Source) -> Update {
    source.next().await.update
}

async fn everything(source: &mut Source) -> usize {
    match next(source).await {
        Update::Everything(all) => all.get(&ServiceId::new("pets").unwrap()).map_or(0, Vec::len),
        other => panic!("{other:?}"),
    }
}

const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn garbage_is_an_outage_and_no_empty_list() {
    let (fake, url) = Fake::default().start().await;
    fake.put("a", &running("a"));
    for garbage in ["<html>", "{}", "[", "", "[null]"] {
        *fake.list.lock().unwrap() = Some(garbage.to_owned());
        let mut source = source(&url, NEVER);
        let told = next(&mut source).await;
        assert!(matches!(&told, Update::Unreachable(ProviderError::Malformed(_))), "{garbage}: {told:?}");
        *fake.list.lock().unwrap() = None;
        loop {
            match next(&mut source).await {
                Update::Everything(all) => break assert_eq!(all.len(), 1),
                other => assert!(matches!(other, Update::Unreachable(_)), "{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_container_that_cannot_be_read_is_skipped_and_keeps_what_was_known() {
    let (fake, url) = Fake::default().start().await;
    fake.put("a", "garbage");
    // Nothing else is there: then nothing is known.
    let told = next(&mut source(&url, NEVER)).await;
    assert!(matches!(&told, Update::Unreachable(ProviderError::Malformed(_))), "{told:?}");

    fake.put("a", &running("a"));
    fake.put("b", "garbage");
    let mut source = source(&url, Duration::from_millis(100));
    assert!(matches!(next(&mut source).await, Update::Skipped { .. }));
    assert_eq!(everything(&mut source).await, 1);
    fake.put("a", "garbage");
    fake.put("b", &running("b"));
    let both = loop {
        match next(&mut source).await {
            Update::Service { knowledge: Knowledge::Known(list), .. } => break list.len(),
            other => assert!(matches!(other, Update::Skipped { .. }), "{other:?}"),
        }
    };
    assert_eq!(both, 2);
}

#[tokio::test]
async fn an_entry_of_the_list_that_cannot_be_read_removes_nothing() {
    let (fake, url) = Fake::default().start().await;
    fake.put("a", &running("a"));
    let mut source = source(&url, Duration::from_millis(100));
    assert_eq!(everything(&mut source).await, 1);
    let odd = r#"[null, { "Id": "b" }]"#;
    for list in [odd, "[null]", "[{}]"] {
        *fake.list.lock().unwrap() = Some(list.to_owned());
        let streams = fake.streams.load(Ordering::SeqCst);
        while fake.streams.load(Ordering::SeqCst) < streams + 3 {
            match next(&mut source).await {
                Update::Skipped { .. } | Update::Unreachable(ProviderError::Malformed(_)) => {}
                Update::Everything(all) => assert_eq!(all.len(), 1, "{list}"),
                other => panic!("{list}: {other:?}"),
            }
        }
    }
    // One that is not there, though no event said so, is told by the answer to its id; after an outage it is said of all.
    *fake.list.lock().unwrap() = Some(odd.to_owned());
    fake.containers.lock().unwrap().clear();
    let is_gone = |update: &Update| matches!(update, Update::Everything(all) if all.is_empty());
    timeout(Duration::from_secs(10), async { while !is_gone(&next(&mut source).await) {} }).await.expect("it goes");
}

/// What was remembered of the container that cannot be read must not be taken back by this.
#[tokio::test]
async fn a_first_list_with_an_entry_that_cannot_be_read_is_not_everything() {
    let (fake, url) = Fake::default().start().await;
    fake.put("a", &running("a"));
    *fake.list.lock().unwrap() = Some(r#"[null, { "Id": "a" }]"#.to_owned());
    let mut source = interested(&url, Duration::from_millis(100), routed(["pets", "orders"]));
    let mut said = Vec::new();
    while said.len() < 3 {
        let word = source.said(|instance| instance.id.to_string()).await;
        assert_ne!(word, "everything");
        said.extend((!word.starts_with("skipped")).then_some(word));
    }
    assert_eq!(said[1..], ["unknown: malformed", "catalogue of 2"], "{said:?}");
    *fake.list.lock().unwrap() = None;
    timeout(Duration::from_secs(10), async { while !matches!(next(&mut source).await, Update::Everything(_)) {} })
        .await
        .expect("once it can be read, all is said");
}

#[tokio::test]
async fn an_inspection_that_hangs_is_of_one_container_only() {
    let fake = Fake { events: Mutex::new(event("start", "b")), ..Fake::default() };
    let (fake, url) = fake.start().await;
    fake.put("a", &running("a"));
    fake.put("b", HANGS);
    let mut source = source(&url, NEVER);
    let told = next(&mut source).await;
    assert!(matches!(&told, Update::Skipped { reason, .. } if reason.contains("container b")), "{told:?}");
    assert_eq!(everything(&mut source).await, 1);
    // Nor does an event of it end anything; and it is asked for again before the source reads everything anew.
    let told = next(&mut source).await;
    assert!(matches!(&told, Update::Skipped { .. }), "{told:?}");
    fake.put("b", &running("b"));
    let told = next(&mut source).await;
    assert!(matches!(&told, Update::Service { knowledge: Knowledge::Known(list), .. } if list.len() == 2), "{told:?}");
}

#[tokio::test]
async fn a_stream_that_always_has_something_to_say_does_not_keep_us_from_reading_anew() {
    let fake = Fake { events: Mutex::new(event("start", "a")), again: true, ..Fake::default() };
    let (fake, url) = fake.start().await;
    fake.put("a", &running("a"));
    let mut source = source(&url, Duration::from_millis(300));
    assert_eq!(everything(&mut source).await, 1);
    let anew = async {
        while fake.streams.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), anew).await.expect("a third life");
}

#[tokio::test]
async fn an_engine_that_answers_and_then_fails_is_asked_less_and_less() {
    let fake = Fake { events: Mutex::new("garbage\n".to_owned()), again: true, ..Fake::default() };
    let (fake, url) = fake.start().await;
    fake.put("a", &running("a"));
    let mut source = source(&url, NEVER);
    let listens = async { while source.updates.recv().await.is_some() {} };
    assert!(timeout(Duration::from_secs(4), listens).await.is_err());
    let lives = fake.streams.load(Ordering::SeqCst);
    assert!((2..10).contains(&lives), "{lives} lives in four seconds");
}

#[tokio::test]
async fn a_change_while_everything_is_read_is_seen() {
    // It is gone right after it was asked for; the event comes to those only who subscribed before they read the list.
    let fake = Fake { events: Mutex::new(event("health_status", "a")), once: true, ..Fake::default() };
    let (fake, url) = fake.start().await;
    fake.put("a", &running("a"));
    let mut source = source(&url, NEVER);
    assert_eq!(everything(&mut source).await, 1);
    let Message { update: gone, seen, .. } = source.next().await;
    assert!(matches!(&gone, Update::Service { knowledge: Knowledge::KnownEmpty, .. }), "{gone:?}");
    assert!(seen <= fake.inspected.lock().unwrap().unwrap(), "it counts from the event");
}

/// An engine is busy with its end, and would answer late; the event that it ended would wait for that.
#[tokio::test]
async fn one_that_is_told_to_end_is_not_asked_for_before_it_has() {
    let kill = event("kill", "a").replace(r#""Attributes":{"#, r#""Attributes":{"signal":"15","#);
    // It can be asked for once, and is not there afterwards.
    let fake = Fake { events: Mutex::new(kill), once: true, ..Fake::default() };
    let (fake, url) = fake.start().await;
    fake.put("a", &running("a"));
    let mut updates = source(&url, NEVER);
    assert_eq!(everything(&mut updates).await, 1);
    let told = next(&mut updates).await;
    let Update::Service { knowledge: Knowledge::Known(list), .. } = &told else { panic!("{told:?}") };
    assert_eq!(list[0].standing, model::Standing::Draining);
    assert!(timeout(Duration::from_millis(300), updates.updates.recv()).await.is_err());
}

/// While an engine clears a container away, it answers late.
#[tokio::test]
async fn one_that_ended_is_out_by_that_word_and_the_engine_is_not_asked() {
    let events = event("die", "a") + &event("disconnect", "a");
    let (fake, url) = Fake { events: Mutex::new(events), ..Fake::default() }.start().await;
    fake.put("a", &running("a"));
    let mut source = source(&url, NEVER);
    assert_eq!(everything(&mut source).await, 1);
    let Message { update: gone, seen, .. } = source.next().await;
    let Update::Service { knowledge, deregistered, .. } = &gone else { panic!("{gone:?}") };
    assert_eq!((knowledge, deregistered.len()), (&Knowledge::KnownEmpty, 0), "nobody said that it was stopped");
    assert!(timeout(Duration::from_millis(300), source.updates.recv()).await.is_err());
    assert!(fake.inspected.lock().unwrap().unwrap() <= seen, "only before the event");
}

#[tokio::test]
async fn one_that_ended_and_began_anew_is_asked_for() {
    let events = event("die", "a") + &event("disconnect", "a") + &event("start", "a");
    let (fake, url) = Fake { events: Mutex::new(events), ..Fake::default() }.start().await;
    fake.put("a", &running("a"));
    let mut source = source(&url, NEVER);
    assert_eq!(everything(&mut source).await, 1);
    let gone = next(&mut source).await;
    assert!(matches!(&gone, Update::Service { knowledge: Knowledge::KnownEmpty, .. }), "{gone:?}");
    let back = next(&mut source).await;
    assert!(matches!(&back, Update::Service { knowledge: Knowledge::Known(list), .. } if list.len() == 1), "{back:?}");
}

/// Traefik 1100, 4287.
/// linkerd 6842.
#[tokio::test]
async fn a_stream_that_fell_silent_is_found_by_reading_anew() {
    let (fake, url) = Fake::default().start().await;
    fake.put("a", &running("a"));
    let mut source = source(&url, Duration::from_millis(200));
    assert_eq!(everything(&mut source).await, 1);
    fake.containers.lock().unwrap().clear();
    let gone = next(&mut source).await;
    let Update::Service { knowledge, deregistered, .. } = gone else { panic!("{gone:?}") };
    assert_eq!((knowledge, deregistered.len()), (Knowledge::KnownEmpty, 0), "nobody said that it was stopped");
    assert!(fake.streams.load(Ordering::SeqCst) >= 2, "events are subscribed to anew each time");
}

#[tokio::test]
async fn an_event_that_is_none_ends_the_life_and_not_the_list() {
    let (fake, url) = Fake::default().start().await;
    fake.put("a", &running("a"));
    *fake.events.lock().unwrap() = "garbage\n".to_owned();
    let mut source = source(&url, NEVER);
    assert_eq!(everything(&mut source).await, 1);
    assert!(matches!(next(&mut source).await, Update::Unreachable(ProviderError::Malformed(_))));
    assert_eq!(everything(&mut source).await, 1);
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_an_outage() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let told = next(&mut source(&url, NEVER)).await;
    assert!(matches!(&told, Update::Unreachable(ProviderError::Unreachable(why)) if why.contains("time")), "{told:?}");
}
