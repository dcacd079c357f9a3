//! `POST /explain` of the admin listener.

use std::sync::Arc;

use admin::Fault;
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use discovery::TableCell;
use tokio::sync::watch;

use super::{Known, Question, explain};
use crate::plan::Plan;

/// Largest body: more than any head that a router lets in as it comes.
const BODY: usize = 64 * 1024;

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

async fn answer(State(sources): State<Sources>, body: Body) -> Result<Response, Fault> {
    let body = admin::body::read(body, BODY).await?;
    let question: Question = serde_json::from_slice(&body)
        .map_err(|error| Fault::invalid(format!("{error}; write {{\"method\": \"GET\", \"path\": \"/v1/pets\"}}")))?;
    let (plan, table) = (Arc::clone(&sources.plan.borrow()), sources.table.load());
    // Thousands of rules or instances take their time, and this thread has others to serve.
    let told = tokio::task::spawn_blocking(move || {
        explain(&plan, Known::Table(&table), &question).map(|told| Json(told).into_response())
    });
    told.await.map_err(|_| Fault::unavailable("the router ends"))?.map_err(Fault::invalid)
}
