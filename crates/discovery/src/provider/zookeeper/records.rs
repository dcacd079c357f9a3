//! Data of nodes to instances, and back. Each layout has its own form; what both say by attributes stands here.

mod curator;
mod light_4j;

use std::collections::BTreeMap;

use model::{Address, Endpoint, Instance, InstanceId, Protocol, Tag};

use crate::provider::host;

pub(super) use curator::{read as curator, write as write_curator};
pub(super) use light_4j::{read as light_4j, write as write_light_4j};

/// What a record says of its instance by name: Curator's metadata, or the query of light-4j's URL.
type Attributes = BTreeMap<String, String>;

/// Host and port, checked.
fn address(host: &str, port: Option<i64>) -> Result<Address, String> {
    let host = host::of_instance(host).ok_or_else(|| format!("address {host:?} {}", host::RULE_OF_INSTANCES))?;
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

/// What [`instance`] and [`protocol`] read.
fn attributes(instance: &Instance) -> Attributes {
    let words = |tags: &[Tag]| tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(",");
    let mut attributes: Attributes =
        instance.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let known = [
        ("weight", Some(instance.weight.to_string())),
        ("zone", instance.zone.as_ref().map(ToString::to_string)),
        ("protocol", instance.endpoint.protocol.map(|protocol| protocol.as_str().to_owned())),
        ("tags", Some(words(&instance.tags)).filter(|words| !words.is_empty())),
        ("environment", Some(words(&instance.environments)).filter(|words| !words.is_empty())),
    ];
    attributes.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    attributes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_instance() -> impl Strategy<Value = Instance> {
        let tags = || prop::collection::vec("[a-z0-9.=:-]{1,8}", 0..3);
        let labels = prop::collection::btree_map("x[a-z.]{0,6}", "[a-zA-Z0-9=/.:?-]{0,8}", 0..4);
        let host = prop::sample::select(vec!["10.0.0.1", "::1", "pets.internal"]);
        let protocol = prop::option::of(prop::sample::select(vec![Protocol::Http, Protocol::H2c, Protocol::Https]));
        (host, 1_u16.., protocol, any::<u16>(), prop::option::of("[a-z]{1,4}"), tags(), tags(), labels).prop_map(
            |(host, port, protocol, weight, zone, tags, environments, labels)| {
                let address = Address { host: model::Host::parse(host), port };
                let id = InstanceId::new(&address.to_string()).unwrap();
                let all = |words: Vec<String>| words.iter().map(|word| Tag::new(word).unwrap()).collect();
                Instance {
                    weight,
                    zone: zone.map(Into::into),
                    tags: all(tags),
                    environments: all(environments),
                    labels: labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
                    ..Instance::new(id, Endpoint { address, protocol })
                }
                .normalised()
            },
        )
    }

    proptest! {
        /// What we write we read again, in both layouts. Tags are environments too, and attributes are labels.
        #[test]
        fn an_instance_survives_its_record(instance in some_instance()) {
            let service = model::ServiceId::new("pets").unwrap();
            let words = [&*instance.tags, &*instance.environments].concat();
            let expected = Instance { tags: words.clone().into(), environments: words.into(), ..instance.clone() }.normalised();
            for read in [
                curator(instance.id.clone(), &write_curator(&service, &instance, 7)).unwrap(),
                light_4j(instance.id.clone(), &write_light_4j(&service, &instance).unwrap()).unwrap(),
            ] {
                for (name, value) in &instance.labels {
                    prop_assert_eq!(read.label(name), Some(&**value));
                }
                prop_assert_eq!(Instance { labels: expected.labels.clone(), ..read }, expected.clone());
            }
        }
    }
}
