//! hot path
//!
//! Which idle HTTP/1.1 connection is used again. Its instance may close it at any time, and a request that crosses that is
//! lost without a word: what was done of it nobody can tell. So the older a connection is the less it is trusted with.

use std::time::Duration;

use tokio::time::Instant;

use super::Pool;
use crate::h1;

#[cfg(test)]
mod tests;

impl Pool {
    /// Whether a request would be sent at once, on a connection that is there.
    #[must_use]
    pub fn is_ready(&self, repeatable: bool) -> bool {
        self.h2.borrow().iter().any(|c| c.has_room()) || self.has_idle(longest(repeatable))
    }

    /// Takes back an HTTP/1.1 connection whose exchange is over.
    pub fn give_back(&self, mut connection: h1::Connection) {
        if !self.retired.get() && !connection.send.is_closed() && connection.fields == self.fields.get() {
            let now = Instant::now();
            connection.idle_since = now;
            self.h1.borrow_mut().push(connection);
            self.dials.available(now);
        }
    }

    /// The youngest one that may be trusted with the request.
    pub(super) fn idle(&self, repeatable: bool) -> Option<h1::Connection> {
        self.take(longest(repeatable))
    }

    fn has_idle(&self, longest: Duration) -> bool {
        self.h1.borrow().iter().any(|c| c.is_fresh(longest) && c.send.is_ready())
    }

    fn take(&self, longest: Duration) -> Option<h1::Connection> {
        let mut idle = self.h1.borrow_mut();
        let at = idle.iter().rposition(|c| c.is_fresh(longest) && c.send.is_ready())?;
        let connection = idle.remove(at);
        connection.doubt();
        Some(connection)
    }
}

/// How long an HTTP/1.1 connection may have been idle to be used for a request. Who may send it again risks more.
fn longest(repeatable: bool) -> Duration {
    if repeatable { h1::IDLE } else { h1::IDLE_UNSAFE }
}
