//! `--to etcd`, with a real one.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use testkit::{Client, post};
use tokio::time::sleep;

use super::*;
use crate::{
    etcd::rig::{Registrar, b64, environment, file, source},
    registry::{inline, unique},
    source::named,
};

/// Asks etcd.
async fn ask(url: &str, path: &str, body: &Value) -> Value {
    let client = Client::http(url.trim_start_matches("http://").parse().unwrap()).await;
    client.send(post(path, &[], body.to_string())).await.json()
}

fn key(service: &str) -> String {
    BASE64_STANDARD.encode(format!("/services/{service}/one"))
}

/// Waits until the key is there, or is not; its value.
async fn value(url: &str, service: &str, there: bool) -> Value {
    let find = async || {
        let found = ask(url, "/v3/kv/range", &json!({ "key": key(service) })).await;
        found["kvs"][0]["value"].as_str().map(|v| BASE64_STANDARD.decode(v).unwrap())
    };
    let value = testkit::until(&format!("{there}"), find, |value| value.is_some() == there).await;
    value.map(|v| serde_json::from_slice(&v).unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn a_key_lives_as_long_as_the_service() {
    let Some(url) = environment("ETCD_URL") else { return };
    let (service, instance) = (unique("reg"), Instance::h2c().start().await);
    let port = instance.addr().port().to_string();
    let start = || {
        let mut command = Command::new(binary());
        command.args([
            "register",
            "--service",
            &service,
            "--port",
            &port,
            "--to",
            "etcd",
            "--url",
            &url,
            "--id",
            "one",
        ]);
        Process::spawn(command.args(["--ttl", "2s", "--address", "127.0.0.1", "--protocol", "h2c"]))
    };
    let mut process = start();
    let told = value(&url, &service, true).await;
    assert_eq!((&told["ip"], &told["port"]), (&"127.0.0.1".into(), &instance.addr().port().into()));
    sleep(std::time::Duration::from_secs(3)).await;
    value(&url, &service, true).await;
    // Somebody deletes the key: it is written again.
    ask(&url, "/v3/kv/deleterange", &json!({ "key": key(&service) })).await;
    value(&url, &service, true).await;
    process.signal("TERM");
    process.ended().await;
    value(&url, &service, false).await;

    let process = start();
    value(&url, &service, true).await;
    drop(process); // by SIGKILL
    value(&url, &service, false).await;
}

#[tokio::test]
async fn over_tls_a_user_with_the_right_to_write_is_needed() {
    let Some(url) = environment("ETCD_TLS_URL") else { return };
    let (registrar, service) = (Registrar::root(&url).await, unique("reg"));
    let instance = Instance::h2c().start().await;
    registrar.ask("auth/user/add", json!({ "name": service, "password": "word" })).await;
    registrar.ask("auth/role/add", json!({ "name": service })).await;
    registrar.ask("auth/user/grant", json!({ "user": service, "role": service })).await;
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "wrong").unwrap();
    let (ca, port) = (file("ETCD_CACERT"), instance.addr().port().to_string());
    let mut command = Command::new(binary());
    command.args(["register", "--service", &service, "--port", &port, "--to", "etcd", "--url", &url, "--ttl", "2s"]);
    command.args(["--address", "127.0.0.1", "--id", "one", "--user", &service]);
    command.arg("--ca").arg(&ca).arg("--password-file").arg(&password);
    let mut process = Process::spawn(&mut command);
    process.logs("authentication failed").await;
    std::fs::write(&password, "word").unwrap();
    process.logs("permission denied").await;
    let right = json!({ "permType": "READWRITE", "key": b64("/services/"), "range_end": b64("/services0") });
    registrar.ask("auth/role/grant", json!({ "name": service, "perm": right })).await;
    process.logs("registered service=").await;

    let tls = transport::client::TlsSettings { ca: Some(ca), ..Default::default() };
    let access = discovery::provider::etcd::Access { tls, user: Some("router".into()), password: inline("router") };
    let settings = discovery::provider::etcd::Settings { access, ..discovery::provider::etcd::Settings::new([url]) };
    let mut source = source(settings, named(&[&service]));
    assert_eq!(source.known(&service, 1).await[0].endpoint.address.port, instance.addr().port());
    process.signal("TERM");
    process.ended().await;
    source.empty(&service).await;
    registrar.ask("auth/user/delete", json!({ "name": service })).await;
}
