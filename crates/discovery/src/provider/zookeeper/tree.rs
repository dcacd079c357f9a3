//! What is known of the tree over one connection: what to ask next, and what to say. Pure.

mod service;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    ops::Bound,
};

use bytes::Bytes;
use model::{ProviderError, ServiceId, Update};
use tokio::time::Instant;

use self::service::Service;
use super::{
    failure::Code,
    layout::{Layout, Place},
    wire::{self, Event, Question},
};

#[cfg(test)]
mod tests;

/// What is known, and what is to be asked.
#[derive(Debug)]
pub(super) struct Tree {
    layout: Layout,
    services: BTreeMap<ServiceId, Service>,
    /// `None` if nobody needs it.
    catalogue: Option<Catalogue>,
    /// To be asked, each once.
    queue: VecDeque<Ask>,
    queued: HashSet<Ask>,
    /// Services that may have something new to say, and when the first word of it came.
    dirty: BTreeMap<ServiceId, Instant>,
    /// When an event named a node that is not read since.
    heard: HashMap<String, Instant>,
    skipped: Vec<Update>,
    /// The service whose turn it was last to be asked whether we may still read it.
    tried: Option<ServiceId>,
    /// A right was lost, and all are tried because of it: once until the next turn.
    alarmed: bool,
}

/// A question, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Ask {
    Watch(String),
    /// Is there anything at all?
    Base,
    Catalogue,
    List {
        service: ServiceId,
        directory: String,
    },
    Read {
        service: ServiceId,
        path: String,
    },
}

/// The names of all services.
#[derive(Debug, Default)]
struct Catalogue {
    names: Option<BTreeSet<ServiceId>>,
    /// Changed since it was looked at.
    news: bool,
    /// What was told of the last listing.
    told: BTreeSet<String>,
    refused: bool,
}

impl Tree {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            services: BTreeMap::new(),
            catalogue: None,
            queue: VecDeque::new(),
            queued: HashSet::new(),
            dirty: BTreeMap::new(),
            heard: HashMap::new(),
            skipped: Vec::new(),
            tried: None,
            alarmed: false,
        }
    }

    /// Looks at these services and no others; and at the catalogue, if it is needed. Whether it looks at some no longer.
    pub(super) fn want(&mut self, wanted: &BTreeSet<ServiceId>, catalogue: bool) -> bool {
        if catalogue && self.catalogue.is_none() {
            self.catalogue = Some(Catalogue::default());
            self.push(Ask::Watch(self.layout.base().to_owned()));
            self.push(Ask::Catalogue);
        } else if !catalogue {
            self.catalogue = None;
        }
        if self.services.is_empty() && !wanted.is_empty() && !catalogue {
            self.push(Ask::Base);
        }
        let left = self.services.extract_if(.., |service, _| !wanted.contains(service)).count();
        for service in wanted {
            if self.services.contains_key(service) {
                continue;
            }
            let directories = self.layout.directories(service);
            // The watch of the catalogue is one of everything.
            for directory in directories.iter().filter(|_| !catalogue) {
                self.push(Ask::Watch(directory.clone()));
            }
            for directory in &directories {
                self.push(Ask::List { service: service.clone(), directory: directory.clone() });
            }
            self.services.insert(service.clone(), Service::new(directories));
        }
        left > 0
    }

    /// The names of all services, once they are known.
    pub(super) fn names(&self) -> Option<&BTreeSet<ServiceId>> {
        self.catalogue.as_ref()?.names.as_ref()
    }

    /// Whether the names changed since the last call.
    pub(super) fn news(&mut self) -> bool {
        self.catalogue.as_mut().is_some_and(|catalogue| std::mem::take(&mut catalogue.news))
    }

    /// The next question.
    pub(super) fn ask(&mut self) -> Option<Ask> {
        let ask = self.queue.pop_front()?;
        self.queued.remove(&ask);
        Some(ask)
    }

    /// The words of a question for the server.
    pub(super) fn question(&self, ask: &Ask) -> Question {
        match ask {
            Ask::Watch(path) => Question::Watch(path.clone()),
            Ask::Base => Question::Exists(self.layout.base().to_owned()),
            Ask::Catalogue => Question::Children(self.layout.base().to_owned()),
            Ask::List { directory, .. } => Question::Children(directory.clone()),
            Ask::Read { path, .. } => Question::Data(path.clone()),
        }
    }

    /// Takes in an event that came at this time: it costs one question at the most.
    pub(super) fn event(&mut self, event: &Event, now: Instant) {
        let (Event::Created(path) | Event::Changed(path) | Event::Deleted(path)) = event;
        match self.layout.place(path) {
            Place::Service(name) => {
                if let Some(catalogue) = &mut self.catalogue
                    && let Some(names) = &mut catalogue.names
                {
                    catalogue.news |= match event {
                        Event::Created(_) => names.insert(name),
                        Event::Deleted(_) => names.remove(&name),
                        Event::Changed(_) => false,
                    };
                }
            }
            Place::Instance(name) => {
                let Some(service) = self.services.get_mut(&name) else { return };
                match event {
                    Event::Created(path) => service.created(path),
                    Event::Changed(_) => {}
                    Event::Deleted(path) => {
                        service.gone(path);
                        self.soil(name, now);
                        return;
                    }
                }
                self.heard.entry(path.clone()).or_insert(now);
                self.push(Ask::Read { service: name, path: path.clone() });
            }
            Place::Elsewhere => {}
        }
    }

    /// Takes in an answer that came at this time.
    ///
    /// # Errors
    /// What ends the connection.
    pub(super) fn answer(&mut self, ask: Ask, answer: Result<Bytes, Code>, now: Instant) -> Result<(), ProviderError> {
        if let Err(code) = answer
            && code.ends_the_connection()
        {
            return Err(code.error("the session"));
        }
        match ask {
            Ask::Watch(path) => answer.map(drop).map_err(|code| code.error(&format!("a watch on {path}"))),
            Ask::Base => {
                if answer == Err(Code::NO_NODE) {
                    let path = self.layout.base();
                    tracing::warn!(path, "zookeeper: no service has registered yet, or `path` is another");
                }
                Ok(())
            }
            Ask::Catalogue => {
                let names = children(answer, self.layout.base())?;
                self.catalogued(names);
                Ok(())
            }
            Ask::List { service, directory } => {
                let names = children(answer, &directory)?;
                self.listed(service, &directory, names, now);
                Ok(())
            }
            Ask::Read { service, path } => self.read(service, &path, answer, now),
        }
    }

    fn catalogued(&mut self, names: Result<Vec<String>, ProviderError>) {
        let Some(catalogue) = &mut self.catalogue else { return };
        let base = self.layout.base();
        let before = std::mem::take(&mut catalogue.told);
        let mut tell = |reason: String| {
            if !before.contains(&reason) {
                self.skipped.push(Update::Skipped { service: None, reason: reason.clone() });
            }
            catalogue.told.insert(reason);
        };
        catalogue.refused = names.is_err();
        match names {
            Ok(names) => {
                let mut known = BTreeSet::new();
                for name in names {
                    match self.layout.place(&format!("{base}/{name}")) {
                        Place::Service(service) => drop(known.insert(service)),
                        Place::Instance(_) => {}
                        Place::Elsewhere if self.layout.is_reserved(&name) => {}
                        Place::Elsewhere => {
                            tell(format!("node {:?} is not named like a service", format!("{base}/{name}")))
                        }
                    }
                }
                catalogue.news |= catalogue.names.as_ref() != Some(&known);
                catalogue.names = Some(known);
            }
            Err(error) => tell(format!("catalogue: {error}")),
        }
    }

    fn listed(&mut self, name: ServiceId, directory: &str, names: Result<Vec<String>, ProviderError>, now: Instant) {
        let Some(service) = self.services.get_mut(&name) else { return };
        match names {
            Ok(names) => {
                for path in service.listed(directory, &names) {
                    self.push(Ask::Read { service: name.clone(), path });
                }
            }
            Err(error) => {
                // Whoever takes away one right may have taken away all.
                if service.unlisted(directory, error) && !std::mem::replace(&mut self.alarmed, true) {
                    self.resync();
                }
            }
        }
        self.soil(name, now);
    }

    fn read(
        &mut self,
        name: ServiceId,
        path: &str,
        answer: Result<Bytes, Code>,
        now: Instant,
    ) -> Result<(), ProviderError> {
        // The word of a change is the event, not the answer that says what it is.
        let seen = self.heard.remove(path).unwrap_or(now);
        let Some(service) = self.services.get_mut(&name) else { return Ok(()) };
        match answer {
            Ok(body) => {
                let data = wire::data(body).ok_or_else(|| unreadable(path))?;
                service.read(path, self.layout.read(path, &data).map_err(ProviderError::Malformed));
            }
            Err(Code::NO_NODE) => service.gone(path),
            Err(code) => service.read(path, Err(code.error(path))),
        }
        self.soil(name, seen);
        Ok(())
    }

    /// Asks again what was refused: no event tells of rights.
    pub(super) fn retry(&mut self) {
        if self.catalogue.as_ref().is_some_and(|catalogue| catalogue.refused) {
            self.push(Ask::Catalogue);
        }
        let again: Vec<_> = self.services.iter_mut().map(|(name, s)| (name.clone(), s.forget_refusals())).collect();
        for (service, again) in again {
            for directory in again.directories {
                self.push(Ask::List { service: service.clone(), directory });
            }
            for path in again.nodes {
                self.push(Ask::Read { service: service.clone(), path });
            }
        }
    }

    /// Lists one service again, each in its turn: no event tells that we may not read it any more.
    pub(super) fn try_rights(&mut self) {
        self.alarmed = false;
        let after = self.tried.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.services.range((after, Bound::Unbounded)).next().or_else(|| self.services.first_key_value());
        let Some((name, service)) = next else { return };
        self.tried = Some(name.clone());
        for ask in lists(name, service) {
            self.push(ask);
        }
    }

    /// Lists everything again, in case that an event was lost; reads only what is new.
    pub(super) fn resync(&mut self) {
        if self.catalogue.is_some() {
            self.push(Ask::Catalogue);
        }
        let all: Vec<_> = self.services.iter().flat_map(|(name, service)| lists(name, service)).collect();
        for ask in all {
            self.push(ask);
        }
    }

    /// What is to be said since the last call, and since when.
    pub(super) fn updates(&mut self, now: Instant) -> Vec<(Update, Instant)> {
        let mut updates: Vec<_> = std::mem::take(&mut self.skipped).into_iter().map(|update| (update, now)).collect();
        for (name, seen) in std::mem::take(&mut self.dirty) {
            if let Some(service) = self.services.get_mut(&name) {
                updates.extend(service.speak(&name).into_iter().map(|update| (update, seen)));
            }
        }
        updates
    }

    fn soil(&mut self, service: ServiceId, seen: Instant) {
        let since = self.dirty.entry(service).or_insert(seen);
        *since = seen.min(*since);
    }

    fn push(&mut self, ask: Ask) {
        if self.queued.insert(ask.clone()) {
            self.queue.push_back(ask);
        }
    }
}

/// The questions that read a service anew.
fn lists(name: &ServiceId, service: &Service) -> Vec<Ask> {
    service.directories().map(|path| Ask::List { service: name.clone(), directory: path.clone() }).collect()
}

/// The names in an answer: none if the node is not there. The outer error ends the connection, the inner one concerns
/// this node.
fn children(answer: Result<Bytes, Code>, path: &str) -> Result<Result<Vec<String>, ProviderError>, ProviderError> {
    match answer {
        Ok(body) => wire::children(body).map(Ok).ok_or_else(|| unreadable(path)),
        Err(Code::NO_NODE) => Ok(Ok(Vec::new())),
        Err(code) => Ok(Err(code.error(path))),
    }
}

fn unreadable(path: &str) -> ProviderError {
    ProviderError::Malformed(format!("the answer about {path}"))
}
