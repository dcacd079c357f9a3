//! hot path
//!
//! A request on its way out.

use http::{HeaderValue, request::Parts};
use transport::{Body, upload::Upload};

use crate::exchange::Exchange;

/// A request on its way out.
#[derive(Debug)]
pub struct Outbound {
    /// The head, but for its host.
    pub head: Parts,
    /// The host the client named.
    pub host: Option<HeaderValue>,
    /// The body, if there is one.
    pub body: Option<Upload>,
    /// The environment it is narrowed to.
    pub environment: Option<HeaderValue>,
}

impl Outbound {
    /// A request as it came.
    #[must_use]
    pub fn new(head: Parts) -> Self {
        Self { head, host: None, body: None, environment: None }
    }

    /// The environment it is narrowed to, if that can be one.
    pub(super) fn tag(&self) -> Option<&str> {
        self.environment.as_ref()?.to_str().ok()
    }

    /// Whether all of it has come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.body.as_ref().is_none_or(Upload::is_whole)
    }

    /// Nobody else is sent it: it was answered, or it cannot be.
    pub fn end(&self, exchange: &mut Exchange, answered: bool) {
        match &self.body {
            Some(body) if answered => body.forget(),
            Some(body) => exchange.unread = Body::Upload(body.rest()),
            None => {}
        }
    }
}
