//! What the reconciler does, told: to the history as events, to the log as lines.

use std::{collections::BTreeMap, fmt, sync::Arc};

use model::{Instance, ServiceId};
use transport::Upstream;

use crate::{
    Member, Table,
    claims::{Change, SourceId, TooOld},
    history::{About, History, What},
    status::Turn,
};

/// How many services of one table get a log line of their own, and of one update an event of what they gain: more is a
/// start or a reload, which nobody reads line by line.
const LOGGED: usize = 32;

/// Why a service is looked at again.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    Source(Arc<str>),
    Reload,
    Remembered,
    HoldOver,
    ConnectFailed,
    TooOld,
    Vacant,
    NotUsed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(name) => write!(f, "source {name}"),
            Self::Reload => f.write_str("reload"),
            Self::Remembered => f.write_str("remembered"),
            Self::HoldOver => f.write_str("hold over"),
            Self::ConnectFailed => f.write_str("connect failed"),
            Self::TooOld => f.write_str("too old"),
            Self::Vacant => f.write_str("no instance for long"),
            Self::NotUsed => f.write_str("not asked about any longer"),
        }
    }
}

/// Tells the history what changed in the words of sources. What many services gain at once is one event, or nothing else
/// would be left of the history after a start; what they lose is told of each.
pub(super) fn tell_changes<'a>(
    history: &History,
    changes: &[Change],
    source: impl Fn(SourceId) -> Option<&'a Arc<str>>,
    cause: &Cause,
) {
    let gains = changes.iter().filter(|change| change.diff.only_adds());
    let services = gains.clone().count();
    let together = services > LOGGED;
    if together && let Some(first) = gains.clone().next() {
        let instances: usize = gains.map(|change| change.diff.added.len()).sum();
        let cause = format!("{instances} instances of {services} services");
        history.record(What::Added, About { service: None, source: source(first.source), cause }, &[]);
    }
    for change in changes.iter().filter(|change| !(together && change.diff.only_adds())) {
        tell_change(history, source(change.source), change, cause);
    }
    warn_of_suspects(changes);
}

/// Warns of withdrawals that look like a fault: the operator may know better.
fn warn_of_suspects(changes: &[Change]) {
    let suspected = changes.iter().filter(|change| !change.diff.suspected.is_empty());
    let services = suspected.clone().count();
    if services > LOGGED {
        tracing::warn!(services, "instances of many services left as if by a fault, they stay as last resort");
        return;
    }
    for Change { service, diff, .. } in suspected {
        let left: Vec<_> = diff.suspected.iter().map(|instance| instance.endpoint.address.to_string()).collect();
        tracing::warn!(%service, ?left, "instances left as if by a fault, they stay as last resort");
    }
}

/// Tells the history what changed in a source's word of one service.
fn tell_change(history: &History, source: Option<&Arc<str>>, change: &Change, cause: &Cause) {
    let diff = &change.diff;
    let settled = match cause {
        Cause::Source(_) => "it deregistered".to_owned(),
        other => other.to_string(),
    };
    let parts: [(What, &[Arc<Instance>], &str); 5] = [
        (What::Added, &diff.added, ""),
        (What::Removed, &diff.removed, ""),
        (What::Suspected, &diff.suspected, "too many left at once; they are last resort"),
        (What::Changed, &diff.changed, ""),
        (What::Settled, &diff.settled, &settled),
    ];
    for (what, instances, why) in parts.into_iter().filter(|(_, instances, _)| !instances.is_empty()) {
        history.record(what, About { service: Some(&change.service), source, cause: why.to_owned() }, instances);
    }
}

/// Tells the history what is new about a source.
pub(super) fn tell_turn(history: &History, source: Option<&Arc<str>>, turn: &Turn) {
    let (what, service, cause) = match turn {
        Turn::Live(down) if down.is_zero() => (What::Up, None, "it answers".to_owned()),
        Turn::Live(down) => (What::Up, None, format!("it was down for {} s", down.as_secs())),
        Turn::Down(error) => (What::Down, None, error.to_string()),
        Turn::Doubt(service, error) => (What::Doubt, Some(service), error.to_string()),
        Turn::Certain(service, after) => (What::Certain, Some(service), format!("after {} s", after.as_secs())),
        Turn::Skipped(reason) => (What::Skipped, None, reason.clone()),
        // Each service after each outage: the end of the outage is told.
        Turn::Confirmed(_) => return,
    };
    history.record(what, About { service, source, cause }, &[]);
}

/// Tells the history that a service is too old.
pub(super) fn tell_too_old(history: &History, service: &ServiceId, what: TooOld) {
    let cause = match what {
        TooOld::Serve => "it is served as before",
        TooOld::LastResort => "its instances are last resort",
        TooOld::Refuse => "its instances are not used",
    };
    history.record(What::TooOld, About { service: Some(service), cause: cause.to_owned(), ..About::default() }, &[]);
}

/// One line per service whose members changed, or one for all if they are many.
pub(super) fn log(
    generation: u64,
    causes: &BTreeMap<ServiceId, Cause>,
    arrived: &[Arc<Upstream>],
    departed: &[Arc<Upstream>],
) {
    let mut changes: BTreeMap<&ServiceId, (Vec<&Upstream>, Vec<&Upstream>)> = BTreeMap::new();
    for upstream in arrived {
        changes.entry(&upstream.service).or_default().0.push(upstream);
    }
    for upstream in departed {
        changes.entry(&upstream.service).or_default().1.push(upstream);
    }
    if changes.len() > LOGGED {
        let (services, came, left) = (changes.len(), arrived.len(), departed.len());
        tracing::info!(services, came, left, generation, "instances of many services changed");
        return;
    }
    let labels = |list: Vec<&Upstream>| list.iter().map(|u| u.address.to_string()).collect::<Vec<_>>();
    for (service, (came, left)) in changes {
        if let Some(cause) = causes.get(service) {
            let (came, left) = (labels(came), labels(left));
            tracing::info!(%service, ?came, ?left, %cause, generation, "instances changed");
        }
    }
}

/// Warns of metadata that should count as weight and makes no sense: when it comes, and not with each table again.
pub(super) fn warn_of_weights<'a>(before: &Table, after: &Table, services: impl Iterator<Item = &'a ServiceId>) {
    for service in services {
        for (member, label, value) in senseless(before, after, service) {
            let instance = member.upstream.label();
            tracing::warn!(%service, instance, label, value, "metadata that makes no sense as weight is ignored");
        }
    }
}

/// Metadata of a service's instances that should count as weight and makes no sense, with its name, as far as it was not known
/// in the table before, or did not count there.
fn senseless<'a>(before: &Table, after: &'a Table, service: &ServiceId) -> Vec<(&'a Member, &'a str, &'a str)> {
    let Some(service) = after.service(service.as_str()) else { return Vec::new() };
    let weighing = &service.policy.balance.weighing;
    if weighing.is_off() {
        return Vec::new();
    }
    let old = before.service(service.id.as_str()).filter(|old| old.policy.balance.weighing == *weighing);
    let known = old.map_or(&[][..], |old| &*old.members);
    let mut found = Vec::new();
    for member in &service.members {
        let known = known.iter().find(|old| old.upstream.key == member.upstream.key);
        for name in weighing.senseless(&member.instance) {
            let value = member.instance.label(name).unwrap_or_default();
            if known.is_none_or(|old| old.instance.label(name) != Some(value)) {
                found.push((member, name, value));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use balancer::{Algorithm, Balance, Weighing};
    use model::Tick;

    use super::*;
    use crate::{
        Policies, Policy,
        testing::{claimed, instance, policies, service},
    };

    fn weighing_by(capacity: Option<&str>) -> Arc<Policies> {
        let weighing = Weighing { capacity: capacity.map(Into::into), load: None };
        let balance = Balance { weighing, ..Algorithm::LeastRequests.into() };
        let standard = policies();
        let policy = Policy { balance, ..(*standard.default).clone() };
        Arc::new(Policies { default: Arc::new(policy), ..standard })
    }

    /// The next table, with instances `a` and `b` that say so of their cores.
    fn then(before: &Table, policies: &Arc<Policies>, cores: [&str; 2]) -> Table {
        let said = [("a", 1), ("b", 2)].into_iter().zip(cores).map(|((id, number), cores)| {
            let mut instance = instance(id, number);
            instance.labels = [("cores".into(), cores.into())].into();
            claimed(instance.normalised())
        });
        let touched = [(service("pets"), Some(said.collect()))];
        before.next(touched, policies, Tick(1)).expect("something changed").table
    }

    #[test]
    fn what_makes_no_sense_is_told_when_it_comes_and_when_it_changes() {
        let (by_cores, by_nothing) = (weighing_by(Some("cores")), weighing_by(None));
        let mut now = Table::empty(by_cores.clone());
        for (policies, cores, expected) in [
            (&by_cores, ["4", "1e300"], &[("b", "1e300")][..]),
            (&by_cores, ["8", "1e300"], &[]),
            (&by_cores, ["none", "-1"], &[("a", "none"), ("b", "-1")]),
            (&by_cores, ["none", "4"], &[]),
            (&by_nothing, ["none", "-1"], &[]),
            (&by_cores, ["none", "4"], &[("a", "none")]),
        ] {
            let next = then(&now, policies, cores);
            let found = senseless(&now, &next, &service("pets"));
            let found: Vec<_> =
                found.iter().map(|(member, name, value)| (member.instance.id.as_str(), *name, *value)).collect();
            let expected: Vec<_> = expected.iter().map(|(id, value)| (*id, "cores", *value)).collect();
            assert_eq!(found, expected, "{cores:?}");
            now = next;
        }
        assert!(senseless(&now, &now, &service("nobody")).is_empty());
    }
}
