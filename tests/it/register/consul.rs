//! `--to consul`, with real agents.

use serde_json::Value;
use testkit::Client;
use tokio::time::sleep;

use super::*;
use crate::{
    consul::rig::{Own, ca, environment},
    registry::unique,
};

/// Starts `pointsman register` for a service of this name.
fn start(url: &str, service: &str, instance: &Instance, more: &[&str]) -> Process {
    let port = instance.addr().port().to_string();
    let arguments = ["register", "--service", service, "--port", &port, "--to", "consul", "--url", url];
    let mut command = Command::new(binary());
    Process::spawn(command.args(arguments).args(["--ttl", "2s", "--address", "127.0.0.1"]).args(more))
}

/// What an agent says of the instances of a service.
async fn listed(url: &str, service: &str) -> Vec<Value> {
    let address = url.trim_start_matches("http://").parse().unwrap();
    let client = Client::http(address).await;
    let answer = client.try_send(testkit::get(&format!("/v1/health/service/{service}"), &[])).await;
    answer
        .ok()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.json().as_array().unwrap().clone())
        .unwrap_or_default()
}

/// The worst of its checks.
fn status(entry: &Value) -> &str {
    let checks = entry["Checks"].as_array().unwrap();
    checks.iter().map(|c| c["Status"].as_str().unwrap()).find(|status| *status != "passing").unwrap_or("passing")
}

/// Waits until the instances of a service have these statuses.
async fn until_listed(url: &str, service: &str, statuses: &[&str]) -> Vec<Value> {
    let wanted = |now: &Vec<Value>| now.iter().map(status).eq(statuses.iter().copied());
    testkit::until(&format!("{statuses:?}"), async || listed(url, service).await, wanted).await
}

#[tokio::test]
async fn a_service_lives_in_consul_as_long_as_it_lives() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let (service, instance) = (unique("reg"), Instance::h2c().start().await);
    let script = "trap 'exit 7' TERM; while kill -0 $PPID 2>/dev/null; do sleep 0.05; done";
    let more = ["--protocol", "h2c", "--environment", "test", "--tag", "blue", "--weight", "5", "--meta", "team=a"];
    let more = [&more[..], &["--drain", "0s", "--", "sh", "-c", script]].concat();
    let mut process = start(&url, &service, &instance, &more);
    let entry = until_listed(&url, &service, &["passing"]).await.remove(0);
    let told = &entry["Service"];
    assert_eq!((&told["Port"], &told["Address"]), (&instance.addr().port().into(), &"127.0.0.1".into()));
    assert_eq!((&told["Tags"], &told["Weights"]["Passing"]), (&json!(["test", "blue"]), &5.into()));
    assert_eq!((&told["Meta"]["protocol"], &told["Meta"]["team"]), (&"h2c".into(), &"a".into()));
    sleep(std::time::Duration::from_secs(3)).await;
    until_listed(&url, &service, &["passing"]).await;
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(7), "{:#?}", process.logged());
    assert!(listed(&url, &service).await.is_empty());
}

#[tokio::test]
async fn who_is_killed_with_us_is_not_served_after_its_lease() {
    let Some(url) = environment("CONSUL_URL") else { return };
    let (service, instance) = (unique("reg"), Instance::h2c().start().await);
    let process = start(&url, &service, &instance, &[]);
    until_listed(&url, &service, &["passing"]).await;
    drop(process); // by SIGKILL
    until_listed(&url, &service, &["critical"]).await;
    // One that comes back under the same name is there at once.
    let _again = start(&url, &service, &instance, &[]);
    until_listed(&url, &service, &["passing"]).await;
}

#[tokio::test]
async fn an_agent_that_forgot_is_told_again() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let agent = Own::forgetful();
    let (service, instance) = (unique("reg"), Instance::h2c().start().await);
    let process = start(&agent.url, &service, &instance, &[]);
    until_listed(&agent.url, &service, &["passing"]).await;
    agent.node("kill");
    process.logs("not registered for sure").await;
    agent.node("start");
    testkit::until("it registers again", async || process.count("registered service="), |count| *count >= 2).await;
    until_listed(&agent.url, &service, &["passing"]).await;
}

#[tokio::test]
async fn tokens_are_used_and_a_refusal_is_told() {
    let Some(url) = environment("CONSUL_TLS_URL") else { return };
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "00000000-0000-0000-0000-000000000000").unwrap();
    let (service, instance) = (unique("api"), Instance::h2c().start().await);
    let (ca, file) = (ca(), token.to_str().unwrap().to_owned());
    let more = ["--ca", ca.to_str().unwrap(), "--server-name", "server.dc1.consul", "--token-file", &file];
    let process = start(&url, &service, &instance, &more);
    process.logs("ACL not found").await;
    std::fs::write(&token, environment("CONSUL_TOKEN_WRITE").unwrap()).unwrap();
    process.logs("registered service=").await;
}

#[tokio::test]
async fn a_client_certificate_is_used_and_its_lack_is_told() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let agent = tokio::task::spawn_blocking(Own::mutual).await.unwrap();
    let (service, instance) = (unique("api"), Instance::h2c().start().await);
    let said = ["CACERT", "TOKEN_WRITE", "CLIENT_CERT", "CLIENT_KEY"].map(|v| agent.variable(&format!("CONSUL_{v}")));
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, &said[1]).unwrap();
    let bare = ["--ca", &said[0], "--token-file", token.to_str().unwrap()];
    // Now and then the connection breaks while the question is written, before the agent's reason is read.
    for attempt in 0.. {
        let without = start(&agent.url, &service, &instance, &bare);
        without.logs("WARN").await;
        assert_eq!(without.count("registered service="), 0, "{:#?}", without.logged());
        if without.count("`client_certificate`") == 1 {
            break;
        }
        assert!(attempt < 9, "{:#?}", without.logged());
    }
    let named = [&bare[..], &["--client-certificate", &said[2], "--client-key", &said[3]]].concat();
    start(&agent.url, &service, &instance, &named).logs("registered service=").await;
}
