//! Lists in a mounted config map, which the kubelet writes. It tells when the new version is in place.

use std::{collections::BTreeMap, net::SocketAddr, sync::Mutex};

use tempfile::TempDir;
use testkit::ConfigMap;
use tokio::time::Instant;

use super::{GUEST, Registry, SERVICE, Told};

/// A new directory; removed at the end.
#[derive(Debug)]
pub struct Mounted {
    directory: TempDir,
    map: Mutex<(ConfigMap, BTreeMap<&'static str, SocketAddr>)>,
}

impl Mounted {
    /// Mounts one that holds nothing.
    ///
    /// # Panics
    /// If it cannot.
    #[must_use]
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a new directory");
        let map = ConfigMap::mount(directory.path());
        Self { directory, map: Mutex::new((map, BTreeMap::new())) }
    }

    /// Everything is in one file, as most have it.
    fn project(&self, change: impl FnOnce(&mut BTreeMap<&'static str, SocketAddr>)) -> Told {
        let mut map = self.map.lock().expect("nobody panicked");
        let (map, instances) = &mut *map;
        change(instances);
        let one = |(id, address): (&&str, &SocketAddr)| {
            let key = if *id == GUEST { format!("{SERVICE}|{GUEST}") } else { SERVICE.to_owned() };
            format!("  '{key}': [ 'h2c://{address}' ]\n")
        };
        let text = format!("services:\n{}", instances.iter().map(one).collect::<String>());
        let asked = Instant::now();
        map.project(&[("lists.yml", &text)]);
        Told { asked, told: Instant::now() }
    }
}

impl Default for Mounted {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry for Mounted {
    const NAME: &'static str = "config map";

    fn section(&self) -> String {
        format!("file: {{ path: '{}' }}", self.directory.path().display())
    }

    async fn register(&self, id: &'static str, address: SocketAddr) -> Told {
        self.project(|instances| {
            instances.insert(id, address);
        })
    }

    async fn deregister(&self, id: &'static str) -> Told {
        self.project(|instances| {
            instances.remove(id);
        })
    }
}
