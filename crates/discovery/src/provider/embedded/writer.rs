//! The thread that writes the journal: the disk is slow, and nobody else waits for it.
//!
//! Changes are routed when they are made; whoever made one is answered when the disk has it. All that waits is written
//! and synchronised at once, so a thousand registrations cost a few disk operations, not a thousand.

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

use super::journal::{Journal, Line};
use crate::memory::join;

/// How many changes go to the disk in one step. Above, the first would wait too long for the last.
const BATCH: usize = 1024;

/// The way to the thread. Dropping it waits until all is written, unless the disk hangs.
#[derive(Debug)]
pub(super) struct Writer {
    /// Unbounded, yet short: whoever registers waits for its own change, and expiry makes at most one per instance.
    orders: Option<mpsc::UnboundedSender<Order>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Order {
    /// `None` changes nothing and asks only whether all before it is on the disk.
    line: Option<Line>,
    stored: oneshot::Sender<bool>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(journal: Journal) -> io::Result<Self> {
        let (orders, receiver) = mpsc::unbounded_channel();
        let run = move || write(journal, receiver);
        let thread = thread::Builder::new().name("registry-journal".to_owned()).spawn(run)?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Hands over one change. The receiver tells whether the disk has it.
    pub(super) fn send(&self, line: Line) -> oneshot::Receiver<bool> {
        self.order(Some(line))
    }

    /// Asks whether the disk has all that was handed over before.
    pub(super) fn settled(&self) -> oneshot::Receiver<bool> {
        self.order(None)
    }

    fn order(&self, line: Option<Line>) -> oneshot::Receiver<bool> {
        let (stored, told) = oneshot::channel();
        if let Some(orders) = &self.orders {
            // Fails only if the thread panicked; then `told` says that nothing is stored.
            drop(orders.send(Order { line, stored }));
        }
        told
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            join(thread, "of the registry");
        }
    }
}

fn write(mut journal: Journal, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut failing = false;
    let mut batch = Vec::new();
    while orders.blocking_recv_many(&mut batch, BATCH) > 0 {
        let lines: Vec<Line> = batch.iter().filter_map(|order| order.line.clone()).collect();
        // After a failure the file lacks changes, so the next step writes all of it; without any, nothing is done.
        let written = journal.append(&lines).and_then(|()| if failing { journal.rewrite() } else { Ok(()) });
        match &written {
            Err(error) if !failing => {
                tracing::error!(%error, "cannot write the registry; registrations are served from memory only");
            }
            Ok(()) if failing => tracing::info!("the registry is written again, with all that was missed"),
            _ => {}
        }
        failing = written.is_err();
        for order in batch.drain(..) {
            // Who has given up waiting does not want to know.
            let _gone = order.stored.send(!failing);
        }
    }
}
