//! The HTTP API of the embedded registry.
//!
//! | request | does | in |
//! |---|---|---|
//! | `POST /registry/register` | registers an instance, or changes or renews its registration | `write` |
//! | `POST /registry/heartbeat` | renews its lease; 404 `NOT_REGISTERED` if it must register first | `write` |
//! | `POST /registry/deregister` | takes it out | `write` |
//! | `PUT /registry/services/{name}/instances/{id}` | the same as `register`, for tools that declare what shall be | `declare` |
//! | `DELETE /registry/services/{name}/instances/{id}` | takes it out, if it is there | `declare` |
//! | `PUT /registry/services/{name}/instances/{id}/maintenance` | begins or ends maintenance | `declare` |
//! | `GET /registry/services` | names all services | `read` |
//! | `GET /registry/services/{name}` | lists one; with `?index=N&wait=30s` as soon as it has a higher index than N | `read` |
//! | `GET /registry/services/{name}/instances/{id}` | shows one instance | `read` |
//! | `GET /registry/audit` | the last changes, and who made them | `read` |
//! | `GET /registry/events`, `GET /registry/services/{name}/events` | changes as server-sent events | `events` |
//! | `GET /registry/export`, `POST /registry/import` | all of it at once | `transfer` |

mod access;
mod declare;
mod events;
mod read;
mod tokens;
mod transfer;
mod write;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderMap, HeaderValue},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use discovery::provider::embedded::{By, Mode, NotRegistered, Registered, Registration, Registry};
use model::{InstanceId, ServiceId};
use serde::{Serialize, de::DeserializeOwned};
use settings::Span;
use tokio::sync::Semaphore;

use self::{access::Caller, tokens::Tokens};
use crate::{Fault, body, fault, guard, serve::Peer};

#[cfg(test)]
mod tests;

/// Largest body: a registration with much metadata has a few kilobytes.
const BODY: usize = 64 * 1024;
/// Long polls and event streams that wait at once: half of the connections the API takes.
const WATCHES: usize = 512;
/// Answers with all there is (exports, and the first event of a stream) that are in memory at once: each has megabytes.
const WHOLES: usize = 4;
/// Carries the index of a listing, for clients that do not parse the body.
const INDEX: &str = "x-pointsman-index";

#[derive(Debug, Clone)]
struct Api {
    registry: Registry,
    tokens: Arc<Tokens>,
    watches: Arc<Semaphore>,
    wholes: Arc<Semaphore>,
    imports: Arc<Semaphore>,
}

/// The API of this registry, for a listener at this address. Who may do what the registry's settings say, at each
/// request.
pub fn app(registry: Registry, address: SocketAddr) -> Router {
    let limit = |most| Arc::new(Semaphore::new(most));
    let api =
        Api { registry, tokens: Arc::default(), watches: limit(WATCHES), wholes: limit(WHOLES), imports: limit(1) };
    let instance = put(declare::upsert).delete(declare::delete).get(read::instance);
    let routes = Router::new()
        .route("/registry/register", post(write::register))
        .route("/registry/heartbeat", post(write::heartbeat))
        .route("/registry/deregister", post(write::deregister))
        .route("/registry/services", get(read::services))
        .route("/registry/services/{name}", get(read::listing))
        .route("/registry/services/{name}/events", get(events::of_service))
        .route("/registry/services/{name}/instances/{id}", instance)
        .route("/registry/services/{name}/instances/{id}/maintenance", put(declare::maintenance))
        .route("/registry/events", get(events::of_all))
        .route("/registry/audit", get(read::audit))
        .route("/registry/export", get(transfer::export))
        .route("/registry/import", post(transfer::import));
    guard::around(fault::closed(routes).with_state(api), address)
}

/// The answer to a change.
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

impl Api {
    /// Registers for one who may: the service is his, and the checks go where checks may go.
    async fn register(&self, by: &By, registration: Registration) -> Result<Json<Done>, Fault> {
        self.registry.settings().allows(&registration).map_err(Fault::forbidden)?;
        self.registry.room(std::slice::from_ref(&registration), Mode::Merge).map_err(Fault::unavailable)?;
        let (name, id) = (registration.name.clone(), registration.id.clone());
        let registered = self.registry.register(by, registration).await;
        Ok(Json(Done::of(name, id, registered)))
    }
}

/// Who asks: what is needed of a request before its body is read.
#[derive(Debug)]
struct Asking {
    caller: Caller,
    by: By,
    body: axum::body::Body,
}

impl Asking {
    /// Finds out who asks.
    async fn of(api: &Api, request: Request) -> Result<Self, Fault> {
        let (head, body) = request.into_parts();
        let caller = Caller::of(api.registry.settings(), &api.tokens, &head.headers).await?;
        let from = head.extensions.get::<Peer>().map(|peer| peer.0);
        let by = By { who: caller.name().into(), from };
        Ok(Self { caller, by, body })
    }

    /// Reads the body.
    async fn read<T: DeserializeOwned>(self) -> Result<(Caller, By, T), Fault> {
        let bytes = body::read(self.body, BODY).await?;
        let read = serde_json::from_slice(&bytes);
        let read = read.map_err(|e| Fault::invalid(format!("the body is not what is wanted: {e}")))?;
        Ok((self.caller, self.by, read))
    }
}

/// The service and instance a path names.
fn named(name: &str, id: &str) -> Result<(ServiceId, InstanceId), Fault> {
    let id = InstanceId::new(id).map_err(|e| Fault::invalid(e.to_string()))?;
    Ok((service(name)?, id))
}

/// The service a path names.
fn service(name: &str) -> Result<ServiceId, Fault> {
    ServiceId::conventional(name).map_err(|e| Fault::invalid(e.to_string()))
}

/// Who reads, if reading needs somebody.
async fn reader(api: &Api, headers: &HeaderMap) -> Result<Caller, Fault> {
    let settings = api.registry.settings();
    if settings.protect_reads { Caller::of(settings, &api.tokens, headers).await } else { Ok(Caller::reader(settings)) }
}

fn indexed(index: u64, body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    response.headers_mut().insert(INDEX, HeaderValue::from(index));
    response
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
