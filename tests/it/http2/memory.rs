//! What attacks cost in memory, of a router that is a process of its own. Linux.

use std::time::Duration;

use testkit::{
    Instance,
    frame::{self, Frame},
    hpack::Block,
};

use super::talk::{Talk, octets};
use crate::{operate::process::Process, support::Config};

/// Clients that attack in turn, all connected to the end.
const CLIENTS: usize = 30;
/// What all of them may cost together. One of these attacks alone could ask for a gigabyte.
const MOST: usize = 128 << 20;

/// Sends until the router ends the connection or reads no more, or has read `most` octets.
async fn pour(talk: &mut Talk, octets: &[u8], most: usize) {
    let mut sent = 0;
    while sent < most {
        match tokio::time::timeout(Duration::from_millis(300), talk.socket.send(octets)).await {
            Ok(Ok(())) => sent += octets.len(),
            _ => return,
        }
    }
}

/// Heads on ever new streams.
fn heads(count: u32, block: &Block) -> Vec<u8> {
    octets(&(0..count).map(|at| Frame::head(3 + 2 * at, block, true)).collect::<Vec<_>>())
}

#[tokio::test]
async fn attacks_cost_a_bounded_amount_of_memory() {
    let instance = Instance::h2c().start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new().set("listeners", "[ { address: 127.0.0.1:0 } ]").service("pets", &[instance.url()]);
    let config = config.set("routes", "[ { prefix: /, service: pets } ]");
    let file = folder.path().join("attacked.yml");
    std::fs::write(&file, config.yaml()).unwrap();
    let process = Process::start(&["run", "--config", file.to_str().unwrap()], folder.path());
    let router = process.ready().await.clients[0];

    let bomb = Frame::head(1, &Block::get("/").keep("x-bomb", &"b".repeat(4000)), true).to_bytes();
    let bomb = [&bomb[..], &heads(50, &Block::get("/").octets(&[0xbe; 16_000]))].concat();
    let begun = Frame::raw(frame::HEADERS, 0, 1, vec![0x82]).to_bytes();
    let field = Block::new().plain("x-field", &"v".repeat(16_000)).to_bytes();
    let field = Frame::raw(frame::CONTINUATION, 0, 1, field).to_bytes();
    let fields = Frame::raw(frame::CONTINUATION, 0, 1, vec![0x90; 16_000]).to_bytes();
    let refused = heads(10_000, &Block::get("/").plain("Upper", "1"));
    let attacks: [(&str, &[u8], Vec<u8>); 7] = [
        ("bombs", b"", bomb),
        ("a head of large fields", &begun, field.to_vec()),
        ("a head of small fields", &begun, fields.to_vec()),
        ("PING, unread", b"", Frame::ping(0, [0; 8]).to_bytes().repeat(1000)),
        ("SETTINGS, unread", b"", Frame::settings(&[]).to_bytes().repeat(1000)),
        ("malformed heads, unread", b"", refused),
        ("answers, unread", b"", heads(100, &Block::get("/"))),
    ];
    let before = process.peak();
    for (what, begin, rest) in attacks {
        let start = process.peak();
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut talk = Talk::open(router, &[]).await;
            talk.write(begin).await;
            pour(&mut talk, &rest, if begin.is_empty() { rest.len() * 4 } else { 16 << 20 }).await;
            clients.push(talk);
        }
        let grown = process.peak().saturating_sub(start);
        assert!(grown < MOST, "{what}: {} MiB", grown >> 20);
    }
    let grown = process.peak().saturating_sub(before);
    assert!(grown < 2 * MOST, "{} MiB", grown >> 20);
    let mut talk = Talk::open(router, &[]).await;
    talk.send(&[Frame::head(1, &Block::get("/"), true)]).await;
    let came = talk.answer(1).await;
    assert_eq!(came.status(), 200, "{came:?}");
}
