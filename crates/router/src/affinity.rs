//! hot path
//!
//! The key by which a service hashes its requests.

use balancer::HashKey;
use http::{HeaderMap, header::COOKIE};

use crate::exchange::Exchange;

/// The hash of this request's key, if it has one.
#[must_use]
pub fn hash(key: &HashKey, exchange: &Exchange, headers: &HeaderMap) -> Option<u64> {
    match key {
        HashKey::Header(name) => headers.get(name.as_str()).map(|value| balancer::hash(value.as_bytes())),
        HashKey::Cookie(name) => {
            let mut cookies = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
            cookies.find_map(|line| cookie(line, name)).map(|value| balancer::hash(value.as_bytes()))
        }
        HashKey::ClientAddress => Some(match exchange.client.peer.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => balancer::hash(&ip.octets()),
            std::net::IpAddr::V6(ip) => balancer::hash(&ip.octets()),
        }),
    }
}

fn cookie<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        assert_eq!(cookie("a=1; user=x; b=2", "user"), Some("x"));
        assert_eq!(cookie("superuser=1; user=x", "user"), Some("x"));
        assert_eq!(cookie("users=1", "user"), None);
        assert_eq!(cookie("user=", "user"), Some(""));
    }
}
