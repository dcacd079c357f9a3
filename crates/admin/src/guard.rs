//! Keeps web pages away. A browser on this machine reaches loopback, so any page its user visits could send requests
//! here: directly (it may write, but not read the answer), or by a name of its own that it lets point to 127.0.0.1
//! (DNS rebinding; it may then read as well).
//!
//! And keeps others' clients away: who may write to a registry could name a listener of ours as an instance, and then
//! every client of the router would reach it.

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
/// `localhost`, and no proxy may have brought the request, but for the router's health; elsewhere any name may stand for
/// this machine, and a proxy may be meant.
pub(crate) fn around(app: Router, address: SocketAddr) -> Router {
    app.layer(from_fn_with_state(address.ip().is_loopback(), guard))
}

async fn guard(State(loopback): State<bool>, request: Request, next: Next) -> Response {
    let open = request.uri().path().starts_with("/health");
    match check(request.method(), request.headers(), loopback, open) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    }
}

/// Whether a proxy forwards this for somebody. Our own says so of every request.
pub(crate) fn is_brought(headers: &HeaderMap) -> bool {
    ["x-forwarded-for", "forwarded", "via"].iter().any(|name| headers.contains_key(*name))
}

/// `open`: to whoever comes by a proxy, too.
fn check(method: &Method, headers: &HeaderMap, loopback: bool, open: bool) -> Result<(), Fault> {
    if headers.contains_key(header::ORIGIN) && !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Fault::forbidden("web pages may not write here"));
    }
    if loopback && !open && is_brought(headers) {
        return Err(Fault::forbidden("not by a proxy: this listener is for this machine only"));
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
        assert_eq!(check(method, &map, loopback, false).is_ok(), allowed, "{method} {headers:?} {loopback}");
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

    #[test]
    fn clients_of_a_proxy_come_no_further_than_its_health() {
        for name in ["x-forwarded-for", "forwarded", "via"] {
            let brought = [("host", "127.0.0.1:1"), (name, "for=192.0.2.1")];
            for method in [Method::POST, Method::GET] {
                check_one(&method, &brought, true, false);
                check_one(&method, &brought, false, true);
            }
            let map = brought.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
            assert!(check(&Method::GET, &map, true, true).is_ok(), "its health");
        }
    }
}
