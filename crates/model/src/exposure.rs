//! Which services a client may name. A service nobody exposed does not exist for clients.

use std::collections::BTreeSet;

use crate::{ServiceId, Tag};

/// What a `service_id` from a client may reach besides the services that routes name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Exposure {
    /// Only what routes name.
    #[default]
    Routed,
    /// Every registered service but Consul itself. For loopback and development.
    Everything,
    /// Services with one of these names or one instance with one of these tags.
    Matching {
        /// Exact names.
        services: BTreeSet<ServiceId>,
        /// Name prefixes (`com.networknt.` for `com.networknt.*` in the file).
        prefixes: Vec<String>,
        /// Tags; one instance that carries one is enough.
        tags: BTreeSet<Tag>,
    },
}

/// The service under which Consul lists its own servers: nobody means them by "everything".
const CONSUL: &str = "consul";

impl Exposure {
    /// Whether the name alone exposes the service, whatever its instances say.
    #[must_use]
    pub fn names(&self, service: &ServiceId) -> bool {
        match self {
            Self::Routed => false,
            Self::Everything => service.as_str() != CONSUL,
            Self::Matching { services, prefixes, .. } => {
                services.contains(service) || prefixes.iter().any(|p| service.as_str().starts_with(p.as_str()))
            }
        }
    }

    /// Whether a service with instances of these tags is exposed.
    #[must_use]
    pub fn exposes<'a>(&self, service: &ServiceId, mut tags: impl Iterator<Item = &'a str>) -> bool {
        if self.names(service) {
            return true;
        }
        match self {
            Self::Matching { tags: wanted, .. } if !wanted.is_empty() => tags.any(|t| wanted.contains(t)),
            _ => false,
        }
    }

    /// Whether the service is exposed, or may be: which tags its instances carry is not looked at.
    #[must_use]
    pub fn may_expose(&self, service: &ServiceId) -> bool {
        let by_tag = matches!(self, Self::Matching { tags, .. } if !tags.is_empty());
        by_tag || self.names(service)
    }

    /// Whether a source must look at services no route names to know what is exposed.
    #[must_use]
    pub fn needs_catalog(&self) -> bool {
        match self {
            Self::Routed => false,
            Self::Everything => true,
            Self::Matching { prefixes, tags, .. } => !prefixes.is_empty() || !tags.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(exposure: &Exposure, service: &str, tags: &[&str], expected: bool) {
        let service = ServiceId::new(service).unwrap();
        assert_eq!(exposure.exposes(&service, tags.iter().copied()), expected, "{exposure:?} {service} {tags:?}");
    }

    #[test]
    fn a_name_a_prefix_or_a_tag_exposes() {
        let some = Exposure::Matching {
            services: [ServiceId::new("orders").unwrap()].into(),
            prefixes: vec!["com.networknt.".into()],
            tags: [Tag::new("public").unwrap()].into(),
        };
        check(&some, "orders", &[], true);
        check(&some, "com.networknt.aa-1.0.0", &[], true);
        check(&some, "pets", &["blue", "public"], true);
        check(&some, "pets", &["blue"], false);
        check(&Exposure::Routed, "orders", &["public"], false);
        check(&Exposure::Everything, "orders", &[], true);
        check(&Exposure::Everything, "consul", &[], false);
        let named = Exposure::Matching {
            services: [ServiceId::new("consul").unwrap()].into(),
            prefixes: Vec::new(),
            tags: BTreeSet::new(),
        };
        check(&named, "consul", &[], true);
    }
}
