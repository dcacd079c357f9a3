//! `services.NAME.check`

use discovery::health::Role;
use model::Protocol;
use serde::Deserialize;
use settings::{Entries, Located, OneOrMany, Span};

/// One check of every instance of a service: exactly one of the first four, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
    pub interval: Span,
    /// The same in doubt; 1 s if absent, or `interval` if that is less.
    pub fast: Option<Span>,
    /// How long one look may take; 2 s if absent, or `interval` if that is less.
    pub timeout: Option<Span>,
    /// Successes in a row after which a failing check passes.
    pub rise: u8,
    /// Failures in a row after which a passing check fails.
    pub fall: u8,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            http: None,
            grpc: None,
            tcp: None,
            tls: None,
            role: Role::default(),
            port: None,
            interval: Span::from_secs(10),
            fast: None,
            timeout: None,
            rise: 2,
            fall: 3,
        }
    }
}

/// A request by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// Its path, with query if need be.
    pub path: Located<String>,
    /// Its method.
    #[serde(default = "get")]
    pub method: Located<String>,
    /// Its `Host`; that of requests if absent.
    #[serde(default)]
    pub host: Option<Located<String>>,
    /// More fields.
    #[serde(default)]
    pub headers: Entries<Located<String>>,
    /// Statuses that pass: `204`, `200-299`.
    #[serde(default = "success")]
    pub status: OneOrMany<Located<String>>,
    /// What must stand in the body.
    #[serde(default)]
    pub body: Option<Located<Body>>,
    /// What is spoken, if not what the instance speaks.
    #[serde(default)]
    pub protocol: Option<Protocol>,
}

fn get() -> Located<String> {
    "GET".to_owned().into()
}

fn success() -> OneOrMany<Located<String>> {
    OneOrMany(vec!["200-299".to_owned().into()])
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
