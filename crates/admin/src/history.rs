//! What happened to services and sources, and why.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::get,
};
use discovery::history::{Event, Filter};
use serde::{Deserialize, Serialize};

use crate::{Admin, Fault};

pub(crate) fn routes() -> Router<Admin> {
    Router::new().route("/history", get(history))
}

/// The answer; `E` is the event as it is written or read.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer<E = Event> {
    /// The number of the newest event, also if it did not pass the filter: ask with `since` of this for what is new.
    pub last: u64,
    /// The table's generation.
    pub generation: u64,
    /// The table's digest.
    pub digest: String,
    /// The events, oldest first.
    pub events: Vec<E>,
}

async fn history(
    State(admin): State<Admin>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Answer<Arc<Event>>>, Fault> {
    let Query(filter) = filter.map_err(|rejection| Fault::invalid(rejection.body_text()))?;
    // In this order: an event between the two is told again rather than never.
    let last = admin.history.last();
    let events = admin.history.select(&filter);
    let table = admin.table.load();
    Ok(Json(Answer { last, generation: table.generation, digest: format!("{:016x}", table.digest()), events }))
}
