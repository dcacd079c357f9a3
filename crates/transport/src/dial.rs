//! Opens connections to instances.
//!
//! | File | |
//! |---|---|
//! | `dial.rs` | TCP, TLS, and what can go wrong |
//! | `dial/name.rs` | the addresses of a host |
//! | `dial/first.rs` | the first of them that answers |

mod first;
mod name;

use std::{fmt::Debug, io, pin::Pin, time::Duration};

use model::{Address, Host, Protocol};
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use first::Says;
pub(crate) use first::first;
pub(crate) use name::is_unknown;

use crate::{ClientTls, Upstream, io::Stream, keepalive::KeepAlive, upstream::Version};

/// Why no connection could be made; for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The name is not there.
    #[error("cannot resolve its name: {0}")]
    Resolve(String),
    /// The resolver of this machine fails or is silent; says nothing about the instance.
    #[error("the resolver does not say where it is: {0}")]
    Resolver(String),
    /// TCP failed.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// TLS failed.
    #[error("TLS handshake failed: {0}")]
    Tls(String),
    /// As many connections as allowed, and none has room.
    #[error("every connection to it is full")]
    Full,
    /// This machine has no descriptor, port or memory for another connection; says nothing about the instance.
    #[error("out of resources: {0}")]
    Local(String),
    /// Not within the connect timeout.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
}

impl DialError {
    /// Whether the cause is on our side, so that it must not count against the instance.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Full | Self::Local(_) | Self::Resolver(_))
    }

    /// Whether the instance was silent.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    fn connect(error: &io::Error) -> Self {
        match Says::of(error) {
            Says::NoSource | Says::Exhausted => Self::Local(error.to_string()),
            Says::Failed => Self::Connect(error.to_string()),
        }
    }
}

/// A connection being made.
pub type DialFuture<'a> = Pin<Box<dyn Future<Output = Result<(Stream, Version), DialError>> + 'a>>;

/// How connections to instances are made. Asked once for each connection, never for a request.
pub trait Dial: Debug {
    /// Connects to an instance and says what is spoken. Who waits gives up at the deadline.
    fn dial<'a>(&'a self, upstream: &'a Upstream, deadline: Instant) -> DialFuture<'a>;
}

/// By TCP, and TLS if the instance's protocol says so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Network;

impl Dial for Network {
    fn dial<'a>(&'a self, upstream: &'a Upstream, deadline: Instant) -> DialFuture<'a> {
        Box::pin(connect(upstream, deadline))
    }
}

/// Connects to an instance, all within `limit`.
///
/// # Errors
/// If that does not work in time.
pub async fn dial(dialler: &dyn Dial, upstream: &Upstream, limit: Duration) -> Result<(Stream, Version), DialError> {
    let deadline = Instant::now() + limit;
    timeout_at(deadline, dialler.dial(upstream, deadline)).await.unwrap_or(Err(DialError::Timeout(limit)))
}

async fn connect(upstream: &Upstream, deadline: Instant) -> Result<(Stream, Version), DialError> {
    let tcp = tcp(&upstream.address, deadline).await?;
    match upstream.protocol {
        Protocol::Http => Ok((Stream::Tcp(tcp), Version::H1)),
        Protocol::H2c => Ok((Stream::Tcp(tcp), Version::H2)),
        Protocol::Https => tls(upstream, tcp).await,
    }
}

/// Connects to the first address that answers. At the deadline who waits gives up; until then it is known whether the
/// resolver is to blame.
pub(crate) async fn tcp(address: &Address, deadline: Instant) -> Result<TcpStream, DialError> {
    let stream = first(name::resolve(address, deadline).await?, TcpStream::connect).await;
    let stream = stream.map_err(|e| DialError::connect(&e))?;
    stream.set_nodelay(true).map_err(|e| DialError::connect(&e))?;
    if let Err(error) = KeepAlive::SERVER.set(&stream) {
        tracing::debug!(%error, "the system does not look after a connection to an instance");
    }
    Ok(stream)
}

async fn tls(upstream: &Upstream, tcp: TcpStream) -> Result<(Stream, Version), DialError> {
    let Some(tls) = &upstream.tls else { return Err(DialError::Tls("no TLS settings".into())) };
    let stream = handshake(tls, &upstream.address.host, tcp).await?;
    let version = chosen(&stream);
    upstream.learn(version);
    Ok((Stream::ToInstance(Box::new(stream)), version))
}

/// Does TLS with an instance at this host, whose certificate is verified as the settings say.
pub(crate) async fn handshake(tls: &ClientTls, host: &Host, tcp: TcpStream) -> Result<TlsStream<TcpStream>, DialError> {
    let name = match (&tls.server_name, host) {
        (Some(name), _) => name.clone(),
        (None, Host::Ip(ip)) => ServerName::IpAddress((*ip).into()),
        (None, Host::Name(host)) => ServerName::try_from(host.to_string())
            .map_err(|_| DialError::Tls(format!("{host} is not a name a certificate can carry")))?,
    };
    let connector = TlsConnector::from(std::sync::Arc::clone(&tls.config));
    connector.connect(name, tcp).await.map_err(|e| DialError::Tls(e.to_string()))
}

/// What ALPN chose.
pub(crate) fn chosen(stream: &TlsStream<TcpStream>) -> Version {
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") { Version::H2 } else { Version::H1 }
}
