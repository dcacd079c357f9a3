//! A Consul agent. It tells by waking another client that is blocked on the same service.

use std::{net::SocketAddr, time::Duration};

use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use transport::client::{Client, Response};

use super::{
    GUEST, Registry, SERVICE, Told,
    server::{Server, client, send},
};

/// Until a question that blocks has arrived where it blocks.
const ARRIVED: Duration = Duration::from_millis(20);

/// An agent: that of `CONSUL_URL`, or one of its own.
#[derive(Debug)]
pub struct Consul {
    client: Client,
    server: Server,
}

impl Consul {
    /// Starts it, if need be.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        let server = Server::find("consul", "dev", "CONSUL_URL");
        Self { client: client(&server.address), server }
    }

    async fn seen(&self, path: &str, body: &Value, id: &'static str, present: bool) -> Told {
        let watcher = tokio::spawn(watch(self.client.clone(), id, present));
        sleep(ARRIVED).await;
        let asked = Instant::now();
        send(&self.client, Method::PUT, path, body).await;
        Told { asked, told: watcher.await.expect("the watcher lives") }
    }
}

impl Registry for Consul {
    const NAME: &'static str = "consul";

    fn section(&self) -> String {
        format!("consul: {{ url: '{}' }}", self.server.address)
    }

    async fn register(&self, id: &'static str, address: SocketAddr) -> Told {
        let tags: &[&str] = if id == GUEST { &[GUEST] } else { &[] };
        let body = json!({ "ID": id, "Name": SERVICE, "Address": address.ip(), "Port": address.port(), "Tags": tags,
            "Meta": { "protocol": "h2c" } });
        self.seen("/v1/agent/service/register", &body, id, true).await
    }

    async fn deregister(&self, id: &'static str) -> Told {
        self.seen(&format!("/v1/agent/service/deregister/{id}"), &Value::Null, id, false).await
    }
}

/// Blocks until the health endpoint lists the instance, or no more; returns when that answer was complete.
async fn watch(client: Client, id: &'static str, present: bool) -> Instant {
    let path = format!("/v1/health/service/{SERVICE}");
    let mut index = index(&send(&client, Method::GET, &path, &Value::Null).await);
    loop {
        let path = format!("{path}?wait=9s&index={index}");
        let answer = send(&client, Method::GET, &path, &Value::Null).await;
        let at = Instant::now();
        index = self::index(&answer);
        let list: Value = serde_json::from_slice(&answer.body).expect("a list");
        let listed = list.as_array().is_some_and(|all| all.iter().any(|entry| entry["Service"]["ID"] == id));
        if listed == present {
            return at;
        }
    }
}

fn index(answer: &Response) -> String {
    let index = answer.headers.get("x-consul-index").and_then(|value| value.to_str().ok());
    index.expect("Consul says the index of every list").to_owned()
}
