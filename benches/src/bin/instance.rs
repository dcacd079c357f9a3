//! One instance of a service, for `scenarios`: it answers over HTTP/2 in clear text, misbehaves as it is told on its input,
//! and writes down which requests it saw, so that a killed one leaves its record too.
//!
//! Requests are `/items/NUMBER`, health is `/health`. Words on its input, one a line: `well`, `slow MILLISECONDS`,
//! `status CODE`, `reset`, `goaway REQUESTS` (each connection is told to go away after so many), `health on|off`.
//! SIGTERM ends it as a good server ends: no new connections, GOAWAY on the open ones, what is under way is answered.
#![allow(clippy::expect_used, reason = "a program that serves or ends")]

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use clap::Parser;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{Request, Response, StatusCode};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
    task::{JoinSet, LocalSet, spawn_local},
    time::{Instant, sleep, timeout},
};

/// How long it finishes what it has after SIGTERM.
const DRAIN: Duration = Duration::from_secs(5);
/// What a cold instance does at once, and how much slower it is in the beginning.
const COLD_WORKERS: usize = 4;
const COLD: f64 = 20.0;

/// Answers requests, and keeps a record of them.
#[derive(Debug, Parser)]
struct Options {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// What it is called in `x-instance`.
    #[arg(long)]
    name: String,
    /// Where each request seen is written: micros since the epoch and its number (8 bytes each, big endian), and 1 for a
    /// head that came, 2 for a body that was taken.
    #[arg(long)]
    record: PathBuf,
    /// How long an answer takes, in milliseconds.
    #[arg(long, default_value_t = 5)]
    delay: u64,
    /// For how many seconds it is cold: slow, and soon busy.
    #[arg(long, default_value_t = 0.0)]
    cold: f64,
    /// Connections that wait to be accepted, at most: few, so that a stopped instance can be made unreachable.
    #[arg(long, default_value_t = 64)]
    backlog: u32,
}

/// What it does with requests.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Answer(Duration),
    Status(StatusCode),
    Reset,
}

struct Instance {
    options: Options,
    record: RefCell<File>,
    manner: Cell<Manner>,
    go_away: Cell<Option<u32>>,
    healthy: Cell<bool>,
    began: Instant,
    workers: Semaphore,
}

fn main() {
    let options = Options::parse();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, run(options));
    // A runtime waits for who reads its input.
    runtime.shutdown_background();
}

async fn run(options: Options) {
    let record = File::options().create(true).append(true).open(&options.record).expect("a record");
    let listener = listen(options.listen, options.backlog);
    let instance = Rc::new(Instance {
        manner: Cell::new(Manner::Answer(Duration::from_millis(options.delay))),
        options,
        record: RefCell::new(record),
        go_away: Cell::new(None),
        healthy: Cell::new(true),
        began: Instant::now(),
        workers: Semaphore::new(COLD_WORKERS),
    });
    spawn_local(obey(Rc::clone(&instance)));
    let mut term = signal(SignalKind::terminate()).expect("a signal");
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn_local(serve(stream, Rc::clone(&instance), stopping.clone()));
            },
            Some(_) = connections.join_next() => {}
            _ = term.recv() => break,
        }
    }
    drop(listener);
    stop.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    timeout(DRAIN, drained).await.ok();
}

fn listen(address: SocketAddr, backlog: u32) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a free port");
    socket.listen(backlog).expect("a listener")
}

/// Does as it is told, line by line; goes on as it is when nobody tells any more.
async fn obey(instance: Rc<Instance>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = || words.get(1).and_then(|word| word.parse::<u64>().ok()).expect("a number");
        let usual = Manner::Answer(Duration::from_millis(instance.options.delay));
        match words.first().copied() {
            Some("well") => {
                instance.manner.set(usual);
                instance.go_away.set(None);
                instance.healthy.set(true);
            }
            Some("slow") => instance.manner.set(Manner::Answer(Duration::from_millis(number()))),
            Some("status") => {
                let status = StatusCode::from_u16(number() as u16).expect("a status");
                instance.manner.set(Manner::Status(status));
            }
            Some("reset") => instance.manner.set(Manner::Reset),
            Some("goaway") => instance.go_away.set(Some(number() as u32)),
            Some("health") => instance.healthy.set(words.get(1) == Some(&"on")),
            _ => panic!("no such word: {line}"),
        }
    }
}

async fn serve(stream: TcpStream, instance: Rc<Instance>, mut stopping: watch::Receiver<bool>) {
    stream.set_nodelay(true).ok();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(256).initial_window_size(1 << 20).initial_connection_window_size(1 << 22);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let (mut requests, mut leaving) = (0, *stopping.borrow());
    if leaving {
        connection.graceful_shutdown();
    }
    loop {
        tokio::select! {
            next = connection.accept() => {
                let Some(Ok((request, respond))) = next else { return };
                spawn_local(answer(request, respond, Rc::clone(&instance)));
                requests += 1;
                if !leaving && instance.go_away.get().is_some_and(|most| requests >= most) {
                    leaving = true;
                    connection.graceful_shutdown();
                }
            }
            Ok(()) = stopping.changed(), if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
            }
        }
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, instance: Rc<Instance>) {
    let (head, mut body) = request.into_parts();
    let Some(number) = head.uri.path().strip_prefix("/items/").and_then(|text| text.parse().ok()) else {
        let status = if instance.healthy.get() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        respond.send_response(response(status, &instance), true).ok();
        return;
    };
    instance.note(number, 1);
    let mut taken = false;
    while let Some(Ok(bytes)) = body.data().await {
        if !taken {
            taken = true;
            instance.note(number, 2);
        }
        body.flow_control().release_capacity(bytes.len()).ok();
    }
    let status = match instance.manner.get() {
        Manner::Answer(delay) => {
            instance.work(delay).await;
            StatusCode::OK
        }
        Manner::Status(status) => status,
        Manner::Reset => return respond.send_reset(Reason::INTERNAL_ERROR),
    };
    // Who asked may have left.
    if let Ok(mut stream) = respond.send_response(response(status, &instance), false) {
        stream.send_data(Bytes::from_static(&[b'x'; 256]), true).ok();
    }
}

fn response(status: StatusCode, instance: &Instance) -> Response<()> {
    let head = Response::builder().status(status).header("x-instance", &instance.options.name);
    head.body(()).expect("a response")
}

impl Instance {
    /// Written at once and unbuffered: nobody is asked before a SIGKILL.
    fn note(&self, number: u64, what: u8) {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&micros.to_be_bytes());
        bytes[8..16].copy_from_slice(&number.to_be_bytes());
        bytes[16] = what;
        self.record.borrow_mut().write_all(&bytes).expect("room for the record");
    }

    /// What an answer takes: more while it is cold, and then only a few at once.
    async fn work(&self, delay: Duration) {
        let age = self.began.elapsed().as_secs_f64();
        if age >= self.options.cold {
            return sleep(delay).await;
        }
        let _worker = self.workers.acquire().await.expect("never closed");
        sleep(delay.mul_f64(1.0 + COLD * (1.0 - age / self.options.cold))).await;
    }
}
