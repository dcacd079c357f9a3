//! Back-pressure: whoever does not read makes the other side wait, and what the router holds for them is bounded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use testkit::{Gate, Reply, Socket, bounded, wait_for};

use super::head;
use crate::support::{Back, Config, Front, Matrix};

const TOTAL: u64 = 64 << 20;

/// What the windows and buffers of two HTTP/2 hops may hold; sockets add to it where HTTP/1 is spoken, up to what the
/// kernel allows (`tcp_wmem` and `tcp_rmem`, 4 and 6 MiB by default) on each hop.
fn most(h2: bool) -> u64 {
    if h2 { 2 << 20 } else { 24 << 20 }
}

/// Waits until the count stands still, and says where.
async fn at_rest(count: impl Fn() -> u64) -> u64 {
    /// Longer than any pause between two reads of a laden machine that are not held up.
    const REST: Duration = Duration::from_millis(150);
    bounded("the stream to stand still", async {
        loop {
            let before = count();
            if !wait_for(|| count() != before, REST).await && before > 0 {
                return before;
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_instance_can_send_only_so_much_to_a_client_that_does_not_read() {
    let matrix = Matrix::start(Config::new(), |_| Reply::ok("").stream(TOTAL)).await;
    let client = matrix.router.client(Front::H2c).await;
    for back in Back::ALL {
        let counts = matrix.instance(back).counts();
        let mut stream = client.open(head("GET", "/", back.service()), true).await.unwrap();
        stream.head().await.unwrap();
        let held = stream.data_held().await.unwrap().expect("a first piece");
        let written = at_rest(|| counts.bytes_written()).await;
        assert!(written < most(back.is_h2()), "HTTP/2 to {back:?}: {written}");
        stream.release(held.len());
        let mut received = held.len() as u64;
        while let Some(piece) = stream.next().await.unwrap() {
            received += piece.len() as u64;
        }
        assert_eq!(received, TOTAL, "{back:?}");
    }
    for back in Back::ALL {
        let counts = matrix.instance(back).counts();
        let before = counts.bytes_written();
        let mut socket = Socket::connect(matrix.router.clear()).await;
        socket.send(format!("GET / HTTP/1.1\r\nHost: a\r\nservice_id: {}\r\n\r\n", back.service())).await.unwrap();
        socket.read_head().await.expect("a head");
        let written = at_rest(|| counts.bytes_written() - before).await;
        assert!(written < most(false), "HTTP/1 to {back:?}: {written}");
        drop(socket);
        matrix.router.settled(back.service()).await;
    }
}

#[tokio::test]
async fn a_client_can_send_only_so_much_to_an_instance_that_does_not_read() {
    let gate = Gate::new();
    let held = gate.clone();
    let matrix = Matrix::start(Config::new(), move |_| Reply::unread().gate(&held).read().head(204)).await;
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    let mut uploads = Vec::new();
    for back in Back::ALL {
        let client = matrix.router.client(Front::H2c).await;
        let mut stream = client.open(head("POST", "/", back.service()), false).await.unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let (counter, piece) = (Arc::clone(&sent), piece.clone());
        let upload = tokio::spawn(async move {
            while counter.load(Ordering::SeqCst) < TOTAL {
                stream.data(piece.clone()).await.unwrap();
                counter.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
            stream.finish().unwrap();
            let answer = stream.answer().await.unwrap();
            drop(client);
            answer
        });
        uploads.push((back, sent, upload));
    }
    for (back, sent, _) in &uploads {
        let sent = at_rest(|| sent.load(Ordering::SeqCst)).await;
        assert!(sent < most(back.is_h2()), "{back:?}: {sent}");
        assert_eq!(matrix.instance(*back).counts().bytes_read(), 0, "{back:?}");
    }
    gate.open();
    for (back, _, upload) in uploads {
        assert_eq!(bounded("an upload", upload).await.unwrap().status, 204, "{back:?}");
        assert_eq!(matrix.instance(back).counts().bytes_read(), TOTAL, "{back:?}");
    }
}
