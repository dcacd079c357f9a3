//! One exchange over an HTTP/1.1 connection.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    ClientError, Step,
    body::{Answer, Incoming},
    connect::Origin,
    error::Failure,
    pool::{Driver, Pool},
};

/// A connection that carries one exchange at a time.
#[derive(Debug)]
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    _driver: Driver,
    pub(super) kept: bool,
}

impl Link {
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

pub(super) async fn start<S>(stream: S, origin: &Origin, deadline: Instant) -> Result<Link, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = Box::pin(http1::handshake(TokioIo::new(stream)));
    let (sender, connection) =
        origin.within(deadline, Step::Head, handshake).await?.map_err(|e| origin.broken(Step::Head, &e))?;
    // Its error reaches the request that is under way; without one nobody is concerned.
    let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
    Ok(Link { sender, _driver: driver, kept: false })
}

pub(super) async fn open<'a>(
    mut link: Link,
    pool: &'a Pool,
    origin: &Origin,
    request: Request<Bytes>,
    deadline: Instant,
) -> Result<Answer<'a>, Failure> {
    let ready = origin.within(deadline, Step::Head, link.sender.ready()).await?;
    ready.map_err(|e| Failure::unsent(origin.broken(Step::Head, &e)))?;
    let request = origin_form(request, origin);
    let sent = origin.within(deadline, Step::Head, link.sender.try_send_request(request)).await?;
    let response = sent.map_err(|mut e| {
        let unsent = e.take_message().is_some();
        Failure { unsent, error: origin.broken(Step::Head, e.error()) }
    })?;
    let (head, body) = response.into_parts();
    Ok(Answer { head, body: Incoming::H1 { body, link: Some(link), pool } })
}

/// hyper sends what it is given: origin form and a Host field are ours to make.
fn origin_form(request: Request<Bytes>, origin: &Origin) -> Request<Full<Bytes>> {
    let (mut head, body) = request.into_parts();
    if let Some(path) = head.uri.path_and_query() {
        head.uri = path.clone().into();
    }
    if let Ok(host) = origin.authority.as_str().parse() {
        head.headers.insert(header::HOST, host);
    }
    Request::from_parts(head, Full::new(body))
}
