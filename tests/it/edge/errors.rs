//! Refusals as clients get them: status, reason word, JSON or a gRPC status, correlation id.

use bytes::Bytes;
use http::Request;
use testkit::{Answer, Instance, Raw, Reply, Socket, request};

use crate::support::{Config, Front, Running, nobody, told};

/// A request that is refused, and as what.
struct Row {
    method: &'static str,
    target: &'static str,
    fields: &'static [(&'static str, &'static str)],
    status: u16,
    code: &'static str,
    reason: &'static str,
    grpc: &'static str,
}

const fn row(
    target: &'static str,
    fields: &'static [(&'static str, &'static str)],
    (status, code, reason, grpc): (u16, &'static str, &'static str, &'static str),
) -> Row {
    Row { method: "POST", target, fields, status, code, reason, grpc }
}

const ROWS: [Row; 13] = [
    row("/%00", &[], (400, "PTS40001", "bad_request", "3")),
    row("/", &[], (404, "PTS40401", "no_route", "12")),
    Row { method: "TRACE", ..row("/slow", &[], (405, "PTS40501", "method", "12")) },
    row("/small", &[("content-length", "11")], (413, "PTS41301", "body_too_large", "3")),
    row("/slow/12345678901234567890123456789012345678901234567890", &[], (414, "PTS41401", "uri_too_long", "3")),
    row("/slow", &[("x-long", LONG)], (431, "PTS43101", "headers_too_large", "3")),
    row("/", &[("service_id", "unknown")], (503, "PTS50301", "no_service", "14")),
    row("/", &[("service_id", "pets"), ("env_tag", "none")], (503, "PTS50302", "no_instance", "14")),
    row("/", &[("service_id", "dead")], (502, "PTS50201", "connect", "14")),
    row("/closes", &[("service_id", "pets")], (502, "PTS50202", "reset", "14")),
    row("/", &[("service_id", "garbage")], (502, "PTS50203", "protocol", "13")),
    row("/slow", &[], (504, "PTS50401", "head_timeout", "4")),
    row("/total", &[], (504, "PTS50403", "deadline", "4")),
];

const LONG: &str = concat!(
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
);

const ROUTES: &str = r#"
  - { prefix: /slow, service: pets, timeouts: { head: 200ms } }
  - { prefix: /total, service: pets, timeout: 200ms }
  - { prefix: /small, service: pets, max_body: 10 }
"#;

async fn stage() -> (Running, Instance, Raw) {
    let instance = Instance::h2c().answer(|_| Reply::silence()).on("/closes", Reply::closes()).start().await;
    let garbage = Raw::sends("SSH-2.0-OpenSSH_9.6\r\n\r\n").await;
    let router = Config::new()
        .service("pets", &[instance.url()])
        .service("dead", &[format!("http://{}", nobody().await)])
        .service("garbage", &[format!("http://{}", garbage.addr())])
        .set("routes", ROUTES)
        .set("services", "{ dead: { warm_hold: off } }")
        .set("limits", "{ uri: 50, head: 400 }")
        .start();
    (router, instance, garbage)
}

fn ask(row: &Row, more: &[(&str, &str)]) -> Request<Bytes> {
    let body = if row.reason == "body_too_large" { "12345678901" } else { "" };
    request(row.method, row.target, &[row.fields, more].concat(), body)
}

#[tokio::test]
async fn every_refusal_says_in_json_what_happened() {
    let (router, _instance, _garbage) = stage().await;
    for front in Front::ALL {
        for row in &ROWS {
            let answer: Answer = router.client(front).await.send(ask(row, &[("x-correlation-id", "c-1")])).await;
            let what = format!("{front:?} {} {:?}", row.target, row.fields);
            assert_eq!(told(&answer), (row.status, Some(row.reason)));
            assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
            assert_eq!(answer.header("x-correlation-id"), Some("c-1"), "{what}");
            let body = answer.json();
            assert_eq!(body["statusCode"], row.status, "{what}");
            assert_eq!((&body["code"], &body["reason"]), (&row.code.into(), &row.reason.into()), "{what}");
            assert_eq!((&body["severity"], &body["correlationId"]), (&"ERROR".into(), &"c-1".into()), "{what}");
            for text in ["message", "description"] {
                assert!(body[text].as_str().is_some_and(|text| !text.is_empty()), "{what}: {text}");
            }
            assert_eq!(answer.header("allow").is_some(), row.status == 405, "{what}");
        }
    }
}

#[tokio::test]
async fn every_refusal_is_a_grpc_status_for_grpc_clients() {
    let (router, _instance, _garbage) = stage().await;
    let grpc = [("content-type", "application/grpc+proto"), ("te", "trailers"), ("x-correlation-id", "c-1")];
    for row in &ROWS {
        let answer = router.client(Front::H2Tls).await.send(ask(row, &grpc)).await;
        let what = format!("{} {:?}", row.target, row.fields);
        assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some(row.grpc)), "{what}");
        assert_eq!(answer.header("content-type"), Some("application/grpc"), "{what}");
        assert!(answer.header("grpc-message").is_some_and(|text| text.starts_with(row.code)), "{what}");
        assert_eq!(answer.header("x-pointsman-reason"), Some(row.reason), "{what}");
        assert_eq!(answer.header("x-correlation-id"), Some("c-1"), "{what}");
        assert!(answer.body.is_empty() && answer.trailers.is_none(), "{what}: more than one head");
    }
}

#[tokio::test]
async fn an_upgrade_is_refused_and_the_connection_goes_on() {
    let (router, _instance, _garbage) = stage().await;
    let mut socket = Socket::connect(router.clear()).await;
    let upgrade = "GET /slow HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for _ in 0..2 {
        socket.send(upgrade).await.unwrap();
        let answer = socket.read_response().await.expect("an answer");
        assert_eq!((answer.status(), answer.header("x-pointsman-reason")), (400, Some("upgrade")));
    }
}

#[tokio::test]
async fn a_refused_head_request_has_no_body() {
    let (router, _instance, _garbage) = stage().await;
    for front in Front::ALL {
        let client = router.client(front).await;
        for _ in 0..2 {
            let answer = client.send(request("HEAD", "/", &[], "")).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (404, 0), "{front:?}");
            assert_eq!(answer.header("x-pointsman-reason"), Some("no_route"));
        }
    }
}
