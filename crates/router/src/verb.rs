//! Verbs that ask a running router by its admin listener.
//!
//! | File | |
//! |---|---|
//! | `verb.rs` | asking, and telling what was answered |
//! | `verb/columns.rs` | lines whose words stand below each other |
//! | `verb/table.rs` | `pointsman table`: every instance and its state |
//! | `verb/sources.rs` | `pointsman sources`: every registry and its state |
//! | `verb/drain.rs` | `pointsman drain`: an instance gets no new requests, or requests again |
//! | `verb/ready.rs` | `pointsman ready`: whether the router wants traffic |
//!
//! [`crate::explain`] and [`crate::history`] have verbs of their own.

mod columns;
pub mod drain;
pub mod ready;
pub mod sources;
pub mod table;

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;
use transport::client::{Client, ClientSettings, Response};

/// How long the router may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to ask, and how to tell the answer.
#[derive(Debug, Args)]
pub struct Options {
    /// The router's admin listener.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8401")]
    admin: SocketAddr,
    /// What the admin listener answers, as JSON.
    #[arg(long)]
    json: bool,
}

/// The admin listener of a router.
#[derive(Debug)]
pub(crate) struct Admin {
    client: Client,
    address: SocketAddr,
}

/// Why the router does not do what it is asked.
#[derive(Debug, Deserialize)]
struct Fault {
    description: String,
}

impl Admin {
    /// Connects to nothing yet.
    pub(crate) fn at(address: SocketAddr) -> Result<Self, String> {
        let client =
            Client::new(ClientSettings::new(format!("http://{address}"))).map_err(|error| error.to_string())?;
        Ok(Self { client, address })
    }

    /// What it answers, whatever the status.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Response, String> {
        let answer = self.client.send(method, path, body, Instant::now() + PATIENCE).await;
        answer.map_err(|error| {
            let address = self.address;
            format!(
                "no router answers on http://{address} ({error}); name its admin listener with --admin ADDRESS:PORT"
            )
        })
    }

    /// What it answers, if it does what is asked.
    pub(crate) async fn done(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, String> {
        let Response { status, body, .. } = self.ask(method, path, body).await?;
        if status.is_success() {
            return Ok(body);
        }
        let said = serde_json::from_slice::<Fault>(&body).map(|fault| fault.description);
        let said = said.unwrap_or_else(|_| String::from_utf8_lossy(&body).trim().to_owned());
        Err(format!("http://{} answers {}: {said}", self.address, status.as_u16()))
    }

    /// What its answer means.
    pub(crate) fn read<T: DeserializeOwned>(&self, answer: &[u8], what: &str) -> Result<T, String> {
        let address = self.address;
        serde_json::from_slice(answer).map_err(|error| format!("http://{address} does not answer with {what}: {error}"))
    }
}

/// Asks with `GET` and tells what is answered: as it came, or in the words of `T`.
async fn tell<T: DeserializeOwned>(
    options: &Options,
    path: &str,
    what: &str,
    words: impl FnOnce(T) -> String,
    to: &mut impl Write,
) -> Result<(), String> {
    let admin = Admin::at(options.admin)?;
    let answer = admin.done(Method::GET, path, Bytes::new()).await?;
    match options.json {
        true => print(to, &format!("{}\n", String::from_utf8_lossy(&answer))),
        false => print(to, &words(admin.read(&answer, what)?)),
    }
}

/// Writes it. Nobody may read any more, which is as well.
pub(crate) fn print(to: &mut impl Write, text: &str) -> Result<(), String> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}
