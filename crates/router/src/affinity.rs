//! hot path
//!
//! What of a request says where it belongs: the key by which a service hashes its requests, and the token of the instance
//! that a client stays with.

use std::{fmt::Write, net::IpAddr, sync::Arc};

use balancer::HashKey;
use discovery::{
    Service, Sticky,
    sticky::{Carrier, Cookie},
};
use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
    request::Parts,
};

use crate::query;

/// The hash of this request's key and the token it carries, if its service goes by them and it has one.
#[must_use]
pub fn of(service: &Service, peer: Option<IpAddr>, head: &Parts) -> (Option<u64>, Option<u64>) {
    let key = service.policy.balance.algorithm.hash_key();
    let sticky = service.policy.sticky.as_ref();
    (key.and_then(|key| hash(key, peer, head)), sticky.and_then(|sticky| token(sticky, &head.headers)))
}

/// The hash of this request's key, if it has one.
#[must_use]
pub fn hash(key: &HashKey, peer: Option<IpAddr>, head: &Parts) -> Option<u64> {
    match key {
        HashKey::Header(name) => head.headers.get(name.as_str()).map(|value| balancer::hash(value.as_bytes())),
        HashKey::Cookie(name) => cookie(&head.headers, name).map(|value| balancer::hash(value.as_bytes())),
        HashKey::Query(name) => query::value(head.uri.query()?, name).map(|value| balancer::hash(value.as_bytes())),
        HashKey::ClientAddress => Some(match peer?.to_canonical() {
            IpAddr::V4(ip) => balancer::hash(&ip.octets()),
            IpAddr::V6(ip) => balancer::hash(&ip.octets()),
        }),
    }
}

/// The token this request carries, if it is one.
#[must_use]
pub fn token(sticky: &Sticky, headers: &HeaderMap) -> Option<u64> {
    match &sticky.carrier {
        Carrier::Cookie(Cookie { name, .. }) => parse(cookie(headers, name)?),
        Carrier::Header(name) => parse(headers.get(name)?.to_str().ok()?),
    }
}

/// What a client is to carry from now on: the instance that answers it is not the one it stayed with.
#[derive(Debug)]
pub struct Stick {
    /// How it carries it.
    pub sticky: Arc<Sticky>,
    /// The token of the instance.
    pub token: u64,
}

impl Stick {
    /// Tells the client, which came by TLS or did not.
    pub fn tell(&self, headers: &mut HeaderMap, tls: bool) {
        let mut text = String::with_capacity(128);
        let written = match &self.sticky.carrier {
            Carrier::Header(_) => write!(text, "{:016x}", self.token),
            Carrier::Cookie(Cookie { name, attributes, secure }) => {
                let secure = if secure.unwrap_or(tls) { "; Secure" } else { "" };
                write!(text, "{name}={:016x}{attributes}{secure}", self.token)
            }
        };
        // Neither fails: a string takes everything, and names and attributes were checked.
        let (Ok(()), Ok(value)) = (written, HeaderValue::try_from(text)) else { return };
        match &self.sticky.carrier {
            Carrier::Header(name) => headers.insert(name, value).is_some(),
            Carrier::Cookie(_) => headers.append(SET_COOKIE, value),
        };
    }
}

/// As [`Stick::tell`] writes it.
fn parse(text: &str) -> Option<u64> {
    let is_token = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_token.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// The value of the first cookie of this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.find_map(|line| in_line(line, name))
}

fn in_line<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        assert_eq!(in_line("a=1; user=x; b=2", "user"), Some("x"));
        assert_eq!(in_line("superuser=1; user=x", "user"), Some("x"));
        assert_eq!(in_line("users=1", "user"), None);
        assert_eq!(in_line("user=", "user"), Some(""));
    }

    fn sticky(carrier: Carrier) -> Arc<Sticky> {
        Arc::new(Sticky { carrier, secret: None })
    }

    #[test]
    fn what_is_told_is_what_is_read() {
        let by_header = sticky(Carrier::Header(http::HeaderName::from_static("x-instance")));
        let cookie = |secure| {
            let (name, attributes) = ("shop".into(), "; Path=/; HttpOnly".into());
            sticky(Carrier::Cookie(Cookie { name, attributes, secure }))
        };
        for (secure, tls, end) in [(None, false, ""), (None, true, "; Secure"), (Some(false), true, "")] {
            let mut answer = HeaderMap::new();
            Stick { sticky: cookie(secure), token: 0xAB }.tell(&mut answer, tls);
            assert_eq!(answer[SET_COOKIE], format!("shop=00000000000000ab; Path=/; HttpOnly{end}"));
        }
        let mut answer = HeaderMap::new();
        Stick { sticky: Arc::clone(&by_header), token: u64::MAX }.tell(&mut answer, true);
        assert_eq!(token(&by_header, &answer), Some(u64::MAX));
        for (line, expected) in [
            ("a=b; shop=00000000000000ab", Some(0xAB)),
            ("shop=ab", None),
            ("shop=+0000000000000ab", None),
            ("shop=", None),
        ] {
            let request = [(COOKIE, HeaderValue::from_static(line))].into_iter().collect();
            assert_eq!(token(&cookie(None), &request), expected, "{line}");
        }
    }
}
