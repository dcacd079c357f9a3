//! What a check does, and at what pace. Compiled from `services.NAME.check`; whatever can be wrong was found before.

use std::{fmt, ops::RangeInclusive, time::Duration};

use http::{
    HeaderMap, Method,
    uri::{Authority, PathAndQuery},
};
use model::Protocol;
use serde::{Deserialize, Serialize};

/// One check of every instance of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What is done.
    pub what: What,
    /// What a failure means.
    pub role: Role,
    /// Where, if not at the instance's own port.
    pub port: Option<u16>,
    /// How often, and how sure.
    pub pace: Pace,
}

impl Check {
    /// Whether an instance that passes will probably take requests: it was found well where they go.
    #[must_use]
    pub(super) fn tells_of_requests(&self) -> bool {
        self.role == Role::Readiness && self.port.is_none()
    }
}

/// How often an instance is looked at, and how many looks make a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one look to the next, a tenth more or less.
    pub interval: Duration,
    /// The same in doubt: before the first verdict, and after a look that spoke against it.
    pub fast: Duration,
    /// How long one look may take, connecting included.
    pub timeout: Duration,
    /// Successes in a row after which a failing check passes.
    pub rise: u8,
    /// Failures in a row after which a passing check fails.
    pub fall: u8,
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It gets no new requests until the check passes again.
    #[default]
    Readiness,
    /// It is dead, not only busy.
    Liveness,
}

impl Role {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

/// What is done to find out.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A request by HTTP has a wanted answer.
    Http(Box<Http>),
    /// The gRPC health service says that it serves.
    Grpc(Grpc),
    /// A connection can be made, and perhaps talked on.
    Tcp(Tcp),
    /// A TLS handshake succeeds, and the certificate is as requests want it.
    Tls,
}

impl What {
    /// All kinds, as the configuration names them.
    pub const KINDS: [&'static str; 4] = ["http", "grpc", "tcp", "tls"];

    /// Which of [`What::KINDS`] it is.
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Self::Http(_) => 0,
            Self::Grpc(_) => 1,
            Self::Tcp(_) => 2,
            Self::Tls => 3,
        }
    }
}

/// A request by HTTP, and what its answer must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Its method.
    pub method: Method,
    /// Its path, with query if need be.
    pub path: PathAndQuery,
    /// Its `Host` or `:authority`; that of requests if `None`.
    pub host: Option<Authority>,
    /// More fields.
    pub headers: HeaderMap,
    /// The statuses that pass.
    pub status: Statuses,
    /// What must stand in the first 64 KiB of the body.
    pub body: Option<Wanted>,
    /// What is spoken, if not what the instance speaks.
    pub protocol: Option<Protocol>,
}

/// A call of `grpc.health.v1.Health/Check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grpc {
    /// The service asked about; empty for the server as a whole.
    pub service: String,
    /// What is spoken, if not what the instance speaks; `http` counts as `h2c`.
    pub protocol: Option<Protocol>,
}

/// What is said on a bare connection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tcp {
    /// What is sent; may be empty.
    pub send: Vec<u8>,
    /// What must stand in the first 4 KiB that come back.
    pub expect: Option<Wanted>,
}

/// Statuses that pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(pub Vec<RangeInclusive<u16>>);

impl Statuses {
    /// Reads `204` or `200-299`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |word: &str| word.trim().parse().ok().filter(|status| (100..=599).contains(status));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(first..=last),
            _ => Err(format!("{text:?} is no status; write 204, or 200-299, from 100 to 599")),
        }
    }

    /// Whether this status passes.
    #[must_use]
    pub fn contain(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

/// What must stand in what came.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// These bytes, anywhere.
    Contains(Vec<u8>),
    /// Something that this expression matches.
    Matches(regex::bytes::Regex),
}

impl Wanted {
    /// A regular expression, bounded in what it may cost.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn matching(pattern: &str) -> Result<Self, String> {
        let compiled = regex::bytes::RegexBuilder::new(pattern).size_limit(1 << 20).build();
        compiled.map(Self::Matches).map_err(|error| format!("{pattern:?} is no regular expression: {error}"))
    }

    /// Whether it stands there.
    #[must_use]
    pub fn is_in(&self, came: &[u8]) -> bool {
        match self {
            Self::Contains(bytes) => bytes.is_empty() || came.windows(bytes.len()).any(|window| window == bytes),
            Self::Matches(pattern) => pattern.is_match(came),
        }
    }
}

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Contains(one), Self::Contains(other)) => one == other,
            (Self::Matches(one), Self::Matches(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            Self::Matches(pattern) => write!(f, "/{pattern}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_ranges() {
        assert_eq!((Statuses::range("204"), Statuses::range("200 - 299")), (Ok(204..=204), Ok(200..=299)));
        for wrong in ["", "ok", "99", "600", "299-200", "200-", "-1"] {
            assert!(Statuses::range(wrong).unwrap_err().contains("200-299"), "{wrong}");
        }
        let some = Statuses(vec![200..=204, 301..=301]);
        assert!(some.contain(204) && some.contain(301) && !some.contain(205));
    }

    #[test]
    fn what_is_wanted_is_found_anywhere() {
        let (text, pattern) = (Wanted::Contains(b"UP".to_vec()), Wanted::matching(r#""status"\s*:\s*"UP""#).unwrap());
        for (came, by_text, by_pattern) in [
            (&b"{\"status\": \"UP\"}"[..], true, true),
            (b"UPPER", true, false),
            (b"\xff\0U", false, false),
            (b"", false, false),
        ] {
            assert_eq!((text.is_in(came), pattern.is_in(came)), (by_text, by_pattern), "{came:?}");
        }
        assert!(Wanted::matching("(").unwrap_err().contains("no regular expression"));
        assert!(Wanted::matching(r"\w{1000}{1000}").is_err(), "too large");
        assert!(text == text.clone() && pattern == pattern.clone() && text != pattern);
    }
}
