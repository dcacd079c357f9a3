//! A plain connection to a server of a control plane that speaks another protocol than HTTP.

use std::fmt;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

use super::{ClientError, ClientSettings, TlsSettings, connect::Origin};

/// Both directions of an open connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Duplex for T {}

/// One server: its address, and how to trust it.
#[derive(Debug)]
pub struct Wire(Origin);

impl Wire {
    /// Reads certificate files; opens no connection yet. `authority` is `host:port`; without `tls` in clear text.
    ///
    /// # Errors
    /// [`ClientError::Settings`] if the address is none, or a certificate or key cannot be used.
    pub fn new(authority: &str, tls: Option<&TlsSettings>) -> Result<Self, ClientError> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut settings = ClientSettings::new(format!("{scheme}://{authority}"));
        settings.tls = tls.cloned().unwrap_or_default();
        Origin::new(&settings, &[]).map(Self)
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Resolves, connects to the first address that answers, and does the TLS handshake; within five seconds.
    ///
    /// # Errors
    /// Which step failed, and what to do.
    pub async fn connect(&self, deadline: Instant) -> Result<Box<dyn Duplex>, ClientError> {
        self.0.connect(deadline).await.map(super::connect::Stream::into_duplex)
    }

    /// As [`Wire::connect`], and leaves TLS to the caller.
    ///
    /// # Errors
    /// Which step failed.
    pub async fn tcp(&self, deadline: Instant) -> Result<TcpStream, ClientError> {
        self.0.tcp(deadline).await
    }
}
