//! hot path
//!
//! The instance that gets a request: the one its client stays with, else the balancer's choice, and what is done if that
//! one cannot be had. Time is an argument, and nothing here talks: `tests/simulation` chooses by the same functions.

use std::sync::Arc;

use balancer::{Ask, Entry, Stake};
use discovery::{Member, Service};
use model::{Refusal, Standing, Tick, UpstreamKey};
use transport::clock;

use crate::affinity::Stick;

#[cfg(test)]
mod tests;

/// Choices that rest and are passed over: another request took the turn of each to find out. A balancer names none that
/// rests while others do not, so there is hardly one left that does not.
const RESTING: usize = 4;

/// Choices that are passed over in all, before it is left to the queue.
const LOOKS: usize = 64;

/// Instances that one request has knocked at. Where so many are cut off, the next one may wait for a connection as well.
pub const KNOCKS: usize = 8;

/// What of a request says where it belongs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Affinity {
    /// Of the key that the service hashes by.
    pub(super) hash: Option<u64>,
    /// The token that the client carries.
    pub(super) held: Option<u64>,
}

/// What began: the instance counts it as in flight until its vitals are told of its end.
#[derive(Debug, Clone, Copy)]
#[must_use = "the instance counts it as in flight"]
pub struct Begun<'a> {
    /// Where.
    pub member: &'a Member,
    /// It is no request, but the turn to find out whether a connection can be made.
    pub knock: bool,
}

/// Begins a request at the instance that the client stays with, else at the balancer's choice. `stake`: what is lost if the
/// instance fails it.
///
/// # Errors
/// As [`take`].
pub(super) fn begin<'a>(
    service: &'a Service,
    environment: Option<&str>,
    Affinity { hash, held }: Affinity,
    tried: &[UpstreamKey],
    now: Tick,
    stake: impl Fn() -> Stake,
) -> Result<Begun<'a>, Refusal> {
    let choice = |tried: &[UpstreamKey]| {
        let ask = Ask { hash, tried, now };
        let stays = held.and_then(|token| service.held(environment, token, &ask));
        stays.map_or_else(|| service.pick(environment, &ask), Ok)
    };
    take(choice, tried, service.policy.bounds.per_instance, now, stake)
}

/// The first choice of `choice` to which a request can be sent. Those before it are only knocked at: `knock` keeps what began
/// to find out whether a connection can be made, and returns what a request may have. Each of them takes its turn for that, so
/// none is chosen twice.
///
/// # Errors
/// What choosing says.
pub fn first<T>(choice: impl Fn() -> Result<T, Refusal>, mut knock: impl FnMut(T) -> Option<T>) -> Result<T, Refusal> {
    for _ in 0..KNOCKS {
        if let Some(open) = knock(choice()?) {
            return Ok(open);
        }
    }
    choice()
}

/// Begins a request at the first choice besides those that were tried, if that lets it in and has fewer than `most` in flight.
/// Else at the next one; if all rest, at one of them in spite of it.
///
/// # Errors
/// [`Refusal::ServiceFull`] if only such are left as have as many requests as they may, else what choosing says.
pub fn take<'a>(
    choice: impl Fn(&[UpstreamKey]) -> Result<&'a Member, Refusal>,
    tried: &[UpstreamKey],
    most: u32,
    now: Tick,
    stake: impl Fn() -> Stake,
) -> Result<Begun<'a>, Refusal> {
    let member = choice(tried)?;
    match enter(member, most, now, &stake) {
        Some(begun) => Ok(begun),
        None => look_on(choice, member, tried, most, now, stake),
    }
}

fn enter(member: &Member, most: u32, now: Tick, stake: impl FnOnce() -> Stake) -> Option<Begun<'_>> {
    match member.upstream.vitals.try_begin(most, now, stake) {
        Entry::Barred => None,
        entry => Some(Begun { member, knock: entry == Entry::Knock }),
    }
}

/// The same when the first choice is full, or rests and has given the turn to find out to another request: the next choice
/// then, and so on. If all rest, the first of them that has room in spite of it.
#[cold]
fn look_on<'a>(
    choice: impl Fn(&[UpstreamKey]) -> Result<&'a Member, Refusal>,
    first: &'a Member,
    tried: &[UpstreamKey],
    most: u32,
    now: Tick,
    stake: impl Fn() -> Stake,
) -> Result<Begun<'a>, Refusal> {
    let mut passed = tried.to_vec();
    // Whether any was full, and whether one of them was no spare.
    let (mut full, mut barred, mut resting) = (false, false, Vec::new());
    let mut member = first;
    for _ in 0..LOOKS {
        let vitals = &member.upstream.vitals;
        if vitals.in_flight() >= most {
            full = true;
            barred |= !is_spare(member);
        } else {
            resting.push(member);
        }
        if resting.len() > RESTING {
            break;
        }
        passed.push(member.upstream.key);
        member = match choice(&passed) {
            Ok(member) if !(barred && is_spare(member)) => member,
            _ => break,
        };
        if let Some(begun) = enter(member, most, now, &stake) {
            return Ok(begun);
        }
    }
    if full {
        return Err(Refusal::ServiceFull);
    }
    // Others may have filled them since they were looked at.
    let taken = resting.into_iter().find(|member| member.upstream.vitals.begin_within(most));
    taken.map(|member| Begun { member, knock: false }).ok_or(Refusal::ServiceFull)
}

/// Those that leave, and suspects, are for when nobody else is there; not for when all others are full.
fn is_spare(member: &Member) -> bool {
    member.resort || member.instance.standing == Standing::Draining
}

/// What the client is to remember of the instance that has this token, unless it knows already. One that is full for the
/// moment, or was overtaken, keeps its client.
pub(super) fn stick(
    service: &Service,
    environment: Option<&str>,
    Affinity { hash, held }: Affinity,
    tried: &[UpstreamKey],
    token: Option<u64>,
) -> Option<Box<Stick>> {
    let sticky = service.policy.sticky.as_ref()?;
    let token = token.filter(|token| held != Some(*token))?;
    let ask = Ask { hash, tried, now: clock::tick() };
    let stays = held.is_some_and(|token| service.held(environment, token, &ask).is_some());
    (!stays).then(|| Box::new(Stick { sticky: Arc::clone(sticky), token }))
}
