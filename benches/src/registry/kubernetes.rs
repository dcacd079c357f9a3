//! A Kubernetes API server, with one EndpointSlice for each instance. It tells by a line to another client that watches the
//! same service.

use std::net::SocketAddr;

use http::{HeaderValue, Method, header};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::{sync::oneshot, time::Instant};
use transport::client::{Client, ClientSettings, TlsSettings};

use super::{
    GUEST, Registry, SERVICE, Told,
    server::{PATIENCE, Server, send},
};

/// An API server: that of `KUBERNETES_URL`, or one of its own.
#[derive(Debug)]
pub struct Kubernetes {
    client: Client,
    namespace: String,
    kubeconfig: NamedTempFile,
    ca: String,
    server: Server,
}

impl Kubernetes {
    /// Starts it, if need be, and makes a namespace.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start() -> Self {
        let server = Server::find("kubernetes", "", "KUBERNETES_URL");
        let ca = server.value("KUBERNETES_CA");
        let namespace = format!("freshness-{}", std::process::id());
        let kubeconfig = NamedTempFile::new().expect("a temporary file");
        let mut settings = ClientSettings::new(&*server.address);
        settings.tls = TlsSettings { ca: Some(ca.clone().into()), ..TlsSettings::default() };
        let token = format!("Bearer {}", server.value("KUBERNETES_TOKEN_ADMIN"));
        settings.headers.insert(header::AUTHORIZATION, HeaderValue::try_from(token).expect("a token"));
        settings.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let client = Client::new(settings).expect("https://HOST:PORT");
        let body = json!({ "metadata": { "name": namespace } });
        send(&client, Method::POST, "/api/v1/namespaces", &body).await;
        let kubernetes = Self { client, namespace, kubeconfig, ca, server };
        kubernetes.point(&kubernetes.server.address);
        kubernetes
    }

    /// Where the API server listens.
    ///
    /// # Panics
    /// If `KUBERNETES_URL` names a host; an address is needed here.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let authority = self.server.address.trim_start_matches("https://").trim_end_matches('/');
        authority.parse().expect("https://ADDRESS:PORT")
    }

    /// Its section for a router that comes by this way.
    #[must_use]
    pub fn section_by(&self, way: SocketAddr) -> String {
        self.point(&format!("https://{way}"));
        self.section()
    }

    /// Writes the router's own way in, with no more rights than the documents give it. The name is one that every API
    /// server's certificate carries.
    fn point(&self, url: &str) {
        let (ca, namespace, token) = (&self.ca, &self.namespace, self.server.value("KUBERNETES_TOKEN_ROUTER"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
             clusters: [{{ name: c, cluster: {{ server: '{url}', certificate-authority: '{ca}', \
             tls-server-name: kubernetes.default.svc }} }}]\n\
             users: [{{ name: u, user: {{ token: {token} }} }}]\n\
             contexts: [{{ name: here, context: {{ cluster: c, user: u, namespace: '{namespace}' }} }}]\n"
        );
        std::fs::write(self.kubeconfig.path(), text).expect("a temporary file");
    }

    fn slices(&self) -> String {
        format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", self.namespace)
    }

    async fn seen(&self, method: Method, path: &str, body: &Value) -> Told {
        let list = send(&self.client, Method::GET, &self.slices(), &Value::Null).await;
        let list: Value = serde_json::from_slice(&list.body).expect("JSON");
        let version = list["metadata"]["resourceVersion"].as_str().expect("a version");
        let watch = format!("{}?watch=1&resourceVersion={version}", self.slices());
        let (ready, made) = oneshot::channel();
        let watcher = tokio::spawn(watched(self.client.clone(), watch, ready));
        made.await.expect("the watcher lives");
        let asked = Instant::now();
        send(&self.client, method, path, body).await;
        Told { asked, told: watcher.await.expect("the watcher lives") }
    }
}

impl Registry for Kubernetes {
    const NAME: &'static str = "kubernetes";

    fn section(&self) -> String {
        let path = self.kubeconfig.path().display();
        format!("kubernetes: {{ kubeconfig: '{path}', namespaces: [ '{}' ] }}", self.namespace)
    }

    async fn register(&self, id: &'static str, address: SocketAddr) -> Told {
        let tags = if id == GUEST { GUEST } else { "" };
        let slice = json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": id, "namespace": self.namespace,
                "labels": { "kubernetes.io/service-name": SERVICE, "pointsman/tags": tags } },
            "endpoints": [{ "addresses": [address.ip()], "conditions": { "ready": true } }],
            "ports": [{ "name": "http", "protocol": "TCP", "port": address.port(), "appProtocol": "kubernetes.io/h2c" }] });
        self.seen(Method::POST, &self.slices(), &slice).await
    }

    async fn deregister(&self, id: &'static str) -> Told {
        self.seen(Method::DELETE, &format!("{}/{id}", self.slices()), &Value::Null).await
    }
}

/// Says when it watches; returns when the first change is at hand.
async fn watched(client: Client, path: String, ready: oneshot::Sender<()>) -> Instant {
    let until = Instant::now() + PATIENCE;
    let mut stream = client.stream(Method::GET, &path, bytes::Bytes::new(), until).await.expect("a watch");
    ready.send(()).expect("the measurement waits");
    stream.next(until).await.expect("the server lives").expect("the watch lasts");
    Instant::now()
}
