//! One look at an instance: connect, ask, judge. Every look has a connection of its own (see [`transport::look`]) and ends
//! within its time.

mod grpc;
mod http;
#[cfg(test)]
mod tests;

use std::time::Duration;

use model::{Address, Protocol};
use settings::Span;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout_at},
};
use transport::{dial::DialError, look::Spot};

use super::{
    Check,
    check::{Tcp, What},
    subject::Target,
};

/// What looks call themselves.
const AGENT: &str = concat!("pointsman/", env!("CARGO_PKG_VERSION"), " (health check)");
/// As much as is kept of what was seen, in bytes.
const SAW: usize = 256;
/// As much as is read of what comes on a bare connection.
const TALK: usize = 4096;

/// What came of one look, and what was seen, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// All is as wanted.
    Passed(String),
    /// It is not.
    Failed(String),
    /// Nothing about the instance: the fault is on our side.
    Nothing(String),
}

/// Why a look does not pass.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no connection.
    Dial(DialError),
    /// There is one, but what came is not as wanted.
    Other(String),
}

impl From<DialError> for Trouble {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl From<String> for Trouble {
    fn from(seen: String) -> Self {
        Self::Other(seen)
    }
}

/// Looks at an instance as a check says.
pub(super) async fn look(check: &Check, target: &Target) -> Found {
    let address = &target.upstream.address;
    let address = Address { host: address.host.clone(), port: check.port.unwrap_or(address.port) };
    let protocol = protocol(&check.what, target.upstream.protocol);
    let deadline = Instant::now() + check.pace.timeout;
    let spot = Spot { address: &address, protocol, tls: &target.tls, deadline };
    let mut missing = "connection";
    match timeout_at(deadline, attempt(&check.what, &spot, &mut missing)).await {
        Ok(Ok(saw)) => Found::Passed(short(saw)),
        Ok(Err(Trouble::Dial(error))) if error.is_ours() => Found::Nothing(short(format!("not looked: {error}"))),
        Ok(Err(Trouble::Dial(error))) => Found::Failed(short(error.to_string())),
        Ok(Err(Trouble::Other(saw))) => Found::Failed(short(saw)),
        Err(_) => Found::Failed(format!("no {missing} within {}", span(check.pace.timeout))),
    }
}

/// Part of it is what an instance said, and it is kept for each.
fn short(mut saw: String) -> String {
    saw.truncate(saw.floor_char_boundary(SAW));
    saw
}

/// `missing` becomes what is waited for.
async fn attempt(what: &What, spot: &Spot<'_>, missing: &mut &'static str) -> Result<String, Trouble> {
    match what {
        What::Http(http) => Box::pin(http::ask(http, spot, missing)).await,
        What::Grpc(grpc) => Box::pin(grpc::ask(grpc, spot, missing)).await,
        What::Tcp(tcp) => talk(tcp, spot, missing).await,
        What::Tls => {
            let (mut stream, _) = spot.tls().await?;
            // An end in order, so that the instance has nothing to log; nothing is lost without.
            drop(stream.shutdown().await);
            Ok("TLS handshake done".to_owned())
        }
    }
}

/// What is spoken, by the check's own word, else as requests are sent. gRPC is HTTP/2 in any case.
fn protocol(what: &What, instance: Protocol) -> Protocol {
    match what {
        What::Http(http) => http.protocol.unwrap_or(instance),
        What::Grpc(grpc) => match grpc.protocol.unwrap_or(instance) {
            Protocol::Https => Protocol::Https,
            Protocol::Http | Protocol::H2c => Protocol::H2c,
        },
        What::Tcp(_) | What::Tls => instance,
    }
}

async fn talk(tcp: &Tcp, spot: &Spot<'_>, missing: &mut &'static str) -> Result<String, Trouble> {
    let broke = |e: std::io::Error| format!("the connection broke: {e}");
    let mut stream = spot.tcp().await?;
    *missing = "answer";
    if !tcp.send.is_empty() {
        stream.write_all(&tcp.send).await.map_err(broke)?;
        stream.flush().await.map_err(broke)?;
    }
    let Some(wanted) = &tcp.expect else { return Ok("connected".to_owned()) };
    let (mut came, mut glance) = (Vec::new(), Glance::default());
    loop {
        let ended = stream.read_buf(&mut came).await.map_err(broke)? == 0 || came.len() >= TALK;
        came.truncate(TALK);
        if glance.is_due(came.len(), ended) && wanted.is_in(&came) {
            return Ok(format!("{wanted} came"));
        }
        if ended {
            return Err(format!("{wanted} is not in the {} bytes that came", came.len()).into());
        }
    }
}

/// When to look at all that came: with each of the first pieces, and then with every few bytes, so that what comes byte
/// by byte is not looked through thousands of times. Pure.
#[derive(Debug, Default)]
struct Glance {
    times: usize,
    seen: usize,
}

impl Glance {
    /// Pieces that are looked at as they come, and bytes after which those that follow are.
    const FEW: usize = 64;

    fn is_due(&mut self, came: usize, ended: bool) -> bool {
        let due = ended || self.times < Self::FEW || came - self.seen >= Self::FEW;
        if due {
            (self.times, self.seen) = (self.times + 1, came);
        }
        due
    }
}

fn span(time: Duration) -> Span {
    Span::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
