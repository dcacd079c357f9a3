//! Who reads what the router writes, and does not.

use std::{
    fs::OpenOptions,
    io::{BufRead as _, BufReader},
    process::Command,
};

use testkit::{Client, Instance, Reply, bounded, get, post};

use super::process::{Process, binary, reached};
use crate::support::Config;

/// A pipe has room for 64 KiB; a change of the registry is some 200 octets of log.
const CHANGES: usize = 1000;

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let both = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let run = r#"exec "$0" run --listen 127.0.0.1:0 --admin 127.0.0.1:0 --registry 127.0.0.1:0 2>"$1""#;
    let _process =
        Process::spawn(Command::new("sh").args(["-c", run]).arg(binary()).arg(&pipe).current_dir(folder.path()));
    // Read until it says where it listens, and then no more.
    let lines = BufReader::new(both.try_clone().unwrap());
    let ready =
        move || lines.lines().find_map(|line| Some(line.ok()?.split_once("pointsman is ready: ")?.1.to_owned()));
    let reached = reached(&tokio::task::spawn_blocking(ready).await.unwrap().expect("it says so"));
    let registry = Client::http(reached.registry.unwrap()).await;
    let changes = async {
        for weight in 1..=CHANGES {
            let body = format!(r#"{{ "name": "pets", "ip": "127.0.0.1", "port": 1, "weight": {} }}"#, weight % 2 + 1);
            assert_eq!(registry.send(post("/registry/register", &[], body)).await.status, 200);
        }
    };
    bounded("changes that nobody reads of", changes).await;
    let metrics = Client::http(reached.admin).await.send(get("/metrics", &[])).await.text();
    drop(both);
    assert!(metrics.contains("\npointsman_log_lines_dropped_total 0\n"), "{metrics}");
}

/// Who wonders why a request failed although there was another instance finds it in the metrics, and in the log at `debug`.
/// Caddy 6259, 4245.
#[tokio::test]
async fn a_try_that_was_not_made_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let broken = |_: &testkit::Seen| Reply::closes();
    let (one, two) = (Instance::http().answer(broken).start().await, Instance::http().answer(broken).start().await);
    let config = Config::new()
        .set("listeners", "[ { address: 127.0.0.1:0 } ]")
        .set("log", "{ level: 'info,router=debug' }")
        .service("pets", &[one.url(), two.url()]);
    std::fs::write(folder.path().join("router.yml"), config.yaml()).unwrap();
    let process = Process::start(&["run", "--config", "router.yml"], folder.path());
    let reached = process.ready().await;
    let client = Client::http(reached.clients[0]).await;
    let answer = client.send(post("/", &[("service_id", "pets")], "an order")).await;
    assert_eq!((answer.status, one.counts().requests() + two.counts().requests()), (502.try_into().unwrap(), 1));
    process.logs("not tried again").await;
    let why = process.logged().into_iter().find(|line| line.contains("not tried again")).unwrap();
    assert!(why.contains("why=\"method\""), "{why}");
    let metrics = Client::http(reached.admin).await.send(get("/metrics", &[])).await.text();
    assert!(metrics.contains("\npointsman_retries_withheld_total{reason=\"method\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn an_access_log_that_nobody_reads_keeps_no_router_from_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("access");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let unread = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let config = folder.path().join("router.yml");
    std::fs::write(
        &config,
        "listeners: [ { address: 127.0.0.1:0 } ]\nadmin: { address: 127.0.0.1:0 }\ndrain: { delay: 0s }\n",
    )
    .unwrap();
    let run = r#"exec "$0" run --config "$1" >"$2""#;
    let mut process = Process::spawn(Command::new("sh").args(["-c", run]).arg(binary()).arg(&config).arg(&pipe));
    let client = Client::http(process.ready().await.clients[0]).await;
    // More than a pipe has room for.
    let agent = "a".repeat(4000);
    for _ in 0..30 {
        assert_eq!(client.send(get("/", &[("user-agent", &agent)])).await.status, 404);
    }
    process.signal("TERM");
    assert!(process.ended().await.success());
    drop(unread);
}
