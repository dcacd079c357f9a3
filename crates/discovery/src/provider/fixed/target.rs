//! One instance as it is written in the file: a URL, or a map with a URL and attributes.

use std::{collections::BTreeMap, fmt, sync::Arc};

use model::{Instance, InstanceId, Tag};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::url::Url;

/// What stands behind a service: a list, one URL, or several with commas between.
///
/// Each instance is at once where it stays: moved from list to list, many would leave as much memory unused behind them.
pub(super) struct Targets(pub(super) Vec<Arc<Instance>>);

/// One element of that list.
struct Target(Instance);

/// The long form of an instance.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    url: Url,
    id: Option<InstanceId>,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default)]
    tags: Vec<Tag>,
    zone: Option<String>,
    environment: Option<Tag>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

fn one() -> u16 {
    1
}

impl Long {
    fn instance(self) -> Result<Instance, String> {
        let mut instance = self.url.instance()?;
        if let Some(id) = self.id {
            instance.id = id;
        }
        instance.weight = self.weight;
        instance.tags = self.tags.into();
        instance.zone = self.zone.map(Into::into);
        instance.environments = instance.environments.into_iter().chain(self.environment).collect();
        instance.labels = self.labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Ok(instance)
    }
}

fn short(text: &str) -> Result<Instance, String> {
    text.parse::<Url>()?.instance()
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TargetVisitor;
        impl<'de> Visitor<'de> for TargetVisitor {
            type Value = Target;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL such as \"https://10.0.0.1:8443\", or `{ url: URL, weight: 2 }`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Target, E> {
                short(text).map(Target).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
                let long = Long::deserialize(MapAccessDeserializer::new(map))?;
                long.instance().map(Target).map_err(A::Error::custom)
            }
        }
        from.deserialize_any(TargetVisitor)
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TargetsVisitor;
        impl<'de> Visitor<'de> for TargetsVisitor {
            type Value = Targets;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of URLs, or one text with commas between them")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Targets, E> {
                let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
                urls.map(|url| short(url).map(Arc::new)).collect::<Result<_, _>>().map(Targets).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Targets, A::Error> {
                let mut all = Vec::new();
                while let Some(Target(instance)) = list.next_element()? {
                    all.push(Arc::new(instance));
                }
                Ok(Targets(all))
            }
        }
        from.deserialize_any(TargetsVisitor)
    }
}
