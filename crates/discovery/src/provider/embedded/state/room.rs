//! How much a registry keeps.

use std::collections::{BTreeMap, BTreeSet};

use model::{InstanceId, ServiceId};

use super::{super::Registration, State};

/// Most instances of one service, and of all.
const MOST_OF_SERVICE: usize = 20_000;
const MOST: usize = 200_000;

impl State {
    /// Whether there is room for these; `anew`: in place of all there is.
    pub(in super::super) fn room(&self, wanted: &[Registration], anew: bool) -> Result<(), String> {
        let mut new: BTreeMap<&ServiceId, BTreeSet<&InstanceId>> = BTreeMap::new();
        for registration in wanted.iter().filter(|r| anew || self.held(&r.name, &r.id).is_none()) {
            new.entry(&registration.name).or_default().insert(&registration.id);
        }
        let there = |count| if anew { 0 } else { count };
        for (name, ids) in &new {
            let has = there(self.services.get(*name).map_or(0, |entry| entry.instances.len()));
            if has + ids.len() > MOST_OF_SERVICE {
                return Err(format!("service {name} would have more than {MOST_OF_SERVICE} instances"));
            }
        }
        if !new.is_empty() && there(self.count) + new.values().map(BTreeSet::len).sum::<usize>() > MOST {
            return Err(format!("the registry would have more than {MOST} instances"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::embedded::{By, Mode, Registry};

    fn registration(id: usize) -> Registration {
        let json = format!(r#"{{"name":"pets","id":"{id}","ip":"10.0.0.1","port":80,"ttl":"none"}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[tokio::test]
    async fn a_service_has_so_many_instances_at_most() {
        let registry = Registry::in_memory();
        let wanted: Vec<_> = (0..=MOST_OF_SERVICE).map(registration).collect();
        let (last, others) = wanted.split_last().unwrap();
        let last = std::slice::from_ref(last);
        assert_eq!(registry.room(others, Mode::Merge), Ok(()));
        assert!(registry.room(&wanted, Mode::Merge).unwrap_err().contains("pets"));
        registry.import(&By::registry(), others.to_vec(), Mode::Merge, false).await;
        assert!(registry.room(last, Mode::Merge).is_err());
        assert_eq!(registry.room(&wanted[..1], Mode::Merge), Ok(()), "it is there");
        assert_eq!(registry.room(last, Mode::Replace), Ok(()));
    }
}
