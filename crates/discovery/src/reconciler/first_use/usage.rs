//! What is in use, found by sampling: a request that is served costs nothing for it.
//!
//! Services that other sources serve, of which no registry was asked because no request ever missed them, are found here
//! too: those that are asked by name may have more instances of them.

use std::collections::HashMap;

use model::Tick;

use super::super::Reconciler;
use crate::{
    Service,
    history::{About, What},
    subscriptions::Verdict,
};

impl Reconciler {
    /// Looks at what was used since the last time, and lets go of what was not for long.
    pub(in crate::reconciler) fn look_at_use(&mut self, now: Tick) {
        let Some(interval) = self.first_use.subscriptions.interval().filter(|_| self.first_use.look <= now) else {
            return;
        };
        self.first_use.look = now.after(interval);
        let mut wanted = Vec::new();
        let mut requests = HashMap::new();
        for service in self.out.cell.load().services().filter(|service| service.exposed) {
            let held = self.first_use.subscriptions.holds(&service.id);
            if held || (!self.first_use.sources.is_empty() && self.policies.may_subscribe(&service.id)) {
                let (count, busy) = load(service);
                let used = busy || count > self.first_use.requests.get(&service.id).copied().unwrap_or_default();
                requests.insert(service.id.clone(), count);
                match used {
                    true if held => self.first_use.subscriptions.used(&service.id, now),
                    true => wanted.push(service.id.clone()),
                    false => {}
                }
            }
        }
        self.first_use.requests = requests;
        // Other sources have these, which are asked about nothing: those that are asked by name may have more of them.
        let mut news = !wanted.is_empty();
        for service in wanted {
            self.first_use.subscriptions.vouch(&service, now);
            if let Verdict::Ask(way) = self.first_use.subscriptions.want(&service, now) {
                self.release(way.as_slice(), now);
                self.first_use.subscriptions.answered(&service, true, now);
            }
        }
        let due = self.first_use.subscriptions.due(now);
        news |= !due.is_empty();
        for service in due.iter().filter(|service| self.claims.has_instances(service)) {
            self.out.history.record(What::Released, About { service: Some(service), ..About::default() }, &[]);
        }
        self.release(&due, now);
        if news {
            self.tell_interests();
        }
        self.show();
    }
}

/// How many requests a service has had, and whether it has some now.
fn load(service: &Service) -> (u64, bool) {
    let vitals = || service.members.iter().map(|member| &member.upstream.vitals);
    (vitals().map(|v| v.totals().requests).sum(), vitals().any(|v| v.in_flight() > 0))
}
