//! Lines on their way to whoever reads the log: a bounded queue, and a thread that writes.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Lines that wait to be written: what a start with many registries says, and no memory to speak of.
pub(super) const QUEUE: usize = 4096;

/// How often the end looks whether all is written, and how many times: for a second.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS: u32 = 1000;

/// Takes lines, and never waits. A line for which there is no room is dropped and counted, as is one that cannot be written.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    End,
}

/// Dropped, it waits until all is written, for at most a second.
#[derive(Debug)]
pub(super) struct Writer {
    queue: SyncSender<Entry>,
    thread: JoinHandle<()>,
}

/// Starts the thread.
///
/// # Errors
/// If there is no thread to be had.
pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(Lines, Writer)> {
    let (queue, entries) = mpsc::sync_channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let lines = Lines { queue: queue.clone(), lost: Arc::clone(&lost) };
    let thread = thread::Builder::new().name("log".to_owned()).spawn(move || write(out, &entries, &lost))?;
    Ok((lines, Writer { queue, thread }))
}

fn write(mut out: impl Write, entries: &Receiver<Entry>, lost: &AtomicU64) {
    while let Ok(Entry::Line(line)) = entries.recv() {
        if out.write_all(&line).is_err() {
            lost.fetch_add(1, Relaxed);
        }
    }
    // Whoever cannot flush has nobody left to tell.
    out.flush().ok();
}

impl Lines {
    /// Lines that were not written.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// One call is one line: that is how `tracing-subscriber` writes.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Entry::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut told = false;
        for _ in 0..LOOKS {
            if self.thread.is_finished() {
                return;
            }
            told = told || !matches!(self.queue.try_send(Entry::End), Err(TrySendError::Full(_)));
            thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps what it is given, but for what it cannot write.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes == b"torn\n" {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_end_waits_for_what_is_queued_and_lines_that_cannot_be_written_are_counted() {
        let paper = Paper::default();
        let (mut lines, writer) = start(paper.clone()).unwrap();
        for _ in 0..1000 {
            lines.write_all(b"kept\n").unwrap();
        }
        lines.write_all(b"torn\n").unwrap();
        drop(writer);
        assert_eq!((paper.0.lock().unwrap().len(), lines.lost()), (5000, 1));
        lines.write_all(b"late\n").unwrap();
        assert_eq!(lines.lost(), 2, "nobody writes any more");
    }

    /// A reader that stands still.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_end_does_not_wait_for_ever() {
        for count in [1, QUEUE + 10] {
            let (reads, never) = mpsc::channel();
            let (mut lines, writer) = start(Stuck(never)).unwrap();
            (0..count).for_each(|_| lines.write_all(b"kept\n").unwrap());
            drop(writer);
            drop(reads);
        }
    }
}
