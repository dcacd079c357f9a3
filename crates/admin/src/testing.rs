//! A listener on loopback and a client that hides nothing, for tests of this crate.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use crate::serve;

/// No answer of these APIs takes this long in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An API on a port of its own.
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Stage {
    pub(crate) async fn new(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(Arc::new(listener), app, async move { drop(ended.await) }));
        Self { address, end: Some(end), task }
    }

    /// Sends `METHOD PATH` with these further header lines and this body, and reads until the end.
    pub(crate) async fn ask(&self, line: &str, headers: &[&str], body: &str) -> Answer {
        let mut text = format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|h| h.starts_with("host:")) {
            text += &format!("host: {}\r\n", self.address);
        }
        for header in headers {
            text += &format!("{header}\r\n");
        }
        let answer = timeout(PATIENCE, async {
            let mut socket = TcpStream::connect(self.address).await.unwrap();
            socket.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // A refused body may end in a reset after the answer.
            drop(socket.read_to_end(&mut answer).await);
            String::from_utf8(answer).unwrap()
        });
        let answer = answer.await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(&format!("POST {path}"), &[], body).await
    }

    /// Asks the listener to end and waits until it did.
    pub(crate) async fn end(mut self) {
        self.end = None;
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}
