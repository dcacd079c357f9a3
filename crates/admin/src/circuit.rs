//! Why an instance or a service gets no requests, since when, and what ends it.

use balancer::{Admission, Cause, Hold, Holds, breaker::Circuit};
use model::Tick;
use serde::Serialize;

/// What keeps an instance out.
#[derive(Debug, PartialEq, Serialize)]
pub struct CircuitView {
    /// `open`: it rests; `half_open`: one request tries it; `held`: until somebody lets go.
    pub state: &'static str,
    /// What put it out.
    pub causes: Vec<&'static str>,
    /// Seconds since it takes no requests, over all rests in a row.
    pub since_s: u64,
    /// Seconds until a request may try it; 0 if one may now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_s: Option<u64>,
    /// When and how it comes back, as the end of a sentence.
    pub ends: String,
    /// Which rest in a row this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<u8>,
}

/// The circuit breaker of a service.
#[derive(Debug, PartialEq, Serialize)]
pub struct BreakerView {
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// Seconds until one request may try it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_s: Option<u64>,
    /// How often it opened.
    pub opened: u32,
}

/// One word, and the causes and seconds if it is out.
#[must_use]
pub fn word(admission: Admission, now: Tick) -> String {
    let seconds = |since| now.since(since).as_secs();
    match admission {
        Admission::In => "in".to_owned(),
        Admission::Probing { .. } => "probing".to_owned(),
        Admission::Out { cause, since, .. } => format!("out ({}) for {} s", cause.as_str(), seconds(since)),
        Admission::Held { by, since } => format!("out ({by}) for {} s", seconds(since)),
    }
}

/// `None` if it takes requests.
#[must_use]
pub fn of_instance(admission: Admission, now: Tick) -> Option<CircuitView> {
    let seconds = |since| now.since(since).as_secs();
    Some(match admission {
        Admission::In => return None,
        Admission::Out { cause, since, until, row } => CircuitView {
            state: "open",
            causes: vec![cause.as_str()],
            since_s: seconds(since),
            until_s: Some(until.since(now).as_secs()),
            ends: trial(cause, until.since(now).as_secs()),
            rest: Some(row),
        },
        Admission::Probing { cause, since, row } => CircuitView {
            state: "half_open",
            causes: vec![cause.as_str()],
            since_s: seconds(since),
            until_s: None,
            ends: "it is tried now: an answer lets all in, a failure begins a longer rest".to_owned(),
            rest: Some(row),
        },
        Admission::Held { by, since } => CircuitView {
            state: "held",
            causes: by.iter().map(Hold::as_str).collect(),
            since_s: seconds(since),
            until_s: None,
            ends: release(by),
            rest: None,
        },
    })
}

/// Who tries an instance that rests. One that could not be connected to is asked for a connection first, which no request
/// waits for.
fn trial(cause: Cause, until_s: u64) -> String {
    let when = if until_s > 0 { format!("after {until_s} s more ") } else { String::new() };
    let then = if cause.is_judged() {
        "the next request may try it, and an answer lets all in"
    } else {
        "the next request has it knocked at; once a connection is there, a request tries it, and an answer lets all in"
    };
    when + then
}

/// What lets an instance in that is held.
fn release(by: Holds) -> String {
    let mut needed: Vec<&str> = by
        .iter()
        .map(|hold| match hold {
            Hold::Drained => "an operator lets it in",
            Hold::Check | Hold::Unproven => "its checks pass",
        })
        .collect();
    needed.dedup();
    format!("until {}", needed.join(" and "))
}

/// `None` if the service has no breaker.
#[must_use]
pub fn of_service(breaker: &balancer::Breaker, now: Tick) -> Option<BreakerView> {
    let (state, until_s) = match breaker.circuit() {
        Circuit::Off => return None,
        Circuit::Closed => ("closed", None),
        Circuit::Open { until } => ("open", Some(until.since(now).as_secs())),
        Circuit::HalfOpen => ("half_open", None),
    };
    Some(BreakerView { state, until_s, opened: breaker.opened() })
}

#[cfg(test)]
mod tests {
    use balancer::Vitals;

    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick(seconds * 1_000_000_000)
    }

    #[test]
    fn every_state_says_what_ends_it() {
        let rest = Admission::Out { cause: Cause::Consecutive, since: at(1), until: at(9), row: 3 };
        assert_eq!(word(rest, at(5)), "out (consecutive) for 4 s");
        let view = of_instance(rest, at(5)).unwrap();
        assert_eq!((view.state, &*view.causes, view.since_s), ("open", &["consecutive"][..], 4));
        assert_eq!((view.until_s, view.rest), (Some(4), Some(3)));
        assert_eq!(view.ends, "after 4 s more the next request may try it, and an answer lets all in");
        let refused = Admission::Out { cause: Cause::Connect, since: at(1), until: at(5), row: 1 };
        let ends = of_instance(refused, at(5)).unwrap().ends;
        assert!(ends.starts_with("the next request has it knocked at; once a connection is there"), "{ends}");
        let probing = Admission::Probing { cause: Cause::Connect, since: at(1), row: 1 };
        assert_eq!(of_instance(probing, at(5)).map(|view| view.state), Some("half_open"));
        assert_eq!(of_instance(Admission::In, at(5)), None);

        let vitals = Vitals::default();
        vitals.hold(Hold::Check, at(2));
        vitals.hold(Hold::Drained, at(3));
        let held = vitals.state(at(5));
        assert_eq!(word(held, at(5)), "out (drained, check) for 3 s");
        let view = of_instance(held, at(5)).unwrap();
        assert_eq!((view.state, &*view.causes, view.until_s), ("held", &["drained", "check"][..], None));
        assert_eq!(view.ends, "until an operator lets it in and its checks pass");
    }
}
