//! One request and its answer on a connection that ends with it.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version as HttpVersion, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::{
    client::{Duplex, error::chain},
    upstream::Version,
};

/// The largest head that is read. hyper's buffer has at least half of it.
const HEAD: usize = 16 * 1024;
/// Most header fields of an answer.
const FIELDS: usize = 100;

/// What came back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// As much of its body as was wanted; not all of it if it was longer.
    pub body: Bytes,
    /// What came after the body, if it was read to its end and HTTP/2 was spoken.
    pub trailers: HeaderMap,
}

/// Sends a request whose target is absolute (see [`super::Spot::target`]) and reads its answer, of the body at most `most` bytes; nothing of the body
/// is waited for if that is zero.
///
/// # Errors
/// What the peer did instead of answering, for people.
pub async fn exchange(
    stream: Box<dyn Duplex>,
    version: Version,
    request: Request<Bytes>,
    most: usize,
) -> Result<Answer, String> {
    match version {
        Version::H1 => Box::pin(http1(stream, request, most)).await,
        Version::H2 => Box::pin(http2(stream, request, most)).await,
    }
}

async fn http1(stream: Box<dyn Duplex>, request: Request<Bytes>, most: usize) -> Result<Answer, String> {
    let starting = http1::Builder::new().max_buf_size(HEAD).max_headers(FIELDS).handshake(TokioIo::new(stream));
    let (mut send, connection) = starting.await.map_err(|e| chain(&e))?;
    let request = origin_form(request.map(Full::new));
    let talk = async move {
        let (head, mut body) = send.send_request(request).await.map_err(|e| chain(&e))?.into_parts();
        let mut read = BytesMut::new();
        while read.len() < most {
            let Some(frame) = body.frame().await else { break };
            if let Ok(data) = frame.map_err(|e| chain(&e))?.into_data() {
                add(&mut read, &data, most);
            }
        }
        let (status, headers) = (head.status, head.headers);
        Ok(Answer { status, headers, body: read.freeze(), trailers: HeaderMap::new() })
    };
    beside(talk, connection).await
}

/// The path alone as target and the authority as `Host`, on a connection that closes after the answer.
fn origin_form<B>(mut request: Request<B>) -> Request<B> {
    let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let path = request.uri().path_and_query().cloned();
    let target = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    *request.uri_mut() = target;
    let headers = request.headers_mut();
    headers.insert(header::HOST, host.unwrap_or(HeaderValue::from_static("unknown")));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    request
}

async fn http2(stream: Box<dyn Duplex>, request: Request<Bytes>, most: usize) -> Result<Answer, String> {
    let mut builder = ::h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(HEAD as u32);
    let (send, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(|e| chain(&e))?;
    let talk = async move {
        let mut send = send.ready().await.map_err(|e| chain(&e))?;
        let (mut head, body) = request.into_parts();
        head.version = HttpVersion::HTTP_2;
        let empty = body.is_empty();
        let (response, mut stream) = send.send_request(Request::from_parts(head, ()), empty).map_err(|e| chain(&e))?;
        if !empty {
            stream.send_data(body, true).map_err(|e| chain(&e))?;
        }
        let (head, mut body) = response.await.map_err(|e| chain(&e))?.into_parts();
        let mut answer = Answer { status: head.status, headers: head.headers, ..Answer::default() };
        let mut read = BytesMut::new();
        while read.len() < most {
            let Some(data) = body.data().await else {
                answer.trailers = body.trailers().await.map_err(|e| chain(&e))?.unwrap_or_default();
                break;
            };
            let data = data.map_err(|e| chain(&e))?;
            // It fails only on a stream that ended, which needs no room.
            drop(body.flow_control().release_capacity(data.len()));
            add(&mut read, &data, most);
        }
        answer.body = read.freeze();
        Ok(answer)
    };
    Box::pin(beside(talk, connection)).await
}

fn add(read: &mut BytesMut, data: &Bytes, most: usize) {
    read.extend_from_slice(&data[..data.len().min(most - read.len())]);
}

/// Runs an exchange while its connection is driven in the same task, so that both end together.
async fn beside<T>(talk: impl Future<Output = Result<T, String>>, connection: impl Future) -> Result<T, String> {
    let mut talk = std::pin::pin!(talk);
    tokio::select! {
        biased;
        found = &mut talk => found,
        // What has arrived is still to be read; if nothing has, the exchange knows why.
        _ = connection => talk.await,
    }
}
