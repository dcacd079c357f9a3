//! What the sources are doing, for health, status pages and logs.
//!
//! | File | |
//! |---|---|
//! | `status.rs` | what is known of each source |
//! | `status/oldest.rs` | how old the oldest of what it says is |
//! | `status/word.rs` | what it says that concerns itself, and what is new then |

mod oldest;
#[cfg(test)]
mod tests;
mod word;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use model::{ProviderError, ServiceId, Tick};

use crate::{
    claims::{Claims, SourceId},
    freshness::Freshness,
    provider::{Interest, Kind, Pulse},
    sources::Interests,
    subscriptions::Counts,
};

pub(crate) use word::{Turn, Word};

/// How many reasons for skipped records are kept, and told in a [`MINUTE`]: enough to see the pattern, few enough to read.
const REASONS: usize = 32;
const MINUTE: Duration = Duration::from_secs(60);
/// Bytes of a reason that are kept: what stands in a registry may be long.
const REASON: usize = 300;

/// A doubt that follows this soon is the one that was taken back: what is known of a list is said first, then that it is not all.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long a source that is remembered may take to answer before the router calls itself ready without it.
const ITS_TIME: Duration = Duration::from_secs(2);

/// All sources, in order of precedence.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// One entry per source.
    pub sources: Vec<Arc<Source>>,
    /// What is subscribed to on first use, if anything may be.
    pub first_use: Option<FirstUse>,
}

/// What is subscribed to beyond what the file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstUse {
    /// Services at once, at most.
    pub at_most: usize,
    /// Services now.
    pub services: usize,
    /// Of them, those no registry has answered for.
    pub unanswered: usize,
    /// What was done so far.
    pub counts: Counts,
    /// Requests that named a service while too many others did, so that it was not looked at.
    pub dropped: u64,
}

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
    awaits_catalogue: bool,
    /// When it was last heard, and last read as a whole.
    pub pulse: Arc<Pulse>,
    /// How many times it told of instances.
    pub updates: u64,
    /// How many withdrawals of it looked like a fault, so that the instances became last resort.
    pub suspected: u64,
    /// How long its changes took to be published.
    pub freshness: Arc<Freshness>,
    /// Services of which it last said that it does not know; their lists stand and age.
    pub doubts: BTreeMap<ServiceId, Doubt>,
    /// The doubt that was taken back last, and when.
    lifted: Option<(ServiceId, Doubt, Tick)>,
    /// How many records could not be used.
    pub skipped: u64,
    /// Why, for the last of them.
    pub reasons: VecDeque<String>,
    /// How many of them were told since when.
    told: (usize, Tick),
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

impl Status {
    /// A running source.
    #[must_use]
    pub fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.iter().find(|s| s.id == id).map(|s| &**s)
    }

    fn source_mut(&mut self, id: SourceId) -> Option<&mut Source> {
        self.sources.iter_mut().find(|s| s.id == id).map(Arc::make_mut)
    }

    /// Whether every source has told once what it knows, so that an absent service is really absent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.sources.iter().all(|s| s.answered)
    }

    /// Replaces the set of sources; those that stay keep their state. A source that takes over from one of its name that
    /// had answered is not waited for: what that said stands. If nothing is of interest, nothing is waited for.
    pub(crate) fn arrange(
        &mut self,
        sources: &[(SourceId, Arc<str>, Kind)],
        interests: &Interests<Interest>,
        claims: &Claims,
        now: Tick,
    ) {
        let old = std::mem::take(&mut self.sources);
        let kept = |id: SourceId| old.iter().find(|s| s.id == id).cloned();
        for (id, name, kind) in sources {
            let mut source = kept(*id).unwrap_or_else(|| Arc::new(Source::new(*id, name.clone(), *kind, now)));
            if !source.answered {
                let interest = interests.of(*kind);
                let source = Arc::make_mut(&mut source);
                source.answered = interest.is_empty() || old.iter().any(|s| s.name == *name && s.answered);
                source.awaits_catalogue = interest.exposure.needs_catalog();
                source.awaited = interest.services.iter().filter(|s| !is_told(claims, *id, s)).cloned().collect();
            }
            if !source.inherited.is_empty() {
                let source = Arc::make_mut(&mut source);
                source.unlisted.retain(|service| claims.is_inherited(*id, service));
                source.inherited.retain(|service, _| claims.is_inherited(*id, service));
            }
            if let Some(old) = old.iter().find(|s| s.name == *name && s.id != *id) {
                let source = Arc::make_mut(&mut source);
                source.recalled = old.recalled;
                source.freshness = old.freshness.clone();
                let inherited = claims.services_of(*id).into_iter().filter(|s| claims.is_inherited(*id, s));
                source.inherited = inherited.map(|s| (s.clone(), old.age(&s, now).unwrap_or_default())).collect();
            }
            self.sources.push(source);
        }
    }

    /// Notes where a source leaves its signs of life.
    pub(crate) fn feel(&mut self, id: SourceId, pulse: &Arc<Pulse>) {
        if let Some(source) = self.sources.iter_mut().find(|s| s.id == id && !Arc::ptr_eq(&s.pulse, pulse)) {
            Arc::make_mut(source).pulse = Arc::clone(pulse);
        }
    }

    /// What was remembered of a source stands until it speaks itself.
    pub(crate) fn recall(&mut self, id: SourceId, ages: BTreeMap<ServiceId, Duration>) {
        if let Some(source) = self.source_mut(id) {
            source.recalled = true;
            source.inherited = ages;
        }
    }

    /// The router does not ask about a service any longer: what was doubtful or old of it is of no interest.
    pub(crate) fn let_go(&mut self, service: &ServiceId) {
        for source in &mut self.sources {
            let Source { doubts, inherited, unconfirmed, .. } = &**source;
            if doubts.contains_key(service) || inherited.contains_key(service) || unconfirmed.contains_key(service) {
                Arc::make_mut(source).heard_of(service);
            }
        }
    }

    /// Notes what a source said; returns what is new about the source itself.
    pub(crate) fn note(&mut self, id: SourceId, word: Word, suspected: u64, claims: &Claims, now: Tick) -> Vec<Turn> {
        let Some(source) = self.source_mut(id) else { return Vec::new() };
        source.suspected += suspected;
        let mut turns = Vec::new();
        match word {
            Word::Everything => {
                source.doubts.clear();
                source.inherited.clear();
                source.unlisted.clear();
                source.awaited.clear();
                source.awaits_catalogue = false;
                turns.extend(source.hear(claims, now));
                turns.extend(std::mem::take(&mut source.unconfirmed).into_keys().map(Turn::Confirmed));
            }
            Word::Catalogue(services) => {
                source.unlisted.extend(source.inherited.keys().filter(|service| !services.contains(*service)).cloned());
                // Nobody looks at these any longer, so nobody would take the doubt back.
                let left = source.doubts.extract_if(.., |s, _| !services.contains(s) && !claims.is_claimed(id, s));
                turns.extend(left.map(|(service, doubt)| Turn::Certain(service, now.since(doubt.since))));
                if !source.answered {
                    let unlisted = &source.unlisted;
                    let awaited = services.into_iter().filter(|s| !is_told(claims, id, s) && !unlisted.contains(s));
                    source.awaited = awaited.collect();
                    source.awaits_catalogue = false;
                }
                turns.extend(source.hear(claims, now));
            }
            // What it said before stands, and it is not known why it says no more: it is asked by name.
            Word::Forgotten(service) if claims.is_inherited(id, &service) => drop(source.unlisted.insert(service)),
            Word::Service(service) | Word::Forgotten(service) => {
                source.awaited.remove(&service);
                turns.extend(source.hear(claims, now));
                turns.extend(match source.heard_of(&service) {
                    (Some(doubt), _) => {
                        source.lifted = Some((service.clone(), doubt.clone(), now));
                        Some(Turn::Certain(service, now.since(doubt.since)))
                    }
                    (None, true) => Some(Turn::Confirmed(service)),
                    (None, false) => None,
                });
            }
            Word::Doubt(service, error) => {
                let again = source
                    .lifted
                    .take_if(|(s, doubt, at)| *s == service && doubt.error == error && now.since(*at) < AT_ONCE);
                let doubt = source.doubts.get(&service).cloned().or_else(|| again.map(|(_, doubt, _)| doubt));
                let since = doubt.map(|doubt| doubt.since);
                if since.is_none() {
                    tracing::warn!(source = %source.name, %service, %error, "cannot read this service; its list stands");
                }
                if !source.doubts.contains_key(&service) {
                    turns.push(Turn::Doubt(service.clone(), error.clone()));
                }
                source.doubts.insert(service, Doubt { error, since: since.unwrap_or(now) });
            }
            Word::Unreachable(error) => turns.extend(source.turn(State::Down(error), now)),
            Word::Skipped(reason) => turns.extend(source.skip(reason, now)),
        }
        turns
    }
}

/// Whether a source has spoken of a service itself.
fn is_told(claims: &Claims, source: SourceId, service: &ServiceId) -> bool {
    claims.speaks_of(source, service) && !claims.is_inherited(source, service)
}

impl Source {
    /// Whether the router can take traffic as far as this source is concerned: it has answered, or what is remembered of
    /// it must do, because it failed or had its time.
    #[must_use]
    pub fn is_usable(&self, now: Tick) -> bool {
        let late = matches!(self.state, State::Down(_)) || now.since(self.started) >= ITS_TIME;
        self.answered || (self.recalled && late)
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

    fn new(id: SourceId, name: Arc<str>, kind: Kind, now: Tick) -> Self {
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
            updates: 0,
            suspected: 0,
            freshness: Arc::default(),
            doubts: BTreeMap::new(),
            lifted: None,
            skipped: 0,
            reasons: VecDeque::new(),
            told: (0, now),
        }
    }

    /// A record could not be used. All are counted; of many, the first in a minute are told.
    fn skip(&mut self, mut reason: String, now: Tick) -> Option<Turn> {
        reason.truncate(reason.floor_char_boundary(REASON));
        self.skipped += 1;
        if !self.reasons.contains(&reason) {
            self.reasons.push_back(reason.clone());
        }
        if self.reasons.len() > REASONS {
            self.reasons.pop_front();
        }
        if now.since(self.told.1) >= MINUTE {
            self.told = (0, now);
        }
        self.told.0 += 1;
        if self.told.0 > REASONS {
            return None;
        }
        let more = if self.told.0 == REASONS { "; more of this minute are counted only" } else { "" };
        tracing::warn!(source = %self.name, "skipped a record: {reason}{more}");
        Some(Turn::Skipped(reason))
    }

    /// It spoke of this service itself, or is not asked about it any longer; its doubt until then, and whether an outage
    /// had left its word unconfirmed.
    fn heard_of(&mut self, service: &ServiceId) -> (Option<Doubt>, bool) {
        self.inherited.remove(service);
        self.unlisted.remove(service);
        (self.doubts.remove(service), self.unconfirmed.remove(service).is_some())
    }

    /// It answered. After an outage, that says nothing of the services that the answer is not about.
    fn hear(&mut self, claims: &Claims, now: Tick) -> Option<Turn> {
        if let State::Down(_) = self.state {
            self.unconfirmed.retain(|service, _| claims.speaks_of(self.id, service));
            // One without instances may be of no interest any more, so that nobody would speak of it again.
            for service in claims.services_of(self.id).into_iter().filter(|s| claims.is_claimed(self.id, s)) {
                self.unconfirmed.entry(service).or_insert(self.since);
            }
        }
        self.updates += 1;
        self.answered |= self.awaited.is_empty() && !self.awaits_catalogue;
        self.turn(State::Live, now)
    }

    /// Changes the state and logs it: once per change, not once per attempt.
    fn turn(&mut self, state: State, now: Tick) -> Option<Turn> {
        let turn = match (&self.state, &state) {
            (State::Down(_), State::Down(_)) | (State::Live, State::Live) => None,
            (_, State::Down(error)) => {
                tracing::warn!(source = %self.name, %error, "source is down; what it said stands");
                Some(Turn::Down(error.clone()))
            }
            (State::Down(_), _) => {
                let down_for = now.since(self.since);
                tracing::info!(source = %self.name, ?down_for, "source is back");
                Some(Turn::Live(down_for))
            }
            _ => {
                tracing::info!(source = %self.name, kind = %self.kind, "source is live");
                Some(Turn::Live(Duration::ZERO))
            }
        };
        if turn.is_some() {
            self.since = now;
        }
        self.state = state;
        turn
    }
}
