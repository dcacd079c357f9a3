//! What the sources are doing, for health, status pages and logs.
//!
//! | File | |
//! |---|---|
//! | `status.rs` | all sources, and what a reload makes of them |
//! | `status/source.rs` | what is known of one: its state, its doubts, how old its word is, whether it is waited for |
//! | `status/hear.rs` | what a word of it changes in that |
//! | `status/lifted.rs` | doubts that it took back a moment ago |
//! | `status/skipped.rs` | the records it could not use |
//! | `status/oldest.rs` | how old the oldest of what it says is |
//! | `status/word.rs` | what it says that concerns itself, and what is new then |

mod hear;
mod lifted;
mod oldest;
mod skipped;
mod source;
#[cfg(test)]
mod tests;
mod word;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{ServiceId, Tick};

use crate::{
    claims::{Claims, SourceId},
    provider::{Interest, Kind, Pulse},
    sources::Interests,
    subscriptions::Counts,
};

pub use skipped::Skipped;
pub use source::{Doubt, Source, State};
pub(crate) use word::{Turn, Word};

/// All sources, in order of precedence.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// One entry per source.
    pub sources: Vec<Arc<Source>>,
    /// What is subscribed to on first use, if anything may be.
    pub first_use: Option<FirstUse>,
    /// Whether it is known which sources there are.
    pub arranged: bool,
    /// Whether every source had been usable at once, when something was last heard.
    pub usable: bool,
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

    /// Whether the router can take traffic, as far as the sources are concerned: each is [usable](Source::is_usable), or all
    /// were at once before. From then on the table is good: neither a registry that fails later, nor a reload that adds
    /// services or registries, takes a router out that serves all others.
    #[must_use]
    pub fn is_usable(&self, now: Tick) -> bool {
        self.usable || self.sources.iter().all(|source| source.is_usable(now))
    }

    /// Replaces the set of sources; those that stay keep their state, be it under another name. A new one takes over from
    /// the one of its name that goes: if that had answered it is not waited for, because what that said stands.
    pub(crate) fn arrange(
        &mut self,
        sources: &[(SourceId, Arc<str>, Kind)],
        interests: &Interests<Interest>,
        claims: &Claims,
        now: Tick,
    ) {
        self.usable |= self.arranged && self.is_usable(now);
        self.arranged = true;
        let old = std::mem::take(&mut self.sources);
        let stays = |s: &Source| sources.iter().any(|(id, ..)| *id == s.id);
        for (id, name, kind) in sources {
            let kept = old.iter().find(|s| s.id == *id).cloned();
            let before = old.iter().find(|s| kept.is_none() && s.name == *name && !stays(s));
            let mut source = kept.unwrap_or_else(|| Arc::new(Source::new(*id, name.clone(), *kind, now)));
            if source.name != *name {
                Arc::make_mut(&mut source).name = name.clone();
            }
            if let Some(before) = before {
                Arc::make_mut(&mut source).succeed(before, claims, now);
            }
            source::follow(&mut source, interests.of(*kind), claims);
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
        // Of time alone a source only becomes usable; of a word it may cease to be.
        self.usable = self.is_usable(now);
        let Some(source) = self.source_mut(id) else { return Vec::new() };
        source.suspected += suspected;
        source.note(word, claims, now)
    }
}

/// Whether a source has spoken of a service itself.
fn is_told(claims: &Claims, source: SourceId, service: &ServiceId) -> bool {
    claims.speaks_of(source, service) && !claims.is_inherited(source, service)
}
