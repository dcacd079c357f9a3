//! Servers that die, forget, hang and lose their leader.

use std::{collections::BTreeSet, time::Duration};

use discovery::provider::{Interest, zookeeper::Settings};
use model::{Exposure, Knowledge, Update};
use serde_json::json;
use settings::Span;
use tokio::time::Instant;

use super::{
    below,
    rig::{Link, Own, Writer, environment, record, source},
};
use crate::{
    registry::unique,
    source::{Source, named},
};

/// The source says that nothing can be reached, and not that there is nothing.
async fn outage(source: &mut Source) {
    source
        .until("an outage", |update| match update {
            Update::Unreachable(_) => Some(()),
            Update::Service { knowledge: Knowledge::KnownEmpty, .. } => panic!("an outage was read as an empty list"),
            _ => None,
        })
        .await;
}

/// A persistent record in a server of our own, and a source that knows it from the catalogue.
async fn known(own: &Own, settings: Settings) -> (String, Source) {
    let name = unique("kept");
    let mut writer = Writer::new(&own.servers);
    writer.create(&format!("/services/{name}/1"), &record("10.0.0.1", 80, &json!({})));
    let everything = Interest { services: BTreeSet::new(), exposure: Exposure::Everything };
    let mut source = source(settings, everything);
    source.known(&name, 1).await;
    (name, source)
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_is_an_outage_and_one_that_forgot_says_so() {
    if environment("ZOOKEEPER").is_none() {
        return;
    }
    let own = Own::start("single");
    let settings = Settings { session_timeout: Span::from_secs(2), ..Settings::new(&*own.servers) };
    let (name, mut source) = known(&own, settings).await;
    own.node(1, "kill");
    outage(&mut source).await;
    own.node(1, "start");
    source.known(&name, 1).await;

    own.node(1, "kill");
    outage(&mut source).await;
    own.wipe(1);
    own.node(1, "start");
    // It refuses who has seen more than it has, and so us, until the session cannot be alive any more. What it says
    // then is what it knows; that a withdrawal of everything is suspect is decided elsewhere.
    source.empty(&name).await;
    let mut writer = Writer::new(&own.servers);
    writer.create(&format!("/services/{name}/2"), &record("10.0.0.2", 80, &json!({})));
    assert_eq!(source.known(&name, 1).await[0].id.as_str(), "2");
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_within_the_session_timeout_and_heals() {
    if environment("ZOOKEEPER").is_none() {
        return;
    }
    let own = Own::start("single");
    let settings = Settings { session_timeout: Span::from_secs(6), ..Settings::new(&*own.servers) };
    let (name, mut source) = known(&own, settings).await;
    own.node(1, "pause");
    let begun = Instant::now();
    outage(&mut source).await;
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
    own.node(1, "resume");
    source.known(&name, 1).await;
}

/// Traefik 8948.
#[tokio::test]
async fn what_happens_while_the_link_is_cut_is_known_when_it_is_whole() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (base, name) = (format!("/{}", unique("base")), unique("pets"));
    let at = |id: &str| format!("{base}/{name}/{id}");
    let mut writer = Writer::new(&servers);
    for id in ["stays", "leaves", "changes"] {
        writer.register(&at(id), &record("10.0.0.1", 80, &json!({})));
    }
    let link = Link::to(&servers).await;
    // First the session outlives the cut, then it does not.
    for (timeout, away) in [(12, Duration::ZERO), (1, Duration::from_secs(3))] {
        let settings = Settings { session_timeout: Span::from_secs(timeout), ..below(&link.address, &base).into() };
        let mut source = source(settings, named(&[&name]));
        source.known(&name, 3).await;
        link.cut();
        outage(&mut source).await;
        let version = format!("{timeout}");
        writer.delete(&at("leaves"));
        writer.register(&at(&format!("comes-{timeout}")), &record("10.0.0.3", 80, &json!({})));
        writer.set(&at("changes"), &record("10.0.0.1", 80, &json!({ "version": version })));
        tokio::time::sleep(away).await;
        link.mend();
        let right = |k: &Knowledge| match k {
            Knowledge::Known(list) => {
                let ids: Vec<_> = list.iter().map(|i| i.id.as_str().to_owned()).collect();
                ids == ["changes".to_owned(), format!("comes-{timeout}"), "stays".to_owned()]
                    && list[0].label("version") == Some(&version)
            }
            _ => false,
        };
        source.knowledge(&name, right).await;
        writer.delete(&at(&format!("comes-{timeout}")));
        writer.register(&at("leaves"), &record("10.0.0.1", 80, &json!({})));
    }
}

#[tokio::test]
async fn an_ensemble_that_loses_its_leader_goes_on_and_without_a_quorum_nothing_is_forgotten() {
    if environment("ZOOKEEPER").is_none() {
        return;
    }
    let own = Own::start("cluster");
    let (name, mut source) = known(&own, Settings::new(&*own.servers)).await;
    let at = |id: &str| format!("/services/{name}/{id}");
    let mut writer = Writer::new(&own.servers);
    writer.register(&at("2"), &record("10.0.0.2", 80, &json!({})));
    source.known(&name, 2).await;

    let first = own.leader();
    own.node(first, "kill");
    // Whoever it was connected to: a new leader is found, the writer's session lives, and so does its node.
    writer.register(&at("3"), &record("10.0.0.3", 80, &json!({})));
    source
        .until("a third instance", |update| match update {
            Update::Service { knowledge: Knowledge::Known(list), .. } if list.len() == 3 => Some(()),
            Update::Service { knowledge: Knowledge::KnownEmpty, .. } => panic!("an election was read as an empty list"),
            _ => None,
        })
        .await;

    let second = own.leader();
    own.node(second, "kill");
    outage(&mut source).await;
    own.node(first, "start");
    own.node(second, "start");
    source.known(&name, 3).await;
}
