//! Never more than the windows admit, and all that they admit.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::{asked, begun, feed, frame, said, sent, settings, update};
use crate::{
    Settings,
    core::{Core, FULL, HELD, Role},
    frame::{DATA, DEFAULT_WINDOW, END_STREAM, PADDED, WINDOW_UPDATE},
    stream::Place,
};

#[derive(Debug, Clone, Copy)]
enum Step {
    /// SETTINGS with this first window.
    First(u32),
    Stream(usize, u32),
    Connection(u32),
    /// Sends as much as it may, but no more than this.
    Send(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3000_u32).prop_map(Step::First),
        (0..4_usize, 1..2000_u32).prop_map(|(at, by)| Step::Stream(at, by)),
        (1..3000_u32).prop_map(Step::Connection),
        (0..4_usize, 1..4000_usize).prop_map(|(at, most)| Step::Send(at, most)),
        (0..4_usize, 1..4000_usize).prop_map(|(at, most)| Step::Send(at, most)),
    ]
}

fn room(core: &mut Core, place: Place) -> Option<usize> {
    match core.poll_room(place, &Context::from_waker(Waker::noop())) {
        Poll::Ready(room) => Some(room.unwrap()),
        Poll::Pending => None,
    }
}

/// What the peer may send in stream 1 that it might not before.
fn given(core: &mut Core) -> i64 {
    let updates = sent(core).into_iter().filter(|(head, _)| head.kind == WINDOW_UPDATE && head.stream == 1);
    updates.map(|(_, payload)| i64::from(u32::from_be_bytes(payload.try_into().unwrap()))).sum()
}

/// Spends the connection's window down to nothing.
fn exhaust(core: &mut Core, stream: u32) -> Place {
    let place = asked(core, stream);
    feed(core, &update(stream, DEFAULT_WINDOW as u32));
    while core.window > 0 {
        let room = room(core, place).unwrap().min(FULL / 2);
        core.send_data(place, vec![0; room].into(), false).unwrap();
        sent(core);
    }
    place
}

proptest! {
    #[test]
    fn never_more_than_either_window_is_sent(steps in vec(step(), 0..200)) {
        let mut core = begun(Role::Server, settings(1000), &[(4, 1000)]);
        exhaust(&mut core, 1);
        let places: Vec<Place> = [3, 5, 7, 9].iter().map(|id| asked(&mut core, *id)).collect();
        let (mut first, mut shared, mut own) = (1000, 0, [1000_i64; 4]);
        for step in steps {
            match step {
                Step::First(window) => {
                    own = own.map(|own| own + i64::from(window) - first);
                    first = i64::from(window);
                    feed(&mut core, &said(&[(4, window)]));
                }
                Step::Stream(at, by) => {
                    own[at] += i64::from(by);
                    feed(&mut core, &update(3 + 2 * at as u32, by));
                }
                Step::Connection(by) => {
                    shared += i64::from(by);
                    feed(&mut core, &update(0, by));
                }
                Step::Send(at, most) => {
                    let Some(room) = room(&mut core, places[at]) else {
                        let alone = core.waiting.iter().all(|place| *place == places[at]);
                        prop_assert!(own[at] <= 0 || shared <= 0 || !alone, "it could have been sent");
                        continue;
                    };
                    prop_assert!(room > 0 && room as i64 <= own[at].min(shared));
                    core.send_data(places[at], vec![0; room.min(most)].into(), false).unwrap();
                    own[at] -= room.min(most) as i64;
                    shared -= room.min(most) as i64;
                }
            }
            sent(&mut core);
        }
        prop_assert_eq!(core.window, shared);
        for (place, own) in places.iter().zip(own) {
            prop_assert_eq!(core.streams.get(*place).unwrap().send.window, own);
        }
    }

    /// What a peer sends is admitted up to its window, whatever part of it is padding, and given back when it is taken.
    #[test]
    fn what_was_taken_is_given_back(sizes in vec((0..50_usize, proptest::option::of(0..50_u8)), 1..200), stride in 1..9_usize) {
        let window = 500;
        let mut core = begun(Role::Server, settings(window), &[]);
        let place = asked(&mut core, 1);
        let mut left = i64::from(window);
        for (number, (size, padding)) in sizes.into_iter().enumerate() {
            let mut payload = vec![7; size];
            if let Some(padding) = padding {
                payload.insert(0, padding);
                payload.extend(vec![0; padding.into()]);
            }
            if payload.len() as i64 > left {
                // A peer of ours would wait for its window; as it is given back by halves, this much must be there.
                while core.poll_part(place, &Context::from_waker(Waker::noop())).is_ready() {}
            }
            left += given(&mut core);
            prop_assert!(left >= payload.len() as i64, "all was taken, and only {} given back", left);
            left -= payload.len() as i64;
            feed(&mut core, &frame(DATA, if padding.is_some() { PADDED } else { 0 }, 1, &payload));
            prop_assert_eq!(core.error, None);
            left += given(&mut core);
            prop_assert_eq!(core.streams.get(place).unwrap().recv.window, left);
            if number % stride == 0 {
                while core.poll_part(place, &Context::from_waker(Waker::noop())).is_ready() {}
            }
        }
    }
}

#[test]
fn padding_alone_does_not_use_a_window_up() {
    let mut core = begun(Role::Server, settings(1000), &[]);
    let place = asked(&mut core, 1);
    let mut left = 1000_i64;
    for _ in 0..50 {
        left -= 100;
        feed(&mut core, &frame(DATA, PADDED, 1, &[&[99][..], &[0; 99]].concat()));
        assert!(core.poll_part(place, &Context::from_waker(Waker::noop())).is_pending());
        left += given(&mut core);
        assert!(left >= 100, "nothing is held, and the peer may not send");
    }
}

#[test]
fn a_stream_that_is_over_has_no_window_to_overflow() {
    let mut core = begun(Role::Server, settings(1000), &[(4, 1000)]);
    let place = asked(&mut core, 1);
    feed(&mut core, &update(1, (1 << 31) - 1 - 1000));
    feed(&mut core, &frame(DATA, END_STREAM, 1, b"x"));
    core.send_data(place, Bytes::new(), true).unwrap();
    // Its body was not taken yet, so it is still held.
    assert_eq!((core.streams.open(), core.streams.all()), (0, 1));
    feed(&mut core, &said(&[(4, 2000)]));
    assert_eq!(core.error, None);
}

#[test]
fn windows_above_the_largest_end_the_stream_or_the_connection() {
    let mut core = begun(Role::Server, settings(1000), &[]);
    let place = asked(&mut core, 1);
    feed(&mut core, &update(1, (1 << 31) - 1));
    assert_eq!(core.error, None);
    assert!(core.poll_room(place, &Context::from_waker(Waker::noop())).map(|room| room.is_err()).is_ready());
    asked(&mut core, 3);
    feed(&mut core, &update(3, 1000));
    feed(&mut core, &said(&[(4, (1 << 31) - 1)]));
    assert!(core.error.is_some());
    let mut core = begun(Role::Server, settings(1000), &[]);
    feed(&mut core, &update(0, (1 << 31) - 1));
    assert!(core.error.is_some());
}

/// Takes all of a stream's body that came.
fn take(core: &mut Core, place: Place) {
    while core.poll_part(place, &Context::from_waker(Waker::noop())).is_ready() {}
}

#[test]
fn a_window_widens_where_all_that_came_is_taken() {
    let mut core = begun(Role::Server, Settings { widest: 3000, ..settings(1000) }, &[]);
    let place = asked(&mut core, 1);
    let mut window = 1000;
    for wider in [2000, 3000, 3000, 3000] {
        feed(&mut core, &frame(DATA, 0, 1, &vec![7; window]));
        take(&mut core, place);
        window = given(&mut core) as usize;
        assert_eq!(window, wider, "all of it is free again");
    }
}

#[test]
fn a_window_stays_as_it_is_where_something_is_left_or_much_is_held() {
    /// Too large to join others in one chunk.
    const FRAME: usize = 16 * 1024;
    let ours = settings(2 * FRAME as u32);
    let mut core = begun(Role::Server, Settings { widest: 10 * ours.window, ..ours }, &[]);
    let place = asked(&mut core, 1);
    feed(&mut core, &frame(DATA, 0, 1, &[7; FRAME]));
    for _ in 0..20 {
        // One frame is always behind the one that is taken.
        feed(&mut core, &frame(DATA, 0, 1, &[7; FRAME]));
        assert!(core.poll_part(place, &Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(given(&mut core), FRAME as i64);
    }
    let mut core = begun(Role::Server, Settings { widest: 3000, ..settings(1000) }, &[]);
    let place = asked(&mut core, 1);
    core.buffers.hold(HELD);
    for _ in 0..3 {
        feed(&mut core, &frame(DATA, 0, 1, &[7; 1000]));
        take(&mut core, place);
        assert_eq!(given(&mut core), 1000);
    }
    core.buffers.let_go(HELD);
    feed(&mut core, &frame(DATA, 0, 1, &[7; 1000]));
    take(&mut core, place);
    assert_eq!(given(&mut core), 2000);
}
