//! What each core has in hand, for the acceptor, for the core itself and for the operator.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};

/// What one core has in hand.
#[derive(Debug, Default)]
pub struct Load {
    /// Written by the acceptor and the core, read by the acceptor to choose the least busy.
    connections: AtomicUsize,
    /// Written by the core alone.
    requests: AtomicU32,
    /// How late the core comes to its work, in milliseconds. Written by the core alone.
    lag: AtomicU32,
}

impl Load {
    /// Client connections now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// One connection more, told by the acceptor as it hands it over, so that it counts at once.
    pub fn add(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// One connection less.
    pub fn remove(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Requests in hand: those whose answer is not complete yet.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    /// A request begins. For the core alone: one writer needs no atomic addition.
    pub fn begin(&self) {
        self.requests.store(self.requests() + 1, Relaxed);
    }

    /// A request is over. For the core alone.
    pub fn end(&self) {
        self.requests.store(self.requests().saturating_sub(1), Relaxed);
    }

    /// How late the core comes to its work.
    #[must_use]
    pub fn lag(&self) -> Duration {
        Duration::from_millis(self.lag.load(Relaxed).into())
    }

    /// It came so late to its work, in whole milliseconds.
    pub fn set_lag(&self, lag: Duration) {
        self.lag.store(u32::try_from(lag.as_millis()).unwrap_or(u32::MAX), Relaxed);
    }
}

/// The loads of all cores as metrics, read when somebody asks.
#[derive(Debug, Clone)]
pub struct Loads(pub Arc<[Arc<Load>]>);

impl Collector for Loads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let numbered = || self.0.iter().enumerate().map(|(core, load)| ([("core", core.to_string())], load));
        let help = "Requests in hand of each core";
        let mut requests = encoder.encode_descriptor("core_requests", help, None, MetricType::Gauge)?;
        for (core, load) in numbered() {
            ConstGauge::new(i64::from(load.requests())).encode(requests.encode_family(&core)?)?;
        }
        let help = "How late each core comes to its work";
        let mut lag = encoder.encode_descriptor("core_lag", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (core, load) in numbered() {
            ConstGauge::new(load.lag().as_secs_f64()).encode(lag.encode_family(&core)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, encode};

    #[test]
    fn what_cores_have_in_hand_is_shown() {
        let (_, mut registry) = Metrics::new();
        let loads = Loads([Arc::new(Load::default()), Arc::new(Load::default())].into());
        registry.register_collector(Box::new(loads.clone()));
        loads.0[1].begin();
        loads.0[1].begin();
        loads.0[1].end();
        loads.0[0].end();
        loads.0[0].set_lag(Duration::from_millis(1500));
        let text = encode(&registry);
        for line in [
            "pointsman_core_requests{core=\"0\"} 0",
            "pointsman_core_requests{core=\"1\"} 1",
            "pointsman_core_lag_seconds{core=\"0\"} 1.5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
