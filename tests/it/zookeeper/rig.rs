//! Servers to talk to, a writer that is not ours, a link that can be cut, and the source under test.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
};

use discovery::provider::{
    Interest,
    zookeeper::{Settings, ZooKeeper},
};
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    registry,
    source::{Source, running},
};

/// A variable of the shared server, or `None` if this run has no registries and needs none.
pub(crate) fn environment(name: &str) -> Option<String> {
    registry::environment("zookeeper", "ZOOKEEPER_PYTHON").and_then(|_| registry::environment("zookeeper", name))
}

pub(crate) fn source(settings: impl Into<Settings>, interest: Interest) -> Source {
    running(ZooKeeper::new(settings.into()).unwrap(), interest)
}

/// What Curator writes about an instance.
pub(crate) fn record(address: &str, port: u16, metadata: &Value) -> String {
    json!({ "name": "any", "id": "any", "address": address, "port": port, "sslPort": null,
        "payload": { "@class": "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance", "id": "any",
            "name": "any", "metadata": metadata },
        "registrationTimeUTC": 1_600_000_000_000_u64, "serviceType": "DYNAMIC",
        "uriSpec": { "parts": [ { "value": "scheme", "variable": true } ] } })
    .to_string()
}

// === the writer ===

/// A session of its own, by kazoo. Dropped, it closes in order, and its ephemeral nodes go at once.
pub(crate) struct Writer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Writer {
    pub(crate) fn new(servers: &str) -> Self {
        Self::start(&[servers])
    }

    /// One that shows these credentials.
    pub(crate) fn with_auth(servers: &str, credentials: &str) -> Self {
        Self::start(&[servers, credentials])
    }

    fn start(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/zookeeper_writes.py");
        let mut child = Command::new(std::env::var("ZOOKEEPER_PYTHON").unwrap())
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn answer(&mut self, request: &Value) -> String {
        writeln!(self.input.as_mut().unwrap(), "{request}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    fn ask(&mut self, request: &Value) {
        assert_eq!(self.answer(request), "ok", "{request}");
    }

    /// What stands there: `data` as text, `owner` (a session, 0 if it stays), `rights`; null if there is nothing.
    pub(crate) fn look(&mut self, path: &str) -> Value {
        let answer = self.answer(&json!({ "op": "look", "path": path }));
        let mut node: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{path}: {answer}"));
        if let Some(hex) = node["data"].as_str() {
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let data: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            node["data"] = String::from_utf8_lossy(&data).into_owned().into();
        }
        node
    }

    /// An ephemeral node.
    pub(crate) fn register(&mut self, path: &str, data: &str) {
        self.ask(&json!({ "op": "create", "path": path, "data": data, "ephemeral": true }));
    }

    /// An ephemeral node of these bytes.
    pub(crate) fn register_bytes(&mut self, path: &str, data: &[u8]) {
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        self.ask(&json!({ "op": "create", "path": path, "data": hex, "hex": true, "ephemeral": true }));
    }

    /// A node that stays.
    pub(crate) fn create(&mut self, path: &str, data: &str) {
        self.ask(&json!({ "op": "create", "path": path, "data": data }));
    }

    /// A node that stays, and that only we may read.
    pub(crate) fn create_private(&mut self, path: &str, data: &str) {
        self.ask(&json!({ "op": "create", "path": path, "data": data, "private": true }));
    }

    /// Lets everybody read.
    pub(crate) fn open(&mut self, path: &str) {
        self.ask(&json!({ "op": "open", "path": path }));
    }

    pub(crate) fn set(&mut self, path: &str, data: &str) {
        self.ask(&json!({ "op": "set", "path": path, "data": data }));
    }

    pub(crate) fn delete(&mut self, path: &str) {
        self.ask(&json!({ "op": "delete", "path": path }));
    }

    /// Dies without a word: the session has to expire.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}

// === servers of a test's own ===

/// A server or an ensemble, to be killed; stopped at the end.
pub(crate) struct Own {
    nodes: registry::Own,
    pub(crate) servers: String,
}

impl Own {
    pub(crate) fn start(variant: &str) -> Self {
        let nodes = registry::Own::start_blocking(&["zookeeper", variant]);
        let servers = nodes.variable("ZOOKEEPER").unwrap();
        Self { nodes, servers }
    }

    pub(crate) fn node(&self, number: usize, action: &str) {
        self.nodes.node(number, action);
    }

    /// Takes away all that a stopped server remembers.
    pub(crate) fn wipe(&self, number: usize) {
        let state = std::env::var("REGISTRIES_STATE").expect("tests/run gives a state of its own");
        let data: PathBuf = Path::new(&state).join(&self.nodes.id).join(format!("data{number}"));
        std::fs::remove_dir_all(data.join("version-2")).unwrap();
    }

    /// The number of the node that leads.
    pub(crate) fn leader(&self) -> usize {
        let leads = |server: &&str| word(server, "srvr").is_ok_and(|said| said.contains("Mode: leader"));
        1 + self.servers.split(',').collect::<Vec<_>>().iter().position(leads).expect("a leader")
    }
}

/// What a server says to a four-letter word.
pub(crate) fn word(server: &str, word: &str) -> io::Result<String> {
    let mut stream = std::net::TcpStream::connect(server)?;
    stream.write_all(word.as_bytes())?;
    io::read_to_string(stream)
}

// === a link that can be cut ===

/// Hands bytes on to a server; cut, it is silent in both directions while connections stay open.
pub(crate) struct Link {
    pub(crate) address: String,
    whole: watch::Sender<bool>,
    ports: Arc<Mutex<Vec<u16>>>,
    task: JoinHandle<()>,
}

impl Link {
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (whole, state) = watch::channel(true);
        let server = server.to_owned();
        let ports = Arc::new(Mutex::new(Vec::new()));
        let used = Arc::clone(&ports);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (server, mut state, used) = (server.clone(), state.clone(), Arc::clone(&used));
                connections.spawn(async move {
                    drop(state.wait_for(|whole| *whole).await);
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    used.lock().unwrap().push(server.local_addr().unwrap().port());
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => return,
                        _ = state.wait_for(|whole| !*whole) => {}
                    }
                    // What was under way when the link was cut is lost, as with a machine that vanishes.
                    drop(state.wait_for(|whole| *whole).await);
                });
            }
        });
        Self { address, whole, ports, task }
    }

    /// The ports from which the server is spoken to.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.ports.lock().unwrap().clone()
    }

    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
