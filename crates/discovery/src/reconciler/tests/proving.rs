//! Who has to prove itself before it is used, and when looks begin and end.

use balancer::{Admission, Hold};

use super::*;
use crate::{
    Policy,
    health::{
        Check, Pace, Role,
        check::{Tcp, What as Looked},
    },
    history::Filter,
};

/// A check of a port where nobody listens.
fn checked(fall: u8) -> Policies {
    let (interval, timeout) = (Duration::from_secs(10), Duration::from_millis(10));
    let pace = Pace { interval, fast: Duration::from_secs(1), timeout, rise: 2, fall };
    let check = Check { what: Looked::Tcp(Tcp::default()), role: Role::Readiness, port: Some(1), pace };
    Policies { default: Arc::new(Policy { checks: [check].into(), ..(*policies().default).clone() }), ..policies() }
}

impl Stage {
    /// What keeps the instance of this number out.
    fn held(&self, number: &str) -> String {
        let state = |t: &Table| {
            let service = t.service("a").unwrap();
            let member = service.members.iter().find(|m| m.instance.id.as_str() == number).unwrap();
            match member.upstream.vitals.state(clock::tick()) {
                Admission::Held { by, .. } => by.to_string(),
                _ => "in".to_owned(),
            }
        };
        self.cell.with(state)
    }

    /// Another source than number 7 names the instances of `a`.
    async fn says_as(&self, source: SourceId, numbers: &[u8]) {
        let list = numbers.iter().map(|n| instance(&n.to_string(), *n));
        let update =
            Update::Service { service: service("a"), knowledge: Knowledge::of(list), deregistered: Vec::new() };
        self.updates.send((source, update)).await.unwrap();
    }

    async fn arrange_kind(&self, id: SourceId, kind: Kind, policies: Policies) {
        let (done, arranged) = oneshot::channel();
        let sources = vec![(id, "test".into(), kind)];
        self.commands.send(Command::Arrange { sources, policies: Arc::new(policies), done }).await.unwrap();
        arranged.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_there_at_the_start_serves_and_who_comes_later_waits_for_its_first_success() {
    let stage = Stage::with(checked(3), None).await;
    stage.says("a", &[1]).await;
    stage.generation(1).await;
    assert_eq!(stage.held("1"), "in");
    stage.says("a", &[1, 2]).await;
    stage.generation(2).await;
    assert_eq!((stage.held("1").as_str(), stage.held("2").as_str()), ("in", Hold::Unproven.as_str()));
    // Three looks, a second apart; the first at once.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(stage.held("2"), Hold::Check.as_str());
    // Who was there is looked at within an interval, and then as soon.
    sleep(Duration::from_secs(10)).await;
    assert_eq!(stage.held("1"), Hold::Check.as_str());
    let told = stage.history.select(&Filter::default());
    let told: Vec<_> = told.iter().filter(|e| e.event == What::Unhealthy).map(|e| &*e.instances[0]).collect();
    assert_eq!(told, ["2 10.0.0.2:80", "1 10.0.0.1:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_changed_by_a_reload_has_newcomers_too() {
    let stage = Stage::with(checked(20), None).await;
    stage.says("a", &[1]).await;
    stage.generation(1).await;
    // Another source of the same name, as a static list that is written anew.
    stage.arrange_kind(8, Kind::Static, checked(20)).await;
    stage.says_as(8, &[1, 2]).await;
    sleep(Duration::from_millis(5)).await;
    assert_eq!(stage.held("2"), Hold::Unproven.as_str());
}

#[tokio::test(start_paused = true)]
async fn until_a_source_has_told_all_nobody_it_names_first_is_new() {
    let stage = Stage::with(checked(20), None).await;
    for (generation, numbers) in [(1, &[1][..]), (2, &[1, 2])] {
        stage.says("a", numbers).await;
        stage.generation(generation).await;
    }
    assert_eq!((stage.held("1").as_str(), stage.held("2").as_str()), ("in", Hold::Unproven.as_str()));
    // Of other services it told nothing yet.
    stage.says("b", &[3]).await;
    stage.generation(3).await;
    let b = stage.cell.with(|t| t.service("b").unwrap().members[0].upstream.clone());
    assert!(b.vitals.admits(clock::tick()));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_reports_health_is_believed() {
    let stage = Stage::with(checked(20), None).await;
    stage.arrange_kind(8, Kind::Consul, checked(20)).await;
    for (generation, numbers) in [(1, &[1][..]), (2, &[1, 2])] {
        stage.says_as(8, numbers).await;
        stage.generation(generation).await;
    }
    assert_eq!(stage.held("2"), "in");
}

#[tokio::test(start_paused = true)]
async fn what_is_found_stays_over_a_reload_and_goes_with_the_check() {
    let stage = Stage::with(checked(1), None).await;
    stage.says("a", &[1]).await;
    stage.generation(1).await;
    stage.says("a", &[1, 2]).await;
    stage.generation(2).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.held("2"), Hold::Check.as_str());
    let mut other = checked(1);
    let turns = Policy { balance: balancer::Algorithm::RoundRobin.into(), ..(*other.default).clone() };
    other.default = Arc::new(turns);
    stage.arrange(&[(7, "test")], other).await;
    assert_eq!(stage.held("2"), Hold::Check.as_str(), "its check is the same");
    stage.arrange(&[(7, "test")], policies()).await;
    assert_eq!(stage.held("2"), "in", "nobody looks any more");
    sleep(Duration::from_secs(60)).await;
    assert_eq!((stage.held("1").as_str(), stage.held("2").as_str()), ("in", "in"), "really nobody");
    // Who serves goes on when a check is added.
    stage.arrange(&[(7, "test")], checked(20)).await;
    assert_eq!((stage.held("1").as_str(), stage.held("2").as_str()), ("in", "in"));
    // An unproven one is let go too.
    stage.says("a", &[1, 2, 3]).await;
    stage.generation(6).await;
    assert_eq!(stage.held("3"), Hold::Unproven.as_str());
    stage.arrange(&[(7, "test")], policies()).await;
    assert_eq!(stage.held("3"), "in");
}
