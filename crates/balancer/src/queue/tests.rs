use std::{sync::Arc, task::Wake, thread, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::ServiceVitals;

const HERE: Line = Line(1);
const THERE: Line = Line(2);

fn join(queue: &Queue, line: Line) -> Ticket {
    queue.join(line, 100, 100).unwrap()
}

fn poll(queue: &Queue, ticket: &Ticket) -> Poll<Call> {
    queue.poll(ticket, &Context::from_waker(Waker::noop()))
}

#[test]
fn a_place_goes_to_whoever_came_first() {
    let (queue, occupancy) = (Queue::default(), Occupancy::default());
    let all = [join(&queue, Line::PLACE), join(&queue, Line::PLACE), join(&queue, Line::PLACE)];
    assert!(queue.is_first(&all[0]) && !queue.is_first(&all[1]));
    queue.offer(&occupancy, None);
    queue.offer(&occupancy, None);
    assert_eq!(
        all.each_ref().map(|ticket| poll(&queue, ticket)),
        [Poll::Ready(Call::Place), Poll::Ready(Call::Place), Poll::Pending]
    );
    assert_eq!((occupancy.in_flight(), queue.len()), (2, 3));
    assert!(!queue.leave(&all[1]));
    assert_eq!(poll(&queue, &all[2]), Poll::Pending, "he is not the first yet");
    assert!(!queue.leave(&all[0]));
    assert_eq!(poll(&queue, &all[2]), Poll::Ready(Call::Look));
    queue.offer(&occupancy, None);
    assert!(queue.leave(&all[2]), "he was handed one that he did not take");
    assert!(queue.is_empty());
    assert_eq!(queue.len(), 0);
}

#[test]
fn no_more_places_are_handed_over_than_there_are() {
    let (queue, occupancy) = (Queue::default(), Occupancy::default());
    let one = queue.join(Line::PLACE, 1, 1).unwrap();
    assert!(queue.join(Line::PLACE, 1, 1).is_none(), "the queue has an end");
    assert!(occupancy.try_enter(1));
    queue.offer(&occupancy, None);
    assert_eq!((poll(&queue, &one), occupancy.in_flight()), (Poll::Pending, 1));
}

#[test]
fn lines_do_not_stand_in_each_others_way() {
    let (queue, occupancy) = (Queue::default(), Occupancy::default());
    assert!(queue.lines().is_empty() && queue.is_next(HERE, None));
    let [here, behind, there] = [join(&queue, HERE), join(&queue, HERE), join(&queue, THERE)];
    let lines = queue.lines();
    assert!(lines.may_have(HERE) && lines.may_have(THERE) && !lines.may_have(Line::PLACE));
    assert!(
        queue.is_next(Line::PLACE, None)
            && !queue.is_next(HERE, None)
            && !queue.is_next(THERE, Some(&join(&queue, HERE)))
    );
    assert!(queue.is_first(&here) && queue.is_first(&there) && !queue.is_first(&behind));
    // The first has no use for the place: neither has who waits for the same, but perhaps the first of another line.
    queue.offer(&occupancy, Some(&here));
    assert_eq!(
        [&here, &behind, &there].map(|ticket| poll(&queue, ticket)),
        [Poll::Pending, Poll::Pending, Poll::Ready(Call::Place)]
    );
    queue.offer(&occupancy, Some(&there));
    assert_eq!(occupancy.in_flight(), 1, "nobody is left who was not asked");
}

#[test]
fn who_goes_over_to_another_line_stays_ahead_of_those_who_came_later() {
    let queue = Queue::default();
    let [mut first, second, third] = [join(&queue, Line::PLACE), join(&queue, Line::PLACE), join(&queue, HERE)];
    queue.change(&mut first, HERE);
    assert!(queue.is_first(&first) && !queue.is_first(&third));
    assert_eq!(poll(&queue, &second), Poll::Ready(Call::Look), "he is the first where the other left");
    assert_eq!(queue.len(), 3);
    assert!(!queue.leave(&second));
    assert!(!queue.lines().may_have(Line::PLACE), "nobody is left there");
}

#[test]
fn an_environment_is_a_line_and_none_is_one_too() {
    let lines = [Line::PLACE, Line::instances(None), Line::instances(Some("test")), Line::instances(Some(""))];
    for (at, line) in lines.iter().enumerate() {
        assert!(!lines[at + 1..].contains(line), "{lines:?}");
    }
    assert_eq!(Line::instances(Some("test")), Line::instances(Some("test")));
}

#[test]
fn who_excludes_instances_waits_with_those_who_exclude_the_same() {
    let (line, [a, b]) = (Line::instances(None), [UpstreamKey(1), UpstreamKey(2)]);
    assert_eq!(line.besides(&[]), line);
    assert_eq!(line.besides(&[a, b]), line.besides(&[b, a]));
    let lines = [Line::PLACE, line, line.besides(&[a]), line.besides(&[b]), line.besides(&[a, b])];
    for (at, line) in lines.iter().enumerate() {
        assert!(!lines[at + 1..].contains(line), "{lines:?}");
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for the only place as a request does, notes its number in it, and gives it back.
fn take_a_turn(vitals: &ServiceVitals, served: &Mutex<Vec<u64>>) {
    let ServiceVitals { occupancy, queue, .. } = vitals;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let ticket = queue.join(Line::PLACE, 100, 1).unwrap();
    loop {
        let handed = queue.poll(&ticket, &Context::from_waker(&waker)) == Poll::Ready(Call::Place);
        if handed || queue.is_first(&ticket) && occupancy.try_enter(1) {
            break;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    served.lock().unwrap().push(ticket.number);
    assert!(!queue.leave(&ticket) && occupancy.in_flight() == 1);
    occupancy.leave();
    queue.offer(occupancy, None);
}

/// One core whose line is never empty, and others with one request each: nobody is served before somebody who came earlier.
#[test]
fn nobody_is_overtaken_whatever_core_he_waits_on() {
    let (vitals, served) = (ServiceVitals::default(), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| (0..300).for_each(|_| take_a_turn(&vitals, &served)));
        }
    });
    let served = served.into_inner().unwrap();
    assert_eq!(served, (0..3000).collect::<Vec<_>>());
    assert!(vitals.queue.is_empty() && vitals.occupancy.in_flight() == 0);
}

#[derive(Debug, Clone)]
enum Step {
    Join(u64),
    Change(prop::sample::Index, u64),
    Leave(prop::sample::Index),
    /// A place became free, and may be handed over.
    Offer,
    /// Takes what was handed to him.
    Take(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0_u64..3).prop_map(Step::Join),
        1 => (who(), 0_u64..3).prop_map(|(at, line)| Step::Change(at, line)),
        2 => who().prop_map(Step::Leave),
        3 => Just(Step::Offer),
        2 => who().prop_map(Step::Take),
    ]
}

proptest! {
    /// Whatever comes, changes and goes: a free place is handed to whoever has waited longest of those without one, nothing is
    /// lost or handed over twice, and the bits say who waits.
    #[test]
    fn places_go_by_age(steps in prop::collection::vec(step(), 1..80)) {
        const PLACES: u32 = 3;
        let (queue, occupancy) = (Queue::default(), Occupancy::default());
        // Who waits, and whether he was handed a place that he did not take yet; and the places that were taken.
        let (mut waiting, mut taken) = (Vec::<(Ticket, bool)>::new(), 0);
        for step in steps {
            match step {
                Step::Join(line) => waiting.push((queue.join(Line(line), 100, PLACES).unwrap(), false)),
                Step::Change(at, line) if !waiting.is_empty() => queue.change(&mut at.get_mut(&mut waiting).0, Line(line)),
                Step::Leave(at) if !waiting.is_empty() => {
                    let (ticket, handed) = waiting.remove(at.index(waiting.len()));
                    prop_assert_eq!(queue.leave(&ticket), handed);
                    if handed {
                        occupancy.leave();
                    }
                }
                Step::Offer => {
                    let free = occupancy.in_flight() < PLACES;
                    queue.offer(&occupancy, None);
                    let oldest = waiting.iter_mut().filter(|(_, handed)| !handed).min_by_key(|(ticket, _)| ticket.number);
                    if let Some((_, handed)) = oldest.filter(|_| free) {
                        *handed = true;
                    }
                }
                Step::Take(at) if !waiting.is_empty() => {
                    let (ticket, handed) = at.get_mut(&mut waiting);
                    prop_assert_eq!(poll(&queue, ticket) == Poll::Ready(Call::Place), *handed);
                    taken += u32::from(std::mem::take(handed));
                }
                _ => {}
            }
            let handed = waiting.iter().filter(|(_, handed)| *handed).count();
            prop_assert_eq!(occupancy.in_flight() as usize, handed + taken as usize);
            prop_assert_eq!(queue.len() as usize, waiting.len());
            for line in (0..3).map(Line) {
                let there = waiting.iter().any(|(ticket, _)| ticket.line == line);
                prop_assert_eq!(queue.lines().may_have(line), there);
            }
        }
    }
}
