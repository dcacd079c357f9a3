//! Each number a peer chooses has a limit.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use http::{HeaderMap, Method};

use super::{Count, asked, begun, feed, frame, get, output, said, sent, settings, update};
use crate::{
    Answer, Error, Outgoing, Reason, RequestHead, Sender, Settings,
    core::{CALM, Core, PAST, RESETS, Role},
    frame::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, LARGEST_WINDOW, PADDED, PING, PRIORITY,
        RST_STREAM, SETTINGS,
    },
};

fn server() -> Core {
    begun(Role::Server, settings(100_000), &[])
}

fn client(peer: &[(u16, u32)]) -> (Rc<RefCell<Core>>, Sender) {
    let core = Rc::new(RefCell::new(begun(Role::Client, settings(100_000), peer)));
    let sender = Sender::new(&core);
    (core, sender)
}

fn ask(sender: &Sender) -> Result<(Answer, Outgoing), Error> {
    let headers = HeaderMap::new();
    let head = RequestHead { method: &Method::GET, scheme: "http", authority: "a", path: "/", headers: &headers };
    sender.open(&head, false)
}

fn reason(core: &Core) -> Option<Reason> {
    match core.error {
        Some(Error::Protocol { reason, .. }) => Some(reason),
        _ => None,
    }
}

/// The streams that were reset, and why.
fn resets(core: &mut Core) -> Vec<(u32, u32)> {
    let resets = sent(core).into_iter().filter(|(head, _)| head.kind == RST_STREAM);
    resets.map(|(head, payload)| (head.stream, u32::from_be_bytes(payload.try_into().unwrap()))).collect()
}

#[test]
fn more_streams_than_admitted_are_refused_open_ones_and_held_ones() {
    let mut core = begun(Role::Server, Settings { streams: 2, ..settings(1000) }, &[]);
    let places = [asked(&mut core, 1), asked(&mut core, 3)];
    feed(&mut core, &get(5, true));
    assert_eq!(resets(&mut core), [(5, 7)]);
    // Reset by the peer they are no longer open, but still held.
    feed(&mut core, &[frame(RST_STREAM, 0, 1, &[0; 4]), frame(RST_STREAM, 0, 3, &[0; 4])].concat());
    for id in [7, 9] {
        asked(&mut core, id);
    }
    feed(&mut core, &[frame(RST_STREAM, 0, 7, &[0; 4]), get(11, true)].concat());
    assert_eq!(resets(&mut core), [(11, 7)], "four are held");
    core.let_go(places[0]);
    asked(&mut core, 13);
    assert_eq!(core.error, None);
}

#[test]
fn a_head_has_an_end() {
    let begin = frame(HEADERS, 0, 1, b"\x82");
    let more = |size| frame(CONTINUATION, 0, 1, &vec![0; size]);
    for (size, count) in [(0, 129), (16_384, 3)] {
        let mut core = server();
        feed(&mut core, &begin);
        for _ in 1..count {
            feed(&mut core, &more(size));
        }
        let at_once = core.error;
        feed(&mut core, &more(size));
        assert_eq!((at_once, reason(&core)), (None, Some(Reason::ENHANCE_YOUR_CALM)), "{count} of {size}");
    }
}

#[test]
fn a_large_head_is_answered() {
    let mut core = server();
    let field = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'x'; 4000]].concat();
    let large = field.repeat(5);
    let block = [&b"\x82\x87\x84\x01\x01a"[..], &large].concat();
    let (first, rest) = block.split_at(16_000);
    feed(&mut core, &[frame(HEADERS, 0, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat());
    let kinds: Vec<u8> = sent(&mut core).iter().map(|(head, _)| head.kind).collect();
    assert_eq!(kinds, [HEADERS, RST_STREAM]);
    assert!(core.accept().is_none() && core.streams.all() == 0);
    // Its body was on its way, and the connection goes on.
    feed(&mut core, &frame(DATA, END_STREAM, 1, b"abc"));
    assert!(sent(&mut core).is_empty());
    asked(&mut core, 3);
}

#[test]
fn frames_that_do_nothing_are_counted() {
    let mut core = server();
    asked(&mut core, 1);
    feed(&mut core, &[get(3, true), frame(RST_STREAM, 0, 3, &[0; 4])].concat());
    core.accept();
    let useless = [
        said(&[]),
        frame(SETTINGS, ACK, 0, &[]),
        frame(PING, 0, 0, &[0; 8]),
        frame(PING, ACK, 0, &[0; 8]),
        frame(PRIORITY, 0, 9, &[0; 5]),
        frame(99, 0, 0, b"unknown"),
        frame(DATA, 0, 1, &[]),
        frame(DATA, PADDED, 1, &[2, 0, 0]),
        frame(RST_STREAM, 0, 3, &[0; 4]),
        frame(DATA, 0, 3, b"late"),
        update(3, 1),
        update(0, 1),
        frame(GOAWAY, 0, 0, &[0; 8]),
    ];
    for useless in useless {
        core.calm = CALM;
        feed(&mut core, &useless);
        assert!(core.calm < CALM, "{useless:?}");
        assert_eq!(core.error, None);
    }
    core.calm = 100;
    feed(&mut core, &frame(DATA, 0, 1, b"something"));
    assert!(core.calm > 102, "what is useful makes up for it");
    feed(&mut core, &frame(PING, 0, 0, &[0; 8]).repeat(200));
    assert_eq!(reason(&core), Some(Reason::ENHANCE_YOUR_CALM));
}

#[test]
fn interim_answers_that_nobody_takes_are_bounded() {
    let (core, sender) = client(&[]);
    let (mut answer, _out) = ask(&sender).unwrap();
    let interim = frame(HEADERS, END_HEADERS, 1, b"\x08\x03103");
    feed(&mut core.borrow_mut(), &interim.repeat(16));
    assert!(answer.interim().is_some());
    feed(&mut core.borrow_mut(), &interim);
    assert_eq!(core.borrow().streams.open(), 1);
    feed(&mut core.borrow_mut(), &interim);
    let result = answer.poll_head(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(result, Poll::Ready(Err(Error::Stream { .. }))), "{result:?}");
    assert_eq!(core.borrow().error, None);
}

#[test]
fn late_frames_are_nothing_while_the_reset_is_remembered() {
    let mut core = server();
    let late = |id| [frame(DATA, 0, id, b"late"), update(id, 1), frame(RST_STREAM, 0, id, &[0; 4])].concat();
    for number in 0..=PAST as u32 {
        let place = asked(&mut core, 1 + 2 * number);
        core.let_go(place);
        output(&mut core);
    }
    feed(&mut core, &[late(3), get(3, true)].concat());
    assert_eq!((resets(&mut core), core.error), (vec![], None), "remembered");
    feed(&mut core, &late(1));
    assert_eq!((resets(&mut core), core.error), (vec![(1, 5)], None), "a body to a forgotten one is reset again");
    let mut core = server();
    let place = asked(&mut core, 5);
    core.let_go(place);
    feed(&mut core, &get(3, true));
    assert_eq!(reason(&core), Some(Reason::STREAM_CLOSED), "passed over");
}

#[test]
fn the_peers_limit_of_streams_and_the_end_of_ids() {
    let (core, sender) = client(&[(3, 1)]);
    let first = ask(&sender).unwrap();
    assert_eq!(ask(&sender).unwrap_err(), Error::Full);
    drop(first);
    core.borrow_mut().next = LARGEST_WINDOW as u32;
    let last = ask(&sender).unwrap();
    drop(last);
    assert!(matches!(ask(&sender), Err(Error::GoAway(_))));
    assert!(core.borrow().streams.all() == 0);
}

#[test]
fn the_peer_goes_away() {
    let (core, sender) = client(&[]);
    let (mut first, mut second) = (ask(&sender).unwrap(), ask(&sender).unwrap());
    let (count, waker) = Count::new();
    let cx = &mut Context::from_waker(&waker);
    assert!(first.0.poll_head(cx).is_pending() && second.0.poll_head(cx).is_pending());
    feed(&mut core.borrow_mut(), &frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    assert_eq!(count.take(), 1, "only who was not served");
    assert!(matches!(second.0.poll_head(cx), Poll::Ready(Err(error)) if error.is_unprocessed()));
    assert!(matches!(ask(&sender), Err(Error::GoAway(Reason::NO_ERROR))));
    assert!(!core.borrow().is_over());
    feed(&mut core.borrow_mut(), &frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88"));
    assert_eq!(count.take(), 1);
    assert!(matches!(first.0.poll_head(cx), Poll::Ready(Ok(_))));
    first.1.send_data(bytes::Bytes::new(), true).unwrap();
    assert!(core.borrow().is_over());
}

#[test]
fn we_go_away_and_serve_what_crosses_it() {
    let mut core = server();
    core.part();
    let [(first, said), (ping, mark)] = &sent(&mut core)[..] else { panic!("GOAWAY and PING") };
    assert_eq!((first.kind, &said[..4], ping.kind), (GOAWAY, &[0x7f, 0xff, 0xff, 0xff][..], PING));
    let crossing = asked(&mut core, 7);
    feed(&mut core, &frame(PING, ACK, 0, mark));
    assert_eq!(sent(&mut core)[0].1[..4], [0, 0, 0, 7]);
    feed(&mut core, &get(9, true));
    assert!(core.accept().is_none() && sent(&mut core).is_empty() && core.error.is_none());
    assert!(!core.is_over());
    core.let_go(crossing);
    assert!(core.is_over());
}

/// Servers count what is reset on a connection, and end one that has too many.
#[test]
fn a_connection_on_which_many_streams_were_reset_takes_no_new_ones_and_ends_the_others_well() {
    let (core, sender) = client(&[]);
    let (mut kept, out) = ask(&sender).unwrap();
    for number in 1..RESETS {
        drop(ask(&sender).unwrap());
        assert_eq!(core.borrow().gone, None, "after {number}");
    }
    drop(ask(&sender).unwrap());
    assert_eq!(ask(&sender).map(drop), Err(Error::GoAway(Reason::NO_ERROR)));
    assert_eq!(resets(&mut core.borrow_mut()).len(), RESETS as usize);
    assert!(!core.borrow().is_over(), "one is still open");
    feed(&mut core.borrow_mut(), &frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88"));
    let head = kept.poll_head(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(head, Poll::Ready(Ok(head)) if head.status == 200));
    drop((kept, out));
    assert!(core.borrow().is_over());
}

#[test]
fn a_head_larger_than_the_peer_takes_is_not_sent() {
    // GET, http, a and / with their names, and 32 for each.
    let size = [7 + 3, 7 + 4, 10 + 1, 5 + 1].map(|octets| octets + 32).iter().sum();
    let (core, sender) = client(&[(6, size - 1)]);
    assert_eq!(ask(&sender).map(drop), Err(Error::TooLarge));
    assert!(sent(&mut core.borrow_mut()).is_empty());
    let (_core, sender) = client(&[(6, size)]);
    assert!(ask(&sender).is_ok());
}

#[test]
fn a_client_that_does_not_show_that_it_heard_us_part_gets_no_new_stream_for_ever() {
    let mut core = server();
    core.parted();
    assert!(sent(&mut core).is_empty(), "it did not part");
    core.part();
    sent(&mut core);
    let crossing = asked(&mut core, 7);
    core.parted();
    assert_eq!(sent(&mut core)[0].1[..4], [0, 0, 0, 7]);
    core.parted();
    feed(&mut core, &get(9, true));
    assert!(core.accept().is_none() && sent(&mut core).is_empty() && core.error.is_none());
    core.let_go(crossing);
    assert!(core.is_over());
}
