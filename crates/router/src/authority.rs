//! hot path
//!
//! `Host` and `:authority`: what a client calls this router. Strict, because every parser reads a malformed one in its
//! own way.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, Ipv6Addr},
};

use model::Refusal;

/// A host, and a port where the client named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Lower case, without the dot at the end; IPv6 in brackets and in its shortest form.
    pub host: Cow<'a, str>,
    /// The port, never 0.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `host`, `host:port`, `1.2.3.4`, `[::1]:8443`.
    ///
    /// Stricter than RFC 3986: a name is made of letters, digits, hyphens and underscores in labels of 1 to 63, 253 in
    /// all. A name that ends in a number must be a dotted IPv4 address, since some parsers read `127.1` and `0x7f.1` as
    /// one. User information, zone ids, escapes, an empty port and port 0 are refused.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] if it is anything else.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        Self::read(text).ok_or(Refusal::BadRequest("the host is malformed"))
    }

    fn read(text: &'a str) -> Option<Self> {
        let end = if text.starts_with('[') {
            text.find(']')? + 1
        } else {
            text.bytes().position(|b| b == b':').unwrap_or(text.len())
        };
        let (host, rest) = text.split_at(end);
        let port = if rest.is_empty() { None } else { Some(port(rest.strip_prefix(':')?)?) };
        let host = match host.strip_prefix('[') {
            Some(inner) => ipv6(host, inner.strip_suffix(']')?)?,
            None => name(host)?,
        };
        Some(Self { host, port })
    }
}

fn port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if plain { digits.parse().ok() } else { None }
}

fn ipv6<'a>(bracketed: &'a str, inner: &str) -> Option<Cow<'a, str>> {
    let shortest = inner.parse::<Ipv6Addr>().ok()?.to_string();
    Some(if shortest == inner { Cow::Borrowed(bracketed) } else { Cow::Owned(format!("[{shortest}]")) })
}

fn name(text: &str) -> Option<Cow<'_, str>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    // One pass: every request has a host.
    let mut label = 0;
    let mut lower = true;
    for byte in text.bytes() {
        match byte {
            b'.' if label > 0 => {
                label = 0;
                continue;
            }
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => lower = false,
            _ => return None,
        }
        label += 1;
        if label > 63 {
            return None;
        }
    }
    if label == 0 || text.len() > 253 {
        return None;
    }
    let last = &text[text.len() - label..];
    let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    if number && text.parse::<Ipv4Addr>().is_err() {
        return None;
    }
    Some(if lower { Cow::Borrowed(text) } else { Cow::Owned(text.to_ascii_lowercase()) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, host: &str, port: Option<u16>) {
        assert_eq!(Authority::parse(text), Ok(Authority { host: host.into(), port }), "{text}");
    }

    #[test]
    fn one_host_has_one_form() {
        check("example.com", "example.com", None);
        check("Example.COM.:8443", "example.com", Some(8443));
        check("127.0.0.1:80", "127.0.0.1", Some(80));
        check("[::1]", "[::1]", None);
        check("[0:0::1]:443", "[::1]", Some(443));
        check("[FE80::A]", "[fe80::a]", None);
        check("my_service-1", "my_service-1", None);
        check("1a.2b", "1a.2b", None);
    }

    #[test]
    fn malformed_hosts_are_refused() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            ":80",
            "a:",
            "a:x",
            "a:80:80",
            "a:8o",
            "a:-1",
            "a:+1",
            "a:0",
            "a:080",
            "a:65536",
            "user@a",
            "user:pass@a:80",
            "<script>",
            "a b",
            " a",
            "a ",
            "a,b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a%2eb",
            "ä.de",
            "[::1",
            "::1",
            "::1]",
            "[::1]x",
            "[::1]80",
            "[]",
            "[g::]",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "1.2.3",
            "1.2.3.256",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "a;b",
            "a'b",
            "*",
            "*.a",
            "a\0b",
        ] {
            assert!(Authority::parse(text).is_err(), "{text:?}");
        }
        assert!(Authority::parse(&"a".repeat(64)).is_err());
        assert!(Authority::parse(&vec!["a".repeat(63); 4].join(".")).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_reads_the_same_again(text in "[a-zA-Z0-9.:_@%-]{0,12}|\\[[0-9a-fA-F:]{2,12}\\](:[0-9]{1,5})?") {
            if let Ok(read) = Authority::parse(&text) {
                prop_assert!(!read.host.bytes().any(|b| b.is_ascii_uppercase() || matches!(b, b'@' | b'%' | b'/')));
                prop_assert_eq!(&Authority::parse(&read.host).unwrap().host, &read.host);
            }
        }
    }
}
