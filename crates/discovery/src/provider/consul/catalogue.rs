//! The names and tags of all services: which are to be watched because clients may name them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use model::{ProviderError, ServiceId, Update};
use tokio::{sync::watch, time::sleep};
use transport::clock::tick;

use super::{
    agent::Agent,
    failure::Failure,
    index::{Cursor, Verdict},
    pace::{Backoff, Pace},
};
use crate::provider::{Feed, Interest};

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
pub(super) async fn watch(agent: Arc<Agent>, feed: Feed, names: watch::Sender<Names>) -> ProviderError {
    let calm = || Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
    let (mut cursor, mut pace, mut backoff) = (Cursor::default(), Pace::new(tick()), calm());
    let mut said: Option<String> = None;
    loop {
        let result = match agent.ask("/v1/catalog/services", cursor).await {
            Ok(answer) => {
                let (next, verdict) = cursor.after(answer.index);
                cursor = next;
                if verdict == Verdict::Use { read(&answer.body).map(Some).map_err(|e| e.to_string()) } else { Ok(None) }
            }
            Err(Failure::Agent(error)) => return error,
            Err(Failure::Doubtful(error)) if agent.canary().await.is_err() => return error,
            Err(other) => Err(other.into_error().to_string()),
        };
        let trouble = match result {
            Ok(None) => None,
            // A catalogue holds Consul itself at least: an empty one is one that we may not see.
            Ok(Some((new, _))) if new.is_empty() => {
                Some("catalogue is empty: the token has no service:read on any service, or no node:read".to_owned())
            }
            Ok(Some((new, odd))) => {
                names.send_if_modified(|old| std::mem::replace(old, new) != *old);
                odd.into_iter().next()
            }
            Err(error) => {
                cursor = Cursor::default();
                sleep(backoff.next(fastrand::f64())).await;
                Some(format!("catalogue: {error}"))
            }
        };
        match trouble {
            Some(reason) if said.as_ref() != Some(&reason) => {
                said = Some(reason.clone());
                if let Err(closed) = feed.publish(Update::Skipped { service: None, reason }).await {
                    return closed;
                }
            }
            Some(_) => {}
            None => backoff = calm(),
        }
        sleep(pace.wait(tick())).await;
    }
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
