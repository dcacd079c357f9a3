//! One line for each request, written without making the request wait.
//!
//! Each core has a [`Pen`]: it puts a line together in a recycled buffer and leaves it in a bounded queue of its own.
//! One thread for the process empties the queues every [`PAUSE`] and writes. A core never waits, never wakes a thread,
//! and, once the buffers are warm, never allocates. If the file or pipe does not keep up and a queue is full, lines are
//! **dropped and counted** (`pointsman_access_lines_dropped_total`): the log suffers, requests do not.
//!
//! Lines of one core are in order; lines of different cores are not, their time says when.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use model::Tick;
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;

mod entry;
mod line;

#[cfg(test)]
mod tests;

use crate::complaints::Complaints;
pub use entry::{Entry, Rfc3339};
use line::Line;

/// The `access_log` section of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How a line looks.
    pub format: Format,
    /// Where lines go: a path to append to; standard output if there is none.
    pub file: Option<PathBuf>,
    /// Whether query strings are written. Off by default: they carry tokens and names of people.
    pub query: bool,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// `name=value` pairs, values quoted where needed.
    Text,
    /// No access log.
    Off,
}

/// The access log of the process. Dropping it writes what is queued, for at most a second, and ends its thread.
#[derive(Debug)]
pub struct AccessLog {
    settings: Settings,
    orders: Sender<Order>,
    dropped: Counter,
    thread: Option<JoinHandle<()>>,
}

/// What one core writes lines with.
#[derive(Debug)]
pub struct Pen {
    /// `None` if there is no access log.
    to: Option<Queue>,
    dropped: Counter,
}

#[derive(Debug)]
struct Queue {
    json: bool,
    query: bool,
    lines: SyncSender<String>,
    /// Buffers on their way back.
    empty: Receiver<String>,
}

/// The thread's end of a core's queue.
#[derive(Debug)]
struct Well {
    lines: Receiver<String>,
    empty: SyncSender<String>,
}

/// Lines that could not be written.
struct Lost {
    dropped: Counter,
    complaints: Complaints,
    /// One [`PAUSE`] for each round, which is near enough.
    now: Tick,
}

enum Order {
    Drain(Well),
    Reopen,
    Stop,
}

/// How often the queues are emptied: short enough to follow by eye, long enough that one write carries many lines.
pub const PAUSE: Duration = Duration::from_millis(50);
/// Lines a core may have waiting: 50 ms at 300,000 requests a second; 16 MiB at 1 KiB a line, if writing stands still.
const QUEUE: usize = 16 * 1024;

/// How often the end looks whether what is queued is written: for a second in all.
const FAREWELL: usize = 200;
/// Between two of these looks.
const LOOK: Duration = Duration::from_millis(5);

impl AccessLog {
    /// Opens the log. `dropped` counts the lines that were not written.
    ///
    /// # Errors
    /// If the file cannot be opened for appending, or the thread cannot be started.
    pub fn open(settings: Settings, dropped: Counter) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let mut thread = None;
        if settings.format != Format::Off {
            let mut out = destination(&settings)?;
            let (settings, dropped) = (settings.clone(), dropped.clone());
            let write = move || {
                let mut lost = Lost::new(dropped);
                let mut wells = Vec::new();
                let reopen = || destination(&settings);
                while serve(&inbox, &mut wells, &mut out, &reopen, &mut lost) {}
            };
            thread = Some(std::thread::Builder::new().name("access-log".to_owned()).spawn(write)?);
        }
        Ok(Self { settings, orders, dropped, thread })
    }

    /// A pen for one more core.
    #[must_use]
    pub fn pen(&self) -> Pen {
        self.pen_for(QUEUE)
    }

    fn pen_for(&self, capacity: usize) -> Pen {
        let (lines, full) = mpsc::sync_channel(capacity);
        let (back, empty) = mpsc::sync_channel(capacity);
        let drained = self.orders.send(Order::Drain(Well { lines: full, empty: back })).is_ok();
        let Settings { format, query, .. } = self.settings;
        let queue = Queue { json: format == Format::Json, query, lines, empty };
        Pen { to: (self.thread.is_some() && drained).then_some(queue), dropped: self.dropped.clone() }
    }

    /// Opens the file anew, after a rotation moved it away. If that fails, the old one stays in use.
    pub fn reopen(&self) {
        // An error means the thread is gone, and with it all there was to reopen.
        self.orders.send(Order::Reopen).ok();
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.orders.send(Order::Stop).ok();
        let Some(thread) = self.thread.take() else { return };
        for _ in 0..FAREWELL {
            if thread.is_finished() {
                break;
            }
            std::thread::sleep(LOOK);
        }
        // Left behind if nobody reads what it writes: the router ends all the same.
        if thread.is_finished() {
            thread.join().ok();
        }
    }
}

impl Pen {
    /// Whether there is an access log.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.to.is_some()
    }

    /// Writes one line. Never waits: if the queue is full the line is dropped and counted.
    pub fn write(&self, entry: &Entry<'_>) {
        let Some(queue) = &self.to else { return };
        let mut text = queue.empty.try_recv().unwrap_or_default();
        text.clear();
        entry.write(Line::new(&mut text, queue.json), queue.query);
        if queue.lines.try_send(text).is_err() {
            self.dropped.inc();
        }
    }
}

impl Lost {
    fn new(dropped: Counter) -> Self {
        Self { dropped, complaints: Complaints::default(), now: Tick::default() }
    }

    fn add(&mut self, lines: u64, error: &io::Error) {
        self.dropped.inc_by(lines);
        if let Some(lines) = self.complaints.add(lines, self.now) {
            tracing::warn!(%error, lines, "access-log lines are lost");
        }
    }
}

fn destination(settings: &Settings) -> io::Result<Box<dyn Write + Send>> {
    Ok(match &settings.file {
        None => Box::new(io::stdout()),
        Some(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
    })
}

/// One round of the thread: waits for an order or the pause, empties the queues. False after the last one.
fn serve(
    inbox: &Receiver<Order>,
    wells: &mut Vec<Well>,
    out: &mut Box<dyn Write + Send>,
    reopen: &dyn Fn() -> io::Result<Box<dyn Write + Send>>,
    lost: &mut Lost,
) -> bool {
    let mut serving = true;
    match inbox.recv_timeout(PAUSE) {
        Ok(Order::Drain(well)) => wells.push(well),
        Ok(Order::Reopen) => match reopen() {
            Ok(new) => {
                drain(wells, out, lost);
                *out = new;
            }
            Err(error) => tracing::warn!(%error, "the access log cannot be opened anew and goes on in the old file"),
        },
        Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => serving = false,
        Err(RecvTimeoutError::Timeout) => {}
    }
    drain(wells, out, lost);
    serving
}

fn drain(wells: &mut [Well], out: &mut dyn Write, lost: &mut Lost) {
    lost.now = lost.now.after(PAUSE);
    let mut batch = Vec::new();
    for well in wells {
        let mut count = 0;
        // No more than one full queue at a time, so that a busy core cannot keep the others waiting.
        for line in well.lines.try_iter().take(QUEUE) {
            batch.extend_from_slice(line.as_bytes());
            count += 1;
            well.empty.try_send(line).ok(); // a buffer too many is freed
        }
        if let Err(error) = out.write_all(&batch).and_then(|()| out.flush()) {
            lost.add(count, &error);
        }
        batch.clear();
    }
}
