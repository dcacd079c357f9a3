//! One request at an instance: plays the script of its reply, the same over HTTP/1 and HTTP/2.

use std::{future::Future, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tokio::sync::mpsc;

use super::{
    Command, State,
    stream::{Gone, Piece, Sink, Source},
};
use crate::{
    Seen,
    reply::Step,
    seen::{BODY_LIMIT, DIGEST_OF_NOTHING, digest_more},
};

/// One request with its two directions.
pub(super) struct Exchange {
    seen: Seen,
    place_in_log: Option<usize>,
    source: Source,
    sink: Sink,
    connection: mpsc::UnboundedSender<Command>,
    state: Arc<State>,
}

/// Written bytes of [`Step::Stream`] are cut into pieces of this size: one HTTP/2 frame of the default limit.
const PIECE: usize = 16 * 1024;

/// Before the connection is cut, what was handed to the protocol gets this long to leave: on loopback it takes
/// microseconds, and neither hyper nor h2 tells when it is done.
const GRACE: Duration = Duration::from_millis(20);

impl Exchange {
    /// Counts and records the request and plays its reply to the end.
    pub(super) async fn play(
        state: Arc<State>,
        mut seen: Seen,
        source: Source,
        sink: Sink,
        connection: mpsc::UnboundedSender<Command>,
    ) {
        seen.body_digest = DIGEST_OF_NOTHING;
        let mut in_flight = InFlight::new(Arc::clone(&state));
        let place_in_log = state.record(&seen);
        let steps = state.reply_to(&seen).steps;
        let mut exchange = Self { seen, place_in_log, source, sink, connection, state };
        match exchange.run(&steps).await {
            Ok(()) => in_flight.completed = true,
            Err(Gone::Reset(code)) => exchange.state.counts.resets.lock().unwrap().push(code),
            Err(Gone::Lost) => {}
        }
    }

    async fn run(&mut self, steps: &[Step]) -> Result<(), Gone> {
        for (index, step) in steps.iter().enumerate() {
            if self.sink.awaits_head() && step.is_body() {
                self.head(StatusCode::OK, HeaderMap::new(), &steps[index..])?;
            }
            match step {
                Step::Read => self.read_to_end().await?,
                Step::Wait(duration) => self.unless_gone(tokio::time::sleep(*duration)).await?,
                Step::Gate(gate) => self.unless_gone(gate.passed()).await?,
                Step::Inform(status, headers) => self.sink.inform(*status, headers.clone())?,
                Step::Head(status, headers) => {
                    self.head(*status, headers.clone(), &steps[index + 1..])?;
                }
                Step::Data(bytes) => self.data(bytes.clone()).await?,
                Step::Stream(total) => self.stream(*total).await?,
                Step::Echo => self.data(self.seen.to_json().to_string().into()).await?,
                Step::Mirror => {
                    if let Some(trailers) = self.mirror().await? {
                        return self.sink.trailers(trailers).await;
                    }
                }
                Step::Trailers(trailers) => return self.sink.trailers(trailers.clone()).await,
                Step::GoAway => self.tell_connection(Command::Drain),
                Step::Reset(code) if self.sink.reset(*code) => return Ok(()),
                Step::Close | Step::Reset(_) => {
                    tokio::time::sleep(GRACE).await;
                    self.tell_connection(Command::Cut);
                    return Ok(());
                }
                Step::Raw(bytes) => {
                    self.tell_connection(Command::Raw(bytes.clone()));
                    return Ok(());
                }
                Step::Hang => return Err(self.sink.gone().await),
            }
        }
        if self.sink.awaits_head() {
            self.head(StatusCode::OK, HeaderMap::new(), &[])?;
        }
        self.sink.finish()
    }

    async fn read_to_end(&mut self) -> Result<(), Gone> {
        if self.seen.header("expect").is_some() && !self.source.answers_expect_itself() {
            self.sink.inform(StatusCode::CONTINUE, HeaderMap::new())?;
        }
        while let Some(piece) = self.read().await? {
            drop(piece);
        }
        Ok(())
    }

    /// The next piece of the request body, counted and recorded.
    async fn read(&mut self) -> Result<Option<Piece>, Gone> {
        let next = self.source.next().await;
        match &next {
            Ok(Some(Piece::Data(bytes))) => {
                self.state.counts.bytes_read.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                let kept = bytes.len().min(BODY_LIMIT - self.seen.body.len());
                self.seen.body.extend_from_slice(&bytes[..kept]);
                self.seen.body_bytes += bytes.len() as u64;
                self.seen.body_digest = digest_more(self.seen.body_digest, bytes);
            }
            Ok(Some(Piece::Trailers(trailers))) => self.seen.trailers = Some(trailers.clone()),
            Ok(None) | Err(_) => {}
        }
        self.state.amend(self.place_in_log, &self.seen);
        next
    }

    fn head(&mut self, status: StatusCode, mut headers: HeaderMap, rest: &[Step]) -> Result<(), Gone> {
        if let Some(length) = self.declared_length(rest) {
            headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        if let Some(Step::Trailers(trailers)) = rest.last()
            && !headers.contains_key(header::TRAILER)
        {
            // hyper sends no trailer that was not announced.
            let names: Vec<&str> = trailers.keys().map(header::HeaderName::as_str).collect();
            headers.insert(header::TRAILER, names.join(", ").try_into().expect("header names are values"));
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.sink.head(response, rest.is_empty() || self.seen.method == Method::HEAD)
    }

    /// The length of the body, if nothing but bytes follows the head.
    fn declared_length(&self, rest: &[Step]) -> Option<u64> {
        let lengths = rest.iter().map(|step| match step {
            Step::Data(bytes) => Some(bytes.len() as u64),
            Step::Stream(total) => Some(*total),
            Step::Echo => Some(self.seen.to_json().to_string().len() as u64),
            _ => None,
        });
        lengths.sum::<Option<u64>>().filter(|_| !rest.is_empty())
    }

    async fn data(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.sink.data(bytes, &self.state.counts.bytes_written).await
    }

    async fn stream(&mut self, total: u64) -> Result<(), Gone> {
        let piece = Bytes::from_static(&[b'.'; PIECE]);
        let mut left = total;
        while left > 0 {
            let size = left.min(PIECE as u64);
            self.data(piece.slice(..usize::try_from(size).expect("at most a piece"))).await?;
            left -= size;
        }
        Ok(())
    }

    /// Sends back what comes; gives the trailers, if the request has some.
    async fn mirror(&mut self) -> Result<Option<HeaderMap>, Gone> {
        while let Some(piece) = self.read().await? {
            match piece {
                Piece::Data(bytes) => self.data(bytes).await?,
                Piece::Trailers(trailers) => return Ok(Some(trailers)),
            }
        }
        Ok(None)
    }

    async fn unless_gone(&mut self, waited_for: impl Future<Output = ()>) -> Result<(), Gone> {
        tokio::select! {
            () = waited_for => Ok(()),
            gone = self.sink.gone() => Err(gone),
        }
    }

    fn tell_connection(&self, command: Command) {
        // A connection that is gone already needs no telling.
        self.connection.send(command).unwrap_or_default();
    }
}

/// Keeps [`crate::Counts::in_flight`] true, also when the task of the exchange is aborted.
struct InFlight {
    state: Arc<State>,
    completed: bool,
}

impl InFlight {
    fn new(state: Arc<State>) -> Self {
        state.counts.requests.fetch_add(1, Ordering::SeqCst);
        state.counts.in_flight.fetch_add(1, Ordering::SeqCst);
        Self { state, completed: false }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let counts = &self.state.counts;
        let ended = if self.completed { &counts.completed } else { &counts.aborted };
        ended.fetch_add(1, Ordering::SeqCst);
        counts.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
