//! What a registration asks the registry to look at by itself, checked when it comes in.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use settings::Span;

pub use crate::health::Role;

/// Shortest and longest time between two looks.
const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Most looks in a row that one verdict may need: above, a verdict comes when nobody waits for it any more.
const MOST_IN_A_ROW: u8 = 20;
/// Checks of one registration.
pub(super) const MOST_CHECKS: usize = 8;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Check {
    /// What is done.
    #[serde(flatten)]
    pub what: What,
    /// What a failure means: of readiness, that it is not listed until the check passes again; of liveness, that its
    /// registration ends.
    pub role: Role,
    /// Where, if not at the instance's own `ip`; the registry's settings must allow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where, if not at the instance's own port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// From one look to the next.
    #[serde(serialize_with = "write_time")]
    pub interval: Duration,
    /// How long one look may take, connecting included.
    #[serde(serialize_with = "write_time")]
    pub timeout: Duration,
    /// Successes in a row after which a failing check passes.
    pub rise: u8,
    /// Failures in a row after which a passing check fails.
    pub fall: u8,
}

/// What is done to find out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum What {
    /// A connection can be made.
    Tcp,
    /// `GET` by HTTP/1.1 answers with a wanted status; over TLS if the instance's protocol is `https`.
    Http {
        /// Path, with query if need be.
        path: String,
        /// The statuses that pass; none named: every 2xx.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        status: Vec<u16>,
        /// The name its certificate must carry, if not that of the host.
        #[serde(skip_serializing_if = "Option::is_none")]
        server_name: Option<String>,
    },
}

/// The same as it comes in, unchecked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    r#type: Type,
    path: Option<String>,
    #[serde(default)]
    status: Vec<u16>,
    server_name: Option<String>,
    #[serde(default)]
    role: Role,
    host: Option<String>,
    port: Option<u16>,
    interval: Option<String>,
    timeout: Option<String>,
    rise: Option<u8>,
    fall: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Tcp,
    Http,
}

impl TryFrom<Written> for Check {
    type Error = String;

    fn try_from(w: Written) -> Result<Self, String> {
        if w.port == Some(0) {
            return Err("checks: port 0 cannot be connected to".to_owned());
        }
        let interval = time("interval", w.interval.as_deref(), Duration::from_secs(10))?;
        if !INTERVALS.contains(&interval) {
            return Err("checks: interval must be from 1s to 1h".to_owned());
        }
        let timeout = time("timeout", w.timeout.as_deref(), interval.min(Duration::from_secs(2)))?;
        if timeout.is_zero() || timeout > interval {
            return Err("checks: timeout must be above zero, and not above the interval".to_owned());
        }
        let in_a_row = |name: &str, given: Option<u8>, default: u8| match given.unwrap_or(default) {
            number @ 1..=MOST_IN_A_ROW => Ok(number),
            number => Err(format!("checks: {name} {number} must be from 1 to {MOST_IN_A_ROW}")),
        };
        let (rise, fall) = (in_a_row("rise", w.rise, 1)?, in_a_row("fall", w.fall, 3)?);
        let (role, host, port) = (w.role, w.host, w.port);
        let what = match w.r#type {
            Type::Http => http(w.path, w.status, w.server_name)?,
            Type::Tcp if w.path.is_none() && w.status.is_empty() && w.server_name.is_none() => What::Tcp,
            Type::Tcp => return Err("checks: path, status and server_name are for type http".to_owned()),
        };
        Ok(Self { what, role, host, port, interval, timeout, rise, fall })
    }
}

fn http(path: Option<String>, status: Vec<u16>, server_name: Option<String>) -> Result<What, String> {
    let path = path.ok_or("checks: type http needs a path, such as /health")?;
    // It becomes a line of a request, so nothing may end that line early.
    if !path.starts_with('/') || path.len() > 1024 || !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("checks: path {path:?} must begin with / and be visible ASCII, at most 1024 characters"));
    }
    if let Some(wrong) = status.iter().find(|status| !(100..=599).contains(*status)) {
        return Err(format!("checks: status {wrong} is none; write numbers from 100 to 599"));
    }
    Ok(What::Http { path, status, server_name })
}

fn time(name: &str, text: Option<&str>, default: Duration) -> Result<Duration, String> {
    text.map_or(Ok(default), |t| Span::from_str(t).map(Span::get).map_err(|e| format!("checks: {name}: {e}")))
}

fn write_time<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&Span::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Check, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn little_is_enough_and_everything_survives_writing() {
        let tcp = read(r#"{"type":"tcp"}"#).unwrap();
        assert_eq!((tcp.role, tcp.rise, tcp.fall, tcp.timeout.as_secs()), (Role::Readiness, 1, 3, 2));
        let full = read(
            r#"{"type":"http","path":"/live?x=1","status":[200,429],"server_name":"a","role":"liveness","host":"b",
                "port":8081,"interval":"1m30s","timeout":"1s500ms","rise":2,"fall":4}"#,
        )
        .unwrap();
        assert_eq!(full.role, Role::Liveness);
        for check in [tcp, full] {
            assert_eq!(read(&serde_json::to_string(&check).unwrap()), Ok(check));
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_write() {
        for (json, part) in [
            (r#"{"type":"grpc"}"#, "expected"),
            (r#"{"type":"http"}"#, "/health"),
            (r#"{"type":"http","path":"health"}"#, "begin with /"),
            (r#"{"type":"http","path":"/a\r\nHost: b"}"#, "visible ASCII"),
            (r#"{"type":"http","path":"/a b"}"#, "visible ASCII"),
            (r#"{"type":"http","path":"/","status":[1000]}"#, "100 to 599"),
            (r#"{"type":"tcp","path":"/"}"#, "type http"),
            (r#"{"type":"tcp","port":0}"#, "port 0"),
            (r#"{"type":"tcp","interval":"500ms"}"#, "1s to 1h"),
            (r#"{"type":"tcp","interval":"5s","timeout":"6s"}"#, "timeout"),
            (r#"{"type":"tcp","fall":0}"#, "fall 0"),
            (r#"{"type":"tcp","color":1}"#, "color"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
