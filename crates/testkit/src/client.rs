//! Clients that behave: one request, one answer, over either protocol; and HTTP/2 streams one may misuse at will.

mod stream;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex as StdMutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::{sync::Mutex, task::JoinHandle};

pub use stream::Stream;

use crate::{
    Io, bounded,
    socket::{tcp, tls},
};

/// One connection to a server. Everything has the deadline [`crate::DEADLINE`] and panics at it; dropped, the
/// connection closes.
///
/// ```no_run
/// # async fn example(router: std::net::SocketAddr, certs: testkit::Certs) {
/// use testkit::{Client, get, post};
/// let client = Client::https(router, &certs.client_config(&["h2", "http/1.1"], None), "localhost").await;
/// let answer = client.send(get("/v1/pets", &[("service_id", "petstore")])).await;
/// assert_eq!(answer.status, 200);
/// assert_eq!(answer.json()["path"], "/v1/pets");
/// let many = (0..32).map(|_| client.send(post("/", &[], "body"))).collect::<Vec<_>>();
/// for one in many { one.await; }
/// # }
/// ```
pub struct Client {
    speaks: Speaks,
    authority: String,
    driver: JoinHandle<Result<(), Failure>>,
}

enum Speaks {
    H1(Mutex<http1::SendRequest<Full<Bytes>>>),
    H2(h2::client::SendRequest<Bytes>),
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields of the head.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The trailers, if some came.
    pub trailers: Option<HeaderMap>,
    /// The interim (1xx) heads that came before, in order.
    pub interim: Vec<(StatusCode, HeaderMap)>,
}

/// Why there was no whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server reset the stream with this code.
    Reset(u32),
    /// The server sent GOAWAY with this code.
    GoAway(u32),
    /// The connection closed, or what came was no HTTP; with the library's words.
    Closed(String),
}

// === Requests ===
/// GET, without body. Targets are paths; the client adds scheme and authority, unless the target or `host` names one.
#[must_use]
pub fn get(target: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    request("GET", target, headers, Bytes::new())
}

/// POST with this body.
#[must_use]
pub fn post(target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Bytes> {
    request("POST", target, headers, body)
}

/// A request of any method.
///
/// # Panics
/// If a part is no valid HTTP; for that there is [`crate::Socket`].
#[must_use]
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Bytes> {
    let start = Request::builder().method(method).uri(target);
    let whole = headers.iter().fold(start, |builder, (name, value)| builder.header(*name, *value));
    whole.body(body.into()).expect("a valid request")
}

// === Client ===
impl Client {
    /// HTTP/1.1 in cleartext.
    pub async fn http(address: SocketAddr) -> Self {
        Self::h1_over(Box::new(tcp(address).await), address.to_string()).await
    }

    /// HTTP/2 in cleartext, by prior knowledge.
    pub async fn h2c(address: SocketAddr) -> Self {
        Self::h2c_with(address, &h2::client::Builder::new()).await
    }

    /// As [`Client::h2c`], with windows and limits of your choice.
    pub async fn h2c_with(address: SocketAddr, settings: &h2::client::Builder) -> Self {
        Self::h2_over(Box::new(tcp(address).await), settings, "http", address.to_string()).await
    }

    /// TLS to the server `name`; then what ALPN says, HTTP/1.1 if it says nothing.
    pub async fn https(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Self {
        Self::https_with(address, config, name, &h2::client::Builder::new()).await
    }

    /// As [`Client::https`], with windows and limits of your choice for HTTP/2.
    pub async fn https_with(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
        settings: &h2::client::Builder,
    ) -> Self {
        let stream = tls(address, config, name).await.unwrap_or_else(|error| panic!("TLS to {name}: {error}"));
        let authority = format!("{name}:{}", address.port());
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Self::h2_over(Box::new(stream), settings, "https", authority).await
        } else {
            Self::h1_over(Box::new(stream), authority).await
        }
    }

    /// Whether it speaks HTTP/2.
    #[must_use]
    pub fn is_h2(&self) -> bool {
        matches!(self.speaks, Speaks::H2(_))
    }

    /// Sends the request and reads the whole answer. Requests at the same time run in parallel over HTTP/2 and one
    /// after the other over HTTP/1.
    ///
    /// # Panics
    /// If there is no whole answer in time.
    pub async fn send(&self, request: Request<Bytes>) -> Answer {
        let target = format!("{} {}", request.method(), request.uri());
        self.try_send(request).await.unwrap_or_else(|failure| panic!("{target}: {failure:?}"))
    }

    /// As [`Client::send`], for requests that may fail.
    ///
    /// # Errors
    /// How the stream or the connection ended.
    pub async fn try_send(&self, request: Request<Bytes>) -> Result<Answer, Failure> {
        let what = format!("{} {}", request.method(), request.uri());
        bounded(&what, async {
            match &self.speaks {
                Speaks::H1(sender) => send_h1(&mut *sender.lock().await, self.with_host(request)).await,
                Speaks::H2(_) => {
                    let (head, body) = request.into_parts();
                    let mut stream = self.open(Request::from_parts(head, ()), body.is_empty()).await?;
                    if !body.is_empty() {
                        stream.send_early(body);
                    }
                    stream.answer().await
                }
            }
        })
        .await
    }

    /// Opens an HTTP/2 stream with this head; `end` if no body follows.
    ///
    /// # Errors
    /// If the connection takes no more streams.
    ///
    /// # Panics
    /// Over HTTP/1.
    pub async fn open(&self, request: Request<()>, end: bool) -> Result<Stream, Failure> {
        let Speaks::H2(sender) = &self.speaks else { panic!("streams need HTTP/2") };
        let request = self.with_authority(request);
        let mut sender = bounded("room for a stream", sender.clone().ready()).await?;
        let (response, body) = sender.send_request(request, end)?;
        Ok(Stream::new(response, body))
    }

    /// Waits until the connection ends, and says how: `Ok` if the server closed it in order.
    ///
    /// # Errors
    /// GOAWAY with a code other than NO_ERROR, or what broke it.
    pub async fn ended(mut self) -> Result<(), Failure> {
        bounded("the end of the connection", &mut self.driver).await.expect("the driver does not panic")
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.driver.is_finished()
    }

    async fn h1_over(io: Box<dyn Io>, authority: String) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.expect("hyper only prepares here");
        let driver = tokio::spawn(async move { connection.await.map_err(|error| Failure::Closed(error.to_string())) });
        Self { speaks: Speaks::H1(Mutex::new(sender)), authority, driver }
    }

    async fn h2_over(io: Box<dyn Io>, settings: &h2::client::Builder, scheme: &str, authority: String) -> Self {
        let handshake = bounded("the HTTP/2 preface", settings.handshake::<_, Bytes>(io)).await;
        let (sender, connection) = handshake.expect("the preface can be written");
        let driver = tokio::spawn(async move { Ok(connection.await?) });
        Self { speaks: Speaks::H2(sender), authority: format!("{scheme}://{authority}"), driver }
    }

    /// HTTP/1: a path and a `Host` field.
    fn with_host(&self, mut request: Request<Bytes>) -> Request<Bytes> {
        let value = HeaderValue::try_from(&self.authority).expect("an authority is a value");
        request.headers_mut().entry(header::HOST).or_insert(value);
        request
    }

    /// HTTP/2: scheme and authority in the target, from the `Host` field if there is one.
    fn with_authority(&self, mut request: Request<()>) -> Request<()> {
        if request.uri().authority().is_none() {
            let (scheme, ours) = self.authority.split_once("://").expect("made by h2_over");
            let host = request.headers_mut().remove(header::HOST);
            let authority = host.as_ref().map_or(ours, |host| host.to_str().expect("a host is text"));
            let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            let whole = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
            *request.uri_mut() = whole.expect("a valid target");
        }
        *request.version_mut() = http::Version::HTTP_2;
        request
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn send_h1(sender: &mut http1::SendRequest<Full<Bytes>>, request: Request<Bytes>) -> Result<Answer, Failure> {
    let interim = Arc::new(StdMutex::new(Vec::new()));
    let heard = Arc::clone(&interim);
    let mut request = request.map(Full::new);
    hyper::ext::on_informational(&mut request, move |head| {
        heard.lock().unwrap().push((head.status(), head.headers().clone()));
    });
    let closed = |error: hyper::Error| Failure::Closed(error.to_string());
    sender.ready().await.map_err(closed)?;
    let (head, body) = sender.send_request(request).await.map_err(closed)?.into_parts();
    let body = body.collect().await.map_err(closed)?;
    let trailers = body.trailers().cloned();
    let interim = std::mem::take(&mut *interim.lock().unwrap());
    Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), trailers, interim })
}

// === Answer ===
impl Answer {
    /// The first value of this field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The first value of this trailer.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name)?.to_str().ok()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The value of a request header as an echoing instance got it ([`crate::Reply::echo`]).
    #[must_use]
    pub fn echoed_header(&self, name: &str) -> Option<String> {
        let echo = self.json();
        let pairs = echo["headers"].as_array()?;
        let pair = pairs.iter().find(|pair| pair[0].as_str().is_some_and(|field| field.eq_ignore_ascii_case(name)))?;
        pair[1].as_str().map(str::to_owned)
    }

    fn from_head(head: Response<()>) -> Self {
        let (head, ()) = head.into_parts();
        Self { status: head.status, headers: head.headers, body: Bytes::new(), trailers: None, interim: Vec::new() }
    }
}

impl From<h2::Error> for Failure {
    fn from(error: h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_go_away() => Self::GoAway(reason.into()),
            Some(reason) if error.is_reset() => Self::Reset(reason.into()),
            _ => Self::Closed(error.to_string()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("authority", &self.authority).field("h2", &self.is_h2()).finish_non_exhaustive()
    }
}
