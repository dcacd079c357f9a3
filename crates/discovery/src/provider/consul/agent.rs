//! Questions to one agent during one life of the source.

use std::{sync::Arc, time::Duration};

use ::settings::{Aside, Secret};
use bytes::Bytes;
use http::HeaderValue;
use model::{ProviderError, ServiceId};
use tokio::{sync::Semaphore, time::Instant};
use transport::client::{Client, ClientSettings, Questions, Response, escaped};

use super::{
    failure::{self, Failure},
    index::{Cursor, Verdict},
    settings::Settings,
    token::{self, Accepted},
};
use crate::provider::{aside, single_flight::SingleFlight};

/// Questions that do not block, at once: after an outage every watch asks one.
const AT_ONCE: usize = 50;
/// For an answer the agent has at hand, and on top of `wait` for one it blocks on.
const ANSWER: Duration = Duration::from_secs(5);
/// A server that has not heard from its leader for longer than this is not to answer itself: it asks the leader, and fails
/// if there is none. Longer than an election takes; without it, a server that is cut off answers for ever.
const MAX_STALE: &str = "max_stale=30s";

/// The agent as our settings reach it.
#[derive(Debug)]
pub(super) struct Agent {
    client: Client,
    pub(super) settings: Settings,
    token: Option<Secret>,
    accepted: Accepted,
    permits: Semaphore,
    canaries: SingleFlight<Result<(), Failure>>,
    /// Whether our token may see the list of nodes.
    nodes: SingleFlight<Result<bool, Failure>>,
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) index: Option<u64>,
    /// When it was at hand.
    pub(super) seen: Instant,
    /// The registry says that it left out what our token may not see (Consul 1.11 and later).
    pub(super) filtered: bool,
}

impl Agent {
    /// Reads the token and the certificates, as they are now.
    pub(super) async fn open(
        settings: &Settings,
        aside: &Aside,
        accepted: &Accepted,
        questions: Arc<Questions>,
    ) -> Result<Arc<Self>, Failure> {
        let (own, accepted) = (settings.clone(), accepted.clone());
        let read = aside::read(aside, "token or certificates", move || Self::new(&own, accepted, questions)).await;
        read.unwrap_or_else(|stalled| Err(Failure::Agent(stalled)))
    }

    /// The same. Blocks.
    fn new(settings: &Settings, accepted: Accepted, questions: Arc<Questions>) -> Result<Arc<Self>, Failure> {
        let token = token::read(settings).map_err(Failure::Agent)?;
        let headers = token::headers(token.as_ref()).map_err(Failure::Agent)?;
        let client = ClientSettings { headers, questions, ..settings.client() };
        let client = Client::new(client).map_err(|e| failure::no_answer(e, Duration::ZERO, settings.is_secure()))?;
        let (settings, permits) = (settings.clone(), Semaphore::new(AT_ONCE));
        Ok(Arc::new(Self {
            client,
            settings,
            token,
            accepted,
            permits,
            canaries: SingleFlight::default(),
            nodes: SingleFlight::default(),
        }))
    }

    /// Whether watches share connections, as the canary found out.
    pub(super) fn multiplexes(&self) -> bool {
        self.client.multiplexes()
    }

    /// One small question of the kind all others are: does the agent answer, and does it know our token?
    pub(super) async fn canary(&self) -> Result<(), Failure> {
        self.ask("/v1/health/service/consul", Cursor::default()).await?;
        self.accepted.note(self.token.as_ref());
        Ok(())
    }

    /// Asks for a resource; with an index in the cursor, for its next state.
    pub(super) async fn ask(&self, path: &str, cursor: Cursor) -> Result<Answer, Failure> {
        let wait = self.settings.wait.get();
        // The agent adds up to a sixteenth of its own, so that watches spread.
        let patience = if cursor.index().is_some() { wait + wait / 16 + ANSWER } else { ANSWER };
        let permit = if cursor.index().is_none() { self.permits.acquire().await.ok() } else { None };
        let response = self.get(&self.query(path, cursor, wait), patience).await?;
        let seen = Instant::now();
        drop(permit);
        if response.status != http::StatusCode::OK {
            return Err(self.refused(&response));
        }
        let text = |name| response.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        Ok(Answer {
            index: text("x-consul-index").and_then(|index| index.parse().ok()),
            filtered: text("x-consul-results-filtered-by-acls") == Some("true"),
            body: response.body,
            seen,
        })
    }

    /// Where a watch of a resource goes on, and the answer it is to use, if it is.
    pub(super) async fn follow(&self, path: &str, cursor: Cursor) -> Result<(Cursor, Option<Answer>), Failure> {
        let answer = match self.ask(path, cursor).await {
            // Every blocked query ends with 500 when a leader dies; what there is, a plain one is to say.
            Err(Failure::Doubtful(_)) if cursor.index().is_some() => return Ok((Cursor::default(), None)),
            answer => answer?,
        };
        let (next, verdict) = cursor.after(answer.index);
        Ok((next, (verdict == Verdict::Use).then_some(answer)))
    }

    /// Whether an answer without any record, seen at this time, means that there is none.
    ///
    /// With access control on, a token that may not read a service gets 200 and an empty list, and Consul before 1.11
    /// says nothing about it. Two documented questions tell: the agent-local health of a service name is refused with
    /// 403 unless the token has `service:read` on it (404 is "may read, none here"), and the list of nodes, of which a
    /// registry always has one, is empty unless the token has `node:read`. Both pass when access control is off. Rights
    /// may be taken away at any time, so that only what is asked after the empty answer counts.
    ///
    /// `Ok(None)` if the answer is to be believed, else what the token lacks.
    pub(super) async fn lacks(&self, service: &ServiceId, seen: Instant) -> Result<Option<String>, Failure> {
        let path = format!("/v1/agent/health/service/name/{}", escaped(service.as_str()));
        let response = self.get(&path, ANSWER).await?;
        // 429 and 503 are how this question says `warning` and `critical`.
        if !matches!(response.status.as_u16(), 200 | 404 | 429 | 503) {
            return match self.refused(&response) {
                Failure::Question(ProviderError::Denied(_)) => {
                    Ok(Some(format!("the token has no service:read on {:?}", service.as_str())))
                }
                other => Err(other),
            };
        }
        let sees_nodes = Box::pin(async {
            let nodes = self.ask("/v1/catalog/nodes", Cursor::default()).await?;
            Ok(nodes.body.trim_ascii() != b"[]")
        });
        let sees_nodes = self.nodes.since(seen, sees_nodes).await?;
        Ok((!sees_nodes).then(|| "the token has no node:read".to_owned()))
    }

    /// Whom a failure concerns: `Ok` is the question's own error, `Err` one of the agent as a whole.
    pub(super) async fn concerns_it(&self, failure: Failure) -> Result<ProviderError, ProviderError> {
        match failure {
            Failure::Agent(error) => Err(error),
            Failure::Doubtful(error) if self.canaries.since(Instant::now(), Box::pin(self.canary())).await.is_err() => {
                Err(error)
            }
            Failure::Doubtful(error) | Failure::Question(error) => Ok(error),
        }
    }

    async fn get(&self, path: &str, patience: Duration) -> Result<Response, Failure> {
        let asked = Instant::now();
        let got = self.client.get(path, asked + patience).await;
        got.map_err(|error| failure::no_answer(error, asked.elapsed(), self.settings.is_secure()))
    }

    fn refused(&self, response: &Response) -> Failure {
        failure::refused(response.status, &response.body, self.accepted.knows(self.token.as_ref()))
    }

    fn query(&self, path: &str, cursor: Cursor, wait: Duration) -> String {
        let mut parts = Vec::new();
        if self.settings.stale {
            parts.extend(["stale".to_owned(), MAX_STALE.to_owned()]);
        }
        if let Some(datacenter) = &self.settings.datacenter {
            parts.push(format!("dc={}", escaped(datacenter)));
        }
        // Lists of anything else have an order that nobody looks at.
        if let Some(near) = &self.settings.near {
            parts.push(format!("near={}", escaped(near)));
        }
        if let Some(index) = cursor.index() {
            parts.push(format!("index={index}&wait={}ms", wait.as_millis()));
        }
        if parts.is_empty() { path.to_owned() } else { format!("{path}?{}", parts.join("&")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fabio 764.
    #[test]
    fn a_question_carries_what_the_settings_say() {
        let settings = Settings {
            datacenter: Some("dc 2".into()),
            near: Some("_agent".into()),
            ..Settings::new("http://127.0.0.1:1")
        };
        let agent = Agent::new(&settings, Accepted::default(), Arc::default()).unwrap();
        let wait = Duration::from_secs(60);
        let (blocked, _) = Cursor::default().after(Some(9));
        assert_eq!(
            agent.query("/p", blocked, wait),
            "/p?stale&max_stale=30s&dc=dc%202&near=_agent&index=9&wait=60000ms"
        );
        let settings = Settings { stale: false, ..Settings::new("http://127.0.0.1:1") };
        let plain = Agent::new(&settings, Accepted::default(), Arc::default()).unwrap();
        assert_eq!(plain.query("/p", Cursor::default(), wait), "/p");
    }
}
