//! The router's own entry in a registry.

use std::time::Duration;

use admin::Admin;
use tokio::time::sleep;

use crate::announce::{Announcing, Settings};

/// Between two looks at whether the router is ready to be found.
const LOOK: Duration = Duration::from_millis(50);

/// What is announced now, if anything.
#[derive(Debug, Default)]
pub(super) struct Announced {
    running: Option<(Settings, Announcing)>,
}

impl Announced {
    /// Announces this, and nothing else, once the router is ready. What stays is not touched.
    ///
    /// It stays announced though a reload may make the router unready for a while: a registry that is new and does not
    /// answer fails no request but those for its services, and all routers follow the same file. If they left together,
    /// every request would fail.
    pub(super) async fn follow(&mut self, wanted: Option<Settings>, admin: Admin) {
        if wanted.as_ref() == self.running.as_ref().map(|(settings, _)| settings) {
            return;
        }
        self.leave().await;
        self.running = wanted.map(|settings| {
            let port = settings.port.unwrap_or_default();
            let ready = async move {
                while !admin::health::reasons(&admin).is_empty() {
                    sleep(LOOK).await;
                }
            };
            (settings.clone(), Announcing::when(ready, settings, port, None))
        });
    }

    /// Takes it out of the registry.
    pub(super) async fn leave(&mut self) {
        if let Some((_, announcing)) = self.running.take() {
            announcing.leave().await;
        }
    }
}
