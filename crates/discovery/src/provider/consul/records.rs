//! Consul's JSON to instances. A bad record is skipped and named; the rest holds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use model::{Address, Endpoint, Instance, InstanceId, Knowledge, Protocol, Standing, Tag};
use serde::Deserialize;
use serde_json::Value;

use crate::provider::host;

/// What one answer of `/v1/health/service/NAME` says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Reading {
    /// Instances that serve or drain, sorted by id.
    pub(super) instances: Vec<Instance>,
    /// What is wrong with the records that were left out.
    pub(super) skipped: Vec<String>,
    /// Records in the answer, whatever became of them: none at all may mean that we see nothing.
    pub(super) records: usize,
    /// For each instance, how many nodes are nearer than its own; empty if that was not asked for.
    pub(super) order: BTreeMap<InstanceId, usize>,
    /// Nodes that any record names: a check of such a node concerns this service.
    pub(super) nodes: Vec<Arc<str>>,
    /// Whether Consul says that it left something out, which the token may not read.
    pub(super) filtered: bool,
}

/// Reads a whole answer.
///
/// An instance serves unless a check of it or of its node is critical; `warning` serves, with its own weight. In
/// maintenance it drains. Only instances with all of the `wanted` tags count. If the answer is `sorted`, its order is that
/// of nearness.
pub(super) fn read(body: &[u8], wanted: &[Tag], sorted: bool) -> Result<Reading, serde_json::Error> {
    let records: Vec<Value> = serde_json::from_slice(body)?;
    let mut reading = Reading { records: records.len(), ..Reading::default() };
    let mut places: HashMap<Arc<str>, usize> = HashMap::new();
    for record in records {
        let mut node: Arc<str> = "".into();
        match Record::deserialize(record).map_err(|e| e.to_string()).and_then(|record| {
            node = record.node.node.as_str().into();
            reading.nodes.push(Arc::clone(&node));
            record.instance(wanted)
        }) {
            Ok(Some(instance)) => {
                if sorted {
                    let next = places.len();
                    reading.order.insert(instance.id.clone(), *places.entry(node).or_insert(next));
                }
                reading.instances.push(instance);
            }
            Ok(None) => {}
            Err(reason) => reading.skipped.push(reason),
        }
    }
    reading.nodes.sort();
    reading.nodes.dedup();
    reading.instances.sort_by(|a, b| a.id.cmp(&b.id));
    reading.instances.dedup_by(|a, b| a.id == b.id);
    Ok(reading)
}

impl Reading {
    /// The instances; if Consul's order was asked for, with it as metadata: `near` counts the nodes that are nearer, and
    /// `priority` is the same unless the registration has one.
    pub(super) fn told(&self) -> Vec<Instance> {
        let with_order = |instance: &Instance| {
            let mut instance = instance.clone();
            if let Some(place) = self.order.get(&instance.id) {
                let place: Arc<str> = place.to_string().into();
                let own = instance.label(PRIORITY).is_some();
                let others = std::mem::take(&mut instance.labels).into_iter().filter(|(name, _)| **name != *NEAR);
                let near =
                    [(NEAR.into(), Arc::clone(&place))].into_iter().chain((!own).then(|| (PRIORITY.into(), place)));
                instance.labels = others.chain(near).collect();
                instance.normalise();
            }
            instance
        };
        self.instances.iter().map(with_order).collect()
    }

    /// What is known by this.
    pub(super) fn knowledge(&self) -> Knowledge {
        let told = self.told();
        if self.filtered { Knowledge::Part(told.into_iter().map(Arc::new).collect()) } else { Knowledge::of(told) }
    }

    /// Whether this says the same, but for the order.
    pub(super) fn is_same_set(&self, other: &Self) -> bool {
        self.instances == other.instances
            && self.skipped == other.skipped
            && self.nodes == other.nodes
            && self.filtered == other.filtered
    }
}

const NEAR: &str = "near";
/// What a balancer forms groups by, the least number first.
const PRIORITY: &str = "priority";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    node: Node,
    service: Service,
    #[serde(default)]
    checks: Option<Vec<Check>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    datacenter: Option<String>,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    port: Option<i64>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    #[serde(default = "one")]
    passing: i64,
    #[serde(default = "one")]
    warning: i64,
}

fn one() -> i64 {
    1
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID", default)]
    id: String,
    #[serde(default)]
    status: String,
}

/// What the checks of an instance add up to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Passing,
    Warning,
    Critical,
    /// An operator's word, which outranks what checks say.
    Maintenance,
}

fn health(checks: &[Check]) -> Health {
    let one = |check: &Check| match &*check.status {
        _ if check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:") => Health::Maintenance,
        "critical" => Health::Critical,
        "warning" => Health::Warning,
        // `passing`; other words are not Consul's and are no reason to stop serving.
        _ => Health::Passing,
    };
    checks.iter().map(one).max().unwrap_or(Health::Passing)
}

impl Record {
    /// The instance; `None` if it takes no requests or lacks a wanted tag; the error names the record and the remedy.
    fn instance(self, wanted: &[Tag]) -> Result<Option<Instance>, String> {
        let Self { node, service, checks } = self;
        let name = format!("{}@{}", service.id, node.node);
        let fail = |why: String| format!("instance {name:?}: {why}");
        let health = health(checks.as_deref().unwrap_or_default());
        let words = service.tags.as_deref().unwrap_or_default();
        // Tags for other programs may hold anything (`rule=Host(a, b)`): what no request can name is no tag here.
        let tags: Vec<Tag> = words.iter().filter_map(|tag| Tag::new(tag).ok()).collect();
        if health == Health::Critical || !wanted.iter().all(|tag| tags.contains(tag)) {
            return Ok(None);
        }
        let meta = service.meta.unwrap_or_default();
        // A service id is unique on its node only.
        let id = InstanceId::new(&name).map_err(|e| fail(e.to_string()))?;
        let address = address(service.address, node.address.as_deref(), service.port).map_err(fail)?;
        let protocol = protocol(&meta, words).map_err(fail)?;
        let mut instance = Instance::new(id, Endpoint { address, protocol });
        let weights = service.weights.unwrap_or(Weights { passing: 1, warning: 1 });
        let weight = if health == Health::Warning { weights.warning } else { weights.passing };
        instance.weight = u16::try_from(weight.clamp(0, i64::from(u16::MAX))).unwrap_or(u16::MAX);
        instance.standing = if health == Health::Maintenance { Standing::Draining } else { Standing::Serving };
        let node_meta = node.meta.unwrap_or_default();
        instance.zone = meta.get("zone").or_else(|| node_meta.get("zone")).map(|zone| zone.as_str().into());
        instance.environments = tags.clone().into();
        instance.tags = tags.into();
        instance.labels = labels(meta, &node.node, node.datacenter, node_meta.get("region"));
        Ok(Some(instance.normalised()))
    }
}

/// The service's own address, else its node's.
fn address(own: Option<String>, node: Option<&str>, port: Option<i64>) -> Result<Address, String> {
    let own = own.filter(|text| !text.is_empty());
    let text = own.as_deref().or(node).unwrap_or_default();
    let host = host::of_instance(text)
        .ok_or_else(|| format!("address {text:?} {}: register it with Address", host::RULE_OF_INSTANCES))?;
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let port = port.ok_or("has no port between 1 and 65535: register it with Port")?;
    Ok(Address { host, port })
}

/// What is spoken, first that says it: metadata `protocol`; metadata `secure: true` (Spring); a tag `protocol=WORD`;
/// a tag that is such a word, the more secure one if there are several.
fn protocol(meta: &BTreeMap<String, String>, tags: &[String]) -> Result<Option<Protocol>, String> {
    let named = meta.get("protocol").map(String::as_str);
    let tagged = || tags.iter().find_map(|tag| tag.strip_prefix("protocol="));
    let known = |word: &str| {
        Protocol::parse(&word.to_ascii_lowercase())
            .map(Some)
            .ok_or_else(|| format!("unknown protocol {word:?}: write http, h2c or https"))
    };
    if let Some(word) = named {
        return known(word);
    }
    if meta.get("secure").is_some_and(|word| word == "true") {
        return Ok(Some(Protocol::Https));
    }
    if let Some(word) = tagged() {
        return known(word);
    }
    Ok(tags.iter().filter_map(|tag| Protocol::parse(tag)).max())
}

/// Metadata of the service, and where it runs. What the service says of itself comes first.
fn labels(
    meta: BTreeMap<String, String>,
    node: &str,
    datacenter: Option<String>,
    region: Option<&String>,
) -> Box<[(Arc<str>, Arc<str>)]> {
    let mut all = meta;
    all.entry("node".into()).or_insert_with(|| node.to_owned());
    if let Some(datacenter) = datacenter {
        all.entry("datacenter".into()).or_insert(datacenter);
    }
    if let Some(region) = region {
        all.entry("region".into()).or_insert_with(|| region.clone());
    }
    all.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[cfg(test)]
mod tests;
