//! The body of an answer as it comes, and the collecting of all of it.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, response::Parts};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::{ClientError, Step, connect::Origin, error::chain, h1, h2, pool::Pool};

/// An answer whose body is still to be read.
pub(super) struct Answer<'a> {
    pub(super) head: Parts,
    pub(super) body: Incoming<'a>,
}

/// The unread body; keeps its connection until it is read or dropped.
pub(super) enum Incoming<'a> {
    H1 { body: hyper::body::Incoming, link: Option<h1::Link>, pool: &'a Pool },
    H2 { body: ::h2::RecvStream, _share: h2::Share },
}

impl Incoming<'_> {
    /// The next piece; `None` at the end. An HTTP/1 connection goes back to the pool there.
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        match self {
            Self::H1 { body, link, pool } => loop {
                match body.frame().await {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Some(Ok(data));
                        }
                    }
                    Some(Err(e)) => return Some(Err(chain(&e))),
                    None => {
                        if let Some(link) = link.take() {
                            pool.give_back(link);
                        }
                        return None;
                    }
                }
            },
            Self::H2 { body, .. } => {
                let data = body.data().await?;
                // Read is read: the room goes back at once. It fails only on a stream that ended, which needs none.
                if let Ok(data) = &data {
                    drop(body.flow_control().release_capacity(data.len()));
                }
                Some(data.map_err(|e| chain(&e)))
            }
        }
    }
}

/// An answer that is read as it comes, for watches whose answer never ends. Dropping it ends the exchange: over HTTP/1
/// by closing the connection, over HTTP/2 by a reset of the stream.
pub struct Streaming<'a> {
    answer: Answer<'a>,
    origin: &'a Origin,
}

impl<'a> Streaming<'a> {
    pub(super) fn new(answer: Answer<'a>, origin: &'a Origin) -> Self {
        Self { answer, origin }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.answer.head.status
    }

    /// The next piece of the body, as the network cut it; `None` at its end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] at the deadline, after which it may be asked again; [`ClientError::Broken`] if the
    /// connection ended within the body.
    pub async fn next(&mut self, deadline: Instant) -> Result<Option<Bytes>, ClientError> {
        self.answer.next(self.origin, deadline).await
    }
}

impl fmt::Debug for Streaming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Answer<'_> {
    async fn next(&mut self, origin: &Origin, deadline: Instant) -> Result<Option<Bytes>, ClientError> {
        let piece = origin.within(deadline, Step::Body, self.body.next()).await?;
        let broken = |cause| ClientError::Broken { address: origin.address.clone(), step: Step::Body, cause };
        piece.transpose().map_err(broken)
    }

    pub(super) async fn collect(
        mut self,
        origin: &Origin,
        limit: usize,
        deadline: Instant,
    ) -> Result<(Parts, Bytes), ClientError> {
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(piece) = self.next(origin, deadline).await? {
            if first.len() + rest.len() + piece.len() > limit {
                return Err(ClientError::TooLarge { address: origin.address.clone(), limit });
            }
            // Most answers are one piece: those are not copied.
            if first.is_empty() {
                first = piece;
            } else {
                rest.extend_from_slice(&piece);
            }
        }
        if rest.is_empty() {
            return Ok((self.head, first));
        }
        let mut whole = BytesMut::with_capacity(first.len() + rest.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&rest);
        Ok((self.head, whole.freeze()))
    }
}
