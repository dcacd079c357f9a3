//! What is said of the services in use, and what was: only changes are said.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use model::{InstanceId, Knowledge, ProviderError, ServiceId, Update};

use tokio::time::Instant;

use super::{join::Reading, mirror::Mirror, ports::PortChoice};
use crate::provider::{Feed, Interest, held::Held};

/// The source's word to the reconciler.
#[derive(Debug)]
pub(super) struct Voice {
    feed: Feed,
    port: Option<PortChoice>,
    interest: Arc<Interest>,
    said: HashMap<ServiceId, Said>,
    /// What had instances, also before a watcher's fault made this voice begin anew.
    held: Held,
    catalogue: bool,
    /// When that was at hand which is said now.
    pub(super) seen: Instant,
}

/// What was said last about one service.
#[derive(Debug, Default)]
struct Said {
    reading: Option<Reading>,
    /// Reasons for what is left out now.
    skipped: Vec<String>,
    trouble: Option<ProviderError>,
    /// Said before an outage of the whole source: has to be said again, though nothing changed.
    stale: bool,
}

impl Said {
    /// Whether it was said that there is no instance.
    fn is_empty(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.instances.is_empty())
    }
}

impl Voice {
    pub(super) fn new(feed: Feed, port: Option<PortChoice>, interest: Arc<Interest>, held: Held) -> Self {
        Self { feed, port, interest, held, said: HashMap::new(), catalogue: false, seen: Instant::now() }
    }

    /// Where it speaks to.
    pub(super) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Other services are in use now. What the file no longer means is taken back.
    pub(super) async fn attend(&mut self, interest: Arc<Interest>, mirror: &Mirror) -> Result<(), ProviderError> {
        self.interest = interest;
        self.catalogue = false;
        let wanted = self.wanted(mirror);
        let left: Vec<_> = self.said.extract_if(|service, _| !wanted.contains(service)).collect();
        for (service, _) in left {
            self.held.note(&service, true);
            self.feed.publish_seen(Update::Forgotten(service), self.seen).await?;
        }
        self.tell_all(mirror).await
    }

    /// Says all that is new about any service in use.
    pub(super) async fn tell_all(&mut self, mirror: &Mirror) -> Result<(), ProviderError> {
        let mut all = self.wanted(mirror);
        all.extend(self.said.keys().cloned());
        all.append(&mut self.held.all());
        if self.interest.exposure.needs_catalog() && mirror.is_whole() && !self.catalogue {
            self.feed.publish_seen(Update::Catalogue(all.clone()), self.seen).await?;
            self.catalogue = true;
        }
        self.tell(all, mirror).await
    }

    /// Says what is new about these services, as far as they are in use.
    pub(super) async fn tell(&mut self, services: BTreeSet<ServiceId>, mirror: &Mirror) -> Result<(), ProviderError> {
        for service in services {
            let wanted = self.is_wanted(&service, &mirror.tags(&service));
            if wanted || self.said.contains_key(&service) || self.held.holds(&service) {
                self.one(&service, mirror).await?;
            }
            if !wanted && self.said.get(&service).is_some_and(Said::is_empty) {
                self.said.remove(&service);
            }
        }
        Ok(())
    }

    async fn one(&mut self, service: &ServiceId, mirror: &Mirror) -> Result<(), ProviderError> {
        let reading = mirror.read(service, self.port.as_ref());
        let empty = reading.instances.is_empty();
        // A record that cannot be read is not one that is not there; and what it said before may not hold for ever.
        let unreadable = reading.outdated.as_ref().or_else(|| reading.skipped.first().filter(|_| empty));
        let unreadable = unreadable.cloned().map(ProviderError::Malformed);
        let trouble = unreadable.or_else(|| mirror.doubt(service).cloned());
        if empty && trouble.is_none() && !mirror.holds(service) && !mirror.is_whole() {
            return Ok(());
        }
        let said = self.said.remove(service).unwrap_or_default();
        for reason in reading.skipped.iter().filter(|reason| !said.skipped.contains(reason)) {
            self.feed
                .publish_seen(Update::Skipped { service: Some(service.clone()), reason: reason.clone() }, self.seen)
                .await?;
        }
        let told = said.reading.as_ref().is_some_and(|told| told.instances == reading.instances);
        let again = said.stale || said.trouble.is_some();
        // In trouble, what is new is said all the same, but never that nothing is left.
        let speaks = (trouble.is_none() && (again || !told)) || (trouble.is_some() && !empty && !told);
        if speaks {
            let left = said.reading.as_ref().map_or_else(Vec::new, |before| departed(before, &reading));
            self.service(service.clone(), Knowledge::of(reading.instances.iter().cloned()), left).await?;
        }
        let heard = Said {
            skipped: reading.skipped.clone(),
            reading: if trouble.is_some() && empty { said.reading } else { Some(reading) },
            trouble: trouble.clone(),
            stale: false,
        };
        if let Some(error) = trouble
            // What was said now would take the doubt back.
            && (speaks || said.stale || said.trouble.as_ref() != Some(&error))
        {
            self.service(service.clone(), Knowledge::Unknown(error), Vec::new()).await?;
        }
        self.said.insert(service.clone(), heard);
        Ok(())
    }

    /// The source as a whole cannot be heard.
    pub(super) async fn despair(&mut self, error: ProviderError) -> Result<(), ProviderError> {
        self.said.values_mut().for_each(|said| said.stale = true);
        self.feed.publish(Update::Unreachable(error)).await
    }

    /// Records that belong to no service we could name.
    pub(super) async fn skip(&self, reason: String) -> Result<(), ProviderError> {
        self.feed.publish_seen(Update::Skipped { service: None, reason }, self.seen).await
    }

    async fn service(
        &self,
        service: ServiceId,
        knowledge: Knowledge,
        deregistered: Vec<InstanceId>,
    ) -> Result<(), ProviderError> {
        match knowledge {
            Knowledge::Known(_) | Knowledge::Part(_) => self.held.note(&service, false),
            Knowledge::KnownEmpty => self.held.note(&service, true),
            Knowledge::Unknown(_) => {}
        }
        self.feed.publish_seen(Update::Service { service, knowledge, deregistered }, self.seen).await
    }

    fn is_wanted(&self, service: &ServiceId, tags: &[&str]) -> bool {
        self.interest.services.contains(service) || self.interest.exposure.exposes(service, tags.iter().copied())
    }

    /// The services in use: those that routes name, and those there are that exposure matches.
    fn wanted(&self, mirror: &Mirror) -> BTreeSet<ServiceId> {
        let mut wanted = self.interest.services.clone();
        if self.interest.exposure.needs_catalog() {
            let found = mirror.services().filter(|service| self.is_wanted(service, &mirror.tags(service)));
            wanted.extend(found.cloned());
        }
        wanted
    }
}

/// Instances that are gone on their own word: they said that they leave.
fn departed(before: &Reading, now: &Reading) -> Vec<InstanceId> {
    let here: BTreeSet<_> = now.instances.iter().map(|instance| &instance.id).collect();
    let gone = before.instances.iter().map(|instance| &instance.id).filter(|id| !here.contains(id));
    gone.filter(|id| before.leaving.contains(*id) || now.leaving.contains(*id)).cloned().collect()
}
