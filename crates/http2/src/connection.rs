//! hot path
//!
//! The task of a connection: reads what there is, lets the core decide, writes once.

#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{
    Buffers, Error, Reason, Request, Sender, Settings,
    core::{Core, Role},
    frame::{CONTINUATION, HEADERS},
};

/// Reads in one turn of the task, so that one busy peer does not keep the others of its thread waiting.
const READS: usize = 8;

/// One connection, for the task that drives it.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    core: Rc<RefCell<Core>>,
    buffers: Buffers,
    /// The beginning of a frame whose end has not come.
    left: Vec<u8>,
    heard: Instant,
    blocked_since: Option<Instant>,
    head_since: Option<Instant>,
    /// The peer sends nothing more, or shall not be heard.
    is_ended: bool,
    /// It left with nothing under way.
    is_clean: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The server's end of a connection.
    #[must_use]
    pub fn server(stream: S, settings: Settings, buffers: Buffers) -> Self {
        Self::new(stream, Core::new(Role::Server, settings, buffers.clone()), buffers)
    }

    /// The client's end of a connection, and what opens streams on it. It ends after the last sender is gone and the
    /// last stream is over.
    #[must_use]
    pub fn client(stream: S, settings: Settings, buffers: Buffers) -> (Sender, Self) {
        let connection = Self::new(stream, Core::new(Role::Client, settings, buffers.clone()), buffers);
        (Sender::new(&connection.core), connection)
    }

    fn new(stream: S, core: Core, buffers: Buffers) -> Self {
        let core = Rc::new(RefCell::new(core));
        let heard = Instant::now();
        Self {
            stream,
            core,
            buffers,
            left: Vec::new(),
            heard,
            blocked_since: None,
            head_since: None,
            is_ended: false,
            is_clean: false,
        }
    }

    /// Reads what came, hands over requests, writes what waits. Pending for as long as the connection lives.
    ///
    /// # Errors
    /// Why it ended, if not in order.
    pub fn poll(&mut self, cx: &mut Context<'_>, accept: impl FnMut(Request)) -> Poll<Result<(), Error>> {
        self.poll_read(cx, accept);
        self.poll_write(cx)
    }

    /// The first half of [`Connection::poll`]: reads what came and hands over requests.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, mut accept: impl FnMut(Request)) {
        if !self.is_ended {
            self.read(cx, &mut accept);
        }
    }

    /// The second half of [`Connection::poll`]: writes what waits. What is done with requests in between goes out by
    /// this write.
    ///
    /// # Errors
    /// As [`Connection::poll`].
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (waiting, was_stuffed) = self.fill();
        let written = self.write(cx);
        let (left, is_stuffed) = self.fill();
        if was_stuffed && !is_stuffed {
            // There is room to read on.
            cx.waker().wake_by_ref();
        }
        self.blocked_since = match self.blocked_since {
            _ if written.is_ready() => None,
            Some(since) if left >= waiting => Some(since),
            _ => Some(Instant::now()),
        };
        let mut core = self.core.borrow_mut();
        let ended = match core.error {
            Some(_) if self.is_clean => Some(Ok(())),
            Some(error) => Some(Err(error)),
            None if core.is_over() => Some(Ok(())),
            None => None,
        };
        let Some(result) = ended else {
            core.note_task(cx);
            return Poll::Pending;
        };
        drop(core);
        self.is_ended = true;
        if written.is_pending() {
            return Poll::Pending;
        }
        // The last word is said; what becomes of it is of no more account.
        Pin::new(&mut self.stream).poll_shutdown(cx).map(|_| result)
    }

    fn read(&mut self, cx: &mut Context<'_>, accept: &mut impl FnMut(Request)) {
        for _ in 0..READS {
            if self.core.borrow().is_stuffed() || self.core.borrow().error.is_some() {
                return;
            }
            match self.read_once(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(kind)) => {
                    self.is_ended = true;
                    let mut core = self.core.borrow_mut();
                    // With nothing under way the peer may just leave.
                    self.is_clean =
                        kind == io::ErrorKind::UnexpectedEof && core.error.is_none() && core.streams.open() == 0;
                    core.fail(Error::Io(kind));
                    return;
                }
            }
            while let Some((head, place)) = next(&self.core) {
                accept(Request::new(head, &self.core, place));
            }
        }
        // There is more, but others shall have their turn.
        cx.waker().wake_by_ref();
    }

    fn read_once(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::ErrorKind>> {
        let mut buffer = self.buffers.take_read();
        let left = self.left.len();
        buffer[..left].copy_from_slice(&self.left);
        let mut into = ReadBuf::new(&mut buffer[left..]);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut into);
        let come = into.filled().len();
        let result = match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.kind())),
            Poll::Ready(Ok(())) if come == 0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof)),
            Poll::Ready(Ok(())) => {
                self.heard = Instant::now();
                let all = &buffer[..left + come];
                let before = self.core.borrow().head_of();
                let taken = self.core.borrow_mut().receive(all);
                let after = self.core.borrow().head_of();
                // Nearly always empty, and then nothing is allocated.
                self.left = all[taken..].to_vec();
                let begins_head = matches!(self.left.get(3), Some(&(HEADERS | CONTINUATION)));
                // A busy client's reads may all end inside a head; each has its own time.
                let is_same = taken == 0 || (before.is_some() && before == after);
                let since = self.head_since.filter(|_| is_same).or(Some(self.heard));
                self.head_since = since.filter(|_| begins_head || after.is_some());
                Poll::Ready(Ok(()))
            }
        };
        self.buffers.give_read(buffer);
        result
    }

    /// How much waits to be written, and whether it is so much that nothing is read.
    fn fill(&self) -> (usize, bool) {
        let core = self.core.borrow();
        (core.out.len(), core.is_stuffed())
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut core = self.core.borrow_mut();
        if core.out.is_empty() && self.blocked_since.is_none() {
            return Poll::Ready(());
        }
        let written = match core.out.poll_write(&mut self.stream, cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_flush(cx),
            other => other,
        };
        if let Poll::Ready(Err(error)) = &written {
            self.is_ended = true;
            core.fail(Error::Io(error.kind()));
            // There is nothing more to be said to anybody.
            return Poll::Ready(());
        }
        core.has_written();
        written.map(|_| ())
    }

    /// Since when output waits and the peer takes none of it.
    #[must_use]
    pub fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    /// Since when a head is awaited of which only a part has come.
    #[must_use]
    pub fn head_since(&self) -> Option<Instant> {
        self.head_since
    }

    /// When the peer was last heard.
    #[must_use]
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Takes no new streams; what is under way, and what crosses this word on its way, may end.
    pub fn part(&mut self) {
        self.core.borrow_mut().part();
    }

    /// After [`Connection::part`]: does not wait longer for the peer to show that it has heard. What it opens from now on
    /// is not looked at.
    pub fn parted(&mut self) {
        self.core.borrow_mut().parted();
    }

    /// Ends everything, with this reason.
    pub fn end(&mut self, reason: Reason) {
        self.core.borrow_mut().end(reason, "ended by ourselves");
    }

    /// The peer has said its part of the preface.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.core.borrow().is_settled
    }

    /// Streams the peer takes at once.
    #[must_use]
    pub fn peer_streams(&self) -> usize {
        self.core.borrow().peer_streams()
    }

    /// It takes no new streams: the peer said that it goes away, or we have reset so many that another connection is to be
    /// used. It ends when the last one is over.
    #[must_use]
    pub fn is_going(&self) -> bool {
        self.core.borrow().gone.is_some()
    }

    /// Asks whether the peer lives.
    pub fn ping(&mut self) {
        self.core.borrow_mut().ping();
    }

    /// It answered the last [`Connection::ping`].
    #[must_use]
    pub fn is_ponged(&self) -> bool {
        self.core.borrow().is_ponged
    }
}

/// Borrowed for this alone: whoever gets the request may use the core at once.
fn next(core: &RefCell<Core>) -> Option<(http::request::Parts, crate::stream::Place)> {
    core.borrow_mut().accept()
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        // Whoever still holds a half learns of it.
        if let Ok(mut core) = self.core.try_borrow_mut() {
            core.fail(Error::Io(io::ErrorKind::ConnectionAborted));
        }
    }
}
