//! For services that register themselves.

use axum::{
    Json,
    extract::{Request, State},
};
use discovery::provider::embedded::{Registration, default_id};
use model::{InstanceId, ServiceId};
use serde::{Deserialize, Serialize};

use super::{Api, Asking, Done, service, text};
use crate::Fault;

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
        let name = service(&self.name)?;
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

pub(super) async fn register(State(api): State<Api>, request: Request) -> Result<Json<Done>, Fault> {
    let (caller, by, registration) = Asking::of(&api, request).await?.read::<Registration>().await?;
    caller.may_write(registration.name.as_str())?;
    api.register(&by, registration).await
}

/// The answer to a heartbeat.
#[derive(Serialize)]
pub(super) struct Beat {
    /// When the next one must come at the latest; `none` if no lease runs.
    ttl: String,
}

pub(super) async fn heartbeat(State(api): State<Api>, request: Request) -> Result<Json<Beat>, Fault> {
    let (caller, _, named) = Asking::of(&api, request).await?.read::<Named>().await?;
    let (name, id) = named.key()?;
    caller.may_write(name.as_str())?;
    let ttl = api.registry.heartbeat(name, id)?;
    Ok(Json(Beat { ttl: ttl.map_or_else(|| "none".to_owned(), text) }))
}

pub(super) async fn deregister(State(api): State<Api>, request: Request) -> Result<Json<Done>, Fault> {
    let (caller, by, named) = Asking::of(&api, request).await?.read::<Named>().await?;
    let (name, id) = named.key()?;
    caller.may_write(name.as_str())?;
    let gone = api.registry.deregister(&by, name.clone(), id.clone()).await?;
    Ok(Json(Done::of(name, id, gone)))
}
