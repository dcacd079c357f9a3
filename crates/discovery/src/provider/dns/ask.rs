//! One question to one server: over UDP, and over TCP if the answer does not fit or UDP is not wanted.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::wire::{self, Kind, Reply};

/// Without EDNS no datagram is longer than 512 bytes; some servers do not know.
const DATAGRAM: usize = 4096;

/// Asks; each of the two ways may take `patience`.
///
/// # Errors
/// If no answer came: the server is away, or silent.
pub(super) async fn ask(
    server: SocketAddr,
    question: &[u8],
    kind: Kind,
    tcp: bool,
    patience: Duration,
) -> io::Result<Reply> {
    let silent = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}"));
    if !tcp {
        let reply = timeout(patience, by_datagram(server, question, kind)).await.map_err(silent)??;
        if reply != Reply::Truncated {
            return Ok(reply);
        }
    }
    let stream = timeout(patience, by_stream(server, question)).await;
    let reply = stream.map_err(silent)?.map_err(|e| io::Error::new(e.kind(), format!("over TCP: {e}")))?;
    Ok(match wire::read(&reply, question, kind) {
        Reply::Truncated | Reply::Foreign => Reply::Malformed("another question's answer, over TCP".to_owned()),
        reply => reply,
    })
}

async fn by_datagram(server: SocketAddr, question: &[u8], kind: Kind) -> io::Result<Reply> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    // A port of its own for each question, and connected: what others send does not arrive.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut datagram).await?;
        match wire::read(&datagram[..length], question, kind) {
            Reply::Foreign => {}
            reply => return Ok(reply),
        }
    }
}

async fn by_stream(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    // In one piece: some servers read the length and the message at once.
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut reply = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}
