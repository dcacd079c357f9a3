//! Every kind of byte stream the data path uses, as one type: a branch per call instead of a box per connection.

use std::{
    fmt::Debug,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use super::Rewind;

/// What any byte stream can do.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + Debug> Io for S {}

/// A connection's bytes.
#[derive(Debug)]
pub enum Stream {
    /// Clear text to an instance.
    Tcp(TcpStream),
    /// Clear text from a client, with the bytes its protocol was told by put back.
    Client(Rewind<TcpStream>),
    /// TLS to an instance.
    ToInstance(Box<client::TlsStream<TcpStream>>),
    /// TLS from a client.
    FromClient(Box<server::TlsStream<Rewind<TcpStream>>>),
    /// Any other, say one in memory.
    Other(Box<dyn Io>),
}

impl Stream {
    /// Whether there is anything to read from an instance, be it that it has closed its side: the system itself is asked, not
    /// what it told when it was last asked for news.
    pub(super) fn has_word(&self) -> bool {
        let tcp = match self {
            Self::Tcp(stream) => stream,
            Self::ToInstance(stream) => stream.get_ref().0,
            Self::Client(_) | Self::FromClient(_) | Self::Other(_) => return false,
        };
        let peeked = SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]);
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the peer has closed its side, as far as the system has told: what it sent before may be unread. Only known of
    /// clients.
    pub(super) fn is_closed_by_peer(&self) -> bool {
        let tcp = match self {
            Self::Client(stream) => stream.inner(),
            Self::FromClient(stream) => stream.get_ref().0.inner(),
            Self::Tcp(_) | Self::ToInstance(_) | Self::Other(_) => return false,
        };
        let ready = pin!(tcp.ready(Interest::READABLE)).poll(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            Stream::Client($stream) => $call,
            Stream::ToInstance($stream) => $call,
            Stream::FromClient($stream) => $call,
            Stream::Other($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        each!(this, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        each!(this, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        each!(this, stream => Pin::new(stream).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        each!(this, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        each!(this, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
