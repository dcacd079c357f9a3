//! The connections of one client: idle HTTP/1 ones, shared HTTP/2 ones.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::{task::JoinHandle, time::Instant};

use super::{
    ClientError, Step,
    connect::{Origin, Stream},
    h1, h2,
    parting::Parting,
};

/// Idle HTTP/1 connections that are kept; more would only keep the server's limits busy.
const IDLE: usize = 8;

/// A connection a request may use now.
pub(super) enum Link {
    H1(h1::Link),
    H2(h2::Link),
}

impl Link {
    /// Whether it served a request before, so that its peer may have closed it meanwhile.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Self::H1(link) => link.kept,
            Self::H2(link) => link.kept,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Last in, first out. Held for a push or a pop only, never over an await.
    idle: Mutex<Vec<h1::Link>>,
    /// Held while a connection is made, so that all who wait for the first one share it.
    shared: tokio::sync::Mutex<Vec<h2::Shared>>,
    /// The last TLS connection chose HTTP/1.1: new ones are made side by side instead of one after the other.
    one_by_one: AtomicBool,
    multiplexes: AtomicBool,
}

impl Pool {
    pub(super) fn multiplexes(&self) -> bool {
        self.multiplexes.load(Ordering::Relaxed)
    }

    pub(super) async fn link(&self, origin: &Origin, fresh_only: bool, deadline: Instant) -> Result<Link, ClientError> {
        if !fresh_only && let Some(link) = self.take_idle() {
            return Ok(Link::H1(link));
        }
        if origin.is_clear() || self.one_by_one.load(Ordering::Relaxed) {
            return self.connect(origin, deadline).await;
        }
        let mut shared = origin.within(deadline, Step::Connect, self.shared.lock()).await?;
        shared.retain(h2::Shared::is_open);
        if !fresh_only && let Some(link) = shared.iter().find_map(h2::Shared::link) {
            return Ok(Link::H2(link));
        }
        let link = self.connect(origin, deadline).await?;
        if let Link::H2(link) = &link {
            shared.push(link.shared());
        }
        Ok(link)
    }

    async fn connect(&self, origin: &Origin, deadline: Instant) -> Result<Link, ClientError> {
        // Boxed: the handshake's state is large, rare, and would make every request's future as large.
        let stream = Box::pin(origin.connect(deadline)).await?;
        let multiplexes = stream.is_h2();
        self.multiplexes.store(multiplexes, Ordering::Relaxed);
        self.one_by_one.store(!multiplexes, Ordering::Relaxed);
        match stream {
            Stream::Tls(stream) if multiplexes => h2::start(Parting(*stream), origin, deadline).await.map(Link::H2),
            Stream::Tls(stream) => h1::start(Parting(*stream), origin, deadline).await.map(Link::H1),
            Stream::Clear(stream) => h1::start(stream, origin, deadline).await.map(Link::H1),
            Stream::Local(stream) => h1::start(stream, origin, deadline).await.map(Link::H1),
        }
    }

    fn take_idle(&self) -> Option<h1::Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(h1::Link::is_open);
        idle.pop()
    }

    /// Keeps a connection whose exchange is over for the next one.
    pub(super) fn give_back(&self, mut link: h1::Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if link.is_open() && idle.len() < IDLE {
            link.kept = true;
            idle.push(link);
        }
    }
}

/// The task that drives a connection; it ends with its owner.
#[derive(Debug)]
pub(super) struct Driver(pub(super) JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
