//! From settings to a plan. Pure but for the files that settings name: whatever is wrong is found here, and said with
//! its place in the file.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use discovery::Policies;
use http::{HeaderName, HeaderValue, Method};
use model::ServiceId;
use settings::{Located, OrOff, SettingsError};
use transport::{
    io,
    tls::{Identity, ServerTls, Tickets},
};

use super::{
    Certificate, ClientTimeouts, Connections, Fixed, Limits, Listener, Names, Operations, Plan, Rule, Shedding,
    addresses, doubts, fallback, services,
};
use crate::{
    rewrite::{HostPolicy, Network, Rewriting, Trusted},
    route::{Rewrite, Route, Routes, When},
    settings::{self as typed, Settings},
};

/// Everything a file says, compiled.
#[derive(Debug)]
pub struct Compiled {
    /// For the data path.
    pub plan: Arc<Plan>,
    /// For discovery.
    pub policies: Policies,
    /// The registries, in order of precedence.
    pub sources: Vec<(String, discovery::Settings)>,
    /// For the rest of the program.
    pub operations: Operations,
    /// Rules nobody can reach, and other things that are allowed but hardly meant.
    pub warnings: Vec<String>,
}

/// What is made once for the process and outlives every plan.
#[derive(Debug)]
pub struct Made {
    /// Session tickets.
    pub tickets: Tickets,
    /// The certificate of TLS listeners that name none.
    pub identity: Identity,
}

/// Compiles the file. `files` receives the other files it names, also if it cannot be compiled: mending one of them may
/// be all that is needed.
///
/// # Errors
/// The first thing that is wrong.
pub fn compile(settings: &Settings, made: &Made, files: &mut Vec<PathBuf>) -> Result<Compiled, SettingsError> {
    plausible(settings)?;
    let limits = Limits::of_file(&settings.limits, &settings.timeouts);
    let services = services::compile(settings, &limits, files)?;
    let mut routed = HashSet::new();
    let routes = routes(settings, &services, &mut routed, files)?;
    let rewriting = rewriting(&settings.headers)?;
    let mut certificates = Vec::new();
    let plan = Plan {
        listeners: listeners(settings, made, files, &mut certificates)?,
        certificates,
        names: names(&settings.headers)?,
        services: services.limits.into_iter().map(|(name, limits)| (name.as_str().into(), limits)).collect(),
        patience: patience(&settings.clients),
        shedding: Shedding::of(&settings.shedding)?,
        connections: connections(&settings.limits, &rewriting.trusted),
        rewriting,
        limits: services.others,
        routes,
    };
    let mut warnings: Vec<String> = plan.routes.shadowed().iter().map(ToString::to_string).collect();
    let policies = Policies {
        default: Arc::clone(&services.default),
        services: services::with_hopeless(settings, &services.default, services.policies, &routed),
        routed,
        exposure: settings.expose.compile()?,
        first_use: settings.discovery.on_first_use.as_ref().map(typed::OnFirstUse::compile).transpose()?,
        environment: settings.environment.clone(),
        place: services::place(settings.zone.as_deref()),
        hold: settings.hold.get(),
        holds: services::holds(settings)?,
    };
    warnings.extend(doubts::all(settings, &policies));
    warnings.extend(services::first_use_warning(settings, &policies));
    let mut sources = Vec::new();
    for (name, source) in &settings.registries {
        source.check().map_err(|problem| SettingsError::at(name, problem))?;
        sources.push((name.to_string(), source.clone()));
    }
    if let Some(announce) = &settings.announce {
        announce.check().map_err(|problem| SettingsError::at(announce, problem))?;
    }
    let operations = Operations {
        admin: *settings.admin.address,
        drain_delay: settings.drain.delay.get(),
        drain_deadline: settings.drain.deadline.get(),
        announce: settings.announce.as_ref().map(|announce| (**announce).clone()),
        files: files.clone(),
        fixed: Fixed {
            threads: settings.threads.as_deref().copied(),
            log: settings.log.format,
            access_log: settings.access_log.clone(),
            directory: settings.discovery.directory.clone(),
        },
    };
    Ok(Compiled { plan: Arc::new(plan), policies, sources, operations, warnings })
}

/// Numbers, words and addresses that no start could use.
fn plausible(settings: &Settings) -> Result<(), SettingsError> {
    settings.log.check().map_err(|error| SettingsError::at(&settings.log, error.to_string()))?;
    for (name, number) in [
        ("connections", settings.limits.connections),
        ("connections_per_address", connections(&settings.limits, &Trusted::default()).of_address),
        ("streams", settings.limits.streams as usize),
        ("fields", settings.limits.fields),
    ] {
        if number == 0 {
            return Err(SettingsError::at(
                &settings.limits,
                format!("{name}: 0 would let nothing through; write at least 1"),
            ));
        }
    }
    if let Some(threads) = settings.threads.as_ref().filter(|threads| ***threads == 0) {
        return Err(SettingsError::at(
            threads,
            "0 threads serve nobody; write at least 1, or leave it out for one a core",
        ));
    }
    addresses::apart(settings)
}

/// Half of all connections for one address, unless that is so few that a single browser or test could need them.
fn connections(limits: &typed::Limits, trusted: &Trusted) -> Connections {
    const FEW: usize = 100;
    let of_address = match limits.connections_per_address {
        None => (limits.connections / 2).max(FEW),
        Some(OrOff(most)) => most.unwrap_or(usize::MAX),
    };
    Connections { all: limits.connections.max(1), of_address, exempt: trusted.clone() }
}

fn listeners(
    settings: &Settings,
    made: &Made,
    files: &mut Vec<PathBuf>,
    dated: &mut Vec<Certificate>,
) -> Result<Vec<Arc<Listener>>, SettingsError> {
    let mut listeners: Vec<Arc<Listener>> = Vec::new();
    let alone = [typed::Listener::default()];
    let typed = if settings.listeners.is_empty() { &alone[..] } else { &settings.listeners };
    for typed::Listener { address, tls } in typed {
        let tls = tls.as_ref().map(|tls| {
            let mut identities = Vec::new();
            for certificate in &tls.certificates {
                files.extend([certificate.chain.clone(), certificate.key.clone()]);
                let identity = Identity::from_files(&certificate.chain, &certificate.key);
                let identity = identity.map_err(|e| SettingsError::at(certificate, e.to_string()))?;
                let file = certificate.chain.clone();
                dated.extend(identity.expires().map(|expires| Certificate { file, expires }));
                identities.push(identity);
            }
            if identities.is_empty() {
                identities.push(made.identity.clone());
            }
            ServerTls::new(&identities, &made.tickets).map_err(|e| SettingsError::at(tls, e.to_string()))
        });
        listeners.push(Arc::new(Listener { address: **address, tls: tls.transpose()? }));
    }
    Ok(listeners)
}

fn routes(
    settings: &Settings,
    services: &services::Services,
    routed: &mut HashSet<ServiceId>,
    files: &mut Vec<PathBuf>,
) -> Result<Routes<Rule>, SettingsError> {
    let mut rules = Vec::new();
    for route in &settings.routes {
        let service = ServiceId::new(&route.service).map_err(|e| SettingsError::at(&route.service, e.to_string()))?;
        let limits = services.limits.get(&service).copied().unwrap_or(services.others);
        let total = typed::Timeouts { total: route.timeout, ..typed::Timeouts::default() };
        let limits = limits.with(&total, route.max_body).with(&route.timeouts, None);
        let limits = limits.tried(route.retries.as_ref(), route.hedge)?;
        let when = when(route)?;
        let name = route.name.clone().unwrap_or_else(|| when.to_string());
        let fallback = match &route.fallback {
            None => None,
            Some(typed) => {
                let (fallback, other) = fallback::compile(typed, &service, files)?;
                routed.extend(other);
                Some(fallback)
            }
        };
        routed.insert(service.clone());
        rules.push(Route {
            rewrite: rewrite(route)?,
            when,
            service,
            data: Rule { name, line: route.place().line, limits, fallback },
        });
    }
    Routes::new(rules).map_err(|error| SettingsError::at(&settings.routes[error.route], error.problem))
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

fn names(headers: &typed::Headers) -> Result<Names, SettingsError> {
    Ok(Names {
        service: headers.service.iter().map(header_name).collect::<Result<_, _>>()?,
        query: headers.service_query.as_deref().map(Into::into),
        environment: header_name(&headers.environment)?,
    })
}

fn rewriting(headers: &typed::Headers) -> Result<Rewriting, SettingsError> {
    let mut ours = headers.service.iter().map(header_name).collect::<Result<Vec<_>, _>>()?;
    ours.push(HeaderName::from_static("service_url"));
    let host = match &headers.host {
        typed::Host::Instance => HostPolicy::Instance,
        typed::Host::Preserve => HostPolicy::Preserve,
        typed::Host::Fixed(host) => {
            let bad = |_| SettingsError::at(host, format!("{:?} is no host; write name or name:port", **host));
            crate::authority::Authority::parse(host).map_err(bad)?;
            HostPolicy::Fixed(HeaderValue::from_str(host).map_err(|_| SettingsError::at(host, "is no host"))?)
        }
    };
    let network =
        |text: &Located<String>| text.parse::<Network>().map_err(|error| SettingsError::at(text, error.to_string()));
    let trusted: Trusted = headers.trusted_proxies.iter().map(network).collect::<Result<_, _>>()?;
    Ok(Rewriting { host, forwarded: headers.forwarded, via: headers.via, trusted, ours: ours.into() })
}

pub(super) fn header_name(name: &Located<String>) -> Result<HeaderName, SettingsError> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| SettingsError::at(name, format!("{:?} is no header name", **name)))
}

fn patience(clients: &typed::Clients) -> ClientTimeouts {
    ClientTimeouts {
        first_byte: clients.first_byte.get(),
        handshake: clients.handshake.get(),
        preface: clients.preface.get(),
        http1: io::ConnectionTimeouts {
            head: clients.head.get(),
            keep_alive: clients.keep_alive.get(),
            stall: clients.stall.get(),
        },
    }
}
