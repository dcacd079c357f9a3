//! What happened, told: an event in the history and one line in the log.

use std::{slice::from_ref, time::Duration};

use balancer::{Cause, breaker::Circuit, eject::Count};

use super::compare::Found;
use crate::{
    Member, Service,
    history::{About, History, What},
};

fn about(service: &Service, cause: String) -> About<'_> {
    About { service: Some(&service.id), source: None, cause }
}

/// The data path put an instance out. That it cannot be connected to is in the log already, with the error.
pub(super) fn ejected(history: &History, service: &Service, member: &Member, cause: Cause) {
    let why = match cause {
        Cause::Connect => "no connection can be made",
        Cause::Consecutive => "it failed too many requests in a row",
        Cause::SuccessRate => "it failed more requests than the others",
        Cause::Latency => "it was slower than the others",
    };
    if cause != Cause::Connect {
        let instance = member.upstream.label();
        tracing::warn!(service = %service.id, instance, cause = cause.as_str(), "an instance rests: {why}");
    }
    history.record(What::Ejected, about(service, why.to_owned()), from_ref(&member.instance));
}

/// A comparison put an instance out.
pub(super) fn outlier(history: &History, service: &Service, found: &Found) {
    let Found { upstream, cause, found, bound } = found;
    let (instance, cause) = (upstream.label(), *cause);
    let why = match cause {
        Cause::Latency => format!("it took {found:.3} s, where {bound:.3} s is the most for its peers"),
        _ => format!(
            "{:.1} % of its requests succeeded, where {:.1} % is the least for its peers",
            found * 100.0,
            bound * 100.0
        ),
    };
    tracing::warn!(service = %service.id, instance, cause = cause.as_str(), "an instance rests: {why}");
    let member = service.members.iter().find(|m| m.upstream.key == upstream.key);
    history.record(What::Ejected, about(service, why), member.map_or(&[], |m| from_ref(&m.instance)));
}

/// An instance takes requests again.
pub(super) fn returned(history: &History, service: &Service, member: &Member, cause: Cause, after: Duration) {
    let (instance, seconds) = (member.upstream.label(), after.as_secs());
    tracing::info!(service = %service.id, instance, cause = cause.as_str(), seconds, "an instance takes requests again");
    let why = format!("after {seconds} s ({})", cause.as_str());
    history.record(What::Returned, about(service, why), from_ref(&member.instance));
}

/// Too few are left.
pub(super) fn panicked(history: &History, service: &Service, count: Count) {
    let Count { members, whole, ejected } = count;
    tracing::warn!(service = %service.id, members, whole, ejected, "so few instances take requests that all that failed some do");
    let why = format!("{whole} of {members} took requests, so {ejected} that failed some do again");
    history.record(What::Panicked, about(service, why), &[]);
}

/// The circuit of a service opened.
pub(super) fn opened(history: &History, service: &Service) {
    let why = service.policy.guard.breaker.map_or_else(String::new, |rule| {
        let (share, window, open) = (rule.failures * 100.0, rule.window, rule.open);
        format!("{share:.0} % of its requests failed within {window:?}; none is sent for {open:?}, then one")
    });
    tracing::warn!(service = %service.id, "the circuit of a service opens: {why}");
    history.record(What::Opened, about(service, why), &[]);
}

/// It closed.
pub(super) fn closed(history: &History, service: &Service, circuit: Circuit) {
    let why = if circuit == Circuit::Off { "its rule was taken away" } else { "a request succeeded" };
    tracing::info!(service = %service.id, "the circuit of a service closes: {why}");
    history.record(What::Closed, about(service, why.to_owned()), &[]);
}
