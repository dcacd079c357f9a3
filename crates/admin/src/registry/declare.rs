//! For tools that declare what shall be, and for operators. Saying it twice changes nothing the second time.

use axum::{
    Json,
    extract::{Path, Request, State},
};
use discovery::provider::embedded::{LONGEST, Registered, Registration};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Api, Asking, Done, named};
use crate::Fault;

/// Registers the instance the path names, as the body describes it. Who declares does not send heartbeats, so without a
/// `ttl` it stays until it is taken out.
pub(super) async fn upsert(
    State(api): State<Api>,
    Path((name, id)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Done>, Fault> {
    let (name, id) = named(&name, &id)?;
    let asking = Asking::of(&api, request).await?;
    asking.caller.may_write(name.as_str())?;
    let (_, by, mut body) = asking.read::<Map<String, Value>>().await?;
    for (field, value) in [("name", name.as_str()), ("id", id.as_str())] {
        let value = Value::from(value);
        if body.insert(field.to_owned(), value.clone()).is_some_and(|given| given != value) {
            return Err(Fault::invalid(format!("{field} in the body is not the one in the path; leave it out")));
        }
    }
    body.entry("ttl").or_insert_with(|| "none".into());
    let registration: Registration = serde_json::from_value(Value::Object(body))
        .map_err(|e| Fault::invalid(format!("the body is not what is wanted: {e}")))?;
    api.register(&by, registration).await
}

/// Takes the instance out, if it is there.
pub(super) async fn delete(
    State(api): State<Api>,
    Path((name, id)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Done>, Fault> {
    let (name, id) = named(&name, &id)?;
    let Asking { caller, by, .. } = Asking::of(&api, request).await?;
    caller.may_write(name.as_str())?;
    let gone = match api.registry.deregister(&by, name.clone(), id.clone()).await {
        Ok(gone) => gone,
        Err(_) => Registered { index: api.registry.index(), changed: false, stored: api.registry.settled().await },
    };
    Ok(Json(Done::of(name, id, gone)))
}

/// What shall be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Maintenance {
    enabled: bool,
    #[serde(default)]
    reason: String,
}

/// Begins maintenance, in which an instance finishes what it has and gets nothing new, or ends it.
pub(super) async fn maintenance(
    State(api): State<Api>,
    Path((name, id)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Done>, Fault> {
    let (name, id) = named(&name, &id)?;
    let asking = Asking::of(&api, request).await?;
    asking.caller.may_write(name.as_str())?;
    let (_, by, Maintenance { enabled, reason }) = asking.read().await?;
    if reason.len() > LONGEST {
        return Err(Fault::invalid(format!("reason is {} bytes long; at most {LONGEST}", reason.len())));
    }
    let done = api.registry.maintain(&by, name.clone(), id.clone(), enabled.then_some(reason)).await?;
    Ok(Json(Done::of(name, id, done)))
}
