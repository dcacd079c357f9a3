//! From settings to a plan. Pure but for the files that settings name: whatever is wrong is found here, and said with
//! its place in the file.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use discovery::Policies;
use http::{HeaderName, HeaderValue};
use settings::{Located, Mistakes, OrOff, Place, SettingsError};
use transport::{
    ClientTls, io,
    tls::{Identity, ServerTls, Tickets, Trust},
};

use super::{
    Certificate, ClientTimeouts, Connections, Fixed, Limits, Listener, Names, Operations, Plan, Shedding, addresses,
    doubts, routes, services,
};
use crate::{
    rewrite::{HostPolicy, Network, Rewriting, Trusted},
    settings::{self as typed, Settings},
};

/// Until what is wrong with its name is mended.
const ENVIRONMENT: HeaderName = HeaderName::from_static("env_tag");

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
/// All that is wrong: one mistake for each service, or part of it, each part of a route, each registry and so on.
pub fn compile(settings: &Settings, made: &Made, files: &mut Vec<PathBuf>) -> Result<Compiled, Mistakes> {
    let mut mistakes = Mistakes::default();
    let system = ClientTls::new(&Trust::default());
    let system = system.map_err(|error| SettingsError::new(Place::default(), error.to_string()))?;
    let compiled = with_stand_ins(settings, made, Arc::new(system), files, &mut mistakes);
    mistakes.unless(compiled)
}

/// Compiles the file, with a stand-in for whatever is wrong.
fn with_stand_ins(
    settings: &Settings,
    made: &Made,
    system: Arc<ClientTls>,
    files: &mut Vec<PathBuf>,
    mistakes: &mut Mistakes,
) -> Compiled {
    plausible(settings, mistakes);
    let limits = Limits::of_file(&settings.limits, &settings.timeouts);
    let services = services::compile(settings, &limits, system, files, mistakes);
    let mut routed = HashSet::new();
    let routes = routes::compile(settings, &services, &mut routed, files, mistakes);
    let rewriting = rewriting(&settings.headers, mistakes);
    let mut certificates = Vec::new();
    let plan = Plan {
        listeners: listeners(settings, made, files, &mut certificates, mistakes),
        certificates,
        names: names(&settings.headers, mistakes),
        services: services.limits.into_iter().map(|(name, limits)| (name.as_str().into(), limits)).collect(),
        patience: patience(&settings.clients),
        shedding: mistakes.or(Shedding::of(&settings.shedding), &Shedding::OFF),
        connections: connections(&settings.limits, &rewriting.trusted),
        rewriting,
        limits: services.others,
        routes,
    };
    let mut warnings: Vec<String> = plan.routes.shadowed().iter().map(ToString::to_string).collect();
    let first_use = settings.discovery.on_first_use.as_ref().map(typed::OnFirstUse::compile);
    let policies = Policies {
        default: Arc::clone(&services.default),
        services: services::with_hopeless(settings, &services.default, services.policies, &routed),
        routed,
        exposure: settings.expose.compile(mistakes),
        first_use: first_use.and_then(|first_use| mistakes.keep(first_use)),
        environment: settings.environment.clone(),
        place: services::place(settings.zone.as_deref()),
        hold: settings.hold.get(),
        holds: services::holds(settings, mistakes),
    };
    warnings.extend(doubts::all(settings, &policies));
    warnings.extend(services::first_use_warning(settings, &policies));
    let sources = sources(settings, mistakes);
    if let Some(announce) = &settings.announce {
        mistakes.keep(announce.check().map_err(|problem| SettingsError::at(announce, problem)));
    }
    Compiled { plan: Arc::new(plan), policies, sources, operations: operations(settings, files), warnings }
}

fn sources(settings: &Settings, mistakes: &mut Mistakes) -> Vec<(String, discovery::Settings)> {
    let source = |(name, source): &(Located<String>, discovery::Settings)| {
        mistakes.keep(source.check().map_err(|problem| SettingsError::at(name, problem)));
        (name.to_string(), source.clone())
    };
    settings.registries.iter().map(source).collect()
}

fn operations(settings: &Settings, files: &[PathBuf]) -> Operations {
    Operations {
        admin: *settings.admin.address,
        drain_delay: settings.drain.delay.get(),
        drain_deadline: settings.drain.deadline.get(),
        announce: settings.announce.as_ref().map(|announce| (**announce).clone()),
        files: files.to_vec(),
        fixed: Fixed {
            threads: settings.threads.as_deref().copied(),
            log: settings.log.format,
            access_log: (*settings.access_log).clone(),
            directory: settings.discovery.directory.clone(),
        },
    }
}

/// Numbers, words and addresses that no start could use.
fn plausible(settings: &Settings, mistakes: &mut Mistakes) {
    mistakes.keep(settings.log.check().map_err(|error| SettingsError::at(&settings.log, error.to_string())));
    for (name, number) in [
        ("connections", settings.limits.connections),
        ("connections_per_address", connections(&settings.limits, &Trusted::default()).of_address),
        ("streams", settings.limits.streams as usize),
        ("fields", settings.limits.fields),
    ] {
        if number == 0 {
            let text = format!("{name}: 0 would let nothing through; write at least 1");
            mistakes.note(SettingsError::at(&settings.limits, text));
        }
    }
    if let Some(threads) = settings.threads.as_ref().filter(|threads| ***threads == 0) {
        let text = "0 threads serve nobody; write at least 1, or leave it out for one a core";
        mistakes.note(SettingsError::at(threads, text));
    }
    addresses::apart(settings, mistakes);
    addresses::folders_apart(settings, mistakes);
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
    mistakes: &mut Mistakes,
) -> Vec<Arc<Listener>> {
    let mut listeners: Vec<Arc<Listener>> = Vec::new();
    let alone = [typed::Listener::default()];
    let typed = if settings.listeners.is_empty() { &alone[..] } else { &settings.listeners };
    for typed::Listener { address, tls } in typed {
        let tls = tls.as_ref().and_then(|tls| {
            let mut identities = Vec::new();
            for certificate in &tls.certificates {
                files.extend([certificate.chain.clone(), certificate.key.clone()]);
                let identity = Identity::from_files(&certificate.chain, &certificate.key);
                let identity = identity.map_err(|e| SettingsError::at(certificate, e.to_string()));
                let identity = mistakes.or(identity, &made.identity);
                let file = certificate.chain.clone();
                dated.extend(identity.expires().map(|expires| Certificate { file, expires }));
                identities.push(identity);
            }
            if identities.is_empty() {
                identities.push(made.identity.clone());
            }
            let tls = ServerTls::new(&identities, &made.tickets).map_err(|e| SettingsError::at(tls, e.to_string()));
            mistakes.keep(tls)
        });
        listeners.push(Arc::new(Listener { address: **address, tls }));
    }
    listeners
}

fn names(headers: &typed::Headers, mistakes: &mut Mistakes) -> Names {
    Names {
        // What is wrong with them `rewriting` says.
        service: headers.service.iter().filter_map(|name| header_name(name).ok()).collect(),
        query: headers.service_query.as_deref().map(Into::into),
        environment: mistakes.or(header_name(&headers.environment), &ENVIRONMENT),
    }
}

fn rewriting(headers: &typed::Headers, mistakes: &mut Mistakes) -> Rewriting {
    let mut ours: Vec<HeaderName> = mistakes.all(headers.service.iter().map(header_name));
    ours.push(HeaderName::from_static("service_url"));
    let network =
        |text: &Located<String>| text.parse::<Network>().map_err(|error| SettingsError::at(text, error.to_string()));
    Rewriting {
        host: mistakes.or(host(&headers.host), &HostPolicy::Instance),
        forwarded: headers.forwarded,
        via: headers.via,
        trusted: mistakes.all(headers.trusted_proxies.iter().map(network)),
        ours: ours.into(),
    }
}

fn host(typed: &typed::Host) -> Result<HostPolicy, SettingsError> {
    Ok(match typed {
        typed::Host::Instance => HostPolicy::Instance,
        typed::Host::Preserve => HostPolicy::Preserve,
        typed::Host::Fixed(host) => {
            let bad = |_| SettingsError::at(host, format!("{:?} is no host; write name or name:port", **host));
            crate::authority::Authority::parse(host).map_err(bad)?;
            HostPolicy::Fixed(HeaderValue::from_str(host).map_err(|_| SettingsError::at(host, "is no host"))?)
        }
    })
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
