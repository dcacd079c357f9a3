//! Good conversations with one thing spoiled, always the same by a seed, and cut into pieces of any size: the router
//! serves on.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use testkit::{
    Raw, bounded,
    frame::{self, Frame},
    get,
    hpack::Block,
};

use super::{
    stage::{Stage, get as row, post_block},
    talk::{Talk, octets},
};
use crate::support::{Config, Front};

const ROUNDS: u64 = 300;

/// Numbers that look like chance (xorshift).
struct Dice(u64);

impl Dice {
    /// The `round`th row of numbers.
    fn new(round: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (round + 1).wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// Requests of all kinds.
fn requests() -> Vec<Frame> {
    let head = post_block().keep("x-kept", "1").to_bytes();
    vec![
        row(1),
        Frame::raw(frame::HEADERS, 0, 3, head.slice(..10)),
        Frame::raw(frame::CONTINUATION, frame::END_HEADERS, 3, head.slice(10..)),
        Frame::ping(0, [1; 8]),
        Frame::data(3, "body", false).padded(5),
        Frame::window_update(0, 1000),
        Frame::head(5, &Block::get("/row").indexed(62).huffman("x-huffman", "value"), true).padded(3),
        Frame::raw(frame::PRIORITY, 0, 7, vec![0, 0, 0, 5, 1]),
        Frame::data(3, "more", false),
        Frame::head(3, &Block::new().plain("x-late", "1"), true),
        Frame::settings(&[(4, 70_000)]),
    ]
}

/// An answer with everything.
fn answer(stream: u32) -> Vec<Frame> {
    let head = Block::new().indexed(8).keep("x-kept", "1").huffman("x-huffman", "value").to_bytes();
    vec![
        Frame::head(stream, &Block::new().plain(":status", "103").plain("link", "</a>"), false),
        Frame::raw(frame::HEADERS, 0, stream, head.slice(..5)),
        Frame::raw(frame::CONTINUATION, frame::END_HEADERS, stream, head.slice(5..)),
        Frame::data(stream, "body", false).padded(9),
        Frame::ping(0, [2; 8]),
        Frame::window_update(stream, 1000),
        Frame::data(stream, "more", false),
        Frame::head(stream, &Block::new().plain("x-late", "1"), true),
    ]
}

/// The conversation with one thing wrong.
fn spoiled(frames: &[Frame], dice: &mut Dice) -> Vec<u8> {
    let mut frames = frames.to_vec();
    let (one, other) = (dice.roll(frames.len()), dice.roll(frames.len()));
    let way = dice.roll(8);
    match way {
        0 => frames.swap(one, other),
        1 => frames.insert(other, frames[one].clone()),
        2 => drop(frames.remove(one)),
        3 => frames[one].kind = dice.roll(12) as u8,
        4 => frames[one].flags ^= 1 << dice.roll(8),
        5 => frames[one].stream = dice.roll(9) as u32,
        _ => {}
    }
    let mut octets = octets(&frames);
    let at = dice.roll(octets.len());
    match way {
        6 => octets[at] ^= 1 << dice.roll(8),
        7 => octets.truncate(at),
        _ => {}
    }
    octets
}

#[tokio::test]
async fn pieces_of_any_size_are_the_same_conversation() {
    let stage = Stage::new().await;
    let whole = octets(&requests());
    for round in 0..ROUNDS / 3 {
        let mut dice = Dice::new(round);
        let mut talk = stage.open(&[]).await;
        let mut rest = &whole[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + dice.roll(60)).min(rest.len()));
            talk.write(piece).await;
            if dice.roll(2) == 0 {
                tokio::task::yield_now().await;
            }
            rest = after;
        }
        for (stream, body) in [(1, 0), (3, 8), (5, 0)] {
            let came = talk.answer(stream).await;
            assert_eq!((came.status(), &came.json()["body_bytes"]), (200, &body.into()), "round {round}");
        }
    }
}

#[tokio::test]
async fn clients_that_spoil_one_thing_harm_themselves_at_most() {
    let stage = Stage::new().await;
    for round in 0..ROUNDS {
        let mut talk = stage.open(&[]).await;
        talk.write(&spoiled(&requests(), &mut Dice::new(round))).await;
        talk.socket.half_close().await;
        bounded("the end", talk.socket.read_to_end()).await;
    }
    stage.serves().await;
    stage.router.settled("pets").await;
}

#[tokio::test]
async fn instances_that_spoil_one_thing_are_answered_for() {
    let rounds = Arc::new(AtomicU64::new(0));
    let raw = Raw::start(move |socket| {
        let round = rounds.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut talk = Talk::accept(socket, &[]).await;
            talk.until(|talk| !talk.streams.is_empty()).await;
            let stream = *talk.streams.keys().next().expect("a stream");
            let answer = answer(stream);
            let good = round >= ROUNDS;
            talk.write(&if good { octets(&answer) } else { spoiled(&answer, &mut Dice::new(round)) }).await;
            if good {
                talk.end().await;
            }
        }
    })
    .await;
    // Each request has one connection, which it must get an answer or an error from.
    let once = "{ pets: { retries: off } }";
    let router = Config::new().set("services", once).service("pets", &[format!("h2c://{}", raw.addr())]).start();
    let mut asked = 0;
    while raw.connections() < ROUNDS {
        let front = if asked % 2 == 0 { Front::H1 } else { Front::H2c };
        let answer = router.client(front).await.try_send(get("/row", &[("service_id", "pets")])).await;
        if let Ok(answer) = answer {
            assert!(matches!(answer.status.as_u16(), 200 | 502), "{}", answer.text());
        }
        asked += 1;
        assert!(asked < 10 * ROUNDS, "{} connections", raw.connections());
    }
    router.settled("pets").await;
    let answer = router.client(Front::H2c).await.send(get("/row", &[("service_id", "pets")])).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "bodymore"));
}
