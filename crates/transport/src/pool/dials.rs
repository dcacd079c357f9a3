//! How many HTTP/1.1 connections to one instance are made at once, and who waits for one.
//!
//! An instance that answers gets connections as fast as it answers: each one that is made allows one more at a time, so
//! they double with every round trip. One that does not answer costs four attempts, and one more each time it is tried
//! again, however many requests wait for it.
//!
//! One that fails speaks for all who wait only if nothing speaks against it: others that are under way may succeed, and an
//! instance that takes no more connections may well serve those it has.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::dial::DialError;

/// At once, to an instance that answered last time or was never tried. A core that opens more to one that is silent
/// learns nothing by it.
const FIRST: usize = 4;

/// How long a connection that was made or given back proves that the instance serves. One that takes no more of them is
/// asked again after as long.
pub(super) const REST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Dials {
    /// Being made.
    now: Cell<usize>,
    /// How many may be made at once.
    window: Cell<usize>,
    waiting: Cell<usize>,
    /// Those of them for whom there is a connection, and who have not come for it yet.
    called: Cell<usize>,
    /// How many failed, and the last of them.
    failures: Cell<u64>,
    error: RefCell<Option<DialError>>,
    /// When a connection was made or given back last.
    alive: Cell<Option<Instant>>,
    /// Wakes one who waits for each connection, and all for a failure.
    news: Notify,
}

impl Default for Dials {
    fn default() -> Self {
        Self {
            now: Cell::new(0),
            window: Cell::new(FIRST),
            waiting: Cell::new(0),
            called: Cell::new(0),
            failures: Cell::new(0),
            error: RefCell::default(),
            alive: Cell::default(),
            news: Notify::new(),
        }
    }
}

impl Dials {
    /// Counts one who waits, until it is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.set(self.waiting.get() + 1);
        Waiting { dials: self, failures: self.failures.get() }
    }

    /// How many are being made.
    pub(super) fn now(&self) -> usize {
        self.now.get()
    }

    /// How many wait for one.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// How many connections are missing.
    pub(super) fn wanted(&self) -> usize {
        self.waiting.get() - self.called.get()
    }

    /// Takes the place of one more, if so many are `wanted` at once and allowed.
    pub(super) fn begin(&self, wanted: usize) -> bool {
        let now = self.now.get();
        let may = now < wanted.min(self.window.get());
        if may {
            self.now.set(now + 1);
        }
        may
    }

    /// One that began is over, and made a connection.
    pub(super) fn made(&self) {
        let left = self.now.get() - 1;
        self.now.set(left);
        // Once it is quiet, how fast the instance answered is old news.
        self.window.set(if left == 0 && self.waiting.get() <= 1 { FIRST } else { self.window.get() + 1 });
    }

    /// Whether others are being made besides one that is over: they may succeed.
    pub(super) fn are_others(&self) -> bool {
        self.now.get() > 1
    }

    /// Whether a connection was made or given back since then, or of late.
    pub(super) fn is_alive(&self, since: Instant) -> bool {
        self.alive.get().is_some_and(|at| at >= since || at.elapsed() < REST)
    }

    /// One that began failed, which is nobody else's end.
    pub(super) fn give_up(&self) {
        self.now.set(self.now.get() - 1);
        self.window.set(1);
    }

    /// One that began failed, and all who wait fail with it.
    pub(super) fn fail(&self, error: DialError) {
        self.give_up();
        self.failures.set(self.failures.get() + 1);
        self.error.replace(Some(error));
        self.called.set(0);
        self.news.notify_waiters();
    }

    /// A connection is there, since now.
    pub(super) fn available(&self, now: Instant) {
        self.alive.set(Some(now));
        if self.wanted() > 0 {
            self.called.set(self.called.get() + 1);
            self.news.notify_one();
        }
    }

    /// One is there that all who wait can share.
    pub(super) fn shared(&self) {
        self.called.set(self.waiting.get());
        self.news.notify_waiters();
    }
}

/// One who waits.
pub(super) struct Waiting<'a> {
    dials: &'a Dials,
    failures: u64,
}

impl Waiting<'_> {
    /// Waits until a connection may be there.
    ///
    /// # Errors
    /// If making one failed meanwhile, and it would be no better with the next.
    pub(super) async fn news(&self) -> Result<(), DialError> {
        let news = self.dials.news.notified();
        if self.dials.failures.get() == self.failures {
            news.await;
            self.dials.called.set(self.dials.called.get().saturating_sub(1));
        }
        match &*self.dials.error.borrow() {
            Some(error) if self.dials.failures.get() != self.failures => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = self.dials.waiting.get() - 1;
        self.dials.waiting.set(left);
        // Whoever was called and gave up leaves his call to another, if there is one.
        self.dials.called.set(self.dials.called.get().min(left));
    }
}
