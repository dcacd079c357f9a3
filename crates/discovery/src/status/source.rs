//! One source: what is known of it, and what follows from that.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use model::{ProviderError, ServiceId, Tick};

use super::{is_told, lifted::Lifted, skipped::Skipped};
use crate::{
    claims::{Claims, SourceId},
    freshness::Freshness,
    provider::{Interest, Kind, Pulse},
};

/// How long a source that is remembered may take to answer before the router calls itself ready without it.
const ITS_TIME: Duration = Duration::from_secs(2);
/// How long the router waits for services that a source does not know about while it tells of others: a right to read that
/// is missing may never come.
const DOUBTED: Duration = Duration::from_secs(10);
/// The same, if it has told of nothing else: a router that knows nothing takes no other one's place too soon.
const ALL_DOUBTED: Duration = Duration::from_secs(60);

/// One source of instances.
#[derive(Debug, Clone)]
pub struct Source {
    /// Names the running source.
    pub id: SourceId,
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: Kind,
    /// Whether it works.
    pub state: State,
    /// Since when it is in this state.
    pub since: Tick,
    /// When it was started.
    pub started: Tick,
    /// Services it has not spoken of itself since then, and how old the word that stands for it was when it started: that
    /// of its predecessor, or what was remembered.
    pub inherited: BTreeMap<ServiceId, Duration>,
    /// Services it has not spoken of itself since its last outage, and since when it is not certain of them.
    pub unconfirmed: BTreeMap<ServiceId, Tick>,
    /// Inherited services that its catalogue does not name. It is asked about each by name: a catalogue may leave out what
    /// may not be read, and only the answer to a name tells that from what is gone.
    pub(crate) unlisted: BTreeSet<ServiceId>,
    /// Whether it is remembered what it said before this process began.
    pub recalled: bool,
    /// Whether it has told all it was asked, at least once since it was started.
    pub answered: bool,
    /// Until it has: the services of interest it has not told about yet.
    pub awaited: BTreeSet<ServiceId>,
    /// Until it has: whether it must still say what its catalogue holds.
    pub(super) awaits_catalogue: bool,
    /// When it was last heard, and last read as a whole.
    pub pulse: Arc<Pulse>,
    /// Whether it told of instances; a catalogue tells of names only.
    pub(super) told: bool,
    /// How many times it told of instances or names.
    pub updates: u64,
    /// How many withdrawals of it looked like a fault, so that the instances became last resort.
    pub suspected: u64,
    /// How long its changes took to be published.
    pub freshness: Arc<Freshness>,
    /// Services of which it last said that it does not know; their lists stand and age.
    pub doubts: BTreeMap<ServiceId, Doubt>,
    /// Those that it no longer doubts.
    pub(super) lifted: Lifted,
    /// The records it could not use.
    pub skipped: Skipped,
}

/// A source does not know about one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Why, as it said last.
    pub error: ProviderError,
    /// Since when.
    pub since: Tick,
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

impl Source {
    /// Whether the router can take traffic as far as this source is concerned: it has answered, or what is remembered of
    /// it must do, because it failed or had its time; or all that is missing is what it has doubted for long.
    #[must_use]
    pub fn is_usable(&self, now: Tick) -> bool {
        let late = matches!(self.state, State::Down(_)) || now.since(self.started) >= ITS_TIME;
        self.answered || (self.recalled && late) || self.only_doubts(now)
    }

    /// Whether it has told of everything else, and of these services that it does not know, and that for long.
    fn only_doubts(&self, now: Tick) -> bool {
        // A catalogue tells of names only; and one that fails afterwards takes nothing back, as what it told is served.
        let enough = if self.told { DOUBTED } else { ALL_DOUBTED };
        let doubted = |s: &ServiceId| self.doubts.get(s).is_some_and(|doubt| now.since(doubt.since) >= enough);
        !self.awaits_catalogue && !self.awaited.is_empty() && self.awaited.iter().all(doubted)
    }

    /// How long ago it was last certain that what it says of a service is true; `None`: it stands by it now. Tells nothing
    /// of services it never spoke of.
    #[must_use]
    pub fn age(&self, service: &ServiceId, now: Tick) -> Option<Duration> {
        let inherited = self.inherited.get(service).map(|age| *age + now.since(self.started));
        let doubted = self.doubts.get(service).map(|doubt| now.since(doubt.since));
        let unconfirmed = self.unconfirmed.get(service).map(|since| now.since(*since));
        let down = matches!(self.state, State::Down(_)).then(|| now.since(self.since));
        inherited.or_else(|| down.max(doubted).max(unconfirmed))
    }

    pub(super) fn new(id: SourceId, name: Arc<str>, kind: Kind, now: Tick) -> Self {
        Self {
            id,
            name,
            kind,
            state: State::Starting,
            since: now,
            started: now,
            inherited: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            recalled: false,
            answered: false,
            awaited: BTreeSet::new(),
            awaits_catalogue: false,
            pulse: Arc::default(),
            told: false,
            updates: 0,
            suspected: 0,
            freshness: Arc::default(),
            doubts: BTreeMap::new(),
            lifted: Lifted::default(),
            skipped: Skipped::default(),
        }
    }

    /// Takes over from the one of its name that goes.
    pub(super) fn succeed(&mut self, before: &Self, claims: &Claims, now: Tick) {
        self.answered = before.answered;
        self.recalled = before.recalled;
        self.freshness = before.freshness.clone();
        let inherited = claims.services_of(self.id).into_iter().filter(|s| claims.is_inherited(self.id, s));
        self.inherited = inherited.map(|s| (s.clone(), before.age(&s, now).unwrap_or_default())).collect();
    }
}

/// Another configuration holds. If nothing is of interest, nothing is waited for.
pub(super) fn follow(source: &mut Arc<Source>, interest: &Interest, claims: &Claims) {
    let id = source.id;
    if !source.answered {
        let source = Arc::make_mut(source);
        source.answered = interest.is_empty();
        source.awaits_catalogue = interest.exposure.needs_catalog();
        source.awaited = interest.services.iter().filter(|s| !is_told(claims, id, s)).cloned().collect();
    }
    // What nobody asks about any longer, and what had no instance to be taken back, is not spoken of again.
    let idle = |s: &ServiceId| !interest.may_mean(s) && !claims.is_claimed(id, s);
    if source.doubts.keys().any(idle) {
        Arc::make_mut(source).doubts.retain(|service, _| !idle(service));
    }
    if !source.inherited.is_empty() {
        let source = Arc::make_mut(source);
        source.unlisted.retain(|service| claims.is_inherited(id, service));
        source.inherited.retain(|service, _| claims.is_inherited(id, service));
    }
}
