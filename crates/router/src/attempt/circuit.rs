//! hot path
//!
//! The circuit breaker of a service, asked before the first try and told how the request ended. Off, it costs a branch.

use std::time::Duration;

use discovery::Service;
use model::Refusal;
use transport::clock;

use crate::exchange::Exchange;

/// Whether the request may be sent at all.
pub(super) fn admit(exchange: &Exchange, service: &Service) -> Result<(), Refusal> {
    let breaker = &service.vitals.breaker;
    if !breaker.is_on() {
        return Ok(());
    }
    breaker.admit(clock::at(exchange.record.began)).map_err(refused)
}

/// No request is sent for this long, at least.
pub(crate) fn refused(wait: Duration) -> Refusal {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    Refusal::CircuitOpen(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// It was not sent: it must wait first.
pub(super) fn postpone(exchange: &Exchange, service: &Service) {
    let breaker = &service.vitals.breaker;
    if breaker.is_on() {
        breaker.give_back(clock::at(exchange.record.began));
    }
}

/// How it ended, if that says something of the service.
pub(super) fn observe(exchange: &Exchange, answer: Result<u16, &Refusal>) {
    let Some(upstream) = &exchange.record.upstream else { return };
    let breaker = &upstream.service_vitals.breaker;
    if !breaker.is_on() {
        return;
    }
    let began = clock::at(exchange.record.began);
    match failed(answer) {
        Some(failed) => drop(breaker.observe(began, failed, clock::tick())),
        None => breaker.give_back(began),
    }
}

/// Whether the service failed it. What the client did, and what we could not do, is neither here nor there.
fn failed(answer: Result<u16, &Refusal>) -> Option<bool> {
    match answer {
        Ok(status) => Some(matches!(status, 502..=504)),
        Err(Refusal::Connect | Refusal::Reset | Refusal::Protocol | Refusal::HeadTimeout) => Some(true),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_service_did_counts() {
        for (status, expected) in [(200, false), (404, false), (500, false), (502, true), (503, true), (504, true)] {
            assert_eq!(failed(Ok(status)), Some(expected), "{status}");
        }
        assert_eq!(failed(Err(&Refusal::Connect)), Some(true));
        for ours in [
            Refusal::ClientGone,
            Refusal::BodyTooLarge,
            Refusal::Overloaded,
            Refusal::Unresolved,
            Refusal::AnswerTooLarge,
            Refusal::Deadline,
        ] {
            assert_eq!(failed(Err(&ours)), None);
        }
    }
}
