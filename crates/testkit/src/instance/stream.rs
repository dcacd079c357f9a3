//! The two directions of one request, over either protocol.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};

/// Why an exchange ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// The other side reset the stream.
    Reset(u32),
    /// The connection is lost, or was closed in the middle.
    Lost,
}

/// What comes in.
pub(super) enum Source {
    H1(Incoming),
    H2(RecvStream),
}

/// A part of a body.
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// What goes out; over HTTP/1 by channels to the task that hyper runs in.
pub(super) enum Sink {
    H1Head(oneshot::Sender<Response<H1Body>>),
    H1Body(mpsc::Sender<Frame<Bytes>>),
    H2Head(SendResponse<Bytes>),
    H2Body(SendStream<Bytes>),
    Ended,
}

impl Source {
    /// Whether the library sends `100 Continue` by itself when the body is read.
    pub(super) fn answers_expect_itself(&self) -> bool {
        matches!(self, Self::H1(_))
    }

    pub(super) async fn next(&mut self) -> Result<Option<Piece>, Gone> {
        match self {
            Self::H1(body) => match body.frame().await {
                None => Ok(None),
                Some(Err(_)) => Err(Gone::Lost),
                Some(Ok(frame)) => Ok(Some(match frame.into_data() {
                    Ok(bytes) => Piece::Data(bytes),
                    Err(frame) => Piece::Trailers(frame.into_trailers().unwrap_or_default()),
                })),
            },
            Self::H2(stream) => match stream.data().await {
                Some(Ok(bytes)) => {
                    // Fails only on a stream that is over, and then the next read says so.
                    drop(stream.flow_control().release_capacity(bytes.len()));
                    Ok(Some(Piece::Data(bytes)))
                }
                Some(Err(error)) => Err(gone(&error)),
                None => Ok(stream.trailers().await.map_err(|error| gone(&error))?.map(Piece::Trailers)),
            },
        }
    }
}

impl Sink {
    pub(super) fn awaits_head(&self) -> bool {
        matches!(self, Self::H1Head(_) | Self::H2Head(_))
    }

    /// An interim head; nothing over HTTP/1, where hyper offers none.
    pub(super) fn inform(&mut self, status: StatusCode, headers: HeaderMap) -> Result<(), Gone> {
        let Self::H2Head(respond) = self else { return Ok(()) };
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        respond.send_informational(response).map_err(|error| gone(&error))
    }

    pub(super) fn head(&mut self, response: Response<()>, end: bool) -> Result<(), Gone> {
        match std::mem::replace(self, Self::Ended) {
            Self::H1Head(waiting) => {
                let (frames, body) = H1Body::channel(end);
                waiting.send(response.map(|()| body)).map_err(|_| Gone::Lost)?;
                *self = if end { Self::Ended } else { Self::H1Body(frames) };
            }
            Self::H2Head(mut respond) => {
                let stream = respond.send_response(response, end).map_err(|error| gone(&error))?;
                *self = if end { Self::Ended } else { Self::H2Body(stream) };
            }
            other => {
                *self = other;
                panic!("a reply has two heads");
            }
        }
        Ok(())
    }

    /// Sends as the other side takes, and counts what it took.
    pub(super) async fn data(&mut self, mut bytes: Bytes, written: &AtomicU64) -> Result<(), Gone> {
        match self {
            Self::H1Body(frames) => {
                let length = bytes.len() as u64;
                frames.send(Frame::data(bytes)).await.map_err(|_| Gone::Lost)?;
                written.fetch_add(length, Ordering::SeqCst);
            }
            Self::H2Body(stream) => {
                while !bytes.is_empty() {
                    stream.reserve_capacity(bytes.len());
                    let capacity = match poll_fn(|cx| stream.poll_capacity(cx)).await {
                        Some(Ok(capacity)) => capacity.min(bytes.len()),
                        Some(Err(error)) => return Err(gone(&error)),
                        None => return Err(self.gone().await),
                    };
                    stream.send_data(bytes.split_to(capacity), false).map_err(|error| gone(&error))?;
                    written.fetch_add(capacity as u64, Ordering::SeqCst);
                }
            }
            // The answer to HEAD ends with its head.
            Self::Ended => {}
            Self::H1Head(_) | Self::H2Head(_) => panic!("a reply has data before its head"),
        }
        Ok(())
    }

    pub(super) async fn trailers(&mut self, trailers: HeaderMap) -> Result<(), Gone> {
        match std::mem::replace(self, Self::Ended) {
            Self::H1Body(frames) => frames.send(Frame::trailers(trailers)).await.map_err(|_| Gone::Lost),
            Self::H2Body(mut stream) => stream.send_trailers(trailers).map_err(|error| gone(&error)),
            Self::Ended => Ok(()),
            Self::H1Head(_) | Self::H2Head(_) => panic!("a reply has trailers before its head"),
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), Gone> {
        match std::mem::replace(self, Self::Ended) {
            Self::H2Body(mut stream) => stream.send_data(Bytes::new(), true).map_err(|error| gone(&error)),
            // Dropping the channel ends the body.
            _ => Ok(()),
        }
    }

    /// Resets the stream; `false` where there is none to reset, so that the connection has to go.
    pub(super) fn reset(&mut self, code: u32) -> bool {
        match self {
            Self::H2Head(respond) => respond.send_reset(Reason::from(code)),
            Self::H2Body(stream) => stream.send_reset(Reason::from(code)),
            Self::H1Head(_) | Self::H1Body(_) | Self::Ended => return false,
        }
        true
    }

    /// Waits until the other side gives up.
    pub(super) async fn gone(&mut self) -> Gone {
        let reset = match self {
            Self::H1Head(waiting) => {
                waiting.closed().await;
                return Gone::Lost;
            }
            Self::H1Body(frames) => {
                frames.closed().await;
                return Gone::Lost;
            }
            Self::H2Head(respond) => poll_fn(|cx| respond.poll_reset(cx)).await,
            Self::H2Body(stream) => poll_fn(|cx| stream.poll_reset(cx)).await,
            Self::Ended => std::future::pending().await,
        };
        reset.map_or(Gone::Lost, |reason| Gone::Reset(reason.into()))
    }
}

fn gone(error: &h2::Error) -> Gone {
    match error.reason() {
        Some(reason) if error.is_reset() && error.is_remote() => Gone::Reset(reason.into()),
        _ => Gone::Lost,
    }
}

/// A body whose frames come from the task that plays the reply. It ends when that task drops the other half.
pub(super) struct H1Body {
    frames: mpsc::Receiver<Frame<Bytes>>,
    empty: bool,
}

impl H1Body {
    /// `empty` is known beforehand so that hyper can say `Content-Length: 0`. The channel holds one frame, so that what
    /// was sent is what hyper took, but for that one.
    fn channel(empty: bool) -> (mpsc::Sender<Frame<Bytes>>, Self) {
        let (sender, frames) = mpsc::channel(1);
        (sender, Self { frames, empty })
    }
}

impl http_body::Body for H1Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames.poll_recv(cx).map(|frame| frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.empty
    }
}

impl fmt::Debug for H1Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H1Body").field("empty", &self.empty).finish_non_exhaustive()
    }
}
