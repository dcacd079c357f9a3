//! What the engine says of one container, to instances. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{Address, Endpoint, Host, Instance, InstanceId, ServiceId};
use serde::Deserialize;
use serde_json::Value;

use super::{
    labels::{self, Entry},
    settings::{self, Settings},
    signal,
};
use crate::provider::host;

/// One container as an instance of services.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Container {
    /// None unless it takes requests.
    pub(super) instances: Vec<(ServiceId, Instance)>,
    /// It does not run, and will not without saying so.
    pub(super) rests: bool,
    /// An operator paused it: it would take connections and never answer.
    pub(super) paused: bool,
    /// The signal by which it wants to be stopped, if it says one.
    pub(super) stop: Option<u8>,
    /// What is wrong with the services that were left out.
    pub(super) skipped: Vec<String>,
}

/// The answer to an inspection, as far as it concerns us. What is not there is as good as empty: engines differ.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspection {
    id: String,
    #[serde(default)]
    name: String,
    state: State,
    config: Config,
    #[serde(default)]
    host_config: HostConfig,
    #[serde(default)]
    network_settings: NetworkSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    #[serde(default)]
    health: Option<Health>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    exposed_ports: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    image: String,
    /// Of Docker a name or a number in a string, of Podman a number.
    #[serde(default)]
    stop_signal: Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    networks: Option<BTreeMap<String, Option<Network>>>,
    #[serde(default)]
    ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    #[serde(default, rename = "IPAddress")]
    ip: String,
    #[serde(default, rename = "GlobalIPv6Address")]
    ipv6: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(default)]
    host_ip: String,
    #[serde(default)]
    host_port: String,
}

/// Reads the list of all containers: the ids of those with labels of ours, and what is wrong with those that cannot be
/// read.
///
/// # Errors
/// If it is no list, or nothing in it can be read.
pub(super) fn list(body: &[u8]) -> Result<(BTreeSet<String>, Vec<String>), String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Summary {
        id: String,
        #[serde(default)]
        labels: Option<BTreeMap<String, String>>,
    }
    let all: Vec<Value> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let (count, mut ids, mut odd) = (all.len(), BTreeSet::new(), Vec::new());
    for one in all {
        match Summary::deserialize(one) {
            Ok(one) if one.labels.as_ref().is_some_and(|labels| labels::concern_us(labels.keys())) => {
                ids.insert(one.id);
            }
            Ok(_) => {}
            Err(why) => odd.push(format!("a container in the list: {why}")),
        }
    }
    match odd.first() {
        Some(reason) if odd.len() == count => Err(format!("nothing in it can be read: {reason}")),
        _ => Ok((ids, odd)),
    }
}

/// Reads one inspection.
pub(super) fn read(body: &[u8], settings: &Settings) -> Result<Container, serde_json::Error> {
    let inspection: Inspection = serde_json::from_slice(body)?;
    let status = &*inspection.state.status;
    let (rests, paused) = (status != "running", status == "paused");
    let stop = match &inspection.config.stop_signal {
        Value::String(text) => signal::number(text),
        Value::Number(number) => signal::number(&number.to_string()),
        _ => None,
    };
    let mut container = Container { rests, paused, stop, ..Container::default() };
    if !inspection.state.takes_requests(settings.ignore_health) {
        return Ok(container);
    }
    let name = inspection.name.trim_start_matches('/');
    let (entries, odd) = labels::read(inspection.config.labels.as_ref().unwrap_or(&BTreeMap::new()));
    container.skipped = odd.into_iter().map(|why| format!("container {name:?}: {why}")).collect();
    for entry in entries {
        match inspection.instance(name, &entry, settings) {
            Ok(instance) => container.instances.push((entry.service, instance)),
            Err(why) => container.skipped.push(format!("container {name:?}, service {}: {why}", entry.service)),
        }
    }
    Ok(container)
}

impl State {
    /// Running, not paused, and well if it says how it is. A container without a health check says nothing.
    fn takes_requests(&self, ignore_health: bool) -> bool {
        let ill = self.health.as_ref().is_some_and(|h| matches!(&*h.status, "unhealthy" | "starting"));
        self.status == "running" && (ignore_health || !ill)
    }
}

impl Inspection {
    fn instance(&self, name: &str, entry: &Entry, settings: &Settings) -> Result<Instance, String> {
        let address = self.address(entry, settings)?;
        // A name is given again to the next container, an id never is.
        let short = self.id.get(..12).unwrap_or(&self.id);
        let id = InstanceId::new(&format!("{name}@{short}")).map_err(|e| e.to_string())?;
        let mut instance = Instance::new(id, Endpoint { address, protocol: entry.protocol });
        instance.weight = entry.weight;
        instance.zone.clone_from(&entry.zone);
        instance.tags = entry.tags.clone().into();
        instance.environments = entry.tags.clone().into();
        let own = |label: &str| !entry.meta.iter().any(|(known, _)| **known == *label);
        let more = [("container", name), ("image", &*self.config.image)].into_iter().filter(|(label, _)| own(label));
        let more = more.map(|(label, value)| (Arc::from(label), Arc::from(value)));
        instance.labels = entry.meta.iter().cloned().chain(more).collect();
        Ok(instance.normalised())
    }

    fn address(&self, entry: &Entry, settings: &Settings) -> Result<Address, String> {
        match &*self.host_config.network_mode {
            "host" => return Ok(Address { host: settings.engine(), port: self.port(entry)? }),
            mode if mode.starts_with("container:") => {
                return Err("shares the network of another container: label that one".to_owned());
            }
            _ => {}
        }
        match settings.address {
            settings::Address::Published => self.published(entry, settings),
            settings::Address::Container => Ok(Address { host: self.own(entry, settings)?, port: self.port(entry)? }),
        }
    }

    /// The port of the container: the label's, else the only one there is.
    fn port(&self, entry: &Entry) -> Result<u16, String> {
        if let Some(port) = entry.port {
            return Ok(port);
        }
        let exposed = self.config.exposed_ports.iter().flat_map(BTreeMap::keys);
        let published = self.network_settings.ports.iter().flat_map(BTreeMap::keys);
        let tcp = |port: &String| port.strip_suffix("/tcp").and_then(|port| port.parse::<u16>().ok());
        let ports: BTreeSet<u16> = exposed.chain(published).filter_map(tcp).collect();
        match ports.first() {
            Some(port) if ports.len() == 1 => Ok(*port),
            Some(_) => Err(format!("exposes the ports {ports:?}: say which by the label port")),
            None => Err("exposes no port: say it by the label port".to_owned()),
        }
    }

    /// The container's own address, on the network that is named, else on the only one it is on.
    fn own(&self, entry: &Entry, settings: &Settings) -> Result<Host, String> {
        let networks = self.network_settings.networks.iter().flatten();
        let on: BTreeMap<&str, Host> = networks.filter_map(|(name, n)| Some((&**name, n.as_ref()?.host()?))).collect();
        let named = entry.network.as_ref().or(settings.network.as_ref());
        let names = || on.keys().copied().collect::<Vec<_>>().join(", ");
        match (named, on.len()) {
            (Some(name), _) => on
                .get(&**name)
                .cloned()
                .ok_or_else(|| format!("has no address on the network {name:?}, but on: {}", names())),
            (None, 0) => Err("has no address on any network".to_owned()),
            (None, 1) => on.into_values().next().ok_or_else(String::new),
            (None, _) => Err(format!("is on the networks {}: say which by the label network", names())),
        }
    }

    /// The host's port that is published for the container's port.
    fn published(&self, entry: &Entry, settings: &Settings) -> Result<Address, String> {
        let port = self.port(entry)?;
        let bindings = self.network_settings.ports.as_ref().and_then(|ports| ports.get(&format!("{port}/tcp")));
        let bindings = bindings.iter().copied().flatten().flatten();
        let binding = bindings.filter_map(|b| Some((b, b.host_port.parse::<u16>().ok().filter(|port| *port > 0)?)));
        let (binding, published) = binding
            .min_by_key(|(b, _)| b.host_ip.contains(':'))
            .ok_or_else(|| format!("publishes no port for {port}"))?;
        // Unless bound to one address of the host, it is open on all of them.
        let bound = host::alone(&binding.host_ip);
        let loopback = matches!(&bound, Some(Host::Ip(ip)) if ip.is_loopback());
        if loopback && !settings.is_local() && !matches!(settings.engine(), Host::Ip(ip) if ip.is_loopback()) {
            return Err(format!("publishes {port} on the loopback address of another machine"));
        }
        Ok(Address { host: bound.unwrap_or_else(|| settings.engine()), port: published })
    }
}

impl Network {
    fn host(&self) -> Option<Host> {
        host::alone(&self.ip).or_else(|| host::alone(&self.ipv6))
    }
}

#[cfg(test)]
mod tests;
