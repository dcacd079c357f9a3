//! Puts an instance out and lets it in again: `POST /table/SERVICE/INSTANCE/drain` and `/undrain`.

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::HeaderMap,
    routing::post,
};
use serde::Serialize;

use crate::{Admin, Fault, guard, serve::Peer};

pub(crate) fn routes() -> Router<Admin> {
    Router::new()
        .route(
            "/table/{service}/{instance}/drain",
            post(async |admin, peer, headers, path| turn(admin, peer, headers, path, true).await),
        )
        .route(
            "/table/{service}/{instance}/undrain",
            post(async |admin, peer, headers, path| turn(admin, peer, headers, path, false).await),
        )
}

/// What became of it.
#[derive(Debug, Serialize)]
struct Turned {
    service: String,
    instance: String,
    /// Whether the instance is out by an operator's word now.
    drained: bool,
    /// Whether it was not so before.
    changed: bool,
}

/// There is no password here, and reading does no harm; this does, so it is for those on this machine.
async fn turn(
    State(admin): State<Admin>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    Path((service, instance)): Path<(String, String)>,
    drained: bool,
) -> Result<Json<Turned>, Fault> {
    // A proxy on this machine, this router among them, brings others here.
    if guard::is_brought(&headers) || !peer.ip().to_canonical().is_loopback() {
        return Err(Fault::forbidden("instances are put out and let in from this machine only: ask 127.0.0.1"));
    }
    let changed = admin.operator.drain(&service, &instance, drained).await;
    let changed = changed.ok_or_else(|| Fault::not_found(missing(&admin, &service, &instance)))?;
    Ok(Json(Turned { service, instance, drained, changed }))
}

/// What is not there, and what is.
fn missing(admin: &Admin, service: &str, instance: &str) -> String {
    const SHOWN: usize = 10;
    let Some(found) = admin.table.load().service(service).cloned() else {
        return format!("there is no service {service:?}; GET /table names all");
    };
    let ids: Vec<&str> = found.members.iter().map(|member| member.instance.id.as_str()).take(SHOWN).collect();
    let more = if found.members.len() > SHOWN { ", ..." } else { "" };
    match ids.is_empty() {
        true => format!("there is no instance {instance:?} of {service:?}: it has none"),
        false => format!("there is no instance {instance:?} of {service:?}; there are: {}{more}", ids.join(", ")),
    }
}
