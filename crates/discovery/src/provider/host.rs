//! Hosts as people and programs write them, checked strictly: an address nobody can connect to is found here.

use std::net::IpAddr;

use model::Host;

/// What a host must be, for messages.
pub(super) const RULE: &str = "must be an IP address other than the unspecified one (0.0.0.0, ::), or a host name of letters, digits, hyphens and dots";
/// The same of an instance that a registry names.
pub(super) const RULE_OF_INSTANCES: &str = "must be an IP address other than an unspecified (0.0.0.0, ::), link-local or multicast one, or a host name of letters, digits, hyphens and dots";

/// The host of a URL: IPv6 stands in brackets.
pub(super) fn of_url(text: &str) -> Option<Host> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    match (bare, text.parse::<IpAddr>()) {
        (Some(bare), _) => address(IpAddr::V6(bare.parse().ok()?)),
        (None, Ok(ip @ IpAddr::V4(_))) => address(ip),
        (None, Ok(IpAddr::V6(_))) => None,
        (None, Err(_)) => name(text),
    }
}

/// A host on its own: IPv6 with or without brackets.
pub(super) fn alone(text: &str) -> Option<Host> {
    text.parse().map_or_else(|_| of_url(text), address)
}

/// The same of an instance, as a registry has it: not one that [`is_odd`].
pub(super) fn of_instance(text: &str) -> Option<Host> {
    alone(text).filter(is_of_instance)
}

/// Whether an instance may be there, as far as the address tells.
pub(super) fn is_of_instance(host: &Host) -> bool {
    !matches!(host, Host::Ip(ip) if is_odd(*ip))
}

/// Whether no instance has this address. Link-local ones are those of the router's own neighbours, above all the
/// metadata service of clouds (169.254.169.254), which whoever writes to a registry must not open to clients. The same in
/// an IPv6 address that stands for an IPv4 one (mapped, or translated by the well-known prefix of RFC 6052).
pub(super) fn is_odd(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => match ip.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                is_odd(IpAddr::from([a, b, c, d]))
            }
            _ => ip.is_unspecified() || ip.is_unicast_link_local() || ip.is_multicast(),
        },
    }
}

fn address(ip: IpAddr) -> Option<Host> {
    (!ip.is_unspecified()).then_some(Host::Ip(ip))
}

/// A name; underscores are allowed because containers' names have them. A name whose last label is a number is a
/// mistyped IPv4 address.
fn name(text: &str) -> Option<Host> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let last = text.trim_end_matches('.').rsplit('.').next()?;
    let ok =
        text.len() <= 253 && text.bytes().all(allowed) && !last.is_empty() && !last.bytes().all(|b| b.is_ascii_digit());
    ok.then(|| Host::Name(text.to_ascii_lowercase().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(read: fn(&str) -> Option<Host>, text: &str, expected: Option<&str>) {
        assert_eq!(read(text).map(|h| h.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn hosts_of_urls_have_brackets_around_ipv6() {
        check(of_url, "10.0.0.1", Some("10.0.0.1"));
        check(of_url, "[2001:db8::1]", Some("[2001:db8::1]"));
        check(of_url, "Pets.Internal", Some("pets.internal"));
        for bad in
            ["", ".", "::1", "[10.0.0.1]", "[::1", "a b", "ä", "0.0.0.0", "[::]", "256.0.0.1", "a:b", &"x".repeat(254)]
        {
            check(of_url, bad, None);
        }
    }

    #[test]
    fn hosts_alone_need_none() {
        check(alone, "::1", Some("[::1]"));
        check(alone, "[::1]", Some("[::1]"));
        check(alone, "my_container", Some("my_container"));
        check(alone, "::", None);
        check(alone, "10.0.0", None);
    }

    #[test]
    fn registries_name_no_neighbours_of_the_router() {
        for bad in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "[fe80::1]",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:0.0.0.0",
        ] {
            check(of_instance, bad, None);
        }
        check(of_instance, "64:ff9b::a00:1", Some("[64:ff9b::a00:1]"));
        check(of_instance, "127.0.0.1", Some("127.0.0.1"));
        // Whoever writes the configuration means it.
        check(alone, "169.254.169.254", Some("169.254.169.254"));
    }
}
