//! What is asked of etcd, by a fake one; a real one is in the workspace's integration tests.

use std::time::Duration;

use model::{InstanceId, ServiceId};
use testkit::{Instance, Reply, Seen, eventually};

use super::*;
use crate::announce::{Settings, To};

/// An etcd that answers each of these paths so, and every other one `{}`.
async fn fake(answers: &[(&str, Reply)]) -> (Etcd, Instance) {
    let member = Instance::http().answer(|_| Reply::ok("{}"));
    let member = answers.iter().cloned().fold(member, |member, (path, reply)| member.on(path, reply)).start().await;
    let yaml = format!("{{ service: pets, to: {{ etcd: {{ endpoints: '{}' }} }} }}", member.url());
    (etcd(&yaml), member)
}

fn etcd(yaml: &str) -> Etcd {
    let settings: Settings = ::settings::parse(yaml, std::path::Path::new("x.yml"), &|_| None).unwrap();
    let To::Etcd(to) = settings.to else { panic!("{yaml}") };
    Etcd::new(to.clients().unwrap(), to)
}

fn record() -> Record {
    Record {
        service: ServiceId::new("pets").unwrap(),
        id: InstanceId::new("one").unwrap(),
        address: "10.0.0.1".to_owned(),
        port: 80,
        protocol: None,
        environment: None,
        zone: None,
        version: None,
        health: None,
        tags: Vec::new(),
        weight: 1,
        metadata: std::collections::BTreeMap::new(),
        ttl: Duration::from_secs(30),
    }
}

fn paths(member: &Instance) -> Vec<String> {
    member.seen().iter().map(|seen| seen.path().trim_start_matches("/v3/").to_owned()).collect()
}

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

fn granted() -> (&'static str, Reply) {
    ("/v3/lease/grant", Reply::ok(r#"{"ID":"7"}"#))
}

#[tokio::test]
async fn who_leaves_deletes_its_key_and_lets_the_lease_end() {
    let (mut etcd, member) = fake(&[granted(), ("/v3/kv/txn", Reply::ok(r#"{"succeeded":true}"#))]).await;
    etcd.register(&record()).await.unwrap();
    etcd.deregister(&record()).await.unwrap();
    assert_eq!(paths(&member), ["lease/grant", "kv/put", "kv/txn"]);
    let txn = body(&member.seen()[2]);
    let key = STANDARD.encode("/services/pets/one");
    assert_eq!(txn["compare"][0]["lease"], "7", "what is not of our lease is another's");
    assert_eq!(
        (&txn["compare"][0]["key"], &txn["success"][0]["requestDeleteRange"]["key"]),
        (&json!(key), &json!(key))
    );
    etcd.deregister(&record()).await.unwrap();
    assert_eq!(member.seen().len(), 3, "it is out");
}

#[tokio::test]
async fn a_lease_without_its_key_is_revoked() {
    let (mut etcd, member) = fake(&[granted()]).await;
    etcd.register(&record()).await.unwrap();
    etcd.deregister(&record()).await.unwrap();
    assert_eq!(paths(&member), ["lease/grant", "kv/put", "kv/txn", "lease/revoke"]);
}

#[tokio::test]
async fn a_key_that_could_not_be_written_for_sure_is_taken_back() {
    let (mut etcd, member) = fake(&[granted(), ("/v3/kv/put", Reply::status(503).data("{}"))]).await;
    assert!(matches!(etcd.register(&record()).await, Err(Failure::Away(_))));
    assert_eq!(paths(&member), ["lease/grant", "kv/put", "lease/revoke"]);
    assert_eq!(body(&member.seen()[2])["ID"], "7");
}

#[tokio::test]
async fn who_stops_waiting_for_the_answer_still_leaves() {
    let (mut etcd, member) = fake(&[granted(), ("/v3/kv/put", Reply::silence())]).await;
    let pets = record();
    tokio::select! {
        () = eventually("the key is put", || member.seen().len() == 2) => {}
        _ = etcd.register(&pets) => {}
    }
    etcd.deregister(&record()).await.unwrap();
    assert!(paths(&member).contains(&"kv/txn".to_owned()));
}

#[tokio::test]
async fn the_next_member_is_asked_if_one_is_in_trouble() {
    let busy = Instance::http().answer(|_| Reply::status(503)).start().await;
    let (path, reply) = granted();
    let well = Instance::http().answer(|_| Reply::ok("{}")).on(path, reply).start().await;
    let members = format!("[ 'http://127.0.0.1:1', '{}', '{}' ]", busy.url(), well.url());
    let mut etcd = etcd(&format!("{{ service: pets, to: {{ etcd: {{ endpoints: {members} }} }} }}"));
    for _ in 0..2 {
        assert!(matches!(etcd.register(&record()).await, Err(Failure::Away(_))));
    }
    etcd.register(&record()).await.unwrap();
    assert_eq!(
        (paths(&busy), paths(&well)),
        (vec!["lease/grant".to_owned()], vec!["lease/grant".into(), "kv/put".into()])
    );
}
