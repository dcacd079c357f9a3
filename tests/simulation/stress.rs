//! Many threads pick, begin and end at once while tables are replaced: what is in flight is counted right at every moment
//! a thread can know of, and is zero when all is over.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use balancer::{Ask, Entry, Stake, Vitals};
use discovery::{Policies, Table, TableCell, TableReader, claims::Claimed};
use model::{Outcome, ServiceId, UpstreamKey};
use transport::{Lease, clock};

use crate::{
    run::POLICIES,
    script::{ALGORITHMS, SERVICE, instance},
};

const THREADS: u32 = 8;
/// Leases of one thread, at most.
const HELD: usize = 4;
const ROUNDS: u32 = 20_000;
const OUTCOMES: [Outcome; 7] = [
    Outcome::Answered(200),
    Outcome::ConnectFailed,
    Outcome::Refused,
    Outcome::Reset,
    Outcome::TimedOut,
    Outcome::Protocol,
    Outcome::Abandoned,
];

#[test]
fn in_flight_is_right_on_many_threads_and_zero_at_the_end() {
    for algorithm in ALGORITHMS {
        let policies = Arc::new(POLICIES[algorithm].clone());
        let cell = TableCell::new(Table::empty(policies.clone()));
        let seen = Mutex::new(HashMap::new());
        let over = AtomicBool::new(false);
        publish(&cell, &policies, 0);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| work(cell.reader(), &seen))).collect();
            scope.spawn(|| {
                // Instances come and go all the time; an instance that comes back is a new upstream.
                for round in (1..).take_while(|_| !over.load(Relaxed)) {
                    publish(&cell, &policies, round);
                    thread::sleep(Duration::from_micros(200));
                }
            });
            let finished: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            over.store(true, Relaxed);
            finished.into_iter().for_each(|worker| worker.unwrap());
        });
        let seen: HashMap<UpstreamKey, Arc<Vitals>> = seen.into_inner().unwrap();
        assert!(seen.len() > 4, "{algorithm}: nothing was replaced");
        for (key, vitals) in seen {
            assert_eq!(vitals.in_flight(), 0, "{algorithm}: {key:?} at the end");
        }
    }
}

/// Takes and settles leases, some of them by letting them fall.
fn work(mut reader: TableReader, seen: &Mutex<HashMap<UpstreamKey, Arc<Vitals>>>) {
    let mut held: Vec<Lease> = Vec::new();
    for _ in 0..ROUNDS {
        if held.len() < HELD && fastrand::bool() {
            let ask = Ask { hash: Some(fastrand::u64(..)), tried: &[], now: clock::tick() };
            let table = reader.load();
            let Ok(member) = table.exposed(SERVICE).unwrap().pick(None, &ask) else { continue };
            let upstream = member.upstream.clone();
            let lease = match upstream.vitals.try_begin(u32::MAX, ask.now, || Stake::Nothing) {
                Entry::Barred => Lease::take(upstream.clone()),
                entry => Lease::begun(upstream.clone(), ask.now, entry == Entry::Knock),
            };
            seen.lock().unwrap().insert(upstream.key, upstream.vitals.clone());
            held.push(lease);
        } else if !held.is_empty() {
            let mut lease = held.swap_remove(fastrand::usize(..held.len()));
            lease.head();
            if fastrand::u8(..10) > 0 {
                lease.settle(OUTCOMES[fastrand::usize(..OUTCOMES.len())]);
                lease.settle(Outcome::Reset);
            }
        }
        for lease in &held {
            let mine = held.iter().filter(|l| l.upstream().key == lease.upstream().key).count() as u32;
            let counted = lease.upstream().vitals.in_flight();
            assert!((mine..=THREADS * HELD as u32).contains(&counted), "{counted} in flight, {mine} of them mine");
        }
    }
}

/// A table of four instances; which ones depends on the round.
fn publish(cell: &TableCell, policies: &Arc<Policies>, round: u16) {
    let service = ServiceId::new(SERVICE).unwrap();
    let source: Arc<str> = "registry".into();
    let claimed = |who| Claimed { instance: Arc::new(instance(who)), source: source.clone(), resort: who % 4 == 0 };
    let list = (0..4).map(|at| claimed(1 + (round + at) % 6)).collect();
    if let Some(next) = cell.with(|table| table.next([(service, Some(list))], policies, clock::tick())) {
        drop(cell.store(next.table));
    }
}
