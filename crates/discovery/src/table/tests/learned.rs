//! What is learned of instances, by the rules of their service.

use std::time::Duration;

use model::Outcome;

use super::*;

#[test]
fn latencies_are_forgotten_as_soon_as_the_policies_say_and_no_reload_forgets_them_all() {
    let with = |yaml: &str| {
        let algorithm: Algorithm = settings::parse(yaml, "x.yml".as_ref(), &|_| None).unwrap();
        let default = crate::Policy { balance: algorithm.into(), ..(*policies().default).clone() };
        Policies { default: Arc::new(default), ..policies() }
    };
    let first = table(with("peak_ewma"), vec![("a", vec![instance("x", 1)])]);
    let answer = |table: &Table, millis, at: u64| {
        let (service, elapsed) = (table.service("a").unwrap(), Duration::from_millis(millis));
        let now = Tick::default().after(Duration::from_secs(at));
        let vitals = &service.members[0].upstream.vitals;
        vitals.end(Outcome::Answered(200), Tick::default(), elapsed, now, &service.vitals.peers);
        vitals.latency().unwrap().as_millis()
    };
    assert_eq!(answer(&first, 100, 1), 100);
    let quick = Arc::new(with("{ peak_ewma: { decay: 2s } }"));
    let second = first.next([(service("a"), list(vec![instance("x", 1)]))], &quick, NOW).unwrap().table;
    // 10 + 90 / e
    assert_eq!(answer(&second, 10, 3), 43);
}
