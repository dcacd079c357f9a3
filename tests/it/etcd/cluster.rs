//! Three members: losing one, the leader, and all but one.

use discovery::provider::etcd::Settings;
use model::{ProviderError, Update};
use serde_json::json;
use settings::Span;

use super::rig::{Own, Registrar, environment, never_shorter, source};
use crate::source::named;

/// No outage is told, and nothing gets lost, until the service has this many instances.
async fn followed(source: &mut crate::source::Source, count: usize) {
    let followed = |update| {
        assert!(!matches!(update, Update::Unreachable(_)), "{update:?}");
        never_shorter(&update, 1);
        match update {
            Update::Service { knowledge: model::Knowledge::Known(list), .. } if list.len() == count => Some(()),
            _ => None,
        }
    };
    source.until(&format!("{count} instances"), followed).await;
}

/// Writes until some member takes it.
async fn put(own: &Own, down: usize, key: &str) {
    let url = own.urls.iter().enumerate().find(|(at, _)| at + 1 != down).unwrap().1;
    let registrar = Registrar::clear(url);
    for _ in 0..20 {
        if testkit::bounded("a write", registrar.try_put(key, "10.0.0.1:1")).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("no member takes a write");
}

/// The number of the leader.
async fn leader(own: &Own) -> usize {
    for (at, url) in own.urls.iter().enumerate() {
        let status = Registrar::clear(url).ask("maintenance/status", json!({})).await;
        if status["leader"] == status["header"]["member_id"] {
            return at + 1;
        }
    }
    panic!("no leader");
}

#[tokio::test]
async fn a_member_that_dies_or_hangs_is_left_for_another_without_an_outage() {
    if environment("ETCD_URL").is_none() {
        return;
    }
    let own = Own::start("cluster").await;
    put(&own, 0, "pets/1").await;
    // Three sources, wherever each begins: one of them at the member that goes.
    let settings = Settings { wait: Span::from_secs(1), ..Settings::new(own.urls.iter().cloned()) };
    let mut sources: Vec<_> = (0..3)
        .map(|at| {
            let mut settings = settings.clone();
            settings.endpoints.0.rotate_left(at);
            source(settings, named(&["pets"]))
        })
        .collect();
    for source in &mut sources {
        source.known("pets", 1).await;
    }
    let dead = leader(&own).await;
    own.node(dead, "kill");
    put(&own, dead, "pets/2").await;
    for source in &mut sources {
        followed(source, 2).await;
    }
    own.node(dead, "start");
    put(&own, dead, "pets/3").await;
    for source in &mut sources {
        followed(source, 3).await;
    }
    // Open and silent: found by the next watch.
    let hung = leader(&own).await;
    own.node(hung, "pause");
    put(&own, hung, "pets/4").await;
    for source in &mut sources {
        followed(source, 4).await;
    }
    own.node(hung, "resume");
}

#[tokio::test]
async fn without_a_quorum_the_source_says_so_and_keeps_what_it_knows() {
    if environment("ETCD_URL").is_none() {
        return;
    }
    let own = Own::start("cluster").await;
    put(&own, 0, "pets/1").await;
    // Longer than the test: only the member itself can tell that it lost the others.
    let settings = Settings { wait: Span::from_secs(600), ..Settings::new([own.urls[0].clone()]) };
    let mut source = source(settings, named(&["pets"]));
    source.known("pets", 1).await;
    own.node(2, "pause");
    own.node(3, "pause");
    let outage = |update| {
        never_shorter(&update, 1);
        match update {
            Update::Unreachable(error @ ProviderError::Failed(_)) => Some(error.to_string()),
            _ => None,
        }
    };
    source.until("a lost quorum", outage).await;
    let told = source.until("the reason", outage).await;
    assert!(told.contains("no leader") || told.contains("timed out"), "{told}");
    own.node(2, "resume");
    own.node(3, "resume");
    put(&own, 0, "pets/2").await;
    source.known("pets", 2).await;
}
