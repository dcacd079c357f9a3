//! Servers of the tests, and questions to them.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::time::Instant;
use transport::client::{Client, ClientSettings, Response};

/// For one answer of a registry; a measurement that waits this long is none.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A server at an address: the one of the environment, or our own, stopped at the end.
#[derive(Debug)]
pub struct Server {
    /// As the environment's variable has it.
    pub address: String,
    own: Option<String>,
    /// What `up` printed, if it is our own.
    printed: String,
}

impl Server {
    /// The address is that of the environment `variable`, or the one that `tests/registries/up` prints as such.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn find(name: &str, variant: &str, variable: &str) -> Self {
        if let Ok(address) = std::env::var(variable) {
            return Self { address, own: None, printed: String::new() };
        }
        Self::start(name, variant, variable)
    }

    /// Our own in any case.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(name: &str, variant: &str, variable: &str) -> Self {
        let id = format!("freshness-{name}-{}", std::process::id());
        registries("install", &[name]);
        let variant = (!variant.is_empty()).then_some(variant);
        let arguments: Vec<&str> = [name].into_iter().chain(variant).chain(["--id", &id]).collect();
        let printed = registries("up", &arguments);
        let mut server = Self { address: String::new(), own: Some(id), printed };
        server.address = server.value(variable);
        server
    }

    /// What the environment, or `up`, says of this variable.
    ///
    /// # Panics
    /// If neither does.
    #[must_use]
    pub fn value(&self, variable: &str) -> String {
        let prefix = format!("export {variable}=");
        let printed = self.printed.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned);
        printed.or_else(|| std::env::var(variable).ok()).expect("a variable that the server's script names")
    }

    /// Does this to our own: `kill` or `start`.
    ///
    /// # Panics
    /// If it is not our own, or that fails.
    pub fn node(&self, action: &str) {
        registries("node", &[self.own.as_ref().expect("our own"), "1", action]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(id) = &self.own {
            registries("down", &[id]);
        }
    }
}

fn registries(tool: &str, arguments: &[&str]) -> String {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/registries/").to_owned() + tool;
    // A server that inherits the real-time priority of the measurement takes the cores from what is measured; and an
    // engine that does starts no container.
    let mut command = Command::new("chrt");
    command.args(["--other", "0", &tool]).args(arguments);
    let output = command.stderr(Stdio::inherit()).output().expect("the scripts are there, and util-linux");
    assert!(output.status.success(), "{tool} {arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What a URL names by number.
pub(super) fn address(url: &str) -> SocketAddr {
    url.split_once("://").expect("a URL").1.trim_end_matches('/').parse().expect("HOST:PORT")
}

pub(super) fn client(url: &str) -> Client {
    Client::new(ClientSettings::new(url)).expect("the URL of a registry, http://HOST:PORT")
}

pub(super) async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let answer = client.send(method, path, body, Instant::now() + PATIENCE).await.expect("the registry answers");
    assert!(answer.status.is_success(), "{path}: {} {:?}", answer.status, answer.body);
    answer
}
