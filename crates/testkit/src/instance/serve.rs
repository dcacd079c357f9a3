//! The connections of an instance: accept, TLS, and one of the two protocols.

use std::sync::{Arc, Mutex, atomic::Ordering};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Command, State,
    exchange::Exchange,
    stream::{H1Body, Sink, Source},
};
use crate::{Io, Seen, seen::Connection};

type Line = mpsc::UnboundedSender<Command>;
type Commands = mpsc::UnboundedReceiver<Command>;

/// Accepts until aborted.
pub(super) async fn accept(listener: TcpListener, state: Arc<State>, connections: Arc<Mutex<JoinSet<()>>>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let (number, line, commands) = state.line();
        let connection = Connection { number, peer, server_name: None, alpn: None, client_certificate: false };
        let mut connections = connections.lock().unwrap();
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(Arc::clone(&state), stream, connection, line, commands));
    }
}

async fn serve(state: Arc<State>, stream: TcpStream, mut connection: Connection, line: Line, mut commands: Commands) {
    let _open = Open::new(&state);
    stream.set_nodelay(true).expect("a TCP socket");
    let Some(tls) = &state.tls else {
        return speak(state.http2, Box::new(stream), &state, connection, line, &mut commands).await;
    };
    let accepted = tokio::select! {
        accepted = TlsAcceptor::from(Arc::clone(tls)).accept(stream) => accepted,
        _ = commands.recv() => return,
    };
    let Ok(stream) = accepted else {
        state.counts.failed_handshakes.fetch_add(1, Ordering::SeqCst);
        return;
    };
    let session = stream.get_ref().1;
    connection.server_name = session.server_name().map(str::to_owned);
    connection.alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    connection.client_certificate = session.peer_certificates().is_some();
    let http2 = connection.alpn.as_deref() == Some("h2");
    speak(http2, Box::new(stream), &state, connection, line, &mut commands).await;
}

async fn speak(
    http2: bool,
    io: Box<dyn Io>,
    state: &Arc<State>,
    connection: Connection,
    line: Line,
    commands: &mut Commands,
) {
    if http2 {
        speak_h2(io, state, connection, line, commands).await;
    } else {
        speak_h1(io, state, connection, line, commands).await;
    }
}

async fn speak_h1(io: Box<dyn Io>, state: &Arc<State>, connection: Connection, line: Line, commands: &mut Commands) {
    let service = service_fn(|request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let seen = seen(state, head, &connection);
        let (sender, response) = oneshot::channel::<Response<H1Body>>();
        let (state, line) = (Arc::clone(state), line.clone());
        // The task ends with its request: hyper drops the body and the channels when the connection ends.
        drop(tokio::spawn(Exchange::play(state, seen, Source::H1(body), Sink::H1Head(sender), line)));
        response
    });
    let mut serving = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    loop {
        tokio::select! {
            // A cut comes before the end of the body that the same script causes by its own end.
            biased;
            command = commands.recv() => match command {
                Some(Command::Drain) => Pin::new(&mut serving).graceful_shutdown(),
                // Who is gone already hears nothing.
                Some(Command::Raw(bytes)) => return drop(serving.into_parts().io.inner_mut().write_all(&bytes).await),
                Some(Command::Cut) | None => return,
            },
            _ = &mut serving => return,
        }
    }
}

async fn speak_h2(io: Box<dyn Io>, state: &Arc<State>, connection: Connection, line: Line, commands: &mut Commands) {
    let mut builder = h2::server::Builder::new();
    let limits = &state.limits;
    limits.max_concurrent_streams.map(|streams| builder.max_concurrent_streams(streams));
    limits.stream_window.map(|bytes| builder.initial_window_size(bytes));
    limits.connection_window.map(|bytes| builder.initial_connection_window_size(bytes));
    let shaken = tokio::select! {
        shaken = builder.handshake::<_, Bytes>(io) => shaken,
        _ = commands.recv() => return,
    };
    let Ok(mut serving) = shaken else {
        state.counts.failed_handshakes.fetch_add(1, Ordering::SeqCst);
        return;
    };
    let mut exchanges = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Command::Drain) => serving.graceful_shutdown(),
                Some(Command::Cut | Command::Raw(_)) | None => return,
            },
            // While it waits for a request it does the I/O of all others.
            accepted = serving.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let (head, body) = request.into_parts();
                let seen = seen(state, head, &connection);
                let (source, sink) = (Source::H2(body), Sink::H2Head(respond));
                exchanges.spawn(Exchange::play(Arc::clone(state), seen, source, sink, line.clone()));
            }
            Some(_) = exchanges.join_next() => {}
        }
    }
}

fn seen(state: &State, head: http::request::Parts, connection: &Connection) -> Seen {
    Seen {
        instance: state.name.clone(),
        method: head.method,
        uri: head.uri,
        version: head.version,
        headers: head.headers,
        connection: connection.clone(),
        body: Vec::new(),
        body_bytes: 0,
        body_digest: 0,
        trailers: None,
    }
}

/// Keeps [`crate::Counts::open`] true, also when the task of the connection is aborted.
struct Open(Arc<State>);

impl Open {
    fn new(state: &Arc<State>) -> Self {
        state.counts.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(state))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counts.open.fetch_sub(1, Ordering::SeqCst);
    }
}
