//! What a server said before it closed.
//!
//! A TLS 1.3 server looks at our certificate when the handshake is over for us, and may send its alert and close while a
//! request is written to it. The write fails, and says no more than that; why stands in what is still to be read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose failed writes say what the peer said last, if that was an error.
#[derive(Debug)]
pub(super) struct Parting<S>(pub(super) S);

impl<S: AsyncRead + Unpin> Parting<S> {
    fn explain<T>(&mut self, cx: &mut Context<'_>, written: io::Result<T>) -> io::Result<T> {
        written.map_err(|error| {
            let mut last = [0; 256];
            match Pin::new(&mut self.0).poll_read(cx, &mut ReadBuf::new(&mut last)) {
                Poll::Ready(Err(said)) if said.kind() == io::ErrorKind::InvalidData => said,
                _ => error,
            }
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Parting<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Parting<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf).map(|written| self.explain(cx, written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs).map(|written| self.explain(cx, written))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map(|flushed| self.explain(cx, flushed))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use testkit::Certs;
    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpStream},
        time::timeout,
    };
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    #[tokio::test]
    async fn a_write_that_fails_says_why_the_server_closed() {
        let certs = Certs::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let strict = TlsAcceptor::from(certs.server_config(&certs.issue(&["localhost"]), &[], true));
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            strict.accept(stream).await.map(drop).unwrap_err()
        });
        let client = TlsConnector::from(certs.client_config(&[], None));
        let stream = client.connect("localhost".try_into().unwrap(), TcpStream::connect(address).await.unwrap());
        let mut stream = Parting(stream.await.unwrap());
        // It has closed now, and nothing of what it said was read.
        server.await.unwrap();
        let failed = async {
            loop {
                let written = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, &[0; 1024])).await;
                let written = match written {
                    Ok(_) => stream.flush().await,
                    Err(error) => Err(error),
                };
                if let Err(error) = written {
                    return error;
                }
            }
        };
        let error = timeout(Duration::from_secs(10), failed).await.expect("it has closed");
        assert!(error.to_string().contains("received fatal alert"), "{error}");
    }
}
