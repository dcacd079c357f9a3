//! Who asks, and what that token may do.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use discovery::provider::embedded::{Rights, Settings, Token};
use settings::SecretSource;

use crate::Fault;

/// Where a token stands if not in `Authorization`.
const HEADER: &str = "x-registry-token";

/// One who asks.
#[derive(Debug)]
pub(super) struct Caller {
    settings: Arc<Settings>,
    who: Who,
}

#[derive(Debug, Clone, Copy)]
enum Who {
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
    /// Who sends these headers. Token files are read each time, so a new token counts at once; every token is compared,
    /// so the time taken does not tell which was nearly right.
    pub(super) fn of(settings: Arc<Settings>, headers: &HeaderMap) -> Result<Self, Fault> {
        if settings.is_open() {
            return Ok(Self { settings, who: Who::Anybody });
        }
        let presented = presented(headers);
        let master = settings.master().map(|source| (Who::Master, "token", source));
        let named = settings.tokens.iter().enumerate();
        let named = named.map(|(at, (name, token))| (Who::Holder(at), name.as_str(), &token.secret));
        let (mut found, mut unusable) = (None, false);
        for (who, name, source) in master.into_iter().chain(named) {
            match read(name, source) {
                Some(secret) if presented.is_some_and(|p| secret.matches(p)) => found = found.or(Some(who)),
                Some(_) => {}
                None => unusable = true,
            }
        }
        match found {
            Some(who) => Ok(Self { settings, who }),
            None if unusable => Err(Fault::unavailable(
                "the registry cannot read one of its tokens, or it is empty; its operator finds the cause in the log",
            )),
            None => Err(Fault::unauthorized()),
        }
    }

    /// One who only reads, where that needs no token.
    pub(super) fn reader(settings: Arc<Settings>) -> Self {
        Self { settings, who: Who::Reader }
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

    /// Whether the registry's settings are still those by which it was let in.
    pub(super) fn is_current(&self, settings: &Arc<Settings>) -> bool {
        Arc::ptr_eq(&self.settings, settings)
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

/// The secret as it is now; `None`, and a line in the log, if it cannot be used.
fn read(name: &str, source: &SecretSource) -> Option<settings::Secret> {
    match source.read() {
        Ok(secret) if secret.is_empty() => {
            tracing::error!(token = name, "a token file of the registry is empty; nobody can use that token");
            None
        }
        Ok(secret) => Some(secret),
        Err(error) => {
            tracing::error!(token = name, %error, "cannot read a token of the registry; nobody can use it");
            None
        }
    }
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().as_bytes())
    });
    bearer.or_else(|| headers.get(HEADER).map(axum::http::HeaderValue::as_bytes))
}
