//! The HTTP API of the embedded registry.
//!
//! | request | does |
//! |---|---|
//! | `POST /registry/register` | registers an instance, or changes or renews its registration |
//! | `POST /registry/heartbeat` | renews its lease; 404 `NOT_REGISTERED` if it must register first |
//! | `POST /registry/deregister` | takes it out |
//! | `GET /registry/services` | names all services |
//! | `GET /registry/services/{name}` | lists one; with `?index=N&wait=30s` as soon as it has a higher index than N |

mod token;

use std::{str::FromStr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Bytes, to_bytes},
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::HeaderValue,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use discovery::provider::embedded::{self, NotRegistered, Registered, Registration, Registry, default_id};
use http_body_util::LengthLimitError;
use model::{InstanceId, ServiceId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use settings::Span;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use self::token::Token;
use crate::{Fault, fault, guard};

#[cfg(test)]
mod tests;

/// Largest body: a registration with much metadata has a few kilobytes.
const BODY: usize = 64 * 1024;
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);
/// How long a long poll waits if it does not say.
const WAIT: Duration = Duration::from_secs(30);
/// How long it waits at most: proxies on the way cut what is silent for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Long polls that wait at once: half of the connections the API takes.
const POLLS: usize = 512;
/// Carries the index of a listing, for clients that do not parse the body.
const INDEX: &str = "x-pointsman-index";

#[derive(Debug, Clone)]
struct Api {
    registry: Registry,
    token: Token,
    polls: Arc<Semaphore>,
}

/// The API of this registry, for a listener at the address of its settings.
pub fn app(registry: Registry, settings: &embedded::Settings) -> Router {
    let api = Api { registry, token: Token::new(settings.token.clone()), polls: Arc::new(Semaphore::new(POLLS)) };
    let routes = Router::new()
        .route("/registry/register", post(register))
        .route("/registry/heartbeat", post(heartbeat))
        .route("/registry/deregister", post(deregister))
        .route("/registry/services", get(services))
        .route("/registry/services/{name}", get(listing));
    guard::around(fault::closed(routes).with_state(api), settings.address)
}

/// The answer to a registration or deregistration.
#[derive(Serialize)]
struct Done {
    name: ServiceId,
    id: InstanceId,
    index: u64,
    /// Whether it changed anything.
    changed: bool,
    /// Whether a restart of the registry will remember it.
    stored: bool,
}

impl Done {
    fn of(name: ServiceId, id: InstanceId, Registered { index, changed, stored }: Registered) -> Self {
        Self { name, id, index, changed, stored }
    }
}

/// Names an instance: by its id, or by the ip and port that a default id is made of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    id: Option<InstanceId>,
    #[serde(alias = "address")]
    ip: Option<String>,
    port: Option<u16>,
}

impl Named {
    fn key(self) -> Result<(ServiceId, InstanceId), Fault> {
        let name = ServiceId::conventional(&self.name).map_err(|e| Fault::invalid(e.to_string()))?;
        let id = match (self.id, self.ip, self.port) {
            (Some(id), ..) => id,
            (None, Some(ip), Some(port)) => default_id(&name, &ip, port).map_err(Fault::invalid)?,
            _ => {
                return Err(Fault::invalid(
                    "name the instance: give its `id`, or the `ip` and `port` it registered with",
                ));
            }
        };
        Ok((name, id))
    }
}

async fn register(State(api): State<Api>, request: Request) -> Result<Json<Done>, Fault> {
    let registration: Registration = read(&api, request).await?;
    let (name, id) = (registration.name.clone(), registration.id.clone());
    let registered = api.registry.register(registration).await;
    Ok(Json(Done::of(name, id, registered)))
}

/// The answer to a heartbeat.
#[derive(Serialize)]
struct Beat {
    /// When the next one must come at the latest; `none` if no lease runs.
    ttl: String,
}

async fn heartbeat(State(api): State<Api>, request: Request) -> Result<Json<Beat>, Fault> {
    let (name, id) = read::<Named>(&api, request).await?.key()?;
    let ttl = api.registry.heartbeat(name, id)?;
    Ok(Json(Beat { ttl: ttl.map_or_else(|| "none".to_owned(), text) }))
}

async fn deregister(State(api): State<Api>, request: Request) -> Result<Json<Done>, Fault> {
    let (name, id) = read::<Named>(&api, request).await?.key()?;
    let gone = api.registry.deregister(name.clone(), id.clone()).await?;
    Ok(Json(Done::of(name, id, gone)))
}

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

async fn services(State(api): State<Api>) -> Response {
    let (index, services) = api.registry.services();
    let services = services.into_iter().map(|(name, index, instances)| Summary { name, index, instances });
    indexed(index, Services { index, services: services.collect() })
}

/// What a listing may be asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    index: Option<u64>,
    wait: Option<String>,
}

/// One instance of a listing.
#[derive(Serialize)]
struct Instance {
    #[serde(flatten)]
    registration: Arc<Registration>,
    /// How long its lease still runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<String>,
}

/// The instances of one service; none if nobody registered.
#[derive(Serialize)]
struct Instances {
    name: String,
    index: u64,
    instances: Vec<Instance>,
}

async fn listing(
    State(api): State<Api>,
    Path(name): Path<String>,
    after: Result<Query<After>, QueryRejection>,
) -> Result<Response, Fault> {
    let Query(After { index, wait }) = after.map_err(|e| Fault::invalid(e.body_text()))?;
    let name = ServiceId::conventional(&name).map_err(|e| Fault::invalid(e.to_string()))?;
    let wait = wait.map_or(Ok(WAIT), |w| Span::from_str(&w).map(Span::get));
    let wait = wait.map_err(|e| Fault::invalid(format!("wait: {e}")))?.min(LONGEST_WAIT);
    // Above that many an answer comes at once, as after a wait: heartbeats must always find a connection.
    let poll = api.polls.try_acquire();
    let wait = if poll.is_ok() { wait } else { Duration::ZERO };
    let found = api.registry.listing(name.as_str(), index, wait).await;
    let now = Instant::now();
    let instance = |(registration, end): (Arc<Registration>, Option<Instant>)| Instance {
        registration,
        expires_in: end.map(|end| text(end.saturating_duration_since(now))),
    };
    let instances = found.instances.into_iter().map(instance).collect();
    Ok(indexed(found.index, Instances { name: name.to_string(), index: found.index, instances }))
}

fn indexed(index: u64, body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    response.headers_mut().insert(INDEX, HeaderValue::from(index));
    response
}

/// Reads the body of one who may write.
async fn read<T: DeserializeOwned>(api: &Api, request: Request) -> Result<T, Fault> {
    api.token.check(request.headers())?;
    let bytes = body(request).await?;
    serde_json::from_slice(&bytes).map_err(|e| Fault::invalid(format!("the body is not what is wanted: {e}")))
}

async fn body(request: Request) -> Result<Bytes, Fault> {
    let read = timeout(BODY_TIME, to_bytes(request.into_body(), BODY)).await.map_err(|_| Fault::slow())?;
    read.map_err(|error| match std::error::Error::source(&error) {
        Some(cause) if cause.is::<LengthLimitError>() => Fault::too_large(BODY),
        _ => Fault::invalid("the body broke off"),
    })
}

impl From<NotRegistered> for Fault {
    fn from(error: NotRegistered) -> Self {
        Self::not_registered(error.to_string())
    }
}

/// In whole milliseconds, as it would be written in a file.
fn text(time: Duration) -> String {
    Span::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).to_string()
}
