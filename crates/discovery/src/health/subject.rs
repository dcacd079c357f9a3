//! One instance under watch: what its checks found, and what follows from it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use balancer::Hold;
use model::{Instance, Tick};
use transport::{ClientTls, Upstream};

use super::{
    Check, Finding,
    probe::Found,
    state::{Standing, State},
};
use crate::table::Member;

/// Where and how an instance is looked at now. Another table may change all but its identity.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) instance: Arc<Instance>,
    pub(super) source: Arc<str>,
    pub(super) upstream: Arc<Upstream>,
    /// Of its service, also if requests do no TLS.
    pub(super) tls: Arc<ClientTls>,
}

impl Target {
    pub(super) fn new(member: &Member, tls: &Arc<ClientTls>) -> Self {
        Self {
            instance: Arc::clone(&member.instance),
            source: Arc::clone(&member.source),
            upstream: Arc::clone(&member.upstream),
            tls: Arc::clone(tls),
        }
    }
}

/// One instance and the checks of its service.
pub(super) struct Subject {
    pub(super) checks: Arc<[Check]>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    target: Target,
    state: State,
    looks: Vec<Look>,
}

/// The last look of one check, and the next.
#[derive(Debug, Clone)]
struct Look {
    saw: Arc<str>,
    next: Option<Tick>,
}

/// An instance stands otherwise than before.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) from: Standing,
    pub(super) to: Standing,
    pub(super) target: Target,
    pub(super) cause: String,
}

impl Subject {
    /// An instance nobody has looked at. It is held from now on if it has to prove itself.
    pub(super) fn new(checks: Arc<[Check]>, target: Target, unproven: bool, now: Tick) -> Self {
        let state = State::new(checks.len(), unproven, now);
        let look = Look { saw: "not looked at yet".into(), next: None };
        follow(&target.upstream, None, state.standing(&checks), now);
        let looks = vec![look; checks.len()];
        Self { checks, inner: Mutex::new(Inner { target, state, looks }) }
    }

    /// The same instance under other checks. What the ones that stay found is kept.
    pub(super) fn under(&self, checks: Arc<[Check]>, now: Tick) -> Self {
        let Inner { target, state, looks } = self.lock().clone();
        let (before, state) = (state.standing(&self.checks), state.under(&self.checks, &checks, now));
        let new = || Look { saw: "not looked at yet".into(), next: None };
        let kept = |check: &Check| self.checks.iter().position(|old| old == check).map(|at| looks[at].clone());
        let looks = checks.iter().map(|check| kept(check).unwrap_or_else(new)).collect();
        follow(&target.upstream, Some(before), state.standing(&checks), now);
        Self { checks, inner: Mutex::new(Inner { target, state, looks }) }
    }

    /// Looks from here on go there.
    pub(super) fn aim(&self, target: Target) {
        self.lock().target = target;
    }

    pub(super) fn target(&self) -> Target {
        self.lock().target.clone()
    }

    /// Nobody looks at it any more: nothing that was found keeps it out.
    pub(super) fn let_go(&self) {
        let inner = self.lock();
        follow(&inner.target.upstream, Some(inner.state.standing(&self.checks)), Standing::Up, Tick::default());
    }

    /// Takes in what a check saw, and lets requests know.
    pub(super) fn observe(&self, number: usize, found: &Found, now: Tick) -> Option<Turn> {
        let mut inner = self.lock();
        let (passed, saw) = match found {
            Found::Passed(saw) => (Some(true), saw),
            Found::Failed(saw) => (Some(false), saw),
            Found::Nothing(saw) => (None, saw),
        };
        inner.looks[number].saw = saw.as_str().into();
        if passed == Some(true) && self.checks[number].tells_of_requests() {
            inner.target.upstream.vitals.seems_well(now);
        }
        let state = inner.state.step(&self.checks, number, passed?, now);
        let (from, to) = (inner.state.standing(&self.checks), state.standing(&self.checks));
        inner.state = state;
        if from == to {
            return None;
        }
        follow(&inner.target.upstream, Some(from), to, now);
        Some(Turn { from, to, target: inner.target.clone(), cause: saw.clone() })
    }

    /// Notes when a check looks next.
    pub(super) fn plan(&self, number: usize, next: Tick) {
        self.lock().looks[number].next = Some(next);
    }

    /// Whether another look by this check, soon, would tell more than usual.
    pub(super) fn is_in_doubt(&self, number: usize) -> bool {
        self.lock().state.row(number).0.is_in_doubt()
    }

    /// When this check looks next, if that was planned.
    pub(super) fn next(&self, number: usize) -> Option<Tick> {
        self.lock().looks[number].next
    }

    pub(super) fn standing(&self) -> Standing {
        self.lock().state.standing(&self.checks)
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let inner = self.lock();
        let finding = |(number, check): (usize, &Check)| {
            let (row, since) = inner.state.row(number);
            let Look { saw, next } = inner.looks[number].clone();
            Finding { kind: check.what.kind(), role: check.role, passes: row.passes, since, saw, next }
        };
        self.checks.iter().enumerate().map(finding).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

/// Keeps requests away, or lets them come. The new cause comes before the old one goes, so that there is no gap.
fn follow(upstream: &Upstream, from: Option<Standing>, to: Standing, now: Tick) {
    let (old, new) = (from.and_then(hold), hold(to));
    if let Some(cause) = new {
        upstream.vitals.hold(cause, now);
    }
    if let Some(cause) = old.filter(|_| old != new) {
        upstream.vitals.release(cause);
    }
    if old != new {
        upstream.service_vitals.peers.stir();
    }
}

fn hold(standing: Standing) -> Option<Hold> {
    match standing {
        Standing::Up => None,
        Standing::Unproven => Some(Hold::Unproven),
        Standing::Down | Standing::Dead => Some(Hold::Check),
    }
}
