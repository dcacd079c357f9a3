//! hot path
//!
//! What becomes of header fields on their way through: fields about one connection end here, fields about the client's
//! connection are made here, all others pass.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
        COOKIE, Entry, FORWARDED, HOST, MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
};

use model::Fields;

mod forwarded;
pub mod framing;
mod trust;

#[cfg(test)]
mod tests;

pub use forwarded::Connection;
pub use trust::{Network, NetworkError, Trusted};

/// What the file says about header fields, compiled.
#[derive(Debug, Clone)]
pub struct Rewriting {
    /// The host an instance is told.
    pub host: HostPolicy,
    /// Also `Forwarded` (RFC 7239), besides `X-Forwarded-*`. Off by default.
    pub forwarded: bool,
    /// Also `Via` on requests. Off by default: it tells instances about us and takes compression away from some.
    pub via: bool,
    /// Whose `X-Forwarded-*` are believed.
    pub trusted: Trusted,
    /// Fields that speak to this router and end here: the names of the service header and `service_url`.
    pub ours: Box<[HeaderName]>,
}

/// The host an instance is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HostPolicy {
    /// Its own name and port, as light-router does by default: servers that hold several names, or check the name
    /// against the certificate they showed, answer 421 to any other. The client's is in `X-Forwarded-Host`.
    #[default]
    Instance,
    /// What the client wrote.
    Preserve,
    /// Always this.
    Fixed(HeaderValue),
}

impl Default for Rewriting {
    fn default() -> Self {
        let ours = ["service_id", "x-service-id", "service_url"].map(HeaderName::from_static);
        Self {
            host: HostPolicy::default(),
            forwarded: false,
            via: false,
            trusted: Trusted::default(),
            ours: ours.into(),
        }
    }
}

impl HostPolicy {
    /// The host for one attempt, from the client's (if it named one) and the instance's.
    #[must_use]
    pub fn choose<'a>(&'a self, client: Option<&'a HeaderValue>, instance: &'a HeaderValue) -> &'a HeaderValue {
        match self {
            Self::Instance => instance,
            Self::Preserve => client.unwrap_or(instance),
            Self::Fixed(host) => host,
        }
    }
}

/// Makes the client's head, which has these fields, ready for an instance. Path and query are not its business.
///
/// Takes the `Host` field out and returns what the client called us, for [`HostPolicy::choose`]: the host is set for
/// each attempt. The head must have passed [`crate::hygiene::check`].
pub fn outbound(head: &mut Parts, fields: Fields, from: &Connection, rules: &Rewriting) -> Option<HeaderValue> {
    let headers = &mut head.headers;
    strip_connection_fields(headers, fields);
    for name in rules.ours.iter().filter(|name| fields.may_have(name)) {
        headers.remove(name);
    }
    let client_host = if fields.may_have(&HOST) { headers.remove(HOST) } else { None };
    let client_host = client_host.or_else(|| HeaderValue::from_str(head.uri.authority()?.as_str()).ok());
    from.tell(headers, client_host.as_ref(), rules);
    if rules.via {
        headers.append(http::header::VIA, via(head.version));
    }
    client_host
}

/// Makes an instance's head of this status ready for the client. Returns the fields it came with.
pub fn inbound(status: StatusCode, headers: &mut HeaderMap) -> Fields {
    let fields = Fields::of(headers);
    // Where there is no body there is no length (RFC 9110, 8.6); clients of HTTP/2 would wait for it, or call it an error.
    let is_bare = status.is_informational() || status == StatusCode::NO_CONTENT;
    // The length was of no account beside chunks (RFC 9112, 6.3), and the client sees no chunks of the instance's.
    if is_bare || (fields.may_have(&TRANSFER_ENCODING) && headers.contains_key(TRANSFER_ENCODING)) {
        headers.remove(CONTENT_LENGTH);
    }
    strip_connection_fields(headers, fields);
    // Our own word: an instance that said it would speak for the router.
    if fields.may_have(&REASON) {
        headers.remove(&REASON);
    }
    fields
}

/// Takes out what trailers may not carry (RFC 9110, 6.5.1): framing, routing, credentials and how to read the content.
/// The rest passes, gRPC's status among it.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    let fields = Fields::of(trailers);
    strip_connection_fields(trailers, fields);
    for name in [&HOST, &CONTENT_LENGTH, &CONTENT_TYPE, &CONTENT_ENCODING, &CONTENT_RANGE, &AUTHORIZATION, &COOKIE]
        .into_iter()
        .chain([&SET_COOKIE, &CACHE_CONTROL, &MAX_FORWARDS, &TE, &TRAILER, &FORWARDED, &REASON])
        .filter(|name| fields.may_have(name))
    {
        trailers.remove(name);
    }
    forwarded::remove_all(trailers);
}

/// Joins the crumbs in which HTTP/2 clients send cookies, for instances that speak HTTP/1.1 (RFC 9113, 8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let crumbs = || headers.get_all(COOKIE).iter();
    if crumbs().nth(1).is_some() {
        let cookie = joined(crumbs(), b"; ");
        headers.insert(COOKIE, cookie);
    }
}

/// Fields about one connection (RFC 9110, 7.6.1), those that `Connection` names included. `TE` stays as `trailers` if
/// that is what it said: gRPC servers insist. `Trailer` stays, as trailers do.
///
/// `Proxy-Authorization` and `Proxy-Authenticate` go as well: credentials for a proxy are for none behind it.
fn strip_connection_fields(headers: &mut HeaderMap, fields: Fields) {
    if fields.may_meet(CONNECTION_FIELDS) {
        if let Entry::Occupied(connection) = headers.entry(CONNECTION) {
            let (_, mut values) = connection.remove_entry_mult();
            let first = values.next();
            let others: Vec<HeaderValue> = values.collect(); // nearly always empty, and then nothing is allocated
            for value in first.iter().chain(&others) {
                strip_nominated(headers, value);
            }
        }
        for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &TRANSFER_ENCODING, &UPGRADE, &HTTP2_SETTINGS] {
            headers.remove(name);
        }
        headers.remove(PROXY_AUTHORIZATION);
        headers.remove(PROXY_AUTHENTICATE);
    }
    if fields.may_have(&TE)
        && let Entry::Occupied(mut te) = headers.entry(TE)
    {
        if te.iter().any(|te| list(te).any(|coding| coding.eq_ignore_ascii_case("trailers"))) {
            te.insert(TRAILERS);
        } else {
            te.remove_entry_mult();
        }
    }
}

fn strip_nominated(headers: &mut HeaderMap, connection: &HeaderValue) {
    for name in list(connection) {
        // `close` and `keep-alive` are the usual two and name nothing else to remove.
        let option = name.eq_ignore_ascii_case("close") || name.eq_ignore_ascii_case("keep-alive");
        if !option && !name.eq_ignore_ascii_case("te") && !is_end_to_end(name) {
            headers.remove(name);
        }
    }
}

/// The elements of a list field; none if it is not ASCII.
fn list(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim).filter(|element| !element.is_empty())
}

/// Fields a peer may not take out by naming them in `Connection`: an instance relies on them, and a proxy in front may
/// have set them (RFC 9110, 7.6.1 forbids naming such).
fn is_end_to_end(name: &str) -> bool {
    END_TO_END.iter().any(|n| name.eq_ignore_ascii_case(n)) || forwarded::is_forwarded(name)
}

const CONNECTION_FIELDS: Fields = Fields::named(&[
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authorization",
    "proxy-authenticate",
]);

const END_TO_END: [&str; 17] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "authorization",
    "cookie",
    "set-cookie",
    "cache-control",
    "date",
    "expect",
    "location",
    "www-authenticate",
    "x-correlation-id",
    "x-traceability-id",
    "traceparent",
    "tracestate",
];

/// All values of a field as one.
fn joined<'a>(values: impl Iterator<Item = &'a HeaderValue>, separator: &[u8]) -> HeaderValue {
    let mut out = Vec::with_capacity(128); // a few addresses or cookies
    for value in values {
        if !out.is_empty() {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_maybe_shared(out).unwrap_or(UNKNOWN) // never: values joined by ", " or "; " are a value
}

fn via(version: http::Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        http::Version::HTTP_2 => "2.0 pointsman",
        http::Version::HTTP_10 => "1.0 pointsman",
        _ => "1.1 pointsman",
    })
}

static REASON: HeaderName = HeaderName::from_static("x-pointsman-reason");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// RFC 7239's word for an address that cannot be told.
const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
