//! The running sources, and what a reload makes of them.

use std::sync::Arc;

use ::settings::Aside;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    claims::SourceId,
    handle::StartError,
    provider::{Feed, Interest, Kind, Message, Settings, embedded::Registry, settings::Launch},
};

/// The running sources. Written by start and reload only.
#[derive(Debug)]
pub(crate) struct Sources {
    running: Vec<Source>,
    next: SourceId,
    updates: mpsc::Sender<Message>,
    interests: Interests<watch::Receiver<Arc<Interest>>>,
    /// Where the files are read that settings name.
    aside: Aside,
}

/// What sources are to watch.
#[derive(Debug, Clone)]
pub(crate) struct Interests<T> {
    /// Those that follow all they hold.
    pub(crate) whole: T,
    /// Those that are asked by name: without catalogue, if services are subscribed to on first use.
    pub(crate) by_name: T,
}

impl<T> Interests<T> {
    /// What a source of this kind is to watch.
    pub(crate) fn of(&self, kind: Kind) -> &T {
        if kind.is_asked_by_name() { &self.by_name } else { &self.whole }
    }

    /// The same, to change it.
    pub(crate) fn of_mut(&mut self, kind: Kind) -> &mut T {
        if kind.is_asked_by_name() { &mut self.by_name } else { &mut self.whole }
    }
}

/// One running source.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) id: SourceId,
    pub(crate) name: Arc<str>,
    pub(crate) settings: Settings,
    pub(crate) registry: Option<Registry>,
    task: JoinHandle<()>,
}

/// What to do to follow new settings. Making it changes nothing that runs.
pub(crate) struct Change {
    wanted: Vec<Wanted>,
}

struct Wanted {
    id: SourceId,
    name: Arc<str>,
    settings: Settings,
    /// `None` for a source that goes on.
    launch: Option<Launch>,
}

impl Sources {
    pub(crate) fn new(updates: mpsc::Sender<Message>, interests: Interests<watch::Receiver<Arc<Interest>>>) -> Self {
        Self { running: Vec::new(), next: 0, updates, interests, aside: Aside::default() }
    }

    /// Builds what is new. A source whose settings stay goes on, with all it said, under whatever name.
    pub(crate) async fn plan(&mut self, wanted: Vec<(String, Settings)>) -> Result<Change, StartError> {
        let mut change = Change { wanted: Vec::new() };
        let stay = self.staying(&wanted);
        for ((name, settings), stays) in wanted.into_iter().zip(stay) {
            let (id, launch) = match stays {
                Some(id) => (id, None),
                None => {
                    let own = settings.clone();
                    let built = self.aside.run(move || own.build()).await;
                    let built = built.unwrap_or_else(|stalled| Err(format!("the files that it names: {stalled}")));
                    let launch = built.map_err(|reason| StartError { name: name.clone(), reason })?;
                    self.next += 1;
                    (self.next, Some(launch))
                }
            };
            change.wanted.push(Wanted { id, name: name.into(), settings, launch });
        }
        Ok(change)
    }

    /// Which running source is which wanted one: that of its name, or one whose name is wanted no longer with these settings.
    fn staying(&self, wanted: &[(String, Settings)]) -> Vec<Option<SourceId>> {
        let same = |s: &&Source, settings: &Settings| s.settings.same_source(settings);
        let named = |name: &str, settings| self.running.iter().find(|s| *s.name == *name && same(s, settings));
        let mut stay: Vec<_> = wanted.iter().map(|(name, settings)| named(name, settings).map(|s| s.id)).collect();
        for (at, (_, settings)) in wanted.iter().enumerate() {
            if stay[at].is_none() {
                let renamed = self.running.iter().filter(|s| !stay.contains(&Some(s.id))).find(|s| same(s, settings));
                stay[at] = renamed.map(|s| s.id);
            }
        }
        stay
    }

    /// Ends what is no longer wanted.
    pub(crate) async fn end_others(&mut self, change: &Change) {
        let kept = |s: &Source| change.wanted.iter().any(|w| w.id == s.id);
        let (running, ended) = std::mem::take(&mut self.running).into_iter().partition(kept);
        self.running = running;
        end(ended).await;
    }

    /// Starts what is new, on the current runtime.
    pub(crate) fn start(&mut self, change: Change) {
        for Wanted { id, name, settings, launch } in change.wanted {
            if let Some(launch) = launch {
                let registry = launch.registry.clone();
                follow(registry.as_ref(), &settings);
                let interest = self.interests.of(settings.kind()).clone();
                let task = launch.start(Feed::to_reconciler(id, self.updates.clone(), interest));
                self.running.push(Source { id, name, settings, registry, task });
            } else if let Some(old) = self.running.iter_mut().find(|s| s.id == id) {
                if old.name != name {
                    tracing::info!(before = %old.name, now = %name, "a registry has another name, and goes on");
                    old.name = name;
                }
                if old.settings != settings {
                    follow(old.registry.as_ref(), &settings);
                    // Equal ones stay, because what the source told before may share memory with them.
                    old.settings = settings;
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.running.iter()
    }

    /// Ends all.
    pub(crate) async fn end(&mut self) {
        end(std::mem::take(&mut self.running)).await;
    }
}

impl Change {
    /// The sources there will be: id, name and kind, in order.
    pub(crate) fn order(&self) -> Vec<(SourceId, Arc<str>, Kind)> {
        self.wanted.iter().map(|w| (w.id, w.name.clone(), w.settings.kind())).collect()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Our own registry is kept by what the operator says from now on.
fn follow(registry: Option<&Registry>, settings: &Settings) {
    if let (Some(registry), Settings::Embedded(settings)) = (registry, settings) {
        registry.follow(settings);
    }
}

async fn end(ended: Vec<Source>) {
    for mut source in ended {
        source.task.abort();
        // Wait until it is really over and has let go of its files; that it was aborted is no error.
        let _aborted = (&mut source.task).await;
    }
}
