//! HTTP/1 heads that cannot be read are refused like everything else that is refused: with a reason, an id, and a line.

use std::fs;

use serde_json::Value;
use testkit::{Instance, Socket};

use crate::support::{Config, Front};

/// What is sent, the status, and what the description speaks of.
const HEADS: [(&str, u16, &str); 9] = [
    ("GET /?a=\"b\" HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\n", 400, "percent-encoded"),
    ("GET /?a=b<c HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\n", 400, "percent-encoded"),
    ("GET /?a=b>c HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\n", 400, "percent-encoded"),
    ("GET /<x> HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\n", 400, "percent-encoded"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400, "head"),
    ("GET / HTTP/9.1\r\nHost: a\r\n\r\n", 400, "head"),
    ("GE\"T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "head"),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "head"),
    ("MANY", 431, "head"),
];

fn bytes(head: &str) -> String {
    let fields: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    if head == "MANY" {
        format!("GET / HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n{fields}\r\n")
    } else {
        head.to_owned()
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_refused_with_a_reason_an_id_and_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let instance = Instance::http().start().await;
    let router = Config::new()
        .service("pets", &[instance.url()])
        .set("limits", "{ fields: 10 }")
        .set("access_log", &format!("{{ file: {file:?}, format: json }}"))
        .start();
    let good = "GET /good HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n\r\n";
    let mut ids = Vec::new();
    // First on its connection, after an answer, and behind a request that is still to be answered.
    for before in [0, 1, 2] {
        for (head, status, word) in HEADS {
            let mut socket = Socket::connect(router.clear()).await;
            if before == 1 {
                socket.send(good).await.unwrap();
                assert_eq!(socket.read_response().await.expect("an answer").status(), 200);
            }
            let ahead = if before == 2 { good } else { "" };
            socket.send(format!("{ahead}{}", bytes(head))).await.unwrap();
            if before == 2 {
                assert_eq!(socket.read_response().await.expect("an answer").status(), 200, "{head:?}");
            }
            let answer = socket.read_response().await.unwrap_or_else(|| panic!("no answer to {head:?}"));
            let reason = if status == 431 { "headers_too_large" } else { "bad_request" };
            assert_eq!((answer.status(), answer.header("x-pointsman-reason")), (status, Some(reason)), "{head:?}");
            let body: Value = serde_json::from_str(&answer.text()).unwrap();
            assert_eq!((&body["statusCode"], &body["reason"]), (&status.into(), &reason.into()), "{head:?}");
            assert!(body["description"].as_str().unwrap().contains(word), "{head:?}: {body}");
            assert_eq!(answer.header("x-correlation-id"), body["correlationId"].as_str(), "{head:?}");
            ids.push(body["correlationId"].as_str().expect("an id").to_owned());
            assert!(socket.is_closed_by_peer().await, "nobody knows where it ends: {head:?}");
        }
    }
    let client = router.client(Front::H1).await;
    assert_eq!(client.send(testkit::get("/", &[("service_id", "pets")])).await.status, 200);
    assert_eq!(instance.counts().requests(), 2 * HEADS.len() as u64 + 1);
    drop((client, router)); // writes what is queued
    let log = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for id in ids {
        let line = lines.iter().find(|line| line["correlation_id"] == *id).unwrap_or_else(|| panic!("no {id}: {log}"));
        assert_eq!((&line["method"], &line["path"]), (&"-".into(), &"*".into()), "{line}");
        assert!(line["reason"].is_string() && line["response_bytes"].as_u64() > Some(0), "{line}");
    }
}
