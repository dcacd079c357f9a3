//! What each instance did within the last interval, and who is worse than the others.

use std::{collections::HashMap, sync::Arc};

use balancer::{Cause, Marks, Sample, Verdict, judge};
use model::{ServiceId, UpstreamKey};
use transport::Upstream;

use crate::{Member, Service};

/// Where each instance of each service was at the end of the last interval. Only of services that are compared.
#[derive(Debug, Default)]
pub(super) struct Compare {
    services: Marked,
}

/// Empty of services whose instances have not done anything yet.
pub(super) type Marked = HashMap<ServiceId, Vec<Mark>>;

/// One instance, at the end of an interval.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    key: UpstreamKey,
    marks: Marks,
    /// For how many intervals it was too slow.
    strikes: u8,
}

/// An instance that is to be put out.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) upstream: Arc<Upstream>,
    pub(super) cause: Cause,
    /// The share of requests that succeeded, or seconds.
    pub(super) found: f64,
    pub(super) bound: f64,
}

impl Compare {
    /// The marks of the interval before, to be given to [`service`](Self::service); those of this one are collected anew,
    /// so that services and instances that are gone are forgotten.
    pub(super) fn take(&mut self) -> Marked {
        std::mem::take(&mut self.services)
    }

    /// Ends the interval for one service: who is to be put out.
    pub(super) fn service(&mut self, service: &Service, before: &mut Marked) -> Vec<Found> {
        let rules = &service.policy.guard.eject;
        let least = [rules.success_rate.map(|r| r.instances), rules.latency.map(|r| r.instances)];
        let least = least.into_iter().flatten().min();
        if least.is_none_or(|least| service.members.len() < least as usize) {
            return Vec::new();
        }
        let before = before.remove(&service.id);
        // Of many services most rest, and need no marks.
        if service.members.iter().all(|member| member.upstream.vitals.marks() == Marks::default()) {
            self.services.insert(service.id.clone(), Vec::new());
            return Vec::new();
        }
        let mut after = Vec::with_capacity(service.members.len());
        let (mut samples, mut who) = (Vec::new(), Vec::new());
        for member in service.serving() {
            let Upstream { key, vitals, .. } = &*member.upstream;
            let earlier = before.as_ref().and_then(|before| find(before, *key, after.len()));
            let strikes = earlier.map_or(0, |mark| mark.strikes);
            if let Some(mut sample) = earlier.and_then(|mark| vitals.since(mark.marks)).filter(|s| s.requests > 0) {
                sample.strikes = strikes;
                samples.push(sample);
                who.push((after.len(), member));
            }
            after.push(Mark { key: *key, marks: vitals.marks(), strikes });
        }
        let found = judged(service, &samples, &who, &mut after);
        if !after.is_empty() {
            self.services.insert(service.id.clone(), after);
        }
        found
    }
}

/// Applies the judgement to the marks: who was slow once more, and who is not any longer. One that is put out keeps its
/// strikes: if it comes back as slow as it went, one interval is enough.
fn judged(service: &Service, samples: &[Sample], who: &[(usize, &Member)], after: &mut [Mark]) -> Vec<Found> {
    let mut found = Vec::new();
    let rules = &service.policy.guard.eject;
    let enough = rules.latency.map_or(0, |rule| rule.requests);
    let verdicts = judge(samples, rules, service.vitals.peers.room());
    for ((verdict, sample), (at, member)) in verdicts.into_iter().zip(samples).zip(who) {
        let mark = &mut after[*at];
        mark.strikes = match verdict {
            // A few requests say nothing.
            Verdict::Well if sample.requests < enough => mark.strikes,
            Verdict::Well => 0,
            Verdict::Slow => mark.strikes.saturating_add(1),
            Verdict::Eject { .. } => mark.strikes,
        };
        if let Verdict::Eject { cause, found: value, bound } = verdict {
            found.push(Found { upstream: Arc::clone(&member.upstream), cause, found: value, bound });
        }
    }
    found
}

/// The mark of this instance; most often it is where it was. Where nobody had done anything nobody has one.
fn find(marks: &[Mark], key: UpstreamKey, at: usize) -> Option<Mark> {
    if marks.is_empty() {
        return Some(Mark { key, marks: Marks::default(), strikes: 0 });
    }
    marks.get(at).filter(|m| m.key == key).or_else(|| marks.iter().find(|m| m.key == key)).copied()
}
