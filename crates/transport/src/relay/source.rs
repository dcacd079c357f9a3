//! hot path
//!
//! Where a response's body comes from, and what becomes of that which nobody wants.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use http2::Reason;
use hyper::body::Incoming;
use tokio::{task::spawn_local, time::timeout};

use crate::{
    BodyError, h1,
    h2::Ticket,
    pool::Pool,
    pump::Pump,
    upload::{Tally, Upload},
};

/// How much of an unwanted answer is read, and for how long, so that its connection can be used again. Error pages are
/// smaller.
const DRAIN: (usize, Duration) = (64 * 1024, Duration::from_millis(500));

/// Where the response's body comes from.
#[derive(Debug)]
pub enum Source {
    /// An HTTP/2 stream.
    H2 {
        /// The response's body.
        stream: http2::Incoming,
        /// What is left of the request.
        request: Option<(Pump, Upload)>,
        /// The stream's place on its connection.
        ticket: Ticket,
    },
    /// An HTTP/1.1 connection, given back to its pool after a clean end. The request's body is hyper's affair.
    H1 {
        /// The response's body.
        incoming: Incoming,
        /// What came of it with the head, if it had to be looked at. Boxed: it is large, and most answers have none.
        ahead: Option<Box<Frame<Bytes>>>,
        /// The connection, and the pool it goes back to.
        home: Option<(h1::Connection, Rc<Pool>)>,
        /// The request's body: only once all of it is sent the connection can be used again.
        upload: Option<Rc<Tally>>,
    },
}

/// What ended before the answer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection, and with it all that its instance was about to say.
    Connection,
    /// This stream alone: its instance lives, and said that it gives up.
    Stream,
}

impl Broken {
    fn by(error: http2::Error) -> Self {
        match error {
            http2::Error::Reset(_) | http2::Error::Stream { .. } => Self::Stream,
            _ => Self::Connection,
        }
    }
}

impl Source {
    /// Looks at what of an HTTP/1.1 answer has come with its head, if its length is not known: what should be a chunk may be
    /// none. An answer that breaks with its first octets can still be replaced by another one.
    ///
    /// # Errors
    /// [`BodyError::Malformed`] if it is no body, [`BodyError::Instance`] if it ends before its end.
    pub fn begin(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        let Self::H1 { incoming, ahead, .. } = self else { return Ok(()) };
        if incoming.size_hint().exact().is_some() {
            return Ok(());
        }
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => Err(match BodyError::of_h1(&error) {
                BodyError::Malformed => BodyError::Malformed,
                _ => BodyError::Instance,
            }),
            Poll::Ready(Some(Ok(frame))) => {
                *ahead = Some(Box::new(frame));
                Ok(())
            }
            Poll::Ready(None) | Poll::Pending => Ok(()),
        }
    }

    /// The answer may yet be wanted, but its request goes to another instance: this one gets no more of it.
    pub fn part(&mut self) {
        match self {
            Self::H2 { request, .. } => *request = None,
            Self::H1 { home, upload, .. } => {
                if upload.take().is_some_and(|tally| !tally.is_done()) {
                    // The answer comes to its end, its connection is not used again.
                    if let Some((connection, _)) = home {
                        connection.spend();
                    }
                }
            }
        }
    }

    /// Nobody wants it. A stream is reset; a connection is used again if the answer's end comes soon.
    pub fn discard(mut self) {
        self.part();
        if let Self::H1 { mut incoming, home: Some((connection, pool)), .. } = self
            && !connection.is_spent()
        {
            spawn_local(async move {
                if let Ok(true) = timeout(DRAIN.1, drained(&mut incoming)).await {
                    pool.give_back(connection);
                }
            });
        }
    }

    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::H2 { stream, .. } => stream.is_end_stream(),
            Self::H1 { incoming, ahead, .. } => ahead.is_none() && incoming.is_end_stream(),
        }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::H2 { stream, .. } => Pin::new(stream).poll_frame(cx).map(|f| f.map(|f| f.map_err(Broken::by))),
            Self::H1 { incoming, ahead, .. } => match ahead.take() {
                Some(frame) => Poll::Ready(Some(Ok(*frame))),
                None => Pin::new(incoming).poll_frame(cx).map(|f| f.map(|f| f.map_err(|_| Broken::Connection))),
            },
        }
    }

    /// The answer is complete.
    pub(super) fn finish(&mut self) {
        match self {
            // Its instance does not need the rest of the request.
            Self::H2 { .. } => self.reset(),
            Self::H1 { home, upload, .. } => {
                let sent = upload.as_ref().is_none_or(|tally| tally.is_done());
                if let Some((connection, pool)) = home.take().filter(|(c, _)| sent && !c.is_spent()) {
                    pool.give_back(connection);
                }
            }
        }
    }

    /// Breaks off a request that is still under way.
    pub(super) fn reset(&mut self) {
        if let Self::H2 { request, .. } = self
            && let Some((mut pump, _)) = request.take()
        {
            pump.reset(Reason::CANCEL);
        }
    }
}

/// Reads to the end. False if that is too far away, or does not come.
async fn drained(incoming: &mut Incoming) -> bool {
    let mut left = DRAIN.0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx)).await {
        let size = frame.as_ref().ok().map(|frame| frame.data_ref().map_or(0, Bytes::len));
        match size.and_then(|size| left.checked_sub(size)) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}
