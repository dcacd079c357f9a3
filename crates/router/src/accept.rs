//! One listening socket per address. A task takes each connection and hands it to the core with the fewest: the kernel's
//! own spreading (SO_REUSEPORT) is uneven for few long connections, loses waiting ones when a socket closes, and would
//! let a second router start silently on the same port.
//!
//! `door`: how many may come in, in all and of one address.

mod door;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use telemetry::{complaints::Complaints, metrics::Closed};
use tokio::{
    net,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep,
};
use transport::{clock, keepalive::KeepAlive};

use crate::{
    core::{Load, Order, Visit},
    plan::Listener,
};
pub use door::{Door, Doors};

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// Pause when the process has no descriptor left, or as many connections as allowed.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// One core, as the acceptor sees it.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Its inbox.
    pub orders: mpsc::UnboundedSender<Order>,
    /// How many connections it has.
    pub load: Arc<Load>,
}

/// A socket that waits for clients, and that nobody accepts from yet.
#[derive(Debug)]
pub struct Bound {
    socket: net::TcpListener,
    address: SocketAddr,
}

/// A socket that is accepted from. Dropping it closes the socket.
#[derive(Debug)]
pub struct Acceptor {
    /// As configured; the port may be 0.
    pub configured: SocketAddr,
    /// The address it has.
    pub address: SocketAddr,
    listener: watch::Sender<Arc<Listener>>,
    task: JoinHandle<()>,
}

/// Opens a listening socket, on the current runtime.
///
/// # Errors
/// If the address cannot be had.
pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a restart have the port while old connections are in TIME_WAIT; not two routers at once.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // What is accepted inherits it, so it costs no connection a call.
    if let Err(error) = KeepAlive::CLIENT.set(&socket) {
        tracing::debug!(%error, "the system does not look after client connections");
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = net::TcpListener::from_std(socket.into())?;
    Ok(Bound { address: socket.local_addr()?, socket })
}

impl Acceptor {
    /// Accepts from the socket and hands connections to the cores, as many as the door lets in.
    #[must_use]
    pub fn start(bound: Bound, listener: Arc<Listener>, desks: Arc<[Desk]>, door: Door) -> Self {
        let Bound { socket, address } = bound;
        let configured = listener.address;
        let (listener, current) = watch::channel(listener);
        let task = tokio::spawn(accept(socket, current, desks, door));
        Self { configured, address, listener, task }
    }

    /// Whether it serves TLS.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        self.listener.borrow().tls.is_some()
    }

    /// From now on connections are served by these settings.
    pub fn change(&self, listener: Arc<Listener>) {
        self.listener.send_replace(listener);
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    socket: net::TcpListener,
    listener: watch::Receiver<Arc<Listener>>,
    desks: Arc<[Desk]>,
    mut door: Door,
) {
    let mut complaints = Complaints::default();
    loop {
        if door.is_full(desks.iter().map(|desk| desk.load.connections()).sum()) {
            door.metrics.accept_paused.inc();
            sleep(EXHAUSTED).await;
            continue;
        }
        match socket.accept().await {
            Ok((stream, peer)) => hand_over(stream, peer, &listener, &desks, &mut door),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                door.metrics.accept_paused.inc();
                if let Some(times) = complaints.add(1, clock::tick()) {
                    let remedy = remedy(&error);
                    tracing::warn!(%error, times, "cannot accept connections{remedy}");
                }
                sleep(EXHAUSTED).await;
            }
        }
    }
}

fn hand_over(
    stream: net::TcpStream,
    peer: SocketAddr,
    listener: &watch::Receiver<Arc<Listener>>,
    desks: &[Desk],
    door: &mut Door,
) {
    let Some((stream, place)) = door.admit(stream, peer) else { return };
    // Both fail only for a connection that is gone already.
    let Ok(stream) = stream.set_nodelay(true).and_then(|()| stream.into_std()) else { return };
    let Some(desk) = desks.iter().min_by_key(|desk| desk.load.connections()) else { return };
    desk.load.add();
    door.metrics.accepted();
    let visit = Visit { stream, peer, listener: Arc::clone(&listener.borrow()), place };
    if desk.orders.send(Order::Accept(visit)).is_err() {
        // The core is gone: the router ends.
        desk.load.remove();
        door.metrics.closed(Closed::Drained);
    }
}

/// What an operator can do, if that is known.
fn remedy(error: &io::Error) -> &'static str {
    // EMFILE, ENFILE on Linux; std has no names for them.
    match error.raw_os_error() {
        Some(24) => "; raise the limit of open files (ulimit -n)",
        Some(23) => "; raise the machine's limit of open files (fs.file-max)",
        _ => "",
    }
}

/// Whether the failure concerns the one connection that was to be accepted (accept(2), "Error handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied
    )
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn what_is_accepted_is_looked_after_by_the_system() {
        let bound = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = std::net::TcpStream::connect(bound.address).unwrap();
        let (stream, _) = bound.socket.accept().await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(120)));
    }
}
