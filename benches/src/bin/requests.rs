//! The clients of `scenarios`: numbered requests at a fixed rate over HTTP/2 in clear text, whatever becomes of the ones
//! before; prints what became of each that failed, as JSON.
//!
//! They are well-behaved: a request that a GOAWAY or REFUSED_STREAM proves unprocessed is sent again on another connection.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program that prints its measurement or ends")]

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use clap::Parser;
use h2::client::SendRequest;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    runtime::Builder,
    task::{LocalSet, spawn_local},
    time::{Instant, sleep, sleep_until, timeout},
};

/// Requests under way at once, at most; what is due beyond that waits.
const UNDER_WAY: u64 = 4096;
/// Failures told one by one, at most.
const TOLD: usize = 200_000;
/// Letters of an error's body that are kept, for proxies that say there what was wrong.
const TOLD_OF_EACH: usize = 160;

/// Sends requests and says what became of them.
#[derive(Debug, Parser)]
struct Options {
    /// The proxy.
    #[arg(long)]
    to: SocketAddr,
    /// How many.
    #[arg(long)]
    count: u64,
    /// How many a second.
    #[arg(long)]
    rate: f64,
    /// The number of the first.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Every how many is a POST.
    #[arg(long, default_value_t = 10)]
    post: u64,
    /// How long a client waits for an answer, in milliseconds.
    #[arg(long, default_value_t = 30_000)]
    patience: u64,
    /// Connections to the proxy.
    #[arg(long, default_value_t = 8)]
    connections: usize,
}

/// Why a request has no good answer.
#[derive(Debug)]
enum Failure {
    /// An answer that says so, and what else it says.
    Status(u16, String),
    /// None, for a reason of HTTP/2.
    Stream(h2::Error),
    /// No connection to the proxy.
    Proxy(std::io::Error),
    /// The head came, and not all of the body.
    Truncated(h2::Error),
}

struct Clients {
    options: Options,
    connections: Vec<RefCell<Option<SendRequest<Bytes>>>>,
    micros: RefCell<Vec<u32>>,
    failures: RefCell<Vec<Value>>,
    failed: Cell<u64>,
    resent: Cell<u64>,
    under_way: Cell<u64>,
}

fn main() {
    let options = Options::parse();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let said = LocalSet::new().block_on(&runtime, run(options));
    println!("{said}");
}

async fn run(options: Options) -> Value {
    let clients = Rc::new(Clients {
        connections: (0..options.connections).map(|_| RefCell::default()).collect(),
        options,
        micros: RefCell::default(),
        failures: RefCell::default(),
        failed: Cell::default(),
        resent: Cell::default(),
        under_way: Cell::default(),
    });
    let began = Instant::now();
    for at in 0..clients.options.count {
        let due = began + Duration::from_secs_f64(at as f64 / clients.options.rate);
        if due > Instant::now() {
            sleep_until(due).await;
        }
        while clients.under_way.get() >= UNDER_WAY {
            sleep(Duration::from_millis(1)).await;
        }
        clients.under_way.set(clients.under_way.get() + 1);
        spawn_local(Rc::clone(&clients).one(clients.options.first + at));
    }
    while clients.under_way.get() > 0 {
        sleep(Duration::from_millis(5)).await;
    }
    clients.say(began.elapsed())
}

impl Clients {
    /// One request, from its time to its end.
    async fn one(self: Rc<Self>, number: u64) {
        let (began, clock) = (Instant::now(), micros());
        let post = number.is_multiple_of(self.options.post);
        let patience = Duration::from_millis(self.options.patience);
        let what = match timeout(patience, self.send(number, post)).await {
            Ok(Ok(())) => None,
            Ok(Err(Failure::Status(status, reason))) => Some(("status", format!("{status} {reason}"))),
            Ok(Err(Failure::Stream(error))) => Some(("stream", error.to_string())),
            Ok(Err(Failure::Proxy(error))) => Some(("proxy", error.to_string())),
            Ok(Err(Failure::Truncated(error))) => Some(("truncated", error.to_string())),
            Err(_) => Some(("gave_up", String::new())),
        };
        self.micros.borrow_mut().push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        if let Some((what, detail)) = what {
            self.failed.set(self.failed.get() + 1);
            let mut failures = self.failures.borrow_mut();
            if failures.len() < TOLD {
                failures.push(json!({
                    "number": number, "post": post, "began": clock, "ended": micros(), "what": what, "detail": detail,
                }));
            }
        }
        self.under_way.set(self.under_way.get() - 1);
    }

    /// Sends it until it is processed, and reads the answer.
    async fn send(&self, number: u64, post: bool) -> Result<(), Failure> {
        loop {
            match self.attempt(number, post).await {
                Err(Failure::Stream(error)) if is_unprocessed(&error) => {
                    self.resent.set(self.resent.get() + 1);
                    sleep(Duration::from_millis(1)).await;
                }
                result => return result,
            }
        }
    }

    async fn attempt(&self, number: u64, post: bool) -> Result<(), Failure> {
        let mut sender = self.connection(number as usize % self.connections.len()).await?;
        let method = if post { "POST" } else { "GET" };
        let uri = format!("http://{}/items/{number}", self.options.to);
        let request = Request::builder().method(method).uri(uri).body(()).expect("a request");
        let (response, mut body) = sender.send_request(request, !post).map_err(Failure::Stream)?;
        if post {
            body.send_data(Bytes::from_static(&[b'y'; 200]), true).map_err(Failure::Stream)?;
        }
        let response = response.await.map_err(Failure::Stream)?;
        let (status, mut reason) = (response.status().as_u16(), reason(&response));
        let is_explained = status == 200 || response.headers().contains_key("x-pointsman-reason");
        let mut body = response.into_body();
        while let Some(bytes) = body.data().await {
            let bytes = bytes.map_err(Failure::Truncated)?;
            if !is_explained && reason.len() < TOLD_OF_EACH {
                reason.push(' ');
                reason.extend(String::from_utf8_lossy(&bytes).chars().take(TOLD_OF_EACH));
            }
            body.flow_control().release_capacity(bytes.len()).ok();
        }
        if status == 200 { Ok(()) } else { Err(Failure::Status(status, reason)) }
    }

    /// The connection of this place, or a new one if it takes no more requests.
    async fn connection(&self, place: usize) -> Result<SendRequest<Bytes>, Failure> {
        let known = self.connections[place].borrow().clone();
        if let Some(known) = known
            && let Ok(ready) = known.ready().await
        {
            return Ok(ready);
        }
        let stream = TcpStream::connect(self.options.to).await.map_err(Failure::Proxy)?;
        stream.set_nodelay(true).ok();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 24);
        let (sender, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(Failure::Stream)?;
        spawn_local(connection);
        self.connections[place].replace(Some(sender.clone()));
        sender.ready().await.map_err(Failure::Stream)
    }

    fn say(&self, took: Duration) -> Value {
        let mut micros = self.micros.borrow_mut();
        micros.sort_unstable();
        let at = |share: f64| micros.get(((micros.len() as f64 * share) as usize).min(micros.len() - 1)).copied();
        json!({
            "requests": micros.len(), "failed": self.failed.get(), "resent": self.resent.get(),
            "seconds": took.as_secs_f64(), "p50": at(0.5), "p99": at(0.99), "slowest": micros.last(),
            "failures": *self.failures.borrow(),
        })
    }
}

/// RFC 9113, 8.7: nothing was done, so it may be sent again.
fn is_unprocessed(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

fn reason<B>(response: &Response<B>) -> String {
    let said = ["x-pointsman-reason", "x-instance", "server"].map(|name| response.headers().get(name));
    said.into_iter().flatten().next().and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64
}
