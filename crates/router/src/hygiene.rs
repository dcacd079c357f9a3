//! hot path
//!
//! What a request head may not be. Whatever two parsers could read in two ways is refused here, before any rule looks
//! at it.
//!
//! Some of it never gets this far: hyper itself drops a `Content-Length` beside `Transfer-Encoding` and folds equal
//! ones into one, and our HTTP/2 resets streams with connection-specific fields. The same rules stand here all the
//! same, because they cost a few comparisons and do not depend on a library's version. Names with underscores are let
//! through: `service_id` is one.

use http::{
    HeaderMap, HeaderName, Method, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
    uri::Scheme,
};
use model::{Fields, Refusal};

use crate::authority::Authority;

#[cfg(test)]
mod tests;

/// Checks the head, which has these fields, and says which host it is for. Only HTTP/1.0 may leave that open.
///
/// # Errors
/// [`Refusal::BadRequest`] naming the rule, [`Refusal::MethodNotAllowed`] for CONNECT and TRACE,
/// [`Refusal::UpgradeRefused`] for upgrades to anything but h2c.
pub fn check(head: &Parts, fields: Fields) -> Result<Option<Authority<'_>>, Refusal> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Refusal::MethodNotAllowed);
    }
    // The first word of HTTP/2's preface, and no method (RFC 9113, 11.6): an instance could take what follows for one.
    if head.method.as_str() == "PRI" {
        return Err(Refusal::BadRequest("PRI is no method"));
    }
    if !head.uri.scheme().is_none_or(is_http) {
        return Err(Refusal::BadRequest("the scheme must be http or https"));
    }
    if head.uri.path() == "*" && head.method != Method::OPTIONS {
        return Err(Refusal::BadRequest("the target * is for OPTIONS only"));
    }
    match head.version {
        Version::HTTP_2 | Version::HTTP_3 => no_connection_fields(&head.headers, fields)?,
        version => {
            transfer_encoding(&head.headers, version)?;
            upgrade(&head.headers)?;
        }
    }
    if fields.may_have(&CONTENT_LENGTH) {
        content_length(&head.headers)?;
    }
    host(head, fields)
}

/// Size of the head as RFC 9113 (6.5.2) counts it, for any protocol: names and values, and 32 octets for each field,
/// which is about what a field costs in memory however short it is.
#[must_use]
pub fn head_size(head: &Parts) -> usize {
    let line = head.method.as_str().len() + head.uri.path_and_query().map_or(1, |p| p.as_str().len());
    let fields: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    line + fields
}

/// Instances get requests of this scheme, whatever the client wrote.
fn is_http(scheme: &Scheme) -> bool {
    let scheme = scheme.as_str();
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
}

/// RFC 9113, 8.2.2.
fn no_connection_fields(headers: &HeaderMap, fields: Fields) -> Result<(), Refusal> {
    if fields.may_meet(CONNECTION_FIELDS)
        && [&CONNECTION, &KEEP_ALIVE, &PROXY_CONNECTION, &TRANSFER_ENCODING, &UPGRADE]
            .iter()
            .any(|n| headers.contains_key(*n))
    {
        return Err(Refusal::BadRequest("connection-specific fields have no place in HTTP/2"));
    }
    if fields.may_have(&TE) && headers.get_all(TE).iter().any(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        return Err(Refusal::BadRequest("TE may only be trailers in HTTP/2"));
    }
    Ok(())
}

fn transfer_encoding(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(first) = codings.next() else { return Ok(()) };
    if version != Version::HTTP_11 {
        return Err(Refusal::BadRequest("Transfer-Encoding has no meaning before HTTP/1.1"));
    }
    if codings.next().is_some() || !first.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Refusal::BadRequest("Transfer-Encoding must be exactly chunked"));
    }
    if headers.contains_key(CONTENT_LENGTH) {
        return Err(Refusal::BadRequest("Content-Length and Transfer-Encoding exclude each other"));
    }
    Ok(())
}

fn content_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.next().is_some() || !digits {
        return Err(Refusal::BadRequest("Content-Length must be one number"));
    }
    Ok(())
}

/// `Upgrade: h2c` is an offer that Java's client makes with each cleartext request and that a server may leave alone
/// (RFC 9110, 7.8); it is stripped and the request served. Any other upgrade is the whole point of its request.
fn upgrade(headers: &HeaderMap) -> Result<(), Refusal> {
    let h2c = |offer: &[u8]| offer.trim_ascii().eq_ignore_ascii_case(b"h2c");
    let only_h2c = headers.get_all(UPGRADE).iter().all(|value| value.as_bytes().split(|&b| b == b',').all(h2c));
    if only_h2c { Ok(()) } else { Err(Refusal::UpgradeRefused) }
}

fn host(head: &Parts, fields: Fields) -> Result<Option<Authority<'_>>, Refusal> {
    let mut hosts = fields.may_have(&HOST).then(|| head.headers.get_all(HOST).iter()).into_iter().flatten();
    let field = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(Refusal::BadRequest("the request names its host twice")),
        (Some(host), None) => {
            let text = host.to_str().map_err(|_| Refusal::BadRequest("the host is malformed"))?;
            Some(Authority::parse(text)?)
        }
        (None, _) => None,
    };
    let target = head.uri.authority().map(|a| Authority::parse(a.as_str())).transpose()?;
    match (target, field) {
        (Some(target), Some(field)) if target != field => {
            Err(Refusal::BadRequest("the host in the request target is not the one in the Host field"))
        }
        // RFC 9112, 3.2: the field is required even when the target names the host.
        (_, None) if head.version == Version::HTTP_11 => Err(Refusal::BadRequest("the request names no host")),
        (None, None) if head.version > Version::HTTP_11 => Err(Refusal::BadRequest("the request names no host")),
        (target, field) => Ok(target.or(field)),
    }
}

const CONNECTION_FIELDS: Fields =
    Fields::named(&["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
