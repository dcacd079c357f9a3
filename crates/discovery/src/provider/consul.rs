//! Instances from Consul, by blocking queries on the services in use.
//!
//! A source lives from one outage to the next. A life begins with one *canary* query; if the agent answers it, every
//! service in use gets a task that holds a blocking query (`watch`). The first failure that concerns the agent as a
//! whole ends the life and with it all tasks: what they said stands and ages until the next canary succeeds. So a
//! thousand services ask a dead agent once in a while, not a thousand times.
//!
//! | module | idea |
//! |---|---|
//! | `settings` | what an operator writes |
//! | `index` | the rules of blocking queries, as a pure function |
//! | `rhythm` | when a watch asks again |
//! | `records` | JSON to instances; bad records are skipped one by one |
//! | `failure` | what a failed question means, and for whom |
//! | `agent` | questions and answers, and whether an empty answer is to be believed |
//! | `token` | the token, and whether Consul ever knew it |
//! | `watch` | one service, one task |
//! | `catalogue` | the names and tags of all services, if exposure needs them |
//! | `life` | which tasks run |
//! | `sweep`, `changes` | many services over connections that cannot be shared: two watches and re-reads |

mod agent;
mod catalogue;
mod changes;
mod failure;
mod index;
mod life;
mod records;
mod rhythm;
mod settings;
mod sweep;
mod token;
mod watch;

use std::{convert::Infallible, time::Duration};

use ::settings::Aside;
use model::{ProviderError, Update};

use super::held::Held;
use super::retry::{Retry, Stay};
use super::{Feed, Provider};

pub use settings::Settings;

/// The longest pause to an agent on this machine that answers and fails.
const NEAR: Duration = Duration::from_secs(1);

/// A Consul agent as a source of instances.
#[derive(Debug)]
pub struct Consul {
    settings: Settings,
    held: Held,
    /// Where token and certificates are read.
    aside: Aside,
    accepted: token::Accepted,
}

impl Consul {
    /// A source with these settings. Certificates and token files are read at the beginning of each life, and once
    /// here to find mistakes; a token file may still come.
    ///
    /// # Errors
    /// What cannot work in the settings, and what to write instead.
    pub fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        Ok(Self { settings, held: Held::default(), aside: Aside::default(), accepted: token::Accepted::default() })
    }

    /// Between canaries: an agent on this machine is asked again soon, one that many routers share is given time.
    fn retry(&self) -> Retry {
        if self.settings.is_local() { Retry::up_to(NEAR) } else { Retry::new() }
    }
}

impl Provider for Consul {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let mut retry = self.retry();
        loop {
            let begun = tokio::time::Instant::now();
            let stay = match life::run(&self.settings, &self.aside, &self.accepted, &self.held, feed).await {
                life::End::Closed => return Err(ProviderError::Closed),
                life::End::Failed { error, reached } => {
                    let stay = Stay::ended(&error, reached, begun.elapsed());
                    feed.publish(Update::Unreachable(error)).await?;
                    stay
                }
            };
            tokio::time::sleep(retry.after(stay, fastrand::f64())).await;
        }
    }
}

#[cfg(test)]
mod tests;
