//! Instances from ZooKeeper: Curator's service discovery, and light-4j's layout.
//!
//! A source lives from one connection to the next. A *life* finds a server that takes the session, sets recursive watches
//! on what is of interest (or on everything, if exposure needs the catalogue), lists it, reads each node once, and from
//! then on reads what events name. A watch does not replay what happened while there was no connection, so a new
//! connection lists again, within the same session or in a new one. What was said stands and ages in between.
//!
//! We speak the protocol ourselves, because we need little of it (four requests to read, three to write, one event) and exactly: the client
//! crates bring a reactor and clocks of their own, and tell neither why TLS failed nor that a server refused.
//!
//! | module | idea |
//! |---|---|
//! | `settings`, `servers` | what an operator writes |
//! | `wire` | bytes: questions, answers, events |
//! | `session` | one connection: hand-shake, pings, and silence that is noticed |
//! | `connect` | servers one after the other, until one takes us |
//! | `resume` | what survives a connection: the session, and how far we have seen |
//! | `failure` | what an error code means |
//! | `layout` | paths to services and back |
//! | `records` | data of a node to an instance, and back; bad ones are skipped one by one |
//! | `tree` | what is known, what to ask next, what to say; pure |
//! | `life` | one connection from its first to its last word |
//! | `presence` | the other direction: an instance's own node, for `pointsman register` |

mod connect;
mod failure;
mod layout;
mod life;
mod presence;
mod records;
mod resume;
mod servers;
mod session;
mod settings;
mod tree;
mod wire;

use std::convert::Infallible;

use ::settings::Aside;
use model::{ProviderError, Update};
use tokio::time::{Instant, sleep};

use super::held::Held;
use super::retry::{Retry, Stay};
use super::{Feed, Provider};

pub use presence::Presence;
pub use settings::{Ensemble, LayoutKind, Settings};

use resume::Resume;

/// An ensemble of ZooKeeper servers as a source of instances.
#[derive(Debug)]
pub struct ZooKeeper {
    settings: Settings,
    held: Held,
    resume: Resume,
    /// Where certificates and secrets are read.
    aside: Aside,
}

impl ZooKeeper {
    /// A source with these settings. Certificates and secrets are read for each connection, and certificates once here
    /// to find mistakes.
    ///
    /// # Errors
    /// What cannot work in the settings, and what to write instead.
    pub fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        Ok(Self { settings, held: Held::default(), resume: Resume::default(), aside: Aside::default() })
    }
}

impl Provider for ZooKeeper {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let mut retry = Retry::new();
        loop {
            let (begun, answers) = (Instant::now(), feed.answers());
            let stay = match life::run(&self.settings, &self.aside, &mut self.resume, &self.held, feed).await {
                life::End::Closed => return Err(ProviderError::Closed),
                life::End::Failed(error) => {
                    let stay = Stay::ended(&error, feed.answers() > answers, begun.elapsed());
                    feed.publish(Update::Unreachable(error)).await?;
                    stay
                }
            };
            sleep(retry.after(stay, fastrand::f64())).await;
        }
    }
}
