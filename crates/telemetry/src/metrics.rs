//! Counters for the operator. Every label of the request path is looked up before the first request; counting is one
//! relaxed addition.

use std::{
    fmt::Debug,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::StatusCode;
use model::{Fault, Refusal, Withheld};
pub use prometheus_client::registry::Registry;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Unit,
};

use crate::{latency::Latency, process};

/// Counters of the data path. Clones count into the same numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// By class, 1xx to 5xx and others.
    answered: [Counter; 6],
    latency: Latency,
    refused: [(&'static str, Counter); Refusal::ALL.len()],
    broken: [(&'static str, Counter); Refusal::ALL.len()],
    closed: [Counter; Closed::ALL.len()],
    /// Requests another service answered in the place of theirs.
    pub fallback_service: Counter,
    /// Requests a fixed answer was given in the place of their service's.
    pub fallback_static: Counter,
    retried: [Counter; Fault::ALL.len()],
    withheld: [Counter; Withheld::ALL.len()],
    /// Second instances asked while the first was silent.
    pub hedges: Counter,
    /// Client connections taken.
    pub accepted: Counter,
    /// Client connections open now.
    pub connections: Gauge,
    /// Times that accepting paused because descriptors ran out.
    pub accept_paused: Counter,
    /// Access-log lines that were dropped because the file or pipe did not keep up.
    pub access_lines_dropped: Counter,
    reloads: [Counter; RELOADS.len()],
    /// When settings were last followed, in seconds since 1970.
    followed: Gauge,
    certificates: Family<File, Gauge>,
}

/// Why a client connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Either side was done.
    Done,
    /// No first byte in time.
    FirstByte,
    /// No TLS handshake in time, or it failed.
    Handshake,
    /// No HTTP/2 preface in time.
    Preface,
    /// No complete request head in time.
    Head,
    /// The client did not read what it asked for.
    Stall,
    /// Idle for longer than connections are kept.
    Idle,
    /// Plain HTTP on a TLS port.
    Plain,
    /// Too many connections.
    Limit,
    /// The client gave up most of its requests, or gave them too little time.
    Hasty,
    /// The peer broke the protocol, or a library's hard limit.
    Protocol,
    /// The connection broke.
    Broken,
    /// The router shuts down.
    Drained,
}

impl Closed {
    /// Every cause, in the order of the declaration.
    pub const ALL: [Self; 13] = [
        Self::Done,
        Self::FirstByte,
        Self::Handshake,
        Self::Preface,
        Self::Head,
        Self::Stall,
        Self::Idle,
        Self::Plain,
        Self::Limit,
        Self::Hasty,
        Self::Protocol,
        Self::Broken,
        Self::Drained,
    ];

    /// One stable word: the metric's label, the log's field.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::FirstByte => "first_byte",
            Self::Handshake => "handshake",
            Self::Preface => "preface",
            Self::Head => "head",
            Self::Stall => "stall",
            Self::Idle => "idle",
            Self::Plain => "plain",
            Self::Limit => "limit",
            Self::Hasty => "hasty",
            Self::Protocol => "protocol",
            Self::Broken => "broken",
            Self::Drained => "drained",
        }
    }
}

impl Metrics {
    /// All counters at zero, and the registry that shows them (`pointsman_...`). Other crates may register theirs too.
    #[must_use]
    pub fn new() -> (Self, Registry) {
        let mut registry = Registry::with_prefix("pointsman");
        let classes = Family::<Class, Counter>::default();
        let reasons = Family::<Reason, Counter>::default();
        let broken = Family::<Reason, Counter>::default();
        let causes = Family::<Cause, Counter>::default();
        let fallbacks = Family::<Kind, Counter>::default();
        let faults = Family::<FaultLabel, Counter>::default();
        let withheld = Family::<Reason, Counter>::default();
        let reloads = Family::<Outcome, Counter>::default();
        let metrics = Self {
            answered: CLASSES.map(|code_class| classes.get_or_create_owned(&Class { code_class })),
            latency: Latency::default(),
            refused: by_reason(&reasons),
            broken: by_reason(&broken),
            closed: Closed::ALL.map(|cause| causes.get_or_create_owned(&Cause { cause: cause.as_str() })),
            fallback_service: fallbacks.get_or_create_owned(&Kind { kind: "service" }),
            fallback_static: fallbacks.get_or_create_owned(&Kind { kind: "static" }),
            retried: Fault::ALL.map(|fault| faults.get_or_create_owned(&FaultLabel { fault: fault.as_str() })),
            withheld: Withheld::ALL.map(|why| withheld.get_or_create_owned(&Reason { reason: why.as_str() })),
            hedges: Counter::default(),
            accepted: Counter::default(),
            connections: Gauge::default(),
            accept_paused: Counter::default(),
            access_lines_dropped: Counter::default(),
            reloads: RELOADS.map(|result| reloads.get_or_create_owned(&Outcome { result })),
            followed: Gauge::default(),
            certificates: Family::default(),
        };
        registry.register("requests", "Requests answered, by class of the status", classes);
        registry.register("refusals", "Requests the router answered itself, by reason", reasons);
        registry.register("response_broken", "Answers that ended before their end, by reason", broken);
        let help = "From a request's head to the head of its answer";
        registry.register_with_unit("response", help, Unit::Seconds, metrics.latency.clone());
        registry.register("fallbacks", "Requests answered in the place of their service, by what", fallbacks);
        registry.register("retries", "Requests sent to another instance, by what the last one failed at", faults);
        registry.register("retries_withheld", "Failed tries that no other one followed, by reason", withheld);
        registry.register("hedges", "Second instances asked while the first was silent", metrics.hedges.clone());
        registry.register("connections_accepted", "Client connections taken", metrics.accepted.clone());
        registry.register("connections_closed", "Client connections ended, by cause", causes);
        registry.register("connections", "Client connections open now", metrics.connections.clone());
        registry.register(
            "accept_paused",
            "Times accepting paused for lack of descriptors",
            metrics.accept_paused.clone(),
        );
        registry.register(
            "access_lines_dropped",
            "Access-log lines dropped because writing did not keep up",
            metrics.access_lines_dropped.clone(),
        );
        registry.register("reloads", "Times other settings were followed or refused", reloads);
        let help = "When settings were last followed, in seconds since 1970";
        registry.register("settings_followed_timestamp_seconds", help, metrics.followed.clone());
        let help = "Until when a certificate that is shown to clients holds, in seconds since 1970";
        registry.register("certificate_expiry_timestamp_seconds", help, metrics.certificates.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Always 1; which program this is", version);
        (metrics, registry)
    }

    /// A request was answered, by an instance or by us, and its answer's head was there so long after its own.
    pub fn answered(&self, status: StatusCode, took: Duration) {
        self.latency.observe(took);
        let class = usize::from(status.as_u16() / 100);
        self.answered[if (1..=5).contains(&class) { class - 1 } else { 5 }].inc();
    }

    /// A request was answered by us. Counted besides [`Metrics::answered`].
    pub fn refused(&self, refusal: &Refusal) {
        count(&self.refused, refusal.reason());
    }

    /// An answer that had begun did not come to its end, for the reason of a [`Refusal`].
    pub fn broken(&self, reason: &str) {
        count(&self.broken, reason);
    }

    /// A request is tried again because of this.
    pub fn retried(&self, fault: Fault) {
        self.retried[fault as usize].inc();
    }

    /// A failed try is not followed by another one, for this reason.
    pub fn withheld(&self, why: Withheld) {
        self.withheld[why as usize].inc();
    }

    /// Settings were followed at this time, by a start or, if `reload`, by a later reading.
    pub fn followed(&self, reload: bool, at: SystemTime) {
        self.followed.set(seconds(at));
        if reload {
            self.reloads[0].inc();
        }
    }

    /// These certificates are shown to clients from now on, and hold until then. Takes a lock: for reloads.
    pub fn certificates<'a>(&self, all: impl Iterator<Item = (&'a Path, SystemTime)>) {
        self.certificates.clear();
        for (file, expires) in all {
            let file = File { file: file.display().to_string() };
            self.certificates.get_or_create_owned(&file).set(seconds(expires));
        }
    }

    /// Settings were read anew and are not followed, because something is wrong with them.
    pub fn not_followed(&self) {
        self.reloads[1].inc();
    }

    /// A client connection was taken.
    pub fn accepted(&self) {
        self.accepted.inc();
        self.connections.inc();
    }

    /// A client connection ended.
    pub fn closed(&self, cause: Closed) {
        self.closed[cause as usize].inc();
        self.connections.dec();
    }
}

fn by_reason(family: &Family<Reason, Counter>) -> [(&'static str, Counter); Refusal::ALL.len()] {
    Refusal::ALL.map(|refusal| {
        let reason = refusal.reason();
        (reason, family.get_or_create_owned(&Reason { reason }))
    })
}

fn count(counters: &[(&'static str, Counter)], reason: &str) {
    if let Some((_, counter)) = counters.iter().find(|(of, _)| *of == reason) {
        counter.inc();
    }
}

/// All metrics of the registry and of the process as text, for `GET /metrics`, under [`CONTENT_TYPE`].
#[must_use]
pub fn encode(registry: &Registry) -> String {
    let mut out = String::new();
    let written = text::encode_registry(&mut out, registry)
        .and_then(|()| text::encode_registry(&mut out, &process::registry()))
        .and_then(|()| text::encode_eof(&mut out));
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
    out
}

/// The media type of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// Whole seconds since 1970.
fn seconds(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct File {
    file: String,
}

/// What becomes of settings that are read anew.
const RELOADS: [&str; 2] = ["success", "failure"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    code_class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabel {
    fault: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let (metrics, registry) = Metrics::new();
        metrics.accepted();
        metrics.accepted();
        metrics.closed(Closed::Head);
        metrics.answered(StatusCode::NO_CONTENT, Duration::from_millis(1));
        metrics.answered(StatusCode::from_u16(999).unwrap(), Duration::ZERO);
        metrics.answered(StatusCode::BAD_GATEWAY, Duration::from_secs(100));
        metrics.broken("reset");
        metrics.refused(&Refusal::Connect);
        metrics.refused(&Refusal::BadRequest("why"));
        metrics.access_lines_dropped.inc_by(3);
        metrics.retried(Fault::Unavailable);
        metrics.withheld(Withheld::Budget);
        metrics.followed(false, UNIX_EPOCH);
        metrics.followed(true, UNIX_EPOCH + Duration::from_secs(7));
        metrics.not_followed();
        metrics.not_followed();
        let text = encode(&registry);
        for line in [
            "pointsman_requests_total{code_class=\"2xx\"} 1",
            "pointsman_requests_total{code_class=\"5xx\"} 1",
            "pointsman_requests_total{code_class=\"other\"} 1",
            "pointsman_requests_total{code_class=\"1xx\"} 0",
            "pointsman_refusals_total{reason=\"connect\"} 1",
            "pointsman_response_broken_total{reason=\"reset\"} 1",
            "pointsman_response_seconds_bucket{le=\"0.000128\"} 1",
            "pointsman_response_seconds_bucket{le=\"0.001024\"} 2",
            "pointsman_response_seconds_bucket{le=\"+Inf\"} 3",
            "pointsman_response_seconds_count 3",
            "pointsman_refusals_total{reason=\"bad_request\"} 1",
            "pointsman_refusals_total{reason=\"no_route\"} 0",
            "pointsman_connections_accepted_total 2",
            "pointsman_connections_closed_total{cause=\"head\"} 1",
            "pointsman_connections_closed_total{cause=\"done\"} 0",
            "pointsman_retries_total{fault=\"503\"} 1",
            "pointsman_retries_withheld_total{reason=\"budget\"} 1",
            "pointsman_connections 1",
            "pointsman_reloads_total{result=\"success\"} 1",
            "pointsman_reloads_total{result=\"failure\"} 2",
            "pointsman_settings_followed_timestamp_seconds 7",
            concat!("pointsman_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "pointsman_access_lines_dropped_total 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn every_refusal_and_cause_has_its_own_counter() {
        let (metrics, _) = Metrics::new();
        for refusal in Refusal::ALL {
            metrics.refused(&refusal);
        }
        assert!(metrics.refused.iter().all(|(_, counter)| counter.get() == 1));
        for (at, cause) in Closed::ALL.into_iter().enumerate() {
            metrics.closed(cause);
            assert_eq!(metrics.closed[at].get(), 1, "{cause:?}");
        }
    }
}
