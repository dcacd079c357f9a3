//! The router's own registry, by its HTTP API. It tells by its answer, which waits for the disk.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use transport::client::Client;

use super::{
    GUEST, Many, Registry, SERVICE, Told, name, port,
    server::{client, send},
};

/// Services in one import: about a megabyte.
const AT_ONCE: usize = 1000;

/// The registry of the router that runs with its section.
#[derive(Debug, Clone)]
pub struct Embedded {
    client: Client,
    address: SocketAddr,
    directory: Arc<TempDir>,
}

impl Embedded {
    /// One at a port that is free now, with a directory of its own.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let directory = Arc::new(TempDir::new().expect("a new directory"));
        Self { client: client(&format!("http://{address}")), address, directory }
    }

    async fn answered(&self, path: &str, body: &Value) -> Told {
        let asked = Instant::now();
        send(&self.client, Method::POST, path, body).await;
        Told { asked, told: Instant::now() }
    }
}

impl Default for Embedded {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry for Embedded {
    const NAME: &'static str = "embedded";

    fn section(&self) -> String {
        format!("embedded: {{ address: '{}', directory: '{}' }}", self.address, self.directory.path().display())
    }

    async fn register(&self, id: &'static str, address: SocketAddr) -> Told {
        let environment = (id == GUEST).then_some(GUEST);
        let body = json!({ "name": SERVICE, "id": id, "ip": address.ip(), "port": address.port(), "protocol": "h2c",
            "environment": environment, "ttl": "none" });
        self.answered("/registry/register", &body).await
    }

    async fn deregister(&self, id: &'static str) -> Told {
        self.answered("/registry/deregister", &json!({ "name": SERVICE, "id": id })).await
    }
}

fn instance(service: usize, instance: usize, weight: usize) -> Value {
    json!({ "name": name(service), "id": instance.to_string(), "ip": "127.0.0.9", "port": port(instance),
        "weight": weight, "ttl": "none" })
}

impl Many for Embedded {
    async fn fill(&self, services: usize, instances: usize) {
        let all: Vec<usize> = (0..services).collect();
        for some in all.chunks(AT_ONCE) {
            let list: Vec<_> =
                some.iter().flat_map(|service| (0..instances).map(|one| instance(*service, one, 1))).collect();
            send(&self.client, Method::POST, "/registry/import?mode=merge", &json!({ "format": 1, "instances": list }))
                .await;
        }
    }

    async fn alter(&self, service: usize, one: usize, weight: usize) {
        send(&self.client, Method::POST, "/registry/register", &instance(service, one, weight)).await;
    }
}
