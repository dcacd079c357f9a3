//! Bytes as they are: a TCP or TLS connection that says exactly what the test tells it, for what no well-behaved library
//! would send. Every read has the deadline [`crate::DEADLINE`].

use std::{io, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{Io, bounded, certs::server_name};

/// One end of a connection: of a client ([`Socket::connect`]) or, in the closure of [`crate::Raw`], of a server.
///
/// ```no_run
/// # async fn example(router: std::net::SocketAddr) {
/// let mut socket = testkit::Socket::connect(router).await;
/// socket.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await.unwrap();
/// let response = socket.read_response().await.expect("an answer before the connection closes");
/// assert_eq!(response.status(), 400);
/// assert!(socket.is_closed_by_peer().await);
/// # }
/// ```
pub struct Socket {
    io: Box<dyn Io>,
    buffer: BytesMut,
}

/// An HTTP/1 message as it stood on the wire; header names keep their case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The request or status line.
    pub line: String,
    /// The fields in their order.
    pub headers: Vec<(String, String)>,
    /// The body, of a chunked one what the chunks hold.
    pub body: Bytes,
}

impl Message {
    /// The status code of a response; 0 if the line has none.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The first field of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Socket {
    /// Connects in cleartext.
    ///
    /// # Panics
    /// If nobody listens there.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(tcp(address).await)
    }

    /// Connects and does the TLS handshake, asking for the server `name`.
    ///
    /// # Panics
    /// If it fails.
    pub async fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Self {
        Self::try_connect_tls(address, config, name).await.unwrap_or_else(|error| panic!("TLS to {name}: {error}"))
    }

    /// As [`Socket::connect_tls`], for handshakes that ought to fail.
    ///
    /// # Errors
    /// What rustls says. With TLS 1.3 a refused client certificate shows only at the first read.
    pub async fn try_connect_tls(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        Ok(Self::over(tls(address, config, name).await?))
    }

    pub(crate) fn over(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), buffer: BytesMut::new() }
    }

    /// Writes and flushes.
    ///
    /// # Errors
    /// If the other side closed the connection.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        bounded("a raw write", async {
            self.io.write_all(bytes.as_ref()).await?;
            self.io.flush().await
        })
        .await
    }

    /// Ends our direction (FIN, or close_notify and FIN) and leaves the other open.
    pub async fn half_close(&mut self) {
        // The other side may have gone already, which is just as closed.
        drop(bounded("a raw shutdown", self.io.shutdown()).await);
    }

    /// A message up to its empty line, without body; `None` if the connection ended before.
    pub async fn read_head(&mut self) -> Option<Message> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head = self.buffer.split_to(end + 4);
        let head = String::from_utf8_lossy(&head[..end]).into_owned();
        let mut lines = head.split("\r\n").map(str::to_owned);
        let line = lines.next().unwrap_or_default();
        let split = |field: String| match field.split_once(':') {
            Some((name, value)) => (name.to_owned(), value.trim().to_owned()),
            None => (field, String::new()),
        };
        Some(Message { line, headers: lines.map(split).collect(), body: Bytes::new() })
    }

    /// A request with its body; `None` if the connection ended before it was whole.
    pub async fn read_request(&mut self) -> Option<Message> {
        let mut message = self.read_head().await?;
        if message.header("transfer-encoding").is_some() || message.header("content-length").is_some() {
            message.body = self.read_body(&message).await?;
        }
        Some(message)
    }

    /// A response with its body, by chunks, length or the end of the connection; interim (1xx) heads, 204 and 304 have
    /// none. `None` if the connection ended before it was whole. Not for answers to HEAD: use [`Socket::read_head`].
    pub async fn read_response(&mut self) -> Option<Message> {
        let mut message = self.read_head().await?;
        if !matches!(message.status(), 100..=199 | 204 | 304) {
            message.body = self.read_body(&message).await?;
        }
        Some(message)
    }

    /// Exactly so many bytes; `None` if the connection ended before.
    pub async fn read_exactly(&mut self, count: usize) -> Option<Bytes> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.buffer.split_to(count).freeze())
    }

    /// All bytes until the other side ends the connection, in whatever way.
    pub async fn read_to_end(&mut self) -> Bytes {
        while self.fill().await {}
        self.buffer.split().freeze()
    }

    /// Whether the other side ends the connection, within [`crate::DEADLINE`], without another byte.
    ///
    /// # Panics
    /// If it does neither: a connection that just stays open is what the caller wants to hear about.
    pub async fn is_closed_by_peer(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await
    }

    async fn read_body(&mut self, head: &Message) -> Option<Bytes> {
        if head.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.read_chunks().await;
        }
        match head.header("content-length") {
            Some(length) => self.read_exactly(length.parse().expect("a length")).await,
            None => Some(self.read_to_end().await),
        }
    }

    async fn read_chunks(&mut self) -> Option<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let line = self.read_line().await?;
            let digits = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits.trim(), 16).expect("a chunk size");
            if size == 0 {
                while !self.read_line().await?.is_empty() {}
                return Some(body.freeze());
            }
            body.extend_from_slice(&self.read_exactly(size).await?);
            assert_eq!(self.read_line().await?, "", "a chunk ends where its size says");
        }
    }

    async fn read_line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = self.buffer.split_to(at + 2);
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads more; `false` at the end of the connection, be it FIN, RST or a TLS end without close_notify.
    async fn fill(&mut self) -> bool {
        matches!(bounded("a raw read", self.io.read_buf(&mut self.buffer)).await, Ok(count) if count > 0)
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("buffer", &self.buffer).finish_non_exhaustive()
    }
}

pub(crate) async fn tcp(address: SocketAddr) -> TcpStream {
    let connected = bounded("connecting", TcpStream::connect(address)).await;
    let stream = connected.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

pub(crate) async fn tls(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::clone(config));
    // Boxed: the handshake's state would be part of every future that connects.
    let handshake = Box::pin(connector.connect(server_name(name), tcp(address).await));
    bounded("a TLS handshake", handshake).await
}
