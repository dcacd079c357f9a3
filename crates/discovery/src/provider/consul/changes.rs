//! Which services a change of checks concerns.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher as _, Hasher as _},
};

use serde::Deserialize;

/// The states of all checks, by service and by node, in short form.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Checks {
    services: HashMap<String, u64>,
    nodes: HashMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(default)]
    node: String,
    #[serde(rename = "CheckID", default)]
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    service_name: String,
}

/// Names whose checks differ.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changed {
    pub(super) services: BTreeSet<String>,
    pub(super) nodes: BTreeSet<String>,
}

impl Checks {
    /// Reads `/v1/health/state/any`.
    pub(super) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        let mut checks = Self::default();
        for check in serde_json::from_slice::<Vec<Check>>(body)? {
            let mut hash = foldhash::fast::FixedState::default().build_hasher();
            for part in [&check.node, &check.id, &check.status] {
                hash.write(part.as_bytes());
                hash.write_u8(0xff);
            }
            let (map, name) = if check.service_name.is_empty() {
                (&mut checks.nodes, check.node)
            } else {
                (&mut checks.services, check.service_name)
            };
            // Added, so that the order of checks does not matter.
            let sum = map.entry(name).or_insert(0u64);
            *sum = sum.wrapping_add(hash.finish());
        }
        Ok(checks)
    }

    /// What is new, gone or different.
    pub(super) fn since(&self, before: &Self) -> Changed {
        fn differing(now: &HashMap<String, u64>, before: &HashMap<String, u64>) -> BTreeSet<String> {
            let either = now.keys().chain(before.keys());
            either.filter(|name| now.get(*name) != before.get(*name)).cloned().collect()
        }
        Changed { services: differing(&self.services, &before.services), nodes: differing(&self.nodes, &before.nodes) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checks(list: &[(&str, &str, &str)]) -> Checks {
        let list: Vec<Value> = list
            .iter()
            .map(|(node, service, status)| {
                json!({ "Node": node, "CheckID": format!("c-{node}-{service}"), "Status": status, "ServiceName": service })
            })
            .collect();
        Checks::read(&serde_json::to_vec(&list).unwrap()).unwrap()
    }

    #[test]
    fn a_change_names_its_service_or_node_and_nothing_else() {
        let before = checks(&[("n1", "", "passing"), ("n1", "web", "passing"), ("n1", "db", "passing")]);
        let after =
            checks(&[("n1", "db", "passing"), ("n2", "", "passing"), ("n1", "web", "critical"), ("n1", "", "passing")]);
        let changed = after.since(&before);
        assert_eq!(changed.services, ["web".to_owned()].into());
        assert_eq!(changed.nodes, ["n2".to_owned()].into());
        assert_eq!(after.since(&after), Changed::default());
        assert!(after.since(&Checks::default()).services.contains("db"));
    }

    #[test]
    fn an_instance_that_goes_while_another_comes_is_a_change() {
        let before = checks(&[("n1", "web", "passing")]);
        assert_eq!(checks(&[("n2", "web", "passing")]).since(&before).services.len(), 1);
    }
}
