//! hot path
//!
//! Bodies, whatever protocol they come from or go to.

use std::{
    error::Error as _,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http2::Incoming as Stream;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::{relay::Relay, upload::Upload};

/// Why a body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The client broke off.
    #[error("the client broke off the request body")]
    Client,
    /// What the client sent is no body: its chunks cannot be read.
    #[error("the chunks of the request body are malformed")]
    Malformed,
    /// The client sent more than the route allows.
    #[error("the request body is larger than the route allows")]
    TooLarge,
    /// The instance broke off.
    #[error("the instance broke off the response")]
    Instance,
    /// Nothing moved for the idle time.
    #[error("nothing moved for the idle time")]
    Idle,
    /// The exchange took longer than its route allows.
    #[error("the exchange took longer than its route allows")]
    Deadline,
}

impl BodyError {
    /// Of what a peer sent by HTTP/1, for the one that is a client: hyper says by the kind of an I/O error whether chunks were wrong or missing.
    pub(crate) fn of_h1(error: &hyper::Error) -> Self {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
        match cause {
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Self::Malformed,
            _ => Self::Client,
        }
    }
}

/// A body on its way through. Polled by whoever writes it out; nothing is read ahead of that.
#[derive(Debug, Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// All of it at hand.
    Full(Bytes),
    /// From an HTTP/1 peer.
    H1(Incoming),
    /// From an HTTP/2 peer.
    H2(Stream),
    /// A request's body, counted and limited.
    Upload(Upload),
    /// A response's body with all that must stay alive and in time until its end.
    Relay(Box<Relay>),
}

impl Body {
    /// What must go on while the receiver takes nothing: the other direction of a relay, and its limits.
    /// Ready only when the exchange must end.
    pub fn poll_background(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        match self {
            Self::Relay(relay) => relay.poll_background(cx),
            _ => Poll::Pending,
        }
    }

    /// When the exchange it belongs to must be over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Relay(relay) => relay.deadline(),
            _ => None,
        }
    }

    /// Whether all of it has come, be it taken or not.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Empty | Self::Full(_) => true,
            Self::H1(incoming) => http_body::Body::is_end_stream(incoming),
            Self::H2(stream) => stream.is_whole(),
            Self::Upload(upload) => upload.is_whole(),
            Self::Relay(relay) => relay.is_end(),
        }
    }

    /// Whether its instance broke it off, and it came to an end all the same.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        matches!(self, Self::Relay(relay) if relay.is_cut_short())
    }

    /// Another answer is given in its place.
    pub fn replace(self) {
        if let Self::Relay(relay) = self {
            relay.replace();
        }
    }

    /// The receiver took what it was given.
    pub fn touch(&mut self) {
        if let Self::Relay(relay) = self {
            relay.touch();
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::H1(incoming) => {
                Pin::new(incoming).poll_frame(cx).map(|f| f.map(|f| f.map_err(|error| BodyError::of_h1(&error))))
            }
            Self::H2(stream) => Pin::new(stream).poll_frame(cx).map(|f| f.map(|f| f.map_err(|_| BodyError::Client))),
            Self::Upload(upload) => upload.poll_frame(cx),
            Self::Relay(relay) => relay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::H1(incoming) => incoming.is_end_stream(),
            Self::H2(stream) => stream.is_end_stream(),
            Self::Upload(upload) => upload.is_end(),
            Self::Relay(relay) => relay.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::H1(incoming) => incoming.size_hint(),
            Self::Upload(upload) => upload.size_hint(),
            Self::H2(_) | Self::Relay(_) => SizeHint::default(),
        }
    }
}
