//! `--to zookeeper`, with a real one, and kazoo to look at what stands there.

use serde_json::Value;
use tokio::time::sleep;

use super::*;
use crate::{
    registry::unique,
    zookeeper::rig::{Link, Own, Writer, environment},
};

/// Starts `pointsman register` for a service of this name, with a session of 2 s unless it says otherwise.
fn start(servers: &str, service: &str, port: u16, more: &[&str]) -> Process {
    let port = port.to_string();
    let arguments = ["register", "--service", service, "--port", &port, "--to", "zookeeper", "--url", servers];
    let mut command = Command::new(binary());
    let ttl: &[&str] = if more.iter().any(|word| word.starts_with("--ttl")) { &[] } else { &["--ttl=2s"] };
    Process::spawn(command.args(arguments).args(["--address", "127.0.0.1"]).args(ttl).args(more))
}

/// Waits until what stands there is so.
async fn until_node(reader: &mut Writer, path: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    testkit::until(what, async || reader.look(path), is).await
}

async fn there(reader: &mut Writer, path: &str) -> Value {
    until_node(reader, path, "there", Value::is_object).await
}

async fn gone(reader: &mut Writer, path: &str) {
    until_node(reader, path, "gone", Value::is_null).await;
}

#[tokio::test]
async fn a_node_lives_as_long_as_the_service_and_a_router_finds_it() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (service, instance) = (unique("reg"), Instance::h2c().named("one").start().await);
    let (port, mut reader) = (instance.addr().port(), Writer::new(&servers));
    let path = format!("/services/{service}/one");
    let registries = format!("{{ zk: {{ zookeeper: {{ servers: \"{servers}\" }} }} }}");
    let router = Config::new().set("registries", &registries).start();

    let more = ["--id", "one", "--protocol", "h2c", "--tag", "blue", "--weight", "3", "--meta", "team=a"];
    let mut process = start(&servers, &service, port, &[&more[..], &["--environment", "test"]].concat());
    let node = there(&mut reader, &path).await;
    let record: Value = serde_json::from_str(node["data"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&record["address"], &record["port"], &record["id"]),
        (&"127.0.0.1".into(), &port.into(), &"one".into())
    );
    let told = &record["payload"]["metadata"];
    assert_eq!((&told["weight"], &told["environment"], &told["team"]), (&"3".into(), &"test".into(), &"a".into()));
    assert_eq!(node["rights"], json!({ "world:anyone": 31 }));
    assert_ne!(node["owner"], 0, "ephemeral");
    serving(&router, &service, &["one"]).await;
    let member = router.table(&service).await["members"][0].clone();
    assert!(member["weight"] == 3 && member["tags"] == json!(["blue", "test"]), "{member:#}");

    // Longer than its session without a beat.
    sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(reader.look(&path)["owner"], node["owner"], "the same session");
    // Somebody deletes the node: it is made again.
    reader.delete(&path);
    there(&mut reader, &path).await;
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0), "{:#?}", process.logged());
    assert!(reader.look(&path).is_null(), "at once, not when the session expires");
}

#[tokio::test]
async fn who_is_killed_leaves_with_the_session_and_who_comes_back_is_there_at_once() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (service, instance) = (unique("reg"), Instance::h2c().start().await);
    let (port, mut reader) = (instance.addr().port(), Writer::new(&servers));
    let path = format!("/services/{service}/one");
    let long = ["--id", "one", "--ttl=30s"];
    drop(start(&servers, &service, port, &long)); // by SIGKILL, perhaps before anything was written
    let process = start(&servers, &service, port, &long);
    let before = there(&mut reader, &path).await["owner"].clone();
    drop(process);
    // In place of the node whose session runs for half a minute still.
    let process = start(&servers, &service, port, &["--id", "one"]);
    until_node(&mut reader, &path, "another's", |node| node.is_object() && node["owner"] != before).await;
    drop(process);
    gone(&mut reader, &path).await;
}

#[tokio::test]
async fn light_4j_finds_its_own_records() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (service, instance) = (unique("reg"), Instance::h2c().start().await);
    let (port, mut reader) = (instance.addr().port(), Writer::new(&servers));
    let more = ["--layout", "light_4j", "--prefix", "/lights", "--group", "blue", "--protocol", "https"];
    let mut process = start(&servers, &service, port, &more);
    let path = format!("/lights/blue/{service}/server/127.0.0.1:{port}");
    let node = there(&mut reader, &path).await;
    let data = node["data"].as_str().unwrap();
    let url = format!("light://127.0.0.1:{port}/{service}?protocol=https&weight=1");
    assert!(data.contains("\u{0}\u{5}t\u{0}") && data.ends_with(&url), "as Java serializes it: {data:?}");
    let registries = format!(
        "{{ zk: {{ zookeeper: {{ servers: \"{servers}\", layout: light_4j, path: /lights, group: blue }} }} }}"
    );
    let router = Config::new().set("registries", &registries).start();
    serving(&router, &service, &[&format!("127.0.0.1:{port}")]).await;
    process.signal("INT");
    process.ended().await;
    assert!(reader.look(&path).is_null());
}

#[tokio::test]
async fn a_session_is_taken_up_after_a_cut_and_made_anew_after_its_end() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (service, instance) = (unique("reg"), Instance::h2c().start().await);
    let (link, mut reader) = (Link::to(&servers).await, Writer::new(&servers));
    let path = format!("/services/{service}/one");
    let process = start(&link.address, &service, instance.addr().port(), &["--id", "one", "--ttl=9s"]);
    process.logs("registered service=").await;
    let before = there(&mut reader, &path).await["owner"].clone();
    link.cut();
    process.logs("not registered for sure").await;
    link.mend();
    process.logs_times("registered service=", 2).await;
    assert_eq!(reader.look(&path)["owner"], before, "the same session, by another connection");
    link.cut();
    gone(&mut reader, &path).await;
    link.mend();
    let after = there(&mut reader, &path).await["owner"].clone();
    assert_ne!(after, before);
}

#[tokio::test]
async fn a_server_that_dies_or_forgets_is_made_up_for() {
    if environment("ZOOKEEPER").is_none() {
        return;
    }
    let ensemble = Own::start("cluster");
    let (service, instance) = (unique("reg"), Instance::h2c().start().await);
    let mut reader = Writer::new(&ensemble.servers);
    let path = format!("/services/{service}/one");
    let more = ["--id", "one", "--ttl=20s"];
    let mut process = start(&ensemble.servers, &service, instance.addr().port(), &more);
    let before = there(&mut reader, &path).await["owner"].clone();
    // Whichever server it is at, and the leader with it.
    for node in [1, 2, 3] {
        ensemble.node(node, "kill");
        sleep(std::time::Duration::from_secs(1)).await;
        ensemble.node(node, "start");
        sleep(std::time::Duration::from_secs(1)).await;
    }
    // Two beats, at least.
    sleep(std::time::Duration::from_secs(14)).await;
    assert_eq!(there(&mut reader, &path).await["owner"], before, "{:#?}", process.logged());
    process.signal("TERM");
    process.ended().await;
    gone(&mut reader, &path).await;
}

#[tokio::test]
async fn credentials_protect_what_is_made_and_tls_carries_them() {
    let (Some(clear), Some(secure)) = (environment("ZOOKEEPER"), environment("ZOOKEEPER_TLS")) else { return };
    let (base, service, instance) = (format!("/{}", unique("base")), unique("reg"), Instance::h2c().start().await);
    let mut owner = Writer::with_auth(&clear, "owner:secret");
    owner.create_private(&format!("{base}/{service}"), "");
    let folder = tempfile::tempdir().unwrap();
    let (token, ca) = (folder.path().join("token"), std::env::var("ZOOKEEPER_CA").unwrap());
    std::fs::write(&token, "owner:wrong").unwrap();
    let file = token.to_str().unwrap();
    let more = ["--id", "one", "--prefix", &base, "--tls", "--ca", &ca, "--token-file", file];
    let process = start(&secure, &service, instance.addr().port(), &more);
    process.logs("we may not make or delete it").await;
    assert!(!process.logged().iter().any(|line| line.contains("owner:wrong")), "no secret in a log");
    std::fs::write(&token, "owner:secret\n").unwrap();
    let node = there(&mut owner, &format!("{base}/{service}/one")).await;
    assert_eq!(node["rights"], json!({ "digest:owner": 31, "world:anyone": 1 }));
}

#[tokio::test]
async fn a_router_announces_itself() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (service, mut reader) = (unique("edge"), Writer::new(&servers));
    let announce = format!("{{ service: {service}, id: edge-1, to: {{ zookeeper: {{ servers: \"{servers}\" }} }} }}");
    let edge = Config::new().set("announce", &announce).service("pets", &["http://127.0.0.1:1".to_owned()]).start();
    let path = format!("/services/{service}/edge-1");
    let record: Value = serde_json::from_str(there(&mut reader, &path).await["data"].as_str().unwrap()).unwrap();
    assert_eq!(record["port"], edge.clear().port());
    edge.router.drain().await;
    assert!(reader.look(&path).is_null());
}
