//! Exchanges that share HTTP/2 connections, by the h2 crate.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use ::h2::{
    Reason,
    client::{Builder, SendRequest},
};
use bytes::Bytes;
use http::Request;
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::client::TlsStream;

use super::{
    ClientError, Step,
    body::{Answer, Incoming},
    connect::Origin,
    error::Failure,
    parting::Parting,
    pool::Driver,
};

/// Bytes of one answer, and of one connection, that may be on their way unread. Answers are read as they come, so this
/// only has to be large enough not to slow them.
const WINDOW: u32 = 1 << 20;
/// Streams a server is thought to allow until it says so (RFC 9113 recommends servers to allow at least 100).
const STREAMS_AT_FIRST: usize = 100;

/// A connection in the pool.
#[derive(Debug)]
pub(super) struct Shared {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// Exchanges under way, counted by us: one that waits for its stream counts too.
    busy: AtomicUsize,
    /// Set by the driver when the connection ends, and by an exchange that the connection refused.
    closed: Arc<AtomicBool>,
    _driver: Driver,
}

/// One exchange's share of a connection.
#[derive(Debug)]
pub(super) struct Link {
    sender: SendRequest<Bytes>,
    share: Share,
    pub(super) kept: bool,
}

/// Counts an exchange until its body is over.
#[derive(Debug)]
pub(super) struct Share(Arc<State>);

impl Share {
    fn new(state: &Arc<State>) -> Self {
        state.busy.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(state))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    pub(super) fn is_open(&self) -> bool {
        !self.state.closed.load(Ordering::Relaxed)
    }

    /// A share, unless as many exchanges as the server allows are under way.
    pub(super) fn link(&self) -> Option<Link> {
        let room = self.sender.current_max_send_streams();
        (self.state.busy.load(Ordering::Relaxed) < room).then(|| Link {
            sender: self.sender.clone(),
            share: Share::new(&self.state),
            kept: true,
        })
    }
}

impl Link {
    pub(super) fn shared(&self) -> Shared {
        Shared { sender: self.sender.clone(), state: Arc::clone(&self.share.0) }
    }
}

pub(super) async fn start(
    stream: Parting<TlsStream<TcpStream>>,
    origin: &Origin,
    deadline: Instant,
) -> Result<Link, ClientError> {
    let mut builder = Builder::new();
    builder
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .initial_max_send_streams(STREAMS_AT_FIRST)
        .enable_push(false);
    let handshake = Box::pin(builder.handshake(stream));
    let (sender, connection) =
        origin.within(deadline, Step::Head, handshake).await?.map_err(|e| origin.broken(Step::Head, &e))?;
    let closed = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&closed);
    let driver = tokio::spawn(async move {
        // Its error reaches every exchange that is under way.
        drop(connection.await);
        ended.store(true, Ordering::Relaxed);
    });
    let state = State { busy: AtomicUsize::new(0), closed, _driver: Driver(driver) };
    Ok(Link { sender, share: Share::new(&Arc::new(state)), kept: false })
}

pub(super) async fn open<'a>(
    link: Link,
    origin: &Origin,
    request: Request<Bytes>,
    deadline: Instant,
) -> Result<Answer<'a>, Failure> {
    let Link { sender, share, .. } = link;
    let refused = |e: &::h2::Error| {
        // After GOAWAY the connection lives on for older streams; new exchanges go elsewhere.
        share.0.closed.store(true, Ordering::Relaxed);
        Failure::unsent(origin.broken(Step::Head, e))
    };
    let mut sender = origin.within(deadline, Step::Head, sender.ready()).await?.map_err(|e| refused(&e))?;
    let (head, body) = request.into_parts();
    let empty = body.is_empty();
    let (response, mut stream) = sender.send_request(Request::from_parts(head, ()), empty).map_err(|e| refused(&e))?;
    if !empty {
        // The library keeps what the window has no room for and sends it as room comes; bodies here are small.
        stream.send_data(body, true).map_err(|e| origin.broken(Step::Head, &e))?;
    }
    let response = origin.within(deadline, Step::Head, response).await?.map_err(|e| {
        let unsent = e.is_remote() && (e.is_go_away() || e.reason() == Some(Reason::REFUSED_STREAM));
        Failure { unsent, error: origin.broken(Step::Head, &e) }
    })?;
    let (head, body) = response.into_parts();
    Ok(Answer { head, body: Incoming::H2 { body, _share: share } })
}
