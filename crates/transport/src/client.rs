//! A small HTTP client for registries and other control planes: few requests, long waits, clear errors.
//!
//! In clear text it speaks HTTP/1.1, one exchange per connection at a time, and keeps a few idle connections. Over TLS
//! it speaks what ALPN gives: HTTP/2, where all requests share connections up to the server's stream limit, else
//! HTTP/1.1. Every step (name, connect, TLS, head, body) ends at the caller's deadline, and an error says which step
//! failed and what to do.

mod body;
mod connect;
pub(crate) mod error;
mod escape;
mod h1;
mod h2;
mod knock;
mod lines;
mod names;
mod parting;
mod pool;
mod questions;
mod reach;
mod tls;
mod wire;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use tokio::time::Instant;

pub use body::Streaming;
pub use error::{ClientError, Step};
pub use escape::escaped;
pub use lines::{Lines, TooLong};
pub use questions::Questions;
pub use tls::TlsSettings;
pub use wire::{Duplex, Wire};

use body::Answer;
use connect::Origin;
use pool::{Link, Pool};

use crate::clock;

/// How to reach one server.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// `http://host:port` or `https://host:port`, without a path; or `unix:///path`, a socket of this machine.
    pub url: String,
    /// Trust, names and client certificate; used for `https` only.
    pub tls: TlsSettings,
    /// Sent with every request (an access token, for example). Mark secrets as sensitive.
    pub headers: HeaderMap,
    /// For name resolution, TCP and TLS together; the deadline of a request may be shorter.
    pub connect_timeout: Duration,
    /// The longest body that is read; a longer one is an error.
    pub body_limit: usize,
    /// Where requests are counted, each time one is sent.
    pub questions: Arc<Questions>,
}

impl ClientSettings {
    /// Settings for this address with every default: system trust, 5 s to connect, bodies up to 64 MiB.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: TlsSettings::default(),
            headers: HeaderMap::new(),
            connect_timeout: Duration::from_secs(5),
            // The catalogue of 100,000 instances is about this long; anything longer is a mistake, not a registry.
            body_limit: 64 << 20,
            questions: Arc::default(),
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Response {
    /// Its status; every status is an answer, none is an error here.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body, complete.
    pub body: Bytes,
}

/// A client of one server. Cheap to clone; clones share connections, which close with the last of them.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    origin: Origin,
    pool: Pool,
    headers: HeaderMap,
    body_limit: usize,
    questions: Arc<Questions>,
}

impl Client {
    /// Checks the settings and reads certificate files; opens no connection yet. Files are read once: a client that
    /// shall see new ones is made anew.
    ///
    /// # Errors
    /// [`ClientError::Settings`] if the URL is not of the form given above, or a certificate or key cannot be used.
    pub fn new(settings: ClientSettings) -> Result<Self, ClientError> {
        let origin = Origin::new(&settings, &[b"h2", b"http/1.1"])?;
        let ClientSettings { headers, body_limit, questions, .. } = settings;
        let inner = Inner { origin, pool: Pool::default(), headers, body_limit, questions };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether requests share connections (HTTP/2), as far as is known from connections made so far.
    #[must_use]
    pub fn multiplexes(&self) -> bool {
        self.inner.pool.multiplexes()
    }

    /// Reads a resource: `/v1/path?query`.
    ///
    /// # Errors
    /// See [`Client::send`].
    pub async fn get(&self, path: &str, deadline: Instant) -> Result<Response, ClientError> {
        self.send(Method::GET, path, Bytes::new(), deadline).await
    }

    /// Replaces a resource.
    ///
    /// # Errors
    /// See [`Client::send`].
    pub async fn put(&self, path: &str, body: Bytes, deadline: Instant) -> Result<Response, ClientError> {
        self.send(Method::PUT, path, body, deadline).await
    }

    /// Posts to a resource.
    ///
    /// # Errors
    /// See [`Client::send`].
    pub async fn post(&self, path: &str, body: Bytes, deadline: Instant) -> Result<Response, ClientError> {
        self.send(Method::POST, path, body, deadline).await
    }

    /// One request and its whole answer. A request that a kept connection provably did not take, or a `GET` that found
    /// a kept connection closed, is sent once more on a new one.
    ///
    /// # Errors
    /// Any [`ClientError`]; none after the deadline. A status of 400 or above is not an error.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Response, ClientError> {
        let answer = self.open(method, path, body, deadline).await?;
        let (head, body) = answer.collect(&self.inner.origin, self.inner.body_limit, deadline).await?;
        Ok(Response { status: head.status, headers: head.headers, body })
    }

    /// As [`Client::send`], but returns with the head of the answer; the body is read as it comes. The deadline is that
    /// of the head.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn stream(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Streaming<'_>, ClientError> {
        let answer = self.open(method, path, body, deadline).await?;
        Ok(Streaming::new(answer, &self.inner.origin))
    }

    /// Up to and including the head of the answer.
    async fn open(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer<'_>, ClientError> {
        let inner = &*self.inner;
        let repeatable = method.is_idempotent();
        let request = inner.request(method, path, body)?;
        let mut fresh_only = false;
        loop {
            inner.questions.note(clock::tick());
            let link = inner.pool.link(&inner.origin, fresh_only, deadline).await?;
            let kept = link.is_kept();
            let result = match link {
                Link::H1(link) => h1::open(link, &inner.pool, &inner.origin, request.clone(), deadline).await,
                Link::H2(link) => h2::open(link, &inner.origin, request.clone(), deadline).await,
            };
            match result {
                Err(failure) if kept && !fresh_only && (failure.unsent || (repeatable && failure.closed())) => {
                    fresh_only = true;
                }
                Err(failure) => return Err(failure.error),
                Ok(answer) => return Ok(answer),
            }
        }
    }
}

impl Inner {
    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Bytes>, ClientError> {
        let invalid = |cause: http::Error| ClientError::Settings(format!("request path {path:?}: {cause}"));
        let uri = Uri::builder()
            .scheme(self.origin.scheme())
            .authority(self.origin.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(invalid)?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("pointsman"));
        Ok(request)
    }
}

#[cfg(test)]
mod tests;
