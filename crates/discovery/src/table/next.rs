//! The successor of a table. Pure but for the running number of new upstreams, and the rules of services, which hold as
//! soon as it is made for what is learned of them.

use std::sync::Arc;

use model::{Instance, Protocol, ServiceId, Tick};
use transport::{Learned, Upstream};

use super::{Member, Service, Table};
use crate::{
    Policies, Policy,
    claims::{Claimed, order},
    pairs::{Pair, pairs},
};

/// A service that may have changed, and its joined list, sorted by id and address; `None` if no source speaks of it.
pub type Touched = (ServiceId, Option<Vec<Claimed>>);

/// A new table and how it differs from the one before.
#[derive(Debug)]
pub struct Next {
    /// The successor.
    pub table: Table,
    /// Upstreams that are new.
    pub arrived: Vec<Arc<Upstream>>,
    /// Upstreams that are in it no more; their connections are to be drained.
    pub departed: Vec<Arc<Upstream>>,
}

impl Table {
    /// The successor in which the touched services are as listed; `None` if that changes nothing. What is new in it is seen
    /// first `now`.
    ///
    /// An instance keeps its [`Upstream`] while its service, id, address, protocol and TLS settings stay; if only the
    /// last two change, the new one inherits the vitals. A service keeps its vitals while it is in the table; one that
    /// nobody speaks of stays only if a route names it. When policies change, every service must be named as touched.
    #[must_use]
    pub fn next(
        &self,
        touched: impl IntoIterator<Item = Touched>,
        policies: &Arc<Policies>,
        now: Tick,
    ) -> Option<Next> {
        let same_views = self.policies.same_views(policies);
        let same_policies = Arc::ptr_eq(&self.policies, policies);
        let same_first_use = same_policies || self.policies.same_first_use(policies);
        let mut table: Option<Self> = (!same_first_use).then(|| self.copy(policies));
        let (mut arrived, mut departed) = (Vec::new(), Vec::new());
        for (id, list) in touched {
            let old = self.service(id.as_str());
            let list = list.or_else(|| policies.routed.contains(&id).then(Vec::new));
            let same = match (old, &list) {
                (Some(old), Some(list)) => same_views && old.is_made_of(list, policies, same_policies),
                (None, None) => true,
                _ => false,
            };
            if same {
                continue;
            }
            let before = old.map_or(&[][..], |s| &*s.members);
            let made = |list: Vec<Claimed>| {
                let vitals = old.map_or_else(Arc::default, |old| Arc::clone(&old.vitals));
                let fresh = || Learned { service_vitals: Arc::clone(&vitals), since: now, ..Learned::default() };
                let members = members(&id, before, &list, policies, fresh);
                Service::new(id.clone(), members, policies, vitals, old.map(|old| &**old))
            };
            let service = list.map(made);
            let after = service.as_ref().map_or(&[][..], |s| &*s.members);
            for pair in pairs(before, after, |old, new| order(&old.instance, &new.instance)) {
                let (old, new) = match pair {
                    Pair::Stays(old, new) if old.upstream.key == new.upstream.key => continue,
                    Pair::Stays(old, new) => (Some(old), Some(new)),
                    Pair::Gone(old) => (Some(old), None),
                    Pair::Came(new) => (None, Some(new)),
                };
                departed.extend(old.map(|member| member.upstream.clone()));
                arrived.extend(new.map(|member| member.upstream.clone()));
            }
            table.get_or_insert_with(|| self.copy(policies)).set(&id, service.map(Arc::new));
        }
        table.map(|table| Next { table, arrived, departed })
    }

    fn copy(&self, policies: &Arc<Policies>) -> Self {
        Self {
            generation: self.generation + 1,
            policies: policies.clone(),
            groups: self.groups.clone(),
            hasher: self.hasher.clone(),
            digest: self.digest,
            services: self.services,
        }
    }
}

fn members(
    service: &ServiceId,
    before: &[Member],
    list: &[Claimed],
    policies: &Policies,
    fresh: impl Fn() -> Learned,
) -> Box<[Member]> {
    let policy = policies.of(service);
    let tokens = policy.sticky.as_ref().map(|sticky| sticky.tokens(service));
    let member = |claimed: &Claimed, old: Option<&Member>| {
        let instance = &claimed.instance;
        Member {
            instance: instance.clone(),
            upstream: upstream(service, instance, policy, old.map(|member| &member.upstream), &fresh),
            source: claimed.source.clone(),
            resort: claimed.resort,
            token: tokens.as_ref().map(|tokens| tokens.of(&instance.id)),
        }
    };
    let pairs = pairs(before, list, |old, new| order(&old.instance, &new.instance));
    let members = pairs.filter_map(|pair| match pair {
        Pair::Gone(_) => None,
        Pair::Stays(old, claimed) => Some(member(claimed, Some(old))),
        Pair::Came(claimed) => Some(member(claimed, None)),
    });
    members.collect()
}

/// The upstream of this instance: the old one if it still fits. `fresh`: what one that is new begins with.
fn upstream(
    service: &ServiceId,
    instance: &Instance,
    policy: &Policy,
    old: Option<&Arc<Upstream>>,
    fresh: impl Fn() -> Learned,
) -> Arc<Upstream> {
    let protocol = instance.endpoint.protocol.or(policy.protocol).unwrap_or(Protocol::Http);
    let tls = (protocol == Protocol::Https).then(|| policy.tls.clone());
    if let Some(old) = old
        && old.protocol == protocol
        && old.tls == tls
    {
        return old.clone();
    }
    let mut learned = fresh();
    if let Some(old) = old {
        (learned.vitals, learned.since) = (Arc::clone(&old.vitals), old.since);
    }
    let address = instance.endpoint.address.clone();
    Arc::new(Upstream::new(service.clone(), instance.id.clone(), address, protocol, tls, learned))
}
