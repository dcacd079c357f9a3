//! A refusal as the client gets it: light-4j's JSON fields with our own stable codes, or a gRPC status.

use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
};
use model::Refusal;
use transport::{Body, BodyError};

/// Whether the request is gRPC, so that its refusals must be too.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    let Some(rest) = kind.as_bytes().strip_prefix(b"application/grpc") else { return false };
    matches!(rest.first(), None | Some(b'+' | b';'))
}

/// The status an answer to a gRPC request has for what is learned of its instance: UNAVAILABLE in an answer without
/// messages is what 503 is elsewhere.
#[must_use]
pub fn status_of_grpc(head: &http::response::Parts) -> u16 {
    let is_unavailable = head.headers.get(&GRPC_STATUS).is_some_and(|status| status == "14");
    if is_unavailable { 503 } else { head.status.as_u16() }
}

/// The refusal that says why a body ended early.
#[must_use]
pub fn of_body(error: BodyError) -> Refusal {
    match error {
        BodyError::Client => Refusal::ClientGone,
        BodyError::Malformed => Refusal::BadRequest("the chunks of the body are malformed"),
        BodyError::TooLarge => Refusal::BodyTooLarge,
        BodyError::Instance => Refusal::Reset,
        BodyError::Idle => Refusal::IdleTimeout,
        BodyError::Deadline => Refusal::Deadline,
    }
}

/// The answer for a refusal.
#[must_use]
pub fn response(refusal: &Refusal, grpc: bool, correlation: &HeaderValue) -> Response<Body> {
    let mut response = if grpc { trailers_only(refusal) } else { json(refusal, correlation) };
    let headers = response.headers_mut();
    headers.insert(&REASON, HeaderValue::from_static(refusal.reason()));
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if *refusal == Refusal::MethodNotAllowed {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    response
}

/// gRPC's answer without message: the status stands in the only head, which ends the stream.
fn trailers_only(refusal: &Refusal) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(&GRPC_STATUS, HeaderValue::from(u16::from(refusal.grpc())));
    let message = format!("{}: {}", refusal.code(), refusal.description());
    // Percent signs are the encoding's own (gRPC over HTTP/2, "Status-Message"); our texts have none.
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(&GRPC_MESSAGE, message);
    }
    response
}

fn json(refusal: &Refusal, correlation: &HeaderValue) -> Response<Body> {
    let status = refusal.status();
    let body = serde_json::json!({
        "statusCode": status.as_u16(),
        "code": refusal.code(),
        "message": refusal.message(),
        "description": refusal.description(),
        "severity": "ERROR",
        "reason": refusal.reason(),
        "correlationId": correlation.to_str().ok(),
    });
    let mut response = Response::new(Body::Full(body.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

static REASON: HeaderName = HeaderName::from_static("x-pointsman-reason");
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type_alone() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_grpc(&headers), expected, "{kind}");
        }
    }

    #[test]
    fn unavailable_is_503_for_what_is_learned() {
        let head = |status: &'static str| {
            let mut head = Response::new(()).into_parts().0;
            head.headers.insert(&GRPC_STATUS, HeaderValue::from_static(status));
            head
        };
        assert_eq!(["14", "0", "5"].map(|status| status_of_grpc(&head(status))), [503, 200, 200]);
    }

    #[test]
    fn a_refusal_carries_light_4js_fields_the_reason_and_the_id() {
        let id = HeaderValue::from_static("abc");
        let response = response(&Refusal::NoInstance, false, &id);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["x-pointsman-reason"], "no_instance");
        assert_eq!(response.headers()["retry-after"], "1");
        let Body::Full(body) = response.into_body() else { panic!("a body") };
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        for field in ["statusCode", "code", "message", "description", "severity"] {
            assert!(!body[field].is_null(), "{field}");
        }
        assert_eq!((&body["code"], &body["correlationId"]), (&"PTS50302".into(), &"abc".into()));
    }

    #[test]
    fn grpc_gets_a_status_in_the_only_head() {
        let response = response(&Refusal::Deadline, true, &HeaderValue::from_static("abc"));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "4");
        assert!(matches!(response.body(), Body::Empty));
    }
}
