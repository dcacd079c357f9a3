//! What an instance saw: each request as it arrived, and counts of all that happened.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use http::{HeaderMap, Method, Uri, Version};
use serde_json::{Value, json};

/// A request as it arrived at an instance. A closure of [`crate::Instance::answer`] gets it before the body is read.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The name of the instance.
    pub instance: String,
    /// The method.
    pub method: Method,
    /// The target as sent: over HTTP/2 with scheme and authority, over HTTP/1 usually without.
    pub uri: Uri,
    /// The protocol.
    pub version: Version,
    /// All header fields, in the order of [`HeaderMap`].
    pub headers: HeaderMap,
    /// The connection that brought it.
    pub connection: Connection,
    /// The body as far as it was read, at most its first 4 KiB.
    pub body: Vec<u8>,
    /// How many bytes of body were read so far.
    pub body_bytes: u64,
    /// [`digest`] of those bytes.
    pub body_digest: u64,
    /// The trailers, once the body was read to its end.
    pub trailers: Option<HeaderMap>,
}

/// How much of a body is kept: enough for what an API is asked.
pub(crate) const BODY_LIMIT: usize = 4 * 1024;

/// The connection that brought a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Counted from 1 in the life of the instance: equal numbers mean the same connection.
    pub number: u64,
    /// The other side's address.
    pub peer: std::net::SocketAddr,
    /// The server name asked for in the TLS handshake.
    pub server_name: Option<String>,
    /// What ALPN agreed on.
    pub alpn: Option<String>,
    /// Whether a client certificate was shown and accepted.
    pub client_certificate: bool,
}

impl Seen {
    /// The path, as sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// `:authority`, or else the `Host` field.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.uri.authority().map(http::uri::Authority::as_str).or_else(|| self.header("host"))
    }

    /// The first value of this field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body of an echo: `instance`, `method`, `path`, `query`, `authority`, `version` (`h1` or `h2`), `headers` and
    /// `trailers` (lists of pairs), `body_bytes`, `body_digest`, `connection` (number), `server_name`, `alpn`,
    /// `client_certificate`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "instance": self.instance,
            "method": self.method.as_str(),
            "path": self.uri.path(),
            "query": self.uri.query(),
            "authority": self.authority(),
            "version": if self.version == Version::HTTP_2 { "h2" } else { "h1" },
            "headers": pairs(&self.headers),
            "trailers": self.trailers.as_ref().map(pairs),
            "body_bytes": self.body_bytes,
            "body_digest": self.body_digest,
            "connection": self.connection.number,
            "server_name": self.connection.server_name,
            "alpn": self.connection.alpn,
            "client_certificate": self.connection.client_certificate,
        })
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

/// A digest to compare bodies by, of the whole at once: FNV-1a, 64 bit.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    digest_more(DIGEST_OF_NOTHING, bytes)
}

/// What the digest becomes when `bytes` follow.
pub(crate) fn digest_more(before: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(before, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// FNV-1a's offset basis.
pub(crate) const DIGEST_OF_NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

/// Counts of what happened at an instance since it was made, also over restarts. Written by its connections, read by
/// the test at any time.
#[derive(Debug, Default)]
pub struct Counts {
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) failed_handshakes: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) aborted: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) resets: Mutex<Vec<u32>>,
}

impl Counts {
    /// Connections accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::SeqCst)
    }

    /// TLS or HTTP/2 handshakes that failed.
    #[must_use]
    pub fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Ordering::SeqCst)
    }

    /// Request heads received.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Requests whose script is still being played.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Requests whose script was played to its end, a deliberate close or reset included.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.completed.load(Ordering::SeqCst)
    }

    /// Requests given up by the other side: reset, or the connection lost.
    #[must_use]
    pub fn aborted(&self) -> u64 {
        self.aborted.load(Ordering::SeqCst)
    }

    /// Bytes of request bodies read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::SeqCst)
    }

    /// Bytes of response bodies that the protocol took from us: within the windows over HTTP/2, into hyper's write
    /// buffer over HTTP/1.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::SeqCst)
    }

    /// The codes of the RST_STREAM frames received for requests in flight, in order.
    ///
    /// # Panics
    /// If a thread panicked while writing them.
    #[must_use]
    pub fn resets(&self) -> Vec<u32> {
        self.resets.lock().unwrap().clone()
    }
}
