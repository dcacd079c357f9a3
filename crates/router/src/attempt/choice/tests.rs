use std::cell::Cell;

use balancer::Peers;
use model::{Address, Endpoint, Host, Instance, InstanceId, Protocol, ServiceId};
use proptest::prelude::*;
use transport::{Learned, Upstream};

use super::*;

const NOW: Tick = Tick(1_000_000_000);
const NO_LIMIT: u32 = u32::MAX;

/// An instance with so many requests in flight.
fn member(number: u64, in_flight: u32) -> Member {
    let address = Address { host: Host::Ip([127, 0, 0, 1].into()), port: 80 };
    let id = InstanceId::new(&format!("i{number}")).unwrap();
    let instance = Instance::new(id.clone(), Endpoint { address: address.clone(), protocol: None });
    let upstream =
        Upstream::new(ServiceId::new("pets").unwrap(), id, address, Protocol::Http, None, Learned::default());
    (0..in_flight).for_each(|_| upstream.vitals.begin());
    Member {
        instance: Arc::new(instance),
        upstream: Arc::new(upstream),
        source: "test".into(),
        resort: false,
        token: Some(number),
    }
}

fn resting(number: u64) -> Member {
    let member = member(number, 0);
    member.upstream.vitals.cut_off(NOW, &Peers::default());
    member
}

fn end(member: &Member) {
    member.upstream.vitals.end(model::Outcome::Abandoned, NOW, std::time::Duration::ZERO, NOW, &Peers::default());
}

/// Begins a request as if the balancer named these in their order, those that take requests first; which one it is, and how
/// many choices were made.
fn chosen(members: &[Member], tried: &[UpstreamKey], most: u32) -> (Result<u64, Refusal>, usize) {
    let looks = Cell::new(0);
    let choice = |tried: &[UpstreamKey]| {
        looks.set(looks.get() + 1);
        let left = || members.iter().filter(|member| !tried.contains(&member.upstream.key));
        let named = left().find(|member| member.upstream.vitals.admits(NOW)).or_else(|| left().next());
        named.ok_or(Refusal::NoInstance)
    };
    let taken = take(choice, tried, most, NOW, || Stake::Nothing);
    (
        taken.map(|Begun { member, .. }| {
            assert!(member.upstream.vitals.in_flight() > 0);
            end(member);
            member.token.unwrap()
        }),
        looks.get(),
    )
}

#[test]
fn the_first_choice_is_the_only_one_while_it_has_room() {
    let members = [member(0, 7), member(1, 0)];
    assert_eq!(chosen(&members, &[], NO_LIMIT), (Ok(0), 1));
    assert_eq!(chosen(&members, &[members[0].upstream.key], NO_LIMIT), (Ok(1), 1));
    assert_eq!(chosen(&members, &[], 7), (Ok(1), 2), "the first is full");
    let all = members.each_ref().map(|member| member.upstream.key);
    assert_eq!(chosen(&members, &all, 7).0, Err(Refusal::NoInstance));
}

#[test]
fn where_all_are_full_it_is_left_to_the_queue_and_nothing_is_in_flight_for_it() {
    let members = [member(0, 2), member(1, 3), resting(2)];
    assert_eq!(chosen(&members, &[], 2).0, Err(Refusal::ServiceFull));
    assert_eq!(members.each_ref().map(|member| member.upstream.vitals.in_flight()), [2, 3, 0]);
}

#[test]
fn one_that_rests_is_used_if_nobody_else_is_there_and_not_because_others_are_full() {
    assert_eq!(chosen(&[resting(0), resting(1)], &[], NO_LIMIT).0, Ok(0));
    assert_eq!(chosen(&[resting(0), resting(1)], &[], 1).0, Ok(0));
    assert_eq!(chosen(&[resting(0), member(1, 0)], &[], 1).0, Ok(1));
    assert_eq!(chosen(&[resting(0), member(1, 1)], &[], 1).0, Err(Refusal::ServiceFull));
    // A balancer names those that rest last, so that a few of them say it of all.
    let many: Vec<_> = (0..30).map(resting).collect();
    assert_eq!(chosen(&many, &[], NO_LIMIT), (Ok(0), RESTING + 1));
}

#[test]
fn one_that_rests_is_used_within_its_limit_also_if_it_was_filled_while_others_were_looked_at() {
    let members = [resting(0), resting(1)];
    let choice = |tried: &[UpstreamKey]| {
        if tried.len() == members.len() {
            members[0].upstream.vitals.begin();
        }
        members.iter().find(|member| !tried.contains(&member.upstream.key)).ok_or(Refusal::NoInstance)
    };
    let taken = take(choice, &[], 1, NOW, || Stake::Nothing).unwrap().member;
    end(taken);
    assert_eq!(taken.token, Some(1));
    assert_eq!(members[0].upstream.vitals.in_flight(), 1);
}

#[test]
fn one_that_is_cut_off_is_knocked_at_and_the_request_goes_elsewhere() {
    let due = NOW.after(std::time::Duration::from_secs(2));
    let members: Vec<_> = (0..3).map(resting).chain([member(3, 0)]).collect();
    let choice = || {
        let named = |tried: &[UpstreamKey]| {
            let left = || members.iter().filter(|member| !tried.contains(&member.upstream.key));
            left()
                .find(|member| member.upstream.vitals.admits(due))
                .or_else(|| left().next())
                .ok_or(Refusal::NoInstance)
        };
        take(named, &[], NO_LIMIT, due, || Stake::Nothing)
    };
    for knocked_at in [vec![0, 1, 2], Vec::new()] {
        let mut knocks = Vec::new();
        let begun = first(choice, |begun: Begun<'_>| {
            let knock = begun.knock.then(|| knocks.push(begun.member.token.unwrap()));
            knock.is_none().then_some(begun)
        });
        assert_eq!((begun.unwrap().member.token, knocks), (Some(3), knocked_at));
    }
    // The one that knocks is not waited for, and a request waits for none before others do.
    let knocks = Cell::new(0);
    first(choice, |_| {
        knocks.set(knocks.get() + 1);
        None
    })
    .map(|begun| begun.member.token)
    .unwrap();
    assert_eq!(knocks.get(), KNOCKS);
}

#[test]
fn those_that_leave_are_used_within_their_limit_if_they_are_all_there_is() {
    let leaving = |in_flight| {
        let mut member = member(9, in_flight);
        Arc::make_mut(&mut member.instance).standing = Standing::Draining;
        member
    };
    let suspect = |in_flight| Member { resort: true, ..member(9, in_flight) };
    for spare in [leaving, suspect] {
        assert_eq!(chosen(&[spare(0)], &[], 1).0, Ok(9));
        assert_eq!(chosen(&[spare(1)], &[], 1).0, Err(Refusal::ServiceFull));
        assert_eq!(chosen(&[member(0, 1), spare(0)], &[], 1).0, Err(Refusal::ServiceFull));
        let other = Member { resort: true, ..member(8, 0) };
        assert_eq!(chosen(&[spare(1), other], &[], 1).0, Ok(8), "one of them being full says nothing of the others");
    }
}

proptest! {
    /// Whatever is in flight: one that has room is found if there is one, none gets more than it may have, and what is not
    /// taken leaves no trace.
    #[test]
    fn a_limit_is_kept(in_flight in prop::collection::vec(0_u32..5, 1..20), most in 1_u32..5) {
        let members: Vec<_> = (0..).zip(&in_flight).map(|(number, count)| member(number, *count)).collect();
        match chosen(&members, &[], most).0 {
            Ok(at) => prop_assert!(in_flight[at as usize] < most),
            Err(refusal) => prop_assert!(refusal == Refusal::ServiceFull && in_flight.iter().all(|n| *n >= most)),
        }
        let after: Vec<_> = members.iter().map(|member| member.upstream.vitals.in_flight()).collect();
        prop_assert_eq!(after, in_flight);
    }
}
