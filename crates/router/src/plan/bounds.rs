//! `services.NAME.concurrency`, `warm_hold` and `drain` compiled.

use discovery::{Bounds, WarmHold};
use settings::{Located, OrOff, SettingsError, Span};

use crate::settings::{Concurrency, Service, Settings};

/// Bounds of services that say nothing: half of what all cores together may have in hand, so that the others keep the
/// other half of the router when one hangs.
pub(super) fn of_file(settings: &Settings) -> Bounds {
    let all = settings.shedding.requests.0.map(|of_one| u64::from(of_one) * settings.cores() as u64);
    let requests = all.map_or(u32::MAX, |all| u32::try_from(all / 2).unwrap_or(u32::MAX).max(1));
    Bounds { requests, ..Bounds::default() }
}

/// What a service says; what it leaves out is that of all.
pub(super) fn with(all: Bounds, service: &Service) -> Result<Bounds, SettingsError> {
    let none = Concurrency::default();
    let typed = service.concurrency.as_deref().unwrap_or(&none);
    if let Some(place) = &service.concurrency {
        check(place)?;
    }
    let count = |typed: Option<OrOff<u32>>, all: u32| typed.map_or(all, |typed| typed.0.unwrap_or(u32::MAX));
    Ok(Bounds {
        requests: count(typed.requests, all.requests),
        per_instance: count(typed.per_instance, all.per_instance),
        queue: typed.queue.unwrap_or(all.queue),
        wait: typed.wait.map_or(all.wait, Span::get),
        hold: match service.warm_hold {
            None => all.hold,
            Some(OrOff(None)) => WarmHold::Off,
            Some(OrOff(Some(wait))) => WarmHold::Always(wait.get()),
        },
        drain: service.drain.map_or(all.drain, Span::get),
    })
}

fn check(typed: &Located<Concurrency>) -> Result<(), SettingsError> {
    for (name, number) in [("requests", typed.requests), ("per_instance", typed.per_instance)] {
        if number == Some(OrOff(Some(0))) {
            let text = format!("{name}: 0 would let nothing through; write at least 1, or off for no limit");
            return Err(SettingsError::at(typed, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;

    fn read(yaml: &str) -> Settings {
        settings::parse(yaml, Path::new("router.yml"), &|_| None).unwrap()
    }

    fn bounds(yaml: &str) -> Result<Bounds, String> {
        let (settings, none) = (read(yaml), Service::default());
        let all = with(of_file(&settings), settings.services.get("*").unwrap_or(&none));
        let all = all.map_err(|error| error.to_string())?;
        with(all, settings.services.get("a").unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_service_gets_half_of_what_the_cores_may_have_unless_told() {
        let of = |yaml: &str| bounds(yaml).unwrap().requests;
        assert_eq!(of("{ threads: 4, services: { a: {} } }"), 40_000);
        assert_eq!(of("{ threads: 2, shedding: { requests: 100 }, services: { a: {} } }"), 100);
        assert_eq!(of("{ shedding: { requests: off }, services: { a: {} } }"), u32::MAX);
        assert_eq!(of("{ services: { a: { concurrency: { requests: 7 } } } }"), 7);
        assert_eq!(of("{ services: { a: { concurrency: { requests: off } } } }"), u32::MAX);
    }

    #[test]
    fn what_a_service_leaves_out_all_services_say_key_by_key() {
        let yaml = "services: { '*': { concurrency: { queue: 3, wait: 2s }, warm_hold: off, drain: 1m }, \
                    a: { concurrency: { queue: 5, per_instance: 9 } } }";
        let bounds = bounds(yaml).unwrap();
        assert_eq!((bounds.queue, bounds.per_instance, bounds.wait.as_secs()), (5, 9, 2));
        assert_eq!((bounds.hold, bounds.drain), (WarmHold::Off, Duration::from_secs(60)));
    }

    #[test]
    fn a_limit_of_nothing_is_found() {
        let error = bounds("services: { a: { concurrency: { requests: 0 } } }").unwrap_err();
        assert!(error.contains("write at least 1"), "{error}");
    }
}
