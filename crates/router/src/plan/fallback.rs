//! `routes[].fallback` compiled.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use model::{Refusal, ServiceId};
use settings::{Located, SettingsError};

use crate::settings as typed;

/// What a client gets when the service of a route cannot take its request.
#[derive(Debug, Clone)]
pub struct Fallback {
    /// What it gets.
    pub instead: Instead,
    /// Statuses that mean the same.
    statuses: Box<[StatusCode]>,
}

/// What is answered in the place of the service.
#[derive(Debug, Clone)]
pub enum Instead {
    /// What another service answers.
    Service(Arc<str>),
    /// This.
    Static {
        /// The status.
        status: StatusCode,
        /// The media type of the body, if there is one.
        content_type: Option<HeaderValue>,
        /// The body.
        body: Bytes,
    },
}

impl Fallback {
    /// Whether a request that was refused so gets it: nobody was there to take it, or its status says the same.
    #[must_use]
    pub fn is_for(&self, refusal: &Refusal) -> bool {
        let nobody = matches!(
            refusal,
            Refusal::NoInstance
                | Refusal::HoldTimeout
                | Refusal::CircuitOpen(_)
                | Refusal::Connect
                | Refusal::Unresolved
                | Refusal::Overloaded
                | Refusal::ServiceFull
                | Refusal::QueueTimeout
        );
        nobody || self.is_for_status(refusal.status())
    }

    /// Whether a request that was answered so gets it.
    #[must_use]
    pub fn is_for_status(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status)
    }
}

/// Compiles one. The service it names, if it names one, counts as routed.
pub(super) fn compile(
    typed: &Located<typed::Fallback>,
    route: &ServiceId,
    files: &mut Vec<PathBuf>,
) -> Result<(Fallback, Option<ServiceId>), SettingsError> {
    let fail = |text: &str| Err(SettingsError::at(typed, text));
    let status_of = |number: u16| match StatusCode::from_u16(number) {
        Ok(status) if (200..600).contains(&number) => Ok(status),
        _ => Err(SettingsError::at(typed, format!("{number} is no status of an answer; write 200 to 599"))),
    };
    let mut statuses = Vec::new();
    for number in &typed.on_status.0 {
        match number {
            502..=504 => statuses.push(status_of(*number)?),
            _ => return fail("on_status: only 502, 503 and 504 say that nobody took the request"),
        }
    }
    let fixed = typed.body.is_some() || typed.file.is_some() || typed.content_type.is_some();
    let (instead, routed) = match (&typed.service, typed.status) {
        (Some(_), Some(_)) => return fail("service and status exclude each other; keep one"),
        (Some(_), None) if fixed => return fail("body, file and content_type belong to status, not to service"),
        (None, None) => return fail("say what to answer: service, or status with body or file"),
        (Some(name), None) => {
            let service = ServiceId::new(name).map_err(|error| SettingsError::at(name, error.to_string()))?;
            if service == *route {
                return Err(SettingsError::at(name, "is the service of the route itself; name another one"));
            }
            (Instead::Service(service.as_str().into()), Some(service))
        }
        (None, Some(status)) => (fixed_answer(typed, status_of(status)?, files)?, None),
    };
    Ok((Fallback { instead, statuses: statuses.into() }, routed))
}

fn fixed_answer(
    typed: &Located<typed::Fallback>,
    status: StatusCode,
    files: &mut Vec<PathBuf>,
) -> Result<Instead, SettingsError> {
    let body = match (&typed.body, &typed.file) {
        (Some(_), Some(_)) => return Err(SettingsError::at(typed, "body and file exclude each other; keep one")),
        (Some(body), None) => Bytes::from(body.clone()),
        (None, None) => Bytes::new(),
        (None, Some(file)) => {
            files.push(file.clone());
            let read = std::fs::read(file);
            let text = |error| format!("cannot read {}: {error}", file.display());
            Bytes::from(read.map_err(|error| SettingsError::at(typed, text(error)))?)
        }
    };
    if !body.is_empty() && (status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED) {
        return Err(SettingsError::at(typed, format!("an answer of status {} has no body", status.as_u16())));
    }
    let content_type = match &typed.content_type {
        Some(kind) => Some(
            HeaderValue::from_str(kind)
                .map_err(|_| SettingsError::at(kind, format!("{:?} is no header value", **kind)))?,
        ),
        None if body.is_empty() => None,
        None => Some(HeaderValue::from_static("text/plain; charset=utf-8")),
    };
    Ok(Instead::Static { status, content_type, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<(Fallback, Option<ServiceId>), String> {
        let typed: Located<typed::Fallback> =
            settings::parse(yaml, std::path::Path::new("router.yml"), &|_| None).unwrap();
        compile(&typed, &ServiceId::new("pets").unwrap(), &mut Vec::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn nonsense_is_found_and_said_what_to_write() {
        for (yaml, expected) in [
            ("{}", "say what to answer"),
            ("{ service: a, status: 200 }", "exclude each other"),
            ("{ service: a, body: b }", "belong to status"),
            ("{ service: pets }", "name another one"),
            ("{ status: 99 }", "no status of an answer"),
            ("{ status: 204, body: a }", "has no body"),
            ("{ status: 200, body: a, file: b }", "keep one"),
            ("{ status: 200, file: no/such/file }", "cannot read no/such/file"),
            ("{ status: 200, on_status: 404 }", "only 502, 503 and 504"),
        ] {
            let error = read(yaml).unwrap_err();
            assert!(error.contains(expected), "{yaml}: {error}");
        }
    }

    #[test]
    fn it_stands_in_where_nobody_was_there_and_for_statuses_that_are_named() {
        let (plain, routed) = read("{ service: others }").unwrap();
        assert_eq!(routed, Some(ServiceId::new("others").unwrap()));
        assert!(plain.is_for(&Refusal::NoInstance) && plain.is_for(&Refusal::Connect));
        assert!(plain.is_for(&Refusal::Unresolved));
        assert!(!plain.is_for(&Refusal::Reset) && !plain.is_for(&Refusal::ClientGone));
        let (wide, _) = read("{ status: 200, on_status: [ 502, 503 ] }").unwrap();
        assert!(wide.is_for(&Refusal::Reset) && wide.is_for_status(StatusCode::SERVICE_UNAVAILABLE));
        assert!(!wide.is_for(&Refusal::HeadTimeout) && !wide.is_for(&Refusal::BadRequest("why")));
    }
}
