//! Who is worse than the others. Pure: what happened within an interval in, verdicts out.

use std::{cmp::Ordering, time::Duration};

use super::{Eject, Latency, SuccessRate};
use crate::Cause;

/// How sure it must be that an error rate is no accident: the odds against it are e^20, 1 in 500 million. A hundred
/// thousand instances that are judged every ten seconds make 860 million accidents a day possible.
const CERTAINTY: f64 = 20.0;

/// A latency above the median by less than this is no outlier, however small the median: the difference is no harm.
const NOTABLE: Duration = Duration::from_millis(50);

/// What one instance did within an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Requests that ended.
    pub requests: u32,
    /// Those that it failed: 5xx, broken off, timed out, protocol broken.
    pub errors: u32,
    /// Average time to the head, of all that ended.
    pub latency: Duration,
    /// For how many intervals before this one it was too slow.
    pub strikes: u8,
}

/// What it is found to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Like the others, or too quiet to tell.
    Well,
    /// Slower than allowed, for one more interval; or for long enough, and no more may be put out.
    Slow,
    /// To be put out.
    Eject {
        /// [`Cause::SuccessRate`] or [`Cause::Latency`].
        cause: Cause,
        /// What it did: the share of requests that succeeded, or seconds.
        found: f64,
        /// What would have been enough, in the same unit.
        bound: f64,
    },
}

/// Judges the instances of one service against each other, a verdict for each. Only those that take requests belong here;
/// at most `room` of them are put out, the worst first.
#[must_use]
pub fn judge(samples: &[Sample], rules: &Eject, room: usize) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::Well; samples.len()];
    if let Some(rule) = rules.latency {
        slow(samples, rule, &mut verdicts);
    }
    if let Some(rule) = rules.success_rate {
        failing(samples, rule, &mut verdicts);
    }
    let mut bad: Vec<usize> = (0..verdicts.len()).filter(|at| verdicts[*at].badness().is_some()).collect();
    bad.sort_by(|a, b| verdicts[*b].badness().partial_cmp(&verdicts[*a].badness()).unwrap_or(Ordering::Equal));
    for at in bad.into_iter().skip(room) {
        verdicts[at] = match verdicts[at] {
            Verdict::Eject { cause: Cause::Latency, .. } => Verdict::Slow,
            _ => Verdict::Well,
        };
    }
    verdicts
}

impl Verdict {
    /// Orders those to be put out: who fails before who is slow.
    fn badness(self) -> Option<(bool, f64)> {
        match self {
            Self::Eject { cause, found, bound } => {
                let fails = cause == Cause::SuccessRate;
                Some((fails, if fails { bound - found } else { found }))
            }
            _ => None,
        }
    }
}

/// As Envoy: a rate so many standard deviations below the mean. But only if chance is no explanation, which among
/// instances that hardly ever fail a single error would be.
fn failing(samples: &[Sample], rule: SuccessRate, verdicts: &mut [Verdict]) {
    let busy: Vec<(usize, &Sample)> =
        samples.iter().enumerate().filter(|(_, s)| s.requests >= rule.requests.max(1)).collect();
    let hosts = busy.len() as f64;
    if busy.len() < (rule.instances as usize).max(2) {
        return;
    }
    let mean = busy.iter().map(|(_, s)| s.rate()).sum::<f64>() / hosts;
    let variance = busy.iter().map(|(_, s)| (s.rate() - mean).powi(2)).sum::<f64>() / hosts;
    let bound = mean - rule.deviations * variance.sqrt();
    let total = |of: fn(&Sample) -> u32| busy.iter().map(|(_, s)| f64::from(of(s))).sum::<f64>();
    let (requests, errors) = (total(|s| s.requests), total(|s| s.errors));
    for (at, sample) in busy {
        let (own_requests, own_errors) = (f64::from(sample.requests), f64::from(sample.errors));
        // One error and one success more than there were, so that "never yet" is not "never".
        let others = (errors - own_errors + 1.0) / (requests - own_requests + 2.0);
        let own = own_errors / own_requests;
        if sample.rate() < bound && own > others && own_requests * surprise(own, others) > CERTAINTY {
            verdicts[at] = Verdict::Eject { cause: Cause::SuccessRate, found: sample.rate(), bound };
        }
    }
}

/// How surprising it is, for each request, to find this rate where that one is expected (the Kullback-Leibler divergence,
/// in nats). Chernoff: chance does it with a probability of at most e^(-requests * surprise).
fn surprise(found: f64, expected: f64) -> f64 {
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    part(found, expected) + part(1.0 - found, 1.0 - expected)
}

/// The median stands for the others: up to half of them may be slow without moving it.
fn slow(samples: &[Sample], rule: Latency, verdicts: &mut [Verdict]) {
    let busy: Vec<usize> = (0..samples.len()).filter(|at| samples[*at].requests >= rule.requests.max(1)).collect();
    if busy.len() < (rule.instances as usize).max(2) {
        return;
    }
    let mut latencies: Vec<Duration> = busy.iter().map(|at| samples[*at].latency).collect();
    let (_, median, _) = latencies.select_nth_unstable((busy.len() - 1) / 2);
    let bound = median.mul_f64(rule.factor).max(*median + NOTABLE);
    for at in busy {
        let Sample { latency, strikes, .. } = samples[at];
        if latency > bound {
            verdicts[at] = if strikes.saturating_add(1) >= rule.intervals {
                let (found, bound) = (latency.as_secs_f64(), bound.as_secs_f64());
                Verdict::Eject { cause: Cause::Latency, found, bound }
            } else {
                Verdict::Slow
            };
        }
    }
}

impl Sample {
    fn rate(&self) -> f64 {
        1.0 - f64::from(self.errors.min(self.requests)) / f64::from(self.requests.max(1))
    }
}

#[cfg(test)]
mod tests;
