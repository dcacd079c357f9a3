//! `services.NAME.eject` and `services.NAME.breaker`.

use serde::Deserialize;
use settings::{Located, OrOff, Span};

use super::Percent;

/// When instances are put out for what they answer. What a service leaves out `"*"` says, key by key.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Eject {
    /// Failures in a row. 5.
    pub consecutive: Option<Located<OrOff<u16>>>,
    /// The first rest; those after it are twice as long at least. 1 s.
    pub base: Option<Span>,
    /// The longest rest. 30 s.
    pub longest: Option<Located<Span>>,
    /// Most of the instances that may be out for what they answer. 50 %.
    pub max_share: Option<Percent>,
    /// If a smaller share takes requests, nobody is out for what he answers. 30 %.
    pub panic: Option<Percent>,
    /// Comparison of error rates.
    pub success_rate: Option<Located<OrOff<SuccessRate>>>,
    /// Comparison of latencies.
    pub latency: Option<Located<OrOff<Latency>>>,
}

/// When an error rate is that of an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SuccessRate {
    /// Requests of an instance within ten seconds, at least.
    pub requests: u32,
    /// Instances, at least.
    pub instances: u32,
    /// Standard deviations below the mean.
    pub deviations: f64,
}

/// When a latency is that of an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Latency {
    /// Requests of an instance within ten seconds, at least.
    pub requests: u32,
    /// Instances, at least.
    pub instances: u32,
    /// Times the median.
    pub factor: f64,
    /// Intervals of ten seconds in a row.
    pub intervals: u8,
}

/// The circuit breaker of a whole service.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// The share of requests that fails.
    pub failures: Percent,
    /// Requests within the window, at least.
    pub requests: u16,
    /// What is looked at.
    pub window: Span,
    /// How long nothing is sent.
    pub open: Span,
}

impl Default for SuccessRate {
    fn default() -> Self {
        let balancer::eject::SuccessRate { requests, instances, deviations } = Default::default();
        Self { requests, instances, deviations }
    }
}

impl Default for Latency {
    fn default() -> Self {
        let balancer::eject::Latency { requests, instances, factor, intervals } = Default::default();
        Self { requests, instances, factor, intervals }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: Percent(50), requests: 20, window: Span::from_secs(10), open: Span::from_secs(5) }
    }
}
