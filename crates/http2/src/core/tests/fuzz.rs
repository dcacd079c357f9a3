//! Whatever comes: no panic, nothing grows without bound, and after an end everybody knows of it.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use http::{HeaderMap, Method};
use proptest::{collection::vec, prelude::*};

use super::{Count, begun, frame, get, output, said, settings, update, world::Random};
use crate::{
    Answer, Outgoing, Request, RequestHead, Sender,
    core::{Core, Role},
    frame::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, RST_STREAM,
    },
};

/// The window of each stream, and so the most that may be held of it.
const WINDOW: u32 = 2000;

fn piece(client: bool) -> impl Strategy<Value = Vec<u8>> {
    let stream = || (0..8_u32).prop_map(|n| 2 * n + 1);
    let answer =
        move |stream, end| frame(HEADERS, END_HEADERS | end, stream, if client { b"\x88" } else { b"\x40\x01a\x01b" });
    prop_oneof![
        4 => (stream(), any::<bool>()).prop_map(|(stream, end)| get(stream, end)),
        4 => (stream(), 0..2_u8).prop_map(move |(stream, end)| answer(stream, end)),
        4 => (stream(), vec(any::<u8>(), 0..300), 0..2_u8).prop_map(|(stream, data, end)| frame(DATA, end, stream, &data)),
        1 => (stream(), 0..9_u8).prop_map(|(stream, pad)| frame(DATA, PADDED, stream, &[&[pad][..], &[0; 9]].concat())),
        1 => stream().prop_map(|stream| [frame(HEADERS, END_STREAM, stream, b"\x82"), frame(CONTINUATION, END_HEADERS, stream, b"\x87\x84")].concat()),
        1 => (stream(), any::<u32>()).prop_map(|(stream, reason)| frame(RST_STREAM, 0, stream, &reason.to_be_bytes())),
        2 => (0..16_u32, any::<u32>()).prop_map(|(stream, by)| update(stream, by >> 8)),
        1 => (0..7_u16, any::<u32>()).prop_map(|(id, value)| said(&[(id, value >> 1)])),
        1 => any::<u8>().prop_map(|flags| frame(PING, flags, 0, b"parting.")),
        1 => (0..16_u32).prop_map(|last| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())),
        1 => stream().prop_map(|stream| frame(PRIORITY, 0, stream, &[0; 5])),
        1 => (any::<u8>(), any::<u8>(), stream(), vec(any::<u8>(), 0..40)).prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload)),
    ]
}

/// Flips, drops, doubles, cuts or inserts.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let to = (at + 1 + random.below(30)).min(bytes.len());
    match random.below(5) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => drop(bytes.drain(at..to)),
        2 => {
            let twice = bytes[at..to].to_vec();
            bytes.splice(at..at, twice);
        }
        3 => bytes.truncate(at),
        _ => bytes.insert(at, random.below(256) as u8),
    }
}

/// Halves that are held, and what was last done with them.
struct Held {
    requests: Vec<Request>,
    asked: Vec<(Answer, Outgoing)>,
}

fn ask(sender: &Sender) -> Option<(Answer, Outgoing)> {
    let headers = HeaderMap::new();
    let head = RequestHead { method: &Method::POST, scheme: "http", authority: "a", path: "/", headers: &headers };
    sender.open(&head, false).ok()
}

/// Feeds all, in parts. Halves are held and let go, and the output is written now and then.
fn play(role: Role, bytes: &[u8], random: &mut Random) {
    let core = Rc::new(RefCell::new(begun(role, settings(WINDOW), &[])));
    let sender = Sender::new(&core);
    let mut held = Held { requests: Vec::new(), asked: Vec::new() };
    if role == Role::Client {
        held.asked.extend((0..6).filter_map(|_| ask(&sender)));
    }
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut left, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (come, after) = rest.split_at(1 + random.below(rest.len().min(500)));
        left.extend_from_slice(come);
        rest = after;
        let taken = core.borrow_mut().receive(&left);
        left.drain(..taken);
        loop {
            let accepted = core.borrow_mut().accept();
            let Some((head, place)) = accepted else { break };
            held.requests.push(Request::new(head, &core, place));
        }
        for out in held.requests.iter_mut().map(|r| &mut r.respond).chain(held.asked.iter_mut().map(|(_, out)| out)) {
            if let Poll::Ready(Ok(room)) = out.poll_room(cx) {
                out.send_data(vec![0; room.min(100)].into(), random.below(9) == 0).unwrap();
            }
        }
        if random.below(4) == 0 {
            held.requests.pop();
            held.asked.pop();
        }
        assert_bounded(&mut core.borrow_mut(), bytes.len());
        if random.below(3) == 0 {
            output(&mut core.borrow_mut());
        }
    }
    learn(&core, held);
}

fn assert_bounded(core: &mut Core, come: usize) {
    // Each frame is answered by little more than its own size, and each half sent little.
    assert!(core.out.len() <= 8 * come + 100_000, "{} bytes wait", core.out.len());
    assert!(core.streams.all() <= 200 && core.waiting.len() <= core.streams.all());
    for (_, stream) in core.streams.each() {
        assert!(stream.recv.buffer.len() <= WINDOW as usize);
        assert!(stream.recv.window >= 0 || !stream.is_open);
    }
}

/// After the end every half knows, and whoever waited was woken.
fn learn(core: &Rc<RefCell<Core>>, mut held: Held) {
    let (count, waker) = Count::new();
    let cx = &mut Context::from_waker(&waker);
    let mut outs: Vec<&mut Outgoing> = held.requests.iter_mut().map(|request| &mut request.respond).collect();
    outs.extend(held.asked.iter_mut().map(|(_, out)| out));
    let mut open = 0;
    for out in &mut outs {
        // One that has sent its end may be told nothing any more, and one that failed was told.
        open += usize::from(out.poll_reset(cx).is_pending() && !matches!(out.poll_room(cx), Poll::Ready(Err(_))));
    }
    count.take();
    core.borrow_mut().fail(crate::Error::Io(std::io::ErrorKind::BrokenPipe));
    assert!(count.take() >= open, "all that were open are woken");
    assert!(
        outs.iter_mut().all(|out| matches!(out.poll_room(cx), Poll::Ready(Err(_)))),
        "no half waits behind the end"
    );
    drop(held);
    assert_eq!((core.borrow().streams.open(), core.borrow().waiting.len()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..600), preface in any::<bool>(), seed in any::<u64>()) {
        let mut random = Random(seed);
        for role in [Role::Client, Role::Server] {
            play(role, &bytes, &mut random);
            let mut core = Core::new(role, settings(WINDOW), crate::Buffers::default());
            core.receive(&if preface { [PREFACE, &bytes].concat() } else { bytes.clone() });
        }
    }

    #[test]
    fn conversations_that_go_wrong(
        (client, pieces) in any::<bool>().prop_flat_map(|client| (Just(client), vec(piece(client), 0..60))),
        mutations in 0..6_usize,
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let mut bytes = pieces.concat();
        for _ in 0..mutations {
            mutate(&mut bytes, &mut random);
        }
        play(if client { Role::Client } else { Role::Server }, &bytes, &mut random);
    }
}
