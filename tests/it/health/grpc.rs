//! The gRPC health protocol, spoken with gRPC's own library.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
};

use serde_json::Value;

use super::{QUICK, until};
use crate::{grpc_client::python_with_grpcio, support::Config};

/// A server that says what it is told to say.
struct Server {
    child: Child,
    orders: ChildStdin,
    port: u16,
}

impl Server {
    fn start(python: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/health_server.py");
        let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, said) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut port = String::new();
        BufReader::new(said).read_line(&mut port).unwrap();
        Self { child, orders, port: port.trim().parse().unwrap() }
    }

    fn say(&mut self, word: &str) {
        writeln!(self.orders, "{word}").unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn a_server_of_grpcs_own_library_is_understood() {
    let Some(python) = python_with_grpcio() else { return };
    let mut server = tokio::task::spawn_blocking(move || Server::start(&python)).await.unwrap();
    let check = format!("{{ \"*\": {{ check: {{ grpc: {{ service: pets }}, {QUICK} }} }} }}");
    let url = format!("h2c://127.0.0.1:{}", server.port);
    let router = Config::new().set("services", &check).service("pets", &[url]).start();
    for (word, result, saw) in [
        ("SERVING", "passing", "SERVING"),
        ("NOT_SERVING", "failing", "NOT_SERVING"),
        ("SERVING", "passing", "SERVING"),
        ("NOT_FOUND", "failing", "NOT_FOUND"),
        ("SERVING", "passing", "SERVING"),
        ("UNIMPLEMENTED", "failing", "UNIMPLEMENTED"),
    ] {
        server.say(word);
        until(&router, "pets", word, |now| {
            let check = now.values().next().map_or(&Value::Null, |member| &member["checks"][0]);
            check["result"] == result && check["saw"].as_str().is_some_and(|said| said.contains(saw))
        })
        .await;
    }
}
