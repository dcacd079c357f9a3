//! Where services and instances stand: paths from names, and back. Pure.

use bytes::Bytes;
use model::{Instance, InstanceId, ServiceId, Standing};

use super::{records, servers};

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

    /// The node of an instance, and its data as of this time since 1970 in milliseconds; the error says what cannot be
    /// written.
    pub(super) fn write(
        &self,
        service: &ServiceId,
        instance: &Instance,
        now_ms: u64,
    ) -> Result<(String, Bytes), String> {
        let directory = self.directories(service).swap_remove(0);
        let (name, data) = match self.kind {
            Kind::Curator => (instance.id.to_string(), records::write_curator(service, instance, now_ms)),
            Kind::Light4j => (instance.endpoint.address.to_string(), records::write_light_4j(service, instance)?),
        };
        let path = format!("{directory}/{name}");
        if name.contains('/') || self.place(&path) != Place::Instance(service.clone()) || servers::path(&path).is_err()
        {
            return Err(format!(
                "{name:?} of service {service:?} cannot be the name of a node: write no / and nothing that is reserved"
            ));
        }
        Ok((path, data))
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
    fn an_instance_has_a_node_of_its_own_and_names_that_are_none_are_refused() {
        let instance = |id: &str| {
            let address = model::Address { host: model::Host::parse("::1"), port: 80 };
            Instance::new(InstanceId::new(id).unwrap(), model::Endpoint { address, protocol: None })
        };
        let path =
            |layout: Layout, name: &str, id: &str| layout.write(&service(name), &instance(id), 0).map(|(path, _)| path);
        let curator = || Layout::curator("/services".into());
        let light_4j = || Layout::light_4j("/light/default".into());
        assert_eq!(path(curator(), "pets", "one").unwrap(), "/services/pets/one");
        assert_eq!(path(light_4j(), "pets", "one").unwrap(), "/light/default/pets/server/[::1]:80");
        for (layout, name, id) in [(curator(), "pets", "a/b"), (curator(), "pets", ".."), (light_4j(), "command", "a")]
        {
            assert!(path(layout, name, id).unwrap_err().contains("name of a node"), "{name} {id}");
        }
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
