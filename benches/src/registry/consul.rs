//! A Consul agent. It tells by waking another client that is blocked on the same service.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Method};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use transport::client::{Client, ClientSettings, Response};

use super::{
    GUEST, Many, Registry, SERVICE, Told, name, port,
    server::{Server, address, client, send},
};

/// Until a question that blocks has arrived where it blocks.
const ARRIVED: Duration = Duration::from_millis(20);

/// Registrations under way at once.
const AT_ONCE: usize = 32;

/// An agent: that of `CONSUL_URL`, or one of its own.
#[derive(Debug, Clone)]
pub struct Consul {
    client: Client,
    server: Arc<Server>,
    /// What its section says besides the address.
    access: String,
}

impl Consul {
    /// Starts it, if need be.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        let server = Server::find("consul", "dev", "CONSUL_URL");
        Self { client: client(&server.address), server: Arc::new(server), access: String::new() }
    }

    /// Starts one that speaks TLS and knows tokens.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_tls() -> Self {
        let server = Server::start("consul", "tls", "CONSUL_URL");
        let (ca, token) = (server.value("CONSUL_CACERT"), server.value("CONSUL_TOKEN_MANAGEMENT"));
        let mut settings = ClientSettings::new(&server.address);
        settings.tls.ca = Some(ca.clone().into());
        settings.headers.insert("x-consul-token", HeaderValue::from_str(&token).expect("a token"));
        let client = Client::new(settings).expect("a CA");
        Self { client, server: Arc::new(server), access: format!(", ca: '{ca}', token: '{token}'") }
    }

    /// Where it is.
    ///
    /// # Panics
    /// If its URL names no address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        address(&self.server.address)
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
        format!("consul: {{ url: '{}'{} }}", self.server.address, self.access)
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

/// An instance on a node where no agent runs, which would take away what it does not know.
fn elsewhere(service: usize, instance: usize, weight: usize) -> Value {
    let name = name(service);
    json!({ "Node": "elsewhere", "Address": "127.0.0.9", "SkipNodeUpdate": true, "Service": {
        "ID": format!("{name}-{instance}"), "Service": name, "Port": port(instance),
        "Weights": { "Passing": weight, "Warning": 1 } } })
}

impl Many for Consul {
    async fn fill(&self, services: usize, instances: usize) {
        let mut sending = JoinSet::new();
        for service in 0..services {
            for instance in 0..instances {
                if sending.len() == AT_ONCE {
                    sending.join_next().await.expect("some are under way").expect("Consul takes it");
                }
                let client = self.client.clone();
                sending.spawn(async move {
                    send(&client, Method::PUT, "/v1/catalog/register", &elsewhere(service, instance, 1)).await;
                });
            }
        }
        sending.join_all().await;
    }

    async fn alter(&self, service: usize, instance: usize, weight: usize) {
        send(&self.client, Method::PUT, "/v1/catalog/register", &elsewhere(service, instance, weight)).await;
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
