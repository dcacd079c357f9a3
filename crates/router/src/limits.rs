//! hot path
//!
//! What a request may weigh.

use http::{header::CONTENT_LENGTH, request::Parts};
use http_body::Body as _;
use model::Refusal;
use transport::upload::{Tally, Upload};

use crate::{exchange::Exchange, hygiene, plan::Limits, rewrite};

/// Refuses a head that is too large.
///
/// # Errors
/// [`Refusal::UriTooLong`], [`Refusal::HeadersTooLarge`].
pub fn check_head(limits: &Limits, head: &Parts) -> Result<(), Refusal> {
    if head.uri.path_and_query().map_or(0, |target| target.as_str().len()) > limits.uri {
        return Err(Refusal::UriTooLong);
    }
    if head.headers.len() > limits.fields || hygiene::head_size(head) > limits.head_size {
        return Err(Refusal::HeadersTooLarge);
    }
    Ok(())
}

/// Takes the body to be sent on. Refuses one that says it is too large, and makes one that does not say so count itself.
///
/// # Errors
/// [`Refusal::BodyTooLarge`].
pub fn take_body(exchange: &mut Exchange, head: &Parts) -> Result<Option<Upload>, Refusal> {
    if exchange.unread.is_end_stream() {
        return Ok(None);
    }
    let limit = exchange.limits().body;
    let said = head.headers.get(CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said > limit) {
        return Err(Refusal::BodyTooLarge);
    }
    let tally = Tally::new(limit);
    exchange.record.upload = Some(tally.clone());
    let body = std::mem::take(&mut exchange.unread);
    let keep = (exchange.limits().retries.buffer, &exchange.core.room);
    Ok(Some(Upload::new(body, keep, tally, rewrite::clean_trailers)))
}
