//! A container engine, with one container on the host's network for each instance: the container only sleeps, and the
//! instance of the measurement answers at the port its label names. It tells by an event to another client that listens.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::Instant};
use transport::client::{Client, ClientSettings, Lines};

use super::{
    GUEST, Registry, SERVICE, Told,
    server::{PATIENCE, Server, send},
};

/// An image of the tests' engine, which has a shell.
const IMAGE: &str = "pointsman-web:1";

/// An engine: that of `DOCKER_SOCKET`, or one of its own.
#[derive(Debug)]
pub struct Docker {
    client: Client,
    server: Server,
}

impl Docker {
    /// Starts it, if need be. Only root can.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        let server = Server::find("docker", "", "DOCKER_SOCKET");
        let mut settings = ClientSettings::new(format!("unix://{}", server.address));
        settings.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { client: Client::new(settings).expect("a socket"), server }
    }

    /// The name of an instance's container.
    fn name(id: &str) -> String {
        format!("freshness-{}-{id}", std::process::id())
    }

    /// Does this to a container, and waits for the event that says so.
    async fn seen(&self, id: &str, action: &str, event: &'static str) -> Told {
        let name = Self::name(id);
        let (ready, listens) = oneshot::channel();
        let listener = tokio::spawn(listen(self.client.clone(), name.clone(), event, ready));
        listens.await.expect("the listener lives");
        let asked = Instant::now();
        send(&self.client, Method::POST, &format!("/containers/{name}/{action}"), &Value::Null).await;
        Told { asked, told: listener.await.expect("the listener lives") }
    }
}

impl Registry for Docker {
    const NAME: &'static str = "docker";

    fn section(&self) -> String {
        format!("docker: {{ url: 'unix://{}' }}", self.server.address)
    }

    async fn register(&self, id: &'static str, address: SocketAddr) -> Told {
        let tags = if id == GUEST { GUEST } else { "" };
        let port = address.port().to_string();
        let labels = json!({ "pointsman.service": SERVICE, "pointsman.port": port, "pointsman.protocol": "h2c",
            "pointsman.tags": tags });
        let container = json!({ "Image": IMAGE, "Cmd": ["/bin/sh", "-c", "sleep 600"], "Labels": labels,
            "HostConfig": { "NetworkMode": "host" } });
        let create = format!("/containers/create?name={}", Self::name(id));
        send(&self.client, Method::POST, &create, &container).await;
        self.seen(id, "start", "start").await
    }

    async fn deregister(&self, id: &'static str) -> Told {
        let told = self.seen(id, "kill?signal=KILL", "die").await;
        send(&self.client, Method::DELETE, &format!("/containers/{}?force=true", Self::name(id)), &Value::Null).await;
        told
    }
}

/// Says when it listens; returns when this event of the container is at hand.
async fn listen(client: Client, name: String, event: &'static str, ready: oneshot::Sender<()>) -> Instant {
    let path = format!("/events?filters=%7B%22container%22:[%22{name}%22],%22event%22:[%22{event}%22]%7D");
    let until = Instant::now() + PATIENCE;
    let mut stream = client.stream(Method::GET, &path, Bytes::new(), until).await.expect("a stream of events");
    ready.send(()).expect("the measurement waits");
    let mut lines = Lines::new(1 << 20);
    loop {
        let piece = stream.next(until).await.expect("the engine lives").expect("the stream lasts");
        let at = Instant::now();
        lines.push(&piece).expect("an event is short");
        if lines.pop().is_some() {
            return at;
        }
    }
}
