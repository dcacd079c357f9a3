//! A listener that slow, silent or greedy clients cannot hold.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::Layer;

use transport::crowd::Crowd;

use crate::stall::Unstalled;

/// How long a request head may take, and how long a connection may idle between requests.
const HEAD: Duration = Duration::from_secs(10);
/// Connections at once. Long polls hold one each; above, new ones wait in the kernel's queue.
const CONNECTIONS: usize = 1024;
/// Connections of one machine at once: three quarters of all, so that others get in, and more than the watchers there
/// may be, so that behind one proxy or on one machine heartbeats get in beside them.
const MOST: usize = 768;
/// How long requests in hand may go on after the end was asked for; long polls are cut off.
const GRACE: Duration = Duration::from_secs(2);
/// Pause when the process has no descriptor left for another connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// The address of who sent a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves an API until `shutdown` ends, then finishes what is in hand within two seconds.
/// Whoever is to follow it at its address keeps the listener, so that connections wait in its queue meanwhile.
pub async fn serve(listener: Arc<TcpListener>, app: Router, shutdown: impl Future<Output = ()>) {
    limited(&listener, app, shutdown, MOST).await;
}

async fn limited(listener: &TcpListener, app: Router, shutdown: impl Future<Output = ()>, most: usize) {
    let crowd = Crowd::default();
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let (end, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(listener, &permits) => accepted,
            // Reaps what is over, so that the set does not grow.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((socket, peer, permit)) => {
                let Some(place) = crowd.enter(peer.ip(), most) else {
                    tracing::debug!(%peer, "refused a connection: its machine has all it may have");
                    continue;
                };
                let (app, ending) = (app.clone(), end.subscribe());
                connections.spawn(async move {
                    connection(socket, peer, app, ending).await;
                    drop((place, permit));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(EXHAUSTED).await;
            }
        }
    }
    end.send_replace(true);
    let all_over = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, all_over).await.is_err() {
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    Ok((socket, peer, permit))
}

async fn connection(socket: TcpStream, peer: SocketAddr, app: Router, mut ending: watch::Receiver<bool>) {
    let service = TowerToHyperService::new(Extension(Peer(peer)).layer(app));
    let mut serving = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(Unstalled::new(socket)), service)
    );
    let ended = tokio::select! {
        result = &mut serving => Some(result),
        // The sender lives as long as the listener, so an error means the same.
        _ = ending.wait_for(|end| *end) => None,
    };
    let result = match ended {
        Some(result) => result,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an admin connection broke");
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use futures_util::{StreamExt, stream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{stall::STALL, testing::Stage};

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_the_answer_is_cut_off() {
        // Each answer holds it, and never ends.
        let held = Arc::new(());
        let answer = {
            let held = held.clone();
            async move || {
                let endless = stream::repeat((held.clone(), "x".repeat(65536)));
                Body::from_stream(endless.map(|(_, piece)| Ok::<_, io::Error>(piece)))
            }
        };
        let stage = Stage::new(Router::new().route("/", get(answer))).await;
        let idle = Arc::strong_count(&held);
        let mut socket = TcpStream::connect(stage.address).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        socket.read_exact(&mut [0; 64]).await.unwrap();
        assert!(Arc::strong_count(&held) > idle);
        let given_up = async {
            while Arc::strong_count(&held) > idle {
                sleep(STALL / 10).await;
            }
        };
        // Nothing else ends the connection: the client stays.
        assert!(timeout(STALL * 3, given_up).await.is_ok());
        drop(socket);
    }

    #[tokio::test]
    async fn one_machine_cannot_hold_all_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", get(async || "OK"));
        let serving = tokio::spawn(async move { limited(&listener, app, std::future::pending(), 2).await });
        let answers = async || {
            let mut socket = TcpStream::connect(address).await.unwrap();
            drop(socket.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await);
            socket.read_exact(&mut [0; 8]).await.is_ok().then_some(socket)
        };
        let (Some(one), Some(_two)) = (answers().await, answers().await) else { panic!("two are allowed") };
        assert!(answers().await.is_none());
        drop(one);
        // It makes room as soon as the listener sees it leave.
        let room = async {
            while answers().await.is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(HEAD, room).await.unwrap();
        serving.abort();
    }

    #[tokio::test]
    async fn silent_clients_keep_nobody_else_waiting() {
        let stage = Stage::new(Router::new().route("/", get(async || "OK"))).await;
        let mut silent = Vec::new();
        for _ in 0..100 {
            let mut socket = TcpStream::connect(stage.address).await.unwrap();
            socket.write_all(b"GET / HT").await.unwrap();
            silent.push(socket);
        }
        assert_eq!(stage.get("/").await.body, "OK");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_given_up() {
        let stage = Stage::new(Router::new()).await;
        let mut socket = TcpStream::connect(stage.address).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n").await.unwrap();
        let mut rest = Vec::new();
        // Without the limit this would wait for ever: nothing else ends the connection.
        let closed = timeout(HEAD * 3, socket.read_to_end(&mut rest)).await;
        assert!(closed.is_ok());
    }
}
