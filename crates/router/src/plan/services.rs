//! `services:` compiled.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use balancer::Place;
use discovery::{Policies, Policy, Rules, WarmHold, claims::Merge, health::Check};
use model::ServiceId;
use settings::{Located, Mistakes, SettingsError, Span};
use transport::{ClientTls, client::TlsSettings, tls::Trust};

use super::{Limits, balance, bounds, doubts, guard};
use crate::settings::{self as typed, Service, ServiceTls, Settings};

/// What `services:` says.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) default: Arc<Policy>,
    pub(super) policies: HashMap<ServiceId, Arc<Policy>>,
    pub(super) limits: HashMap<ServiceId, Limits>,
    /// Of services without an entry of their own.
    pub(super) others: Limits,
}

pub(super) fn compile(
    settings: &Settings,
    limits: &Limits,
    system: Arc<ClientTls>,
    files: &mut Vec<PathBuf>,
    mistakes: &mut Mistakes,
) -> Services {
    let none = Service::default();
    let all = settings.services.get("*").unwrap_or(&none);
    let unsaid = Policy { balance: balance::default(), bounds: bounds::of_file(settings), ..Policy::new(system) };
    let default = policy(settings, all, &unsaid, files, mistakes);
    let others = limits.with(&all.timeouts, all.max_body);
    let others = mistakes.or(others.with_answers(all.max_answer_fields.as_ref()), &others);
    let others = mistakes.or(others.tried(all.retries.as_ref(), all.hedge), &others);
    let (mut policies, mut own_limits) = (HashMap::new(), HashMap::new());
    for (name, service) in settings.services.iter().filter(|(name, _)| **name != "*") {
        let limits = others.with(&service.timeouts, service.max_body);
        let limits = mistakes.or(limits.with_answers(service.max_answer_fields.as_ref()), &limits);
        let limits = mistakes.or(limits.tried(service.retries.as_ref(), service.hedge), &limits);
        let policy = Arc::new(policy(settings, service, &default, files, mistakes));
        let id = ServiceId::new(name).map_err(|e| SettingsError::at(name, e.to_string()));
        let Some(id) = mistakes.keep(id) else { continue };
        own_limits.insert(id.clone(), limits);
        policies.insert(id, policy);
    }
    Services { default: Arc::new(default), policies, limits: own_limits, others }
}

/// The policies, so that no request waits for an instance of a service that no source can ever bring.
pub(super) fn with_hopeless(
    settings: &Settings,
    default: &Arc<Policy>,
    mut policies: HashMap<ServiceId, Arc<Policy>>,
    routed: &HashSet<ServiceId>,
) -> HashMap<ServiceId, Arc<Policy>> {
    let Some(foreseen) = doubts::foreseen(settings) else { return policies };
    for service in routed.iter().filter(|service| !foreseen.contains(service)) {
        let policy = policies.entry(service.clone()).or_insert_with(|| Arc::clone(default));
        Arc::make_mut(policy).bounds.hold = WarmHold::Off;
    }
    policies
}

/// What a service says; what it leaves out is that of all.
fn policy(
    settings: &Settings,
    service: &Service,
    all: &Policy,
    files: &mut Vec<PathBuf>,
    mistakes: &mut Mistakes,
) -> Policy {
    Policy {
        balance: mistakes.or(balance::balance(settings, service, &all.balance), &all.balance),
        sticky: mistakes.or(balance::sticky(service, all.sticky.as_ref(), files), &all.sticky),
        protocol: service.protocol.or(all.protocol),
        tls: match &service.tls {
            Some(typed) => mistakes.or(trust(typed, files), &all.tls),
            None => Arc::clone(&all.tls),
        },
        rules: mistakes.or(rules(settings, service, &all.rules), &all.rules),
        bounds: mistakes.or(bounds::with(all.bounds, service), &all.bounds),
        checks: mistakes.or(checks(service, &all.checks), &all.checks),
        guard: guard::with(&all.guard, service, mistakes),
    }
}

/// What is made of what registries say of a service; what it leaves out is that of all.
fn rules(settings: &Settings, service: &Service, all: &Rules) -> Result<Rules, SettingsError> {
    let merge = match &service.merge {
        None => all.merge.clone(),
        Some(typed) => match &**typed {
            typed::Merge::Union => Merge::Union,
            typed::Merge::First => Merge::First,
            typed::Merge::Weighted(shares) => {
                if shares.iter().all(|(_, share)| *share == 0) {
                    return Err(SettingsError::at(typed, "weighted: give at least one registry a share above 0"));
                }
                let share = |(name, share): &(Located<String>, u16)| Ok((registry(settings, name)?, *share));
                Merge::Weighted(shares.iter().map(share).collect::<Result<_, _>>()?)
            }
        },
    };
    let max_stale = service.max_stale.map(|stale| (stale.after.get(), stale.action)).or(all.max_stale);
    Ok(Rules { merge, hold: service.hold.map(Span::get).or(all.hold), max_stale })
}

/// How a service is checked; what it leaves out is as for all.
fn checks(service: &Service, all: &Arc<[Check]>) -> Result<Arc<[Check]>, SettingsError> {
    service.check.as_ref().map_or_else(|| Ok(Arc::clone(all)), |typed| super::checks::compile(&typed.0))
}

/// `discovery.hold` compiled.
pub(super) fn holds(settings: &Settings, mistakes: &mut Mistakes) -> HashMap<Arc<str>, Duration> {
    let holds = settings.discovery.hold.iter();
    mistakes.all(holds.map(|(name, hold)| Ok((registry(settings, name)?, hold.get()))))
}

/// What makes subscription on first use do nothing.
pub(super) fn first_use_warning(settings: &Settings, policies: &Policies) -> Option<String> {
    policies.first_use.as_ref()?;
    let why = if !policies.exposure.needs_catalog() {
        "no name is exposed by a pattern: write expose: { service: [ \"com.example.*\" ] } or { tag: public }"
    } else if !settings.registries.iter().any(|(_, registry)| registry.is_asked_by_name()) {
        "no registry is asked service by service: only consul, zookeeper and dns are"
    } else {
        return None;
    };
    Some(format!("discovery.on_first_use does nothing: {why}"))
}

/// The name of a registry of this file.
fn registry(settings: &Settings, name: &Located<String>) -> Result<Arc<str>, SettingsError> {
    if settings.registries.get(name).is_some() {
        return Ok(name.as_str().into());
    }
    let known: Vec<&str> = settings.registries.iter().map(|(name, _)| name.as_str()).collect();
    let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are: {}", known.join(", ")) };
    Err(SettingsError::at(name, format!("no registry has the name {:?}; {known}", **name)))
}

fn trust(typed: &Located<ServiceTls>, files: &mut Vec<PathBuf>) -> Result<Arc<ClientTls>, SettingsError> {
    let TlsSettings { ca, client_certificate, client_key, server_name } = typed.certificates.clone();
    let identity = match (client_certificate, client_key) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        _ => {
            return Err(SettingsError::at(typed, "client_certificate and client_key belong together; give both"));
        }
    };
    files.extend(ca.clone());
    files.extend(identity.iter().flat_map(|(chain, key)| [chain.clone(), key.clone()]));
    let trust = Trust { ca, server_name, identity, verify: typed.verify };
    ClientTls::new(&trust).map(Arc::new).map_err(|e| SettingsError::at(typed, e.to_string()))
}

/// Where this router runs: loopback, and the addresses packets leave this host from. No packet is sent to find out.
pub(super) fn place(zone: Option<&str>) -> Place {
    let outward = |bind: &str, to: &str| {
        let socket = std::net::UdpSocket::bind(bind).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    // Addresses reserved for documentation (RFC 5737, RFC 3849): connecting a datagram socket only asks the routing table.
    let found = [outward("0.0.0.0:0", "192.0.2.1:9"), outward("[::]:0", "[2001:db8::1]:9")];
    let mut addresses: Vec<IpAddr> = found.into_iter().flatten().collect();
    addresses.extend([IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]);
    Place { addresses, zone: zone.map(Into::into) }
}
