//! Who serves what, as the router sees it now.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};
use balancer::Balance;
use discovery::{
    Member, Service,
    health::{Finding, Findings, check::What},
    status::{Doubt, Source, State as SourceState, Status},
};
use model::{ServiceId, Standing, Tag, Tick};
use serde::Serialize;
use telemetry::load::Load;
use transport::clock;

use crate::{
    Admin, Fault,
    circuit::{self, BreakerView, CircuitView},
};

pub(crate) fn routes() -> Router<Admin> {
    Router::new().route("/table", get(all)).route("/table/{service}", get(one)).route("/sources", get(sources))
}

/// The whole table.
#[derive(Debug, Serialize)]
struct TableView {
    /// Counts the tables of this process.
    generation: u64,
    /// Equal on two routers whose sources say the same.
    digest: String,
    /// How long the newest change took from its arrival to the table, in milliseconds.
    published_in_ms: f64,
    sources: Vec<SourceView>,
    /// What each core has in hand.
    cores: Vec<CoreView>,
    /// Absent if nothing is subscribed to on first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_first_use: Option<FirstUseView>,
    services: Vec<ServiceView>,
}

#[derive(Debug, Serialize)]
struct CoreView {
    connections: usize,
    /// Requests whose answer is not complete.
    requests: u32,
    /// How late it comes to its work, in milliseconds.
    lag_ms: f64,
}

#[derive(Debug, Serialize)]
struct FirstUseView {
    at_most: usize,
    /// Services that registries are asked about because clients named them.
    services: usize,
    /// Of them, those no registry has answered.
    unanswered: usize,
}

#[derive(Debug, Serialize)]
struct SourceView {
    name: String,
    kind: &'static str,
    /// `starting`, `live` or `down`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Seconds in this state.
    for_s: u64,
    answered: bool,
    /// Seconds since it last answered, also if nothing was new.
    #[serde(skip_serializing_if = "Option::is_none")]
    heard_s_ago: Option<u64>,
    /// Seconds since all it holds was last read; absent if it never was, or if each of its answers is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_s_ago: Option<u64>,
    updates: u64,
    /// Services it has not spoken of since it started: what is remembered of it stands.
    #[serde(skip_serializing_if = "is_zero")]
    remembered: usize,
    /// How many withdrawals of it looked like a fault, so that the instances became last resort.
    suspected: u64,
    /// How long the newest change of it took from when it was seen to the table, in milliseconds.
    published_in_ms: f64,
    /// How many members of the table it names.
    members: usize,
    /// Services it could not tell about when last asked; their lists stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    doubts: Vec<DoubtView>,
    /// Records it could not use, and why for the last of them.
    skipped: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
struct DoubtView {
    service: ServiceId,
    error: String,
    /// Seconds since it was certain.
    for_s: u64,
}

#[derive(Debug, Serialize)]
struct ServiceView {
    name: ServiceId,
    /// Whether clients may reach it.
    exposed: bool,
    /// How an instance is chosen.
    balance: &'static str,
    /// Environments a request can name.
    environments: Vec<Tag>,
    /// Seconds since it was last certain that this is true; absent if it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_s: Option<u64>,
    /// Sources that have not spoken of it since they started: what is remembered of them stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remembered: Vec<String>,
    /// Requests in hand, and those that wait: for a place, for an instance.
    in_flight: u32,
    #[serde(skip_serializing_if = "is_none")]
    queued: u32,
    #[serde(skip_serializing_if = "is_none")]
    held: u32,
    /// Nobody admits requests, so that all are used as last choice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    panic: bool,
    /// Its circuit breaker; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<BreakerView>,
    retries: RetriesView,
    members: Vec<MemberView>,
}

/// Retries and hedges that had to be paid from the service's budget.
#[derive(Debug, Serialize)]
struct RetriesView {
    allowed: u64,
    /// Not made, because the budget was spent.
    refused: u64,
}

#[derive(Debug, Serialize)]
struct MemberView {
    id: String,
    address: String,
    protocol: &'static str,
    source: String,
    weight: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// `serving`; `draining`: gets no new requests; `resort`: withdrawn under suspicion, used if nobody else admits.
    standing: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    environments: Vec<Tag>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    environment_only: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<(String, String)>,
    /// Those of them that `weigh_by` names and that make no sense, so that they do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
    /// The group it is in, if not the first: it gets what those before it are not well enough for.
    #[serde(skip_serializing_if = "is_zero")]
    group: usize,
    /// The part of its share that it has now, while it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_start: Option<f64>,
    /// What clients that stay with it carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    sticky: Option<String>,
    in_flight: u32,
    /// Average time to the response head, in milliseconds, higher if it fails; absent before the first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    /// `in`, `probing`, or `out` with causes and seconds.
    admission: String,
    /// Why no connection could be made to it, if the last one tried could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// What keeps it out and what ends that; absent if it takes requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    circuit: Option<CircuitView>,
    requests: u64,
    failures: u64,
    /// What the router's own checks say of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<CheckView>,
}

#[derive(Debug, Serialize)]
struct CheckView {
    /// `http`, `grpc`, `tcp` or `tls`.
    kind: &'static str,
    /// `readiness` or `liveness`.
    role: &'static str,
    /// `passing`, `failing`, or `unknown` before the first verdict.
    result: &'static str,
    /// Seconds since that is so.
    for_s: u64,
    /// What the last look saw.
    saw: String,
    /// Seconds until the next look; 0 if it is due or under way.
    next_in_s: u64,
}

async fn all(State(admin): State<Admin>) -> Json<TableView> {
    let now = clock::tick();
    let table = admin.table.load();
    let status = admin.status.borrow().clone();
    let mut services: Vec<_> = table.services().map(|s| service(s, &status, &admin.findings, now)).collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let members = |name: &str| services.iter().flat_map(|s| &s.members).filter(|m| m.source == name).count();
    Json(TableView {
        generation: table.generation,
        digest: format!("{:016x}", table.digest()),
        published_in_ms: millis(admin.freshness.last()),
        sources: status.sources.iter().map(|s| source(s, members(&s.name), now)).collect(),
        cores: admin.loads.0.iter().map(|load| core(load)).collect(),
        on_first_use: status.first_use.map(|f| FirstUseView {
            at_most: f.at_most,
            services: f.services,
            unanswered: f.unanswered,
        }),
        services,
    })
}

/// The sources alone.
async fn sources(State(admin): State<Admin>) -> Json<Vec<SourceView>> {
    let (now, table, status) = (clock::tick(), admin.table.load(), admin.status.borrow().clone());
    let named = |name: &str| table.services().flat_map(|s| &s.members).filter(|m| &*m.source == name).count();
    Json(status.sources.iter().map(|s| source(s, named(&s.name), now)).collect())
}

async fn one(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<ServiceView>, Fault> {
    let status = admin.status.borrow().clone();
    let found = admin.table.load().service(&name).map(|s| service(s, &status, &admin.findings, clock::tick()));
    found.map(Json).ok_or_else(|| Fault::not_found(format!("no source speaks of {name:?}, and no route names it")))
}

fn source(source: &Source, members: usize, now: Tick) -> SourceView {
    let (state, error) = match &source.state {
        SourceState::Starting => ("starting", None),
        SourceState::Live => ("live", None),
        SourceState::Down(error) => ("down", Some(error.to_string())),
    };
    SourceView {
        name: source.name.to_string(),
        kind: source.kind.as_str(),
        state,
        error,
        for_s: now.since(source.since).as_secs(),
        answered: source.answered,
        heard_s_ago: source.pulse.heard().map(|at| now.since(at).as_secs()),
        read_s_ago: source.pulse.read().map(|at| now.since(at).as_secs()),
        updates: source.updates,
        remembered: source.inherited.len(),
        suspected: source.suspected,
        published_in_ms: millis(source.freshness.last()),
        members,
        doubts: source.doubts.iter().map(|(service, doubt)| doubted(service, doubt, now)).collect(),
        skipped: source.skipped.count,
        reasons: source.skipped.reasons.iter().cloned().collect(),
    }
}

fn core(load: &Load) -> CoreView {
    CoreView { connections: load.connections(), requests: load.requests(), lag_ms: millis(load.lag()) }
}

fn doubted(service: &ServiceId, doubt: &Doubt, now: Tick) -> DoubtView {
    DoubtView { service: service.clone(), error: doubt.error.to_string(), for_s: now.since(doubt.since).as_secs() }
}

fn service(service: &Service, status: &Status, findings: &Findings, now: Tick) -> ServiceView {
    let names = |source: &&Arc<Source>| service.members.iter().any(|m| m.source == source.name);
    let sources = || status.sources.iter().filter(names);
    let retries = service.vitals.budget.totals();
    ServiceView {
        name: service.id.clone(),
        exposed: service.exposed,
        balance: service.policy.balance.algorithm.name(),
        environments: service.environments().cloned().collect(),
        age_s: sources().filter_map(|s| s.age(&service.id, now)).max().map(|age| age.as_secs()),
        remembered: sources().filter(|s| s.inherited.contains_key(&service.id)).map(|s| s.name.to_string()).collect(),
        in_flight: service.vitals.occupancy.in_flight(),
        queued: service.vitals.queue.len(),
        held: service.vitals.occupancy.held(),
        panic: !service.members.is_empty() && !service.members.iter().any(|m| m.upstream.vitals.admits(now)),
        breaker: circuit::of_service(&service.vitals.breaker, now),
        retries: RetriesView { allowed: retries.allowed, refused: retries.refused },
        members: service.members.iter().map(|m| member(m, &service.policy.balance, findings, now)).collect(),
    }
}

fn member(member: &Member, balance: &Balance, findings: &Findings, now: Tick) -> MemberView {
    let (instance, upstream, vitals) = (&member.instance, &member.upstream, &member.upstream.vitals);
    let totals = vitals.totals();
    MemberView {
        id: instance.id.to_string(),
        address: upstream.address.to_string(),
        protocol: upstream.protocol.as_str(),
        source: member.source.to_string(),
        weight: instance.weight,
        zone: instance.zone.as_deref().map(str::to_owned),
        standing: match instance.standing {
            _ if member.resort => "resort",
            Standing::Serving => "serving",
            Standing::Draining => "draining",
        },
        environments: instance.environments.to_vec(),
        environment_only: instance.environment_only,
        tags: instance.tags.to_vec(),
        labels: instance.labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
        ignored: balance.weighing.senseless(instance).map(str::to_owned).collect(),
        group: balance.group(instance),
        slow_start: balance.slow_start.map(|slow| slow.reached(upstream.since, now)).filter(|part| *part < 1.0),
        sticky: member.token.map(|token| format!("{token:016x}")),
        in_flight: vitals.in_flight(),
        latency_ms: vitals.latency().map(millis),
        admission: circuit::word(vitals.state(now), now),
        trouble: upstream.trouble().map(|why| why.to_string()),
        circuit: circuit::of_instance(vitals.state(now), now),
        requests: totals.requests,
        failures: totals.failures,
        checks: findings.of(vitals).iter().map(|finding| check(finding, now)).collect(),
    }
}

fn check(finding: &Finding, now: Tick) -> CheckView {
    CheckView {
        kind: What::KINDS[finding.kind],
        role: finding.role.as_str(),
        result: match finding.passes {
            None => "unknown",
            Some(true) => "passing",
            Some(false) => "failing",
        },
        for_s: now.since(finding.since).as_secs(),
        saw: finding.saw.to_string(),
        next_in_s: finding.next.map_or(0, |next| next.since(now).as_secs()),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // what serde calls it with
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // what serde calls it with
fn is_none(number: &u32) -> bool {
    *number == 0
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3 // microseconds are as exact as it gets
}
