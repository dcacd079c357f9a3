//! Who may register: whoever has the token.

use axum::http::{HeaderMap, header};
use settings::SecretSource;

use crate::Fault;

/// Where a token stands if not in `Authorization`.
const HEADER: &str = "x-registry-token";

/// The token writers must present, if there is one.
#[derive(Debug, Clone)]
pub(super) struct Token(Option<SecretSource>);

impl Token {
    /// An empty text, as `${TOKEN:}` without a variable gives, is no token.
    pub(super) fn new(source: Option<SecretSource>) -> Self {
        Self(source.filter(|s| !matches!(s, SecretSource::Inline(token) if token.is_empty())))
    }

    /// Whether a request with these headers may write. A token file is read each time, so a new token counts at once.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let Some(source) = &self.0 else { return Ok(()) };
        let token = source.read().map_err(|error| {
            tracing::error!(%error, "cannot read the registry's token; nobody can register");
            Fault::unavailable("the registry cannot read its token; its operator finds the cause in the log")
        })?;
        if token.is_empty() {
            tracing::error!("the registry's token file is empty; nobody can register");
            return Err(Fault::unavailable("the registry's token is empty; its operator must set one"));
        }
        match presented(headers) {
            Some(text) if token.matches(text) => Ok(()),
            _ => Err(Fault::unauthorized()),
        }
    }
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(text) = headers.get(HEADER) {
        return Some(text.as_bytes());
    }
    let text = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = text.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}
