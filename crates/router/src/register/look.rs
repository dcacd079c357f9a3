//! Is the service ready: asked before it is registered, and as long as it is.

use std::{convert::Infallible, time::Duration};

use discovery::provider::embedded::{Probe, Registration};
use serde_json::json;
use tokio::time::sleep;

/// Looks in a row that fail before the service leaves the registry.
const FALL: u32 = 3;
/// Between two looks at a service that is not ready yet: what a start is waited for.
const SOON: Duration = Duration::from_millis(200);

/// How to look.
#[derive(Debug)]
pub(super) struct Looking {
    registration: Registration,
    every: Duration,
}

impl Looking {
    /// At this port; with a path by HTTP, else whether a connection can be made.
    pub(super) fn new(
        host: &str,
        port: u16,
        health: Option<&str>,
        https: bool,
        every: Duration,
    ) -> Result<Self, String> {
        let seconds = every.max(Duration::from_secs(1)).as_secs();
        let check = match health {
            Some(path) => json!({ "type": "http", "path": path, "interval": format!("{seconds}s") }),
            None => json!({ "type": "tcp", "interval": format!("{seconds}s") }),
        };
        let protocol = if https { "https" } else { "http" };
        let registration =
            json!({ "name": "own", "ip": host, "port": port, "protocol": protocol, "checks": [ check ] });
        let registration = serde_json::from_value(registration).map_err(|e| e.to_string())?;
        Ok(Self { registration, every })
    }

    /// Looks for good, and tells what it finds.
    pub(super) async fn run(self, tell: impl Fn(bool)) -> Infallible {
        let probe = Probe::of_own();
        let (mut ready, mut failed, mut said) = (false, 0, false);
        loop {
            let found = match self.registration.checks.first() {
                Some(check) => probe.look(&self.registration, check).await,
                None => Err("there is no check".to_owned()),
            };
            match found {
                Ok(output) => {
                    failed = 0;
                    if !std::mem::replace(&mut ready, true) {
                        tracing::info!(output, "the service is ready");
                    }
                }
                Err(output) => {
                    failed += 1;
                    if ready && failed >= FALL {
                        ready = false;
                        tracing::warn!(output, "the service is not ready any more");
                    } else if !ready && !std::mem::replace(&mut said, true) {
                        tracing::info!(output, "waiting until the service is ready");
                    }
                }
            }
            tell(ready);
            sleep(if ready { self.every } else { SOON }).await;
        }
    }
}
