//! Agents to talk to, a registrar that writes to them, and the source under test.

use std::path::PathBuf;

use bytes::Bytes;
use discovery::provider::{
    Interest,
    consul::{Consul, Settings},
};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use testkit::PATIENCE;
use tokio::time::Instant;
use transport::client::{Client, ClientSettings, TlsSettings};

use crate::{
    registry,
    source::{Source, running},
};

/// The environment of the shared agent, or `None` if this run has no registries and needs none.
pub(crate) fn environment(name: &str) -> Option<String> {
    registry::environment("consul", name)
}

/// Writes to an agent as a registrar does.
pub(crate) struct Registrar(Client);

impl Registrar {
    pub(crate) fn clear(url: &str) -> Self {
        Self(Client::new(ClientSettings::new(url)).unwrap())
    }

    pub(crate) fn secure(url: &str, token: &str) -> Self {
        let mut settings = ClientSettings::new(url);
        settings.tls = TlsSettings { ca: Some(ca()), ..TlsSettings::default() };
        settings.headers.insert("x-consul-token", HeaderValue::from_str(token).unwrap());
        Self(Client::new(settings).unwrap())
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Bytes {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.0.put(path, body, Instant::now() + PATIENCE).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.body);
        answer.body
    }

    /// A token with these rules, and the policy that has them.
    pub(crate) async fn token(&self, name: &str, rules: &str) -> (String, String) {
        let told = |body: Bytes, key: &str| -> String {
            serde_json::from_slice::<Value>(&body).unwrap()[key].as_str().unwrap().to_owned()
        };
        let policy = told(self.put("/v1/acl/policy", &json!({ "Name": name, "Rules": rules })).await, "ID");
        let token = self.put("/v1/acl/token", &json!({ "Policies": [{ "Name": name }] })).await;
        (told(token, "SecretID"), policy)
    }

    /// Gives the policy other rules.
    pub(crate) async fn rules(&self, policy: &str, name: &str, rules: &str) {
        self.put(&format!("/v1/acl/policy/{policy}"), &json!({ "ID": policy, "Name": name, "Rules": rules })).await;
    }

    pub(crate) async fn register(&self, service: &Value) {
        self.put("/v1/agent/service/register", service).await;
    }

    pub(crate) async fn deregister(&self, id: &str) {
        self.put(&format!("/v1/agent/service/deregister/{id}"), &Value::Null).await;
    }
}

pub(crate) fn ca() -> PathBuf {
    std::env::var("CONSUL_CACERT").unwrap().into()
}

/// An agent of this test's own, or several, to be killed; stopped at the end.
pub(crate) struct Own {
    agents: registry::Own,
    /// Of the first server.
    pub(crate) url: String,
    /// Of all.
    pub(crate) urls: Vec<String>,
}

impl Own {
    pub(crate) fn start() -> Self {
        Self::of("server")
    }

    /// One that keeps nothing on disk.
    pub(crate) fn forgetful() -> Self {
        Self::of("dev")
    }

    /// Three servers.
    pub(crate) fn cluster() -> Self {
        Self::of("cluster")
    }

    fn of(variant: &str) -> Self {
        let agents = registry::Own::start_blocking(&["consul", variant]);
        let urls = agents.variable("CONSUL_URLS").or_else(|| agents.variable("CONSUL_URL")).unwrap();
        let urls: Vec<_> = urls.split(',').map(str::to_owned).collect();
        Self { agents, url: urls[0].clone(), urls }
    }

    /// Does this to the only server, or the first.
    pub(crate) fn node(&self, action: &str) {
        self.server(1, action);
    }

    pub(crate) fn server(&self, number: usize, action: &str) {
        self.agents.node(number, action);
    }
}

pub(crate) fn source(settings: Settings, interest: Interest) -> Source {
    running(Consul::new(settings).unwrap(), interest)
}
