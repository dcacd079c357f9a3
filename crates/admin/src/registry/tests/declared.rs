//! Rights, declaring tools, event streams, the audit trail, export and import.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::*;
use crate::testing::{Answer, PATIENCE};

const TOKENS: &str = "{ token: m, protect_reads: true, tokens: { pets: { secret: p, write: pets, read: 'ord*' }, ops: { secret: o, write: '*' } } }";
const PET: &str = "/registry/services/pets/instances/a";
const PLACE: &str = r#"{"ip":"10.0.0.1","port":80}"#;

async fn ask(stage: &Stage, line: &str, token: &str, body: &str) -> Answer {
    stage.ask(line, &[&format!("authorization: Bearer {token}")], body).await
}

#[tokio::test]
async fn a_token_does_what_its_rights_say() {
    let stage = stage(&settings(TOKENS)).await;
    let put = |service: &str| format!("PUT /registry/services/{service}/instances/a");
    for (token, service, status) in
        [("p", "pets", 200), ("p", "orders", 403), ("o", "orders", 200), ("m", "other", 200), ("x", "pets", 401)]
    {
        let answer = ask(&stage, &put(service), token, PLACE).await;
        assert_eq!(answer.status, status, "{token} {service}: {}", answer.body);
    }
    check(&ask(&stage, &put("orders"), "p", PLACE).await, 403, "PTS40311", "\"pets\" may not write service \"orders\"");
    for (token, service, status) in [("p", "pets", 200), ("p", "orders", 200), ("p", "other", 403), ("", "pets", 401)] {
        let answer = ask(&stage, &format!("GET /registry/services/{service}"), token, "").await;
        assert_eq!(answer.status, status, "{token} {service}: {}", answer.body);
    }
    let names = |answer: Answer, list: &str, field: &str| {
        let json = answer.json();
        json[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s[field].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(ask(&stage, "GET /registry/services", "p", "").await, "services", "name"), "orders pets");
    assert_eq!(names(ask(&stage, "GET /registry/services", "o", "").await, "services", "name"), "orders other pets");
    assert_eq!(names(ask(&stage, "GET /registry/export", "p", "").await, "instances", "name"), "orders pets");
    assert_eq!(names(ask(&stage, "GET /registry/audit", "p", "").await, "entries", "service"), "pets");
    check(&ask(&stage, "POST /registry/import?mode=replace", "p", "{}").await, 403, "PTS40311", "\"*\"");
}

#[tokio::test]
async fn rights_follow_a_reload_at_once() {
    let registry = Registry::in_memory();
    registry.follow(&settings("token: old"));
    let stage = Stage::new(app(registry.clone(), "127.0.0.1:0".parse().unwrap())).await;
    assert_eq!(ask(&stage, &format!("PUT {PET}"), "old", PLACE).await.status, 200);
    registry.follow(&settings("token: new"));
    assert_eq!(ask(&stage, &format!("PUT {PET}"), "old", PLACE).await.status, 401);
    assert_eq!(ask(&stage, &format!("PUT {PET}"), "new", PLACE).await.status, 200);
}

#[tokio::test]
async fn declaring_twice_changes_once() {
    let stage = open().await;
    let done = async |line: &str, body: &str| {
        let answer = stage.ask(line, &[], body).await;
        assert_eq!(answer.status, 200, "{line}: {}", answer.body);
        answer.json()["changed"].as_bool().unwrap()
    };
    let (put, delete) = (format!("PUT {PET}"), format!("DELETE {PET}"));
    assert!(done(&put, PLACE).await && !done(&put, PLACE).await);
    let shown = stage.get(PET).await.json();
    assert_eq!(
        (&shown["ttl"], &shown["status"]),
        (&"none".into(), &"ready".into()),
        "nobody beats for what is declared"
    );
    assert!(done(&put, r#"{"ip":"10.0.0.1","port":80,"weight":2}"#).await);
    let (on, off) = (r#"{"enabled":true,"reason":"disk"}"#, r#"{"enabled":false}"#);
    let maintain = format!("PUT {PET}/maintenance");
    assert!(done(&maintain, on).await && !done(&maintain, on).await);
    assert_eq!(stage.get(PET).await.json()["status"], "maintenance");
    assert!(done(&maintain, off).await && !done(&maintain, off).await);
    let long = format!(r#"{{"enabled":true,"reason":"{}"}}"#, "x".repeat(2000));
    check(&stage.ask(&maintain, &[], &long).await, 400, "PTS40011", "reason is 2000 bytes");
    assert!(done(&delete, "").await && !done(&delete, "").await);
    check(&stage.get(PET).await, 404, "PTS40411", "not registered");
    check(&stage.ask(&maintain, &[], on).await, 404, "PTS40412", "register it first");
    check(&stage.ask(&put, &[], r#"{"id":"b","ip":"10.0.0.1","port":80}"#).await, 400, "PTS40011", "in the path");
    let elsewhere = r#"{"ip":"10.0.0.1","port":80,"checks":[{"type":"tcp","host":"10.0.0.2"}]}"#;
    check(&stage.ask(&put, &[], elsewhere).await, 403, "PTS40311", "checks.hosts");

    let trail = stage.get("/registry/audit").await.json();
    let entries = trail["entries"].as_array().unwrap();
    let actions: Vec<_> = entries.iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["register", "change", "maintain", "resume", "deregister"]);
    assert_eq!(entries[0]["who"], "anonymous");
    assert!(entries[0]["from"].as_str().unwrap().starts_with("127.0.0.1:") && entries[0]["time_ms"].is_u64());
    let later = stage.get(&format!("/registry/audit?index={}", entries[3]["index"])).await.json();
    assert_eq!(later["entries"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_exported_can_be_imported() {
    let stage = open().await;
    for id in ["a", "b"] {
        stage.ask(&format!("PUT /registry/services/pets/instances/{id}"), &[], PLACE).await;
    }
    let export = stage.get("/registry/export").await.body;
    stage.ask(&format!("DELETE {PET}"), &[], "").await;
    stage.ask("PUT /registry/services/other/instances/c", &[], PLACE).await;
    let counts = async |query: &str| {
        let told = stage.post(&format!("/registry/import?{query}"), &export).await.json();
        let count = |list: &str| told[list].as_array().unwrap().len();
        (count("added"), count("altered"), count("removed"), told["changed"].as_bool().unwrap())
    };
    assert_eq!(counts("mode=replace&dry_run=true").await, (1, 0, 1, true));
    assert_eq!(counts("mode=merge").await, (1, 0, 0, true));
    assert_eq!(counts("mode=replace").await, (0, 0, 1, true));
    assert_eq!(counts("mode=replace").await, (0, 0, 0, false));
    for (query, body, part) in [
        ("", "{}", "mode"),
        ("mode=merge", r#"{"format":2,"instances":[]}"#, "format 2"),
        ("mode=merge", r#"{"format":1,"instances":[{"name":"a"}]}"#, "no export"),
    ] {
        check(&stage.post(&format!("/registry/import?{query}"), body).await, 400, "PTS40011", part);
    }
}

/// An open event stream.
struct Events(TcpStream, String);

impl Events {
    async fn open(stage: &Stage, path: &str, last: Option<u64>) -> Self {
        Self::with(stage, path, &last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default()).await
    }

    /// With this line of the head.
    async fn with(stage: &Stage, path: &str, line: &str) -> Self {
        let mut socket = TcpStream::connect(stage.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{line}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut events = Self(socket, String::new());
        let head = events.until("\r\n\r\n").await;
        assert!(head.to_ascii_lowercase().contains("content-type: text/event-stream"), "{head}");
        events
    }

    async fn until(&mut self, end: &str) -> String {
        while !self.1.contains(end) {
            let mut more = vec![0; 4096];
            let count = timeout(PATIENCE, self.0.read(&mut more)).await.unwrap().unwrap();
            assert!(count > 0, "the stream ended: {:?}", self.1);
            self.1 += std::str::from_utf8(&more[..count]).unwrap();
        }
        let at = self.1.find(end).unwrap() + end.len();
        let rest = self.1.split_off(at);
        std::mem::replace(&mut self.1, rest)
    }

    /// Kind, id and body of the next event.
    async fn next(&mut self) -> (String, u64, serde_json::Value) {
        let text = self.until("\n\n").await;
        let field =
            |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(str::trim).unwrap_or_default().to_owned();
        (field("event:"), field("id:").parse().unwrap(), serde_json::from_str(&field("data:")).unwrap())
    }

    async fn ends(mut self) -> bool {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.is_ok_and(|read| read.is_ok())
    }
}

#[tokio::test]
async fn event_streams_tell_changes_and_resume() {
    let stage = open().await;
    stage.ask(&format!("PUT {PET}"), &[], PLACE).await;
    let mut all = Events::open(&stage, "/registry/events", None).await;
    let (kind, first, body) = all.next().await;
    assert_eq!((kind.as_str(), body["services"][0]["name"].as_str()), ("everything", Some("pets")));
    let mut pets = Events::open(&stage, "/registry/services/pets/events", None).await;
    assert_eq!(pets.next().await.2["instances"].as_array().unwrap().len(), 1);

    stage.ask("PUT /registry/services/other/instances/b", &[], PLACE).await;
    stage.ask(&format!("DELETE {PET}"), &[], "").await;
    let (kind, index, body) = all.next().await;
    assert_eq!((kind.as_str(), body["name"].as_str()), ("service", Some("other")));
    assert!(index > first);
    let (_, last, body) = all.next().await;
    assert_eq!((&body["name"], &body["instances"]), (&"pets".into(), &serde_json::json!([])));
    assert_eq!(pets.next().await.1, last, "it heard nothing of the other service");

    let mut again = Events::open(&stage, "/registry/events", Some(index)).await;
    assert_eq!(again.next().await.1, last);
    let (kind, ..) = Events::open(&stage, "/registry/events", Some(999)).await.next().await;
    assert_eq!(kind, "everything", "an index of another registry");
    let bad = stage.ask("GET /registry/events", &["last-event-id: x"], "").await;
    check(&bad, 400, "PTS40011", "Last-Event-ID");
}

/// Paused time runs when nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn a_quiet_stream_shows_that_it_lives() {
    let stage = open().await;
    let mut all = Events::open(&stage, "/registry/events", None).await;
    all.next().await;
    for _ in 0..3 {
        let said = all.until("\n\n").await;
        assert!(said.ends_with("\n:\n\n") && !said.contains("event"), "a comment: {said:?}");
    }
    stage.ask(&format!("PUT {PET}"), &[], PLACE).await;
    all.until("event: service").await;
}

#[tokio::test]
async fn a_reload_makes_watchers_show_their_token_again() {
    let registry = Registry::in_memory();
    let stage = Stage::new(app(registry.clone(), "127.0.0.1:0".parse().unwrap())).await;
    let mut all = Events::open(&stage, "/registry/events", None).await;
    all.next().await;
    registry.follow(&settings("{ token: x, protect_reads: true }"));
    ask(&stage, &format!("PUT {PET}"), "x", PLACE).await;
    assert!(all.ends().await);
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_its_stream_before_the_next_event() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old").unwrap();
    let yaml = format!(
        "{{ token: w, protect_reads: true, tokens: {{ r: {{ secret: {{ file: {:?} }}, read: '*' }} }} }}",
        file.path()
    );
    let stage = stage(&settings(&yaml)).await;
    let mut all = Events::with(&stage, "/registry/events", "authorization: bearer old\r\n").await;
    all.next().await;
    ask(&stage, &format!("PUT {PET}"), "w", PLACE).await;
    assert_eq!(all.next().await.0, "service");
    // As it is for a moment while it is written anew.
    std::fs::write(file.path(), "").unwrap();
    sleep(tokens::FRESH).await;
    ask(&stage, &format!("PUT {PET}"), "w", r#"{"ip":"10.0.0.1","port":81}"#).await;
    std::fs::write(file.path(), "old").unwrap();
    assert_eq!(all.next().await.0, "service");
    std::fs::write(file.path(), "new").unwrap();
    sleep(tokens::FRESH).await;
    ask(&stage, &format!("DELETE {PET}"), "w", "").await;
    assert!(all.ends().await);
}

#[tokio::test]
async fn who_may_write_nothing_cannot_send_an_import() {
    let stage = stage(&settings("{ token: m, tokens: { watcher: { secret: w, read: '*' } } }")).await;
    // Not even its body is looked at, which is none.
    check(&ask(&stage, "POST /registry/import?mode=merge", "w", "{").await, 403, "PTS40311", "no service");
    check(&ask(&stage, "POST /registry/import?mode=merge", "m", "{").await, 400, "PTS40011", "no export");
}

/// A registry whose content does not fit into the buffers of a connection.
async fn large() -> (Registry, Stage) {
    let registry = Registry::in_memory();
    let long = "x".repeat(4000);
    for number in 0..4000 {
        let written = format!(
            r#"{{"name":"pets","id":"{number}","ip":"10.0.0.1","port":80,"ttl":"none","metadata":{{"x":"{long}"}}}}"#
        );
        registry.register(&By::registry(), serde_json::from_str(&written).unwrap()).await;
    }
    let stage = Stage::new(app(registry.clone(), "127.0.0.1:0".parse().unwrap())).await;
    (registry, stage)
}

#[tokio::test]
async fn only_so_many_get_all_there_is_at_once() {
    let (_registry, stage) = large().await;
    let unread = async |path: &str| {
        let mut socket = TcpStream::connect(stage.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.read_exact(&mut [0; 16]).await.unwrap();
        socket
    };
    let mut held = Vec::new();
    for _ in 0..WHOLES {
        held.push(unread("/registry/export").await);
    }
    let mut waiting = Events::open(&stage, "/registry/events", None).await;
    assert!(timeout(Duration::from_millis(300), waiting.until("\n\n")).await.is_err(), "it waits for its turn");
    drop(held.pop());
    waiting.until("event: everything").await;
}
