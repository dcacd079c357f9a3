//! The counters of the data path, for Prometheus.

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use telemetry::metrics::{CONTENT_TYPE, encode};

use crate::Admin;

pub(crate) fn routes() -> Router<Admin> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], encode(&admin.metrics))
}
