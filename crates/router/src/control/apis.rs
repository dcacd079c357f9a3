//! The operator's listeners: admin, and the HTTP API of each embedded registry.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::StartError;

/// The APIs that run.
#[derive(Debug, Default)]
pub(super) struct Apis {
    running: Vec<Api>,
}

/// What makes an API another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    /// Where it listens, as it was configured.
    pub(super) address: SocketAddr,
    /// A new registry behind the same address is another API; everything else it follows as it goes.
    pub(super) directory: Option<PathBuf>,
}

#[derive(Debug)]
struct Api {
    place: Place,
    /// Whoever takes its place listens on from it: no connection is refused in between, and nobody else gets the address.
    socket: Socket,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What an API listens on, and where that is.
type Socket = (Arc<TcpListener>, SocketAddr);

/// The APIs that shall run. Of those that run already, no socket.
#[derive(Debug)]
pub(super) struct Prepared(Vec<(Place, Option<Socket>)>);

impl Apis {
    /// Has a socket for each API that does not run yet, so that all that can fail has happened before anything changes.
    ///
    /// # Errors
    /// The first address that cannot be had.
    pub(super) async fn prepare(&self, wanted: Vec<Place>) -> Result<Prepared, StartError> {
        let stays = |api: &&Api| wanted.contains(&api.place);
        let mut leaving: Vec<_> = self.running.iter().filter(|api| !stays(api)).collect();
        let mut prepared = Vec::new();
        for place in &wanted {
            let socket = if self.running.iter().any(|api| api.place == *place) {
                None
            } else if let Some(at) = leaving.iter().position(|api| api.place.address == place.address) {
                Some(leaving.swap_remove(at).socket.clone())
            } else {
                Some(open(place).await?)
            };
            prepared.push((place.clone(), socket));
        }
        Ok(Prepared(prepared))
    }

    /// Makes exactly these run, with the apps of their names. Those that stay are not touched.
    pub(super) async fn arrange(&mut self, Prepared(wanted): Prepared, mut apps: HashMap<String, axum::Router>) {
        let stays = |api: &Api| wanted.iter().any(|(place, _)| *place == api.place);
        let (running, mut leaving): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running).into_iter().partition(stays);
        self.running = running;
        for api in &mut leaving {
            drop(api.end.take());
        }
        for api in leaving {
            api.task.await.ok();
        }
        for (place, socket) in wanted {
            if let (Some(socket), Some(app)) = (socket, apps.remove(&place.name)) {
                self.running.push(Api::start(place, socket, app));
            }
        }
    }

    /// The address of the API of this name.
    pub(super) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.running.iter().find(|api| api.place.name == name).map(|api| api.socket.1)
    }

    /// Names and addresses of all.
    pub(super) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.running.iter().map(|api| (api.place.name.clone(), api.socket.1)).collect()
    }
}

async fn open(place: &Place) -> Result<Socket, StartError> {
    let failed = |error| StartError::bind(&place.name, place.address, &error);
    let socket = TcpListener::bind(place.address).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok((Arc::new(socket), address))
}

impl Api {
    fn start(place: Place, socket: Socket, app: axum::Router) -> Self {
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(admin::serve(Arc::clone(&socket.0), app, async {
            // Also when the sender is dropped.
            ended.await.ok();
        }));
        Self { place, socket, end: Some(end), task }
    }
}
