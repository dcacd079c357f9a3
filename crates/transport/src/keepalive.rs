//! TCP's own question to a silent peer whether it is still there. A machine that lost its power or its network says nothing,
//! and a stream of events that is silent as well would wait for it for ever.

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
}

impl KeepAlive {
    /// For clients: gone within two minutes. Not sooner: each question wakes a phone that sleeps.
    pub const CLIENT: Self = Self { after: Duration::from_secs(60), every: Duration::from_secs(15), lost: 4 };
    /// For instances and registries: gone within 35 s. The questions also keep address translators from forgetting the
    /// connection.
    pub const SERVER: Self = Self { after: Duration::from_secs(15), every: Duration::from_secs(5), lost: 4 };

    /// Has the system ask on this socket; on one that listens, for all that are accepted from it.
    ///
    /// # Errors
    /// If the system refuses; the connection works all the same.
    pub fn set<'a>(self, socket: impl Into<SockRef<'a>>) -> io::Result<()> {
        let probes = TcpKeepalive::new().with_time(self.after).with_interval(self.every).with_retries(self.lost);
        socket.into().set_tcp_keepalive(&probes)
    }
}
