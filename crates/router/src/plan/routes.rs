//! `routes` compiled.

use std::{collections::HashSet, path::PathBuf};

use http::{HeaderValue, Method};
use model::ServiceId;
use settings::{Located, Mistakes, SettingsError};

use super::{Limits, Rule, compile::header_name, fallback, services::Services};
use crate::{
    route::{Rewrite, Route, Routes, When},
    settings::{self as typed, Settings},
};

/// All rules; none, if anything is wrong with one. `routed` receives the services they lead to.
pub(super) fn compile(
    settings: &Settings,
    services: &Services,
    routed: &mut HashSet<ServiceId>,
    files: &mut Vec<PathBuf>,
    mistakes: &mut Mistakes,
) -> Routes<Rule> {
    let rules = settings.routes.iter().map(|typed| rule(typed, services, routed, files, mistakes));
    let rules: Vec<Option<Route<Rule>>> = rules.collect();
    // Two of them may exclude each other, which is told by their numbers in the file.
    let whole = rules.into_iter().collect::<Option<_>>().unwrap_or_default();
    Routes::new(whole).unwrap_or_else(|errors| {
        for error in errors {
            mistakes.note(SettingsError::at(&settings.routes[error.route], error.problem));
        }
        Routes::default()
    })
}

fn rule(
    typed: &Located<typed::Route>,
    services: &Services,
    routed: &mut HashSet<ServiceId>,
    files: &mut Vec<PathBuf>,
    mistakes: &mut Mistakes,
) -> Option<Route<Rule>> {
    let service = ServiceId::new(&typed.service).map_err(|e| SettingsError::at(&typed.service, e.to_string()));
    let (service, when, rewrite) = (mistakes.keep(service), mistakes.keep(when(typed)), mistakes.keep(rewrite(typed)));
    let limits = service.as_ref().and_then(|service| services.limits.get(service)).unwrap_or(&services.others);
    let limits = mistakes.keep(limited(typed, limits));
    routed.extend(service.clone());
    let fallback = typed.fallback.as_ref().zip(service.as_ref());
    let fallback = fallback.and_then(|(typed, service)| mistakes.keep(fallback::compile(typed, service, files)));
    let fallback = fallback.map(|(fallback, other)| {
        routed.extend(other);
        fallback
    });
    let when = when?;
    let name = typed.name.clone().unwrap_or_else(|| when.to_string());
    let data = Rule { name, line: typed.place().line, limits: limits?, fallback };
    let route = Route { rewrite: rewrite?, when, service: service?, data };
    mistakes.keep(route.check().map_err(|problem| SettingsError::at(typed, problem)))?;
    Some(route)
}

/// The limits of its service, where it says nothing else.
fn limited(route: &typed::Route, limits: &Limits) -> Result<Limits, SettingsError> {
    let total = typed::Timeouts { total: route.timeout, ..typed::Timeouts::default() };
    let limits = limits.with(&total, route.max_body).with(&route.timeouts, None);
    limits.tried(route.retries.as_ref(), route.hedge)
}

fn when(route: &Located<typed::Route>) -> Result<When, SettingsError> {
    let mut methods = Vec::new();
    for method in &route.method.0 {
        let bad = || SettingsError::at(route, format!("{:?} is no method; write GET or [GET, POST]", **method));
        methods.push(Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map_err(|_| bad())?);
    }
    let mut headers = Vec::new();
    for (name, value) in &route.header {
        let name = header_name(name)?;
        let wanted = HeaderValue::from_str(value).map_err(|_| SettingsError::at(value, "is no header value"))?;
        headers.push((name, (wanted != "*").then_some(wanted)));
    }
    let any = |value: &Located<String>| (**value != "*").then(|| value.to_string());
    Ok(When {
        host: route.host.clone(),
        prefix: route.prefix.clone(),
        path: route.path.clone(),
        methods,
        headers,
        query: route.query.iter().map(|(name, value)| (name.to_string(), any(value))).collect(),
    })
}

fn rewrite(route: &Located<typed::Route>) -> Result<Rewrite, SettingsError> {
    match (&route.rewrite, route.strip_prefix) {
        (Some(_), true) => {
            Err(SettingsError::at(route, "strip_prefix and rewrite exclude each other; rewrite does both"))
        }
        (Some(new), false) => Ok(Rewrite::Replace(new.clone())),
        (None, true) => Ok(Rewrite::Strip),
        (None, false) => Ok(Rewrite::Keep),
    }
}
