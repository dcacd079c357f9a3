//! The body of a request, read within bounds.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::Fault;

/// How long a body may take.
const TIME: Duration = Duration::from_secs(10);

/// Reads all of it, up to `limit` bytes.
///
/// # Errors
/// If it is larger, comes too slowly or breaks off.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, Fault> {
    let read = timeout(TIME, to_bytes(body, limit)).await.map_err(|_| Fault::slow())?;
    read.map_err(|error| match std::error::Error::source(&error) {
        Some(cause) if cause.is::<LengthLimitError>() => Fault::too_large(limit),
        _ => Fault::invalid("the body broke off"),
    })
}
