//! The way to a registry: counts how often it is taken, and can be cut.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A server that passes on what comes to it. Whoever comes while the registry is dead is sent away.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    calls: Arc<AtomicU64>,
    passes: watch::Sender<bool>,
}

impl Gate {
    pub(crate) async fn open(to: SocketAddr) -> Self {
        Self::at(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port"), to)
    }

    /// One that passes on what comes to this listener.
    pub(crate) fn at(listener: TcpListener, to: SocketAddr) -> Self {
        let (address, calls) = (listener.local_addr().expect("bound"), Arc::<AtomicU64>::default());
        let (passes, passing) = watch::channel(true);
        let count = calls.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                tokio::spawn(pass(from, to, passing.clone()));
            }
        });
        Self { address, calls, passes }
    }

    /// Connections so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// From now on nothing comes through, in neither direction, and nobody is told: a partition.
    pub(crate) fn cut(&self) {
        self.passes.send_replace(false);
    }

    /// What was sent meanwhile comes through, as a network sends again what it lost.
    pub(crate) fn heal(&self) {
        self.passes.send_replace(true);
    }
}

/// One connection, there and back.
async fn pass(from: TcpStream, to: SocketAddr, mut passing: watch::Receiver<bool>) {
    if passing.wait_for(|passes| *passes).await.is_err() {
        return;
    }
    let Ok(to) = TcpStream::connect(to).await else { return };
    for stream in [&from, &to] {
        stream.set_nodelay(true).expect("a socket");
    }
    let ((from, back), (reply, to)) = (from.into_split(), to.into_split());
    tokio::join!(carry(from, to, passing.clone()), carry(reply, back, passing));
}

/// One direction, until it ends.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut passing: watch::Receiver<bool>) {
    let mut piece = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut piece).await.unwrap_or(0);
        if passing.wait_for(|passes| *passes).await.is_err() || count == 0 {
            break;
        }
        if to.write_all(&piece[..count]).await.is_err() {
            break;
        }
    }
    // It may be closed already.
    to.shutdown().await.ok();
}
