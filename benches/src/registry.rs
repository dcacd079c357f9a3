//! The registries under measurement, as others see them: one who registers, and one who watches.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use transport::client::{Client, ClientSettings, Response};

/// The service that is measured.
pub const SERVICE: &str = "freshness";
/// The instance that is always there, so that the service never is without one.
pub const HOST: &str = "host";
/// The instance that comes and goes, and its environment: a request that names it reaches that instance or nobody.
pub const GUEST: &str = "guest";

/// For one answer of a registry; a measurement that waits this long is none.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until a question that blocks has arrived where it blocks.
const ARRIVED: Duration = Duration::from_millis(20);

/// A registry, and how to change what it holds.
#[derive(Debug)]
pub enum Registry {
    /// The router's own, by its HTTP API.
    Embedded(Client),
    /// A Consul agent.
    Consul(Client),
}

/// When something was asked of a registry, and when the registry told of it.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Before the change was sent.
    pub asked: Instant,
    /// The embedded registry tells by its answer, Consul by waking a client that was blocked on the same service.
    pub told: Instant,
}

impl Registry {
    /// The router's own registry at this address.
    #[must_use]
    pub fn embedded(address: SocketAddr) -> Self {
        Self::Embedded(client(&format!("http://{address}")))
    }

    /// The Consul agent at this URL.
    #[must_use]
    pub fn consul(url: &str) -> Self {
        Self::Consul(client(url))
    }

    /// Registers an instance at this address.
    ///
    /// # Panics
    /// If the registry does not take it.
    pub async fn register(&self, id: &'static str, address: SocketAddr) -> Told {
        let (ip, port, guest) = (address.ip(), address.port(), id == GUEST);
        match self {
            Self::Embedded(client) => {
                let environment = guest.then_some(GUEST);
                let body = json!({ "name": SERVICE, "id": id, "ip": ip, "port": port, "protocol": "h2c",
                    "environment": environment, "ttl": "none" });
                answered(client, Method::POST, "/registry/register", &body).await
            }
            Self::Consul(client) => {
                let tags: &[&str] = if guest { &[GUEST] } else { &[] };
                let body = json!({ "ID": id, "Name": SERVICE, "Address": ip, "Port": port, "Tags": tags,
                    "Meta": { "protocol": "h2c" } });
                seen(client, "/v1/agent/service/register", &body, id, true).await
            }
        }
    }

    /// Takes an instance out.
    ///
    /// # Panics
    /// If the registry does not know it.
    pub async fn deregister(&self, id: &'static str) -> Told {
        match self {
            Self::Embedded(client) => {
                let body = json!({ "name": SERVICE, "id": id });
                answered(client, Method::POST, "/registry/deregister", &body).await
            }
            Self::Consul(client) => {
                seen(client, &format!("/v1/agent/service/deregister/{id}"), &Value::Null, id, false).await
            }
        }
    }
}

fn client(url: &str) -> Client {
    Client::new(ClientSettings::new(url)).expect("the URL of a registry, http://HOST:PORT")
}

async fn answered(client: &Client, method: Method, path: &str, body: &Value) -> Told {
    let asked = Instant::now();
    send(client, method, path, body).await;
    Told { asked, told: Instant::now() }
}

async fn seen(client: &Client, path: &str, body: &Value, id: &'static str, present: bool) -> Told {
    let watcher = tokio::spawn(watch(client.clone(), id, present));
    sleep(ARRIVED).await;
    let asked = Instant::now();
    send(client, Method::PUT, path, body).await;
    Told { asked, told: watcher.await.expect("the watcher lives") }
}

/// Blocks until Consul's health endpoint lists the instance, or no more; returns when that answer was complete.
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

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let answer = client.send(method, path, body, Instant::now() + PATIENCE).await.expect("the registry answers");
    assert!(answer.status.is_success(), "{path}: {} {:?}", answer.status, answer.body);
    answer
}
