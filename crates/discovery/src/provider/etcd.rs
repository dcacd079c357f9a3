//! Instances from etcd v3: one list of everything below a prefix, then one watch from there.
//!
//! It speaks the JSON gateway, which every member serves on its client port since 3.4: the client crate for gRPC
//! compiles protocol files at build time and needs `protoc` for it.
//!
//! **A watch can die silently.** A member that lost the others keeps its watches open and says nothing; asked with
//! `hasleader`, it ends them after three election timeouts. One that hangs, or a connection that is gone, cannot even do
//! that, and progress notes come every ten minutes, or by a request that the gateway cannot take over HTTP/1. So a watch
//! lasts for `wait`, and the next one goes on at the revision after the last change we know: it misses nothing, costs one
//! small request, and its first word proves that the member lives and still has our history.
//!
//! | module | idea |
//! |---|---|
//! | `settings` | what an operator writes |
//! | `wire` | the gateway's JSON |
//! | `failure` | what a refusal means |
//! | `gateway` | questions to one member: log in, list, watch |
//! | `records` | a key and a value to an instance |
//! | `contents` | all records as we know them: lists, changes, and whether it is still the same history |
//! | `life` | list, follow, publish, until something fails |

mod contents;
mod failure;
mod gateway;
mod life;
mod records;
mod settings;
mod wire;

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use ::settings::Aside;
use model::{ProviderError, Update};
use tokio::time::{Instant, sleep};

use self::{contents::Contents, life::Memory};
use super::{
    Feed, Provider,
    held::Held,
    retry::{Retry, Stay},
};

pub use settings::{Access, Settings};

/// A life that lasted this long was a good one: what ended it is a new trouble.
const GOOD: Duration = Duration::from_secs(10);

/// While a cluster elects a leader none of its members answers us, and that is no outage yet. Two seconds are usual,
/// more if its machines are busy.
const ELECTION: Duration = Duration::from_secs(10);

/// An etcd cluster as a source of instances.
#[derive(Debug)]
pub struct Etcd {
    settings: Settings,
    memory: Memory,
    /// The endpoint in use. The first is chosen by chance, so that routers spread over the members.
    at: usize,
    /// Where password and certificates are read.
    aside: Aside,
}

impl Etcd {
    /// A source with these settings. Certificates and password files are read at the beginning of each life, and
    /// certificates once here to find mistakes.
    ///
    /// # Errors
    /// What cannot work in the settings, and what to write instead.
    pub fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        let contents = Contents::new(settings.range().0);
        let memory = Memory { contents, held: Held::default(), outdated: BTreeMap::new() };
        let at = fastrand::usize(..settings.endpoints.0.len());
        Ok(Self { at, settings, memory, aside: Aside::default() })
    }
}

impl Provider for Etcd {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let endpoints = self.settings.endpoints.0.clone();
        let (mut retry, mut failed, mut trouble) = (Retry::new(), Vec::new(), Instant::now());
        // One round over all endpoints.
        let (mut round, mut useful) = (Instant::now(), false);
        loop {
            let (begun, answers) = (Instant::now(), feed.answers());
            let endpoint = &endpoints[self.at % endpoints.len()];
            let Err(failure) = life::run(&self.settings, endpoint, &self.aside, &mut self.memory, feed).await;
            let error = failure.into_error();
            if error == ProviderError::Closed {
                return Err(error);
            }
            tracing::debug!(endpoint, %error, "etcd failed us");
            if feed.answers() > answers {
                trouble = Instant::now();
                useful = true;
                if begun.elapsed() > GOOD {
                    (round, failed) = (begun, Vec::new());
                }
            }
            failed.push(error);
            self.at += 1;
            // The others may do well: only when none does, the source is down.
            if failed.len() >= endpoints.len() {
                let error = telling(std::mem::take(&mut failed));
                let stay = Stay::ended(&error, useful, round.elapsed());
                if endpoints.len() == 1 || trouble.elapsed() >= ELECTION {
                    feed.publish(Update::Unreachable(error)).await?;
                }
                sleep(retry.after(stay, fastrand::f64())).await;
                (round, useful) = (Instant::now(), false);
            }
        }
    }
}

/// Of the errors of all members the one that says most: a member that speaks knows more than one that does not.
fn telling(mut errors: Vec<ProviderError>) -> ProviderError {
    let spoken = errors.iter().position(|error| !matches!(error, ProviderError::Unreachable(_)));
    errors.swap_remove(spoken.unwrap_or(0))
}

#[cfg(test)]
mod tests;
