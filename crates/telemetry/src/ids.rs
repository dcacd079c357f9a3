//! hot path
//!
//! By what a request is found again: `X-Correlation-Id` (ours if the client has none), `X-Traceability-Id` and the W3C
//! `traceparent` (the client's, never made). All three are sent on, returned and logged.
//!
//! What a client sends ends up in logs of many hands, so an id that is not one is no id: it is replaced or dropped.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use model::Fields;

/// The ids of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// The client's, or a new UUID of version 7.
    pub correlation: HeaderValue,
    /// The client's.
    pub traceability: Option<HeaderValue>,
    /// The client's, if it is well formed.
    pub traceparent: Option<HeaderValue>,
}

impl Ids {
    /// Reads the client's ids from a head with these fields, and makes what is missing.
    ///
    /// Correlation and traceability ids are 1 to 128 visible ASCII characters; of several equal fields the first counts.
    #[must_use]
    pub fn of(headers: &HeaderMap, fields: Fields, now: SystemTime) -> Self {
        if !fields.may_meet(IDS) {
            return Self { correlation: new_correlation(now), traceability: None, traceparent: None };
        }
        let plain = |name: &HeaderName| headers.get(name).filter(|v| is_plain(v.as_bytes())).cloned();
        let mut parents = headers.get_all(&TRACEPARENT).iter();
        let traceparent = parents.next().filter(|v| is_traceparent(v.as_bytes())).cloned();
        Self {
            correlation: plain(&CORRELATION).unwrap_or_else(|| new_correlation(now)),
            traceability: plain(&TRACEABILITY),
            // Two of them are none (W3C Trace Context, 3.2.2).
            traceparent: if parents.next().is_some() { None } else { traceparent },
        }
    }

    /// Writes them into a head for an instance, which had these fields, in place of whatever is there. Without a trace
    /// there is no `tracestate`.
    pub fn send(&self, headers: &mut HeaderMap, fields: Fields) {
        self.write(headers, fields);
        if self.traceparent.is_none() && fields.may_have(&TRACESTATE) {
            headers.remove(&TRACESTATE);
        }
    }

    /// Writes them into a head for the client, which had these fields, in place of whatever the instance said.
    pub fn answer(&self, headers: &mut HeaderMap, fields: Fields) {
        self.write(headers, fields);
    }

    fn write(&self, headers: &mut HeaderMap, fields: Fields) {
        headers.insert(&CORRELATION, self.correlation.clone());
        for (name, id) in [(&TRACEABILITY, &self.traceability), (&TRACEPARENT, &self.traceparent)] {
            match id {
                Some(id) => drop(headers.insert(name, id.clone())),
                None if fields.may_have(name) => drop(headers.remove(name)),
                None => {}
            }
        }
    }
}

/// A UUID of version 7: the time in milliseconds, so that ids sort as they were made, and 74 random bits.
///
/// The bits are quick and not secret (a thread-local generator): an id is a name and not a key.
fn new_correlation(now: SystemTime) -> HeaderValue {
    let millis = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or(u64::MAX), &random).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text)).unwrap_or(NIL) // hex digits and hyphens are a value
}

fn is_plain(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// `00-<32 hex>-<16 hex>-<2 hex>` in lower case, ids not all zero; later versions may have more behind a hyphen.
fn is_traceparent(value: &[u8]) -> bool {
    let &[v1, v2, b'-', ref rest @ ..] = value else { return false };
    let Some((trace, rest)) = rest.split_at_checked(32) else { return false };
    let Some((parent, rest)) = rest.strip_prefix(b"-").and_then(|rest| rest.split_at_checked(16)) else { return false };
    let Some((flags, rest)) = rest.strip_prefix(b"-").and_then(|rest| rest.split_at_checked(2)) else { return false };
    let version = [v1, v2];
    let tail = rest.is_empty() || (version != *b"00" && rest[0] == b'-' && rest.iter().all(u8::is_ascii_graphic));
    let zero = |id: &[u8]| id.iter().all(|&b| b == b'0');
    is_hex(&version)
        && version != *b"ff"
        && value.len() <= 128
        && [trace, parent, flags].into_iter().all(is_hex)
        && !zero(trace)
        && !zero(parent)
        && tail
}

fn is_hex(text: &[u8]) -> bool {
    text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The correlation id's header.
pub static CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");
/// The traceability id's header.
pub static TRACEABILITY: HeaderName = HeaderName::from_static("x-traceability-id");
/// The header of the W3C trace context.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// All that are read or written here.
const IDS: Fields = Fields::named(&["x-correlation-id", "x-traceability-id", "traceparent", "tracestate"]);
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const NIL: HeaderValue = HeaderValue::from_static("00000000-0000-0000-0000-000000000000");

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(fields: &[(&'static str, &str)]) -> Ids {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Ids::of(&headers, Fields::of(&headers), UNIX_EPOCH + Duration::from_millis(0x0190_0000_0001))
    }

    #[test]
    fn the_clients_ids_are_kept_if_they_are_ids() {
        let long = "x".repeat(128);
        let ids = of(&[("x-correlation-id", &long), ("x-traceability-id", "t-1"), ("traceparent", PARENT)]);
        assert_eq!(ids.correlation, long);
        assert_eq!(ids.traceability.unwrap(), "t-1");
        assert_eq!(ids.traceparent.unwrap(), PARENT);
        for bad in ["", "a b", "é", &"x".repeat(129)] {
            let ids = of(&[("x-correlation-id", bad), ("x-traceability-id", bad)]);
            assert_eq!(ids.correlation.len(), 36, "{bad}");
            assert_eq!(ids.traceability, None, "{bad}");
        }
    }

    #[test]
    fn a_missing_id_is_a_new_uuid_of_the_time() {
        let ids: HashSet<String> = (0..1000).map(|_| of(&[]).correlation.to_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert!(id.starts_with("01900000-0001-7"), "{id}");
            assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_variant(), uuid::Variant::RFC4122);
        }
    }

    #[test]
    fn a_malformed_traceparent_is_none() {
        let with = |from: &str, to: &str| PARENT.replacen(from, to, 1);
        assert!(of(&[("traceparent", &with("00-", "01-"))]).traceparent.is_some());
        assert!(of(&[("traceparent", &format!("{}-more", with("00-", "cc-")))]).traceparent.is_some());
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c",
            &with("00-", "ff-"),
            &with("00-", "0g-"),
            &with("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &with("b7ad6b7169203331", &"0".repeat(16)),
            &with("0af", "0AF"),
            &with("-01", "-1"),
            &with("-01", "_01"),
            &format!("{PARENT}-more"),
            &format!("{}more", with("00-", "01-")),
            &format!("{}-{}", with("00-", "01-"), "x".repeat(100)),
        ] {
            assert_eq!(of(&[("traceparent", bad)]).traceparent, None, "{bad}");
        }
        assert_eq!(of(&[("traceparent", PARENT), ("traceparent", PARENT)]).traceparent, None);
    }

    #[test]
    fn what_is_written_is_exactly_the_ids() {
        let ids = of(&[("x-correlation-id", "c"), ("traceparent", PARENT)]);
        let mut head = HeaderMap::new();
        for name in ["x-correlation-id", "x-traceability-id", "traceparent", "tracestate"] {
            head.append(name, HeaderValue::from_static("theirs"));
            head.append(name, HeaderValue::from_static("twice"));
        }
        let fields = Fields::of(&head);
        let (mut sent, mut answered) = (head.clone(), head.clone());
        ids.send(&mut sent, fields);
        ids.answer(&mut answered, fields);
        for head in [&sent, &answered] {
            assert_eq!(head.get_all("x-correlation-id").iter().collect::<Vec<_>>(), ["c"]);
            assert_eq!(head.get_all("traceparent").iter().collect::<Vec<_>>(), [PARENT]);
            assert!(!head.contains_key("x-traceability-id"));
        }
        assert!(sent.contains_key("tracestate"));
        of(&[]).send(&mut head, fields);
        assert!(!head.contains_key("traceparent") && !head.contains_key("tracestate"));
    }
}
