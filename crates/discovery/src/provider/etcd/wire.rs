//! The JSON of etcd's gateway: bytes are base64, 64-bit numbers are text, and what is zero or false is left out.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, de::Error};
use tokio::time::Instant;

/// Bytes as the gateway wants them.
pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Who answers, and at which point of its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default, deserialize_with = "number")]
    pub(super) cluster_id: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: u64,
}

/// A page of keys in order.
#[derive(Debug, Deserialize)]
pub(super) struct Range {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<Record>,
    #[serde(default)]
    pub(super) more: bool,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Record {
    #[serde(deserialize_with = "bytes")]
    pub(super) key: Vec<u8>,
    /// The revision that wrote it last; that of its deletion, if an event tells of one.
    #[serde(default, deserialize_with = "number")]
    pub(super) mod_revision: u64,
    #[serde(default, deserialize_with = "bytes")]
    pub(super) value: Vec<u8>,
    /// The lease whose end deletes it; 0 if there is none.
    #[serde(default, deserialize_with = "number")]
    pub(super) lease: u64,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Event {
    #[serde(default, rename = "type")]
    kind: String,
    pub(super) kv: Record,
    /// What was deleted, if etcd still knows it.
    #[serde(default)]
    pub(super) prev_kv: Option<Record>,
}

impl Event {
    pub(super) fn is_delete(&self) -> bool {
        self.kind == "DELETE"
    }

    #[cfg(test)]
    pub(super) fn put(kv: Record) -> Self {
        Self { kind: String::new(), kv, prev_kv: None }
    }

    #[cfg(test)]
    pub(super) fn delete(kv: Record, prev_kv: Option<Record>) -> Self {
        Self { kind: "DELETE".into(), kv, prev_kv }
    }
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    #[serde(default)]
    pub(super) result: Option<Message>,
    #[serde(default)]
    pub(super) error: Option<Fault>,
}

/// What a watch says.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default)]
    pub(super) cancel_reason: String,
    /// The oldest revision still there, if the watch wanted an older one.
    #[serde(default, deserialize_with = "number")]
    pub(super) compact_revision: u64,
    #[serde(default)]
    pub(super) events: Vec<Event>,
    /// When the end of its line was at hand.
    #[serde(skip, default = "Instant::now")]
    pub(super) seen: Instant,
}

/// A refusal: the code is gRPC's.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Fault {
    #[serde(default, alias = "grpc_code")]
    pub(super) code: u32,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Authenticated {
    pub(super) token: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct TimeToLive {
    /// Seconds; -1 or nothing if the lease is gone.
    #[serde(default, rename = "TTL")]
    pub(super) ttl: String,
}

/// 64 bits are more than a JSON number can be trusted with, so the gateway writes them as text. Ids above 2^63 are
/// unsigned there, and leases never negative.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(from)?;
    text.parse().map_err(D::Error::custom)
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(from)?;
    BASE64_STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_watch_are_read() {
        let read = |text: &str| serde_json::from_str::<Line>(text).unwrap();
        let made = read(r#"{"result":{"header":{"cluster_id":"12343969910874110139","revision":"2"},"created":true}}"#);
        let made = made.result.unwrap();
        assert_eq!(made.header, Header { cluster_id: 12_343_969_910_874_110_139, revision: 2 });
        let text = r#"{"result":{"header":{"revision":"3"},"events":[{"type":"DELETE","kv":{"key":"L3MvYS8x","mod_revision":"3"},"prev_kv":{"key":"L3MvYS8x","value":"eA==","lease":"7"}}]}}"#;
        let event = read(text).result.unwrap().events.remove(0);
        assert!(event.is_delete());
        assert_eq!((&*event.kv.key, event.kv.mod_revision), (&b"/s/a/1"[..], 3));
        assert_eq!(event.prev_kv.map(|kv| (kv.value, kv.lease)), Some((b"x".into(), 7)));
        let failed = read(r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}"#);
        assert_eq!(failed.error, Some(Fault { code: 14, message: "etcdserver: no leader".into() }));
    }
}
