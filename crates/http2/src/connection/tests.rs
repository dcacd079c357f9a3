//! Whole connections over pipes that hold next to nothing.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    task::{LocalSet, spawn_local},
};

use super::Connection;
use crate::{Answer, Buffers, Error, Incoming, Outgoing, PREFACE, Reason, Request, RequestHead, Sender, Settings};

fn settings(window: u32) -> Settings {
    Settings { window, widest: 2 * window, head: 16 * 1024, streams: 100 }
}

/// Time stands still while anybody runs, so this passes only when everybody waits for ever.
async fn bounded<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("everything stands still")
}

fn open(sender: &Sender, end: bool) -> (Answer, Outgoing) {
    let headers = HeaderMap::new();
    let head = RequestHead { method: &Method::POST, scheme: "http", authority: "a", path: "/", headers: &headers };
    sender.open(&head, end).unwrap()
}

async fn send(mut out: Outgoing, size: usize, part: usize) {
    let mut left = size;
    while left > 0 {
        let mut chunk = Bytes::from(vec![7; left.min(part)]);
        left -= chunk.len();
        while !chunk.is_empty() {
            let room = poll_fn(|cx| out.poll_room(cx)).await.unwrap();
            let piece = chunk.split_to(room.min(chunk.len()));
            out.send_data(piece, left == 0 && chunk.is_empty()).unwrap();
        }
    }
}

async fn take(mut body: Incoming) -> Result<usize, Error> {
    let mut size = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        size += frame?.into_data().map_or(0, |data| data.len());
    }
    Ok(size)
}

/// Answers with as much as is asked, at once.
fn serve(request: Request, size: usize, part: usize) {
    let Request { body, mut respond, .. } = request;
    let (head, ()) = http::Response::new(()).into_parts();
    if body.is_end_stream() {
        return respond.send_response(&head, true).unwrap();
    }
    respond.send_response(&head, false).unwrap();
    spawn_local(async move {
        let (taken, ()) = tokio::join!(take(body), send(respond, size, part));
        assert_eq!(taken, Ok(size));
    });
}

/// A body of this size in both directions at once, through a pipe that holds so much.
async fn exchange(pipe: usize, window: u32, size: usize, part: usize) {
    let (here, there) = duplex(pipe);
    let buffers = Buffers::default();
    let mut server = Connection::server(there, settings(window), buffers.clone());
    let (sender, mut client) = Connection::client(here, settings(window), buffers);
    let serving = spawn_local(async move { poll_fn(|cx| server.poll(cx, |request| serve(request, size, part))).await });
    let asking = spawn_local(async move { poll_fn(|cx| client.poll(cx, |_| {})).await });
    // Behind its answer, the client knows the server's windows.
    let (mut answer, _) = open(&sender, true);
    bounded(poll_fn(|cx| answer.poll_head(cx))).await.unwrap();
    let (mut answer, out) = open(&sender, false);
    drop(sender);
    let hear = async {
        poll_fn(|cx| answer.poll_head(cx)).await.unwrap();
        take(answer.into_body()).await
    };
    let (taken, ()) = bounded(async { tokio::join!(hear, send(out, size, part)) }).await;
    assert_eq!(taken, Ok(size));
    assert_eq!(bounded(asking).await.unwrap(), Ok(()), "after the last sender and the last stream");
    assert_eq!(bounded(serving).await.unwrap(), Ok(()), "the client left with nothing under way");
}

#[tokio::test(start_paused = true)]
async fn bodies_larger_than_all_windows_pass_each_other() {
    for (pipe, size) in [(1, 5000), (7, 20_000), (64, 200_000)] {
        LocalSet::new().run_until(exchange(pipe, 1000, size, 700)).await;
    }
}

/// Both have far more to write than they read along with.
#[tokio::test(start_paused = true)]
async fn two_that_write_much_at_once_still_read() {
    LocalSet::new().run_until(exchange(4096, 1 << 20, 4 << 20, 1 << 20)).await;
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// Without a runtime, which would let a task read only so often.
#[test]
fn a_peer_that_does_not_read_is_not_read() {
    // One frame at a time: many at once would be a flood.
    let (mut here, there) = duplex(PING.len());
    let mut server = Connection::server(there, settings(1000), Buffers::default());
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let (cx, unheard) = (&mut Context::from_waker(&waker), &mut Context::from_waker(Waker::noop()));
    let flood = [PREFACE, SETTINGS, &PING.repeat(50_000)].concat();
    let (mut given, mut idle) = (0, 0);
    while idle < 20 {
        idle += 1;
        if let Poll::Ready(Ok(size)) = Pin::new(&mut here).poll_write(unheard, &flood[given..]) {
            (given, idle) = (given + size, 0);
        }
        assert!(server.poll(cx, |_| {}).is_pending());
    }
    assert!(server.blocked_since().is_some());
    assert!((200_000..400_000).contains(&given), "{given} bytes were read");
    count.0.store(0, Ordering::Relaxed);
    assert!(server.poll(cx, |_| {}).is_pending());
    assert_eq!(count.0.load(Ordering::Relaxed), 0, "it waits for the peer, and does not run in circles");
    // The peer reads, and all goes on.
    for _ in 0..2000 {
        let mut buffer = [0; 100];
        assert!(Pin::new(&mut here).poll_read(unheard, &mut ReadBuf::new(&mut buffer)).is_ready());
        assert!(count.0.swap(0, Ordering::Relaxed) > 0, "it is woken when there is room");
        assert!(server.poll(cx, |_| {}).is_pending());
    }
    assert!(Pin::new(&mut here).poll_write(unheard, &flood[given..]).is_ready(), "it reads again");
}

/// A client whose peer is played by hand.
fn by_hand() -> (DuplexStream, Sender, Connection<DuplexStream>) {
    let (here, there) = duplex(64 * 1024);
    let (sender, client) = Connection::client(there, settings(100_000), Buffers::default());
    (here, sender, client)
}

async fn end(mut connection: Connection<DuplexStream>) -> Result<(), Error> {
    bounded(poll_fn(move |cx| connection.poll(cx, |_| {}))).await
}

#[tokio::test(start_paused = true)]
async fn an_end_in_the_middle_is_told_to_all() {
    let (mut here, sender, client) = by_hand();
    let (mut answer, mut out) = open(&sender, false);
    here.write_all(SETTINGS).await.unwrap();
    here.shutdown().await.unwrap();
    let broken = Error::Io(std::io::ErrorKind::UnexpectedEof);
    assert_eq!(end(client).await, Err(broken));
    assert_eq!(poll_fn(|cx| answer.poll_head(cx)).await.unwrap_err(), broken);
    assert_eq!(poll_fn(|cx| out.poll_room(cx)).await, Err(broken));
    assert_eq!(poll_fn(|cx| out.poll_reset(cx)).await, broken);
}

#[tokio::test(start_paused = true)]
async fn an_end_with_nothing_under_way_is_in_order() {
    let (mut here, sender, client) = by_hand();
    here.write_all(SETTINGS).await.unwrap();
    here.shutdown().await.unwrap();
    assert_eq!(end(client).await, Ok(()));
    drop(sender);
}

/// Also if the end, or very much, comes right behind it.
#[tokio::test(start_paused = true)]
async fn a_broken_rule_is_told_whatever_comes_behind_it() {
    for behind in [0, 60_000] {
        let (mut here, _sender, client) = by_hand();
        here.write_all(PING).await.unwrap();
        here.write_all(&vec![0; behind]).await.unwrap();
        here.shutdown().await.unwrap();
        let result = end(client).await;
        assert!(matches!(result, Err(Error::Protocol { reason: Reason::PROTOCOL_ERROR, .. })), "{result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_dropped_tells_all() {
    let (_here, sender, client) = by_hand();
    let (mut answer, mut out) = open(&sender, false);
    drop(client);
    let aborted = Error::Io(std::io::ErrorKind::ConnectionAborted);
    assert_eq!(poll_fn(|cx| answer.poll_head(cx)).await.unwrap_err(), aborted);
    assert_eq!(poll_fn(|cx| out.poll_room(cx)).await, Err(aborted));
    let headers = HeaderMap::new();
    let head = RequestHead { method: &Method::GET, scheme: "http", authority: "a", path: "/", headers: &headers };
    assert_eq!(sender.open(&head, true).unwrap_err(), aborted);
}

#[tokio::test(start_paused = true)]
async fn whoever_parts_lets_the_last_stream_end() {
    let (here, there) = duplex(64);
    let mut server = Connection::server(there, settings(100_000), Buffers::default());
    let (sender, mut client) = Connection::client(here, settings(100_000), Buffers::default());
    let (mut answer, out) = open(&sender, false);
    let mut request = None;
    let cx = &mut Context::from_waker(Waker::noop());
    for turn in 0..200 {
        if turn == 100 {
            server.part();
        }
        assert!(client.poll(cx, |_| {}).is_pending());
        assert!(server.poll(cx, |come| request = Some(come)).is_pending());
    }
    assert!(client.is_going() && client.has_begun());
    let Request { body, mut respond, .. } = request.take().unwrap();
    let (head, ()) = http::Response::new(()).into_parts();
    respond.send_response(&head, true).unwrap();
    let mut out = out;
    out.send_data(Bytes::new(), true).unwrap();
    let both = async { tokio::join!(end_both(&mut client), end_both(&mut server)) };
    assert_eq!(bounded(both).await, (Ok(()), Ok(())));
    assert!(poll_fn(|cx| answer.poll_head(cx)).await.is_ok());
    assert_eq!(take(body).await, Ok(0));
}

async fn end_both(connection: &mut Connection<DuplexStream>) -> Result<(), Error> {
    poll_fn(|cx| connection.poll(cx, |_| {})).await
}

#[tokio::test(start_paused = true)]
async fn each_head_that_comes_in_parts_has_its_own_time() {
    use tokio::io::AsyncWriteExt as _;
    let head = |stream: u8| [&[0, 0, 6, 1, 5, 0, 0, 0, stream][..], b"\x82\x86\x84\x41\x01a"].concat();
    let (mut client, ours) = duplex(1 << 16);
    let settings = Settings { window: 65_535, widest: 65_535, head: 1000, streams: 100 };
    let mut server = Connection::server(ours, settings, Buffers::default());
    let mut begin = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &head(1)[..10]].concat();
    let mut since = Vec::new();
    for stream in [3, 5] {
        client.write_all(&begin).await.unwrap();
        let _ended = poll_fn(|cx| Poll::Ready(server.poll(cx, drop).is_ready())).await;
        since.push(server.head_since().expect("a part of a head"));
        tokio::time::advance(Duration::from_secs(9)).await;
        begin = [&head(stream - 2)[10..], &head(stream)[..10]].concat();
    }
    assert_eq!((since[1] - since[0]).as_secs(), 9);
    client.write_all(&head(3)[10..11]).await.unwrap();
    let _ended = poll_fn(|cx| Poll::Ready(server.poll(cx, drop).is_ready())).await;
    assert_eq!(server.head_since(), Some(since[1]), "a byte more gains nothing");
}
