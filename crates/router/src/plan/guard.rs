//! `services.NAME.eject` and `services.NAME.breaker` compiled.

use std::num::NonZeroU16;

use balancer::{Eject, Rule, eject};
use discovery::Guard;
use settings::{Located, Mistakes, OrOff, SettingsError};

use crate::settings::{self as typed, Breaker, Percent, Service};

/// What a service says over what holds for all.
pub(super) fn with(all: &Guard, service: &Service, mistakes: &mut Mistakes) -> Guard {
    let eject = match &service.eject {
        None => all.eject,
        Some(typed) => mistakes.or(eject(all.eject, typed), &all.eject),
    };
    let breaker = match &service.breaker {
        None => all.breaker,
        Some(typed) => mistakes.or(typed.0.map(|rule| breaker(typed, rule)).transpose(), &all.breaker),
    };
    Guard { eject, breaker }
}

fn eject(all: Eject, typed: &Located<OrOff<Box<typed::Eject>>>) -> Result<Eject, SettingsError> {
    let Some(own) = &typed.0 else { return Ok(Eject { base: all.base, longest: all.longest, ..Eject::off() }) };
    let mut rules = all;
    if let Some(number) = &own.consecutive {
        let zero =
            || SettingsError::at(number, "consecutive: 0 would put out what never failed; write off, or at least 1");
        rules.consecutive = number.0.map(|n| NonZeroU16::new(n).ok_or_else(zero)).transpose()?;
    }
    rules.base = own.base.map_or(rules.base, settings::Span::get);
    rules.longest = own.longest.as_ref().map_or(rules.longest, |longest| longest.get());
    rules.max_share = own.max_share.map_or(rules.max_share, share);
    rules.panic = own.panic.map_or(rules.panic, share);
    if let Some(rule) = &own.success_rate {
        rules.success_rate = rule.0.map(|own| success_rate(rule, own)).transpose()?;
    }
    if let Some(rule) = &own.latency {
        rules.latency = rule.0.map(|own| latency(rule, own)).transpose()?;
    }
    if rules.base.is_zero() || rules.longest < rules.base {
        return Err(SettingsError::at(typed, "base must be above 0 and longest no shorter than base"));
    }
    Ok(rules)
}

fn success_rate<T>(typed: &Located<T>, rule: typed::SuccessRate) -> Result<eject::SuccessRate, SettingsError> {
    let typed::SuccessRate { requests, instances, deviations } = rule;
    at_least(typed, requests, instances)?;
    if !(deviations > 0.0 && deviations.is_finite()) {
        return Err(SettingsError::at(typed, "deviations: write a number above 0, such as 1.9"));
    }
    Ok(eject::SuccessRate { requests, instances, deviations })
}

fn latency<T>(typed: &Located<T>, rule: typed::Latency) -> Result<eject::Latency, SettingsError> {
    let typed::Latency { requests, instances, factor, intervals } = rule;
    at_least(typed, requests, instances)?;
    if !(factor > 1.0 && factor.is_finite()) {
        return Err(SettingsError::at(typed, "factor: write a number above 1, such as 5"));
    }
    if intervals == 0 {
        return Err(SettingsError::at(typed, "intervals: write at least 1, or latency: off"));
    }
    Ok(eject::Latency { requests, instances, factor, intervals })
}

fn at_least<T>(typed: &Located<T>, requests: u32, instances: u32) -> Result<(), SettingsError> {
    if requests == 0 || instances < 3 {
        let what = "requests must be at least 1, and instances at least 3: of two nobody can say which is the odd one";
        return Err(SettingsError::at(typed, what));
    }
    Ok(())
}

fn breaker<T>(typed: &Located<T>, rule: Breaker) -> Result<Rule, SettingsError> {
    let Breaker { failures, requests, window, open } = rule;
    if failures.0 == 0 || requests == 0 || window.get().is_zero() || open.get().is_zero() {
        return Err(SettingsError::at(
            typed,
            "failures, requests, window and open must all be above 0; write off for none",
        ));
    }
    Ok(Rule { failures: share(failures), requests, window: window.get(), open: open.get() })
}

fn share(percent: Percent) -> f64 {
    f64::from(percent.0) / 100.0
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;
    use crate::settings::Settings;

    fn compiled(service: &str) -> Result<Guard, String> {
        let text = format!("services: {{ a: {{ {service} }} }}");
        let read = settings::parse::<Settings>(&text, Path::new("router.yml"), &|_| None).map_err(|e| e.to_string())?;
        let mut mistakes = Mistakes::default();
        let guard = with(&Guard::default(), read.services.get("a").unwrap(), &mut mistakes);
        mistakes.unless(guard).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_left_out_is_as_for_all() {
        assert_eq!(compiled("").unwrap(), Guard::default());
        let rules =
            compiled("eject: { consecutive: 3, max_share: 10%, latency: off, success_rate: { deviations: 3 } }");
        let Guard { eject, breaker } = rules.unwrap();
        let rate = eject::SuccessRate { deviations: 3.0, ..Default::default() };
        let expected = Eject {
            consecutive: NonZeroU16::new(3),
            max_share: 0.1,
            latency: None,
            success_rate: Some(rate),
            ..Eject::default()
        };
        assert_eq!((eject, breaker), (expected, None));
    }

    #[test]
    fn off_is_off_and_the_breaker_is_not_unless_asked_for() {
        let Guard { eject, .. } = compiled("eject: off").unwrap();
        assert_eq!((eject.consecutive, eject.success_rate, eject.latency), (None, None, None));
        assert_eq!(compiled("eject: { consecutive: off }").unwrap().eject.consecutive, None);
        let breaker = compiled("breaker: { failures: 25% }").unwrap().breaker.unwrap();
        assert_eq!((breaker.failures, breaker.requests, breaker.open), (0.25, 20, Duration::from_secs(5)));
        assert_eq!(compiled("breaker: off").unwrap().breaker, None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (service, expected) in [
            ("eject: { consecutive: 0 }", "write off"),
            ("eject: { max_share: 50 }", "from 0% to 100%"),
            ("eject: { max_share: 101% }", "from 0% to 100%"),
            ("eject: { base: 0s }", "above 0"),
            ("eject: { base: 40s }", "no shorter than base"),
            ("eject: { success_rate: { instances: 2 } }", "at least 3"),
            ("eject: { success_rate: { deviations: 0 } }", "such as 1.9"),
            ("eject: { latency: { factor: 1 } }", "such as 5"),
            ("eject: { latency: { intervals: 0 } }", "latency: off"),
            ("eject: { consecutiv: 3 }", "did you mean"),
            ("breaker: { requests: 0 }", "above 0"),
        ] {
            let error = compiled(service).unwrap_err();
            assert!(error.contains(expected), "{service}: {error}");
        }
    }
}
