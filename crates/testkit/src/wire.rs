//! A wire between two sides that can be held, slowed and cut: partitions, without touching either side.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// Forwards TCP to a target. While paused, connecting works (the kernel does it) and not one byte comes through, in
/// either direction, nor does the end of a connection: what a partition looks like from both sides. Dropped, it is gone
/// with all its connections.
///
/// ```no_run
/// # async fn example(registry: std::net::SocketAddr) {
/// let wire = testkit::Wire::new(registry).await; // the router is told wire.addr()
/// wire.pause();
/// wire.resume();
/// wire.delay(std::time::Duration::from_millis(20)); // for every piece of bytes, each way
/// wire.cut(); // what is open closes; new connections come through
/// # }
/// ```
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    paused: bool,
    delay: Duration,
    /// How often it was cut: a connection ends when this passes what it began with.
    cuts: u64,
}

impl Wire {
    /// A wire to `target`, with an address of its own.
    pub async fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let state = Arc::new(watch::Sender::new(State::default()));
        let watched = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(carry(stream, target, watched.subscribe()));
            }
        });
        Self { address, state, accepting }
    }

    /// Where to connect instead of to the target.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Holds all bytes back.
    pub fn pause(&self) {
        self.state.send_modify(|state| state.paused = true);
    }

    /// Lets all bytes pass, those held back first.
    pub fn resume(&self) {
        self.state.send_modify(|state| state.paused = false);
    }

    /// Delays every piece of bytes, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    /// Closes all connections, on both sides; also those that are held.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    let cuts = state.borrow_and_update().cuts;
    let both = async {
        // The target learns of a connection only when the wire is whole.
        settled(&mut state.clone()).await;
        let Ok(server) = TcpStream::connect(target).await else { return };
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        let (client_reads, client_writes) = client.into_split();
        let (server_reads, server_writes) = server.into_split();
        tokio::join!(
            carry_one_way(client_reads, server_writes, state.clone()),
            carry_one_way(server_reads, client_writes, state.clone()),
        );
    };
    let mut watched = state.clone();
    tokio::select! {
        () = both => {}
        _ = watched.wait_for(|state| state.cuts > cuts) => {}
    }
}

async fn carry_one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        settled(&mut state).await;
        let read = from.read(&mut buffer).await;
        settled(&mut state).await;
        let delay = state.borrow().delay;
        tokio::time::sleep(delay).await;
        match read {
            Ok(count) if count > 0 => {
                if to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            // The end of one direction is passed on; the other goes on.
            Ok(_) | Err(_) => return drop(to.shutdown().await),
        }
    }
}

/// Waits until the wire is not paused. A wire that was dropped is about to abort us.
async fn settled(state: &mut watch::Receiver<State>) {
    drop(state.wait_for(|state| !state.paused).await);
}
