//! What is known of the engine's containers, what was said of it, and what is new. Pure: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use model::{Instance, InstanceId, Knowledge, ServiceId, Standing, Tick, Update};

use super::{
    container::Container,
    event::{Event, What},
    signal,
};

/// How long a container that was told to end, and runs on, gets no requests. The engine waits 10 s unless told
/// otherwise, then kills it; some programs ignore the signal.
const FAREWELL: Duration = Duration::from_secs(300);

type Lists = BTreeMap<ServiceId, Vec<Arc<Instance>>>;

/// The containers of one engine.
#[derive(Debug, Default)]
pub(super) struct Contents {
    containers: BTreeMap<String, Container>,
    /// Those that run and were told to end or to rest, and when.
    told: BTreeMap<String, Tick>,
    /// Instances that vanished without such a word, by container: it may still come, as asking a container may be
    /// quicker than the events on their way.
    vanished: BTreeMap<String, Vec<(ServiceId, InstanceId)>>,
    /// Those of which it came.
    late: Vec<(ServiceId, InstanceId)>,
    said: Lists,
}

impl Contents {
    /// Takes in what happened. Whoever ended is out by that word alone; of others see [`Contents::leaves_open`].
    pub(super) fn hear(&mut self, event: &Event, now: Tick) {
        let id = &event.container;
        match event.what {
            What::Signalled(signal) if self.ends(id, signal) => self.note_told(id, now),
            What::Told => {
                self.note_told(id, now);
                self.end(id);
            }
            What::Ended => self.end(id),
            What::Removed => self.remove(id),
            What::Begun => {
                self.told.remove(id);
                if let Some(container) = self.containers.get_mut(id) {
                    container.rests = false;
                }
            }
            What::Signalled(_) | What::Changed => {}
        }
    }

    /// Whether a container is told to end by this signal.
    fn ends(&self, id: &str, signal: u8) -> bool {
        signal::ends(signal, self.containers.get(id).and_then(|container| container.stop))
    }

    /// Whether the engine must be asked how the container is, after an event that was heard. Not of one that rests: it
    /// says when it begins. Before that it leaves and joins networks, and while an engine ends or begins a container it
    /// answers late, up to a quarter of a second.
    pub(super) fn leaves_open(&self, event: &Event) -> bool {
        let rests = || self.containers.get(&event.container).is_some_and(|container| container.rests);
        let open = match event.what {
            What::Begun | What::Changed => true,
            What::Signalled(signal) => !self.ends(&event.container, signal),
            What::Told | What::Ended | What::Removed => false,
        };
        open && !rests()
    }

    /// An operator told it to end or to rest, be it that it did so before we heard of that.
    fn note_told(&mut self, id: &str, now: Tick) {
        self.told.insert(id.to_owned(), now);
        self.late.extend(self.vanished.remove(id).unwrap_or_default());
    }

    /// The container is there, and takes no requests.
    fn end(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id) {
            let old = std::mem::replace(container, Container { rests: true, ..Container::default() });
            self.left(id, &old, &Container::default());
        }
    }

    /// Takes in one container; returns what is newly wrong with it.
    pub(super) fn set(&mut self, id: &str, container: Container) -> Vec<String> {
        let old = self.containers.insert(id.to_owned(), container.clone()).unwrap_or_default();
        self.left(id, &old, &container);
        container.skipped.into_iter().filter(|reason| !old.skipped.contains(reason)).collect()
    }

    /// The container is not there any more.
    pub(super) fn remove(&mut self, id: &str) {
        if let Some(old) = self.containers.remove(id) {
            self.left(id, &old, &Container::default());
        }
    }

    /// Only these are there.
    pub(super) fn retain(&mut self, ids: &BTreeSet<String>) {
        self.vanished.retain(|id, _| ids.contains(id));
        let gone: Vec<String> = self.containers.keys().filter(|id| !ids.contains(*id)).cloned().collect();
        gone.iter().for_each(|id| self.remove(id));
    }

    /// A container is another one than it was: did its instances leave, and on whose word?
    fn left(&mut self, id: &str, old: &Container, new: &Container) {
        let stays = |instance: &Instance| new.instances.iter().any(|(_, other)| other.id == instance.id);
        let left = old.instances.iter().filter(|(_, instance)| !stays(instance));
        let left: Vec<_> = left.map(|(service, instance)| (service.clone(), instance.id.clone())).collect();
        if self.told.contains_key(id) || new.paused {
            self.late.extend(left);
        } else if !left.is_empty() {
            self.vanished.insert(id.to_owned(), left);
        } else if !new.instances.is_empty() {
            self.vanished.remove(id);
        }
    }

    /// All that are known.
    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        self.containers.keys()
    }

    /// Whether the container is one of those with labels of ours.
    pub(super) fn has(&self, id: &str) -> bool {
        self.containers.contains_key(id)
    }

    /// There was a silence: what operators did before it counts no more.
    pub(super) fn forget_words(&mut self) {
        self.told.clear();
        self.late.clear();
    }

    /// The services that were said to have instances.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.said.keys()
    }

    /// All that is known.
    pub(super) fn everything(&mut self, now: Tick) -> Update {
        self.said = self.lists(now);
        Update::Everything(self.said.clone().into_iter().collect())
    }

    /// What changed since it was said last. Instances of containers that an operator stopped, killed or paused left on
    /// an explicit word; those of others vanished.
    pub(super) fn news(&mut self, now: Tick) -> Vec<Update> {
        let lists = self.lists(now);
        let mut left: BTreeMap<ServiceId, Vec<InstanceId>> = BTreeMap::new();
        for (service, instance) in self.late.drain(..) {
            left.entry(service).or_default().push(instance);
        }
        let services: BTreeSet<&ServiceId> = lists.keys().chain(self.said.keys()).chain(left.keys()).collect();
        let mut news = Vec::new();
        for service in services {
            let (old, new) = (of(&self.said, service), of(&lists, service));
            let deregistered = left.get(service).cloned().unwrap_or_default();
            if old != new || !deregistered.is_empty() {
                let knowledge = Knowledge::of(new.iter().cloned());
                news.push(Update::Service { service: service.clone(), knowledge, deregistered });
            }
        }
        self.said = lists;
        let containers = &self.containers;
        self.told.retain(|id, _| containers.get(id).is_some_and(|container| !container.instances.is_empty()));
        news
    }

    fn lists(&mut self, now: Tick) -> Lists {
        self.told.retain(|_, since| now.since(*since) < FAREWELL);
        let mut lists = Lists::new();
        for (id, container) in &self.containers {
            for (service, instance) in &container.instances {
                let mut instance = instance.clone();
                if self.told.contains_key(id) {
                    instance.standing = Standing::Draining;
                }
                lists.entry(service.clone()).or_default().push(Arc::new(instance));
            }
        }
        lists
    }
}

fn of<'a>(lists: &'a Lists, service: &ServiceId) -> &'a [Arc<Instance>] {
    lists.get(service).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use model::{Address, Endpoint, Host};

    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbb";

    fn pets() -> ServiceId {
        ServiceId::new("pets").unwrap()
    }

    fn running(id: &str) -> Container {
        let address = Address { host: Host::parse("10.0.0.1"), port: 80 };
        let name = InstanceId::new(&format!("pets-1@{}", &id[..12])).unwrap();
        let instance = Instance::new(name, Endpoint { address, protocol: None });
        Container { instances: vec![(pets(), instance)], skipped: vec!["odd".into()], ..Container::default() }
    }

    /// Each update as the standings of its instances, and how many left on an explicit word.
    fn told(updates: Vec<Update>) -> Vec<(Vec<Standing>, usize)> {
        let told = |update| match update {
            Update::Service { knowledge: Knowledge::Known(list), deregistered, .. } => {
                (list.iter().map(|i| i.standing).collect(), deregistered.len())
            }
            Update::Service { knowledge: Knowledge::KnownEmpty, deregistered, .. } => (Vec::new(), deregistered.len()),
            other => panic!("{other:?}"),
        };
        updates.into_iter().map(told).collect()
    }

    /// Whether the engine is to be asked then.
    fn event(contents: &mut Contents, id: &str, what: What) -> bool {
        let event = Event { container: id.into(), what, labelled: true };
        contents.hear(&event, Tick(1));
        contents.leaves_open(&event)
    }

    fn two() -> Contents {
        let mut contents = Contents::default();
        assert_eq!(contents.set(A, running(A)), ["odd"]);
        assert_eq!(contents.set(A, running(A)), [""; 0], "said once");
        contents.set(B, running(B));
        let Update::Everything(all) = contents.everything(Tick(1)) else { panic!("everything") };
        assert_eq!(all[&pets()].len(), 2);
        assert_eq!(contents.news(Tick(1)), []);
        contents
    }

    #[test]
    fn a_container_that_is_stopped_drains_and_then_leaves_on_its_word() {
        let mut contents = two();
        event(&mut contents, A, What::Signalled(15));
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Draining, Standing::Serving], 0)]);
        event(&mut contents, A, What::Ended);
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Serving], 1)]);
        // The engine says the same, when it is asked; and that it was stopped.
        contents.set(A, Container::default());
        event(&mut contents, A, What::Told);
        assert_eq!(contents.news(Tick(1)), []);
        // Removed at once: no time to drain.
        event(&mut contents, B, What::Signalled(15));
        event(&mut contents, B, What::Removed);
        assert_eq!(told(contents.news(Tick(1))), [(vec![], 1)]);
        assert!(contents.has(A) && !contents.has(B));
        // Begun anew while nobody listened: what was said of its former life is over.
        contents.set(A, running(A));
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Serving], 0)]);
    }

    #[test]
    fn its_own_signal_to_stop_is_one_to_end() {
        let mut contents = two();
        contents.set(A, Container { stop: signal::number("SIGUSR1"), ..running(A) });
        assert!(event(&mut contents, A, What::Signalled(1)), "another one means something to the program");
        assert_eq!(contents.news(Tick(1)), []);
        assert!(!event(&mut contents, A, What::Signalled(10)));
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Draining, Standing::Serving], 0)]);
        event(&mut contents, A, What::Ended);
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Serving], 1)]);
        assert!(event(&mut contents, B, What::Signalled(10)), "to this one it is not");
        assert_eq!(contents.news(Tick(1)), []);
    }

    #[test]
    fn one_that_crashes_vanishes() {
        let mut contents = two();
        event(&mut contents, A, What::Changed);
        assert_eq!(contents.news(Tick(1)), []);
        event(&mut contents, A, What::Ended);
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Serving], 0)]);
        // Begun again by the engine, and asked for.
        event(&mut contents, A, What::Begun);
        contents.set(A, running(A));
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Serving; 2], 0)]);
        event(&mut contents, A, What::Removed);
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Serving], 0)]);
        contents.retain(&[A.to_owned()].into());
        assert_eq!(told(contents.news(Tick(1))), [(vec![], 0)]);
        event(&mut contents, "unknown", What::Ended);
        assert!(!contents.has("unknown"));
    }

    #[test]
    fn only_of_one_that_runs_or_is_not_known_the_engine_is_asked() {
        let mut contents = two();
        assert!(event(&mut contents, A, What::Changed) && event(&mut contents, A, What::Begun));
        assert!(event(&mut contents, "unknown", What::Changed) && event(&mut contents, "unknown", What::Begun));
        for end in [What::Signalled(15), What::Ended, What::Told] {
            assert!(!event(&mut contents, A, end), "{end:?}");
        }
        assert!(!event(&mut contents, A, What::Changed), "it leaves its network, and joins it");
        assert!(event(&mut contents, A, What::Begun) && event(&mut contents, A, What::Changed));
        contents.set(A, Container { rests: true, ..Container::default() });
        assert!(!event(&mut contents, A, What::Changed) && !event(&mut contents, A, What::Removed));
    }

    #[test]
    fn the_word_may_come_late_and_a_paused_one_needs_none() {
        let mut contents = two();
        event(&mut contents, A, What::Ended);
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Serving], 0)]);
        event(&mut contents, A, What::Told);
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Serving], 1)]);
        event(&mut contents, A, What::Told);
        assert_eq!(contents.news(Tick(1)), [], "said once");
        contents.set(B, Container { paused: true, ..Container::default() });
        assert_eq!(told(contents.news(Tick(1))), [(vec![], 1)]);
        contents.set(B, running(B));
        contents.news(Tick(1));
        event(&mut contents, B, What::Told);
        assert_eq!(told(contents.news(Tick(1))), [(vec![], 1)], "nor a question, if an event says it");
    }

    #[test]
    fn one_that_begins_anew_or_does_not_obey_serves_again() {
        let mut contents = two();
        event(&mut contents, A, What::Signalled(15));
        contents.news(Tick(1));
        event(&mut contents, A, What::Begun);
        assert_eq!(told(contents.news(Tick(1))), [(vec![Standing::Serving; 2], 0)]);
        event(&mut contents, B, What::Signalled(15));
        contents.news(Tick(1));
        assert_eq!(told(contents.news(Tick(1).after(FAREWELL))), [(vec![Standing::Serving; 2], 0)]);
    }
}
