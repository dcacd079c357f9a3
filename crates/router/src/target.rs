//! hot path
//!
//! Which service a request is for. In this order: the service header, the query parameter (if switched on), the
//! routes. A name that is present decides: if no such service is exposed the request is refused, never routed on.

use std::borrow::Cow;

use http::{HeaderValue, Uri, request::Parts, uri::PathAndQuery};
use model::{Fields, Refusal};

use crate::{authority::Authority, exchange::Asked, path, plan::Current, query, route::Ask};

/// Where a request goes.
#[derive(Debug)]
pub struct Target {
    /// The service, and who named it.
    pub asked: Asked,
    /// The environment it is narrowed to.
    pub environment: Option<HeaderValue>,
    /// Path and query for the instance.
    pub uri: Uri,
}

/// Finds, for a head with these fields, the service and the path its instance will see.
///
/// # Errors
/// [`Refusal::NoRoute`], or [`Refusal::BadRequest`] for a path, name or environment that cannot be read.
pub fn find(
    plan: &Current,
    head: &Parts,
    fields: Fields,
    authority: Option<&Authority<'_>>,
) -> Result<Target, Refusal> {
    let names = &plan.names;
    let path = path::normalise(head.uri.path())?;
    let mut query = head.uri.query().map(Cow::Borrowed);
    let mut asked = named(plan, head, fields)?;
    if let (Some(name), Some(text)) = (&names.query, head.uri.query()) {
        if asked.is_none()
            && let Some(service) = query::value(text, name)
        {
            asked = Some(Asked::Name(service.as_ref().into()));
        }
        // Spoken to this router: an instance does not see it, whoever decided.
        query = Some(query::without_parameter(text, name)).filter(|rest| !rest.is_empty());
    }
    let outbound = match asked {
        Some(_) => Cow::Borrowed(path.as_ref()),
        None => {
            let ask = Ask {
                host: authority.map(|a| a.host.as_ref()),
                method: &head.method,
                path: &path,
                query: query.as_deref(),
                headers: &head.headers,
            };
            let found = plan.routes.find(&ask).ok_or(Refusal::NoRoute)?;
            asked = Some(Asked::Route(found.index));
            found.outbound_path(&path)
        }
    };
    let environment = if fields.may_have(&names.environment) { environment(plan, head)? } else { None };
    let uri = uri(head, &outbound, query.as_deref())?;
    asked.map(|asked| Target { asked, environment, uri }).ok_or(Refusal::NoRoute)
}

/// The service a header names. Two different names are ambiguous.
fn named(plan: &Current, head: &Parts, fields: Fields) -> Result<Option<Asked>, Refusal> {
    let mut service: Option<&HeaderValue> = None;
    for name in plan.names.service.iter().filter(|name| fields.may_have(name)) {
        for value in head.headers.get_all(name) {
            match service {
                Some(earlier) if earlier != value => {
                    return Err(Refusal::BadRequest("the request names two services"));
                }
                _ => service = Some(value),
            }
        }
    }
    let Some(service) = service.filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = service.to_str().map_err(|_| Refusal::BadRequest("the service name is not ASCII"))?;
    Ok(Some(Asked::Name(text.into())))
}

/// The environment that is named. Two different ones are ambiguous.
fn environment(plan: &Current, head: &Parts) -> Result<Option<HeaderValue>, Refusal> {
    let mut tags = head.headers.get_all(&plan.names.environment).iter().filter(|tag| !tag.is_empty());
    let environment = tags.next();
    if tags.any(|other| Some(other) != environment) {
        return Err(Refusal::BadRequest("the request names two environments"));
    }
    Ok(environment.cloned())
}

/// Path and query for the instance; the client's own bytes if nothing changed.
fn uri(head: &Parts, path: &str, query: Option<&str>) -> Result<Uri, Refusal> {
    let same = head.uri.path_and_query().filter(|_| path == head.uri.path() && query == head.uri.query());
    let path_and_query = match (same, query) {
        (Some(same), _) => same.clone(),
        (None, None) => PathAndQuery::try_from(path).map_err(|_| BAD)?,
        (None, Some(query)) => PathAndQuery::try_from([path, "?", query].concat()).map_err(|_| BAD)?,
    };
    Ok(Uri::from(path_and_query))
}

const BAD: Refusal = Refusal::BadRequest("the path is malformed");
