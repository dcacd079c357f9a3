//! Members to talk to, a registrar that writes to them, and what etcd is asked for.

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use discovery::provider::{
    Interest,
    etcd::{Etcd, Settings},
};
use http::{HeaderValue, StatusCode};
use model::Update;
use serde_json::{Value, json};
use testkit::PATIENCE;
use tokio::time::Instant;
use transport::client::{Client, ClientSettings, TlsSettings};

use crate::{
    registry,
    source::{Source, running},
};

/// The environment of the shared etcd, or `None` if this run has no registries and needs none.
pub(crate) fn environment(name: &str) -> Option<String> {
    registry::environment("etcd", name)
}

pub(crate) fn source(settings: Settings, interest: Interest) -> Source {
    running(Etcd::new(settings).unwrap(), interest)
}

/// Writes to etcd as services do.
pub(crate) struct Registrar(Client);

impl Registrar {
    pub(crate) fn clear(url: &str) -> Self {
        Self(Client::new(ClientSettings::new(url)).unwrap())
    }

    /// As root, over TLS.
    pub(crate) async fn root(url: &str) -> Self {
        let mut settings = ClientSettings::new(url);
        settings.tls = TlsSettings { ca: Some(file("ETCD_CACERT")), ..TlsSettings::default() };
        let token = Self(Client::new(settings.clone()).unwrap())
            .ask("auth/authenticate", json!({ "name": "root", "password": "root" }))
            .await["token"]
            .as_str()
            .unwrap()
            .to_owned();
        settings.headers.insert("authorization", HeaderValue::from_str(&token).unwrap());
        Self(Client::new(settings).unwrap())
    }

    pub(crate) async fn ask(&self, path: &str, body: Value) -> Value {
        let path = format!("/v3/{path}");
        let answer = self.0.post(&path, body.to_string().into(), Instant::now() + PATIENCE).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.body);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Writes `/services/KEY`.
    pub(crate) async fn put(&self, key: &str, value: &str) {
        self.put_leased(key, value, 0).await;
    }

    /// The same, if the member can.
    pub(crate) async fn try_put(&self, key: &str, value: &str) -> bool {
        let body = json!({ "key": b64(&format!("/services/{key}")), "value": b64(value) }).to_string();
        let deadline = Instant::now() + Duration::from_secs(3);
        self.0.post("/v3/kv/put", body.into(), deadline).await.is_ok_and(|answer| answer.status == StatusCode::OK)
    }

    pub(crate) async fn put_leased(&self, key: &str, value: &str, lease: u64) {
        let key = format!("/services/{key}");
        self.ask("kv/put", json!({ "key": b64(&key), "value": b64(value), "lease": lease.to_string() })).await;
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.ask("kv/deleterange", json!({ "key": b64(&format!("/services/{key}")) })).await;
    }

    /// A new lease of so many seconds.
    pub(crate) async fn grant(&self, ttl: u64) -> u64 {
        let answer = self.ask("lease/grant", json!({ "TTL": ttl.to_string() })).await;
        answer["ID"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) async fn revoke(&self, lease: u64) {
        self.ask("lease/revoke", json!({ "ID": lease.to_string() })).await;
    }

    /// Writes another program's key; the revision it made.
    pub(crate) async fn elsewhere(&self) -> u64 {
        let answer = self.ask("kv/put", json!({ "key": b64("/elsewhere"), "value": "" })).await;
        answer["header"]["revision"].as_str().unwrap().parse().unwrap()
    }
}

pub(crate) fn b64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

pub(crate) fn file(variable: &str) -> PathBuf {
    std::env::var(variable).unwrap().into()
}

/// An etcd of this test's own, to be killed; stopped at the end.
pub(crate) struct Own {
    members: registry::Own,
    pub(crate) urls: Vec<String>,
}

impl Own {
    pub(crate) async fn start(variant: &'static str) -> Self {
        tokio::task::spawn_blocking(move || Self::of(variant)).await.unwrap()
    }

    fn of(variant: &str) -> Self {
        let members = registry::Own::start_blocking(&["etcd", variant]);
        let urls = members.variable("ETCD_URLS").or_else(|| members.variable("ETCD_URL")).unwrap();
        Self { members, urls: urls.split(',').map(str::to_owned).collect() }
    }

    pub(crate) fn node(&self, number: usize, action: &str) {
        self.members.node(number, action);
    }

    /// Throws away all that the only member knows.
    pub(crate) fn empty(&self) {
        std::fs::remove_dir_all(self.members.variable("ETCD_DATA").unwrap()).unwrap();
    }
}

/// Fails the test if a service is said to be empty, or a list to be shorter than this.
pub(crate) fn never_shorter(update: &Update, than: usize) {
    use model::Knowledge::{Known, KnownEmpty, Part};
    if let Update::Service { service, knowledge, .. } = update {
        let short = match knowledge {
            KnownEmpty => true,
            Known(list) | Part(list) => list.len() < than,
            model::Knowledge::Unknown(_) => false,
        };
        assert!(!short, "{service} was said to have lost instances: {knowledge:?}");
    }
}
