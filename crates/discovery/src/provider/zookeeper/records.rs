//! Data of nodes to instances. Each layout reads its own form; what both say by attributes is read here.

mod curator;
mod light_4j;

use std::collections::BTreeMap;

use model::{Address, Endpoint, Instance, InstanceId, Protocol, Tag};

use crate::provider::host;

pub(super) use curator::read as curator;
pub(super) use light_4j::read as light_4j;

/// What a record says of its instance by name: Curator's metadata, or the query of light-4j's URL.
type Attributes = BTreeMap<String, String>;

/// Host and port, checked.
fn address(host: &str, port: Option<i64>) -> Result<Address, String> {
    let host = host::alone(host).ok_or_else(|| format!("address {host:?} {}", host::RULE))?;
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    Ok(Address { host, port: port.ok_or("has no port between 1 and 65535")? })
}

/// What is spoken, first that says it: attribute `protocol`; `secure: true`.
fn protocol(attributes: &Attributes) -> Result<Option<Protocol>, String> {
    if let Some(word) = attributes.get("protocol") {
        let known = Protocol::parse(&word.to_ascii_lowercase());
        return known.map(Some).ok_or_else(|| format!("unknown protocol {word:?}: write http, h2c or https"));
    }
    Ok(attributes.get("secure").is_some_and(|word| word == "true").then_some(Protocol::Https))
}

/// Makes the instance: `weight`, `zone`, `tags` (words separated by commas) and `environment` count, and everything is
/// kept as a label.
fn instance(id: InstanceId, endpoint: Endpoint, attributes: Attributes) -> Result<Instance, String> {
    let mut instance = Instance::new(id, endpoint);
    if let Some(text) = attributes.get("weight") {
        let weight: u64 =
            text.trim().parse().map_err(|_| format!("weight {text:?} is not a number from 0 to 65535"))?;
        instance.weight = u16::try_from(weight).unwrap_or(u16::MAX);
    }
    instance.zone = attributes.get("zone").filter(|zone| !zone.is_empty()).map(|zone| zone.as_str().into());
    let words = ["tags", "environment"].iter().filter_map(|name| attributes.get(*name));
    // Tags for other programs may hold anything: what no request can name is no tag here.
    let tags: Vec<Tag> = words.flat_map(|text| text.split(',')).filter_map(|word| Tag::new(word.trim()).ok()).collect();
    instance.environments = tags.clone().into();
    instance.tags = tags.into();
    instance.labels = attributes.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    Ok(instance.normalised())
}
