//! The token, and whether Consul ever knew it.

use std::sync::{Arc, Mutex, PoisonError};

use ::settings::Secret;
use http::{HeaderMap, HeaderValue};
use model::ProviderError;

use super::settings::Settings;

/// The last token that was accepted, over all lives of a source: Consul says the same of one that has expired and of one
/// that never was, but what an operator has to do differs.
#[derive(Debug, Clone, Default)]
pub(super) struct Accepted(Arc<Mutex<Option<Secret>>>);

impl Accepted {
    /// A question with this token was answered.
    pub(super) fn note(&self, token: Option<&Secret>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token.cloned();
    }

    pub(super) fn knows(&self, token: Option<&Secret>) -> bool {
        token.is_some() && self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == token
    }
}

/// The token as it is now; `None` is the anonymous one.
pub(super) fn read(settings: &Settings) -> Result<Option<Secret>, ProviderError> {
    let Some(source) = &settings.token else { return Ok(None) };
    let token = source.read().map_err(|e| ProviderError::Failed(e.to_string()))?;
    Ok((!token.is_empty()).then_some(token))
}

/// The header fields of every question.
pub(super) fn headers(token: Option<&Secret>) -> Result<HeaderMap, ProviderError> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(token.expose())
            .map_err(|_| ProviderError::Failed("the token holds characters that no header may hold".to_owned()))?;
        value.set_sensitive(true);
        headers.insert("x-consul-token", value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_that_was_accepted_last_is_known() {
        let (old, new) = (Secret::from("old".to_owned()), Secret::from("new".to_owned()));
        let accepted = Accepted::default();
        assert!(!accepted.knows(Some(&old)) && !accepted.knows(None));
        accepted.note(Some(&old));
        assert!(accepted.knows(Some(&old)) && !accepted.knows(Some(&new)));
        accepted.note(None);
        assert!(!accepted.knows(Some(&old)) && !accepted.knows(None), "the anonymous one does not expire");
    }
}
