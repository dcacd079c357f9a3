//! `pointsman register` and `announce:`, with the real binary and real registries.

mod announce;
mod consul;
mod etcd;
mod zookeeper;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;
use testkit::{Instance, Reply};

use crate::{
    discover::rig::{Registrar, instances, serving, until},
    operate::process::{Process, binary, finish},
    support::{Config, Running},
};

/// A router with a registry of its own at this address.
fn router(registry: SocketAddr, more: &str) -> Running {
    let registries = format!("{{ local: {{ embedded: {{ address: {registry}, directory: null{more} }} }} }}");
    Config::new().set("registries", &registries).start()
}

/// An address nobody listens on now.
fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Registers an instance that runs already, or that the command starts, with a lease of 2 s.
fn register(to: &str, url: &str, instance: &Instance, more: &[&str]) -> Process {
    let port = instance.addr().port().to_string();
    let id = instance.name();
    let arguments = ["register", "--service", "pets", "--port", &port, "--to", to, "--url", url, "--id", id];
    let mut command = Command::new(binary());
    command.args(arguments).args(["--ttl", "2s", "--protocol", "h2c"]).args(more);
    Process::spawn(command.env_remove("STATUS_HOST_IP"))
}

fn of(router: &Running) -> String {
    format!("http://{}", router.registry("local"))
}

/// Runs until this file is there, or its parent is gone; then does this.
fn until_there(file: &Path, then: &str) -> String {
    format!("while [ ! -e {} ] && kill -0 $PPID 2>/dev/null; do sleep 0.05; done; {then}", file.display())
}

#[tokio::test]
async fn a_service_is_registered_and_leaves_before_it_is_told_to_end() {
    let router = router(([127, 0, 0, 1], 0).into(), "");
    let instance = Instance::h2c().named("one").start().await;
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let script =
        format!("trap 'touch {}; exit 7' TERM; while kill -0 $PPID 2>/dev/null; do sleep 0.05; done", told.display());
    let more = ["--tag", "blue", "--weight", "3", "--meta", "team=a", "--drain", "1s", "--", "sh", "-c", &script];
    let mut process = register("embedded", &of(&router), &instance, &more);
    serving(&router, "pets", &["one"]).await;
    let member = router.table("pets").await["members"][0].clone();
    assert!(member["weight"] == 3 && member["tags"] == json!(["blue"]), "{member:#}");
    process.signal("TERM");
    // Nobody is kept as a last resort: it said so itself.
    until(&router, "pets", "it has left", std::collections::BTreeMap::is_empty).await;
    assert!(!told.exists(), "it leaves first");
    assert_eq!(process.ended().await.code(), Some(7), "{:#?}", process.logged());
    assert!(told.exists());
}

#[tokio::test]
async fn a_service_that_is_killed_leaves_and_its_exit_code_is_ours() {
    let router = router(([127, 0, 0, 1], 0).into(), "");
    let instance = Instance::h2c().named("one").start().await;
    let folder = tempfile::tempdir().unwrap();
    for (then, code) in [("kill -9 $$", 137), ("exit 3", 3)] {
        let file = folder.path().join(code.to_string());
        let script = until_there(&file, then);
        let mut process = register("embedded", &of(&router), &instance, &["--", "sh", "-c", &script]);
        serving(&router, "pets", &["one"]).await;
        std::fs::write(&file, "").unwrap();
        assert_eq!(process.ended().await.code(), Some(code), "{:#?}", process.logged());
        until(&router, "pets", "it has left", std::collections::BTreeMap::is_empty).await;
    }
    // One that ends before it is ready was never registered.
    let nobody = Instance::h2c().named("two").start().await;
    nobody.kill().await;
    let mut process = register("embedded", &of(&router), &nobody, &["--", "sh", "-c", "exit 4"]);
    assert_eq!(process.ended().await.code(), Some(4));
    let absent = finish(&["register", "--service", "a", "--port", "1", "--to", "embedded", "--", "/no/such/program"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("cannot start"));
}

#[tokio::test]
async fn a_registry_that_was_away_or_forgot_is_told_again() {
    let registry = free();
    let first = router(registry, "");
    let instance = Instance::h2c().named("one").start().await;
    let url = of(&first);
    let mut process = register("embedded", &url, &instance, &[]);
    serving(&first, "pets", &["one"]).await;
    drop(first);
    process.logs("not registered for sure").await;
    let second = router(registry, "");
    serving(&second, "pets", &["one"]).await;
    process.logs_times("registered service=\"pets\"", 2).await;
    // Beats keep it: longer than its lease nothing changes.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    serving(&second, "pets", &["one"]).await;
    process.signal("INT");
    assert_eq!(process.ended().await.code(), Some(0), "beside a service we end well");
    until(&second, "pets", "it has left", std::collections::BTreeMap::is_empty).await;
}

#[tokio::test]
async fn it_is_registered_while_it_is_ready() {
    let router = router(([127, 0, 0, 1], 0).into(), "");
    let ready = Arc::<AtomicBool>::default();
    let answer = Arc::clone(&ready);
    let instance = Instance::http()
        .named("one")
        .answer(move |_| Reply::status(if answer.load(Ordering::SeqCst) { 200 } else { 503 }));
    let instance = instance.start().await;
    let port = instance.addr().port().to_string();
    let url = of(&router);
    let process = Process::spawn(Command::new(binary()).args([
        "register",
        "--service",
        "pets",
        "--port",
        &port,
        "--to",
        "embedded",
        "--url",
        &url,
        "--id",
        "one",
        "--health",
        "/ok",
        "--health-interval",
        "100ms",
    ]));
    process.logs("waiting until the service is ready").await;
    until(&router, "pets", "nobody yet", std::collections::BTreeMap::is_empty).await;
    for _ in 0..2 {
        ready.store(true, Ordering::SeqCst);
        serving(&router, "pets", &["one"]).await;
        ready.store(false, Ordering::SeqCst);
        until(&router, "pets", "it has left", std::collections::BTreeMap::is_empty).await;
    }
    drop(process);
}

#[tokio::test]
async fn who_is_refused_says_why_and_a_mended_token_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "wrong\n").unwrap();
    let tokens = ", tokens: { pets: { secret: sesame, write: pets }, other: { secret: foreign, write: other } }";
    let router = router(([127, 0, 0, 1], 0).into(), tokens);
    let instance = Instance::h2c().named("one").start().await;
    let url = of(&router);
    let process = register("embedded", &url, &instance, &["--token-file", token.to_str().unwrap()]);
    process.logs("answered 401").await;
    std::fs::write(&token, "foreign").unwrap();
    process.logs("may not write service").await;
    assert!(
        !process.logged().iter().any(|line| line.contains("foreign") || line.contains("sesame")),
        "no secret in a log"
    );
    std::fs::write(&token, "sesame").unwrap();
    serving(&router, "pets", &["one"]).await;
}

#[tokio::test]
async fn a_reload_changes_rights_and_closes_no_connection() {
    let config = |tokens: &str| {
        let yaml = format!(
            "listeners: [ {{ address: 127.0.0.1:0 }} ]\nadmin: {{ address: 127.0.0.1:0 }}\nthreads: 1\n\
             access_log: {{ format: off }}\nregistries: {{ local: {{ embedded: {{ address: 127.0.0.1:0, directory: null, \
             tokens: {tokens} }} }} }}"
        );
        settings::parse::<router::settings::Settings>(&yaml, Path::new("test.yml"), &|_| None).unwrap()
    };
    let router = router(([127, 0, 0, 1], 0).into(), ", tokens: { a: { secret: old, write: pets } }");
    let client = testkit::Client::http(router.registry("local")).await;
    let ask = async |token: &str| {
        let body = json!({ "name": "pets", "ip": "127.0.0.1", "port": 1 }).to_string();
        let headers = [("x-registry-token", token)];
        client.send(testkit::post("/registry/register", &headers, body)).await.status.as_u16()
    };
    assert_eq!((ask("old").await, ask("new").await), (200, 401));
    router.router.replace(config("{ a: { secret: new, write: pets } }")).await.unwrap();
    // Over the same connection.
    assert_eq!((ask("old").await, ask("new").await), (401, 200));
    router.router.replace(config("{ a: { secret: new, write: other } }")).await.unwrap();
    assert_eq!(ask("new").await, 403);
}

#[tokio::test]
async fn checks_of_the_registry_itself_decide_who_serves() {
    let router = router(([127, 0, 0, 1], 0).into(), "");
    let registrar = Registrar::of(&router).await;
    let [one, two] = <[Instance; 2]>::try_from(instances(&["one", "two"]).await).unwrap();
    let check = json!({ "checks": [ { "type": "tcp", "interval": "1s", "fall": 1 } ] });
    registrar.register_as("pets", &one, check.clone()).await;
    registrar.register_as("pets", &two, check).await;
    serving(&router, "pets", &["one", "two"]).await;
    two.kill().await;
    serving(&router, "pets", &["one"]).await;
    two.restart_on_same_port().await;
    serving(&router, "pets", &["one", "two"]).await;
}

#[tokio::test]
async fn who_fails_a_check_by_http_for_long_is_deregistered() {
    let router = router(([127, 0, 0, 1], 0).into(), "");
    let registrar = Registrar::of(&router).await;
    let one = Instance::http().named("one").start().await;
    let two = Instance::http().named("two").start().await;
    let check = |after: &str| {
        json!({ "ttl": "none", "deregister_after": after,
            "checks": [ { "type": "http", "path": "/ready", "interval": "1s", "fall": 1 } ] })
    };
    registrar.register_as("pets", &one, check("1h")).await;
    registrar.register_as("pets", &two, check("2s")).await;
    serving(&router, "pets", &["one", "two"]).await;
    for instance in [&one, &two] {
        instance.on("/ready", Reply::script().head(503));
    }
    let registered = async || {
        let list = Registrar::list(&router, "pets").await;
        list["instances"].as_array().map_or(0, Vec::len)
    };
    // Of those that do not serve, the one that fails for too long is gone for good, the other one comes back.
    testkit::until("one is deregistered", registered, |count| *count == 1).await;
    for instance in [&one, &two] {
        instance.on("/ready", Reply::script().head(204));
    }
    serving(&router, "pets", &["one"]).await;
    assert_eq!(registered().await, 1);
}

#[test]
fn mistakes_in_arguments_are_told_and_nothing_is_started() {
    for (to, more, part) in [
        ("zookeeper", "--ttl=10m", "5m at most"),
        ("zookeeper", "--url=http://zk:2181", "without a scheme"),
        ("embedded", "--ttl=500ms", "1s to 24h"),
        ("embedded", "--protocol=gopher", "http, h2c"),
        ("consul", "--url=consul:8500", "http://host:port"),
    ] {
        let output =
            finish(&["register", "--service", "a", "--port", "1", "--to", to, more, "--", "sh", "-c", "exit 9"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(part), "{more}: {said}");
    }
}

#[tokio::test]
async fn the_address_is_that_of_the_environment_unless_one_is_given() {
    let router = router(([127, 0, 0, 1], 0).into(), "");
    let instance = Instance::h2c().named("one").start().await;
    let port = instance.addr().port();
    for (id, more, address) in [("env", &[][..], "127.0.0.9"), ("given", &["--address", "127.0.0.8"], "127.0.0.8")] {
        let mut command = Command::new(binary());
        let (port_text, url) = (port.to_string(), of(&router));
        command.args([
            "register",
            "--service",
            id,
            "--port",
            &port_text,
            "--to",
            "embedded",
            "--url",
            &url,
            "--id",
            id,
        ]);
        let _process = Process::spawn(command.args(more).env("STATUS_HOST_IP", "127.0.0.9"));
        serving(&router, id, &[id]).await;
        assert_eq!(router.table(id).await["members"][0]["address"], format!("{address}:{port}"));
    }
}
