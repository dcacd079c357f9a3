//! HTTP/1.1 connections to instances: one exchange at a time, kept for the next one.

use std::{cell::Cell, rc::Rc, time::Duration};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    task::{AbortHandle, spawn_local},
    time::Instant,
};

use crate::{
    body::Body,
    io::{Doubtful, Stream},
};

/// A connection idle for longer than this is not used again: most servers close theirs after 5 s, and the request
/// would cross that close.
pub(crate) const IDLE: Duration = Duration::from_secs(4);
/// The same for requests that must not be repeated: they cannot be saved if it happens.
pub(crate) const IDLE_UNSAFE: Duration = Duration::from_secs(1);
/// Nobody closes a connection that was used so shortly before. One idle for longer is looked at before it is used: that its
/// instance has closed it may be known to the system and not yet to us.
const DOUBT: Duration = Duration::from_millis(50);
/// Buffer for one response head; also bounds what is read ahead of a slow client.
pub const BUFFER: usize = 64 * 1024;
/// Most header fields of a response, unless more are admitted: as many as hyper reads into room of its own. For any other number
/// it makes room anew for each response.
pub const FIELDS: u16 = 100;

/// One connection to one instance. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    /// Sends one request at a time.
    pub send: SendRequest<Body>,
    task: AbortHandle,
    marks: Rc<Marks>,
    /// Most header fields of a response.
    pub(crate) fields: u16,
    pub(crate) idle_since: Instant,
}

/// What is to be kept in mind of a connection.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// The system is to be asked, before the next octet is sent, whether the instance is still there.
    pub(crate) doubt: Cell<bool>,
    /// Its last request was not sent to its end.
    spent: Cell<bool>,
}

impl Connection {
    /// Speaks HTTP/1.1 on `stream`. A response has at most so many fields.
    ///
    /// # Errors
    /// If the connection is already broken.
    pub async fn start(stream: Stream, fields: u16) -> Result<Self, hyper::Error> {
        let marks = Rc::default();
        let stream = TokioIo::new(Doubtful::new(stream, &marks));
        let mut builder = Builder::new();
        builder.max_buf_size(BUFFER);
        if fields != FIELDS {
            builder.max_headers(fields.into());
        }
        let (mut send, wire) = builder.handshake(stream).await?;
        let task = spawn_local(async move {
            if let Err(error) = wire.await {
                tracing::debug!(%error, "connection to an instance ended");
            }
        })
        .abort_handle();
        send.ready().await?;
        Ok(Self { send, task, marks, fields, idle_since: Instant::now() })
    }

    /// It is about to be used. If it was idle for long enough to be closed meanwhile, the system is asked; if it was, the
    /// request comes back unsent.
    pub(crate) fn doubt(&self) {
        if self.idle_since.elapsed() >= DOUBT {
            self.marks.doubt.set(true);
        }
    }

    /// It is not used again after its answer.
    pub(crate) fn spend(&mut self) {
        self.marks.spent.set(true);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.marks.spent.get()
    }

    /// A handle that can end it while another holds it.
    pub(crate) fn abort_handle(&self) -> AbortHandle {
        self.task.clone()
    }

    /// Whether it is open and has not been idle for longer than this.
    pub(crate) fn is_fresh(&self, longest_idle: Duration) -> bool {
        !self.send.is_closed() && self.idle_since.elapsed() < longest_idle
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}
