//! Who reads the router's log, and does not.

use std::{fs::OpenOptions, process::Command};

use testkit::{Client, bounded, get, post};

use super::process::{Process, binary};

/// A pipe has room for 64 KiB; a change of the registry is some 200 octets of log.
const CHANGES: usize = 1000;

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let unread = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let run = r#"exec "$0" run --listen 127.0.0.1:0 --admin 127.0.0.1:0 --registry 127.0.0.1:0 2>"$1""#;
    let process = Process::spawn(Command::new("sh").args(["-c", run]).arg(binary()).arg(&pipe));
    let reached = process.ready().await;
    let registry = Client::http(reached.registry.unwrap()).await;
    let changes = async {
        for weight in 1..=CHANGES {
            let body = format!(r#"{{ "name": "pets", "ip": "127.0.0.1", "port": 1, "weight": {} }}"#, weight % 2 + 1);
            assert_eq!(registry.send(post("/registry/register", &[], body)).await.status, 200);
        }
    };
    bounded("changes that nobody reads of", changes).await;
    let metrics = Client::http(reached.admin).await.send(get("/metrics", &[])).await.text();
    assert!(metrics.contains("\npointsman_log_lines_dropped_total 0\n"), "{metrics}");
    drop(unread);
}
