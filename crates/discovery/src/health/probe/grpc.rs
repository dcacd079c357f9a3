//! `grpc.health.v1.Health/Check`, the protocol by which gRPC servers tell how they are. Its two messages have one field
//! each, which is why no library reads them.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, header, uri::PathAndQuery};
use transport::{
    look::{Answer, Spot, exchange},
    upstream::Version,
};

use super::{AGENT, Trouble};
use crate::health::check::Grpc;

const PATH: &str = "/grpc.health.v1.Health/Check";
/// The answer has a few bytes; more is none.
const MOST: usize = 4096;
/// Before each message: whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;

pub(super) async fn ask(grpc: &Grpc, spot: &Spot<'_>, missing: &mut &'static str) -> Result<String, Trouble> {
    let (stream, version) = spot.open().await?;
    if version != Version::H2 {
        return Err("it does not choose HTTP/2 by ALPN, which gRPC needs".to_owned().into());
    }
    *missing = "answer";
    let answer = exchange(stream, version, request(grpc, spot), MOST).await?;
    judge(&answer).map_err(Trouble::Other)
}

fn request(grpc: &Grpc, spot: &Spot<'_>) -> Request<Bytes> {
    let mut request = Request::new(message(&grpc.service));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = spot.target(&PathAndQuery::from_static(PATH), None);
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
    request
}

/// `HealthCheckRequest { string service = 1 }` with its prefix.
fn message(service: &str) -> Bytes {
    let mut field = BytesMut::new();
    if !service.is_empty() {
        field.put_u8(0x0A);
        put_varint(&mut field, service.len() as u64);
        field.put_slice(service.as_bytes());
    }
    let mut message = BytesMut::with_capacity(PREFIX + field.len());
    message.put_u8(0);
    message.put_u32(u32::try_from(field.len()).unwrap_or(u32::MAX));
    message.put_slice(&field);
    message.freeze()
}

/// Whether it serves, and what was seen. Pure.
fn judge(answer: &Answer) -> Result<String, String> {
    if answer.status != http::StatusCode::OK {
        return Err(format!("HTTP status {}, which is no gRPC", answer.status.as_u16()));
    }
    // A failure may come in the head alone.
    let of = |headers: &HeaderMap, name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let field = |name: &str| of(&answer.trailers, name).or_else(|| of(&answer.headers, name));
    match field("grpc-status").as_deref() {
        Some("0") => {}
        Some("5") => return Err("it does not know this service (NOT_FOUND)".to_owned()),
        Some("12") => {
            return Err("it has no grpc.health.v1.Health (UNIMPLEMENTED): add that, or check by tcp".to_owned());
        }
        Some(other) => {
            let said = field("grpc-message").unwrap_or_default();
            return Err(format!("gRPC status {other} {said}").trim_end().to_owned());
        }
        None => return Err("an answer without grpc-status".to_owned()),
    }
    match status(&answer.body) {
        Some(1) => Ok("SERVING".to_owned()),
        Some(2) => Err("NOT_SERVING".to_owned()),
        Some(3) => Err("SERVICE_UNKNOWN".to_owned()),
        Some(other) => Err(format!("status {other}, which is not SERVING")),
        None => Err("a message that is no HealthCheckResponse".to_owned()),
    }
}

/// `HealthCheckResponse { ServingStatus status = 1 }` after its prefix; 0 if the field is not there, as ever with
/// protocol buffers.
fn status(body: &[u8]) -> Option<u64> {
    let (prefix, rest) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?) as usize;
    if prefix[0] != 0 {
        return None;
    }
    let mut message = rest.get(..length)?;
    let mut found = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => found = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

/// Takes a number off the front.
fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_varint(to: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        to.put_u8((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    to.put_u8(number as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is made of an answer with this status field and this body.
    fn judged(status: &str, body: &[u8]) -> Result<String, String> {
        let trailers = [("grpc-status".parse().unwrap(), status.parse().unwrap())].into_iter().collect();
        judge(&Answer { body: Bytes::copy_from_slice(body), trailers, ..Answer::default() })
    }

    #[test]
    fn only_serving_passes() {
        assert_eq!(judged("0", &[0, 0, 0, 0, 2, 8, 1]).unwrap(), "SERVING");
        for (status, body, part) in [
            ("0", &[0, 0, 0, 0, 2, 8, 2][..], "NOT_SERVING"),
            ("0", &[0, 0, 0, 0, 2, 8, 3], "SERVICE_UNKNOWN"),
            ("0", &[0, 0, 0, 0, 0], "status 0"),
            ("0", &[0, 0, 0, 0, 9, 8, 1], "no HealthCheckResponse"),
            ("0", &[1, 0, 0, 0, 2, 8, 1], "no HealthCheckResponse"),
            ("0", b"", "no HealthCheckResponse"),
            ("5", b"", "NOT_FOUND"),
            ("12", b"", "UNIMPLEMENTED"),
            ("14", b"", "gRPC status 14"),
        ] {
            let error = judged(status, body).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(judge(&Answer::default()).unwrap_err().contains("without grpc-status"));
        let headers = [("grpc-status".parse().unwrap(), "12".parse().unwrap())].into_iter().collect();
        let only_head = Answer { headers, ..Answer::default() };
        assert!(judge(&only_head).unwrap_err().contains("UNIMPLEMENTED"));
        let moved = Answer { status: http::StatusCode::FOUND, ..Answer::default() };
        assert!(judge(&moved).unwrap_err().contains("302"));
    }

    #[test]
    fn the_question_is_a_message() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("pets")[..], b"\0\0\0\0\x06\x0a\x04pets");
        assert_eq!(&message(&"x".repeat(200))[..8], [0, 0, 0, 0, 203, 0x0A, 200, 1]);
    }

    proptest! {
        /// Whatever comes, reading it does not panic, and fields that are added later change nothing.
        #[test]
        fn any_message_is_read(body in prop::collection::vec(any::<u8>(), 0..64), known in 0_u8..128, more in 2_u8..16, value in 0_u8..128) {
            status(&body);
            for (first, second) in [([8, known], [more << 3, value]), ([more << 3, value], [8, known])] {
                let body = [&[0, 0, 0, 0, 4][..], &first, &second].concat();
                prop_assert_eq!(status(&body), Some(known.into()));
            }
        }
    }
}
