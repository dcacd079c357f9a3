//! hot path
//!
//! What a line says.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderValue, Method, StatusCode};

use super::Line;
use crate::ids::Ids;

/// What is known of a request when it is over. Fields that are `None` are left out of the line.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When the request's head was complete.
    pub time: SystemTime,
    /// The peer of the client's connection.
    pub client: IpAddr,
    /// What the client speaks: `h2`, `http/1.1`.
    pub protocol: &'static str,
    /// The method.
    pub method: &'a Method,
    /// The host the client named.
    pub host: Option<&'a str>,
    /// The path as the client sent it.
    pub path: &'a str,
    /// The query string; written only if the settings say so.
    pub query: Option<&'a str>,
    /// The rule the request followed.
    pub route: Option<&'a str>,
    /// The service.
    pub service: Option<&'a str>,
    /// The instance that answered, or was tried last.
    pub instance: Option<&'a str>,
    /// What the instance speaks.
    pub instance_protocol: Option<&'static str>,
    /// How many instances were tried.
    pub attempts: u32,
    /// The status the client got; `None` if it left before.
    pub status: Option<StatusCode>,
    /// Why the router answered itself, or why the exchange broke.
    pub reason: Option<&'a str>,
    /// What answered in the place of the service: another one, or a fixed answer.
    pub fallback: Option<&'a str>,
    /// Octets of the request's body that were read.
    pub request_bytes: u64,
    /// Octets of the response's body that were sent.
    pub response_bytes: u64,
    /// Time for a new connection to the instance, if one was made.
    pub connect: Option<Duration>,
    /// Time to the response's head.
    pub head: Option<Duration>,
    /// Time to the end of both bodies.
    pub total: Duration,
    /// By what the request is found again.
    pub ids: &'a Ids,
    /// The client's `User-Agent`.
    pub user_agent: Option<&'a HeaderValue>,
}

impl Entry<'_> {
    pub(super) fn write(&self, mut line: Line<'_>, query: bool) {
        line.plain("time", Rfc3339(self.time));
        line.plain("client", self.client.to_canonical());
        line.plain("protocol", self.protocol);
        line.text("method", self.method.as_str());
        let texts = [
            ("host", self.host),
            ("path", Some(self.path)),
            ("query", self.query.filter(|_| query)),
            ("route", self.route),
            ("service", self.service),
            ("instance", self.instance),
            ("instance_protocol", self.instance_protocol),
            ("reason", self.reason),
            ("fallback", self.fallback),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                line.text(name, value);
            }
        }
        if let Some(status) = self.status {
            line.number("status", status.as_u16());
        }
        line.number("attempts", self.attempts);
        line.number("request_bytes", self.request_bytes);
        line.number("response_bytes", self.response_bytes);
        for (name, time) in [("connect_us", self.connect), ("head_us", self.head), ("total_us", Some(self.total))] {
            if let Some(time) = time {
                line.number(name, time.as_micros());
            }
        }
        let values = [
            ("correlation_id", Some(&self.ids.correlation)),
            ("traceability_id", self.ids.traceability.as_ref()),
            ("traceparent", self.ids.traceparent.as_ref()),
            ("user_agent", self.user_agent),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                line.text(name, value);
            }
        }
        line.end();
    }
}

/// `2026-11-21T07:00:00.123Z`. Times before 1970 are shown as its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(pub SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
    }
}

/// Year, month and day of a day since 1970-01-01: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`, without the days before.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01, so that a leap day is the last of its year
    let (era, of_era) = (days / 146_097, days % 146_097); // 400 years
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
