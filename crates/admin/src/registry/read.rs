//! What is registered, and who changed it.

use std::{str::FromStr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::HeaderMap,
    response::Response,
};
use discovery::provider::embedded::{Entry, Listed, Registration, Verdict};
use model::ServiceId;
use serde::{Deserialize, Serialize};
use settings::Span;
use tokio::time::Instant;

use super::{Api, indexed, named, reader, service, text};
use crate::{Fault, registry::access::Caller};

/// How long a long poll waits if it does not say.
const WAIT: Duration = Duration::from_secs(30);
/// How long it waits at most: proxies on the way cut what is silent for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// One service in the list of all.
#[derive(Serialize)]
struct Summary {
    name: ServiceId,
    index: u64,
    instances: usize,
}

/// All services.
#[derive(Serialize)]
struct Services {
    index: u64,
    services: Vec<Summary>,
}

pub(super) async fn services(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Fault> {
    let caller = reader(&api, &headers).await?;
    let (index, services) = api.registry.services();
    let seen = services.into_iter().filter(|(name, ..)| caller.rights().may_read(name.as_str()));
    let services = seen.map(|(name, index, instances)| Summary { name, index, instances }).collect();
    Ok(indexed(index, Services { index, services }))
}

/// What a listing may be asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    index: Option<u64>,
    wait: Option<String>,
}

/// One instance of a listing.
#[derive(Serialize)]
pub(super) struct Instance {
    #[serde(flatten)]
    registration: Arc<Registration>,
    /// `ready`, `unready` or `maintenance`.
    status: &'static str,
    /// What its checks found, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    verdicts: Vec<Found>,
    /// How long its lease still runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<String>,
}

#[derive(Serialize)]
struct Found {
    passes: Option<bool>,
    output: Arc<str>,
}

impl From<Listed> for Instance {
    fn from(Listed { registration, end, ready, verdicts }: Listed) -> Self {
        let status = match (&registration.maintenance, ready) {
            (Some(_), _) => "maintenance",
            (None, true) => "ready",
            (None, false) => "unready",
        };
        let now = Instant::now();
        let found = |Verdict { passes, output, .. }: Verdict| Found { passes, output };
        let expires_in = end.map(|end| text(end.saturating_duration_since(now)));
        Self { registration, status, verdicts: verdicts.into_iter().map(found).collect(), expires_in }
    }
}

/// The instances of one service; none if nobody registered.
#[derive(Serialize)]
pub(super) struct Instances {
    pub(super) name: String,
    pub(super) index: u64,
    pub(super) instances: Vec<Instance>,
}

pub(super) async fn listing(
    State(api): State<Api>,
    Path(name): Path<String>,
    after: Result<Query<After>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let Query(After { index, wait }) = after.map_err(|e| Fault::invalid(e.body_text()))?;
    let name = service(&name)?;
    reader(&api, &headers).await?.may_read(name.as_str())?;
    let wait = wait.map_or(Ok(WAIT), |w| Span::from_str(&w).map(Span::get));
    let wait = wait.map_err(|e| Fault::invalid(format!("wait: {e}")))?.min(LONGEST_WAIT);
    // Above that many an answer comes at once, as after a wait: heartbeats must always find a connection.
    let watch = api.watches.try_acquire();
    let wait = if watch.is_ok() { wait } else { Duration::ZERO };
    let found = api.registry.listing(name.as_str(), index, wait).await;
    let instances = found.instances.into_iter().map(Instance::from).collect();
    Ok(indexed(found.index, Instances { name: name.to_string(), index: found.index, instances }))
}

pub(super) async fn instance(
    State(api): State<Api>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Instance>, Fault> {
    let (name, id) = named(&name, &id)?;
    reader(&api, &headers).await?.may_read(name.as_str())?;
    let missing = || Fault::not_found(format!("instance {id:?} of service {name:?} is not registered"));
    api.registry.instance(name.clone(), id.clone()).map(|listed| Json(listed.into())).ok_or_else(missing)
}

/// From where on changes are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    #[serde(default)]
    index: u64,
}

/// The last changes.
#[derive(Serialize)]
pub(super) struct Trail {
    index: u64,
    entries: Vec<Entry>,
}

/// Only who may change a service sees who did.
pub(super) async fn audit(
    State(api): State<Api>,
    since: Result<Query<Since>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Trail>, Fault> {
    let Query(Since { index }) = since.map_err(|e| Fault::invalid(e.body_text()))?;
    let caller = Caller::of(api.registry.settings(), &api.tokens, &headers).await?;
    let entries =
        api.registry.audit(index).into_iter().filter(|entry| caller.rights().may_write(entry.service.as_str()));
    Ok(Json(Trail { index: api.registry.index(), entries: entries.collect() }))
}
