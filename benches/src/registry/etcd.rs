//! A member of etcd, by its JSON gateway. It tells by a line to another client that watches the same service.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Method;
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::Instant};
use transport::client::{Client, Lines};

use super::{
    GUEST, Many, Registry, SERVICE, Told, name, port,
    server::{PATIENCE, Server, address, client, send},
};

/// Writes in one transaction: what a member takes by default.
const AT_ONCE: usize = 128;

/// A member: that of `ETCD_URL`, or one of its own.
#[derive(Debug, Clone)]
pub struct Etcd {
    client: Client,
    server: Arc<Server>,
    prefix: String,
}

impl Etcd {
    /// Starts it, if need be.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        let server = Arc::new(Server::find("etcd", "single", "ETCD_URL"));
        let prefix = format!("/pointsman-freshness-{}", std::process::id());
        Self { client: client(&server.address), server, prefix }
    }

    /// Where it is.
    ///
    /// # Panics
    /// If its URL names no address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        address(&self.server.address)
    }

    fn key(&self, service: &str, id: &str) -> String {
        BASE64_STANDARD.encode(format!("{}/{service}/{id}", self.prefix))
    }

    async fn seen(&self, path: &str, body: &Value, id: &str) -> Told {
        let (ready, made) = oneshot::channel();
        let watcher = tokio::spawn(watch(self.client.clone(), self.key(SERVICE, id), ready));
        made.await.expect("the watcher lives");
        let asked = Instant::now();
        send(&self.client, Method::POST, path, body).await;
        Told { asked, told: watcher.await.expect("the watcher lives") }
    }

    fn one(&self, service: usize, instance: usize, weight: usize) -> Value {
        let value = json!({ "ip": "127.0.0.9", "port": port(instance), "weight": weight });
        json!({ "key": self.key(&name(service), &instance.to_string()), "value": BASE64_STANDARD.encode(value.to_string()) })
    }
}

impl Registry for Etcd {
    const NAME: &'static str = "etcd";

    fn section(&self) -> String {
        format!("etcd: {{ endpoints: '{}', prefix: '{}' }}", self.server.address, self.prefix)
    }

    async fn register(&self, id: &'static str, address: SocketAddr) -> Told {
        let tags: &[&str] = if id == GUEST { &[GUEST] } else { &[] };
        let value = json!({ "ip": address.ip(), "port": address.port(), "protocol": "h2c", "tags": tags });
        let body = json!({ "key": self.key(SERVICE, id), "value": BASE64_STANDARD.encode(value.to_string()) });
        self.seen("/v3/kv/put", &body, id).await
    }

    async fn deregister(&self, id: &'static str) -> Told {
        self.seen("/v3/kv/deleterange", &json!({ "key": self.key(SERVICE, id) }), id).await
    }
}

impl Many for Etcd {
    async fn fill(&self, services: usize, instances: usize) {
        let all: Vec<Value> = (0..services)
            .flat_map(|service| (0..instances).map(move |instance| (service, instance)))
            .map(|(service, instance)| json!({ "requestPut": self.one(service, instance, 1) }))
            .collect();
        for some in all.chunks(AT_ONCE) {
            send(&self.client, Method::POST, "/v3/kv/txn", &json!({ "success": some })).await;
        }
    }

    async fn alter(&self, service: usize, instance: usize, weight: usize) {
        send(&self.client, Method::POST, "/v3/kv/put", &self.one(service, instance, weight)).await;
    }
}

/// Says when it watches; returns when the first change of the key is at hand.
async fn watch(client: Client, key: String, ready: oneshot::Sender<()>) -> Instant {
    let question = json!({ "create_request": { "key": key } }).to_string();
    let until = Instant::now() + PATIENCE;
    let mut stream = client.stream(Method::POST, "/v3/watch", question.into(), until).await.expect("a watch");
    let (mut lines, mut ready) = (Lines::new(1 << 20), Some(ready));
    loop {
        let piece = stream.next(until).await.expect("the member lives").expect("the watch lasts");
        let at = Instant::now();
        lines.push(&piece).expect("a change is short");
        while let Some(line) = lines.pop() {
            let line: Value = serde_json::from_slice(&line).expect("JSON");
            if line["result"]["events"].is_array() {
                return at;
            }
            if let Some(ready) = ready.take() {
                ready.send(()).expect("the measurement waits");
            }
        }
    }
}
