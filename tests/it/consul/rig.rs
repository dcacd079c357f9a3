//! Agents to talk to, a registrar that writes to them, and the source under test.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc, Once,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use discovery::provider::{
    Feed, Interest, Provider,
    consul::{Consul, Settings},
};
use http::{HeaderValue, StatusCode};
use model::{Exposure, Instance, Knowledge, ProviderError, ServiceId, Update};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use transport::client::{Client, ClientSettings, TlsSettings};

/// Long enough for a busy machine; a test that waits this long fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

// === agents ===

/// The environment of the shared agent, or `None` if this run has no registries and needs none.
pub(crate) fn environment(name: &str) -> Option<String> {
    static SAID: Once = Once::new();
    let value = std::env::var(name).ok();
    if value.is_none() {
        let required = std::env::var("POINTSMAN_TESTS_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|r| r == "consul"), "{name} is not set, and consul is required");
        // Past the test harness, which hides what passing tests print.
        SAID.call_once(|| drop(writeln!(std::io::stderr(), "skipped: tests with a real Consul; tests/run has one")));
    }
    value
}

pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
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

/// An agent of this test's own, to be killed; stopped at the end.
pub(crate) struct Own {
    id: String,
    /// Of the first server.
    pub(crate) url: String,
    /// Of all.
    pub(crate) urls: Vec<String>,
}

pub(crate) fn registries(tool: &str, arguments: &[&str]) -> String {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/registries/").to_owned() + tool;
    let output = Command::new(tool).args(arguments).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
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
        let id = unique("own");
        let printed = registries("up", &["consul", variant, "--id", &id]);
        let value = |name: &str| printed.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
        let urls = value("CONSUL_URLS").or_else(|| value("CONSUL_URL")).unwrap();
        let urls: Vec<_> = urls.replace('\\', "").split(',').map(str::to_owned).collect();
        Self { id, url: urls[0].clone(), urls }
    }

    /// Does this to the only server, or the first.
    pub(crate) fn node(&self, action: &str) {
        self.server(1, action);
    }

    pub(crate) fn server(&self, number: usize, action: &str) {
        registries("node", &[&self.id, &number.to_string(), action]);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        registries("down", &[&self.id]);
    }
}

// === the source under test ===

pub(crate) struct Source {
    updates: mpsc::Receiver<(usize, Update)>,
    pub(crate) interest: watch::Sender<Arc<Interest>>,
    task: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn named(services: &[&str]) -> Interest {
    Interest { services: services.iter().map(|s| ServiceId::new(s).unwrap()).collect(), exposure: Exposure::Routed }
}

pub(crate) fn source(settings: Settings, interest: Interest) -> Source {
    running(Consul::new(settings).unwrap(), interest)
}

/// Any provider, running.
pub(crate) fn running(mut provider: impl Provider, interest: Interest) -> Source {
    let (sender, updates) = mpsc::channel(64);
    let (interest, interested) = watch::channel(Arc::new(interest));
    let feed = Feed::new(0, sender, interested);
    let task = tokio::spawn(async move { drop(provider.watch(&feed).await) });
    Source { updates, interest, task }
}

impl Source {
    /// The next update that this function accepts; all before it are passed over.
    pub(crate) async fn until<T>(&mut self, what: &str, mut accept: impl FnMut(Update) -> Option<T>) -> T {
        let mut seen = Vec::new();
        let found = timeout(PATIENCE, async {
            loop {
                let (_, update) = self.updates.recv().await.expect("the source ended");
                seen.push(format!("{update:?}"));
                if let Some(found) = accept(update) {
                    return found;
                }
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("no {what}; seen: {seen:#?}"))
    }

    pub(crate) async fn knowledge(&mut self, name: &str, accept: impl Fn(&Knowledge) -> bool) -> Knowledge {
        self.until(name, |update| match update {
            Update::Service { service, knowledge, .. } if service.as_str() == name && accept(&knowledge) => {
                Some(knowledge)
            }
            _ => None,
        })
        .await
    }

    /// Waits for a list of this many instances.
    pub(crate) async fn known(&mut self, name: &str, count: usize) -> Vec<Arc<Instance>> {
        match self.knowledge(name, |k| matches!(k, Knowledge::Known(list) if list.len() == count)).await {
            Knowledge::Known(list) => list,
            other => unreachable!("{other:?}"),
        }
    }

    pub(crate) async fn empty(&mut self, name: &str) {
        self.knowledge(name, |k| *k == Knowledge::KnownEmpty).await;
    }

    pub(crate) async fn forgotten(&mut self, name: &str) {
        self.until(name, |update| (update == Update::Forgotten(ServiceId::new(name).unwrap())).then_some(())).await;
    }

    pub(crate) async fn denied(&mut self, name: &str) -> String {
        let denied = |k: &Knowledge| matches!(k, Knowledge::Unknown(ProviderError::Denied(_)));
        format!("{:?}", self.knowledge(name, denied).await)
    }

    /// Nothing is said of this service for half a second.
    pub(crate) async fn silent_on(&mut self, name: &str) {
        let end = Instant::now() + Duration::from_millis(500);
        while let Ok(Some((_, update))) = timeout_at(end, self.updates.recv()).await {
            let said = matches!(&update, Update::Service { service, .. } if service.as_str() == name);
            assert!(!said, "{update:?}");
        }
    }

    /// Nothing is said for half a second.
    pub(crate) async fn silent(&mut self) {
        let said = timeout(Duration::from_millis(500), self.updates.recv()).await;
        assert!(said.is_err(), "{said:?}");
    }
}
