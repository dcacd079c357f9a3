//! Is the router alive, and is it ready: for load balancers, orchestrators and people.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use discovery::status::{Doubt, State as Source};
use model::Tick;
use serde::Serialize;
use transport::clock;

use crate::{Admin, Fault};

/// Whether the router wants new work. Set once when it begins to end; read by every question for readiness.
#[derive(Debug, Default)]
pub struct Readiness {
    draining: AtomicBool,
}

impl Readiness {
    /// From now on the router is not ready, whatever the sources say.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it is ending.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The answer for those who want JSON.
#[derive(Debug, Serialize)]
struct Health {
    /// `UP`, or `DOWN` if it should get no new work.
    status: &'static str,
    /// Why not.
    reasons: Vec<String>,
    /// What is older than it should be; no reason to send the traffic elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stale: Vec<String>,
}

pub(crate) fn routes() -> Router<Admin> {
    Router::new()
        .route("/health", get(health))
        .route("/health/live", get(async || "OK"))
        .route("/health/ready", get(ready))
        .route("/health/{service}", get(service))
}

/// Always 200: a router that waits for a registry is not made better by a restart.
async fn health(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    answer(StatusCode::OK, &headers, reasons(&admin), stale(&admin))
}

async fn ready(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let reasons = reasons(&admin);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &headers, reasons, stale(&admin))
}

/// As light-4j's servers answer: `OK` if this one can serve the service.
async fn service(State(admin): State<Admin>, Path(name): Path<String>) -> Result<&'static str, Fault> {
    let served = admin.table.with(|t| t.service(&name).is_some_and(|s| !s.members.is_empty()));
    served.then_some("OK").ok_or_else(|| Fault::not_found(format!("there is no instance of {name:?}")))
}

fn answer(status: StatusCode, headers: &HeaderMap, reasons: Vec<String>, stale: Vec<String>) -> Response {
    let json = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok()).is_some_and(|a| a.contains("json"));
    if json {
        let word = if reasons.is_empty() { "UP" } else { "DOWN" };
        return (status, Json(Health { status: word, reasons, stale })).into_response();
    }
    let text = match (reasons.is_empty(), stale.is_empty()) {
        (true, true) => "OK".to_owned(),
        (true, false) => format!("OK, stale:\n{}\n", stale.join("\n")),
        (false, _) => reasons.join("\n") + "\n",
    };
    (status, text).into_response()
}

/// Which sources do not answer while what they said, or are remembered to have said, stands; or are missing while the router
/// serves without them.
#[must_use]
pub fn stale(admin: &Admin) -> Vec<String> {
    let (status, now) = (Arc::clone(&admin.status.borrow()), clock::tick());
    let told = |source: &Arc<discovery::status::Source>| {
        let name = &source.name;
        match (&source.state, source.answered) {
            (Source::Down(error), true) => {
                let since = now.since(source.since).as_secs();
                Some(format!("source {name} does not answer for {since} s; what it said stands: {error}"))
            }
            (_, true) => {
                let (service, Doubt { error, since }) = source.doubts.first_key_value()?;
                let (others, since) = (source.doubts.len() - 1, now.since(*since).as_secs());
                Some(format!(
                    "source {name} cannot tell about {service} (for {since} s) and {others} other services; what it said \
                     stands: {error}"
                ))
            }
            (_, false) if source.is_usable(now) && source.inherited.is_empty() => {
                let (service, Doubt { error, since }) = source.doubts.first_key_value()?;
                let (others, since) = (source.doubts.len() - 1, now.since(*since).as_secs());
                Some(format!(
                    "source {name} could not tell about {service} (for {since} s) and {others} other services since the \
                     start: {error}"
                ))
            }
            (state, false) if source.is_usable(now) => {
                let oldest = source.inherited.keys().filter_map(|s| source.age(s, now)).max().unwrap_or_default();
                let cause = if let Source::Down(error) = state { format!(": {error}") } else { String::new() };
                let (services, oldest) = (source.inherited.len(), oldest.as_secs());
                Some(format!(
                    "source {name} has not answered since the start; {services} services are remembered, of up to \
                     {oldest} s ago{cause}"
                ))
            }
            // The router was ready before: this came with a reload, or fails before it has told all.
            (_, false) => status.is_usable(now).then(|| awaited(source, now)),
        }
    };
    status.sources.iter().filter_map(told).collect()
}

/// Why the router should get no new work; empty if it should.
pub fn reasons(admin: &Admin) -> Vec<String> {
    let (status, now) = (Arc::clone(&admin.status.borrow()), clock::tick());
    let waiting = status.sources.iter().filter(|source| !status.is_usable(now) && !source.is_usable(now));
    let waiting = waiting.map(|source| awaited(source, now));
    let ended = admin.status.has_changed().is_err().then(|| "discovery has ended; restart the router".to_owned());
    let draining = admin.readiness.is_draining().then(|| "the router is draining".to_owned());
    draining.into_iter().chain(ended).chain(waiting).collect()
}

/// What is missing of a source that is not usable yet.
fn awaited(source: &discovery::status::Source, now: Tick) -> String {
    let (name, others) = (&source.name, source.awaited.len().saturating_sub(1));
    let doubt = source.awaited.iter().find_map(|service| Some((service, source.doubts.get(service)?)));
    match (&source.state, doubt, source.awaited.first()) {
        (Source::Down(error), ..) => {
            format!("source {name} has not answered yet: {error} (for {} s)", now.since(source.since).as_secs())
        }
        (_, Some((service, Doubt { error, since })), _) => {
            let since = now.since(*since).as_secs();
            format!(
                "source {name} cannot tell yet about {service} and {others} other services: {error} (for {since} s)"
            )
        }
        (Source::Live, None, Some(first)) => {
            format!("source {name} has not answered yet for {first} and {others} other services")
        }
        _ => format!("source {name} has not answered yet (for {} s)", now.since(source.started).as_secs()),
    }
}
