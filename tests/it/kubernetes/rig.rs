//! API servers to talk to, and a controller that writes slices to them.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use discovery::provider::{
    Interest,
    kubernetes::{Kubernetes, Settings},
};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::PATIENCE;
use tokio::time::Instant;
use transport::client::{Client, ClientSettings, TlsSettings};

use crate::{
    registry::{self, unique},
    source::{Source, running},
};

/// A real API server, and who may do what there.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) url: String,
    ca: String,
}

impl Cluster {
    /// The shared one, or `None` if this run has none and needs none.
    pub(crate) fn shared() -> Option<Self> {
        let url = registry::environment("kubernetes", "KUBERNETES_URL")?;
        Some(Self { url, ca: registry::environment("kubernetes", "KUBERNETES_CA")? })
    }

    /// A kubeconfig file for a user, with this namespace.
    pub(crate) fn kubeconfig(&self, user: &str, namespace: &str) -> Arc<NamedTempFile> {
        kubeconfig(&self.url, &format!("certificate-authority: '{}'", self.ca), user, namespace)
    }

    /// A namespace of a test's own, written to as a controller does.
    pub(crate) fn namespace(&self, name: &str) -> Controller {
        let mut settings = ClientSettings::new(&*self.url);
        settings.tls = TlsSettings { ca: Some(self.ca.clone().into()), ..TlsSettings::default() };
        let headers = [(header::AUTHORIZATION, "Bearer admin-token"), (header::CONTENT_TYPE, "application/json")];
        settings.headers.extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
        Controller { client: Client::new(settings).unwrap(), namespace: unique(name) }
    }
}

/// An API server of this test's own, to be killed; stopped at the end.
pub(crate) struct Own {
    nodes: registry::Own,
    pub(crate) cluster: Cluster,
}

impl Own {
    pub(crate) fn start() -> Self {
        let nodes = registry::Own::start_blocking(&["kubernetes"]);
        let read = |name: &str| nodes.variable(name).unwrap();
        let cluster = Cluster { url: read("KUBERNETES_URL"), ca: read("KUBERNETES_CA") };
        Self { nodes, cluster }
    }

    /// Does this to the API server; its etcd stays.
    pub(crate) fn server(&self, action: &str) {
        self.nodes.node(2, action);
    }
}

/// A kubeconfig file; `cluster` and `user` are YAML.
pub(crate) fn kubeconfig(url: &str, cluster: &str, user: &str, namespace: &str) -> Arc<NamedTempFile> {
    let file = NamedTempFile::new().unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{ name: c, cluster: {{ server: '{url}', {cluster} }} }}]\n\
         users: [{{ name: u, user: {{ {user} }} }}]\n\
         contexts: [{{ name: here, context: {{ cluster: c, user: u, namespace: '{namespace}' }} }}]\n"
    );
    std::fs::write(file.path(), text).unwrap();
    Arc::new(file)
}

pub(crate) fn settings(kubeconfig: &Path) -> Settings {
    Settings { kubeconfig: Some(kubeconfig.to_owned()), ..Settings::default() }
}

pub(crate) fn source(settings: Settings, interest: Interest) -> Source {
    running(Kubernetes::new(settings).unwrap(), interest)
}

/// Writes to one namespace as the controllers of a cluster do.
pub(crate) struct Controller {
    client: Client,
    pub(crate) namespace: String,
}

impl Controller {
    /// Creates or replaces a slice of a service, with one port `http`.
    pub(crate) async fn put(&self, name: &str, service: &str, port: u16, endpoints: &Value) {
        let labels = json!({ "kubernetes.io/service-name": service });
        self.put_labelled(name, &labels, port, endpoints).await;
    }

    pub(crate) async fn put_labelled(&self, name: &str, labels: &Value, port: u16, endpoints: &Value) {
        let mut slice = json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": name, "namespace": self.namespace, "labels": labels },
            "endpoints": endpoints, "ports": [{ "name": "http", "protocol": "TCP", "port": port, "appProtocol": "kubernetes.io/h2c" }] });
        let all = self.slices();
        let one = format!("{all}/{name}");
        let old = self.ask(Method::GET, &one, &Value::Null).await;
        if old.0 == StatusCode::NOT_FOUND {
            return self.good(Method::POST, &all, &slice).await;
        }
        slice["metadata"]["resourceVersion"] = old.1["metadata"]["resourceVersion"].clone();
        self.good(Method::PUT, &one, &slice).await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.good(Method::DELETE, &format!("{}/{name}", self.slices()), &Value::Null).await;
    }

    /// Lets a user list and watch the slices of this namespace.
    pub(crate) async fn grant(&self, user: &str) {
        let group = "rbac.authorization.k8s.io";
        let rules =
            json!([{ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] }]);
        let meta = json!({ "name": "pointsman", "namespace": self.namespace });
        let path = |kind: &str| format!("/apis/{group}/v1/namespaces/{}/{kind}", self.namespace);
        self.good(Method::POST, &path("roles"), &json!({ "metadata": meta, "rules": rules })).await;
        let binding = json!({ "metadata": meta, "roleRef": { "apiGroup": group, "kind": "Role", "name": "pointsman" },
            "subjects": [{ "kind": "User", "name": user, "apiGroup": group }] });
        self.good(Method::POST, &path("rolebindings"), &binding).await;
    }

    fn slices(&self) -> String {
        format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", self.namespace)
    }

    /// Makes the namespace, if it is not there.
    pub(crate) async fn create(self) -> Self {
        let body = json!({ "metadata": { "name": self.namespace } });
        self.good(Method::POST, "/api/v1/namespaces", &body).await;
        self
    }

    async fn good(&self, method: Method, path: &str, body: &Value) {
        let (status, answer) = self.ask(method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.client.send(method, path, body, Instant::now() + PATIENCE).await.unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }
}

/// An endpoint that is ready.
pub(crate) fn ready(address: &str) -> Value {
    json!({ "addresses": [address], "conditions": { "ready": true, "serving": true, "terminating": false } })
}

/// An endpoint that finishes what it has.
pub(crate) fn leaving(address: &str) -> Value {
    json!({ "addresses": [address], "conditions": { "ready": false, "serving": true, "terminating": true } })
}
