//! What the tests of a reverse proxy need: instances that misbehave on request, clients of every kind, certificates,
//! and a wire that breaks. Everything runs in the test's own process and runtime, on loopback, on ports the kernel
//! chooses; every wait has a bound ([`DEADLINE`]); what is dropped is gone.
//!
//! * [`config_map`]: a volume that the kubelet writes.
//! * [`certs`]: an authority for each test, what it signs, rustls configurations that trust it.
//! * [`reply`]: what an instance does with a request, as a script: `Reply::script().wait(..).head(200).data(..)`.
//! * [`instance`]: instances of services over HTTP/1, h2c or TLS, that play replies; kill, drain, restart.
//! * [`seen`]: what an instance saw (requests as they arrived) and counted (connections, resets, bytes).
//! * [`raw`]: servers that a closure speaks byte by byte, and an address that never answers.
//! * [`client`]: one request and one answer over either protocol; HTTP/2 streams step by step.
//! * [`socket`]: bytes as they are, from either end.
//! * [`frame`]: HTTP/2 frames as they are, over a socket.
//! * [`hpack`]: header blocks as they are, right or wrong, and a strict reader of them.
//! * [`wire`]: a TCP forwarder to pause, slow and cut.
//! * [`wait`]: bounds, gates, and waiting for a condition.
//!
//! ```
//! use testkit::{Client, Instance, Reply, get};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let instance = Instance::h2c().named("a").on("/down", Reply::status(503)).start().await;
//! let client = Client::h2c(instance.addr()).await;
//! assert_eq!(client.send(get("/x?y=1", &[])).await.json()["instance"], "a");
//! assert_eq!(client.send(get("/down", &[])).await.status, 503);
//! assert_eq!(instance.counts().requests(), 2);
//! # });
//! ```
//!
//! Not for paused time: tokio's paused clock jumps ahead while a socket waits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this crate is part of tests: a panic is its way to fail one"
)]

pub mod certs;
pub mod client;
pub mod config_map;
pub mod frame;
pub mod hpack;
pub mod instance;
pub mod raw;
pub mod reply;
pub mod seen;
pub mod socket;
pub mod wait;
pub mod wire;

#[cfg(test)]
mod tests;

use tokio::io::{AsyncRead, AsyncWrite};

pub use certs::{Certs, Identity};
pub use client::{Answer, Client, Failure, Stream, get, post, request};
pub use config_map::ConfigMap;
pub use instance::Instance;
pub use raw::{BlackHole, Raw};
pub use reply::{Reply, grpc_message};
pub use seen::{Counts, Seen, digest};
pub use socket::{Message, Socket};
pub use wait::{DEADLINE, Gate, PATIENCE, bounded, eventually, until, wait_for};
pub use wire::Wire;

/// A connection, in cleartext or over TLS.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
