//! One look-up of one service: its name, and for `SRV` records the names they lead to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use model::{Instance, Protocol, ProviderError, Tag};
use tokio::{task::JoinSet, time::Instant};

use super::{
    records::{self, Service},
    servers::Servers,
    settings,
    wire::{Answer, Kind, Name, Record},
};

/// What to look up for a service, and what its instances are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: Name,
    pub(super) want: Want,
    pub(super) protocol: Option<Protocol>,
    pub(super) tags: Vec<Tag>,
}

/// The records to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Addresses, of both kinds unless one is said.
    Addresses { kind: Option<settings::Kind>, port: u16 },
    /// `SRV` records, and the addresses of their targets.
    Services,
}

/// What a look-up found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) instances: Vec<Instance>,
    /// What is wrong with the records that were left out.
    pub(super) skipped: Vec<String>,
    pub(super) ttl: Duration,
    /// An `SRV` record names a target of which no address is known: it may be one that has only just come.
    pub(super) lacking: bool,
    /// Why the last addresses of a target stand for those it has now.
    pub(super) outdated: Option<ProviderError>,
}

/// Addresses of the targets of `SRV` records, as they were known last: a target that cannot be looked up at the moment
/// keeps them, because a failure takes nobody out.
pub(super) type Memory = BTreeMap<Name, Known>;

/// What is known of a target.
#[derive(Debug, Clone)]
pub(super) struct Known {
    addresses: Vec<IpAddr>,
    /// When it was asked for itself, and both families of addresses answered.
    asked: Option<Instant>,
}

/// For so long, addresses that come with `SRV` records count as all that their target has, if they are those that it had
/// when it was asked. One of the other family that comes later is found after this time.
const WHOLE: Duration = Duration::from_secs(60);

impl Target {
    /// Looks the service up.
    ///
    /// # Errors
    /// If it is not known what there is.
    pub(super) async fn look_up(&self, servers: &Arc<Servers>, memory: &mut Memory) -> Result<Reading, ProviderError> {
        let reading = match self.want {
            Want::Services => self.services(servers, memory).await?,
            Want::Addresses { kind, port } => {
                let answer = addresses(servers, &self.name, kind).await?;
                let instances = records::of_addresses(self, ips(&answer), port);
                Reading { instances, skipped: answer.skipped, ttl: answer.ttl, lacking: false, outdated: None }
            }
        };
        match reading.skipped.first() {
            // A record that cannot be read is not one that is not there.
            Some(reason) if reading.instances.is_empty() => Err(ProviderError::Malformed(reason.clone())),
            _ => Ok(reading),
        }
    }

    async fn services(&self, servers: &Arc<Servers>, memory: &mut Memory) -> Result<Reading, ProviderError> {
        let Answer { records, additional, mut ttl, mut skipped } = servers.resolve(&self.name, Kind::Srv).await?;
        let mut services = Vec::new();
        for record in records {
            match record {
                // The root is how a zone says that the service is decidedly not there (RFC 2782).
                Record::Service { target, .. } if target.is_root() => {}
                Record::Service { target, port: 0, .. } => skipped.push(format!("SRV record with port 0: {target}")),
                Record::Service { priority, weight, port, target } => {
                    services.push(Service { priority, weight, port, target, addresses: Vec::new() });
                }
                Record::Address(_) => {}
            }
        }
        let targets: BTreeSet<Name> = services.iter().map(|service| service.target.clone()).collect();
        memory.retain(|name, _| targets.contains(name));
        let (mut failure, mut outdated) = (None, None);
        for (name, found) in find(servers, targets, &additional, memory).await {
            match found {
                Ok((known, own)) => {
                    ttl = ttl.min(own);
                    memory.insert(name, known);
                }
                Err(error) => {
                    ttl = Duration::ZERO;
                    skipped.push(format!("target {name}, whose last addresses stand: {error}"));
                    let which = if memory.contains_key(&name) { &mut outdated } else { &mut failure };
                    *which = Some(error);
                }
            }
        }
        for service in &mut services {
            service.addresses = memory.get(&service.target).map(|known| known.addresses.clone()).unwrap_or_default();
        }
        let lacking = services.iter().any(|service| service.addresses.is_empty());
        let instances = records::of_services(self, &services);
        match failure {
            Some(error) if instances.is_empty() => Err(error),
            _ => Ok(Reading { instances, skipped, ttl, lacking, outdated }),
        }
    }
}

/// The addresses of each target and how long they are true. What a server adds to its answer may be a part of them (one
/// family, or what fitted), so it is enough only where it is all that was known, and not for long (see [`WHOLE`]); else
/// the target is asked for.
async fn find(
    servers: &Arc<Servers>,
    targets: BTreeSet<Name>,
    additional: &[(Name, IpAddr)],
    memory: &Memory,
) -> Vec<(Name, Result<(Known, Duration), ProviderError>)> {
    let mut found = Vec::new();
    let mut asked = JoinSet::new();
    for name in targets {
        let mut added: BTreeSet<IpAddr> = additional.iter().filter(|(of, _)| *of == name).map(|(_, ip)| *ip).collect();
        let last = memory.get(&name);
        let known: BTreeSet<IpAddr> = last.iter().flat_map(|last| &last.addresses).copied().collect();
        let asked_at = last.and_then(|last| last.asked);
        if !added.is_empty() && added == known && asked_at.is_some_and(|asked| asked.elapsed() < WHOLE) {
            // They came with the records that name them, and are as true as those.
            let known = Known { addresses: known.into_iter().collect(), asked: asked_at };
            found.push((name, Ok((known, Duration::MAX))));
            continue;
        }
        let servers = Arc::clone(servers);
        asked.spawn(async move {
            let (asked, life) = match addresses(&servers, &name, None).await {
                Ok(answer) => {
                    added.extend(ips(&answer));
                    (Some(Instant::now()), answer.ttl)
                }
                Err(error) if added.is_empty() => return (name, Err(error)),
                // Better than nothing, and soon asked for again.
                Err(_) => {
                    added.extend(known);
                    (None, Duration::ZERO)
                }
            };
            (name, Ok((Known { addresses: added.into_iter().collect(), asked }, life)))
        });
    }
    while let Some(Ok(one)) = asked.join_next().await {
        found.push(one);
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Addresses of one kind, or of both. One kind alone is not an answer to a question for both: what the other one has
/// would look withdrawn.
async fn addresses(servers: &Servers, name: &Name, kind: Option<settings::Kind>) -> Result<Answer, ProviderError> {
    match kind {
        Some(settings::Kind::Aaaa) => servers.resolve(name, Kind::Aaaa).await,
        Some(_) => servers.resolve(name, Kind::A).await,
        None => {
            let (four, six) = tokio::join!(servers.resolve(name, Kind::A), servers.resolve(name, Kind::Aaaa));
            let (mut both, six) = (four?, six?);
            // The life of "none" counts only where there is nothing else.
            both.ttl = match (both.records.is_empty(), six.records.is_empty()) {
                (true, false) => six.ttl,
                (false, true) => both.ttl,
                _ => both.ttl.min(six.ttl),
            };
            both.records.extend(six.records);
            both.skipped.extend(six.skipped);
            Ok(both)
        }
    }
}

fn ips(answer: &Answer) -> impl Iterator<Item = IpAddr> {
    answer.records.iter().filter_map(|record| match record {
        Record::Address(ip) => Some(*ip),
        Record::Service { .. } => None,
    })
}
