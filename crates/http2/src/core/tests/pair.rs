//! Whatever is sent, however it is cut and whoever comes first: it arrives, in order, and nothing is left behind.

use std::{cell::RefCell, future::poll_fn, pin::Pin, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Body;
use proptest::{collection::vec, prelude::*};

use super::{said, settings, world::World};
use crate::{Answer, Error, Incoming, Outgoing, Reason, Request, RequestHead, Sender, frame::SETTINGS};

/// What one side of an exchange does.
#[derive(Debug, Clone)]
struct Side {
    fields: Vec<(u8, Vec<u8>)>,
    /// The body, by the sizes in which it is handed over.
    body: Vec<usize>,
    trailers: bool,
    way: Act,
}

/// How a side goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// To the end.
    Whole,
    /// Reset after so many parts of its body.
    Reset(usize),
    /// Both halves are dropped after so many parts.
    Drop(usize),
    /// Whatever the other sends is of no interest.
    Deaf,
    /// The sending half is dropped after so many parts; the other is read to its end.
    Mute(usize),
}

#[derive(Debug, Clone)]
struct Script {
    method: u8,
    ask: Side,
    interim: usize,
    answer: Side,
}

impl Script {
    fn is_whole(&self) -> bool {
        self.ask.way == Act::Whole && self.answer.way == Act::Whole
    }

    fn method(&self) -> Method {
        [Method::GET, Method::POST, Method::PUT, Method::from_bytes(b"PURGE").unwrap()][self.method as usize % 4]
            .clone()
    }
}

impl Side {
    fn headers(&self, number: usize) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-number", HeaderValue::from(number));
        for (name, value) in &self.fields {
            // Few names, so that many of them repeat.
            let name = HeaderName::from_bytes(format!("x-{}", name % 5).as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn trailers(&self) -> HeaderMap {
        let mut trailers = self.headers(0);
        trailers.insert("x-end", HeaderValue::from_static("yes"));
        trailers
    }
}

/// What was seen of a body: how many bytes, the trailers, and why it broke off.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    size: usize,
    trailers: Option<HeaderMap>,
    error: Option<Error>,
}

#[derive(Debug, Default)]
struct Result {
    asked: Option<(Method, HeaderMap)>,
    asked_body: Option<Seen>,
    answered: Option<(StatusCode, HeaderMap)>,
    answered_body: Option<Seen>,
    interim: usize,
    sent: Vec<std::result::Result<(), Error>>,
}

type Results = Rc<RefCell<Vec<Result>>>;

/// The byte at this place of each body.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

fn cut(side: &Side) -> usize {
    match side.way {
        Act::Reset(parts) | Act::Drop(parts) | Act::Mute(parts) => parts,
        Act::Whole | Act::Deaf => usize::MAX,
    }
}

/// Sends the body as the side wants it. None if it broke off on purpose.
async fn send(out: &mut Outgoing, side: &Side) -> Option<std::result::Result<(), Error>> {
    let mut at = 0;
    for (number, size) in side.body.iter().enumerate() {
        if number == cut(side) {
            return None;
        }
        let mut part = Bytes::from((at..at + size).map(byte).collect::<Vec<u8>>());
        at += size;
        let last = number + 1 == side.body.len() && !side.trailers;
        while !part.is_empty() {
            let room = match poll_fn(|cx| out.poll_room(cx)).await {
                Ok(room) => room,
                Err(error) => return Some(Err(error)),
            };
            let piece = part.split_to(room.min(part.len()));
            let end = last && part.is_empty();
            if let Err(error) = out.send_data(piece, end) {
                return Some(Err(error));
            }
        }
        if last && *size == 0 {
            return Some(out.send_data(Bytes::new(), true));
        }
    }
    if cut(side) < usize::MAX {
        return None;
    }
    Some(if side.trailers { out.send_trailers(&side.trailers()) } else { Ok(()) })
}

async fn take(mut body: Incoming) -> Seen {
    let mut seen = Seen::default();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => {
                assert!(data.iter().enumerate().all(|(at, got)| *got == byte(seen.size + at)), "in order");
                seen.size += data.len();
            }
            Ok(Err(frame)) => seen.trailers = frame.into_trailers().ok(),
            Err(error) => {
                seen.error = Some(error);
                break;
            }
        }
    }
    seen
}

async fn hear(mut answer: Answer, results: Results, number: usize) {
    let head = poll_fn(|cx| {
        while answer.interim().is_some() {
            results.borrow_mut()[number].interim += 1;
        }
        answer.poll_head(cx)
    })
    .await;
    let Ok(head) = head else { return };
    results.borrow_mut()[number].answered = Some((head.status, head.headers));
    let seen = take(answer.into_body()).await;
    results.borrow_mut()[number].answered_body = Some(seen);
}

fn ends_with_head(side: &Side) -> bool {
    side.body.is_empty() && !side.trailers && cut(side) == usize::MAX
}

/// Sends one side and hears the other at once, as the side wants it.
async fn both(
    mut out: Outgoing,
    side: Side,
    ended: bool,
    heard: impl Future<Output = ()>,
    results: Results,
    at: usize,
) {
    let sending = async {
        let sent = if ended { Some(Ok(())) } else { send(&mut out, &side).await };
        match sent {
            Some(result) => results.borrow_mut()[at].sent.push(result),
            None if matches!(side.way, Act::Reset(_)) => out.reset(Reason::CANCEL),
            None => {}
        }
        drop(out);
    };
    match side.way {
        Act::Drop(_) => {
            // The other half goes when the task does.
            tokio::select! { biased; () = sending => {}, () = heard => {} }
        }
        Act::Deaf => {
            drop(heard);
            sending.await;
        }
        Act::Whole | Act::Reset(_) | Act::Mute(_) => {
            tokio::join!(sending, heard);
        }
    }
}

async fn ask(sender: Sender, script: Script, number: usize, results: Results) {
    let (method, headers) = (script.method(), script.ask.headers(number));
    let end = ends_with_head(&script.ask);
    let head = RequestHead { method: &method, scheme: "http", authority: "a.example", path: "/", headers: &headers };
    let (answer, out) = sender.open(&head, end).unwrap();
    drop(sender);
    let heard = hear(answer, Rc::clone(&results), number);
    both(out, script.ask, end, heard, results, number).await;
}

async fn serve(request: Request, scripts: Rc<Vec<Script>>, results: Results) {
    let Request { head, body, mut respond } = request;
    let number: usize = head.headers["x-number"].to_str().unwrap().parse().unwrap();
    results.borrow_mut()[number].asked = Some((head.method, head.headers));
    let script = &scripts[number];
    for _ in 0..script.interim {
        respond.send_interim(StatusCode::EARLY_HINTS, &script.answer.headers(number)).ok();
    }
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::ACCEPTED;
    head.headers = script.answer.headers(number);
    let end = ends_with_head(&script.answer);
    respond.send_response(&head, end).ok();
    let hearing = Rc::clone(&results);
    let heard = async move {
        let seen = take(body).await;
        hearing.borrow_mut()[number].asked_body = Some(seen);
    };
    both(respond, script.answer.clone(), end, heard, results, number).await;
}

fn check(script: &Script, number: usize, result: &Result) {
    let whole = |side: &Side| Seen {
        size: side.body.iter().sum(),
        trailers: side.trailers.then(|| side.trailers()),
        error: None,
    };
    if !script.is_whole() {
        // What came was looked at when it came.
        for (seen, side) in [(&result.asked_body, &script.ask), (&result.answered_body, &script.answer)] {
            assert!(
                seen.as_ref().is_none_or(|seen| seen.error.is_some() || *seen == whole(side)),
                "{seen:?} of {side:?}"
            );
        }
        return;
    }
    assert_eq!(result.asked, Some((script.method(), script.ask.headers(number))));
    assert_eq!(result.asked_body, Some(whole(&script.ask)));
    assert_eq!(result.answered, Some((StatusCode::ACCEPTED, script.answer.headers(number))));
    assert_eq!(result.answered_body, Some(whole(&script.answer)));
    assert_eq!((result.interim, &result.sent), (script.interim, &vec![Ok(()), Ok(())]));
}

fn world(scripts: &[Script], windows: [u32; 2], seed: u64, chunk: usize) -> (World, Results) {
    let results: Results = Rc::new(RefCell::new(scripts.iter().map(|_| Result::default()).collect()));
    let (shared, served) = (Rc::new(scripts.to_vec()), Rc::clone(&results));
    let (sender, mut world) = World::new(windows.map(settings), seed, chunk, move |request| {
        Box::pin(serve(request, Rc::clone(&shared), Rc::clone(&served)))
    });
    // Until the server has said its windows, a client goes by those of the RFC, which may be larger.
    while world.step() {}
    for (number, script) in scripts.iter().enumerate() {
        world.spawn(Box::pin(ask(sender.clone(), script.clone(), number, Rc::clone(&results))));
    }
    (world, results)
}

fn side(part: usize) -> impl Strategy<Value = Side> {
    let way = prop_oneof![
        6 => Just(Act::Whole),
        1 => (0..4_usize).prop_map(Act::Reset),
        1 => (0..4_usize).prop_map(Act::Drop),
        1 => Just(Act::Deaf),
        1 => (0..4_usize).prop_map(Act::Mute),
    ];
    let fields = vec((0..5_u8, vec(b'a'..=b'z', 0..40)), 0..6);
    (fields, vec(0..part, 0..6), any::<bool>(), way).prop_map(|(fields, body, trailers, way)| Side {
        fields,
        body,
        trailers,
        way,
    })
}

fn script(part: usize) -> impl Strategy<Value = Script> {
    (0..4_u8, side(part), 0..4_usize, side(part)).prop_map(|(method, ask, interim, mut answer)| {
        if matches!(ask.way, Act::Deaf | Act::Mute(_)) {
            // Two that do not listen wait for each other, and so do two that do not end: rightly so.
            answer.way = Act::Whole;
        }
        Script { method, ask, interim, answer }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_sent_arrives(
        scripts in vec(script(3000), 1..8),
        windows in [1..2000_u32, 1..2000_u32],
        seed in any::<u64>(),
        chunk in prop_oneof![Just(1_usize), 2..100_usize, 100..20_000_usize],
    ) {
        let (mut world, results) = world(&scripts, windows, seed, chunk);
        world.run_to_the_end();
        for (number, script) in scripts.iter().enumerate() {
            check(script, number, &results.borrow()[number]);
        }
    }

    #[test]
    fn also_when_there_is_more_than_the_output_takes(
        scripts in vec(script(100_000), 1..8),
        windows in [1000..300_000_u32, 1000..300_000_u32],
        seed in any::<u64>(),
    ) {
        let (mut world, results) = world(&scripts, windows, seed, 60_000);
        world.run_to_the_end();
        for (number, script) in scripts.iter().enumerate() {
            check(script, number, &results.borrow()[number]);
        }
    }

    #[test]
    fn also_when_the_windows_change_midway(
        scripts in vec(script(5000), 1..6),
        window in 200..2000_u32,
        changes in vec((0..60_usize, 0..2000_u32), 0..10),
        seed in any::<u64>(),
    ) {
        let (mut world, results) = world(&scripts, [window; 2], seed, 700);
        for (steps, to) in changes.into_iter().chain([(0, window)]) {
            for _ in 0..steps {
                world.step();
            }
            // Never above what the end itself admits, so that nobody breaks a rule.
            for end in [&world.client, &world.server] {
                let payload = &said(&[(4, to.min(window))])[crate::frame::HEAD..];
                end.core.borrow_mut().control(SETTINGS, 0, 0, payload);
            }
        }
        world.run_to_the_end();
        for (number, script) in scripts.iter().enumerate() {
            check(script, number, &results.borrow()[number]);
        }
    }
}
