//! hot path
//!
//! HTTP/1.1 has no PING. If several complete requests in a row are given up without a byte from the instance, that may be
//! its clients' impatience or a network that swallows everything: a new connection tells.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::time::Instant;

use super::Pool;
use crate::upload::Tally;

/// In a row, and no answer of the instance between.
const MANY: u32 = 3;

/// How often an instance is asked for that at most.
const SPACING: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Silence {
    row: Cell<u32>,
    asked: Cell<Option<Instant>>,
}

impl Silence {
    /// Whether it has lasted for so long that it is a doubt; at most once a second.
    fn is_doubt(&self) -> bool {
        self.row.set(self.row.get().saturating_add(1));
        let now = Instant::now();
        let due = self.asked.get().is_none_or(|at| now >= at + SPACING);
        let doubt = self.row.get() >= MANY && due;
        if doubt {
            self.asked.set(Some(now));
        }
        doubt
    }

    /// Whether nothing was heard for several requests.
    pub(super) fn lasts(&self) -> bool {
        self.row.get() >= MANY
    }

    /// The instance answered, or at least its host.
    pub(super) fn end(&self) {
        self.row.set(0);
    }
}

/// A request that waits for its response's head. Dropped before that, it was given up: by its client or by us.
#[derive(Debug)]
pub struct Listening<'a> {
    pool: &'a Rc<Pool>,
    upload: Option<Rc<Tally>>,
    heard: bool,
}

impl<'a> Listening<'a> {
    /// A request was sent on a connection of this pool. `upload`: its body, if it has one.
    #[must_use]
    pub fn new(pool: &'a Rc<Pool>, upload: Option<Rc<Tally>>) -> Self {
        Self { pool, upload, heard: false }
    }

    /// The instance answered, or broke off: it is there.
    pub fn heard(mut self) {
        self.heard = true;
        self.pool.silence.end();
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        // To half a request no answer is due.
        let complete = self.upload.as_ref().is_none_or(|tally| tally.is_done());
        if !self.heard && complete && self.pool.silence.is_doubt() {
            self.pool.look();
        }
    }
}
