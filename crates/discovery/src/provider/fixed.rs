//! `static`: lists in the file, for services that no registry knows (light-router's direct registry).

mod target;
pub(super) mod url;

use std::{
    collections::{BTreeMap, btree_map::Entry as MapEntry},
    convert::Infallible,
    fmt,
    sync::Arc,
};

use model::{Address, Instance, ProviderError, ServiceId, Tag, Update};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use self::target::Targets;
use super::{Feed, Provider};

#[cfg(test)]
mod tests;

/// The section `static`. What is wrong with it is refused when the file is read.
///
/// ```yaml
/// services:
///   petstore: ["https://10.0.0.1:9443", { url: "h2c://10.0.0.2:9080", weight: 2, zone: b }]
///   "petstore|test": "https://10.0.1.1:9443"
///   orders: https://localhost:7444,https://localhost:7445?environment=0001
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    services: Lists,
    repeated: Vec<(ServiceId, Address)>,
}

/// Of each service. Settings, source, claims and table hold the same instances, because there may be many.
pub(super) type Lists = Arc<BTreeMap<ServiceId, Vec<Arc<Instance>>>>;

impl Settings {
    /// The instances of each service.
    pub(super) fn lists(&self) -> &Lists {
        &self.services
    }

    /// Instances that a list names once more without saying anything new of them. They count once, as at first.
    pub(super) fn repeated(&self) -> &[(ServiceId, Address)] {
        &self.repeated
    }
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    services: BTreeMap<Key, Targets>,
}

/// `service`, or `service|environment` for instances that only requests for that environment reach.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    service: ServiceId,
    environment: Option<Tag>,
}

impl Key {
    fn parse(text: &str) -> Result<Self, String> {
        let (service, environment) = match text.split_once('|') {
            None => (text, None),
            Some((service, tag)) => (service, Some(Tag::new(tag.trim()).map_err(|e| e.to_string())?)),
        };
        Ok(Self { service: ServiceId::new(service.trim()).map_err(|e| e.to_string())?, environment })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a service name, or \"service|environment\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
                Key::parse(text).map_err(E::custom)
            }
        }
        from.deserialize_str(KeyVisitor)
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(from)?;
        join(written.services).map_err(D::Error::custom)
    }
}

/// Joins the keys of one service. An instance under several keys is one: in all their environments, and reached without
/// one too if a key without environment names it.
fn join(written: BTreeMap<Key, Targets>) -> Result<Settings, String> {
    let mut services: BTreeMap<ServiceId, BTreeMap<Address, Arc<Instance>>> = BTreeMap::new();
    let mut repeated = Vec::new();
    for (key, targets) in written {
        let service = services.entry(key.service.clone()).or_default();
        for mut shared in targets.0 {
            let instance = Arc::make_mut(&mut shared);
            instance.environment_only = key.environment.is_some();
            instance.environments = instance.environments.iter().cloned().chain(key.environment.clone()).collect();
            instance.normalise();
            match service.entry(instance.endpoint.address.clone()) {
                MapEntry::Vacant(free) => {
                    free.insert(shared);
                }
                MapEntry::Occupied(mut known) => {
                    let before = Arc::clone(known.get());
                    merge(Arc::make_mut(known.get_mut()), instance)
                        .map_err(|why| format!("service {:?} {why}", key.service.as_str()))?;
                    if before == *known.get() {
                        repeated.push((key.service.clone(), known.key().clone()));
                    }
                }
            }
        }
    }
    let listed = |instances: BTreeMap<Address, Arc<Instance>>| instances.into_values().collect();
    let services = services.into_iter().map(|(service, instances)| (service, listed(instances))).collect();
    Ok(Settings { services: Arc::new(services), repeated })
}

/// Adds what another key says of an instance at the same address.
///
/// # Errors
/// If the two cannot be one instance.
pub(super) fn merge(known: &mut Instance, other: &Instance) -> Result<(), String> {
    if known.endpoint != other.endpoint || known.id != other.id {
        let address = &known.endpoint.address;
        return Err(format!("lists {address} twice, with different schemes or ids; an address is one instance"));
    }
    known.environment_only &= other.environment_only;
    known.environments = known.environments.iter().chain(&other.environments).cloned().collect();
    known.normalise();
    Ok(())
}

/// Says its lists once.
#[derive(Debug)]
pub struct Fixed {
    services: Lists,
}

impl Fixed {
    /// A source that says what is in the file.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { services: settings.services.clone() }
    }
}

impl Provider for Fixed {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let lists = self.services.iter().map(|(service, list)| (service.clone(), list.clone()));
        feed.publish(Update::Everything(lists.collect())).await?;
        // The file does not change under us: a reload starts another one.
        std::future::pending().await
    }
}
