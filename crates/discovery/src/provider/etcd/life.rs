//! One life of the source at one member: log in, list, follow the changes until something fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use ::settings::Aside;
use futures_util::{StreamExt as _, stream};
use model::{InstanceId, Knowledge, ProviderError, ServiceId, Update};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use transport::clock::tick;

use super::{
    contents::{Change, Contents, Departure},
    failure::Failure,
    gateway::Gateway,
    settings::Settings,
};
use crate::provider::{
    Feed, Interest,
    held::Held,
    pace::{self, Pace},
};

/// Lists in a row are this far apart: a history that is compacted all the time is not read all the time.
const BETWEEN_LISTS: Duration = Duration::from_secs(1);
/// Leases looked at for one message. More that end at once are an accident, and nobody's word.
const LEASES: usize = 256;
/// Of them at once.
const AT_ONCE: usize = 16;
/// All of them together: what they tell only makes an answer better, and the watch waits for it.
const DETAIL: Duration = Duration::from_secs(1);
/// Records of one list told one by one: more are another program's keys.
const TOLD: usize = 32;

/// What the source knows and has said; survives its lives.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) contents: Contents,
    pub(super) held: Held,
    /// What was said last, in this life, of services with a record that was rewritten and cannot be read.
    pub(super) outdated: BTreeMap<ServiceId, (Knowledge, ProviderError)>,
}

/// Lives once, at this member.
pub(super) async fn run(
    settings: &Settings,
    endpoint: &str,
    aside: &Aside,
    memory: &mut Memory,
    feed: &Feed,
) -> Result<Infallible, Failure> {
    memory.outdated.clear();
    let mut gateway = Gateway::open(settings, endpoint, aside, feed.questions()).await?;
    let mut pace = Pace::every(BETWEEN_LISTS, tick());
    loop {
        sleep(pace.wait(tick())).await;
        match Box::pin(list_and_follow(&mut gateway, memory, feed)).await {
            Ok(()) => tracing::debug!(endpoint, "listing anew, as from time to time"),
            Err(Failure::Lost) => tracing::debug!(endpoint, "etcd's history has a gap for us: listing anew"),
            Err(failure) => return Err(failure),
        }
    }
}

/// Lists, then follows the changes until it is time to list again.
async fn list_and_follow(gateway: &mut Gateway<'_>, memory: &mut Memory, feed: &Feed) -> Result<(), Failure> {
    let resync = Instant::now() + pace::resync(fastrand::f64());
    let list = gateway.list().await?;
    let (was, is, records) = (memory.contents.revision(), list.header.revision, list.records.len());
    if memory.contents.is_other(list.header) {
        tracing::warn!(was, is, records, "etcd has another history: it was restored, emptied or replaced");
    }
    let seen = list.seen;
    let change = memory.contents.replace(list);
    let mut interests = feed.interest();
    let interest = interests.borrow_and_update().clone();
    memory.tell(&change, &interest, feed, seen).await?;
    memory.say_all(&interest, feed, seen).await?;
    feed.read();
    let mut renewed = false;
    while Instant::now() < resync {
        match follow(gateway, memory, feed, &mut interests).await {
            Ok(()) => renewed = false,
            // Tokens expire, and every change of users ends them: a new one tells whether that was all.
            Err(Failure::Error(ProviderError::Denied(_))) if !renewed => {
                gateway.log_in().await?;
                renewed = true;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Follows the changes by one watch, until its time is over; the next one goes on where it stopped.
async fn follow(
    gateway: &Gateway<'_>,
    memory: &mut Memory,
    feed: &Feed,
    interests: &mut watch::Receiver<Arc<Interest>>,
) -> Result<(), Failure> {
    // Spread, so that many routers do not come at once.
    let lasting = gateway.wait().mul_f64(1.0 - fastrand::f64() / 8.0);
    let mut watch = gateway.watch(memory.contents.revision() + 1, lasting).await?;
    if memory.contents.is_other(watch.header) {
        return Err(Failure::Lost);
    }
    feed.heard();
    loop {
        tokio::select! {
            changed = interests.changed() => {
                changed.map_err(|_| ProviderError::Closed)?;
                let interest = interests.borrow_and_update().clone();
                memory.say_all(&interest, feed, Instant::now()).await?;
            }
            said = watch.next() => {
                let Some(message) = said? else { return Ok(()) };
                let seen = message.seen;
                feed.heard();
                let change = memory.contents.apply(message.events);
                let interest = interests.borrow().clone();
                memory.tell(&change, &interest, feed, seen).await?;
                memory.say(&change, &interest, feed, seen).await?;
                let of_interest = change.left.into_iter().filter(|left| interest.may_mean(&left.service));
                let left = deregistered(gateway, of_interest.collect()).await;
                memory.say_left(left, &interest, feed, seen).await?;
            }
        }
    }
}

/// Which of the departed were deleted by somebody: their lease runs on. A lease that ended or was revoked looks like one
/// that could not be kept, and so does one that cannot be asked about in time.
async fn deregistered(gateway: &Gateway<'_>, mut left: Vec<Departure>) -> Vec<Departure> {
    left.retain(|departure| departure.lease.is_some_and(|lease| lease > 0));
    let leases: BTreeSet<u64> = left.iter().filter_map(|departure| departure.lease).collect();
    if leases.len() > LEASES {
        return Vec::new();
    }
    let mut alive = BTreeSet::new();
    let deadline = Instant::now() + DETAIL;
    let asked =
        stream::iter(leases).map(|lease| async move { gateway.is_alive(lease, deadline).await.then_some(lease) });
    let mut asked = std::pin::pin!(asked.buffer_unordered(AT_ONCE));
    while let Ok(Some(found)) = timeout_at(deadline, asked.next()).await {
        alive.extend(found.map(Some));
    }
    left.retain(|departure| alive.contains(&departure.lease));
    left
}

impl Memory {
    /// Everything of interest, service by service, for a new list or another interest.
    async fn say_all(&mut self, interest: &Interest, feed: &Feed, seen: Instant) -> Result<(), ProviderError> {
        for service in self.held.let_go(interest) {
            self.outdated.remove(&service);
            feed.publish_seen(Update::Forgotten(service), seen).await?;
        }
        let meant = self.contents.services().filter(|service| interest.may_mean(service));
        let mut services: BTreeSet<ServiceId> = meant.chain(&interest.services).cloned().collect();
        services.append(&mut self.held.all());
        feed.publish_seen(Update::Catalogue(services.clone()), seen).await?;
        for service in services {
            self.say_one(service, Vec::new(), feed, seen).await?;
        }
        Ok(())
    }

    /// What changed. A record without lease leaves by somebody's hand only.
    async fn say(
        &mut self,
        change: &Change,
        interest: &Interest,
        feed: &Feed,
        seen: Instant,
    ) -> Result<(), ProviderError> {
        for service in change.services.iter().filter(|service| interest.may_mean(service)) {
            let left = change.left.iter().filter(|left| left.service == *service && left.lease == Some(0));
            self.say_one(service.clone(), left.map(|left| left.instance.clone()).collect(), feed, seen).await?;
        }
        Ok(())
    }

    /// Who left on purpose, as is known only now.
    async fn say_left(
        &mut self,
        left: Vec<Departure>,
        interest: &Interest,
        feed: &Feed,
        seen: Instant,
    ) -> Result<(), ProviderError> {
        let mut services = BTreeMap::<ServiceId, Vec<InstanceId>>::new();
        for Departure { service, instance, .. } in left {
            services.entry(service).or_default().push(instance);
        }
        services.retain(|service, _| interest.may_mean(service));
        for (service, deregistered) in services {
            self.say_one(service, deregistered, feed, seen).await?;
        }
        Ok(())
    }

    async fn say_one(
        &mut self,
        service: ServiceId,
        deregistered: Vec<InstanceId>,
        feed: &Feed,
        seen: Instant,
    ) -> Result<(), ProviderError> {
        let knowledge = self.contents.knowledge(&service);
        if !matches!(knowledge, Knowledge::Unknown(_)) {
            self.held.note(&service, knowledge == Knowledge::KnownEmpty);
        }
        let outdated = self.contents.outdated(&service);
        let pair = outdated.clone().map(|doubt| (knowledge.clone(), doubt));
        // The first of both takes the doubt back: it is not said again as long as nothing is new.
        if pair.is_some() && pair.as_ref() == self.outdated.get(&service) && deregistered.is_empty() {
            return Ok(());
        }
        match pair {
            Some(pair) => drop(self.outdated.insert(service.clone(), pair)),
            None => drop(self.outdated.remove(&service)),
        }
        let say = |knowledge, deregistered| {
            feed.publish_seen(Update::Service { service: service.clone(), knowledge, deregistered }, seen)
        };
        say(knowledge, deregistered).await?;
        match outdated {
            Some(doubt) => say(Knowledge::Unknown(doubt), Vec::new()).await,
            None => Ok(()),
        }
    }

    /// Records that could not be used.
    async fn tell(
        &self,
        change: &Change,
        interest: &Interest,
        feed: &Feed,
        seen: Instant,
    ) -> Result<(), ProviderError> {
        let of_interest = |service: &Option<ServiceId>| service.as_ref().is_none_or(|s| interest.may_mean(s));
        let all: Vec<_> = change.skipped.iter().filter(|(service, _)| of_interest(service)).collect();
        for (service, reason) in all.iter().copied().take(TOLD).cloned() {
            feed.publish_seen(Update::Skipped { service, reason }, seen).await?;
        }
        if all.len() > TOLD {
            let reason = format!("and {} more records: is the prefix the right one?", all.len() - TOLD);
            feed.publish_seen(Update::Skipped { service: None, reason }, seen).await?;
        }
        Ok(())
    }
}
