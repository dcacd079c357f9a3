//! The operator's listeners: admin, and the HTTP API of each embedded registry.

use std::{io, net::SocketAddr, path::PathBuf};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::StartError;

/// The APIs that run.
#[derive(Debug, Default)]
pub(super) struct Apis {
    running: Vec<Api>,
}

#[derive(Debug)]
struct Api {
    name: String,
    configured: SocketAddr,
    /// A new registry behind the same address is another API; everything else it follows as it goes.
    directory: Option<PathBuf>,
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// An API that shall run.
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) directory: Option<PathBuf>,
    pub(super) app: axum::Router,
}

impl Apis {
    /// Opens the addresses nobody of ours listens on yet, so that one that cannot be had is known before anything
    /// changes.
    ///
    /// # Errors
    /// The first address that cannot be had.
    pub(super) async fn open_new(&self, wanted: &[(String, SocketAddr)]) -> Result<Opened, StartError> {
        let mut opened = Vec::new();
        for (name, address) in wanted {
            if !self.running.iter().any(|api| api.configured == *address) {
                opened.push((*address, open(name, *address).await?));
            }
        }
        Ok(opened)
    }

    /// Makes exactly these run. Those that stay are not touched.
    ///
    /// # Errors
    /// If an address cannot be had that was not opened before.
    pub(super) async fn arrange(&mut self, wanted: Vec<Wanted>, mut opened: Opened) -> Result<(), StartError> {
        let mut next = Vec::new();
        let mut new = Vec::new();
        for api in wanted {
            let same =
                |old: &Api| old.name == api.name && old.configured == api.address && old.directory == api.directory;
            match self.running.iter().position(same) {
                Some(at) => next.push(self.running.remove(at)),
                None => new.push(api),
            }
        }
        // What gives way frees its address for what comes.
        for mut old in std::mem::replace(&mut self.running, next) {
            old.stop().await;
        }
        for api in new {
            let socket = match opened.iter().position(|(address, _)| *address == api.address) {
                Some(at) => opened.swap_remove(at).1,
                None => open(&api.name, api.address).await?,
            };
            self.running.push(Api::start(socket, api)?);
        }
        Ok(())
    }

    /// The address of the API of this name.
    pub(super) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.running.iter().find(|api| api.name == name).map(|api| api.address)
    }

    /// Names and addresses of all.
    pub(super) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.running.iter().map(|api| (api.name.clone(), api.address)).collect()
    }
}

/// Sockets opened ahead, by the address that was asked for.
pub(super) type Opened = Vec<(SocketAddr, TcpListener)>;

async fn open(name: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::bind(name, address, &error))
}

impl Api {
    fn start(socket: TcpListener, api: Wanted) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(admin::serve(socket, api.app, async {
            // Also when the sender is dropped.
            ended.await.ok();
        }));
        Ok(Self { name: api.name, configured: api.address, directory: api.directory, address, end: Some(end), task })
    }

    async fn stop(&mut self) {
        drop(self.end.take());
        (&mut self.task).await.ok();
    }
}

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted").field("name", &self.name).field("address", &self.address).finish_non_exhaustive()
    }
}
