//! Servers below HTTP: one whose connections a closure speaks byte by byte, and one that cannot be connected to.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use crate::Socket;

/// A server that runs a closure on each connection; the connection closes when the closure returns. Dropped, it is gone
/// with all its connections.
///
/// ```no_run
/// # async fn example() {
/// use testkit::Raw;
/// let two_status_lines = Raw::sends("HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\n\r\n").await;
/// let cut_in_the_body = Raw::sends("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
/// let early_hints = Raw::start(|mut socket| async move {
///     while socket.read_request().await.is_some() {
///         let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
///         if socket.send(answer).await.is_err() {
///             return;
///         }
///     }
/// })
/// .await;
/// # }
/// ```
#[derive(Debug)]
pub struct Raw {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Raw {
    /// Runs `script` on each cleartext connection.
    pub async fn start<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(Socket) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::listen(None, script).await
    }

    /// Runs `script` on each connection, behind TLS.
    pub async fn start_tls<F: Future<Output = ()> + Send + 'static>(
        config: Arc<ServerConfig>,
        script: impl Fn(Socket) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(TlsAcceptor::from(config)), script).await
    }

    /// Answers one request on each connection with these bytes and closes.
    pub async fn sends(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut socket| {
            let bytes = bytes.clone();
            async move {
                if socket.read_request().await.is_some() && socket.send(&bytes).await.is_ok() {
                    socket.half_close().await;
                }
            }
        })
        .await
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    async fn listen<F: Future<Output = ()> + Send + 'static>(
        tls: Option<TlsAcceptor>,
        script: impl Fn(Socket) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let connections = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).expect("a TCP socket");
                let Some(tls) = &tls else {
                    tasks.spawn(script(Socket::over(stream)));
                    continue;
                };
                // One at a time: a raw server has a handful of connections.
                if let Ok(stream) = tls.accept(stream).await {
                    tasks.spawn(script(Socket::over(stream)));
                }
            }
        });
        Self { address, connections, accepting }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An address on loopback where connecting neither succeeds nor fails: its queue is full and nobody accepts, so that
/// the kernel drops every SYN. For connect timeouts. Linux.
#[derive(Debug)]
pub struct BlackHole {
    listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens the listener and fills its queue.
    ///
    /// # Panics
    /// If the queue does not fill.
    pub async fn new() -> Self {
        /// On loopback a connect takes microseconds unless the queue is full.
        const FULL: Duration = Duration::from_millis(100);
        /// Linux takes one more than the backlog of 1; a few more do no harm.
        const MOST: usize = 16;
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let listener = socket.listen(1).expect("listening");
        let address = listener.local_addr().expect("a bound socket");
        let mut queue = Vec::new();
        while let Ok(connected) = tokio::time::timeout(FULL, TcpStream::connect(address)).await {
            queue.push(connected.expect("the queue has room or not"));
            assert!(queue.len() < MOST, "the queue of {address} does not fill");
        }
        Self { listener, _queue: queue }
    }

    /// The address that never answers.
    ///
    /// # Panics
    /// Never: the socket is bound.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket")
    }
}
