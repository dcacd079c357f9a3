use std::time::Duration;

use balancer::{Admission, Eject, Hold, Rule};
use model::{Outcome, Tick};
use transport::Upstream;

use super::*;
use crate::{
    Guard, Policies, Policy, Table,
    history::{Filter, What},
    testing::{claimed, instance, policies, service},
};

const MS: Duration = Duration::from_millis(1);

struct Stage {
    outliers: Outliers,
    history: Arc<History>,
    totals: Arc<Totals>,
    cell: Arc<TableCell>,
}

/// A service `pets` of so many instances under these rules.
fn stage(count: u8, guard: Guard) -> Stage {
    let all = policies();
    let policies = Arc::new(Policies { default: Arc::new(Policy { guard, ..(*all.default).clone() }), ..all });
    let list = (0..count).map(|n| claimed(instance(&format!("i{n}"), n))).collect();
    let table =
        Table::empty(policies.clone()).next([(service("pets"), Some(list))], &policies, clock::tick()).unwrap().table;
    let cell = Arc::new(TableCell::new(table));
    let (history, totals) = (Arc::new(History::default()), Arc::new(Totals::default()));
    Stage { outliers: Outliers::new(cell.clone(), history.clone(), totals.clone()), history, totals, cell }
}

#[test]
fn a_look_without_news_looks_at_no_service() {
    let all = policies();
    let list = |n: u32| (service(&format!("s{n}")), Some(vec![claimed(instance("a", 1))]));
    let table =
        Table::empty(Arc::new(policies())).next((0..1000).map(list), &Arc::new(all), clock::tick()).unwrap().table;
    let cell = Arc::new(TableCell::new(table));
    let (history, totals) = (Arc::new(History::default()), Arc::new(Totals::default()));
    let mut outliers = Outliers::new(cell.clone(), history, totals.clone());
    assert!(outliers.look() >= 1000, "none was looked at before");
    // Other tests of this process have news now and then, and none all the time.
    let is_quiet = |outliers: &mut Outliers| (0..1000).any(|_| outliers.look() == 0);
    assert!(is_quiet(&mut outliers));
    let upstream = cell.load().service("s7").unwrap().members[0].upstream.clone();
    upstream.vitals.cut_off(clock::tick(), &upstream.service_vitals.peers);
    assert!(outliers.look() >= 1000);
    assert_eq!(totals.ejections().map(|(_, count)| count).sum::<u64>(), 1);
    assert!((0..1000).any(|_| outliers.look() == 1), "that one is watched until it is back");
}

impl Stage {
    fn upstream(&self, number: usize) -> Arc<Upstream> {
        self.cell.load().service("pets").unwrap().members[number].upstream.clone()
    }

    /// So many requests that took so long.
    fn ask(&self, number: usize, count: usize, outcome: Outcome, took: Duration) {
        let upstream = self.upstream(number);
        for _ in 0..count {
            let now = clock::tick();
            upstream.vitals.begin();
            let began = Tick(now.0.saturating_sub(took.as_nanos() as u64));
            upstream.vitals.end(outcome, began, took, now, &upstream.service_vitals.peers);
        }
    }

    fn out(&self) -> Vec<usize> {
        let members = self.cell.load().service("pets").unwrap().members.len();
        (0..members).filter(|n| self.upstream(*n).vitals.state(clock::tick()) != Admission::In).collect()
    }

    /// What was told, with the instances named.
    fn told(&self) -> Vec<(What, Vec<String>)> {
        let all = self.history.select(&Filter::default());
        all.iter().map(|e| (e.event, e.instances.iter().map(|i| i[..2].to_owned()).collect())).collect()
    }

    fn ejections(&self, of: Cause) -> u64 {
        self.totals.ejections().find(|(cause, _)| *cause == of).unwrap().1
    }
}

fn named(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

#[tokio::test(start_paused = true)]
async fn each_change_is_told_once() {
    let mut stage = stage(4, Guard::default());
    stage.ask(1, 5, Outcome::Answered(503), MS);
    for _ in 0..3 {
        stage.outliers.look();
    }
    assert_eq!(stage.told(), [(What::Ejected, named("i1"))]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    stage.ask(1, 1, Outcome::Answered(200), MS);
    for _ in 0..3 {
        stage.outliers.look();
    }
    assert_eq!(stage.told()[1..], [(What::Returned, named("i1"))]);
    // In and out between two looks.
    for _ in 0..2 {
        stage.ask(1, 5, Outcome::Reset, MS);
        stage.outliers.look();
        tokio::time::sleep(Duration::from_secs(10)).await;
        stage.ask(1, 1, Outcome::Answered(200), MS);
    }
    assert_eq!(stage.told()[2..], [(What::Ejected, named("i1")), (What::Ejected, named("i1"))]);
    assert_eq!(stage.ejections(Cause::Consecutive), 3);
}

#[tokio::test(start_paused = true)]
async fn room_is_given_back_and_a_panic_lets_all_in() {
    let mut stage = stage(4, Guard::default());
    stage.ask(0, 5, Outcome::Reset, MS);
    stage.ask(1, 5, Outcome::Reset, MS);
    stage.ask(2, 5, Outcome::Reset, MS);
    assert_eq!(stage.out(), [0, 1], "half of four");
    stage.outliers.look();
    tokio::time::sleep(Duration::from_secs(2)).await;
    stage.ask(0, 1, Outcome::Answered(200), MS);
    stage.outliers.look();
    stage.ask(2, 5, Outcome::Reset, MS);
    assert_eq!(stage.out(), [1, 2]);
    // Of four, checks take the other two: below 30 %.
    stage.upstream(0).vitals.hold(Hold::Check, clock::tick());
    stage.upstream(3).vitals.hold(Hold::Check, clock::tick());
    stage.outliers.look();
    assert_eq!(stage.out(), [0, 3]);
    assert_eq!((stage.told().last().unwrap().0, stage.totals.panics()), (What::Panicked, 1));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_leaves_too_few_lets_nobody_in_before_it_is_there_and_that_is_told() {
    let mut stage = stage(4, Guard::default());
    stage.ask(0, 5, Outcome::Reset, MS);
    stage.ask(1, 5, Outcome::Reset, MS);
    stage.outliers.look();
    let left = (0..2).map(|n| claimed(instance(&format!("i{n}"), n))).collect();
    let (table, policies) = (stage.cell.load(), stage.cell.with(|table| table.policies.clone()));
    let next = table.next([(service("pets"), Some(left))], &policies, clock::tick()).unwrap().table;
    assert_eq!(stage.out(), [0, 1], "by a table that nobody has");
    stage.cell.store(next);
    stage.outliers.look();
    assert_eq!(stage.out(), [0; 0]);
    let told: Vec<_> = stage.told().into_iter().map(|(what, _)| what).collect();
    assert_eq!((told, stage.totals.panics()), (vec![What::Ejected, What::Ejected, What::Panicked], 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_more_than_its_peers_is_out_after_an_interval() {
    let off = Eject { consecutive: None, ..Eject::default() };
    let mut stage = stage(10, Guard { eject: off, breaker: None });
    stage.outliers.round().await;
    for number in 0..10 {
        stage.ask(number, 200, Outcome::Answered(200), MS);
    }
    stage.ask(3, 100, Outcome::Answered(500), MS);
    stage.outliers.round().await;
    assert_eq!(stage.out(), [3]);
    assert_eq!(stage.told(), [(What::Ejected, named("i3"))]);
    stage.outliers.look();
    assert_eq!((stage.told().len(), stage.ejections(Cause::SuccessRate)), (1, 1), "told twice");
    let cause = &stage.history.select(&Filter::default())[0].cause;
    assert!(cause.starts_with("66.7 % of its requests succeeded"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_slow_is_out_after_three_intervals_and_quiet_services_cost_nothing() {
    let mut stage = stage(10, Guard::default());
    stage.outliers.round().await;
    for interval in 1..=4 {
        for number in 0..10 {
            stage.ask(number, 100, Outcome::Answered(200), if number == 7 { 800 * MS } else { 20 * MS });
        }
        stage.outliers.round().await;
        assert_eq!(stage.out(), if interval < 3 { vec![] } else { vec![7] }, "{interval}");
    }
    assert_eq!(stage.ejections(Cause::Latency), 1);
    // It comes back, and is as slow as before: one interval is enough now.
    tokio::time::sleep(Duration::from_secs(40)).await;
    stage.ask(7, 1, Outcome::Answered(200), MS);
    assert_eq!(stage.out(), [7; 0]);
    stage.outliers.round().await;
    for number in 0..10 {
        stage.ask(number, 100, Outcome::Answered(200), if number == 7 { 800 * MS } else { 20 * MS });
    }
    stage.outliers.round().await;
    assert_eq!(stage.out(), [7]);
}

#[tokio::test(start_paused = true)]
async fn the_circuit_of_a_service_is_told() {
    let rule = Rule { failures: 0.5, requests: 10, window: Duration::from_secs(10), open: Duration::from_secs(5) };
    let mut stage = stage(1, Guard { eject: Eject::default(), breaker: Some(rule) });
    let breaker = || stage.cell.load().service("pets").unwrap().vitals.clone();
    let vitals = breaker();
    let opens = (0..10).filter(|_| vitals.breaker.observe(clock::tick(), true, clock::tick()));
    assert_eq!(opens.count(), 1);
    stage.outliers.look();
    stage.outliers.look();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let now = clock::tick();
    assert!(vitals.breaker.admit(now).is_ok());
    vitals.breaker.observe(now, false, now);
    stage.outliers.look();
    let kinds: Vec<_> = stage.told().into_iter().map(|(what, _)| what).collect();
    assert_eq!((kinds, stage.totals.opened()), (vec![What::Opened, What::Closed], 1));
}

#[tokio::test(start_paused = true)]
async fn what_opened_once_is_counted_once_though_its_rule_goes_and_comes() {
    let rule = Rule { failures: 0.5, requests: 10, window: Duration::from_secs(10), open: Duration::from_secs(5) };
    let mut stage = stage(1, Guard { eject: Eject::default(), breaker: Some(rule) });
    let vitals = stage.cell.load().service("pets").unwrap().vitals.clone();
    for _ in 0..10 {
        vitals.breaker.observe(clock::tick(), true, clock::tick());
    }
    stage.outliers.look();
    for rule in [None, Some(rule), None, Some(rule)] {
        vitals.breaker.follow(rule.as_ref());
        stage.outliers.look();
        stage.outliers.look();
    }
    let kinds: Vec<_> = stage.told().into_iter().map(|(what, _)| what).collect();
    assert_eq!((kinds, stage.totals.opened()), (vec![What::Opened, What::Closed], 1));
}
