//! How services are balanced, compiled.

use std::{fmt::Write, path::PathBuf, sync::Arc};

use balancer::{Algorithm, Balance, SlowStart, Weighing, algorithm::token};
use discovery::{
    Sticky,
    sticky::{Carrier, Cookie},
};
use settings::{Located, SecretSource, SettingsError, Span};

use super::compile::header_name;
use crate::settings::{self as typed, SameSite, Service, Settings};

/// What a service says of it; what it leaves out is that of all.
pub(super) fn balance(settings: &Settings, service: &Service, all: &Balance) -> Result<Balance, SettingsError> {
    let algorithm = service.balance.clone().unwrap_or_else(|| all.algorithm.clone());
    if let Some(prefer) = service.prefer_zone.as_ref().filter(|prefer| ***prefer) {
        if settings.zone.is_none() {
            let problem = "prefer_zone: nothing says which zone this router is in; add `zone: NAME` to the file";
            return Err(SettingsError::at(prefer, problem));
        }
        if algorithm == Algorithm::LocalFirst {
            let problem = "prefer_zone: local_first looks at zones itself; remove one of the two";
            return Err(SettingsError::at(prefer, problem));
        }
    }
    let weighing = |by: &typed::WeighBy| Weighing {
        capacity: by.capacity.as_deref().map(Into::into),
        load: by.load.as_deref().map(Into::into),
    };
    // What all services prefer is nothing to an algorithm that looks at zones itself.
    let prefer_zone = service.prefer_zone.as_ref().map_or(all.prefer_zone, |prefer| **prefer);
    let prefer_zone = prefer_zone && algorithm != Algorithm::LocalFirst;
    Ok(Balance {
        algorithm,
        weighing: service.weigh_by.as_ref().map_or_else(|| all.weighing.clone(), weighing),
        slow_start: service.slow_start.as_ref().map_or(all.slow_start, |switch| switch.0.map(|slow| slow.0)),
        prefer_zone,
        failover: service
            .failover
            .as_ref()
            .map_or_else(|| all.failover.clone(), |tags| tags.0.iter().cloned().collect()),
    })
}

/// What all services do of which the file says nothing.
pub(super) fn default() -> Balance {
    Balance { slow_start: Some(SlowStart::default()), ..Balance::default() }
}

/// How the clients of a service are kept at their instance.
pub(super) fn sticky(
    service: &Service,
    all: Option<&Arc<Sticky>>,
    files: &mut Vec<PathBuf>,
) -> Result<Option<Arc<Sticky>>, SettingsError> {
    let Some(switch) = &service.sticky else { return Ok(all.cloned()) };
    let Some(sticky) = &switch.0 else { return Ok(None) };
    let carrier = match (&sticky.cookie, &sticky.header) {
        (Some(name), None) => Carrier::Cookie(cookie(name, sticky)?),
        (None, Some(name)) => {
            let plain =
                typed::Sticky { header: sticky.header.clone(), secret: sticky.secret.clone(), ..Default::default() };
            if **sticky != plain {
                let problem = "ttl, path, same_site, secure and http_only are of cookies; remove them, or use `cookie`";
                return Err(SettingsError::at(sticky, problem));
            }
            Carrier::Header(header_name(name)?)
        }
        _ => return Err(SettingsError::at(sticky, "sticky needs either `cookie: NAME` or `header: NAME`")),
    };
    if let Some(SecretSource::File(path)) = &sticky.secret {
        files.push(path.clone());
    }
    let secret = sticky.secret.as_ref().map(SecretSource::read).transpose();
    let secret = secret.map_err(|error| SettingsError::at(sticky, error.to_string()))?.filter(|s| !s.is_empty());
    Ok(Some(Arc::new(Sticky { carrier, secret })))
}

fn cookie(name: &str, sticky: &Located<typed::Sticky>) -> Result<Cookie, SettingsError> {
    let name = token("cookie", name).map_err(|problem| SettingsError::at(sticky, problem))?;
    let path = sticky.path.as_str();
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
        let problem =
            format!("path {path:?} is no path of a cookie; begin with a slash, without spaces and semicolons");
        return Err(SettingsError::at(sticky, problem));
    }
    let same_site = sticky.same_site;
    if same_site == SameSite::None && sticky.secure == Some(false) {
        return Err(SettingsError::at(
            sticky,
            "browsers refuse `same_site: none` without `secure`; remove one of the two",
        ));
    }
    let mut attributes = format!("; Path={path}");
    if let Some(ttl) = sticky.ttl.map(Span::get) {
        // Writing to a string cannot fail.
        let _ = write!(attributes, "; Max-Age={}", ttl.as_secs().max(1));
    }
    attributes.push_str(match same_site {
        SameSite::Strict => "; SameSite=Strict",
        SameSite::Lax => "; SameSite=Lax",
        SameSite::None => "; SameSite=None",
    });
    if sticky.http_only {
        attributes.push_str("; HttpOnly");
    }
    let secure = if same_site == SameSite::None { Some(true) } else { sticky.secure };
    Ok(Cookie { name: name.into(), attributes: attributes.into(), secure })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http::HeaderName;

    use super::*;

    fn service(yaml: &str) -> Service {
        settings::parse(yaml, Path::new("test.yml"), &|_| None).unwrap_or_else(|error| panic!("{error}"))
    }

    fn carrier(yaml: &str) -> Result<Option<Carrier>, String> {
        let sticky = sticky(&service(yaml), None, &mut Vec::new()).map_err(|error| error.to_string())?;
        Ok(sticky.map(|sticky| sticky.carrier.clone()))
    }

    #[test]
    fn a_cookie_is_made_as_it_is_told() {
        for (yaml, attributes, secure) in [
            ("sticky: { cookie: shop }", "; Path=/; SameSite=Lax; HttpOnly", None),
            (
                "sticky: { cookie: shop, ttl: 1h, path: /shop, same_site: strict, secure: true, http_only: false }",
                "; Path=/shop; Max-Age=3600; SameSite=Strict",
                Some(true),
            ),
            ("sticky: { cookie: shop, same_site: none }", "; Path=/; SameSite=None; HttpOnly", Some(true)),
        ] {
            let expected = Cookie { name: "shop".into(), attributes: attributes.into(), secure };
            assert_eq!(carrier(yaml), Ok(Some(Carrier::Cookie(expected))), "{yaml}");
        }
        let header = HeaderName::from_static("x-instance");
        assert_eq!(carrier("sticky: { header: X-Instance }"), Ok(Some(Carrier::Header(header))));
        assert_eq!(carrier("sticky: off"), Ok(None));
    }

    #[test]
    fn a_secret_may_stand_in_a_file_that_is_followed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let yaml = format!("sticky: {{ cookie: shop, secret: {{ file: {:?} }} }}", file.path());
        let mut files = Vec::new();
        let found = sticky(&service(&yaml), None, &mut files).unwrap().unwrap();
        assert_eq!(found.secret.as_ref().map(settings::Secret::expose), Some("s3cret"));
        assert_eq!(files, [file.path()]);
        let gone = service("sticky: { cookie: shop, secret: { file: no.such } }");
        assert!(sticky(&gone, None, &mut files).unwrap_err().to_string().contains("no.such"));
    }

    #[test]
    fn what_a_service_leaves_out_all_say_and_off_takes_it_away() {
        let read = |yaml, all: Option<&Arc<Sticky>>| sticky(&service(yaml), all, &mut Vec::new()).unwrap();
        let all = read("sticky: { cookie: shop }", None);
        assert_eq!(read("{}", all.as_ref()), all);
        assert_eq!(read("sticky: off", all.as_ref()), None);

        let file = Settings { zone: Some("a".to_owned()), ..Settings::default() };
        let yaml = "{ balance: random, slow_start: 5s, prefer_zone: true, failover: [ x, y ], weigh_by: { load: l } }";
        let all = balance(&file, &service(yaml), &default()).unwrap();
        assert_eq!((all.slow_start.unwrap().window.as_secs(), all.failover.len()), (5, 2));
        assert_eq!(balance(&file, &service("{}"), &all).unwrap(), all);
        let local = balance(&file, &service("balance: local_first"), &all).unwrap();
        assert!(!local.prefer_zone, "it looks at zones itself");
        let none = "{ balance: peak_ewma, slow_start: off, prefer_zone: false, failover: [], weigh_by: {} }";
        assert_eq!(balance(&file, &service(none), &all).unwrap(), Balance::default());
        let shaped = balance(&file, &service("slow_start: { window: 10s, aggression: 2, least: 0.2 }"), &all).unwrap();
        let expected = SlowStart { window: std::time::Duration::from_secs(10), aggression: 2.0, least: 0.2 };
        assert_eq!(shaped.slow_start, Some(expected));
    }
}
