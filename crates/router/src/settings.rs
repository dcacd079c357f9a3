//! The configuration file, as typed. Every section's struct lives in the crate that uses it; this one nests them.
//! `docs/configuration.md` has every key, default and unit.

mod balance;
mod check;
mod concurrency;
mod discovery;
mod eject;
mod expose;
mod fallback;
mod hedge;
mod host;
mod listener;
mod percent;
mod retries;
mod route;
mod service;
mod shedding;

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
    thread::available_parallelism,
};

use model::Tag;
use serde::Deserialize;
use settings::{Entries, Located, OrOff, Size, Span};

use crate::announce;
pub use balance::{SameSite, SlowStart, Sticky, WeighBy};
pub use check::{Body, Check, GrpcCheck, HttpCheck, TcpCheck, TlsCheck};
pub use concurrency::Concurrency;
pub use discovery::{Discovery, OnFirstUse};
pub use eject::{Breaker, Eject, Latency, SuccessRate};
pub use expose::Expose;
pub use fallback::Fallback;
pub use hedge::{After, Hedge};
pub use host::Host;
pub use listener::{Certificate, Listener, Tls};
pub use percent::Percent;
pub use retries::{Backoff, Budget, Retries};
pub use route::Route;
pub use service::{MaxStale, Merge, Service, ServiceTls};
pub use shedding::Shedding;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// Health, table and metrics, for operators.
    pub admin: Admin,
    /// Where instances are learned from; order is precedence.
    pub registries: Entries<::discovery::Settings>,
    /// What is made of what they say.
    pub discovery: Located<Discovery>,
    /// Where the router registers itself.
    pub announce: Option<Located<announce::Settings>>,
    /// Which requests go to which service.
    pub routes: Vec<Located<Route>>,
    /// What a `service_id` may reach.
    pub expose: Expose,
    /// How services are chosen and spoken to; `"*"` is the default for all.
    pub services: Entries<Service>,
    /// The environment of requests without `env_tag`.
    pub environment: Option<Tag>,
    /// Our zone, for `local_first` and `prefer_zone`.
    pub zone: Option<String>,
    /// How long instances that vanished suspiciously stay as last resort.
    pub hold: Span,
    /// Names of headers we read, and what becomes of others.
    pub headers: Headers,
    /// Sizes and numbers.
    pub limits: Located<Limits>,
    /// How long instances may take.
    pub timeouts: Timeouts,
    /// How long clients may take.
    pub clients: Clients,
    /// When a core has too much in hand to take on more.
    pub shedding: Located<Shedding>,
    /// Leaving without breaking anything.
    pub drain: Drain,
    /// Data cores; as many as the machine has if absent.
    pub threads: Option<Located<usize>>,
    /// What the router says of itself.
    pub log: Located<telemetry::log::Settings>,
    /// One line for each request.
    pub access_log: Located<telemetry::access::Settings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            admin: Admin::default(),
            registries: Entries::default(),
            announce: None,
            discovery: Discovery::default().into(),
            routes: Vec::new(),
            expose: Expose::default(),
            services: Entries::default(),
            environment: None,
            zone: None,
            hold: Span::from_secs(30),
            headers: Headers::default(),
            limits: Limits::default().into(),
            timeouts: Timeouts::default(),
            clients: Clients::default(),
            shedding: Shedding::default().into(),
            drain: Drain::default(),
            threads: None,
            log: telemetry::log::Settings::default().into(),
            access_log: telemetry::access::Settings::default().into(),
        }
    }
}

impl Settings {
    /// How many data cores there shall be.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.threads.as_deref().copied().unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get)).max(1)
    }
}

/// `admin:`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where it listens.
    pub address: Located<SocketAddr>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8401)).into() }
    }
}

/// `headers:`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Headers {
    /// Headers that name a service. They end here.
    pub service: Vec<Located<String>>,
    /// A query parameter that does the same; off if absent.
    pub service_query: Option<String>,
    /// The header that narrows to an environment.
    pub environment: Located<String>,
    /// The host instances are told.
    pub host: Host,
    /// Also send `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// Also send `Via`.
    pub via: bool,
    /// Networks whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<Located<String>>,
}

impl Default for Headers {
    fn default() -> Self {
        Self {
            service: vec!["service_id".to_owned().into(), "x-service-id".to_owned().into()],
            service_query: None,
            environment: "env_tag".to_owned().into(),
            host: Host::default(),
            forwarded: false,
            via: false,
            trusted_proxies: Vec::new(),
        }
    }
}

/// `limits:`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Client connections at once; above it new ones wait in the kernel's queue.
    pub connections: usize,
    /// Of one client address; above it new ones are closed. Half of them, at least 100, if absent.
    pub connections_per_address: Option<OrOff<usize>>,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// The request head, as RFC 9113 counts it (32 bytes more per field).
    pub head: Size,
    /// Header fields of a request.
    pub fields: usize,
    /// The request target.
    pub uri: Size,
    /// The request body. Not for gRPC, whose streams have no size.
    pub body: Size,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: None,
            streams: 100,
            head: Size::from_bytes(32 * 1024),
            fields: 100,
            uri: Size::from_bytes(8 * 1024),
            body: Size::from_bytes(256 * 1024 * 1024),
        }
    }
}

/// `timeouts:`, and the same of a service or route. What a route leaves out its service says, then the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For a connection to an instance, TLS included. 1 s.
    #[serde(deserialize_with = "settings::lasting")]
    pub connect: Option<Span>,
    /// From the complete request to the response's head. 15 s.
    #[serde(deserialize_with = "settings::lasting")]
    pub head: Option<OrOff>,
    /// With nothing moving in either direction. 60 s.
    #[serde(deserialize_with = "settings::lasting")]
    pub idle: Option<OrOff>,
    /// For the whole exchange. Off.
    #[serde(deserialize_with = "settings::lasting")]
    pub total: Option<OrOff>,
    /// For a gRPC stream or an event stream. Off.
    #[serde(deserialize_with = "settings::lasting")]
    pub stream_age: Option<OrOff>,
}

/// `clients:`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// From accepting to the first byte.
    #[serde(deserialize_with = "settings::lasting")]
    pub first_byte: Span,
    /// For the TLS handshake.
    #[serde(deserialize_with = "settings::lasting")]
    pub handshake: Span,
    /// For the HTTP/2 preface.
    #[serde(deserialize_with = "settings::lasting")]
    pub preface: Span,
    /// For a request head, from its first byte.
    #[serde(deserialize_with = "settings::lasting")]
    pub head: Span,
    /// For a connection without requests.
    #[serde(deserialize_with = "settings::lasting")]
    pub keep_alive: Span,
    /// For a client that does not read.
    #[serde(deserialize_with = "settings::lasting")]
    pub stall: Span,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            first_byte: Span::from_secs(10),
            handshake: Span::from_secs(5),
            preface: Span::from_secs(5),
            head: Span::from_secs(10),
            keep_alive: Span::from_secs(60),
            stall: Span::from_secs(60),
        }
    }
}

/// `drain:`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// Normal service after readiness failed, for a balancer in front to notice.
    pub delay: Span,
    /// For what is under way after that.
    pub deadline: Span,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Span::from_secs(5), deadline: Span::from_secs(30) }
    }
}
