//! Who asks, and what that token may do.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use discovery::provider::embedded::{Rights, Settings, Token};

use settings::Secret;
use tokio::time::sleep;

use super::tokens::{FRESH, Tokens};
use crate::Fault;

/// Where a token stands if not in `Authorization`.
const HEADER: &str = "x-registry-token";

/// How often a token that cannot be read is looked at, with [`FRESH`] between two looks.
const LOOKS: usize = 4;

/// One who asks.
#[derive(Debug)]
pub(super) struct Caller {
    settings: Arc<Settings>,
    who: Who,
    /// What it showed, if that let it in.
    secret: Option<Secret>,
}

/// By what right.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    /// Nobody needs a token.
    Anybody,
    /// Reading needs none.
    Reader,
    /// Who has `token`.
    Master,
    /// Who has the token of this place in `tokens`.
    Holder(usize),
}

impl Caller {
    /// Who sends these headers, by the tokens as they were within the last second. Every token is compared, so the time
    /// taken does not tell which was nearly right.
    pub(super) async fn of(settings: Arc<Settings>, tokens: &Tokens, headers: &HeaderMap) -> Result<Self, Fault> {
        if settings.is_open() {
            return Ok(Self { settings, who: Who::Anybody, secret: None });
        }
        let presented = presented(headers);
        let read = tokens.now(&settings).await;
        let mut found = None;
        for (who, secret) in &read.secrets {
            if presented.is_some_and(|p| secret.matches(p)) {
                found = found.or_else(|| Some((*who, secret.clone())));
            }
        }
        match found {
            Some((who, secret)) => Ok(Self { settings, who, secret: Some(secret) }),
            None if !read.faults.is_empty() => Err(Fault::unavailable(
                "the registry cannot read one of its tokens, or it is empty; its operator finds the cause in the log",
            )),
            None => Err(Fault::unauthorized()),
        }
    }

    /// One who only reads, where that needs no token.
    pub(super) fn reader(settings: Arc<Settings>) -> Self {
        Self { settings, who: Who::Reader, secret: None }
    }

    /// The name for the audit trail.
    pub(super) fn name(&self) -> &str {
        match self.who {
            Who::Anybody | Who::Reader => "anonymous",
            Who::Master => "token",
            Who::Holder(at) => self.holder(at).map_or("anonymous", |(name, _)| name),
        }
    }

    /// What it may do.
    pub(super) fn rights(&self) -> Rights<'_> {
        match self.who {
            Who::Anybody | Who::Master => Rights::All,
            Who::Reader => Rights::Read,
            Who::Holder(at) => self.holder(at).map_or(Rights::Read, |(_, token)| Rights::Of(token)),
        }
    }

    /// Refuses one who may not change this service.
    pub(super) fn may_write(&self, service: &str) -> Result<(), Fault> {
        if self.rights().may_write(service) { Ok(()) } else { Err(self.refused("write", service)) }
    }

    /// Refuses one who may not see this service.
    pub(super) fn may_read(&self, service: &str) -> Result<(), Fault> {
        if self.rights().may_read(service) { Ok(()) } else { Err(self.refused("read", service)) }
    }

    /// Whether the registry's settings are still those by which it was let in, and its token is one of them. One that
    /// cannot be read is looked at again for some seconds: a file that is written anew is empty before.
    pub(super) async fn is_current(&self, settings: &Arc<Settings>, tokens: &Tokens) -> bool {
        if !Arc::ptr_eq(&self.settings, settings) {
            return false;
        }
        let Some(shown) = &self.secret else { return true };
        for _ in 0..LOOKS {
            let read = tokens.now(settings).await;
            if read.secrets.iter().any(|(_, secret)| secret.matches(shown.expose().as_bytes())) {
                return true;
            }
            if !read.faults.contains_key(self.name()) {
                return false;
            }
            sleep(FRESH).await;
        }
        false
    }

    fn holder(&self, at: usize) -> Option<(&str, &Token)> {
        (*self.settings.tokens).get(at).map(|(name, token)| (name.as_str(), token))
    }

    fn refused(&self, verb: &str, service: &str) -> Fault {
        Fault::forbidden(format!(
            "the token {:?} may not {verb} service {service:?}; the registry's `tokens` say what it may",
            self.name()
        ))
    }
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().as_bytes())
    });
    bearer.or_else(|| headers.get(HEADER).map(axum::http::HeaderValue::as_bytes))
}
