//! Services that register, and clients that ask without pause.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use testkit::{Answer, Client, Instance, eventually, get, post};
use tokio::task::JoinHandle;

use crate::support::{Config, Front, Running};

/// The embedded registry alone, kept in memory.
pub(crate) const IN_MEMORY: &str = "{ local: { embedded: { address: 127.0.0.1:0, directory: null } } }";

/// A router in front of an embedded registry in memory; `balance` is for all services. Nobody waits for an instance.
pub(crate) fn router(balance: &str) -> Running {
    Config::new()
        .set("registries", IN_MEMORY)
        .set("services", &format!("{{ \"*\": {{ balance: {balance}, warm_hold: off }} }}"))
        .start()
}

/// Writes to an embedded registry as services do.
#[derive(Debug)]
pub(crate) struct Registrar(Client);

impl Registrar {
    pub(crate) async fn of(router: &Running) -> Self {
        Self::at(router.registry("local")).await
    }

    pub(crate) async fn at(registry: SocketAddr) -> Self {
        Self(Client::http(registry).await)
    }

    /// Asks; the answer may be a refusal.
    /// What the registry has of a service.
    pub(crate) async fn list(router: &Running, service: &str) -> Value {
        admin(router.registry("local"), &format!("/registry/services/{service}")).await.json()
    }

    pub(crate) async fn ask(&self, verb: &str, body: &Value) -> Answer {
        self.0.send(post(&format!("/registry/{verb}"), &[], body.to_string())).await
    }

    /// Registers without a lease, so that nothing but the test takes it out.
    pub(crate) async fn register(&self, service: &str, instance: &Instance) {
        self.register_as(service, instance, json!({})).await;
    }

    /// Registers with more fields, or others.
    pub(crate) async fn register_as(&self, service: &str, instance: &Instance, more: Value) {
        let (protocol, address) =
            instance.url().split_once("://").map(|(p, _)| (p.to_owned(), instance.addr())).unwrap();
        let mut body = json!({ "name": service, "id": instance.name(), "ip": address.ip(), "port": address.port(),
            "protocol": protocol, "ttl": "none" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.ask("register", &body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    }

    pub(crate) async fn deregister(&self, service: &str, instance: &Instance) {
        let answer = self.ask("deregister", &json!({ "name": service, "id": instance.name() })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Instances of these names, speaking HTTP/2.
pub(crate) async fn instances(names: &[&str]) -> Vec<Instance> {
    let mut all = Vec::new();
    for name in names {
        all.push(Instance::h2c().named(name).start().await);
    }
    all
}

/// What the admin listener says under this path.
pub(crate) async fn admin(address: SocketAddr, path: &str) -> Answer {
    Client::http(address).await.send(get(path, &[])).await
}

/// The members of a service, by id.
pub(crate) async fn members(router: &Running, service: &str) -> BTreeMap<String, Value> {
    let table = router.table(service).await;
    let list = table["members"].as_array().cloned().unwrap_or_default();
    list.into_iter().map(|member| (member["id"].as_str().unwrap().to_owned(), member)).collect()
}

/// Waits until the table's members of a service are as wanted.
pub(crate) async fn until(
    router: &Running,
    service: &str,
    what: &str,
    wanted: impl Fn(&BTreeMap<String, Value>) -> bool,
) {
    testkit::until(what, async || members(router, service).await, wanted).await;
}

/// Waits until the table has exactly these members in first place.
pub(crate) async fn serving(router: &Running, service: &str, names: &[&str]) {
    let wanted = |now: &BTreeMap<String, Value>| {
        let serving = now.iter().filter(|(_, m)| m["standing"] == "serving").map(|(id, _)| id.as_str());
        serving.eq(names.iter().copied())
    };
    until(router, service, &format!("{names:?} serve"), wanted).await;
}

/// Clients that ask for one service without pause, and remember every answer that is none.
#[derive(Debug)]
pub(crate) struct Load {
    state: Arc<State>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    over: AtomicBool,
    answers: AtomicU64,
    failures: Mutex<Vec<String>>,
    by_instance: Mutex<BTreeMap<String, u64>>,
}

/// Requests at once over one HTTP/2 connection.
const STREAMS: usize = 4;

impl Load {
    /// One client for each way to talk to the router.
    pub(crate) async fn start(router: &Running, fronts: &[Front], service: &str) -> Self {
        let mut clients = Vec::new();
        for front in fronts {
            clients.push(router.client(*front).await);
        }
        Self::of(clients, service)
    }

    /// These clients.
    pub(crate) fn of(clients: Vec<Client>, service: &str) -> Self {
        Self::asking(clients, "/", &[("service_id", service)])
    }

    /// These clients, with this request.
    pub(crate) fn asking(clients: Vec<Client>, target: &str, headers: &[(&str, &str)]) -> Self {
        let state = Arc::<State>::default();
        let mut tasks = Vec::new();
        for client in clients {
            let streams = if client.is_h2() { STREAMS } else { 1 };
            let client = Arc::new(client);
            for _ in 0..streams {
                tasks.push(tokio::spawn(ask_on(Arc::clone(&client), get(target, headers), Arc::clone(&state))));
            }
        }
        Self { state, tasks }
    }

    /// Waits until so many more requests were answered.
    pub(crate) async fn more(&self, count: u64) {
        let wanted = self.state.answers.load(Ordering::SeqCst) + count;
        let state = Arc::clone(&self.state);
        let seen = || state.answers.load(Ordering::SeqCst) >= wanted || !state.failures.lock().unwrap().is_empty();
        eventually(&format!("{count} more answers"), seen).await;
        self.check();
    }

    /// Ends it when every request is answered; how many each instance had.
    ///
    /// # Panics
    /// If a single request failed.
    pub(crate) async fn end(mut self) -> BTreeMap<String, u64> {
        self.state.over.store(true, Ordering::SeqCst);
        for task in &mut self.tasks {
            task.await.unwrap();
        }
        self.check();
        std::mem::take(&mut *self.state.by_instance.lock().unwrap())
    }

    fn check(&self) {
        let failures = self.state.failures.lock().unwrap();
        let answers = self.state.answers.load(Ordering::SeqCst);
        assert!(failures.is_empty(), "{} failures beside {answers} answers: {:?}", failures.len(), *failures);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn ask_on(client: Arc<Client>, request: Request<Bytes>, state: Arc<State>) {
    while !state.over.load(Ordering::SeqCst) {
        match client.try_send(request.clone()).await {
            Ok(answer) if answer.status == 200 => {
                let instance = answer.json()["instance"].as_str().unwrap().to_owned();
                *state.by_instance.lock().unwrap().entry(instance).or_default() += 1;
                state.answers.fetch_add(1, Ordering::SeqCst);
            }
            Ok(answer) => return state.failures.lock().unwrap().push(format!("{} {}", answer.status, answer.text())),
            Err(failure) => return state.failures.lock().unwrap().push(format!("{failure:?}")),
        }
    }
}
