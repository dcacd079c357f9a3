//! Streams that compete take turns, and nobody who leaves the queue holds up the others.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::{HeaderMap, Method};
use proptest::{collection::vec, prelude::*};

use super::{Count, asked, begun, feed, frame, said, sent, settings, update};
use crate::{
    Answer, Error, Outgoing, Reason, RequestHead, Sender,
    core::{Core, FULL, Role, TURN},
    frame::{DEFAULT_WINDOW, GOAWAY, RST_STREAM},
    stream::Place,
};

/// Who always has something to send, and sends when woken.
struct Eager {
    id: u32,
    place: Place,
    count: Arc<Count>,
    waker: Waker,
    turns: usize,
}

impl Eager {
    fn new(core: &mut Core, id: u32) -> Self {
        let place = asked(core, id);
        feed(core, &update(id, 1 << 30));
        let (count, waker) = Count::new();
        let mut eager = Self { id, place, count, waker, turns: 0 };
        assert!(!eager.send(core), "there is no window yet");
        eager
    }

    fn send(&mut self, core: &mut Core) -> bool {
        match core.poll_room(self.place, &Context::from_waker(&self.waker)) {
            Poll::Ready(Ok(room)) => {
                core.send_data(self.place, vec![0; room.min(TURN)].into(), false).unwrap();
                self.turns += 1;
                true
            }
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Pending => false,
        }
    }
}

/// A server without any window over all streams.
fn exhausted() -> Core {
    let mut core = begun(Role::Server, settings(1000), &[]);
    let place = asked(&mut core, 1);
    core.send_data(place, vec![0; DEFAULT_WINDOW as usize].into(), false).unwrap();
    sent(&mut core);
    assert_eq!(core.window, 0);
    core
}

/// Grants so many turns, and lets everybody run who is woken.
fn grant(core: &mut Core, eager: &mut [Eager], turns: usize) {
    for _ in 0..turns {
        feed(core, &update(0, TURN as u32));
        while let Some(woken) = eager.iter_mut().find(|eager| eager.count.take() > 0) {
            while woken.send(core) {}
        }
        sent(core);
        assert_eq!(core.window, 0, "somebody takes what is granted");
    }
}

proptest! {
    /// With others that come, are reset and end in between, so that places in the queue and of streams are used again.
    #[test]
    fn everybody_gets_the_same(
        streams in 2..6_usize,
        turns in 1..60_usize,
        guests in vec((0..4_usize, any::<bool>(), 0..5_usize), 0..20),
        toggles in 0..3_usize,
    ) {
        let mut core = exhausted();
        let mut eager: Vec<Eager> = (0..streams).map(|at| Eager::new(&mut core, 3 + 2 * at as u32)).collect();
        let mut next = 101;
        for (count, by_peer, turns) in guests {
            let guests: Vec<Eager> = (0..count).map(|at| Eager::new(&mut core, next + 2 * at as u32)).collect();
            next += 2 * count as u32;
            for guest in guests {
                if by_peer {
                    feed(&mut core, &frame(RST_STREAM, 0, guest.id, &[0; 4]));
                }
                core.let_go(guest.place);
            }
            grant(&mut core, &mut eager, turns);
        }
        for _ in 0..toggles {
            // The window of each stream falls far below nothing, and comes back.
            for by in [-(1 << 31), 1 << 31] {
                for eager in &mut eager {
                    core.streams.get(eager.place).unwrap().send.window += by;
                    assert!(!eager.send(&mut core));
                }
            }
        }
        prop_assert!(core.waiting.len() <= streams, "each waits once: {:?}", core.waiting);
        eager.iter_mut().for_each(|eager| eager.turns = 0);
        grant(&mut core, &mut eager, turns);
        let got: Vec<usize> = eager.iter().map(|eager| eager.turns).collect();
        let share = turns / streams;
        prop_assert!(got.iter().all(|got| (share.max(1) - 1..=share + 1).contains(got)), "{:?} of {}", got, turns);
    }
}

#[test]
fn resets_leave_nothing_in_the_queue() {
    let mut core = exhausted();
    let first = Eager::new(&mut core, 3);
    for number in 0..1000 {
        let guest = Eager::new(&mut core, 5 + 2 * number);
        feed(&mut core, &frame(RST_STREAM, 0, guest.id, &[0; 4]));
        core.let_go(guest.place);
        sent(&mut core);
    }
    assert_eq!(Vec::from(core.waiting), [first.place]);
}

#[test]
fn windows_that_come_and_go_leave_nothing_in_the_queue() {
    let mut core = exhausted();
    let places = [asked(&mut core, 3), asked(&mut core, 5)];
    for _ in 0..100 {
        for (window, queued) in [(1000, 2), (0, 0)] {
            feed(&mut core, &said(&[(4, window)]));
            for place in places {
                assert!(core.poll_room(place, &Context::from_waker(Waker::noop())).is_pending());
            }
            assert_eq!(core.waiting.len(), queued);
        }
        sent(&mut core);
    }
}

#[test]
fn whoever_ends_with_trailers_passes_the_turn() {
    let mut core = exhausted();
    let first = Eager::new(&mut core, 3);
    let mut second = Eager::new(&mut core, 5);
    feed(&mut core, &update(0, 100_000));
    assert_eq!((first.count.take(), second.count.take()), (1, 0));
    core.send_trailers(first.place, &HeaderMap::new()).unwrap();
    sent(&mut core);
    assert_eq!(second.count.take(), 1);
    assert!(second.send(&mut core));
}

fn client() -> (Rc<RefCell<Core>>, Sender) {
    let core = Rc::new(RefCell::new(begun(Role::Client, settings(100_000), &[(4, 1 << 20)])));
    let sender = Sender::new(&core);
    (core, sender)
}

fn post(sender: &Sender) -> (Answer, Outgoing) {
    let headers = HeaderMap::new();
    let head = RequestHead { method: &Method::POST, scheme: "http", authority: "a", path: "/", headers: &headers };
    sender.open(&head, false).unwrap()
}

/// A client with three streams, of which the first used up the connection's window and the others wait, in order.
#[allow(clippy::type_complexity)]
fn waiting_client() -> (Rc<RefCell<Core>>, [(Answer, Outgoing); 3], [(Arc<Count>, Waker); 2]) {
    let (core, sender) = client();
    let mut halves = [post(&sender), post(&sender), post(&sender)];
    halves[0].1.send_data(vec![0; DEFAULT_WINDOW as usize].into(), false).unwrap();
    sent(&mut core.borrow_mut());
    let wakers = [Count::new(), Count::new()];
    for ((_, out), (_, waker)) in halves[1..].iter_mut().zip(&wakers) {
        assert!(out.poll_room(&mut Context::from_waker(waker)).is_pending());
    }
    (core, halves, wakers)
}

#[test]
fn whoever_the_peer_did_nothing_with_passes_the_turn() {
    let (core, mut halves, wakers) = waiting_client();
    // The second stream comes first in the queue now.
    halves.swap(1, 2);
    core.borrow_mut().waiting.swap(0, 1);
    let last_stream_and_reason = [0, 0, 0, 3, 0, 0, 0, 0];
    let both = [update(0, 1000), frame(GOAWAY, 0, 0, &last_stream_and_reason)].concat();
    feed(&mut core.borrow_mut(), &both);
    let gone = halves[1].1.poll_room(&mut Context::from_waker(Waker::noop()));
    assert_eq!(gone, Poll::Ready(Err(Error::GoAway(Reason::NO_ERROR))));
    assert!(wakers[0].0.take() > 0, "it is the turn of the one that goes on");
    assert_eq!(halves[2].1.poll_room(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(1000)));
}

#[test]
fn whoever_drops_its_sending_half_passes_the_turn() {
    let (core, halves, wakers) = waiting_client();
    let [_first, (_answer, out), (_, mut third)] = halves;
    drop(out);
    feed(&mut core.borrow_mut(), &update(0, 1000));
    assert!(wakers[1].0.take() > 0, "the one before it will never take its turn");
    assert_eq!(third.poll_room(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(1000)));
}

#[test]
fn whoever_drops_its_sending_half_in_its_turn_passes_it() {
    let (core, halves, wakers) = waiting_client();
    let [_first, (_answer, out), _third] = halves;
    feed(&mut core.borrow_mut(), &update(0, 1000));
    assert_eq!((wakers[0].0.take(), wakers[1].0.take()), (1, 0));
    drop(out);
    assert_eq!(wakers[1].0.take(), 1);
}

#[test]
fn room_in_the_output_is_shared_as_well() {
    let mut core = begun(Role::Server, settings(1000), &[(4, 1 << 24)]);
    feed(&mut core, &update(0, 1 << 24));
    let places: Vec<Place> = (0..4).map(|at| asked(&mut core, 1 + 2 * at)).collect();
    let wakers: Vec<_> = places.iter().map(|_| Count::new()).collect();
    core.send_data(places[0], vec![0; FULL].into(), false).unwrap();
    for (place, (_, waker)) in places.iter().zip(&wakers) {
        assert!(core.poll_room(*place, &Context::from_waker(waker)).is_pending());
    }
    sent(&mut core);
    let order = |wakers: &[(Arc<Count>, Waker)]| wakers.iter().map(|(count, _)| count.take()).collect::<Vec<_>>();
    assert_eq!(order(&wakers), [1, 0, 0, 0]);
    for at in 0..4 {
        let room = core.poll_room(places[at], &Context::from_waker(&wakers[at].1));
        let is_a_turn = matches!(room, Poll::Ready(Ok(room)) if if at < 3 { room == TURN } else { room >= TURN });
        assert!(is_a_turn, "{room:?}");
        core.send_data(places[at], vec![0; TURN].into(), false).unwrap();
        let next: Vec<usize> = (0..4).map(|other| usize::from(other == at + 1)).collect();
        assert_eq!(order(&wakers), next, "the next, and nobody else");
    }
}
