//! A client's connection from its first byte: what it speaks, TLS, and then HTTP/1 or HTTP/2.

mod h1;
mod h2;
mod respond;
mod unreadable;

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use telemetry::metrics::Closed;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use transport::{
    io::{Rewind, Stream},
    keepalive::KeepAlive,
    upstream::Version,
};

use crate::{
    client::Client,
    core::Core,
    plan::{Current, Listener},
    rewrite,
};

/// The first bytes of every HTTP/2 connection; no HTTP/1 request begins with them.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first byte of every TLS connection: a handshake record.
const HANDSHAKE: u8 = 0x16;

/// Serves one connection to its end.
pub(crate) async fn serve(core: &Rc<Core>, stream: std::net::TcpStream, peer: SocketAddr, listener: &Listener) {
    note(core, peer, attend(core, stream, peer, listener).await);
}

/// Serves a client whose bytes are in clear: accepted, decrypted, and the protocol known.
pub async fn serve_stream(core: &Rc<Core>, client: Rc<Client>, stream: Stream, version: Version) {
    let peer = client.peer;
    let plan = core.plan();
    note(core, peer, converse(core, client, stream, version, &plan).await);
}

/// Every connection ends with a word to the counters; one that the client did not end well, with one to the log.
fn note(core: &Core, peer: SocketAddr, ended: Result<Closed, Closed>) {
    if let Err(cause) = ended {
        tracing::debug!(%peer, cause = cause.as_str(), "client connection closed");
    }
    core.metrics.closed(ended.unwrap_or_else(|cause| cause));
}

async fn attend(
    core: &Rc<Core>,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    listener: &Listener,
) -> Result<Closed, Closed> {
    let plan = core.plan();
    let Ok(local) = stream.local_addr() else { return Ok(Closed::Done) };
    let Ok(mut stream) = TcpStream::from_std(stream) else { return Ok(Closed::Done) };
    if let Err(error) = KeepAlive::CLIENT.bear(&stream, plan.patience.http1.stall) {
        tracing::debug!(%peer, %error, "the system may end this connection before clients.stall");
    }
    let first = first_bytes(&mut stream, plan.patience.first_byte, listener.tls.is_some()).await?;
    let told = rewrite::Connection::new(peer, local, listener.tls.is_some(), &plan.rewriting);
    let client = Rc::new(Client { peer, tls: listener.tls.is_some(), told });
    let Some(tls) = &listener.tls else {
        let version = if *first == *PREFACE { Version::H2 } else { Version::H1 };
        return converse(core, client, Stream::Client(Rewind::new(first, stream)), version, &plan).await;
    };
    if first.first() != Some(&HANDSHAKE) {
        refuse_plain_text(stream, &first).await;
        return Err(Closed::Plain);
    }
    let accept = TlsAcceptor::from(std::sync::Arc::clone(&tls.0)).accept(Rewind::new(first, stream));
    let stream = timeout(plan.patience.handshake, accept).await.map_err(|_| Closed::Handshake)?;
    let stream = stream.map_err(|error| {
        tracing::debug!(%peer, %error, "TLS handshake failed");
        Closed::Handshake
    })?;
    let version = if stream.get_ref().1.alpn_protocol() == Some(b"h2") { Version::H2 } else { Version::H1 };
    converse(core, client, Stream::FromClient(Box::new(stream)), version, &plan).await
}

async fn converse(
    core: &Rc<Core>,
    client: Rc<Client>,
    stream: Stream,
    version: Version,
    plan: &Current,
) -> Result<Closed, Closed> {
    // Boxed, so that a connection holds the state of the protocol it speaks and of no other.
    match version {
        Version::H2 => Box::pin(h2::serve(core, client, stream, plan)).await,
        Version::H1 => Box::pin(h1::serve(core, client, stream, plan)).await,
    }
}

/// The first bytes of a connection: what comes first for TLS, and as many in clear text as tell HTTP/2 from HTTP/1.
/// The time is for all of them together.
async fn first_bytes(stream: &mut TcpStream, limit: Duration, tls: bool) -> Result<Bytes, Closed> {
    let mut first = [0; PREFACE.len()];
    let mut have = 0;
    let read = async {
        loop {
            match stream.read(&mut first[have..]).await {
                Ok(n) if n > 0 => have += n,
                // A probe of a load balancer, say.
                _ => return Err(Closed::Broken),
            }
            if tls || have == PREFACE.len() || !PREFACE.starts_with(&first[..have]) {
                return Ok(());
            }
        }
    };
    timeout(limit, read).await.map_err(|_| Closed::FirstByte)??;
    Ok(Bytes::copy_from_slice(&first[..have]))
}

/// A person or program that speaks HTTP to the TLS port gets one readable answer.
async fn refuse_plain_text(mut stream: TcpStream, first: &[u8]) {
    const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\
        x-pointsman-reason: plain_text\r\ncontent-length: 43\r\n\r\nThis port speaks TLS: use https:// for it.\n";
    if first.first().is_some_and(u8::is_ascii_uppercase) {
        close_with(&mut stream, ANSWER).await;
    }
}

/// The last word on a connection.
async fn close_with(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
    /// Enough for a request on its way; whoever sends for longer does not want the answer.
    const LONGEST: Duration = Duration::from_secs(1);
    let answer = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        // Closing with bytes unread resets the connection, which can take the answer away from the client.
        while stream.read(&mut [0; 1024]).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether it arrives is the client's affair.
    timeout(LONGEST, answer).await.ok();
}
