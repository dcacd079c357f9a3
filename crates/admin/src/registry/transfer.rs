//! The whole content at once, for backups, moves and rehearsals.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use discovery::provider::embedded::{Imported, Mode, Registration, Settings};
use futures_util::stream;
use model::{InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use super::{Api, Asking, access::Caller, body, reader};
use crate::Fault;

/// The version of the format.
const FORMAT: u32 = 1;
/// Largest import: about a hundred thousand instances.
const BODY: usize = 64 * 1024 * 1024;
/// How long a transfer may wait for those before it.
const TURN: Duration = Duration::from_secs(10);
/// An export is sent in pieces of this size.
const PIECE: usize = 64 * 1024;

/// All registrations.
#[derive(Serialize)]
pub(super) struct Export {
    format: u32,
    index: u64,
    instances: Vec<Arc<Registration>>,
}

pub(super) async fn export(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Fault> {
    let caller = reader(&api, &headers).await?;
    let permit = turn(&api.wholes).await?;
    let (index, mut instances) = api.registry.export();
    instances.retain(|registration| caller.rights().may_read(registration.name.as_str()));
    let export = Export { format: FORMAT, index, instances };
    // Megabytes of JSON are written, and read, elsewhere: on this thread everything else waits.
    let written = spawn_blocking(move || serde_json::to_vec(&export)).await.map_err(|_| ending())?;
    let written = Bytes::from(written.map_err(|e| Fault::unavailable(format!("cannot be written: {e}")))?);
    let head =
        [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_LENGTH, written.len().to_string())];
    Ok((head, pieces(written, permit)).into_response())
}

/// Waits for one's turn, so that few have megabytes in hand.
async fn turn(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Fault> {
    let permit = timeout(TURN, of.clone().acquire_owned()).await;
    permit
        .map_err(|_| Fault::unavailable("others are being served all there is; try again later"))?
        .map_err(|_| ending())
}

fn ending() -> Fault {
    Fault::unavailable("the router is ending")
}

/// An answer that keeps its permit until it is sent.
fn pieces(all: Bytes, permit: OwnedSemaphorePermit) -> Body {
    Body::from_stream(stream::unfold((all, permit), async |(mut rest, permit)| {
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then_some((Ok::<_, io::Error>(piece), (rest, permit)))
    }))
}

/// How to import.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    mode: Mode,
    #[serde(default)]
    dry_run: bool,
}

/// What an export has, checked again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    format: u32,
    #[serde(default, rename = "index")]
    _index: u64,
    instances: Vec<Registration>,
}

/// What an import did, or would do.
#[derive(Serialize)]
pub(super) struct Told {
    dry_run: bool,
    index: u64,
    changed: bool,
    stored: bool,
    added: Vec<Named>,
    altered: Vec<Named>,
    removed: Vec<Named>,
    unchanged: usize,
}

#[derive(Serialize)]
struct Named {
    name: ServiceId,
    id: InstanceId,
}

/// What is to be taken in, if all of it may be. Blocks for as long as megabytes take.
fn read(bytes: &[u8], caller: &Caller, settings: &Settings) -> Result<Vec<Registration>, Fault> {
    let import: Import =
        serde_json::from_slice(bytes).map_err(|e| Fault::invalid(format!("the body is no export: {e}")))?;
    let Import { format, instances, .. } = import;
    if format != FORMAT {
        return Err(Fault::invalid(format!("format {format} is not known; this registry reads {FORMAT}")));
    }
    for registration in &instances {
        caller.may_write(registration.name.as_str())?;
        settings.allows(registration).map_err(Fault::forbidden)?;
    }
    Ok(instances)
}

pub(super) async fn import(
    State(api): State<Api>,
    how: Result<Query<How>, QueryRejection>,
    request: Request,
) -> Result<Json<Told>, Fault> {
    let Query(How { mode, dry_run }) = how.map_err(|e| Fault::invalid(e.body_text()))?;
    let Asking { caller, by, body: sent } = Asking::of(&api, request).await?;
    if mode == Mode::Replace && !caller.rights().may_write_all() {
        return Err(Fault::forbidden(
            "mode=replace takes out what the import does not name, so it needs the right to write \"*\"",
        ));
    }
    if !caller.rights().may_write_any() {
        return Err(Fault::forbidden("an import writes, and this token may write no service"));
    }
    let turn = turn(&api.imports).await?;
    let bytes = body::read(sent, BODY).await?;
    let (registry, settings) = (api.registry.clone(), api.registry.settings());
    let read = spawn_blocking(move || read(&bytes, &caller, &settings)).await.map_err(|_| ending())??;
    registry.room(&read, mode).map_err(Fault::unavailable)?;
    // A client that leaves in the middle leaves no half of it.
    let importing = tokio::spawn(async move {
        let imported = registry.import(&by, read, mode, dry_run).await;
        drop(turn);
        imported
    });
    let Imported { index, stored, added, altered, removed, unchanged } = importing.await.map_err(|_| ending())?;
    let changed = added.len() + altered.len() + removed.len() > 0;
    let named = |keys: Vec<(ServiceId, InstanceId)>| keys.into_iter().map(|(name, id)| Named { name, id }).collect();
    let (added, altered, removed) = (named(added), named(altered), named(removed));
    Ok(Json(Told { dry_run, index, changed, stored, added, altered, removed, unchanged }))
}
