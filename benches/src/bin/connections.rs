//! Many connections to one server: handshakes as fast as they go, or connections that stay open and idle.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program that prints its measurement or ends")]

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
};

use benches::visitor::{Visit, Visitor};
use clap::Parser;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, stdin},
    runtime::Builder,
    task::LocalSet,
    time::Instant,
};

/// The router's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Opens connections with one request each, and prints how that went as one JSON object.
#[derive(Debug, Parser)]
struct Options {
    /// The server, TLS with HTTP/2.
    #[arg(long)]
    to: SocketAddr,
    /// Connections in all.
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Handshakes at the same time.
    #[arg(long, default_value_t = 8)]
    parallel: usize,
    /// Resume sessions by tickets.
    #[arg(long)]
    resume: bool,
    /// Keep all of them open until standard input ends.
    #[arg(long)]
    hold: bool,
}

#[derive(Debug, Default)]
struct Tally {
    begun: Cell<usize>,
    full: Cell<usize>,
    resumed: Cell<usize>,
    failed: Cell<usize>,
    held: RefCell<Vec<Visit>>,
}

fn main() {
    let options = Options::parse();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(measure(options)));
}

async fn measure(options: Options) {
    let visitor = Visitor::new(options.to, options.resume);
    if options.resume {
        // Tickets to begin with: one for each that is under way at the same time.
        for _ in 0..options.parallel {
            if let Ok(visit) = visitor.visit().await {
                visit.end().await;
            }
        }
    }
    let tally = Rc::new(Tally::default());
    let start = Instant::now();
    let workers: Vec<_> = (0..options.parallel)
        .map(|_| tokio::task::spawn_local(work(visitor.clone(), tally.clone(), options.count, options.hold)))
        .collect();
    for worker in workers {
        worker.await.expect("no worker panics");
    }
    let seconds = start.elapsed().as_secs_f64();
    let (full, resumed, failed) = (tally.full.get(), tally.resumed.get(), tally.failed.get());
    println!("{}", json!({ "full": full, "resumed": resumed, "failed": failed, "seconds": seconds }));
    if options.hold {
        while stdin().read(&mut [0; 16]).await.is_ok_and(|read| read > 0) {}
    }
}

async fn work(visitor: Visitor, tally: Rc<Tally>, count: usize, hold: bool) {
    let one_more = |cell: &Cell<usize>| cell.set(cell.get() + 1);
    while tally.begun.get() < count {
        one_more(&tally.begun);
        let Ok(visit) = visitor.visit().await else {
            one_more(&tally.failed);
            continue;
        };
        one_more(if visit.resumed() { &tally.resumed } else { &tally.full });
        if hold {
            tally.held.borrow_mut().push(visit);
        } else {
            visit.end().await;
        }
    }
}
