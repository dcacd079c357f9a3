use std::path::Path as File;

use discovery::provider::embedded;
use tempfile::tempdir;
use tokio::time::sleep;

mod declared;

use super::*;
use crate::testing::Stage;

fn settings(yaml: &str) -> embedded::Settings {
    settings::parse(yaml, File::new("router.yml"), &|_| None).unwrap()
}

/// The API of a registry in memory with these settings.
async fn stage(settings: &embedded::Settings) -> Stage {
    let registry = Registry::in_memory();
    registry.follow(settings);
    Stage::new(app(registry, settings.address)).await
}

async fn open() -> Stage {
    stage(&settings("{}")).await
}

const PETS: &str = r#"{"name":"pets","ip":"10.0.0.1","port":8080,"tags":["public"],"ttl":"20s"}"#;
const PETS_ID: &str = r#"{"name":"pets","id":"pets-10.0.0.1-8080"}"#;

/// Status, code and a part of the description of a fault.
#[track_caller]
fn check(answer: &crate::testing::Answer, status: u16, code: &str, part: &str) {
    let json = answer.json();
    assert_eq!((answer.status, json["statusCode"].as_u64()), (status, Some(u64::from(status))), "{json}");
    assert_eq!((json["code"].as_str(), json["severity"].as_str()), (Some(code), Some("ERROR")), "{json}");
    assert!(json["description"].as_str().unwrap().contains(part), "{json}");
    assert!(json["message"].is_string());
}

#[tokio::test]
async fn an_instance_registers_beats_and_leaves() {
    let stage = open().await;
    let registered = stage.post("/registry/register", PETS).await;
    assert_eq!(registered.status, 200);
    assert_eq!(registered.json()["id"], "pets-10.0.0.1-8080");
    assert_eq!(stage.post("/registry/heartbeat", PETS_ID).await.json()["ttl"], "20s");
    let by_place = r#"{"name":"pets","ip":"10.0.0.1","port":8080}"#;
    assert_eq!(stage.post("/registry/heartbeat", by_place).await.status, 200);

    let all = stage.get("/registry/services").await;
    assert_eq!(all.json()["services"][0]["instances"], 1);
    let one = stage.get("/registry/services/pets").await;
    let index = registered.json()["index"].as_u64().unwrap();
    assert!(one.head.contains(&format!("\r\nx-pointsman-index: {index}")), "{}", one.head);
    let one = one.json();
    assert_eq!((&one["index"], &one["instances"][0]["port"]), (&index.into(), &8080.into()));
    assert_eq!(one["instances"][0]["tags"][0], "public");
    assert!(one["instances"][0]["expires_in"].is_string());

    assert_eq!(stage.post("/registry/deregister", PETS_ID).await.status, 200);
    assert_eq!(stage.get("/registry/services/pets").await.json()["instances"], serde_json::json!([]));
    for path in ["/registry/heartbeat", "/registry/deregister"] {
        check(&stage.post(path, PETS_ID).await, 404, "PTS40412", "register it first");
    }
}

#[tokio::test]
async fn mistakes_are_answered_with_what_to_do() {
    let stage = open().await;
    for (body, part) in [
        (r#"{"name":"Pet_Store","ip":"10.0.0.1","port":1}"#, "lowercase letters"),
        (r#"{"name":"pets","ip":"10.0.0.1"}"#, "missing field `port`"),
        (r#"{"name":"pets","ip":"10.0.0.1","port":1,"weigth":2}"#, "unknown field `weigth`, expected one of"),
        (r#"{"name":"pets""#, "EOF"),
        ("", "EOF"),
    ] {
        check(&stage.post("/registry/register", body).await, 400, "PTS40011", part);
    }
    check(&stage.post("/registry/heartbeat", r#"{"name":"pets"}"#).await, 400, "PTS40011", "give its `id`");
    check(&stage.get("/registry/services/pets?indx=1").await, 400, "PTS40011", "indx");
    check(&stage.get("/registry/services/pets?index=1&wait=5").await, 400, "PTS40011", "no unit");
    check(&stage.get("/registry/services/a%7Cb").await, 400, "PTS40011", "service name");
    check(&stage.get("/registry").await, 404, "PTS40411", "nothing at this path");
    check(&stage.get("/registry/register").await, 405, "PTS40511", "method");
    check(&stage.post("/registry/register", &"x".repeat(BODY + 1)).await, 413, "PTS41311", "65536 bytes");
}

#[tokio::test]
async fn only_who_has_the_token_writes() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("token");
    let yaml = format!("token: {{ file: \"{}\" }}", file.display());
    for settings in [settings("token: secret"), settings(&yaml)] {
        std::fs::write(&file, "secret\n").unwrap();
        let stage = stage(&settings).await;
        for path in ["/registry/register", "/registry/heartbeat", "/registry/deregister"] {
            for header in
                ["x-none: 1", "authorization: Bearer secres", "authorization: Basic secret", "x-registry-token: "]
            {
                let answer = stage.ask(&format!("POST {path}"), &[header], PETS).await;
                check(&answer, 401, "PTS40111", "X-Registry-Token");
                assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
            }
        }
        assert_eq!(stage.get("/registry/services").await.json()["services"], serde_json::json!([]));
        for header in ["authorization: Bearer secret", "authorization: bearer secret", "x-registry-token: secret"] {
            assert_eq!(stage.ask("POST /registry/register", &[header], PETS).await.status, 200, "{header}");
        }
    }
    let stage = stage(&settings(&yaml)).await;
    for content in [Some(""), None] {
        match content {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let answer = stage.ask("POST /registry/register", &["x-registry-token: "], PETS).await;
        check(&answer, 503, "PTS50311", "token");
    }
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_register() {
    let stage = open().await;
    let answer = stage.ask("POST /registry/register", &["origin: http://evil.example"], PETS).await;
    check(&answer, 403, "PTS40311", "web pages");
    let answer = stage.ask("GET /registry/services", &["host: evil.example"], "").await;
    check(&answer, 403, "PTS40311", "localhost");
}

#[tokio::test]
async fn a_long_poll_is_answered_by_the_change() {
    let stage = open().await;
    let index = stage.post("/registry/register", PETS).await.json()["index"].as_u64().unwrap();
    let path = format!("/registry/services/pets?index={index}&wait=5m");
    let change = async {
        sleep(Duration::from_millis(50)).await;
        stage.post("/registry/deregister", PETS_ID).await
    };
    let (answer, _) = tokio::join!(stage.get(&path), change);
    assert!(answer.json()["index"].as_u64().unwrap() > index);
    let path = format!("/registry/services/pets?index={}&wait=10ms", answer.json()["index"]);
    assert_eq!(stage.get(&path).await.json()["index"], answer.json()["index"], "nothing changed");
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let directory = tempdir().unwrap();
    let settings = settings(&format!("directory: \"{}\"", directory.path().display()));
    let first = Stage::new(app(Registry::open(directory.path()).unwrap(), settings.address)).await;
    let answer = first.post("/registry/register", PETS).await.json();
    assert_eq!((answer["changed"].as_bool(), answer["stored"].as_bool()), (Some(true), Some(true)));
    first.end().await;
    let second = Stage::new(app(Registry::open(directory.path()).unwrap(), settings.address)).await;
    let pets = second.get("/registry/services/pets").await.json();
    assert_eq!(pets["instances"][0]["id"], "pets-10.0.0.1-8080");
    assert!(pets["index"].as_u64() > answer["index"].as_u64());
    assert_eq!(second.post("/registry/heartbeat", PETS_ID).await.status, 200);
}

#[tokio::test]
async fn the_end_does_not_wait_for_long_polls() {
    let stage = open().await;
    let index = stage.post("/registry/register", PETS).await.json()["index"].as_u64().unwrap();
    let mut socket = tokio::net::TcpStream::connect(stage.address).await.unwrap();
    let request = format!("GET /registry/services/pets?index={index}&wait=5m HTTP/1.1\r\nhost: localhost\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    stage.end().await;
}
