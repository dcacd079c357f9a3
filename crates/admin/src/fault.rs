//! Errors of these APIs, in the JSON shape of light-4j and of the router's own refusals.

use axum::{
    Json, Router,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    description: String,
}

impl Fault {
    /// The request cannot be understood; the text says why.
    pub fn invalid(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "PTS40011", "INVALID_REQUEST", description)
    }

    /// The token is missing or wrong.
    #[must_use]
    pub fn unauthorized() -> Self {
        let text = "this registry wants a token: send it as `Authorization: Bearer TOKEN` or `X-Registry-Token: TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, "PTS40111", "UNAUTHORIZED", text)
    }

    /// The request comes from a web page.
    pub fn forbidden(description: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "PTS40311", "FORBIDDEN", description)
    }

    /// What is spoken of is not there.
    pub fn not_found(description: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "PTS40411", "NOT_FOUND", description)
    }

    /// The instance must register first.
    pub fn not_registered(description: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "PTS40412", "NOT_REGISTERED", description)
    }

    /// The path is there, the method is not.
    fn method() -> Self {
        let text = "this path does not take this method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "PTS40511", "METHOD_NOT_ALLOWED", text)
    }

    /// The body did not arrive in time.
    #[must_use]
    pub fn slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "PTS40811", "BODY_TIMEOUT", "the body did not arrive in time")
    }

    /// The body is too large.
    pub fn too_large(limit: usize) -> Self {
        let text = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PTS41311", "BODY_TOO_LARGE", text)
    }

    /// The operator must repair something first.
    pub fn unavailable(description: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "PTS50311", "UNAVAILABLE", description)
    }

    fn new(status: StatusCode, code: &'static str, message: &'static str, description: impl Into<String>) -> Self {
        Self { status, code, message, description: description.into() }
    }
}

/// The shape on the wire.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    status_code: u16,
    code: &'a str,
    message: &'a str,
    description: &'a str,
    severity: &'a str,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = Body {
            status_code: self.status.as_u16(),
            code: self.code,
            message: self.message,
            description: &self.description,
            severity: "ERROR",
        };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Answers for paths and methods that are not there, in the same shape.
pub(crate) fn closed<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .fallback(async || Fault::not_found("there is nothing at this path"))
        .method_not_allowed_fallback(async || Fault::method())
}
