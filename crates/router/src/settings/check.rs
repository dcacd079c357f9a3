//! `services.NAME.check`

use discovery::health::Role;
use model::Protocol;
use serde::Deserialize;
use settings::{Entries, Located, OneOrMany, Span};

/// One check of every instance of a service: exactly one of the first four, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// A request by HTTP has a wanted answer.
    pub http: Option<HttpCheck>,
    /// The gRPC health service says that it serves.
    pub grpc: Option<GrpcCheck>,
    /// A connection can be made, and perhaps talked on.
    pub tcp: Option<TcpCheck>,
    /// A TLS handshake succeeds.
    pub tls: Option<TlsCheck>,
    /// What a failure means.
    pub role: Role,
    /// Where, if not at the instance's own port.
    pub port: Option<u16>,
    /// From one look to the next.
    pub interval: Option<Span>,
    /// The same in doubt.
    pub fast: Option<Span>,
    /// How long one look may take.
    pub timeout: Option<Span>,
    /// Successes in a row after which a failing check passes.
    pub rise: Option<u8>,
    /// Failures in a row after which a passing check fails.
    pub fall: Option<u8>,
}

/// A request by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// Its path, with query if need be.
    pub path: Located<String>,
    /// Its method; `GET` if absent.
    #[serde(default)]
    pub method: Option<Located<String>>,
    /// Its `Host`; that of requests if absent.
    #[serde(default)]
    pub host: Option<Located<String>>,
    /// More fields.
    #[serde(default)]
    pub headers: Entries<Located<String>>,
    /// Statuses that pass: `204`, `200-299`; the latter if there are none.
    #[serde(default)]
    pub status: OneOrMany<Located<String>>,
    /// What must stand in the body.
    #[serde(default)]
    pub body: Option<Located<Body>>,
    /// What is spoken, if not what the instance speaks.
    #[serde(default)]
    pub protocol: Option<Protocol>,
}

/// What must stand in the first 64 KiB of a body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// This text.
    Contains(String),
    /// Something that this regular expression matches.
    Matches(String),
}

/// A call of `grpc.health.v1.Health/Check`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcCheck {
    /// The service asked about; the server as a whole if empty.
    pub service: String,
    /// What is spoken, if not what the instance speaks.
    pub protocol: Option<Protocol>,
}

/// What is said on a bare connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TcpCheck {
    /// What is sent.
    pub send: Option<String>,
    /// What must come back.
    pub expect: Option<String>,
}

/// A TLS handshake, as requests do it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsCheck {}
