//! `file`: lists in files beside the configuration, as configuration management writes them and as config maps are
//! mounted.
//!
//! | module | idea |
//! |---|---|
//! | `disk` | which files there are, and what they say |
//! | `shelf` | what is known of each file, joined to services |

mod disk;
mod shelf;

use std::{convert::Infallible, path::PathBuf};

use model::{InstanceId, Knowledge, ProviderError, ServiceId, Update};
use settings::{
    Aside,
    watch::{Files, POLL},
};
use tokio::time::Instant;

use self::shelf::{Change, Shelf};
use super::{Feed, Interest, Provider};

/// The section `file`: `{ path: services.d }`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A file, or a directory of files whose names end in `.yml`, `.yaml` or `.json`. Each holds `services:` in the form
    /// of the section `static`.
    pub path: PathBuf,
}

impl Settings {
    /// Whether these settings can work. The path need not be there yet: it may be mounted later.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        if self.path.as_os_str().is_empty() {
            return Err("path: name a file or a directory of files".to_owned());
        }
        Ok(())
    }
}

/// Files as a source of instances.
#[derive(Debug)]
pub struct Source {
    reader: Reader,
    /// Kept over outages, so that a file system that hangs is not asked anew each time.
    files: Option<Files>,
}

/// Reads what is at a path, and knows what it read.
#[derive(Debug)]
struct Reader {
    path: PathBuf,
    aside: Aside,
    shelf: Shelf,
}

impl Source {
    /// A source that follows what is at this path.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let reader = Reader { path: settings.path, aside: Aside::default(), shelf: Shelf::default() };
        Self { reader, files: None }
    }
}

impl Reader {
    /// Looks at the path, reads what may have changed, and watches what is there from before it was read.
    async fn look(&mut self, files: &mut Files, changed: &[PathBuf]) -> Result<Change, ProviderError> {
        let listed = disk::list(&self.path, &self.aside).await?;
        files.set_paths(listed.iter().chain([&self.path]).cloned()).await;
        let to_read = listed.iter().filter(|file| changed.contains(file) || !self.shelf.knows(file));
        let read = disk::read(&self.path, to_read.cloned().collect(), &self.aside).await?;
        Ok(self.shelf.take(&listed, read))
    }

    /// What all files say of a service, and who left it on purpose.
    async fn say(
        &self,
        service: ServiceId,
        deregistered: Vec<InstanceId>,
        feed: &Feed,
        seen: Instant,
    ) -> Result<(), ProviderError> {
        let knowledge = Knowledge::of(self.shelf.joined(&service));
        feed.publish_seen(Update::Service { service, knowledge, deregistered }, seen).await
    }

    /// Everything the files say. Once each of them could be read, no other services are there.
    async fn say_all(&self, interest: &Interest, feed: &Feed, seen: Instant) -> Result<(), ProviderError> {
        let Some(doubt) = self.shelf.doubt() else {
            return feed.publish_seen(Update::Everything(self.shelf.all().collect()), seen).await;
        };
        let unnamed = interest.services.iter().filter(|service| !self.shelf.names(service));
        let unknown = || Knowledge::Unknown(ProviderError::Malformed(doubt.to_owned()));
        let unnamed = unnamed.map(|service| (service.clone(), unknown()));
        let named = self.shelf.all().map(|(service, list)| (service, Knowledge::of(list)));
        for (service, knowledge) in named.chain(unnamed) {
            feed.publish_seen(Update::Service { service, knowledge, deregistered: Vec::new() }, seen).await?;
        }
        Ok(())
    }
}

impl Provider for Source {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let Self { reader, files } = self;
        let files = match files {
            Some(files) => files,
            None => files.insert(Files::new([reader.path.clone()], POLL).await.apart()),
        };
        let mut interests = feed.interest();
        // After an outage all files may have changed.
        let known = reader.shelf.files();
        let mut seen = Instant::now();
        let change = reader.look(files, &known).await?;
        tell(&change, feed, seen).await?;
        if reader.shelf.doubt().is_some() {
            // Then not everything is said, so what went meanwhile has to be.
            for service in change.services.keys().filter(|service| !reader.shelf.names(service)) {
                reader.say(service.clone(), Vec::new(), feed, seen).await?;
            }
        }
        loop {
            let interest = interests.borrow_and_update().clone();
            reader.say_all(&interest, feed, seen).await?;
            let doubted = reader.shelf.doubt().is_some();
            while doubted == reader.shelf.doubt().is_some() {
                tokio::select! {
                    changed = interests.changed() => {
                        changed.map_err(|_| ProviderError::Closed)?;
                        seen = Instant::now();
                        break;
                    }
                    changed = files.changed() => {
                        let path = reader.path.display();
                        let changed = changed.map_err(|stalled| ProviderError::Stalled(format!("{path}: {stalled}")))?;
                        seen = Instant::now();
                        let change = reader.look(files, &changed).await?;
                        tell(&change, feed, seen).await?;
                        for (service, deregistered) in change.services {
                            reader.say(service, deregistered, feed, seen).await?;
                        }
                    }
                }
            }
        }
    }
}

/// What is wrong with files, each time it is another fault.
async fn tell(change: &Change, feed: &Feed, seen: Instant) -> Result<(), ProviderError> {
    for reason in &change.troubles {
        feed.publish_seen(Update::Skipped { service: None, reason: reason.clone() }, seen).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
