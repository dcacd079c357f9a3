//! `POST /explain` of the admin listener.

use std::sync::Arc;

use admin::Fault;
use axum::{Json, Router, body::Bytes, extract::State, routing::post};
use discovery::TableCell;
use tokio::sync::watch;

use super::{Explanation, Known, Question, explain};
use crate::plan::Plan;

/// What a running router decides by.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The plan that holds.
    pub plan: watch::Receiver<Arc<Plan>>,
    /// The table that holds.
    pub table: Arc<TableCell>,
}

/// The API.
pub fn routes(sources: Sources) -> Router {
    Router::new().route("/explain", post(answer)).with_state(sources)
}

async fn answer(State(sources): State<Sources>, body: Bytes) -> Result<Json<Explanation>, Fault> {
    let question: Question = serde_json::from_slice(&body)
        .map_err(|error| Fault::invalid(format!("{error}; write {{\"method\": \"GET\", \"path\": \"/v1/pets\"}}")))?;
    let (plan, table) = (Arc::clone(&sources.plan.borrow()), sources.table.load());
    explain(&plan, Known::Table(&table), &question).map(Json).map_err(Fault::invalid)
}
