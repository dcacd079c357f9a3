//! What survives a connection: the session, and how far we have seen.

use std::{fmt, time::Duration};

use model::Tick;

/// Shown to the next server. Pure: time is an argument.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Resume {
    /// 0 for a new session.
    pub(super) id: i64,
    /// What proves that the session is ours.
    pub(super) password: Vec<u8>,
    /// The newest change we have seen. A server that has not seen it yet refuses us, so that we never go back in time.
    pub(super) zxid: i64,
    /// When a server was heard last, and how long the session outlives that.
    heard: Option<(Tick, Duration)>,
}

impl Resume {
    /// A server granted us this session.
    pub(super) fn granted(&mut self, id: i64, password: &[u8]) {
        self.id = id;
        self.password = password.to_vec();
    }

    /// A server spoke, in a session of this timeout.
    pub(super) fn heard(&mut self, now: Tick, timeout: Duration) {
        self.heard = Some((now, timeout));
    }

    /// Begins anew if the session cannot be alive any more. Then the ensemble may also have lost what we saw (restored
    /// or wiped), and insisting on it would keep us out for good.
    pub(super) fn expire(&mut self, now: Tick) {
        if self.heard.is_some_and(|(heard, timeout)| now.since(heard) > timeout) {
            *self = Self::default();
        }
    }

    /// The server says that there is no such session; what we saw counts still.
    pub(super) fn refused(&mut self) {
        *self = Self { zxid: self.zxid, heard: self.heard, ..Self::default() };
    }
}

impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password of a session is a secret too.
        f.debug_struct("Resume").field("zxid", &self.zxid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_shown_until_it_cannot_be_alive() {
        let mut resume = Resume::default();
        resume.granted(7, b"secret");
        resume.zxid = 42;
        let timeout = Duration::from_secs(10);
        resume.heard(Tick(0), timeout);
        resume.expire(Tick(0).after(timeout));
        assert_eq!((resume.id, resume.zxid), (7, 42));
        assert!(!format!("{resume:?}").contains("secret"));
        resume.expire(Tick(1).after(timeout));
        assert_eq!(resume, Resume::default());
    }

    #[test]
    fn a_refused_session_is_forgotten_and_what_was_seen_is_not() {
        let mut resume = Resume { id: 7, password: vec![1], zxid: 42, heard: None };
        resume.refused();
        assert_eq!(resume, Resume { zxid: 42, ..Resume::default() });
    }
}
