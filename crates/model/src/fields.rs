//! hot path
//!
//! Which header fields a head may have. A router asks each head for some thirty fields that it almost never has; a
//! look-up costs a hash over the whole name, this one a bit.

use http::{HeaderMap, HeaderName};

/// A set of field names that may say yes to a name it does not hold, never no to one that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields([u64; 4]);

impl Fields {
    /// The names in a head.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self::default(), |fields, name| fields.with(name.as_str()))
    }

    /// These names, in lower case.
    #[must_use]
    pub const fn named(names: &[&str]) -> Self {
        let mut fields = Self([0; 4]);
        let mut at = 0;
        while at < names.len() {
            fields = fields.with(names[at]);
            at += 1;
        }
        fields
    }

    /// Whether this name may be among them.
    #[must_use]
    pub fn may_have(self, name: &HeaderName) -> bool {
        let mark = mark(name.as_str().as_bytes());
        self.0[mark >> 6] >> (mark & 63) & 1 == 1
    }

    /// Whether some name may be in both.
    #[must_use]
    pub fn may_meet(self, other: Self) -> bool {
        (0..4).any(|at| self.0[at] & other.0[at] != 0)
    }

    const fn with(mut self, name: &str) -> Self {
        let mark = mark(name.as_bytes());
        self.0[mark >> 6] |= 1 << (mark & 63);
        self
    }
}

/// One of 256, from what tells usual names apart at a glance: their length and four of their letters.
const fn mark(name: &[u8]) -> usize {
    let length = name.len();
    if length == 0 {
        return 0;
    }
    let letters = [name[0], name[length / 2], name[length * 3 / 4], name[length - 1]];
    let word = u32::from_le_bytes(letters).wrapping_add(length as u32);
    (word.wrapping_mul(FACTOR) >> 24) as usize
}

/// Found by trial: gives no name that the router looks for the mark of one that clients and servers usually send.
const FACTOR: u32 = 0x78E5_1061;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_there_is_never_denied() {
        let names = ["te", "x-correlation-id", "a", "cookie", "x-forwarded-for", "sec-ch-ua-platform"];
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(name, HeaderValue::from_static("1"));
        }
        let fields = Fields::of(&headers);
        for name in names {
            assert!(fields.may_have(&HeaderName::from_static(name)), "{name}");
            assert!(fields.may_meet(Fields::named(&["nothing-of-this-kind", name])), "{name}");
        }
        assert_eq!(fields, Fields::named(&names));
        assert!(!Fields::default().may_meet(fields));
    }

    /// Not a matter of being right but of being quick: whoever renames a field may choose another factor.
    #[test]
    fn usual_heads_have_nothing_to_look_up() {
        let usual = Fields::named(&[
            "accept",
            "accept-encoding",
            "accept-language",
            "accept-ranges",
            "age",
            "authorization",
            "cache-control",
            "content-encoding",
            "cookie",
            "date",
            "dnt",
            "etag",
            "expires",
            "if-modified-since",
            "if-none-match",
            "last-modified",
            "origin",
            "pragma",
            "priority",
            "range",
            "referer",
            "sec-ch-ua",
            "sec-ch-ua-mobile",
            "sec-ch-ua-platform",
            "sec-fetch-dest",
            "sec-fetch-mode",
            "sec-fetch-site",
            "sec-fetch-user",
            "server",
            "set-cookie",
            "strict-transport-security",
            "upgrade-insecure-requests",
            "user-agent",
            "vary",
            "x-content-type-options",
            "x-request-id",
        ]);
        for sought in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "proxy-authorization",
            "proxy-authenticate",
            "te",
            "x-pointsman-reason",
            "x-correlation-id",
            "x-traceability-id",
            "traceparent",
            "tracestate",
            "service_id",
            "x-service-id",
            "service_url",
            "env_tag",
            "host",
            "expect",
            "content-length",
            "content-type",
        ] {
            assert!(!usual.may_meet(Fields::named(&[sought])), "{sought}");
        }
    }
}
