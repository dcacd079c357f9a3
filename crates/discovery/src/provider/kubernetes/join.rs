//! The slices of one service, joined into its instances. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use model::{Address, Endpoint as To, Host, Instance, InstanceId, Protocol, Standing};

use super::{
    ports::{self, PortChoice},
    slice::{Endpoint, Key, Slice, State},
};

/// What the slices of one service say together.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Reading {
    /// Instances that serve or drain, by address.
    pub(super) instances: Vec<Arc<Instance>>,
    /// Those that said they leave, whether they still finish requests or not.
    pub(super) leaving: BTreeSet<InstanceId>,
    /// What is wrong with what was left out.
    pub(super) skipped: Vec<String>,
    /// Some of it is what a slice said before it became unreadable, for this reason.
    pub(super) outdated: Option<String>,
}

/// One endpoint with the port chosen for it.
struct Candidate<'a> {
    key: &'a Key,
    slice: &'a Slice,
    endpoint: &'a Endpoint,
    protocol: Option<Protocol>,
}

/// Joins them. An address that stands in two slices counts once, by its better state, because while a slice is split or
/// merged an endpoint is in both. A pod with an IPv4 and an IPv6 address counts once too, by the former.
pub(super) fn join<'a>(
    slices: impl Iterator<Item = (&'a Key, &'a Result<Slice, String>)>,
    choice: Option<&PortChoice>,
) -> Reading {
    let mut reading = Reading::default();
    let mut found: BTreeMap<Address, Candidate<'a>> = BTreeMap::new();
    for (key, content) in slices {
        let skip = |reason: &str| format!("slice {}/{}: {reason}", key.namespace, key.name);
        let slice = match content {
            Ok(slice) => slice,
            Err(reason) => {
                reading.skipped.push(skip(reason));
                continue;
            }
        };
        reading.skipped.extend(slice.skipped.iter().map(|reason| skip(reason)));
        if slice.outdated && reading.outdated.is_none() {
            reading.outdated = slice.skipped.first().map(|reason| skip(reason));
        }
        // Without an endpoint it does not matter that a port is missing, as it then often is.
        let mut usable = slice.endpoints.iter().filter(|endpoint| endpoint.state > State::Waiting).peekable();
        if usable.peek().is_none() {
            continue;
        }
        match ports::choose(slice.ports.as_deref(), slice.marks.port.as_ref().or(choice)) {
            Ok((port, protocol)) => {
                for endpoint in usable {
                    let protocol = slice.marks.protocol.or(protocol);
                    let address = Address { host: endpoint.host.clone(), port };
                    let candidate = Candidate { key, slice, endpoint, protocol };
                    let known = found.get(&address).map(|known| known.endpoint.state);
                    if known.is_none_or(|state| state < endpoint.state) {
                        found.insert(address, candidate);
                    }
                }
            }
            Err(reason) => reading.skipped.push(skip(&reason)),
        }
    }
    once_per_pod(&mut found);
    finish(&found, &mut reading);
    reading
}

/// Leaves out the IPv6 address of a pod whose IPv4 address does as well.
fn once_per_pod(found: &mut BTreeMap<Address, Candidate<'_>>) {
    let is_v4 = |address: &Address| matches!(address.host, Host::Ip(ip) if ip.is_ipv4());
    let mut pods: HashMap<Arc<str>, State> = HashMap::new();
    for (_, candidate) in found.iter().filter(|(address, _)| is_v4(address)) {
        if let Some(uid) = &candidate.endpoint.uid {
            let best = pods.entry(uid.clone()).or_insert(State::Waiting);
            *best = candidate.endpoint.state.max(*best);
        }
    }
    found.retain(|address, candidate| {
        let other = candidate.endpoint.uid.as_ref().and_then(|uid| pods.get(uid));
        is_v4(address) || other.is_none_or(|state| *state < candidate.endpoint.state)
    });
}

fn finish(found: &BTreeMap<Address, Candidate<'_>>, reading: &mut Reading) {
    let serving = || found.values().filter(|candidate| candidate.endpoint.state == State::Serving);
    // As everywhere in Kubernetes: endpoints that leave, and still serve, are used while there is no other.
    let last = serving().next().is_none();
    // And hints count only if every endpoint has one: else some zone would be left without.
    let hinted = serving().all(|candidate| !candidate.endpoint.for_zones.is_empty());
    for (address, candidate) in found {
        let id = match id(candidate.endpoint, address) {
            Ok(id) => id,
            Err(reason) => {
                reading.skipped.push(reason);
                continue;
            }
        };
        if candidate.endpoint.state != State::Serving {
            reading.leaving.insert(id.clone());
        }
        if candidate.endpoint.state == State::Gone {
            continue;
        }
        let mut instance = candidate.instance(id, address.clone(), hinted);
        if candidate.endpoint.state == State::Draining && !last {
            instance.standing = Standing::Draining;
        }
        reading.instances.push(Arc::new(instance));
    }
}

/// The pod's name and address, because a stateful set's new pod has the name of the old one; else the address alone.
fn id(endpoint: &Endpoint, address: &Address) -> Result<InstanceId, String> {
    let name = endpoint.pod.as_ref().map_or_else(|| address.to_string(), |pod| format!("{pod}@{}", address.host));
    InstanceId::new(&name).map_err(|e| e.to_string())
}

impl Candidate<'_> {
    fn instance(&self, id: InstanceId, address: Address, hinted: bool) -> Instance {
        let Self { key, slice, endpoint, protocol } = self;
        let mut instance = Instance::new(id, To { address, protocol: *protocol });
        instance.weight = slice.marks.weight.unwrap_or(1);
        let mut zone = endpoint.zone.as_ref();
        if hinted && !endpoint.for_zones.iter().any(|zone| Some(zone) == endpoint.zone.as_ref()) {
            zone = endpoint.for_zones.first().or(zone);
        }
        instance.zone = zone.map(|zone| (**zone).into());
        instance.tags = slice.marks.tags.clone().into();
        instance.environments = slice.marks.tags.clone().into();
        // Where it runs comes before what the service's owner wrote: nobody should be able to tell it wrong. The slice
        // is not among it: endpoints move between slices, and that is no change.
        let known =
            [("namespace", Some(&key.namespace)), ("node", endpoint.node.as_ref()), ("zone", endpoint.zone.as_ref())];
        let own = slice.labels.iter().filter(|(name, _)| known.iter().all(|(taken, _)| **name != **taken)).cloned();
        let known = known.iter().filter_map(|(name, value)| Some((Arc::from(*name), (*value)?.clone())));
        instance.labels = known.chain(own).collect();
        instance.normalised()
    }
}

#[cfg(test)]
mod tests;
