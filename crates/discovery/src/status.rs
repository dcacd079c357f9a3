//! What the sources are doing, for health, status pages and logs.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use model::{Knowledge, ProviderError, ServiceId, Tick, Update};

use crate::{
    claims::{Claims, SourceId},
    provider::Interest,
};

/// How many reasons for skipped records are kept: enough to see the pattern, few enough to read.
const REASONS: usize = 32;

/// All sources, in order of precedence.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// One entry per source.
    pub sources: Vec<Arc<Source>>,
}

/// One source of instances.
#[derive(Debug, Clone)]
pub struct Source {
    /// Names the running source.
    pub id: SourceId,
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its kind, as in the configuration: `static`, `embedded`, `consul`, `etcd`...
    pub kind: &'static str,
    /// Whether it works.
    pub state: State,
    /// Since when it is in this state.
    pub since: Tick,
    /// Whether it has told all it was asked, at least once since it was started.
    pub answered: bool,
    /// Until it has: the services of interest it has not told about yet.
    pub awaited: BTreeSet<ServiceId>,
    /// Until it has: whether it must still say what its catalogue holds.
    awaits_catalogue: bool,
    /// When it last told of instances.
    pub heard: Option<Tick>,
    /// How many times it told of instances.
    pub updates: u64,
    /// Services of which it last said that it does not know; their lists stand and age.
    pub doubts: BTreeMap<ServiceId, ProviderError>,
    /// How many records could not be used.
    pub skipped: u64,
    /// Why, for the last of them.
    pub reasons: VecDeque<String>,
}

/// Whether a source works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has not spoken yet.
    Starting,
    /// It told of instances and has not failed since.
    Live,
    /// It cannot be reached; what it said stands and ages.
    Down(ProviderError),
}

impl Status {
    /// Whether every source has told once what it knows, so that an absent service is really absent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.sources.iter().all(|s| s.answered)
    }

    /// Replaces the set of sources; those that stay keep their state. A source that takes over from one of its name that
    /// had answered is not waited for: what that said stands. If nothing is of interest, nothing is waited for.
    pub(crate) fn arrange(
        &mut self,
        sources: &[(SourceId, Arc<str>, &'static str)],
        interest: &Interest,
        claims: &Claims,
        now: Tick,
    ) {
        let old = std::mem::take(&mut self.sources);
        let kept = |id: SourceId| old.iter().find(|s| s.id == id).cloned();
        for (id, name, kind) in sources {
            let mut source = kept(*id).unwrap_or_else(|| Arc::new(Source::new(*id, name.clone(), kind, now)));
            if !source.answered {
                let source = Arc::make_mut(&mut source);
                source.answered = interest.is_empty() || old.iter().any(|s| s.name == *name && s.answered);
                source.awaits_catalogue = interest.exposure.needs_catalog();
                source.awaited = interest.services.iter().filter(|s| !claims.speaks_of(*id, s)).cloned().collect();
            }
            self.sources.push(source);
        }
    }

    /// Notes what a source said.
    pub(crate) fn note(&mut self, id: SourceId, word: Word, claims: &Claims, now: Tick) {
        let Some(source) = self.sources.iter_mut().find(|s| s.id == id) else { return };
        let source = Arc::make_mut(source);
        match word {
            Word::Everything => {
                source.doubts.clear();
                source.awaited.clear();
                source.awaits_catalogue = false;
                source.hear(now);
            }
            Word::Catalogue(services) if !source.answered => {
                source.awaited = services.into_iter().filter(|s| !claims.speaks_of(id, s)).collect();
                source.awaits_catalogue = false;
                source.hear(now);
            }
            Word::Catalogue(_) => source.hear(now),
            Word::Service(service) => {
                source.doubts.remove(&service);
                source.awaited.remove(&service);
                source.hear(now);
            }
            Word::Doubt(service, error) => {
                if source.doubts.insert(service.clone(), error.clone()).is_none() {
                    tracing::warn!(source = %source.name, %service, %error, "cannot read this service; its list stands");
                }
            }
            Word::Unreachable(error) => source.turn(State::Down(error), now),
            Word::Skipped(reason) => {
                tracing::warn!(source = %source.name, %reason, "skipped a record");
                source.skipped += 1;
                source.reasons.push_back(reason);
                if source.reasons.len() > REASONS {
                    source.reasons.pop_front();
                }
            }
        }
    }
}

impl Source {
    fn new(id: SourceId, name: Arc<str>, kind: &'static str, now: Tick) -> Self {
        Self {
            id,
            name,
            kind,
            state: State::Starting,
            since: now,
            answered: false,
            awaited: BTreeSet::new(),
            awaits_catalogue: false,
            heard: None,
            updates: 0,
            doubts: BTreeMap::new(),
            skipped: 0,
            reasons: VecDeque::new(),
        }
    }

    fn hear(&mut self, now: Tick) {
        self.updates += 1;
        self.heard = Some(now);
        self.answered |= self.awaited.is_empty() && !self.awaits_catalogue;
        self.turn(State::Live, now);
    }

    /// Changes the state and logs it: once per change, not once per attempt.
    fn turn(&mut self, state: State, now: Tick) {
        match (&self.state, &state) {
            (State::Down(_), State::Down(_)) | (State::Live, State::Live) => {}
            (_, State::Down(error)) => {
                tracing::warn!(source = %self.name, %error, "source is down; what it said stands");
                self.since = now;
            }
            (State::Down(_), _) => {
                tracing::info!(source = %self.name, down_for = ?now.since(self.since), "source is back");
                self.since = now;
            }
            _ => {
                tracing::info!(source = %self.name, kind = self.kind, "source is live");
                self.since = now;
            }
        }
        self.state = state;
    }
}

/// The part of an update that concerns the status of its source.
#[derive(Debug)]
pub(crate) enum Word {
    Everything,
    Catalogue(BTreeSet<ServiceId>),
    Service(ServiceId),
    Doubt(ServiceId, ProviderError),
    Unreachable(ProviderError),
    Skipped(String),
}

impl Word {
    pub(crate) fn of(update: &Update) -> Self {
        match update {
            Update::Everything(_) => Self::Everything,
            Update::Catalogue(services) => Self::Catalogue(services.clone()),
            Update::Service { service, knowledge: Knowledge::Unknown(error), .. } => {
                Self::Doubt(service.clone(), error.clone())
            }
            Update::Service { service, .. } => Self::Service(service.clone()),
            Update::Unreachable(error) => Self::Unreachable(error.clone()),
            Update::Skipped { service: None, reason } => Self::Skipped(reason.clone()),
            Update::Skipped { service: Some(service), reason } => Self::Skipped(format!("{service}: {reason}")),
        }
    }
}
