//! Who serves what, as the router sees it now.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::get,
};
use balancer::Admission;
use discovery::{
    Member, Service,
    status::{Doubt, Source, State as SourceState, Status},
};
use model::{ServiceId, Standing, Tag, Tick};
use serde::Serialize;
use transport::clock;

use crate::{Admin, Fault};

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
    /// Absent if nothing is subscribed to on first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_first_use: Option<FirstUseView>,
    services: Vec<ServiceView>,
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
    /// Environments a request can name.
    environments: Vec<Tag>,
    /// Seconds since it was last certain that this is true; absent if it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_s: Option<u64>,
    /// Sources that have not spoken of it since they started: what is remembered of them stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remembered: Vec<String>,
    members: Vec<MemberView>,
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
    in_flight: u32,
    /// Average time to the response head, in milliseconds; absent before the first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    /// `in`, `probing`, or `out` with cause and seconds.
    admission: String,
    requests: u64,
    failures: u64,
}

async fn all(State(admin): State<Admin>) -> Json<TableView> {
    let now = clock::tick();
    let table = admin.table.load();
    let status = admin.status.borrow().clone();
    let mut services: Vec<_> = table.services().map(|s| service(s, &status, now)).collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let members = |name: &str| services.iter().flat_map(|s| &s.members).filter(|m| m.source == name).count();
    Json(TableView {
        generation: table.generation,
        digest: format!("{:016x}", table.digest()),
        published_in_ms: millis(admin.freshness.last()),
        sources: status.sources.iter().map(|s| source(s, members(&s.name), now)).collect(),
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
    let found = admin.table.load().service(&name).map(|s| service(s, &status, clock::tick()));
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
        kind: source.kind,
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
        skipped: source.skipped,
        reasons: source.reasons.iter().cloned().collect(),
    }
}

fn doubted(service: &ServiceId, doubt: &Doubt, now: Tick) -> DoubtView {
    DoubtView { service: service.clone(), error: doubt.error.to_string(), for_s: now.since(doubt.since).as_secs() }
}

fn service(service: &Service, status: &Status, now: Tick) -> ServiceView {
    let names = |source: &&Arc<Source>| service.members.iter().any(|m| m.source == source.name);
    let sources = || status.sources.iter().filter(names);
    ServiceView {
        name: service.id.clone(),
        exposed: service.exposed,
        environments: service.environments().cloned().collect(),
        age_s: sources().filter_map(|s| s.age(&service.id, now)).max().map(|age| age.as_secs()),
        remembered: sources().filter(|s| s.inherited.contains_key(&service.id)).map(|s| s.name.to_string()).collect(),
        members: service.members.iter().map(|m| member(m, now)).collect(),
    }
}

fn member(member: &Member, now: Tick) -> MemberView {
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
        in_flight: vitals.in_flight(),
        latency_ms: vitals.latency().map(millis),
        admission: match vitals.state(now) {
            Admission::In => "in".to_owned(),
            Admission::Probing => "probing".to_owned(),
            Admission::Out { cause, since, .. } => {
                format!("out ({}) for {} s", cause.as_str(), now.since(since).as_secs())
            }
        },
        requests: totals.requests,
        failures: totals.failures,
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // what serde calls it with
fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3 // microseconds are as exact as it gets
}
