//! The counters of the data path and what discovery knows of itself, for Prometheus.

use std::{fmt, sync::Arc, time::Duration};

use axum::{Router, extract, http::header, response::IntoResponse, routing::get};
use balancer::{Admission, Cause, Vitals, Weighing};
use discovery::{
    Table, TableCell,
    freshness::Freshness,
    health::{Findings, Totals as Looks, check::What},
    outliers::Totals,
    status::{FirstUse, Source, State, Status},
    subscriptions::Counts,
};
use model::Tick;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use telemetry::metrics::{CONTENT_TYPE, encode};
use tokio::sync::watch;
use transport::clock;

use crate::Admin;

pub(crate) fn routes() -> Router<Admin> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(extract::State(admin): extract::State<Admin>) -> impl IntoResponse {
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
    /// What active checks find.
    pub findings: Arc<Findings>,
    /// How often instances were put out.
    pub ejections: Arc<Totals>,
}

impl Collector for DiscoveryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let table = self.table.load();
        gauge(&mut encoder, "table_generation", "Successors of the routing table, counted", table.generation)?;
        gauge(&mut encoder, "table_services", "Services in the routing table", table.len() as u64)?;
        let members = Members::of(&table);
        let help = "Instances that are used only if no other is left: withdrawn under suspicion, or too old";
        gauge(&mut encoder, "table_last_resort", help, members.resort)?;
        gauge(&mut encoder, "weights_ignored", "Instances whose capacity or load makes no sense", members.senseless)?;
        let help = "Always 1; the digest is equal on two routers whose registries say the same";
        let digest = format!("{:016x}", table.digest());
        let mut info = encoder.encode_descriptor("table", help, None, MetricType::Info)?;
        info.encode_info(&[("digest", digest.as_str())])?;
        ejections(&mut encoder, &self.ejections, &members)?;
        let status = Arc::clone(&self.status.borrow());
        sources(&mut encoder, &status)?;
        checks(&mut encoder, &self.findings.totals())?;
        if let Some(first_use) = &status.first_use {
            subscriptions(&mut encoder, first_use)?;
        }
        let help = "From an update of a source to the table that holds it";
        let unit = Unit::Seconds;
        let publish = encoder.encode_descriptor("publish", help, Some(&unit), MetricType::Histogram)?;
        histogram(&self.freshness, publish)
    }
}

/// How many members of the table are something special. There may be a hundred thousand, so all is found in one walk, and
/// metadata are read of services alone that weigh by them.
#[derive(Debug, Default)]
struct Members {
    resort: u64,
    /// With metadata that should count as weight and cannot.
    senseless: u64,
    /// Resting, by cause.
    out: [u64; Cause::ALL.len()],
    held: u64,
}

impl Members {
    fn of(table: &Table) -> Self {
        let (mut counts, now) = (Self::default(), clock::tick());
        for service in table.services() {
            let weighing = Some(&service.policy.balance.weighing).filter(|weighing| !weighing.is_off());
            for member in &service.members {
                counts.resort += u64::from(member.resort);
                let is_odd = |weighing: &Weighing| weighing.senseless(&member.instance).next().is_some();
                counts.senseless += u64::from(weighing.is_some_and(is_odd));
                counts.admission(&member.upstream.vitals, now);
            }
        }
        counts
    }

    fn admission(&mut self, vitals: &Vitals, now: Tick) {
        let state = vitals.state(now);
        // Nearly all are in.
        if state == Admission::In {
            return;
        }
        if let Some((cause, _)) = vitals.rest() {
            self.out[Cause::ALL.iter().position(|c| *c == cause).unwrap_or_default()] += 1;
        }
        self.held += u64::from(matches!(state, Admission::Held { .. }));
    }
}

/// What active checks did and found.
fn checks(encoder: &mut DescriptorEncoder<'_>, totals: &Looks) -> fmt::Result {
    for (name, help, counts) in [
        ("health_checks", "Looks at instances", &totals.looks),
        ("health_check_failures", "Looks at instances that failed", &totals.failures),
    ] {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (kind, count) in What::KINDS.iter().zip(counts) {
            ConstCounter::new(*count).encode(metric.encode_family(&[("kind", *kind)])?)?;
        }
    }
    gauge(encoder, "health_watched", "Instances that are looked at", totals.watched)?;
    gauge(encoder, "health_down", "Instances that are out because a check fails", totals.down)?;
    gauge(encoder, "health_unproven", "New instances that have not passed their checks yet", totals.unproven)
}

/// Who is out, and how often somebody was put out.
fn ejections(encoder: &mut DescriptorEncoder<'_>, totals: &Totals, members: &Members) -> fmt::Result {
    let help = "Instances put out, by cause";
    let mut metric = encoder.encode_descriptor("ejections", help, None, MetricType::Counter)?;
    for (cause, count) in totals.ejections() {
        ConstCounter::new(count).encode(metric.encode_family(&[("cause", cause.as_str())])?)?;
    }
    let help = "Instances that are out now and come back by themselves, by cause";
    let mut metric = encoder.encode_descriptor("ejected", help, None, MetricType::Gauge)?;
    for (cause, count) in Cause::ALL.iter().zip(members.out) {
        ConstGauge::new(count).encode(metric.encode_family(&[("cause", cause.as_str())])?)?;
    }
    gauge(encoder, "held", "Instances that a check or an operator keeps out now", members.held)?;
    let help =
        "Times all instances of a service that were out for what they answer were let in, because too few were left";
    counter(encoder, "ejection_panics", help, totals.panics())?;
    counter(encoder, "circuits_opened", "Times the circuit breaker of a service opened", totals.opened())
}

/// What is known of each source.
fn sources(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let now = clock::tick();
    let live = |s: &Source| u64::from(s.state == State::Live);
    let help = "Whether the source answers (1), or what it said stands and ages (0)";
    family(encoder, status, "source_up", help, MetricType::Gauge, live)?;
    let help = "For how many seconds the source has been in its state";
    family(encoder, status, "source_state_seconds", help, MetricType::Gauge, |s| now.since(s.since).as_secs())?;
    let help = "How many seconds ago the source answered last, also if nothing was new; 0 before the first time";
    let heard = |s: &Source| s.pulse.heard().map_or(0, |at| now.since(at).as_secs());
    family(encoder, status, "source_heard_seconds", help, MetricType::Gauge, heard)?;
    let help = "Services the source has not spoken of since the start, so that what is remembered stands";
    family(encoder, status, "source_remembered_services", help, MetricType::Gauge, |s| s.inherited.len() as u64)?;
    let help = "Services the source cannot tell about";
    family(encoder, status, "source_doubts", help, MetricType::Gauge, |s| s.doubts.len() as u64)?;
    let help = "Age in seconds of the oldest that stands of what the source said: 0 as long as it is certain of all";
    family(encoder, status, "source_oldest_seconds", help, MetricType::Gauge, |s| s.oldest(now).as_secs())?;
    courtesy(encoder, status, now)?;
    let help = "Times the source told of instances";
    family(encoder, status, "source_updates", help, MetricType::Counter, |s| s.updates)?;
    let help = "Withdrawals of the source that looked like a fault, so that the instances became last resort";
    family(encoder, status, "source_suspected_withdrawals", help, MetricType::Counter, |s| s.suspected)?;
    let help = "Records of the source that could not be used";
    family(encoder, status, "source_skipped_records", help, MetricType::Counter, |s| s.skipped.count)?;
    let help = "From when the source saw a change to the table that every new request reads";
    let unit = Unit::Seconds;
    let mut publish = encoder.encode_descriptor("source_publish", help, Some(&unit), MetricType::Histogram)?;
    for source in &status.sources {
        histogram(&source.freshness, publish.encode_family(&[("source", &*source.name)])?)?;
    }
    Ok(())
}

/// What the registry has from us.
fn courtesy(encoder: &mut DescriptorEncoder<'_>, status: &Status, now: Tick) -> fmt::Result {
    let help = "Questions put to the registry, also those that found no connection";
    family(encoder, status, "source_questions", help, MetricType::Counter, |s| s.pulse.questions().count())?;
    let help = "Times the source failed, as a whole or to tell of one service; each is followed by another try";
    family(encoder, status, "source_failures", help, MetricType::Counter, |s| s.pulse.failures())?;
    let help = "Times everything the source holds was read: at the start, after outages and from time to time";
    family(encoder, status, "source_resyncs", help, MetricType::Counter, |s| s.pulse.reads())?;
    let help = "For how long a source that fails is left alone between two tries, now; 0 as long as it does well";
    let unit = Unit::Seconds;
    let mut pause = encoder.encode_descriptor("source_pause", help, Some(&unit), MetricType::Gauge)?;
    for source in &status.sources {
        let label = [("source", &*source.name)];
        ConstGauge::new(source.pulse.pause(now).as_secs_f64()).encode(pause.encode_family(&label)?)?;
    }
    Ok(())
}

/// What is subscribed to on first use, if anything may be.
fn subscriptions(encoder: &mut DescriptorEncoder<'_>, first_use: &FirstUse) -> fmt::Result {
    let FirstUse { at_most, services, unanswered, counts, dropped } = first_use;
    let help = "Services that registries are asked about because clients named them";
    gauge(encoder, "subscriptions", help, *services as u64)?;
    let help = "Of the subscriptions, those no registry has answered";
    gauge(encoder, "subscriptions_unanswered", help, *unanswered as u64)?;
    gauge(encoder, "subscriptions_at_most", "How many subscriptions there may be", *at_most as u64)?;
    let Counts { asked, limited, full, unknown, unanswered, idle } = counts;
    let help = "Names that clients brought up, by whether registries were asked, and if not, why";
    let mut wants = encoder.encode_descriptor("subscription_wants", help, None, MetricType::Counter)?;
    for (result, count) in [("asked", asked), ("limited", limited), ("full", full), ("dropped", dropped)] {
        ConstCounter::new(*count).encode(wants.encode_family(&[("result", result)])?)?;
    }
    let help = "Subscriptions that ended, by cause";
    let mut ends = encoder.encode_descriptor("subscription_ends", help, None, MetricType::Counter)?;
    for (cause, count) in [("idle", idle), ("unknown", unknown), ("unanswered", unanswered)] {
        ConstCounter::new(*count).encode(ends.encode_family(&[("cause", cause)])?)?;
    }
    Ok(())
}

/// One number of each source.
fn family(
    encoder: &mut DescriptorEncoder<'_>,
    status: &Status,
    name: &str,
    help: &str,
    kind: MetricType,
    value: impl Fn(&Source) -> u64,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for source in &status.sources {
        let label = [("source", &*source.name)];
        let one = metric.encode_family(&label)?;
        match kind {
            MetricType::Counter => ConstCounter::new(value(source)).encode(one)?,
            _ => ConstGauge::new(value(source)).encode(one)?,
        }
    }
    Ok(())
}

fn histogram(freshness: &Freshness, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    let bound = |bound: Option<Duration>| bound.as_ref().map_or(f64::INFINITY, Duration::as_secs_f64);
    let counts: Vec<(f64, u64)> = freshness.counts().map(|(at, count)| (bound(at), count)).collect();
    let count = counts.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(freshness.sum().as_secs_f64(), count, &counts, None)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
