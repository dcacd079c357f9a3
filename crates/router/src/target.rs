//! hot path
//!
//! Which service a request is for. In this order: the service header, the query parameter (if switched on), the
//! routes. A name that is present decides: if no such service is exposed the request is refused, never routed on.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Uri, request::Parts, uri::PathAndQuery};
use model::{Fields, Refusal};

use crate::{authority::Authority, exchange::Asked, hygiene, limits, path, plan::Current, query, route::Ask};

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

/// What of a request says which service it is for.
#[derive(Debug)]
pub struct Said<'a> {
    /// The service that a header or the query names; then no route is asked.
    pub named: Option<Asked>,
    /// The path in its normal form.
    pub path: Cow<'a, str>,
    /// The query, without the parameter that is ours.
    pub query: Option<Cow<'a, str>>,
}

/// Where a head with these fields goes. What two parsers could read differently, or what is too large, goes no further.
///
/// # Errors
/// Why it goes nowhere.
pub fn of(plan: &Current, head: &Parts, fields: Fields) -> Result<Target, Refusal> {
    let authority = hygiene::check(head, fields)?;
    limits::check_head(&plan.limits, head)?;
    find(plan, head, fields, authority.as_ref())
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
    let mut said = read(plan, head, fields)?;
    let (asked, outbound) = match said.named.take() {
        Some(named) => (named, Cow::Borrowed(said.path.as_ref())),
        None => {
            let found = plan.routes.find(&said.ask(head, authority)).ok_or(Refusal::NoRoute)?;
            (Asked::Route(found.index), found.outbound_path(&said.path))
        }
    };
    let environment = if fields.may_have(&plan.names.environment) { environment(plan, head)? } else { None };
    let uri = uri(head, &outbound, said.query.as_deref())?;
    Ok(Target { asked, environment, uri })
}

/// What of a head says which service it is for.
///
/// # Errors
/// [`Refusal::BadRequest`] for a path or name that cannot be read.
pub fn read<'a>(plan: &Current, head: &'a Parts, fields: Fields) -> Result<Said<'a>, Refusal> {
    let path = path::normalise(head.uri.path())?;
    let mut query = head.uri.query().map(Cow::Borrowed);
    let mut named = named(plan, head, fields)?;
    if let (Some(name), Some(text)) = (&plan.names.query, head.uri.query()) {
        if named.is_none()
            && let Some(service) = query::value(text, name)
        {
            named = Some(Asked::Name(service.as_ref().into()));
        }
        // Spoken to this router: an instance does not see it, whoever decided.
        query = Some(query::without_parameter(text, name)).filter(|rest| !rest.is_empty());
    }
    Ok(Said { named, path, query })
}

impl Said<'_> {
    /// What it shows to the routes.
    #[must_use]
    pub fn ask<'a>(&'a self, head: &'a Parts, authority: Option<&'a Authority<'_>>) -> Ask<'a> {
        Ask {
            host: authority.map(|a| a.host.as_ref()),
            method: &head.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &head.headers,
        }
    }
}

/// The header that names a service, if one does.
#[must_use]
pub fn naming<'a>(plan: &'a Current, head: &Parts) -> Option<&'a HeaderName> {
    plan.names.service.iter().find(|name| head.headers.get_all(*name).iter().any(|value| !value.is_empty()))
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
