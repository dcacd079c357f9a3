//! Agents to talk to, a registrar that writes to them, and the source under test.

use std::path::PathBuf;

use bytes::Bytes;
use discovery::provider::{
    Interest,
    consul::{Consul, Settings},
};
use http::{HeaderValue, Method, StatusCode};
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

/// A token of the test's own.
pub(crate) struct Token {
    pub(crate) secret: String,
    /// Its public name.
    pub(crate) accessor: String,
    /// The policy that has its rules.
    pub(crate) policy: String,
}

/// Writes to an agent as a registrar does.
pub(crate) struct Registrar(Client);

impl Registrar {
    pub(crate) fn clear(url: &str) -> Self {
        Self(Client::new(ClientSettings::new(url)).unwrap())
    }

    pub(crate) fn secure(url: &str, token: &str) -> Self {
        Self::with(url, token, TlsSettings { ca: Some(ca()), ..TlsSettings::default() })
    }

    pub(crate) fn with(url: &str, token: &str, tls: TlsSettings) -> Self {
        let mut settings = ClientSettings { tls, ..ClientSettings::new(url) };
        settings.headers.insert("x-consul-token", HeaderValue::from_str(token).unwrap());
        Self(Client::new(settings).unwrap())
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Bytes {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.0.put(path, body, Instant::now() + PATIENCE).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.body);
        answer.body
    }

    /// A token with these rules.
    pub(crate) async fn token(&self, name: &str, rules: &str) -> Token {
        let told = |body: &Bytes, key: &str| -> String {
            serde_json::from_slice::<Value>(body).unwrap()[key].as_str().unwrap().to_owned()
        };
        let policy = told(&self.put("/v1/acl/policy", &json!({ "Name": name, "Rules": rules })).await, "ID");
        let token = self.put("/v1/acl/token", &json!({ "Policies": [{ "Name": name }] })).await;
        Token { secret: told(&token, "SecretID"), accessor: told(&token, "AccessorID"), policy }
    }

    /// Deletes a token.
    pub(crate) async fn revoke(&self, token: &Token) {
        let path = format!("/v1/acl/token/{}", token.accessor);
        let answer = self.0.send(Method::DELETE, &path, Bytes::new(), Instant::now() + PATIENCE).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
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

    /// Two datacenters, dc1 and dc2, of one server each.
    pub(crate) fn datacenters() -> Self {
        Self::of("wan")
    }

    /// One that demands client certificates, with access control.
    pub(crate) fn mutual() -> Self {
        Self::of("mtls")
    }

    fn of(variant: &str) -> Self {
        let agents = registry::Own::start_blocking(&["consul", variant]);
        let urls = agents.variable("CONSUL_URLS").or_else(|| agents.variable("CONSUL_URL")).unwrap();
        let urls: Vec<_> = urls.split(',').map(str::to_owned).collect();
        Self { agents, url: urls[0].clone(), urls }
    }

    /// What its starter says.
    pub(crate) fn variable(&self, name: &str) -> String {
        self.agents.variable(name).unwrap()
    }

    /// Whom to trust, and who we are if that is to be said.
    pub(crate) fn tls(&self, named: bool) -> TlsSettings {
        let file = |name| named.then(|| self.variable(name).into());
        TlsSettings {
            ca: Some(self.variable("CONSUL_CACERT").into()),
            client_certificate: file("CONSUL_CLIENT_CERT"),
            client_key: file("CONSUL_CLIENT_KEY"),
            server_name: None,
        }
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
