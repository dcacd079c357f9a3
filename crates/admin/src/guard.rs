//! Keeps web pages away. A browser on this machine reaches loopback, so any page its user visits could send requests
//! here: directly (it may write, but not read the answer), or by a name of its own that it lets point to 127.0.0.1
//! (DNS rebinding; it may then read as well).

use std::net::{IpAddr, SocketAddr};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};

use crate::Fault;

/// Puts the guard in front of an API that listens at this address.
///
/// Writes that carry an `Origin` come from a page and are refused. On loopback, `Host` must be an address or
/// `localhost`; elsewhere any name may stand for this machine.
pub(crate) fn around(app: Router, address: SocketAddr) -> Router {
    app.layer(from_fn_with_state(address.ip().is_loopback(), guard))
}

async fn guard(State(loopback): State<bool>, request: Request, next: Next) -> Response {
    match check(request.method(), request.headers(), loopback) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    }
}

fn check(method: &Method, headers: &HeaderMap, loopback: bool) -> Result<(), Fault> {
    if headers.contains_key(header::ORIGIN) && !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Fault::forbidden("web pages may not write here"));
    }
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let ours = host.to_str().is_ok_and(is_local_name);
    if loopback && !ours {
        return Err(Fault::forbidden("use an IP address or localhost as host: this listener is for this machine only"));
    }
    Ok(())
}

/// An IP address or `localhost`, with or without port.
fn is_local_name(authority: &str) -> bool {
    let host = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => &authority[..at],
        _ => authority,
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let name = bare.trim_end_matches('.').to_ascii_lowercase();
    bare.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names_are_addresses_and_localhost() {
        for good in [
            "127.0.0.1",
            "127.0.0.1:8401",
            "[::1]",
            "[::1]:8401",
            "localhost",
            "LocalHost:1",
            "a.localhost",
            "10.0.0.1:1",
        ] {
            assert!(is_local_name(good), "{good}");
        }
        for bad in ["evil.example", "evil.example:8401", "127.0.0.1.evil.example", "localhost.evil", "", "[::1].evil:1"]
        {
            assert!(!is_local_name(bad), "{bad}");
        }
    }

    fn check_one(method: &Method, headers: &[(&str, &str)], loopback: bool, allowed: bool) {
        let map = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        assert_eq!(check(method, &map, loopback).is_ok(), allowed, "{method} {headers:?} {loopback}");
    }

    #[test]
    fn pages_can_neither_write_nor_come_by_a_name_of_their_own() {
        check_one(&Method::POST, &[("host", "127.0.0.1:1")], true, true);
        check_one(&Method::POST, &[("host", "127.0.0.1:1"), ("origin", "http://evil.example")], true, false);
        check_one(&Method::POST, &[("host", "registry:1"), ("origin", "null")], false, false);
        check_one(&Method::GET, &[("host", "localhost:1"), ("origin", "http://localhost:1")], true, true);
        check_one(&Method::GET, &[("host", "evil.example")], true, false);
        check_one(&Method::GET, &[("host", "router.internal")], false, true);
        check_one(&Method::GET, &[], true, true);
    }
}
