//! The last discovery events, with their causes: what an operator asks for when something was wrong an hour ago.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use model::{Instance, ServiceId};
use serde::{Deserialize, Serialize};

/// How many events are kept.
pub const KEPT: usize = 10_000;

/// How many instances of one event are named; the others are counted. A start names thousands, which nobody reads.
const NAMED: usize = 16;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts the events of this process from 1.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// What.
    pub event: What,
    /// The service, if it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// The source, if one said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<str>>,
    /// Instances, as `ID ADDRESS`; at most sixteen.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub instances: Box<[Box<str>]>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A source names instances it did not name before.
    Added,
    /// A source does not name them any more.
    Removed,
    /// A source does not name them any more, which looks like a fault: they are last resort now.
    Suspected,
    /// Instances of last resort are gone.
    Settled,
    /// Instances have other attributes.
    Changed,
    /// A source answers.
    Up,
    /// A source cannot be reached or refuses.
    Down,
    /// A source does not know about one service.
    Doubt,
    /// It knows about it again.
    Certain,
    /// A record could not be used.
    Skipped,
    /// What is known of a service is older than its policy allows.
    TooOld,
    /// What was remembered stands until the source answers.
    Remembered,
    /// An operator put instances out.
    Drained,
    /// An operator let them in again.
    Undrained,
    /// An instance does not pass its active checks.
    Unhealthy,
    /// It passes them again, or for the first time.
    Healthy,
    /// A client named a service, and registries are asked about it from now on.
    Subscribed,
    /// Nobody used it for long, so they are asked no longer.
    Released,
    /// Settings changed, or the router started.
    Arranged,
    /// Instances are put out for failing requests.
    Ejected,
    /// They take requests again.
    Returned,
    /// So few instances take requests that all that were out for what they answer take them again.
    Panicked,
    /// The circuit of a whole service opens: its requests are refused.
    Opened,
    /// It closes.
    Closed,
}

impl What {
    /// The word that JSON has for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Suspected => "suspected",
            Self::Settled => "settled",
            Self::Changed => "changed",
            Self::Up => "up",
            Self::Down => "down",
            Self::Doubt => "doubt",
            Self::Certain => "certain",
            Self::Skipped => "skipped",
            Self::TooOld => "too_old",
            Self::Remembered => "remembered",
            Self::Drained => "drained",
            Self::Undrained => "undrained",
            Self::Unhealthy => "unhealthy",
            Self::Healthy => "healthy",
            Self::Subscribed => "subscribed",
            Self::Released => "released",
            Self::Arranged => "arranged",
            Self::Ejected => "ejected",
            Self::Returned => "returned",
            Self::Panicked => "panicked",
            Self::Opened => "opened",
            Self::Closed => "closed",
        }
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Only of this service.
    pub service: Option<String>,
    /// Only of this source.
    pub source: Option<String>,
    /// Only after the event of this number.
    pub since: Option<u64>,
    /// At most so many, the newest.
    pub limit: Option<usize>,
}

/// A ring of events. Written by the reconciler, read by the operator's side; no request touches it.
#[derive(Debug, Default)]
pub struct History(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    last: u64,
}

/// Where and why: what an event has besides its kind and instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct About<'a> {
    pub(crate) service: Option<&'a ServiceId>,
    pub(crate) source: Option<&'a Arc<str>>,
    pub(crate) cause: String,
}

impl History {
    /// The events that pass, oldest first.
    #[must_use]
    pub fn select(&self, filter: &Filter) -> Vec<Arc<Event>> {
        let ring = self.lock();
        let since = filter.since.unwrap_or_default();
        let passes = |event: &&Arc<Event>| {
            filter.service.as_deref().is_none_or(|s| event.service.as_ref().is_some_and(|e| e.as_str() == s))
                && filter.source.as_deref().is_none_or(|s| event.source.as_deref() == Some(s))
        };
        let newest = ring.events.iter().rev().take_while(|event| event.number > since);
        let mut found: Vec<_> = newest.filter(passes).take(filter.limit.unwrap_or(KEPT)).cloned().collect();
        found.reverse();
        found
    }

    /// The number of the newest event; 0 if there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.lock().last
    }

    pub(crate) fn record(&self, event: What, about: About<'_>, instances: &[Arc<Instance>]) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let named = instances.iter().take(NAMED).map(|i| format!("{} {}", i.id, i.endpoint.address).into());
        let mut ring = self.lock();
        ring.last += 1;
        let event = Event {
            number: ring.last,
            time_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            event,
            service: about.service.cloned(),
            source: about.source.cloned(),
            instances: named.collect(),
            more: instances.len().saturating_sub(NAMED),
            cause: about.cause,
        };
        ring.events.push_back(Arc::new(event));
        if ring.events.len() > KEPT {
            ring.events.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // what serde calls it with
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{instance, service};

    fn numbers(history: &History, filter: &Filter) -> Vec<u64> {
        history.select(filter).iter().map(|event| event.number).collect()
    }

    #[test]
    fn the_newest_that_pass_are_given_oldest_first() {
        let history = History::default();
        let (pets, orders, dc1) = (service("pets"), service("orders"), Arc::from("dc1"));
        for number in 0..10 {
            let service = Some(if number % 2 == 0 { &pets } else { &orders });
            let source = (number < 5).then_some(&dc1);
            history.record(What::Added, About { service, source, ..About::default() }, &[]);
        }
        let named = |name: &str| Filter { service: Some(name.to_owned()), ..Filter::default() };
        assert_eq!(numbers(&history, &named("pets")), [1, 3, 5, 7, 9]);
        assert_eq!(numbers(&history, &Filter { limit: Some(2), ..named("pets") }), [7, 9]);
        assert_eq!(numbers(&history, &Filter { since: Some(7), ..named("orders") }), [8, 10]);
        let of_source = Filter { source: Some("dc1".to_owned()), ..Filter::default() };
        assert_eq!(numbers(&history, &of_source), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&history, &named("none")), [0; 0]);
        assert_eq!(history.last(), 10);
    }

    #[test]
    fn it_is_bounded_in_events_and_in_each_of_them() {
        let history = History::default();
        let many: Vec<_> = (0..100).map(|n| Arc::new(instance(&n.to_string(), n))).collect();
        for _ in 0..KEPT + 7 {
            history.record(What::Removed, About::default(), &many);
        }
        let all = history.select(&Filter::default());
        assert_eq!((all.len(), all[0].number), (KEPT, 8));
        assert_eq!((all[0].instances.len(), all[0].more), (16, 84));
        assert_eq!(&*all[0].instances[3], "3 10.0.0.3:80");
    }

    #[test]
    fn words_are_those_of_json() {
        for what in [What::Added, What::TooOld, What::Arranged, What::Certain, What::Suspected, What::Ejected] {
            assert_eq!(serde_json::to_value(what).unwrap(), what.word());
        }
    }
}
