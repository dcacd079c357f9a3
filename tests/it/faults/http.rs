//! A registry that speaks HTTP.

use std::{io, net::SocketAddr};

use serde_json::Value;

use super::{
    cells::Fault,
    rig::Subject,
    wire::{self, Serves, Wire},
};

/// A request.
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// What a registry says to a request.
pub(crate) trait Speaks: Send + Sync + 'static {
    fn answer(&self, asked: Asked, wire: &mut Wire) -> impl Future<Output = io::Result<()>> + Send;
}

/// Starts it; `settings` is given its address.
pub(crate) async fn subject(
    speaks: impl Speaks,
    settings: impl FnOnce(SocketAddr) -> (discovery::Settings, Vec<Box<dyn Send>>),
) -> Subject {
    wire::subject(Http(speaks), settings).await
}

struct Http<S>(S);

impl<S: Speaks> Serves for Http<S> {
    async fn serve(&self, wire: &mut Wire) -> io::Result<()> {
        loop {
            let asked = wire.request().await?;
            wire.asked();
            // A stream of events is spared, so that the list behind it is what fails.
            if wire.fault() == Some(Fault::ServerError) && !asked.path.starts_with("/events") {
                wire.whole(500, "", "no luck today").await?;
            } else {
                self.0.answer(asked, wire).await?;
            }
        }
    }
}

impl Wire {
    pub(crate) async fn whole(&mut self, status: u16, headers: &str, body: &str) -> io::Result<()> {
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
        self.send((head + body).as_bytes()).await
    }

    /// An answer that goes on.
    pub(crate) async fn begin(&mut self) -> io::Result<()> {
        self.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await
    }

    pub(crate) async fn line(&mut self, text: &Value) -> io::Result<()> {
        let text = format!("{text}\n");
        self.send(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await
    }

    pub(crate) async fn end(&mut self) -> io::Result<()> {
        self.send(b"0\r\n\r\n").await
    }

    async fn request(&mut self) -> io::Result<Asked> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.read(&mut byte).await?;
            head.extend(byte);
        }
        let head = String::from_utf8_lossy(&head).to_string();
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.read(&mut body).await?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        Ok(Asked { path, body: serde_json::from_slice(&body).unwrap_or_default() })
    }
}
