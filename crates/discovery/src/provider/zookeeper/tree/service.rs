//! What is known of one service, and what was said of it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{Instance, InstanceId, Knowledge, ProviderError, ServiceId, Standing, Update};

/// The listing of a directory: `None` while we wait for it.
type Listing = Option<Result<(), ProviderError>>;

#[derive(Debug, Default)]
pub(super) struct Service {
    directories: BTreeMap<String, Listing>,
    /// By path.
    nodes: BTreeMap<String, Node>,
    /// Everything asked at first is answered. From then on a change is said at once.
    whole: bool,
    said: Option<Result<Vec<Arc<Instance>>, ProviderError>>,
    /// The last list that was said.
    list: Vec<Arc<Instance>>,
}

#[derive(Debug, Default)]
struct Node {
    /// `None` until it is read.
    read: Option<Result<Arc<Instance>, ProviderError>>,
    /// What was said of it as skipped.
    told: Option<ProviderError>,
}

/// What to ask again.
#[derive(Debug, Default)]
pub(super) struct Again {
    pub(super) directories: Vec<String>,
    pub(super) nodes: Vec<String>,
}

impl Service {
    /// One that stands in these directories, none of them listed yet.
    pub(super) fn new(directories: Vec<String>) -> Self {
        Self { directories: directories.into_iter().map(|path| (path, None)).collect(), ..Self::default() }
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = &String> {
        self.directories.keys()
    }

    /// A directory holds these nodes and no others; returns those that are new and so to be read.
    pub(super) fn listed(&mut self, directory: &str, names: &[String]) -> Vec<String> {
        let before = self.directories.insert(directory.to_owned(), Some(Ok(())));
        // A first list, or the first after a refusal, is said when it is complete.
        self.whole &= matches!(before, Some(Some(Ok(()))));
        let paths: BTreeSet<_> = names.iter().map(|name| format!("{directory}/{name}")).collect();
        let inside = |path: &str| path.rsplit_once('/').is_some_and(|(parent, _)| parent == directory);
        self.nodes.retain(|path, _| !inside(path) || paths.contains(path));
        let new: Vec<_> = paths.into_iter().filter(|path| !self.nodes.contains_key(path)).collect();
        self.nodes.extend(new.iter().map(|path| (path.clone(), Node::default())));
        new
    }

    /// A directory cannot be listed.
    ///
    /// Returns whether it could be listed last.
    pub(super) fn unlisted(&mut self, directory: &str, error: ProviderError) -> bool {
        matches!(self.directories.insert(directory.to_owned(), Some(Err(error))), Some(Some(Ok(_))))
    }

    /// There is a node, to be read.
    pub(super) fn created(&mut self, path: &str) {
        self.nodes.entry(path.to_owned()).or_default();
    }

    pub(super) fn gone(&mut self, path: &str) {
        self.nodes.remove(path);
    }

    /// What is in a node, unless it is gone by now.
    pub(super) fn read(&mut self, path: &str, read: Result<Instance, ProviderError>) {
        if let Some(node) = self.nodes.get_mut(path) {
            node.read = Some(read.map(Arc::new));
        }
    }

    /// Forgets what was refused, so that it is asked again. What cannot be read changes only when somebody writes it.
    pub(super) fn forget_refusals(&mut self) -> Again {
        let mut again = Again::default();
        for (path, listing) in &mut self.directories {
            if listing.take_if(|listing| listing.is_err()).is_some() {
                again.directories.push(path.clone());
            }
        }
        for (path, node) in &mut self.nodes {
            let refused = |read: &mut Result<_, ProviderError>| matches!(read, Err(e) if e.reason() != "malformed");
            if node.read.take_if(refused).is_some() {
                again.nodes.push(path.clone());
            }
        }
        self.whole &= again.directories.is_empty() && again.nodes.is_empty();
        again
    }

    /// What is new since the last call.
    pub(super) fn speak(&mut self, service: &ServiceId) -> Vec<Update> {
        let listed = self.directories.values().all(Option::is_some);
        self.whole |= listed && self.nodes.values().all(|node| node.read.is_some());
        if !self.whole {
            return Vec::new();
        }
        let mut updates = self.skipped(service);
        let word = self.word();
        if self.said.as_ref() == Some(&word) {
            return updates;
        }
        let deregistered = word.as_ref().map(|list| self.deregistered(list)).unwrap_or_default();
        let knowledge = match &word {
            Ok(list) => {
                self.list.clone_from(list);
                Knowledge::of(list.iter().cloned())
            }
            Err(error) => Knowledge::Unknown(error.clone()),
        };
        self.said = Some(word);
        updates.push(Update::Service { service: service.clone(), knowledge, deregistered });
        updates
    }

    fn skipped(&mut self, service: &ServiceId) -> Vec<Update> {
        let mut updates = Vec::new();
        for node in self.nodes.values_mut() {
            let trouble = node.read.as_ref().and_then(|read| read.as_ref().err());
            if trouble != node.told.as_ref()
                // While it is read again, what was said of it stands.
                && node.read.is_some()
            {
                node.told = trouble.cloned();
                let told = node.told.iter().map(ToString::to_string);
                updates.extend(told.map(|reason| Update::Skipped { service: Some(service.clone()), reason }));
            }
        }
        updates
    }

    fn word(&self) -> Result<Vec<Arc<Instance>>, ProviderError> {
        if let Some(error) = self.directories.values().flatten().find_map(|listing| listing.as_ref().err()) {
            return Err(error.clone());
        }
        let read = || self.nodes.values().filter_map(|node| node.read.as_ref());
        let mut list: Vec<_> = read().filter_map(|read| read.as_ref().ok()).cloned().collect();
        if let (true, Some(error)) = (list.is_empty(), read().find_map(|read| read.as_ref().err())) {
            // A record that cannot be read is not one that is not there.
            return Err(error.clone());
        }
        // An instance that stands in two directories while it moves serves.
        list.sort_by(|a, b| a.id.cmp(&b.id).then_with(|| drains(a).cmp(&drains(b))));
        list.dedup_by(|a, b| a.id == b.id);
        Ok(list)
    }

    /// Who said that it takes no requests before it left, left on its own word. A node that vanished says nothing of
    /// the kind: its session may have expired.
    fn deregistered(&self, list: &[Arc<Instance>]) -> Vec<InstanceId> {
        let left = self.list.iter().filter(|old| !list.iter().any(|new| new.id == old.id));
        left.filter(|old| drains(old)).map(|old| old.id.clone()).collect()
    }
}

fn drains(instance: &Instance) -> bool {
    instance.standing == Standing::Draining
}
