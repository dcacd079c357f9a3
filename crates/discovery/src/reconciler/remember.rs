//! What the reconciler says to the memory, and takes from it at the start.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::ServiceId;
use transport::clock;

use crate::{
    claims::{Claims, SourceId},
    history::{About, History, What},
    memory::{Kept, Memory, Word},
    provider::Interest,
    status::{State, Status, Turn},
};

/// How far ahead of us the clock of a file server may be.
const AHEAD: Duration = Duration::from_secs(60);

/// The memory, if there is one, and what it was told last.
#[derive(Debug)]
pub(super) struct Remembering {
    memory: Option<Memory>,
    /// The sources that are remembered.
    kept: Vec<(SourceId, Kept)>,
}

impl Remembering {
    pub(super) fn new(memory: Option<Memory>) -> Self {
        Self { memory, kept: Vec::new() }
    }

    /// Puts in what is remembered of the sources that begin. Once: later it is older than what is known.
    pub(super) fn recall(&mut self, status: &mut Status, claims: &mut Claims, interest: &Interest, history: &History) {
        let Some(memory) = &mut self.memory else { return };
        let recalled = memory.recall();
        if recalled.is_empty() {
            return;
        }
        self.follow(status, claims);
        let (Some(memory), now) = (&mut self.memory, SystemTime::now()) else { return };
        for source in recalled {
            let same = |kept: &&(SourceId, Kept)| kept.1.name == source.name && kept.1.kind.as_str() == source.kind;
            let Some((id, _)) = self.kept.iter().find(same) else { continue };
            let (mut ages, mut ahead) = (BTreeMap::new(), 0);
            for (service, mut word) in source.services {
                if claims.recall(*id, &service, word.instances.clone(), interest) {
                    let confirmed = believable(word.confirmed, now);
                    // One that was stored as of no known time is no news.
                    ahead += usize::from(confirmed == UNIX_EPOCH && word.confirmed != Some(UNIX_EPOCH));
                    word.confirmed = Some(confirmed);
                    memory.note(&source.name, &service, Some(word));
                    ages.insert(service, now.duration_since(confirmed).unwrap_or_default());
                }
            }
            let (services, oldest) = (ages.len(), ages.values().max().map_or(0, Duration::as_secs));
            tracing::info!(source = %source.name, services, oldest_s = oldest,
                "remembered; this stands until the source answers");
            if ahead > 0 {
                tracing::warn!(source = %source.name, services = ahead,
                    "remembered at a time that is yet to come: the clock was set back, and these count as old as can be");
            }
            let cause = match ahead {
                0 => format!("{services} services, of up to {oldest} s ago, until it answers"),
                _ => format!("{services} services, {ahead} of them of an unknown time, until it answers"),
            };
            history.record(What::Remembered, About { source: Some(&source.name), cause, ..About::default() }, &[]);
            status.recall(*id, ages);
        }
    }

    /// Follows which sources there are and which of them stand by their word.
    pub(super) fn follow(&mut self, status: &Status, claims: &Claims) {
        let Some(memory) = &mut self.memory else { return };
        let remembered = || status.sources.iter().filter(|s| s.kind.is_remembered());
        let same = remembered().count() == self.kept.len()
            && remembered().zip(&self.kept).all(|(s, (id, kept))| {
                s.id == *id && s.name == kept.name && (s.state == State::Live) == kept.down.is_none()
            });
        if same {
            return;
        }
        let now = SystemTime::now();
        let before = std::mem::take(&mut self.kept);
        self.kept = remembered()
            .map(|source| {
                let before = before.iter().find(|(id, _)| *id == source.id).and_then(|(_, kept)| kept.down);
                let down = (source.state != State::Live).then(|| before.unwrap_or(now));
                (source.id, Kept { name: source.name.clone(), kind: source.kind, down })
            })
            .collect();
        memory.arrange(self.kept.iter().map(|(_, kept)| kept.clone()).collect());
        let renamed = |(id, old): &(SourceId, Kept)| {
            let (_, new) = self.kept.iter().find(|(new, kept)| new == id && kept.name != old.name)?;
            Some((*id, new.name.clone()))
        };
        for (id, name) in before.iter().filter_map(renamed) {
            // What it has not spoken of yet stands under the new name too.
            for service in claims.services_of(id) {
                let age = status.source(id).and_then(|source| source.age(&service, clock::tick()));
                let confirmed = age.and_then(|age| now.checked_sub(age));
                let instances = claims.list(id, &service).to_vec();
                memory.note(&name, &service, (!instances.is_empty()).then_some(Word { instances, confirmed }));
            }
        }
    }

    /// Follows what is new about a source.
    pub(super) fn turn(&mut self, turn: &Turn, source: SourceId, status: &Status, claims: &Claims) {
        match turn {
            Turn::Down(_) => self.follow(status, claims),
            Turn::Live(_) => {
                self.follow(status, claims);
                // What an outage left behind stays as old as it is, until the source speaks of it.
                for service in status.source(source).into_iter().flat_map(|source| source.unconfirmed.keys()) {
                    self.note(service, status, claims);
                }
            }
            Turn::Certain(service, _) | Turn::Confirmed(service) => self.note(service, status, claims),
            Turn::Doubt(service, _) => {
                let kept = self.kept.iter().find(|(id, _)| *id == source);
                if let (Some(memory), Some((_, kept))) = (&mut self.memory, kept)
                    && let Some(instances) = claims.memorable(source, service).filter(|list| !list.is_empty())
                {
                    let age = status.source(source).and_then(|source| source.age(service, clock::tick()));
                    let confirmed = Some(before(SystemTime::now(), age.unwrap_or_default()));
                    memory.note(&kept.name, service, Some(Word { instances, confirmed }));
                }
            }
            Turn::Skipped(_) => {}
        }
    }

    /// Hands on what the sources say of a service, and how old that is. What one says nothing of is forgotten once it has
    /// told all there is; before, it stands as it is remembered.
    pub(super) fn note(&mut self, service: &ServiceId, status: &Status, claims: &Claims) {
        let Some(memory) = &mut self.memory else { return };
        let (now, time) = (clock::tick(), SystemTime::now());
        for (id, kept) in &self.kept {
            let told = status.source(*id).is_some_and(|source| source.answered) && !claims.speaks_of(*id, service);
            if let Some(instances) = claims.memorable(*id, service).or_else(|| told.then(Vec::new)) {
                let age = status.source(*id).and_then(|s| s.age(service, now));
                let confirmed = age.map(|age| before(time, age));
                let word = (!instances.is_empty()).then_some(Word { instances, confirmed });
                memory.note(&kept.name, service, word);
            }
        }
    }
}

/// When a word is to be believed to have been true last. A time that is yet to come was told by a clock that was set back
/// since: how long ago it was, nobody knows, so it was as long ago as can be.
fn believable(confirmed: Option<SystemTime>, now: SystemTime) -> SystemTime {
    confirmed.filter(|at| *at <= now + AHEAD).unwrap_or(UNIX_EPOCH)
}

/// This long before a time, but never so long that it could not be said.
fn before(time: SystemTime, age: Duration) -> SystemTime {
    time.checked_sub(age).filter(|time| *time > UNIX_EPOCH).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_yet_to_come_is_no_young_one() {
        let (now, hour) = (UNIX_EPOCH + Duration::from_secs(1 << 30), Duration::from_secs(3600));
        for (confirmed, believed) in [
            (Some(now), now),
            (Some(now - hour), now - hour),
            (Some(UNIX_EPOCH), UNIX_EPOCH),
            (Some(now + AHEAD), now + AHEAD),
            (Some(now + AHEAD + Duration::from_secs(1)), UNIX_EPOCH),
            (Some(now + 1000 * hour), UNIX_EPOCH),
            (None, UNIX_EPOCH),
        ] {
            assert_eq!(believable(confirmed, now), believed, "{confirmed:?}");
        }
    }

    #[test]
    fn what_is_older_than_time_is_not_taken_for_now() {
        let now = UNIX_EPOCH + Duration::from_secs(10);
        assert_eq!(before(now, Duration::from_secs(4)), UNIX_EPOCH + Duration::from_secs(6));
        for age in [Duration::from_secs(11), Duration::MAX] {
            assert_eq!(before(now, age), UNIX_EPOCH);
        }
    }
}
