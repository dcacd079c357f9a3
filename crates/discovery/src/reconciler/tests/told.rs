//! What grows too old, and what the history and the measures of freshness tell.

use super::*;
use crate::{
    Policy, Rules,
    history::{Event, Filter},
};

/// All events so far, in short.
fn events(stage: &Stage) -> Vec<String> {
    let short = |e: &Arc<Event>| {
        let ids: Vec<_> = e.instances.iter().filter_map(|i| i.split(' ').next()).collect();
        let (service, source) = (e.service.as_ref().map_or("", |s| s.as_str()), e.source.as_deref().unwrap_or(""));
        format!("{} {service} {source} {}", e.event.word(), ids.join(",")).replace("  ", " ").trim_end().to_owned()
    };
    stage.history.select(&Filter::default()).iter().map(short).collect()
}

fn limited(what: TooOld) -> Policies {
    let rules = Rules { max_stale: Some((Duration::from_secs(600), what)), ..Rules::default() };
    let limited = Policy { rules, ..(*policies().default).clone() };
    Policies { services: [(service("a"), Arc::new(limited))].into(), ..policies() }
}

async fn fails(stage: &Stage) {
    stage.updates.send((7, Update::Unreachable(ProviderError::Unreachable("the test".into())))).await.unwrap();
}

/// Envoy 6420.
#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_used_as_the_policy_says_until_the_source_answers() {
    for (what, expected) in [(TooOld::LastResort, "(1)(2)"), (TooOld::Refuse, ""), (TooOld::Serve, "12")] {
        let stage = Stage::with(limited(what), None).await;
        stage.says("a", &[1, 2]).await;
        stage.says("b", &[3]).await;
        sleep(Duration::from_secs(3600)).await;
        stage.check("a", "12");
        fails(&stage).await;
        sleep(Duration::from_secs(300)).await;
        // Failing again does not make it younger.
        fails(&stage).await;
        sleep(Duration::from_secs(299)).await;
        stage.check("a", "12");
        sleep(Duration::from_secs(2)).await;
        stage.check("a", expected);
        stage.check("b", "3");
        // That another service is certain again says nothing of this one.
        stage.says("b", &[3]).await;
        sleep(Duration::from_secs(1)).await;
        stage.check("a", expected);
        stage.says("a", &[1, 2]).await;
        sleep(Duration::from_secs(1)).await;
        stage.check("a", "12");
    }
}

/// Envoy Gateway 3740.
#[tokio::test(start_paused = true)]
async fn a_doubt_about_one_service_ages_that_one_only() {
    let stage = Stage::with(limited(TooOld::Refuse), None).await;
    stage.says("a", &[1]).await;
    sleep(Duration::from_secs(1)).await;
    let doubt = Knowledge::Unknown(ProviderError::Denied("a".into()));
    let update = Update::Service { service: service("a"), knowledge: doubt, deregistered: Vec::new() };
    stage.updates.send((7, update)).await.unwrap();
    sleep(Duration::from_secs(300)).await;
    stage.says("b", &[2]).await;
    sleep(Duration::from_secs(301)).await;
    stage.check("a", "");
    stage.says("a", &[1]).await;
    sleep(Duration::from_secs(1)).await;
    stage.check("a", "1");
    let told = events(&stage);
    assert_eq!(told[3..], ["doubt a test", "added b test 2", "too_old a", "certain a test"], "{told:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_history_tells_what_happened_and_why() {
    let stage = Stage::new().await;
    stage.says("a", &[1, 2, 3]).await;
    sleep(Duration::from_secs(1)).await;
    stage.says("a", &[1, 2]).await;
    stage.says("a", &[]).await;
    fails(&stage).await;
    fails(&stage).await;
    sleep(Duration::from_secs(1)).await;
    let upstream = stage.cell.load().service("a").unwrap().members[0].upstream.clone();
    stage.commands.send(Command::ConnectFailed(upstream)).await.unwrap();
    sleep(Duration::from_secs(31)).await;
    stage.updates.send((7, Update::Skipped { service: None, reason: "no port".into() })).await.unwrap();
    stage.says("a", &[4]).await;
    sleep(Duration::from_secs(1)).await;
    let expected = [
        "arranged",
        "up test",
        "added a test 1,2,3",
        "removed a test 3",
        "suspected a test 1,2,3",
        "down test",
        "settled a test 1",
        "settled a test 2,3",
        "skipped test",
        "up test",
        "added a test 4",
    ];
    assert_eq!(events(&stage), expected);
    let all = stage.history.select(&Filter::default());
    let causes: Vec<_> = [5, 6, 7, 8, 9].map(|at: usize| all[at].cause.as_str()).into();
    let told = ["cannot reach the test", "connect failed", "hold over", "no port", "it was down for 32 s"];
    assert_eq!(causes, told);
    assert_eq!(stage.source().suspected, 3, "withdrawals that looked like a fault");
}

#[tokio::test(start_paused = true)]
async fn what_many_services_gain_at_once_is_one_event_and_what_they_lose_is_told_of_each() {
    let stage = Stage::new().await;
    let everything = |services: std::ops::Range<u8>| {
        let list = |number: u8| (service(&format!("s{number}")), vec![Arc::new(instance("1", number))]);
        (7, Update::Everything(services.map(list).collect()))
    };
    stage.updates.send(everything(0..40)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(events(&stage), ["arranged", "up test", "added test"]);
    assert_eq!(stage.history.select(&Filter::default())[2].cause, "40 instances of 40 services");
    stage.updates.send(everything(1..42)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let mut told = events(&stage).split_off(3);
    told.sort();
    assert_eq!(told, ["added s40 test 1", "added s41 test 1", "suspected s0 test 1"]);
}

/// Traefik 1107.
#[tokio::test(start_paused = true)]
async fn freshness_counts_from_when_the_change_was_seen() {
    let stage = Stage::new().await;
    sleep(Duration::from_secs(1)).await;
    let update = Update::Service {
        service: service("a"),
        knowledge: Knowledge::of([instance("1", 1)]),
        deregistered: Vec::new(),
    };
    let seen = Instant::now() - Duration::from_millis(300);
    stage.updates.0.send(Message { source: 7, update, seen, pulse: Arc::default() }).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.source().freshness.last(), Duration::from_millis(300));
    assert_eq!(stage.freshness.last(), Duration::from_millis(300));
    // What changes nothing is not measured, and a reload keeps the measure.
    stage.says("a", &[1]).await;
    stage.arrange(&[(8, "test")], policies()).await;
    assert_eq!(stage.source().freshness.counts().map(|(_, n)| n).sum::<u64>(), 1);
}
