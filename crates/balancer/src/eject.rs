//! Putting instances out by what their answers say: when, for how long, and never too many.
//!
//! | File | |
//! |---|---|
//! | `eject.rs` | the rules, as configured |
//! | `eject/peers.rs` | what the instances of one service share: the rules at hand, and how many more may go |
//! | `eject/count.rs` | cap and panic: how many may be out |
//! | `eject/outlier.rs` | who is worse than the others: error rate and latency |
//!
//! What only one instance can know (failures in a row) the data path decides at once; what takes comparison is judged
//! every few seconds by whoever runs [`judge`].

mod count;
mod outlier;
mod peers;

use std::{num::NonZeroU16, time::Duration};

pub use count::{Count, Margin};
pub use outlier::{Sample, Verdict, judge};
pub use peers::Peers;

/// When instances of a service are put out for what they answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Eject {
    /// After so many failures in a row; `None`: never for that.
    pub consecutive: Option<NonZeroU16>,
    /// The first rest. Those after it are twice as long at least, and grow with the time that the instance is out.
    pub base: Duration,
    /// The longest rest, and the rest of outliers: what took long to see is not over at once.
    pub longest: Duration,
    /// Most of the service's instances that may be out for what they answer, from 0 to 1. Instances that cannot be
    /// connected to do not count: letting them in would help nobody.
    pub max_share: f64,
    /// If a smaller share than this takes requests, nobody is out for what he answers.
    pub panic: f64,
    /// Whether error rates are compared.
    pub success_rate: Option<SuccessRate>,
    /// Whether latencies are compared.
    pub latency: Option<Latency>,
}

/// When an instance's error rate is that of an outlier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuccessRate {
    /// Requests that an instance must have answered within an interval to be compared.
    pub requests: u32,
    /// Instances there must be to compare.
    pub instances: u32,
    /// How many standard deviations below the mean.
    pub deviations: f64,
}

/// When an instance's latency is that of an outlier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Requests that an instance must have got within an interval to be compared.
    pub requests: u32,
    /// Instances there must be to compare.
    pub instances: u32,
    /// How many times the median of all.
    pub factor: f64,
    /// For how many intervals in a row.
    pub intervals: u8,
}

impl Default for Eject {
    fn default() -> Self {
        Self {
            consecutive: NonZeroU16::new(5),
            base: Duration::from_secs(1),
            longest: Duration::from_secs(30),
            max_share: 0.5,
            panic: 0.3,
            success_rate: Some(SuccessRate::default()),
            latency: Some(Latency::default()),
        }
    }
}

impl Eject {
    /// Nobody is put out for what he answers.
    #[must_use]
    pub fn off() -> Self {
        Self { consecutive: None, success_rate: None, latency: None, ..Self::default() }
    }
}

/// Envoy's, whose reasons hold here too: below five instances one that is bad makes the deviation so large that it hides
/// itself, and below a hundred requests chance speaks louder.
impl Default for SuccessRate {
    fn default() -> Self {
        Self { requests: 100, instances: 5, deviations: 1.9 }
    }
}

/// Slow enough that nobody would call it chance, for half a minute.
impl Default for Latency {
    fn default() -> Self {
        Self { requests: 50, instances: 5, factor: 5.0, intervals: 3 }
    }
}
