//! From a URL to a connection: resolve, connect, TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::{
    Uri,
    uri::{Authority, Scheme},
};
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ClientError, ClientSettings, Step, error::chain, knock::knock, names::Names, reach::reach, tls, wire::Duplex,
};
use crate::keepalive::KeepAlive;

/// The server: where it is and how to open a connection to it.
#[derive(Debug)]
pub(super) struct Origin {
    /// Host and port, for errors and look-ups.
    pub(super) address: String,
    pub(super) authority: Authority,
    host: String,
    port: u16,
    /// In place of host and port.
    socket: Option<PathBuf>,
    tls: Option<Tls>,
    connect_timeout: Duration,
}

#[derive(Debug)]
struct Tls {
    config: Arc<rustls::ClientConfig>,
    server_name: ServerName<'static>,
}

/// An open connection, before a word of any protocol.
#[derive(Debug)]
pub(super) enum Stream {
    Clear(TcpStream),
    Local(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether ALPN chose HTTP/2.
    pub(super) fn is_h2(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"))
    }

    pub(super) fn into_duplex(self) -> Box<dyn Duplex> {
        match self {
            Self::Clear(stream) => Box::new(stream),
            Self::Local(stream) => Box::new(stream),
            Self::Tls(stream) => stream,
        }
    }
}

impl Origin {
    /// Over TLS the `protocols` are offered by ALPN.
    pub(super) fn new(settings: &ClientSettings, protocols: &[&[u8]]) -> Result<Self, ClientError> {
        let url = &settings.url;
        if let Some(path) = url.strip_prefix("unix://") {
            return Self::local(url, path, settings.connect_timeout);
        }
        let invalid = |why: &str| {
            ClientError::Settings(format!("url {url:?} {why}: write http://host:port or https://host:port"))
        };
        let uri: Uri = url.parse().map_err(|_| invalid("is not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(invalid("has no scheme or host"));
        };
        if uri.path_and_query().is_some_and(|p| p.as_str() != "/") || authority.as_str().contains('@') {
            return Err(invalid("has more than a host"));
        }
        let secure = *scheme == Scheme::HTTPS;
        if !secure && *scheme != Scheme::HTTP {
            return Err(invalid("has an unknown scheme"));
        }
        let bracketed = authority.host();
        let host = bracketed.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(bracketed).to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure {
            let name = settings.tls.server_name.clone().unwrap_or_else(|| host.clone());
            let server_name = ServerName::try_from(name.clone()).map_err(|_| {
                ClientError::Settings(format!("server_name {name:?} is neither a host name nor an address"))
            })?;
            Some(Tls { config: settings.tls.compile(protocols)?, server_name })
        } else {
            None
        };
        Ok(Self {
            address: format!("{bracketed}:{port}"),
            authority: authority.clone(),
            host,
            port,
            socket: None,
            tls,
            connect_timeout: settings.connect_timeout,
        })
    }

    /// A socket of this machine, where HTTP is spoken as to `localhost`.
    fn local(url: &str, path: &str, connect_timeout: Duration) -> Result<Self, ClientError> {
        if !path.starts_with('/') {
            return Err(ClientError::Settings(format!(
                "url {url:?} has no absolute path: write unix:///path/to/socket"
            )));
        }
        Ok(Self {
            address: path.to_owned(),
            authority: Authority::from_static("localhost"),
            host: "localhost".to_owned(),
            port: 0,
            socket: Some(path.into()),
            tls: None,
            connect_timeout,
        })
    }

    pub(super) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    pub(super) fn is_clear(&self) -> bool {
        self.tls.is_none()
    }

    /// Resolves, connects to the first address that answers, and does the TLS handshake.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Stream, ClientError> {
        let deadline = deadline.min(Instant::now() + self.connect_timeout);
        if let Some(path) = &self.socket {
            let stream = self.within(deadline, Step::Connect, UnixStream::connect(path)).await?;
            return stream.map(Stream::Local).map_err(|e| self.unreachable(&e));
        }
        let stream = self.tcp(deadline).await?;
        let Some(tls) = &self.tls else { return Ok(Stream::Clear(stream)) };
        let handshake = TlsConnector::from(Arc::clone(&tls.config)).connect(tls.server_name.clone(), stream);
        let stream = self.within(deadline, Step::Tls, handshake).await?.map_err(|e| match e.kind() {
            // The peer hung up without a word of TLS: busy or restarting, not misconfigured.
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                self.broken(Step::Tls, &e)
            }
            _ => self.refused(chain(&e)).unwrap_or_else(|cause| {
                let (address, remedy) = (self.address.clone(), tls::remedy(&e));
                ClientError::Tls { address, cause, remedy }
            }),
        })?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Resolves, and connects to the first address that answers. TLS is the caller's affair.
    pub(super) async fn tcp(&self, deadline: Instant) -> Result<TcpStream, ClientError> {
        let stream = Box::pin(self.dial(deadline)).await?.map_err(|e| self.unreachable(&e))?;
        prepare(&stream);
        Ok(stream)
    }

    async fn dial(&self, deadline: Instant) -> Result<io::Result<TcpStream>, ClientError> {
        let at =
            |found: Vec<IpAddr>| -> Vec<_> { found.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect() };
        if let Ok(ip) = self.host.parse() {
            return self.within(deadline, Step::Connect, knock(&at(vec![ip]), TcpStream::connect)).await;
        }
        let look = Names::of_this_process().look_up(&self.host);
        let patience = look.patience();
        if look.known.is_empty() {
            let found = self.within(deadline, Step::Resolve, look.fresh()).await?.map_err(|e| self.unreachable(&e))?;
            return self.within(deadline, Step::Connect, knock(&at(found), TcpStream::connect)).await;
        }
        let known = at(look.known.clone());
        let fresh = async { look.fresh().await.map(at) };
        self.within(deadline, Step::Connect, reach(&known, patience, fresh, TcpStream::connect)).await
    }

    fn unreachable(&self, cause: &io::Error) -> ClientError {
        ClientError::Unreachable { address: self.address.clone(), cause: chain(cause) }
    }

    pub(super) fn broken(&self, step: Step, cause: &dyn std::error::Error) -> ClientError {
        let broken = |cause| ClientError::Broken { address: self.address.clone(), step, cause };
        self.refused(chain(cause)).unwrap_or_else(broken)
    }

    /// A refusal, if the cause is an alert, else the cause. It is known by its words alone: the HTTP libraries hand on no more.
    fn refused(&self, cause: String) -> Result<ClientError, String> {
        if self.tls.is_some() && cause.contains("received fatal alert") {
            Ok(ClientError::Refused { address: self.address.clone(), cause })
        } else {
            Err(cause)
        }
    }

    /// Waits for a step no longer than the deadline.
    pub(super) async fn within<T>(
        &self,
        deadline: Instant,
        step: Step,
        work: impl Future<Output = T>,
    ) -> Result<T, ClientError> {
        timeout_at(deadline, work).await.map_err(|_| ClientError::TimedOut { address: self.address.clone(), step })
    }
}

/// A watch is silent for minutes, and a machine that vanished says nothing. Between here and here there is no network.
fn prepare(stream: &TcpStream) {
    let near = stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
    let look_after = |stream| if near { Ok(()) } else { KeepAlive::REGISTRY.set(stream) };
    // Both only improve matters; a system that refuses them still has a working connection.
    if let Err(error) = look_after(stream).and_then(|()| stream.set_nodelay(true)) {
        tracing::debug!(%error, "socket options not set");
    }
}
