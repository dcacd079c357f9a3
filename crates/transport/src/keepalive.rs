//! TCP's own question to a silent peer whether it is still there. A machine that lost its power or its network says nothing,
//! and a stream of events that is silent as well would wait for it for ever.
//!
//! The system asks only while nothing is on its way. What it sent and nobody acknowledges it sends again, for a quarter of an
//! hour unless it is told otherwise, and for clients and registries it is. Not for instances: that limit is also for a peer
//! whose window is shut, and how long an instance may take nothing of a body is said by `timeouts.idle`, which ends such
//! requests anyway; and an HTTP/2 instance is asked by PING within seconds.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// When the system asks, and how often in vain until it ends the connection.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    /// After so long without a byte.
    after: Duration,
    /// And again after each of these.
    every: Duration,
    lost: u32,
    /// It ends the connection as well when nobody acknowledges what was sent, or takes nothing, for so long.
    unanswered: Option<Duration>,
}

impl KeepAlive {
    /// For clients: gone within two minutes. Not sooner: each question wakes a phone that sleeps.
    pub const CLIENT: Self = Self {
        after: Duration::from_secs(60),
        every: Duration::from_secs(15),
        lost: 4,
        unanswered: Some(Duration::from_secs(120)),
    };
    /// For instances: gone within 35 s. The questions also keep address translators from forgetting the connection.
    pub const SERVER: Self =
        Self { after: Duration::from_secs(15), every: Duration::from_secs(5), lost: 4, unanswered: None };
    /// For registries: gone within 4 s, when three questions in a row were lost. The system of the machine answers, not the
    /// server on it: one that is slow or stopped is not taken for one that is gone. Connecting anew finds a network that is
    /// whole again sooner than TCP does, which sends again after twice the time each: a connection that stood still for a
    /// minute may do so for another one.
    pub const REGISTRY: Self = Self {
        after: Duration::from_secs(1),
        every: Duration::from_secs(1),
        lost: 3,
        // Less than all of them: the last answer came a moment after its question.
        unanswered: Some(Duration::from_millis(3500)),
    };

    /// Has the system ask on this socket; on one that listens, for all that are accepted from it.
    ///
    /// # Errors
    /// If the system refuses; the connection works all the same.
    pub fn set<'a>(self, socket: impl Into<SockRef<'a>>) -> io::Result<()> {
        let probes = TcpKeepalive::new().with_time(self.after).with_interval(self.every).with_retries(self.lost);
        let socket = socket.into();
        socket.set_tcp_keepalive(&probes)?;
        self.unanswered.map_or(Ok(()), |limit| give_up(&socket, limit))
    }

    /// The peer of this socket may take nothing for so long: its system must not end it before. Asks the system only if it
    /// would.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn bear<'a>(self, socket: impl Into<SockRef<'a>>, stall: Duration) -> io::Result<()> {
        match self.unanswered {
            Some(limit) if limit < 2 * stall => give_up(&socket.into(), 2 * stall),
            _ => Ok(()),
        }
    }
}

/// `TCP_USER_TIMEOUT`. It holds for the questions too, in place of their number.
#[cfg(target_os = "linux")]
fn give_up(socket: &SockRef<'_>, limit: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(limit))
}

#[cfg(not(target_os = "linux"))]
fn give_up(_socket: &SockRef<'_>, _limit: Duration) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_client_that_acknowledges_nothing_is_gone_as_soon_as_one_that_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        KeepAlive::CLIENT.set(&listener).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let limit = || SockRef::from(&accepted).tcp_user_timeout().unwrap();
        let KeepAlive { after, every, lost, .. } = KeepAlive::CLIENT;
        assert_eq!(limit(), Some(after + every * lost), "inherited");
        KeepAlive::CLIENT.bear(&accepted, Duration::from_secs(60)).unwrap();
        assert_eq!(limit(), Some(Duration::from_secs(120)));
        KeepAlive::CLIENT.bear(&accepted, Duration::from_secs(600)).unwrap();
        assert_eq!(limit(), Some(Duration::from_secs(1200)), "a reader may pause that long");
        KeepAlive::SERVER.set(&client).unwrap();
        assert_eq!(SockRef::from(&client).tcp_user_timeout().unwrap(), None);
        KeepAlive::REGISTRY.set(&client).unwrap();
        let KeepAlive { after, every, lost, unanswered } = KeepAlive::REGISTRY;
        assert_eq!(SockRef::from(&client).tcp_user_timeout().unwrap(), unanswered);
        // So it ends when the last of the questions is due an answer, and not before it was asked.
        assert!((after + every * (lost - 1)..after + every * lost).contains(&unanswered.unwrap()));
    }
}
