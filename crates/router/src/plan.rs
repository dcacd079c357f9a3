//! What the file means: only valid states, everything compiled. Replaced as a whole by a reload; nothing on the path
//! of a request reads a setting.

mod addresses;
mod balance;
mod bounds;
mod checks;
mod compile;
mod doubts;
mod fallback;
mod guard;
mod limits;
mod retries;
mod routes;
mod services;
mod shedding;

use std::{
    collections::HashMap,
    net::SocketAddr,
    ops::Deref,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderName;
use transport::{io, tls::ServerTls};

use crate::{
    announce,
    exchange::Asked,
    rewrite::{Rewriting, Trusted},
    route::{Route, Routes},
};

pub use compile::{Compiled, Made, compile};
pub use doubts::{expiring, foreseen};
pub use fallback::{Fallback, Instead};
pub use limits::Limits;
pub use shedding::Shedding;

/// The compiled file, as the data path uses it.
#[derive(Debug)]
pub struct Plan {
    /// Where clients connect.
    pub listeners: Vec<Arc<Listener>>,
    /// The rules.
    pub routes: Routes<Rule>,
    /// Headers and parameters that are spoken to us.
    pub names: Names,
    /// What becomes of other headers.
    pub rewriting: Rewriting,
    /// Limits of requests whose service has none of its own.
    pub limits: Limits,
    /// Limits of services that have some.
    pub services: HashMap<Box<str>, Limits>,
    /// How long clients may take.
    pub patience: ClientTimeouts,
    /// When a core has too much in hand to take on more.
    pub shedding: Shedding,
    /// How many clients may be connected at once.
    pub connections: Connections,
    /// Certificates that are shown to clients, and until when they hold.
    pub certificates: Vec<Certificate>,
}

/// A certificate of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The file it is in.
    pub file: PathBuf,
    /// Its end.
    pub expires: SystemTime,
}

/// How many clients may be connected at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connections {
    /// In all.
    pub all: usize,
    /// From one address.
    pub of_address: usize,
    /// Proxies, behind whose addresses there are many clients.
    pub exempt: Trusted,
}

/// One address clients connect to.
#[derive(Debug, Clone)]
pub struct Listener {
    /// IP address and port.
    pub address: SocketAddr,
    /// TLS; clear text without it.
    pub tls: Option<ServerTls>,
}

/// What a rule carries besides its conditions.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What the access log calls it.
    pub name: String,
    /// Its line in the file; 0 if it came from none.
    pub line: usize,
    /// Its limits.
    pub limits: Limits,
    /// What a client gets when its service cannot take the request.
    pub fallback: Option<Fallback>,
}

/// Headers and parameters that are spoken to us.
#[derive(Debug)]
pub struct Names {
    /// Headers that name a service.
    pub service: Box<[HeaderName]>,
    /// A query parameter that does.
    pub query: Option<Box<str>>,
    /// The header that narrows to an environment.
    pub environment: HeaderName,
}

/// How long clients may take.
#[derive(Debug, Clone, Copy)]
pub struct ClientTimeouts {
    /// From accepting to the first byte.
    pub first_byte: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the HTTP/2 preface.
    pub preface: Duration,
    /// On HTTP/1 connections; HTTP/2 shares `keep_alive`.
    pub http1: io::ConnectionTimeouts,
}

/// What the rest of the program takes from the file, besides the data path.
#[derive(Debug, Clone)]
pub struct Operations {
    /// Where operators connect.
    pub admin: SocketAddr,
    /// Normal service after readiness failed.
    pub drain_delay: Duration,
    /// For what is under way after that.
    pub drain_deadline: Duration,
    /// What the router announces of itself.
    pub announce: Option<announce::Settings>,
    /// Files whose content the plan depends on.
    pub files: Vec<PathBuf>,
    /// What only a start follows.
    pub fixed: Fixed,
}

/// What only a start follows; a reload that changes it is told so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// `threads`.
    pub threads: Option<usize>,
    /// `log.format`.
    pub log: telemetry::log::Format,
    /// `access_log`.
    pub access_log: telemetry::access::Settings,
    /// `discovery.directory`.
    pub directory: Option<PathBuf>,
}

/// The plan as one core holds it: cloning it touches no counter that another core uses.
#[derive(Debug)]
pub struct Current(pub Arc<Plan>);

impl Deref for Current {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0
    }
}

impl Plan {
    /// The rule of this number, which must come from this plan.
    ///
    /// # Panics
    /// If the number comes from another plan.
    #[must_use]
    pub fn route(&self, index: usize) -> &Route<Rule> {
        self.routes.get(index)
    }

    /// What a client gets when the service it asked for cannot take the request; by a route only.
    #[must_use]
    pub fn fallback(&self, asked: Option<&Asked>) -> Option<&Fallback> {
        match asked {
            Some(Asked::Route(index)) => self.route(*index).data.fallback.as_ref(),
            _ => None,
        }
    }

    /// The limits of a rule.
    #[must_use]
    pub fn route_limits(&self, index: usize) -> &Limits {
        &self.route(index).data.limits
    }

    /// The limits of a service that was named.
    #[must_use]
    pub fn service_limits(&self, name: &str) -> &Limits {
        if self.services.is_empty() {
            return &self.limits;
        }
        self.services.get(name).unwrap_or(&self.limits)
    }
}
