//! The counters of the data path and what discovery knows of itself, for Prometheus.

use std::{fmt, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use discovery::{TableCell, freshness::Freshness, status::Status};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use telemetry::metrics::{CONTENT_TYPE, encode};
use tokio::sync::watch;

use crate::Admin;

pub(crate) fn routes() -> Router<Admin> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], encode(&admin.metrics))
}

/// What discovery knows of itself, read when somebody asks.
#[derive(Debug)]
pub struct DiscoveryMetrics {
    /// The current table.
    pub table: Arc<TableCell>,
    /// What the sources are doing.
    pub status: watch::Receiver<Arc<Status>>,
    /// How long changes took to be published.
    pub freshness: Arc<Freshness>,
}

impl Collector for DiscoveryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let table = self.table.load();
        gauge(&mut encoder, "table_generation", "Successors of the routing table, counted", table.generation)?;
        gauge(&mut encoder, "table_services", "Services in the routing table", table.len() as u64)?;
        let status = Arc::clone(&self.status.borrow());
        let help = "Whether the source answers (1), or what it said stands and ages (0)";
        let mut up = encoder.encode_descriptor("source_up", help, None, MetricType::Gauge)?;
        for source in &status.sources {
            let live = matches!(source.state, discovery::status::State::Live);
            ConstGauge::new(u64::from(live)).encode(up.encode_family(&[("source", &*source.name)])?)?;
        }
        let help = "Records of the source that could not be used";
        let mut skipped = encoder.encode_descriptor("source_skipped_records", help, None, MetricType::Counter)?;
        for source in &status.sources {
            ConstCounter::new(source.skipped).encode(skipped.encode_family(&[("source", &*source.name)])?)?;
        }
        let help = "From an update of a source to the table that holds it";
        let unit = Unit::Seconds;
        self.publish(encoder.encode_descriptor("publish", help, Some(&unit), MetricType::Histogram)?)
    }
}

impl DiscoveryMetrics {
    fn publish(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts: Vec<(f64, u64)> = self
            .freshness
            .counts()
            .map(|(bound, count)| (bound.as_ref().map_or(f64::MAX, Duration::as_secs_f64), count))
            .collect();
        let count = counts.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.freshness.sum().as_secs_f64(), count, &counts, None)
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
