//! Lists in a directory. It tells when the file has its name.

use std::{net::SocketAddr, path::PathBuf};

use tempfile::TempDir;
use tokio::time::Instant;

use super::{GUEST, Registry, SERVICE, Told};

/// A new directory, with a file for each instance; removed at the end.
#[derive(Debug)]
pub struct File(TempDir);

impl File {
    /// Makes the directory.
    ///
    /// # Panics
    /// If it cannot.
    #[must_use]
    pub fn new() -> Self {
        Self(TempDir::new().expect("a new directory"))
    }

    fn of(&self, id: &str) -> PathBuf {
        self.0.path().join(format!("{id}.yml"))
    }
}

impl Default for File {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry for File {
    const NAME: &'static str = "file";

    fn section(&self) -> String {
        format!("file: {{ path: '{}' }}", self.0.path().display())
    }

    async fn register(&self, id: &'static str, address: SocketAddr) -> Told {
        let key = if id == GUEST { format!("{SERVICE}|{GUEST}") } else { SERVICE.to_owned() };
        let beside = self.of(id).with_extension("new");
        let text = format!("services: {{ '{key}': [ 'h2c://{address}' ] }}\n");
        done(|| std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, self.of(id))))
    }

    async fn deregister(&self, id: &'static str) -> Told {
        done(|| std::fs::remove_file(self.of(id)))
    }
}

fn done(change: impl FnOnce() -> std::io::Result<()>) -> Told {
    let asked = Instant::now();
    change().expect("the directory is ours");
    Told { asked, told: Instant::now() }
}
