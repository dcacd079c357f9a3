//! hot path
//!
//! What an instance is told about the client's connection. Whatever the client itself says about that is taken away,
//! unless it is a trusted proxy; then its words stay and we add ours.

use std::{fmt::Write, net::SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};

use super::{Rewriting, UNKNOWN, joined};

/// What stays the same for all requests of a client's connection: made once, cloned by reference.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Whether the client's `X-Forwarded-*` are believed.
    pub trusted: bool,
    peer: HeaderValue,
    proto: HeaderValue,
    port: HeaderValue,
    /// `for=...;proto=...`, without the host.
    element: String,
}

impl Connection {
    /// `local` is the address the client connected to; `tls` whether by TLS.
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr, tls: bool, rules: &Rewriting) -> Self {
        // An IPv4 client on a dual-stack socket is shown as what it is.
        let address = peer.ip().to_canonical();
        let proto = if tls { "https" } else { "http" };
        let node = if address.is_ipv4() { address.to_string() } else { format!("\"[{address}]\"") };
        Self {
            trusted: rules.trusted.contains(address),
            peer: text(&address.to_string()),
            proto: HeaderValue::from_static(proto),
            port: HeaderValue::from(local.port()),
            element: format!("for={node};proto={proto}"),
        }
    }

    /// The client's address, as `X-Forwarded-For` has it.
    #[must_use]
    pub fn peer(&self) -> &HeaderValue {
        &self.peer
    }

    /// Writes the fields.
    pub(super) fn tell(&self, headers: &mut HeaderMap, host: Option<&HeaderValue>, rules: &Rewriting) {
        if !self.trusted {
            remove_all(headers);
        }
        // Without trust there is nothing left of what the client said, so there is nothing to look for.
        let said = |headers: &HeaderMap, name: &HeaderName| self.trusted && headers.contains_key(name);
        let element = rules.forwarded.then(|| self.forwarded_element(host));
        for (name, own) in [(&X_FORWARDED_FOR, Some(&self.peer)), (&FORWARDED, element.as_ref())] {
            let Some(own) = own else { continue };
            if said(headers, name) {
                let longer = joined(headers.get_all(name).iter().chain([own]), b", ");
                headers.insert(name, longer);
            } else {
                headers.insert(name, own.clone());
            }
        }
        for (name, own) in
            [(&X_FORWARDED_PROTO, Some(&self.proto)), (&X_FORWARDED_PORT, Some(&self.port)), (&X_FORWARDED_HOST, host)]
        {
            if let Some(own) = own
                && !said(headers, name)
            {
                headers.insert(name, own.clone());
            }
        }
    }

    fn forwarded_element(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let mut element = self.element.clone();
        if let Some(host) = host.and_then(|host| host.to_str().ok()) {
            let written = write!(element, ";host=\"{host}\""); // quoted, because a host may have a colon
            debug_assert!(written.is_ok());
        }
        text(&element)
    }
}

/// Takes out every field that claims to speak of the client's connection.
pub(super) fn remove_all(headers: &mut HeaderMap) {
    // Collected first, since a map cannot be changed while it is read; allocates only if there is one.
    let claims: Vec<HeaderName> = headers.keys().filter(|name| is_forwarded(name.as_str())).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// `X-Forwarded-*`, `Forwarded`, `X-Real-IP`: in any case of letters, and with underscores, which CGI and its kin read as
/// hyphens.
pub(super) fn is_forwarded(name: &str) -> bool {
    let same = |one: &[u8], other: &[u8]| {
        let plain = |b: &u8| if *b == b'_' { b'-' } else { b.to_ascii_lowercase() };
        one.len() == other.len() && one.iter().map(plain).eq(other.iter().copied())
    };
    let name = name.as_bytes();
    // Nearly all names are told by their first letter.
    if !matches!(name.first(), Some(b'x' | b'X' | b'f' | b'F')) {
        return false;
    }
    name.get(..PREFIX.len()).is_some_and(|prefix| same(prefix, PREFIX))
        || same(name, b"forwarded")
        || same(name, b"x-real-ip")
}

const PREFIX: &[u8] = b"x-forwarded-";

/// A value of our own making: always visible ASCII.
fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(UNKNOWN)
}

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
