//! hot path
//!
//! The right to be in hand: every request takes a place at its service before an instance is chosen, and keeps it until
//! its answer is complete.

use std::{rc::Rc, sync::Arc};

use balancer::ServiceVitals;
use discovery::{Member, Service};
use model::{Refusal, Standing, Tick, UpstreamKey};
use transport::{Lease, clock};

use super::{Lines, Turn};
use crate::exchange::Exchange;

/// Instances that were found full, or not to be sent anything, before it is left to the queue.
const LOOKS: usize = 64;

/// One request's place at its service, given back when dropped: then whoever waits first on this core is called.
#[derive(Debug)]
pub struct Place {
    vitals: Arc<ServiceVitals>,
    lines: Rc<Lines>,
    calls: bool,
}

/// Takes a place for this request, unless it has one. Whoever waits was there before.
///
/// # Errors
/// [`Refusal::ServiceFull`].
pub fn enter(exchange: &Exchange, service: &Service, turn: &Turn) -> Result<(), Refusal> {
    if exchange.place.get().is_some() {
        return Ok(());
    }
    let (occupancy, lines) = (&service.vitals.occupancy, &exchange.core.lines);
    let is_next = occupancy.queued() == 0 || turn.is_first();
    if !is_next || !occupancy.try_enter(service.policy.bounds.requests) {
        return Err(Refusal::ServiceFull);
    }
    let place = Place { vitals: Arc::clone(&service.vitals), lines: Rc::clone(lines), calls: true };
    // There is none, as was just seen.
    exchange.place.set(place).ok();
    Ok(())
}

impl Place {
    /// Gives it back unused, and calls nobody: whoever would be called is the one that cannot use it.
    pub(super) fn forgo(mut self) {
        self.calls = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.vitals.occupancy.leave();
        if self.calls && self.vitals.occupancy.queued() > 0 {
            self.lines.call(&self.vitals);
        }
    }
}

/// A lease on the choice, and its token, among the instances that have fewer than `most` requests in flight.
///
/// # Errors
/// [`Refusal::ServiceFull`] if only such are left as have as many as they may, else what picking says.
pub fn lease_within<'a>(
    choice: impl Fn(&[UpstreamKey], Tick) -> Result<&'a Member, Refusal>,
    tried: &[UpstreamKey],
    most: u32,
    is_whole: impl Fn() -> bool,
) -> Result<(Lease, Option<u64>), Refusal> {
    let now = clock::tick();
    let mut passed = [UpstreamKey(0); LOOKS];
    let mut count = tried.len().min(LOOKS);
    passed[..count].copy_from_slice(&tried[..count]);
    let (mut full, mut resting): (bool, Option<&Member>) = (false, None);
    while count < LOOKS {
        let member = match choice(&passed[..count], now) {
            // Those that leave, and suspects, are for when nobody else is there; not for when all others are full.
            Ok(member) if full && (member.resort || member.instance.standing == Standing::Draining) => {
                return Err(Refusal::ServiceFull);
            }
            Ok(member) => member,
            Err(refusal) => {
                return match resting {
                    _ if full => Err(Refusal::ServiceFull),
                    Some(member) => Ok((Lease::take(Arc::clone(&member.upstream)), member.token)),
                    None => Err(refusal),
                };
            }
        };
        if let Some(lease) = Lease::try_take_within(&member.upstream, most, now, &is_whole) {
            return Ok((lease, member.token));
        }
        if member.upstream.vitals.in_flight() >= most {
            full = true;
        } else {
            resting.get_or_insert(member);
        }
        passed[count] = member.upstream.key;
        count += 1;
    }
    Err(Refusal::ServiceFull)
}
