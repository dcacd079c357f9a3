//! What ends an HTTP/2 client's connection besides the client: no use, no reading, abuse, the router's own end.

use std::{cell::Cell, rc::Rc, task::Context, time::Duration};

use telemetry::metrics::Closed;
use tokio::time::Instant;
use transport::{io::ConnectionTimeouts, timer::Alarm};

/// How long a client may take to close after it was told that nobody needs the connection.
const GRACE: Duration = Duration::from_secs(5);
/// How long a client may take to hear that the connection takes no new requests. Several round trips by satellite.
const HEARING: Duration = Duration::from_secs(2);
/// Requests a client may give up before it is looked at more closely: a person who closes a page gives up dozens.
const GIVEN_UP: u32 = 200;

/// Requests that are remembered in this reckoning.
const REMEMBERED: u32 = 2000;

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Go,
    /// Say GOAWAY, let what is under way end.
    Shut(Closed),
    /// Take no new requests, whether the client heard of it or not.
    Part,
    /// Say that this is too much, and end.
    Abuse,
    /// End.
    Close(Closed),
}

/// Watches over one connection.
pub(super) struct Watch {
    ledger: Rc<Ledger>,
    patience: ConnectionTimeouts,
    since: Since,
    shut: Option<(Closed, Instant)>,
    is_parted: bool,
    alarm: Alarm,
}

/// What the wire waits for, and since when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Since {
    /// The client takes no output.
    pub(super) blocked: Option<Instant>,
    /// The end of a head whose beginning came.
    pub(super) head: Option<Instant>,
}

/// What the requests of a connection tell its task.
#[derive(Debug)]
struct Ledger {
    open: Cell<usize>,
    quiet_since: Cell<Instant>,
    begun: Cell<u32>,
    given_up: Cell<u32>,
}

/// One request of the connection, while it lives.
#[derive(Debug)]
pub(super) struct Open(Rc<Ledger>);

impl Open {
    /// The client reset it, or gave it a deadline that nobody can meet: work for nothing. Resets in great numbers, each after some work was done, are what most
    /// attacks on HTTP/2 come down to (CVE-2023-44487 and its kin).
    pub(super) fn given_up(&self) {
        self.0.given_up.set(self.0.given_up.get().saturating_add(1));
    }

    /// It came to no instance: nothing that would speak for the client.
    pub(super) fn refused(&self) {
        self.0.begun.set(self.0.begun.get().saturating_sub(1));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.quiet_since.set(Instant::now());
    }
}

impl Watch {
    pub(super) fn new(patience: ConnectionTimeouts) -> Self {
        let now = Instant::now();
        let ledger =
            Ledger { open: Cell::new(0), quiet_since: Cell::new(now), begun: Cell::new(0), given_up: Cell::new(0) };
        Self {
            ledger: Rc::new(ledger),
            patience,
            since: Since::default(),
            shut: None,
            is_parted: false,
            alarm: Alarm::default(),
        }
    }

    /// The connection begins; without requests it is idle from now on.
    pub(super) fn begin(&self) {
        self.ledger.quiet_since.set(Instant::now());
    }

    /// A request begins.
    pub(super) fn open(&self) -> Open {
        self.ledger.open.set(self.ledger.open.get() + 1);
        if self.ledger.begun.get() >= REMEMBERED {
            // A long good past is no licence.
            self.ledger.begun.set(self.ledger.begun.get() / 2);
            self.ledger.given_up.set(self.ledger.given_up.get() / 2);
        }
        self.ledger.begun.set(self.ledger.begun.get() + 1);
        Open(Rc::clone(&self.ledger))
    }

    /// Why the connection ended, if not by the client.
    pub(super) fn done(&self) -> Closed {
        self.shut.map_or(Closed::Done, |(cause, _)| cause)
    }

    /// Looks at everything. `draining`: the router ends.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, since: Since, draining: bool) -> Verdict {
        if draining && self.shut.is_none() {
            return self.shut(Closed::Drained);
        }
        if self.shut.is_none() && self.is_abused() {
            self.shut(Closed::Hasty);
            return Verdict::Abuse;
        }
        self.since = since;
        match self.due() {
            Some((due, verdict)) if self.alarm.poll(due, cx).is_ready() => match verdict {
                Verdict::Shut(cause) => self.shut(cause),
                Verdict::Part => {
                    self.is_parted = true;
                    Verdict::Part
                }
                other => other,
            },
            _ => Verdict::Go,
        }
    }

    fn shut(&mut self, cause: Closed) -> Verdict {
        self.shut = Some((cause, Instant::now()));
        Verdict::Shut(cause)
    }

    fn is_abused(&self) -> bool {
        let given_up = self.ledger.given_up.get();
        given_up > GIVEN_UP && given_up > self.ledger.begun.get() / 2
    }

    /// The limit that runs out next. PINGs and half a head do not put any of them off.
    fn due(&self) -> Option<(Instant, Verdict)> {
        let stall = self.since.blocked.map(|since| (since + self.patience.stall, Verdict::Close(Closed::Stall)));
        let head = self.since.head.map(|since| (since + self.patience.head, Verdict::Close(Closed::Head)));
        let quiet = (self.ledger.open.get() == 0).then(|| self.ledger.quiet_since.get());
        let quiet = match self.shut {
            None => quiet.map(|since| (since + self.patience.keep_alive, Verdict::Shut(Closed::Idle))),
            Some((Closed::Hasty, since)) => Some((since + GRACE, Verdict::Close(Closed::Hasty))),
            Some((cause, since)) => quiet.map(|quiet| (since.max(quiet) + GRACE, Verdict::Close(cause))),
        };
        let part = self.shut.filter(|_| !self.is_parted).map(|(_, since)| (since + HEARING, Verdict::Part));
        [stall, head, quiet, part].into_iter().flatten().min_by_key(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> Watch {
        Watch::new(ConnectionTimeouts { head: 10 * SECOND, keep_alive: 60 * SECOND, stall: 30 * SECOND })
    }

    async fn verdict(watch: &mut Watch, blocked: bool) -> Verdict {
        let since = Since { blocked: blocked.then(Instant::now), head: None };
        verdict_since(watch, since).await
    }

    async fn verdict_since(watch: &mut Watch, since: Since) -> Verdict {
        let wait = poll_fn(|cx| match watch.poll(cx, since, false) {
            Verdict::Go => Poll::Pending,
            other => Poll::Ready(other),
        });
        tokio::time::timeout(1000 * SECOND, wait).await.unwrap_or(Verdict::Go)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_is_shut_and_then_closed() {
        let start = Instant::now();
        let mut watch = watch();
        assert_eq!(verdict(&mut watch, false).await, Verdict::Shut(Closed::Idle));
        assert_eq!(start.elapsed().as_secs(), 60);
        assert_eq!(verdict(&mut watch, false).await, Verdict::Part);
        assert_eq!(start.elapsed().as_secs(), 62);
        assert_eq!(verdict(&mut watch, false).await, Verdict::Close(Closed::Idle));
        assert_eq!(start.elapsed().as_secs(), 65);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_request_keeps_it_and_time_counts_from_its_end() {
        let start = Instant::now();
        let mut watch = watch();
        let open = watch.open();
        assert_eq!(verdict(&mut watch, false).await, Verdict::Go);
        drop(open);
        assert_eq!(verdict(&mut watch, false).await, Verdict::Shut(Closed::Idle));
        assert_eq!(start.elapsed().as_secs(), 1060);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_closed_also_with_requests_open() {
        let start = Instant::now();
        let mut watch = watch();
        let _open = watch.open();
        assert_eq!(verdict(&mut watch, true).await, Verdict::Close(Closed::Stall));
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_whose_end_does_not_come_ends_the_connection_also_with_requests_open() {
        let start = Instant::now();
        let mut watch = watch();
        let _open = watch.open();
        let since = Since { blocked: None, head: Some(start) };
        assert_eq!(verdict_since(&mut watch, since).await, Verdict::Close(Closed::Head));
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_good_past_is_no_licence() {
        let mut watch = watch();
        (0..100_000).for_each(|_| drop(watch.open()));
        (0..2 * REMEMBERED).for_each(|_| watch.open().given_up());
        assert_eq!(verdict(&mut watch, false).await, Verdict::Abuse);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_mostly_gives_up_is_sent_away() {
        let mut watch = watch();
        for _ in 0..=GIVEN_UP {
            watch.open().given_up();
        }
        assert_eq!(verdict(&mut watch, false).await, Verdict::Abuse);
        for _ in 0..=GIVEN_UP {
            watch.open().refused();
        }
        assert!(watch.is_abused(), "what no instance saw does not speak for it");
        for _ in 0..=GIVEN_UP {
            drop(watch.open());
        }
        assert_eq!(
            watch.poll(&mut Context::from_waker(std::task::Waker::noop()), Since::default(), false),
            Verdict::Go
        );
    }
}
