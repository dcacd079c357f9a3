//! A connection to a registry that is as well as its world says.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    cells::Fault,
    rig::{Calls, Subject, World, refuses},
};

/// Between two bytes of an answer that drips: no answer is whole before any deadline.
const DRIP: Duration = Duration::from_millis(400);

const GARBAGE: &[u8] = b"\x16\x03\x01 what is this \xff\xfe{]\r\n\r\n";

/// What a registry does with a connection, until it ends.
pub(crate) trait Serves: Send + Sync + 'static {
    fn serve(&self, wire: &mut Wire) -> impl Future<Output = io::Result<()>> + Send;
}

/// Starts a registry; `settings` is given its address.
pub(crate) async fn subject(
    serves: impl Serves,
    settings: impl FnOnce(SocketAddr) -> (discovery::Settings, Vec<Box<dyn Send>>),
) -> Subject {
    let serve = |listener, world, calls| vec![tokio::spawn(listen(listener, world, calls, Arc::new(serves)))];
    Subject::listening(serve, settings).await
}

async fn listen(mut listener: TcpListener, world: watch::Receiver<World>, calls: Calls, serves: Arc<impl Serves>) {
    let address = listener.local_addr().unwrap();
    let (mut connections, mut weather) = (JoinSet::new(), world.clone());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let wire = Wire { stream: accepted.unwrap().0, world: world.clone(), calls: calls.clone() };
                connections.spawn(serve(wire, Arc::clone(&serves)));
            }
            () = refuses(&mut weather) => {
                drop(listener);
                let refusing = refusing(address).await;
                drop(weather.wait_for(|world| world.fault.is_none()).await);
                listener = refusing.listen(128).unwrap();
            }
        }
    }
}

/// Keeps the address to itself and takes no connection.
async fn refusing(address: SocketAddr) -> TcpSocket {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(address).is_ok() {
            return socket;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Serves until what befalls the registry breaks the connection.
async fn serve(mut wire: Wire, serves: Arc<impl Serves>) {
    let mut weather = wire.world.clone();
    let begun = weather.borrow_and_update().fault;
    let breaks = |fault| {
        let faults = [Fault::Refuses, Fault::Hangs, Fault::ServerError, Fault::Truncated, Fault::Garbage];
        fault != begun && faults.iter().any(|one| Some(*one) == fault)
    };
    tokio::select! {
        _ = serves.serve(&mut wire) => return,
        _ = weather.wait_for(|world| breaks(world.fault)) => {}
    }
    match wire.fault() {
        Some(Fault::Hangs) => drop(wire.world.wait_for(|world| world.fault != Some(Fault::Hangs)).await),
        Some(Fault::Garbage) => drop(wire.stream.write_all(GARBAGE).await),
        _ => {}
    }
}

pub(crate) struct Wire {
    stream: TcpStream,
    pub(crate) world: watch::Receiver<World>,
    calls: Calls,
}

impl Wire {
    pub(crate) fn now(&self) -> World {
        self.world.borrow().clone()
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.world.borrow().fault
    }

    /// It was asked something.
    pub(crate) fn asked(&self) {
        self.calls.note();
    }

    /// The state of the world after this index, unless that takes longer.
    pub(crate) async fn next(&mut self, index: u64, within: Duration) -> Option<World> {
        let changed = timeout(within, self.world.wait_for(|world| world.index != index)).await;
        Some(changed.ok()?.ok()?.clone())
    }

    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(buffer).await.map(drop)
    }

    /// Waits until there is something to read; may be dropped at any await.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.stream.peek(&mut [0]).await.map(drop)
    }

    /// Says this, whole unless the world is otherwise.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let over = || Err(io::ErrorKind::ConnectionReset.into());
        match self.fault() {
            Some(Fault::Hangs) => {
                drop(self.world.wait_for(|world| world.fault != Some(Fault::Hangs)).await);
                over()
            }
            Some(Fault::Truncated) => {
                self.stream.write_all(&bytes[..bytes.len() - 5]).await?;
                over()
            }
            Some(Fault::Garbage) => {
                self.stream.write_all(GARBAGE).await?;
                over()
            }
            Some(Fault::SlowDrip) => {
                for byte in bytes {
                    self.stream.write_all(&[*byte]).await?;
                    sleep(DRIP).await;
                    if self.fault().is_none() {
                        return over();
                    }
                }
                Ok(())
            }
            _ => self.stream.write_all(bytes).await,
        }
    }
}
