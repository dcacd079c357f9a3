//! Our own registry: services register themselves by HTTP, keep their lease by heartbeats, and are remembered on disk.
//!
//! * `registration`: what a service says of itself, checked.
//! * `registry`: who is registered, until when; the index that others can wait for.
//! * `lease`: which lease ends next.
//! * `journal`, `writer`: the disk, and the thread that waits for it.
//!
//! **On disk.** A change is routed when it is made and answered when the disk has it (one `fdatasync` for all changes
//! that wait). If the disk fails, registrations go on from memory and the answer says `stored: false`. Heartbeats are
//! not written. After a start every lease runs anew in full; the disk knows no times.

mod journal;
mod lease;
mod registration;
mod registry;
mod writer;

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use model::{Knowledge, ProviderError, Update};
use settings::SecretSource;
use tokio::time::{Instant, sleep_until};

use super::{Feed, Provider};

pub use registration::{Registration, default_id};
pub use registry::{Listing, NotRegistered, Registered, Registry};

/// The section `embedded`: `{ address: 127.0.0.1:8400, directory: data }`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the HTTP API listens.
    pub address: SocketAddr,
    /// Where registrations are kept. `null`: nowhere, and a restart forgets them.
    pub directory: Option<PathBuf>,
    /// What those who register must present. Required unless only this machine can connect.
    pub token: Option<SecretSource>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8400)), directory: Some("data".into()), token: None }
    }
}

impl Settings {
    /// Whether these settings are safe to use.
    ///
    /// # Errors
    /// If others than this machine could register without a token, and so take over any service.
    pub fn check(&self) -> Result<(), String> {
        // A token file may still come; that it is not there yet lets nobody in.
        let open = match &self.token {
            None => true,
            Some(SecretSource::Inline(token)) => token.is_empty(),
            Some(SecretSource::File(_)) => false,
        };
        if open && !self.address.ip().is_loopback() {
            return Err(format!(
                "address {} can be reached from other machines, which could then register instances of any service; \
                 set `token`, or listen on 127.0.0.1",
                self.address
            ));
        }
        Ok(())
    }
}

/// The registry as a source of instances: pushes changes, and ends leases.
#[derive(Debug)]
pub struct Embedded {
    registry: Registry,
}

impl Embedded {
    /// A source that says what this registry holds.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

impl Provider for Embedded {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let all = self.registry.take_everything();
        feed.publish(Update::Everything(all.into_iter().collect())).await?;
        loop {
            let expiry = self.registry.next_expiry();
            tokio::select! {
                () = self.registry.changed() => {}
                () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => self.registry.expire(),
            }
            for (service, list, deregistered) in self.registry.take_news() {
                let knowledge = Knowledge::of(list);
                feed.publish(Update::Service { service, knowledge, deregistered }).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str, expected: Result<(), &str>) {
        let read: Settings = settings::parse(yaml, std::path::Path::new("router.yml"), &|_| None).unwrap();
        match (read.check(), expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (result, _) => panic!("{yaml}: {result:?}"),
        }
    }

    #[test]
    fn only_this_machine_may_register_without_a_token() {
        check("{}", Ok(()));
        check("{ address: \"[::1]:8400\", directory: null }", Ok(()));
        check("address: 0.0.0.0:8400", Err("set `token`"));
        check("{ address: 0.0.0.0:8400, token: \"${TOKEN:}\" }", Err("set `token`"));
        check("{ address: 0.0.0.0:8400, token: secret }", Ok(()));
        check("{ address: 0.0.0.0:8400, token: { file: /run/token } }", Ok(()));
    }
}
