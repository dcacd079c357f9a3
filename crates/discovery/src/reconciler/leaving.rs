//! Which instances begin or cease to leave.

use balancer::{Admission, Hold};
use model::{ServiceId, Standing, Tick};

use super::{Member, Reconciler, Table};
use crate::{
    history::{About, What},
    leave::{How, Leave},
};

/// The members that registries let leave, or stay after all, from one table to the next.
pub(super) fn turned<'a>(
    before: &Table,
    after: &Table,
    touched: impl Iterator<Item = &'a ServiceId>,
    now: Tick,
) -> Vec<Leave> {
    let mut leaving = Vec::new();
    for service in touched.filter_map(|name| after.service(name.as_str())) {
        let Some(old) = before.service(service.id.as_str()) else { continue };
        for member in &service.members {
            let was = old.members.iter().find(|m| m.upstream.key == member.upstream.key);
            let turned = was.is_some_and(|was| was.instance.standing != member.instance.standing);
            if turned && !is_drained(member, now) {
                let how = if member.instance.standing == Standing::Draining { How::Draining } else { How::Stays };
                leaving.push(Leave { key: member.upstream.key, how, drain: service.policy.bounds.drain });
            }
        }
    }
    leaving
}

/// Whether an operator put it out.
fn is_drained(member: &Member, now: Tick) -> bool {
    matches!(member.upstream.vitals.state(now), Admission::Held { by, .. } if by.contains(Hold::Drained))
}

impl Reconciler {
    /// Puts an instance out at an operator's word, or lets it in again; `None` if there is none of this name.
    pub(super) fn drain(&self, service: &str, instance: &str, on: bool, now: Tick) -> Option<bool> {
        let table = self.out.cell.load();
        let service = table.service(service)?;
        let members: Vec<&Member> = service.members.iter().filter(|m| m.instance.id.as_str() == instance).collect();
        members.first()?;
        let (mut changed, mut leaving) = (Vec::new(), Vec::new());
        for member in members {
            let vitals = &member.upstream.vitals;
            let turned = if on { vitals.hold(Hold::Drained, now) } else { vitals.release(Hold::Drained) };
            if !turned {
                continue;
            }
            member.upstream.service_vitals.peers.stir();
            changed.push(member.instance.clone());
            if member.instance.standing == Standing::Serving {
                let how = if on { How::Draining } else { How::Stays };
                leaving.push(Leave { key: member.upstream.key, how, drain: service.policy.bounds.drain });
            }
        }
        if !changed.is_empty() {
            let what = if on { What::Drained } else { What::Undrained };
            let cause = "an operator said so".to_owned();
            self.out.history.record(what, About { service: Some(&service.id), cause, ..About::default() }, &changed);
            let word = what.word();
            tracing::info!(service = %service.id, %instance, "an operator said that an instance is {word}");
        }
        if !leaving.is_empty() {
            (self.out.retire)(leaving);
        }
        Some(!changed.is_empty())
    }
}
