//! A registry that speaks HTTP, as truly or as badly as its world says.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
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

/// A request.
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// What a registry says to a request.
pub(crate) trait Speaks: Send + Sync + 'static {
    fn answer(&self, asked: Asked, wire: &mut Wire) -> impl Future<Output = io::Result<()>> + Send;
}

/// Starts it; `settings` is given its address.
pub(crate) async fn subject(
    speaks: impl Speaks,
    settings: impl FnOnce(SocketAddr) -> (discovery::Settings, Vec<Box<dyn Send>>),
) -> Subject {
    let serve = |listener, world, calls| vec![tokio::spawn(listen(listener, world, calls, Arc::new(speaks)))];
    Subject::listening(serve, settings).await
}

async fn listen(mut listener: TcpListener, world: watch::Receiver<World>, calls: Calls, speaks: Arc<impl Speaks>) {
    let address = listener.local_addr().unwrap();
    let (mut connections, mut weather) = (JoinSet::new(), world.clone());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let wire = Wire { stream: accepted.unwrap().0, world: world.clone() };
                connections.spawn(serve(wire, calls.clone(), Arc::clone(&speaks)));
            }
            () = refuses(&mut weather) => {
                drop(listener);
                drop(weather.wait_for(|world| world.fault.is_none()).await);
                listener = TcpListener::bind(address).await.unwrap();
            }
        }
    }
}

async fn serve(mut wire: Wire, calls: Calls, speaks: Arc<impl Speaks>) {
    let mut weather = wire.world.clone();
    let begun = weather.borrow_and_update().fault;
    let breaks = |fault| {
        let faults = [Fault::Refuses, Fault::Hangs, Fault::ServerError, Fault::Truncated, Fault::Garbage];
        fault != begun && faults.iter().any(|one| Some(*one) == fault)
    };
    let talk = async {
        while let Ok(asked) = wire.request().await {
            calls.note();
            let said = match wire.fault() {
                // A stream of events is spared, so that the list behind it is what fails.
                Some(Fault::ServerError) if !asked.path.starts_with("/events") => {
                    wire.whole(500, "", "no luck today").await
                }
                _ => speaks.answer(asked, &mut wire).await,
            };
            if said.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = talk => return,
        _ = weather.wait_for(|world| breaks(world.fault)) => {}
    }
    match wire.fault() {
        Some(Fault::Hangs) => drop(wire.world.wait_for(|world| world.fault != Some(Fault::Hangs)).await),
        Some(Fault::Garbage) => drop(wire.stream.write_all(GARBAGE).await),
        _ => {}
    }
}

const GARBAGE: &[u8] = b"\x16\x03\x01 what is this \xff\xfe{]\r\n\r\n";

/// A connection.
pub(crate) struct Wire {
    stream: TcpStream,
    pub(crate) world: watch::Receiver<World>,
}

impl Wire {
    pub(crate) fn now(&self) -> World {
        self.world.borrow().clone()
    }

    /// The state of the world after this index, unless that takes longer.
    pub(crate) async fn next(&mut self, index: u64, within: Duration) -> Option<World> {
        let changed = timeout(within, self.world.wait_for(|world| world.index != index)).await;
        Some(changed.ok()?.ok()?.clone())
    }

    pub(crate) async fn whole(&mut self, status: u16, headers: &str, body: &str) -> io::Result<()> {
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
        self.send(&(head + body)).await
    }

    /// An answer that goes on.
    pub(crate) async fn begin(&mut self) -> io::Result<()> {
        self.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await
    }

    pub(crate) async fn line(&mut self, text: &Value) -> io::Result<()> {
        let text = format!("{text}\n");
        self.send(&format!("{:x}\r\n{text}\r\n", text.len())).await
    }

    pub(crate) async fn end(&mut self) -> io::Result<()> {
        self.send("0\r\n\r\n").await
    }

    fn fault(&self) -> Option<Fault> {
        self.world.borrow().fault
    }

    async fn send(&mut self, text: &str) -> io::Result<()> {
        let over = || Err(io::ErrorKind::ConnectionReset.into());
        match self.fault() {
            Some(Fault::Hangs) => {
                drop(self.world.wait_for(|world| world.fault != Some(Fault::Hangs)).await);
                over()
            }
            Some(Fault::Truncated) => {
                self.stream.write_all(&text.as_bytes()[..text.len() - 5]).await?;
                over()
            }
            Some(Fault::Garbage) => {
                self.stream.write_all(GARBAGE).await?;
                over()
            }
            Some(Fault::SlowDrip) => {
                for byte in text.bytes() {
                    self.stream.write_all(&[byte]).await?;
                    sleep(DRIP).await;
                    if self.fault().is_none() {
                        return over();
                    }
                }
                Ok(())
            }
            _ => self.stream.write_all(text.as_bytes()).await,
        }
    }

    async fn request(&mut self) -> io::Result<Asked> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_string();
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body).await?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        Ok(Asked { path, body: serde_json::from_slice(&body).unwrap_or_default() })
    }
}
