//! Where services and instances stand: paths from names, and back. Pure.

use model::{Instance, InstanceId, ServiceId, Standing};

use super::records;

/// One of the two layouts, with the node under which its services stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    kind: Kind,
    /// With the chroot; empty if it is the root.
    base: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `BASE/SERVICE/ID`
    Curator,
    /// `BASE/SERVICE/server/HOST:PORT`
    Light4j,
}

/// light-4j's instances that serve, and those that are registered and take no requests.
const DIRECTORIES: [&str; 2] = ["server", "unavailableServer"];

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A service as a whole.
    Service(ServiceId),
    /// An instance, or what may be one.
    Instance(ServiceId),
    /// Nothing of ours.
    Elsewhere,
}

impl Layout {
    pub(super) fn curator(base: String) -> Self {
        Self { kind: Kind::Curator, base }
    }

    pub(super) fn light_4j(base: String) -> Self {
        Self { kind: Kind::Light4j, base }
    }

    /// The node whose children are the services.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The nodes whose children are the instances of a service.
    pub(super) fn directories(&self, service: &ServiceId) -> Vec<String> {
        let service = format!("{}/{service}", self.base);
        match self.kind {
            Kind::Curator => vec![service],
            Kind::Light4j => DIRECTORIES.iter().map(|kind| format!("{service}/{kind}")).collect(),
        }
    }

    pub(super) fn place(&self, path: &str) -> Place {
        let Some(below) = path.strip_prefix(&*self.base).and_then(|rest| rest.strip_prefix('/')) else {
            return Place::Elsewhere;
        };
        let mut parts = below.split('/');
        let name = parts.next().unwrap_or_default();
        if self.is_reserved(name) {
            return Place::Elsewhere;
        }
        let Ok(service) = ServiceId::new(name) else { return Place::Elsewhere };
        match (self.kind, parts.next(), parts.next(), parts.next()) {
            (_, None, ..) => Place::Service(service),
            (Kind::Curator, Some(_), None, None) => Place::Instance(service),
            (Kind::Light4j, Some(directory), Some(_), None) if DIRECTORIES.contains(&directory) => {
                Place::Instance(service)
            }
            _ => Place::Elsewhere,
        }
    }

    /// Whether a node that stands beside services is none: ZooKeeper's own under the root, and light-4j's commands.
    pub(super) fn is_reserved(&self, name: &str) -> bool {
        match self.kind {
            Kind::Curator => self.base.is_empty() && name == "zookeeper",
            Kind::Light4j => name == "command",
        }
    }

    /// Reads the data of an instance's node; the error says what is wrong with it and what to write.
    pub(super) fn read(&self, path: &str, data: &[u8]) -> Result<Instance, String> {
        let mut parts = path.rsplit('/');
        let (node, directory) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let read = || {
            let id = InstanceId::new(node).map_err(|e| e.to_string())?;
            match self.kind {
                Kind::Curator => records::curator(id, data),
                Kind::Light4j => records::light_4j(id, data).map(|instance| match directory == DIRECTORIES[0] {
                    true => instance,
                    false => Instance { standing: Standing::Draining, ..instance },
                }),
            }
        };
        read().map_err(|why| format!("node {path:?}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceId {
        ServiceId::new(name).unwrap()
    }

    #[test]
    fn curator_has_instances_below_services() {
        let layout = Layout::curator("/prod/services".into());
        assert_eq!(layout.directories(&service("pets")), ["/prod/services/pets"]);
        for (path, place) in [
            ("/prod/services/pets", Place::Service(service("pets"))),
            ("/prod/services/pets/1", Place::Instance(service("pets"))),
            ("/prod/services", Place::Elsewhere),
            ("/prod/services/pets/1/more", Place::Elsewhere),
            ("/prod/services/a b/1", Place::Elsewhere),
            ("/prod/servicesx/pets/1", Place::Elsewhere),
            ("/other", Place::Elsewhere),
        ] {
            assert_eq!(layout.place(path), place, "{path}");
        }
    }

    #[test]
    fn light_4j_has_two_directories_and_other_nodes_beside_them() {
        let layout = Layout::light_4j("/light/default".into());
        assert_eq!(
            layout.directories(&service("com.a-1.0.0")),
            ["/light/default/com.a-1.0.0/server", "/light/default/com.a-1.0.0/unavailableServer"]
        );
        let below = |rest: &str| layout.place(&format!("/light/default/com.a-1.0.0{rest}"));
        assert_eq!(below(""), Place::Service(service("com.a-1.0.0")));
        assert_eq!(below("/server/10.0.0.1:80"), Place::Instance(service("com.a-1.0.0")));
        assert_eq!(below("/unavailableServer/10.0.0.1:80"), Place::Instance(service("com.a-1.0.0")));
        assert_eq!(layout.place("/light/default/command"), Place::Elsewhere);
        for other in ["/server", "/client/10.0.0.1:80", "/server/a/b"] {
            assert_eq!(below(other), Place::Elsewhere, "{other}");
        }
    }

    #[test]
    fn under_the_root_zookeepers_own_node_is_no_service() {
        let layout = Layout::curator(String::new());
        assert_eq!(layout.place("/pets/1"), Place::Instance(service("pets")));
        assert_eq!(layout.place("/zookeeper/quota"), Place::Elsewhere);
        assert_eq!(layout.place("/"), Place::Elsewhere);
    }

    #[test]
    fn what_is_unavailable_drains() {
        let layout = Layout::light_4j("/light/default".into());
        let standing =
            |directory: &str| layout.read(&format!("/light/default/a/{directory}/10.0.0.1:80"), b"").unwrap().standing;
        assert_eq!((standing("server"), standing("unavailableServer")), (Standing::Serving, Standing::Draining));
        let error = layout.read("/light/default/a/server/nowhere", b"").unwrap_err();
        assert!(error.contains("\"/light/default/a/server/nowhere\""), "{error}");
    }
}
