//! The names and tags of all services: which are to be watched because clients may name them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{ProviderError, ServiceId, Update};
use tokio::{sync::watch, time::sleep};
use transport::clock::tick;

use super::{agent::Agent, failure::Failure, index::Cursor, rhythm::Rhythm, watch::FILTERED};
use crate::provider::{Feed, Interest, pace::Pace};

/// Services and the tags any of their instances carries.
pub(super) type Names = BTreeMap<ServiceId, Vec<String>>;

/// The services to watch: those in use, and those in the catalogue that exposure matches.
pub(super) fn wanted(interest: &Interest, names: &Names) -> BTreeSet<ServiceId> {
    let exposed = |(service, tags): &(&ServiceId, &Vec<String>)| {
        interest.exposure.exposes(service, tags.iter().map(String::as_str))
    };
    let exposed = names.iter().filter(exposed).map(|(service, _)| service.clone());
    interest.services.iter().cloned().chain(exposed).collect()
}

/// Reads `/v1/catalog/services`; names no service can have here are left out and returned.
pub(super) fn read(body: &[u8]) -> Result<(Names, Vec<String>), serde_json::Error> {
    let all: BTreeMap<String, Option<Vec<String>>> = serde_json::from_slice(body)?;
    let (mut names, mut odd) = (Names::new(), Vec::new());
    for (name, tags) in all {
        match ServiceId::new(&name) {
            Ok(service) => drop(names.insert(service, tags.unwrap_or_default())),
            Err(error) => odd.push(error.to_string()),
        }
    }
    Ok((names, odd))
}

/// Watches the catalogue until the agent as a whole fails.
pub(super) async fn watch(agent: Arc<Agent>, feed: Feed, names: watch::Sender<Option<Names>>) -> ProviderError {
    let (mut cursor, mut rhythm) = (Cursor::default(), Rhythm::new(Pace::new(tick())));
    let mut told = None;
    loop {
        let (next, trouble) = match step(&agent, &names, cursor).await {
            Ok(done) => done,
            Err(failure) => match agent.concerns_it(failure).await {
                Ok(error) => (Cursor::default(), Some(format!("catalogue: {error}"))),
                Err(error) => return error,
            },
        };
        if trouble != told
            && let Some(reason) = trouble.clone()
            && let Err(closed) = feed.publish(Update::Skipped { service: None, reason }).await
        {
            return closed;
        }
        sleep(rhythm.wait(cursor, next, tick(), fastrand::f64())).await;
        (cursor, told) = (next, trouble);
    }
}

/// One question; what is odd about the answer.
async fn step(
    agent: &Agent,
    names: &watch::Sender<Option<Names>>,
    cursor: Cursor,
) -> Result<(Cursor, Option<String>), Failure> {
    let (next, answer) = agent.follow("/v1/catalog/services", cursor).await?;
    let Some(answer) = answer else { return Ok((next, None)) };
    let (new, odd) =
        read(&answer.body).map_err(|e| Failure::Question(ProviderError::Malformed(format!("catalogue: {e}"))))?;
    // A catalogue holds Consul itself at least: an empty one is one that we may not see.
    if new.is_empty() {
        return Ok((next, Some("the catalogue looks empty: give the token service:read and node:read".to_owned())));
    }
    names.send_if_modified(|old| old.replace(new) != *old);
    // What is left out is asked about by name as far as it had instances.
    let hidden = answer.filtered.then(|| format!("catalogue: {FILTERED}"));
    Ok((next, hidden.or_else(|| odd.into_iter().next())))
}

#[cfg(test)]
mod tests {
    use model::{Exposure, Tag};

    use super::*;

    #[test]
    fn services_in_use_and_exposed_ones_are_wanted() {
        let (names, odd) = read(br#"{"consul":[],"orders":["public","v2"],"pets":null,"com.a":[],"a b":[]}"#).unwrap();
        assert_eq!((names.len(), odd.len()), (4, 1));
        let interest = Interest {
            services: [ServiceId::new("routed").unwrap()].into(),
            exposure: Exposure::Matching {
                services: BTreeSet::new(),
                prefixes: vec!["com.".into()],
                tags: [Tag::new("public").unwrap()].into(),
            },
        };
        let wanted: Vec<_> = wanted(&interest, &names).iter().map(|s| s.as_str().to_owned()).collect();
        assert_eq!(wanted, ["com.a", "orders", "routed"]);
    }
}
