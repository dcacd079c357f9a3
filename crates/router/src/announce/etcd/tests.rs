//! What is asked of etcd, by a fake one; a real one is in the workspace's integration tests.

use std::{sync::Arc, time::Duration};

use model::{InstanceId, ServiceId};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use super::*;
use crate::announce::{Settings, To};

/// Paths and bodies, in order.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// An etcd that answers each path so, with status 0 never; every other one `{}`.
async fn fake(answers: &'static [(&'static str, u16, &'static str)]) -> (Etcd, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.local_addr().unwrap();
    let yaml = format!("{{ service: pets, to: {{ etcd: {{ url: 'http://{url}' }} }} }}");
    let settings: Settings = ::settings::parse(&yaml, std::path::Path::new("x.yml"), &|_| None).unwrap();
    let To::Etcd(to) = settings.to else { panic!("{yaml}") };
    let client = to.client().unwrap();
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, answers, Arc::clone(&log)));
        }
    });
    (Etcd::new(client, to), asked)
}

async fn serve(mut stream: TcpStream, answers: &[(&str, u16, &str)], log: Asked) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let (_, status, answer) = answers.iter().find(|(of, ..)| *of == path).unwrap_or(&("", 200, "{}"));
        log.lock().await.push((path, serde_json::from_slice(&body).unwrap()));
        if *status == 0 {
            return std::future::pending().await;
        }
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
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

async fn paths(asked: &Asked) -> Vec<String> {
    asked.lock().await.iter().map(|(path, _)| path.trim_start_matches("/v3/").to_owned()).collect()
}

const GRANTED: (&str, u16, &str) = ("/v3/lease/grant", 200, r#"{"ID":"7"}"#);

#[tokio::test]
async fn who_leaves_deletes_its_key_and_lets_the_lease_end() {
    let (mut etcd, asked) = fake(&[GRANTED, ("/v3/kv/txn", 200, r#"{"succeeded":true}"#)]).await;
    etcd.register(&record()).await.unwrap();
    etcd.deregister(&record()).await.unwrap();
    assert_eq!(paths(&asked).await, ["lease/grant", "kv/put", "kv/txn"]);
    let txn = asked.lock().await[2].1.clone();
    let key = STANDARD.encode("/services/pets/one");
    assert_eq!(txn["compare"][0]["lease"], "7", "what is not of our lease is another's");
    assert_eq!(
        (&txn["compare"][0]["key"], &txn["success"][0]["requestDeleteRange"]["key"]),
        (&json!(key), &json!(key))
    );
    etcd.deregister(&record()).await.unwrap();
    assert_eq!(asked.lock().await.len(), 3, "it is out");
}

#[tokio::test]
async fn a_lease_without_its_key_is_revoked() {
    let (mut etcd, asked) = fake(&[GRANTED]).await;
    etcd.register(&record()).await.unwrap();
    etcd.deregister(&record()).await.unwrap();
    assert_eq!(paths(&asked).await, ["lease/grant", "kv/put", "kv/txn", "lease/revoke"]);
}

#[tokio::test]
async fn a_key_that_could_not_be_written_for_sure_is_taken_back() {
    let (mut etcd, asked) = fake(&[GRANTED, ("/v3/kv/put", 503, "{}")]).await;
    assert!(matches!(etcd.register(&record()).await, Err(Failure::Away(_))));
    assert_eq!(paths(&asked).await, ["lease/grant", "kv/put", "lease/revoke"]);
    assert_eq!(asked.lock().await[2].1["ID"], "7");
}

#[tokio::test]
async fn who_stops_waiting_for_the_answer_still_leaves() {
    let (mut etcd, asked) = fake(&[GRANTED, ("/v3/kv/put", 0, "")]).await;
    {
        let (pets, log) = (record(), Arc::clone(&asked));
        let put = async move {
            while log.lock().await.len() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = put => {}
            _ = etcd.register(&pets) => {}
        }
    }
    etcd.deregister(&record()).await.unwrap();
    assert!(paths(&asked).await.contains(&"kv/txn".to_owned()));
}
