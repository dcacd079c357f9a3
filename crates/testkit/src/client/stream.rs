//! One HTTP/2 stream, step by step: to read slowly, to hold back windows, to reset.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::{HeaderMap, Response};

use super::{Answer, Failure};
use crate::bounded;

/// A stream opened by [`crate::Client::open`]. Dropped before its end, it is reset with CANCEL.
///
/// ```no_run
/// # async fn example(client: testkit::Client) -> Result<(), testkit::Failure> {
/// let mut slow = client.open(http::Request::get("/big").body(()).unwrap(), true).await?;
/// assert_eq!(slow.head().await?.status(), 200);
/// let held = slow.data_held().await?.expect("a first piece"); // its window stays shut ...
/// slow.release(held.len()); // ... until here
/// slow.reset(8); // CANCEL
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Stream {
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    sender: SendStream<Bytes>,
}

impl Stream {
    pub(super) fn new(response: ResponseFuture, sender: SendStream<Bytes>) -> Self {
        Self { response: Some(response), body: None, sender }
    }

    /// Sends a piece of the body as the windows allow.
    ///
    /// # Errors
    /// If the stream or the connection ended.
    ///
    /// # Panics
    /// At the deadline, as all that waits here.
    pub async fn data(&mut self, mut bytes: Bytes) -> Result<(), Failure> {
        while !bytes.is_empty() {
            self.sender.reserve_capacity(bytes.len());
            let capacity = bounded("window to send", poll_fn(|cx| self.sender.poll_capacity(cx))).await;
            let Some(capacity) = capacity else { return Err(self.end().await) };
            let piece = bytes.split_to(capacity?.min(bytes.len()));
            // h2 also wakes for capacity that is gone again: an empty frame for each such time would never end.
            if !piece.is_empty() {
                self.sender.send_data(piece, false)?;
            }
        }
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// If the stream or the connection ended.
    pub fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.sender.send_data(Bytes::new(), true)?)
    }

    /// Ends the body with trailers.
    ///
    /// # Errors
    /// If the stream or the connection ended.
    pub fn finish_with(&mut self, trailers: HeaderMap) -> Result<(), Failure> {
        Ok(self.sender.send_trailers(trailers)?)
    }

    /// Resets the stream with this code.
    pub fn reset(&mut self, code: u32) {
        self.sender.send_reset(Reason::from(code));
    }

    /// The next interim (1xx) head; `None` once the final one is there.
    ///
    /// # Errors
    /// If the stream or the connection ended.
    pub async fn interim(&mut self) -> Result<Option<Response<()>>, Failure> {
        let Some(response) = &mut self.response else { return Ok(None) };
        Ok(bounded("an interim head", poll_fn(|cx| response.poll_informational(cx))).await.transpose()?)
    }

    /// The head. Interim heads not taken before by [`Stream::interim`] are skipped.
    ///
    /// # Errors
    /// If the stream or the connection ended before it.
    ///
    /// # Panics
    /// If called twice.
    pub async fn head(&mut self) -> Result<Response<()>, Failure> {
        let response = self.response.take().expect("one head a stream");
        let (head, body) = bounded("a response head", response).await?.into_parts();
        self.body = Some(body);
        Ok(Response::from_parts(head, ()))
    }

    /// The next piece of the body, and its window open again; `None` at the end.
    ///
    /// # Errors
    /// If the stream or the connection ended before its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = self.data_held().await?;
        if let Some(bytes) = &piece {
            self.release(bytes.len());
        }
        Ok(piece)
    }

    /// The next piece of the body, its window left shut, as of a client that does not read on.
    ///
    /// # Errors
    /// If the stream or the connection ended before its end.
    pub async fn data_held(&mut self) -> Result<Option<Bytes>, Failure> {
        Ok(bounded("a piece of body", self.body().data()).await.transpose()?)
    }

    /// Opens the window by so many bytes.
    ///
    /// # Panics
    /// If they were not held.
    pub fn release(&mut self, bytes: usize) {
        self.body().flow_control().release_capacity(bytes).expect("held bytes");
    }

    /// The trailers, after the end of the body.
    ///
    /// # Errors
    /// If the stream or the connection ended before them.
    pub async fn trailers(&mut self) -> Result<Option<HeaderMap>, Failure> {
        Ok(bounded("trailers", self.body().trailers()).await?)
    }

    /// Waits until the server resets the stream, or it is over for another reason.
    pub async fn end(&mut self) -> Failure {
        match bounded("a reset", poll_fn(|cx| self.sender.poll_reset(cx))).await {
            Ok(reason) => Failure::Reset(reason.into()),
            Err(error) => error.into(),
        }
    }

    /// All that is left: interim heads, head, body, trailers.
    ///
    /// # Errors
    /// If the stream or the connection ended before the answer was whole.
    pub async fn answer(mut self) -> Result<Answer, Failure> {
        let mut interim = Vec::new();
        while let Some(head) = self.interim().await? {
            let (head, ()) = head.into_parts();
            interim.push((head.status, head.headers));
        }
        let mut answer = Answer::from_head(self.head().await?);
        let mut body = BytesMut::new();
        while let Some(piece) = self.next().await? {
            body.extend_from_slice(&piece);
        }
        answer.body = body.freeze();
        answer.trailers = self.trailers().await?;
        answer.interim = interim;
        Ok(answer)
    }

    /// Hands over the whole body at once; h2 sends it as the windows allow while the answer is awaited. An early answer
    /// makes the failure of the rest no concern of ours.
    pub(super) fn send_early(&mut self, bytes: Bytes) {
        drop(self.sender.send_data(bytes, true));
    }

    fn body(&mut self) -> &mut RecvStream {
        self.body.as_mut().expect("head() comes before the body")
    }
}
