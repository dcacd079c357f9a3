//! What a file may say and hardly means: warnings, each with its line and what to write instead.

use std::{
    collections::BTreeSet,
    fmt::Write,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use discovery::Policies;
use model::ServiceId;
use settings::{Located, Place, nearest};

use super::Certificate;
use crate::settings::{Service, Settings};

/// So long before its end a certificate is told of: renewals by machine come earlier.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// All of them, in the order of the file's sections.
pub(super) fn all(settings: &Settings, policies: &Policies) -> Vec<String> {
    let mut doubts = Vec::new();
    if settings.registries.is_empty() {
        doubts.push("no registry is configured: no instance can be known, and every request is refused".to_owned());
    }
    doubts.extend(repeated(settings));
    doubts.extend(open_admin(settings));
    doubts.extend(nowhere(settings));
    doubts.extend(unreachable(settings, policies));
    doubts.extend(unverified(settings));
    doubts
}

/// All services that can ever have an instance, if the file alone says which: every source is a list in it.
#[must_use]
pub fn foreseen(settings: &Settings) -> Option<BTreeSet<&ServiceId>> {
    let mut services = BTreeSet::new();
    for (_, source) in &settings.registries {
        services.extend(source.foreseen()?);
    }
    Some(services)
}

/// Routes whose service no source can bring, if nothing else answers; and fallbacks of which that is true.
fn nowhere(settings: &Settings) -> Vec<String> {
    let Some(listed) = foreseen(settings).filter(|_| !settings.registries.is_empty()) else { return Vec::new() };
    let names: Vec<&str> = listed.iter().map(|service| service.as_str()).collect();
    let asked = settings.routes.iter().filter_map(|route| match &route.fallback {
        None => Some((&route.service, "every request of this route is refused")),
        Some(fallback) => Some((fallback.service.as_ref()?, "this fallback answers nothing")),
    });
    let doubt = |(name, end): (&Located<String>, &str)| {
        let why = "is in no static list, and there is no other registry";
        format!("{}service {:?} {why}: {end}{}", at(name.place()), **name, meant(name, &names))
    };
    asked.filter(|(name, _)| !names.contains(&name.as_str())).map(doubt).collect()
}

/// Entries of `services` that no request can be for.
fn unreachable(settings: &Settings, policies: &Policies) -> Vec<String> {
    let listed = foreseen(settings).unwrap_or_default();
    let names: Vec<&str> = listed.into_iter().chain(&policies.routed).map(ServiceId::as_str).collect();
    let is_idle = |name: &&Located<String>| {
        let service = ServiceId::new(name).ok().filter(|_| ***name != "*");
        service.is_some_and(|service| !policies.routed.contains(&service) && !policies.exposure.may_expose(&service))
    };
    let doubt = |name: &Located<String>| {
        format!("{}no route leads to {:?} and expose does not name it{}", at(name.place()), **name, meant(name, &names))
    };
    settings.services.iter().map(|(name, _)| name).filter(is_idle).map(doubt).collect()
}

/// Instances that stand twice in one list: most often the second should have been another one.
fn repeated(settings: &Settings) -> impl Iterator<Item = String> {
    settings.registries.iter().flat_map(|(name, source)| {
        source.repeated().iter().map(move |(service, address)| {
            let what = format!("service {:?} lists {address} twice", service.as_str());
            format!("{}{what}: it counts once, as it stands first; remove or correct the other", at(name.place()))
        })
    })
}

/// The admin listener has no password.
fn open_admin(settings: &Settings) -> Option<String> {
    let address = &settings.admin.address;
    let is_ours: fn(IpAddr) -> bool = |ip| ip.to_canonical().is_loopback();
    (!is_ours(address.ip())).then(|| {
        let ip = address.ip();
        let why =
            "can be reached from other machines and asks for no password: whoever reaches it reads every instance and what routes ask for";
        format!("{}{ip} {why}; write 127.0.0.1, or let a firewall keep others away", at(address.place()))
    })
}

/// Services whose instances may show any certificate.
fn unverified(settings: &Settings) -> Vec<String> {
    let open = |(name, service): &(Located<String>, Service)| {
        let tls = service.tls.as_ref().filter(|tls| !tls.verify)?;
        let of = if **name == "*" { "all services".to_owned() } else { format!("{:?}", **name) };
        let why = "are believed to be who they say without proof: anybody between can read and change requests";
        Some(format!("{}verify: false: instances of {of} {why}; name their authority with ca", at(tls.place())))
    };
    settings.services.iter().filter_map(open).collect()
}

/// Certificates whose end has come, or is near.
#[must_use]
pub fn expiring(certificates: &[Certificate], now: SystemTime) -> Vec<String> {
    let days = |time: Duration| match time.as_secs() / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let doubt = |Certificate { file, expires }: &Certificate| match expires.duration_since(now) {
        Ok(left) if left > SOON => None,
        Ok(left) => Some(format!("the certificate {} expires in {}; renew it", file.display(), days(left))),
        Err(over) => {
            let ago = days(over.duration());
            Some(format!("the certificate {} expired {ago} ago: clients refuse it; renew it", file.display()))
        }
    };
    certificates.iter().filter_map(doubt).collect()
}

/// `; did you mean "petstore"?`, if something is near.
fn meant(name: &str, names: &[&str]) -> String {
    let near = nearest(name, names).filter(|near| *near != name);
    near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// `line 7: routes[0].service: `, as far as it is known.
fn at(place: &Place) -> String {
    let mut text = String::new();
    if place.line > 0 {
        // Writing to a string cannot fail.
        write!(text, "line {}: {}: ", place.line, place.path).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{control, plan};

    fn compiled(yaml: &str) -> plan::Compiled {
        let settings: Settings = settings::parse(yaml, Path::new("router.yml"), &|_| None).unwrap();
        plan::compile(&settings, &control::made().unwrap(), &mut Vec::new()).unwrap()
    }

    fn doubts(yaml: &str) -> String {
        compiled(yaml).warnings.join("\n")
    }

    const LISTED: &str = "registries: { a: { static: { services: { petstore: 'http://127.0.0.1:1' } } } }\n";

    #[test]
    fn a_service_that_nothing_brings_is_told_with_what_was_meant() {
        let route = "routes: [ { prefix: /v1/pets, service: petstor } ]\n";
        let told = doubts(&format!("{LISTED}{route}"));
        assert!(told.starts_with("line 2: routes[0].service: service \"petstor\" is in no static list"), "{told}");
        assert!(told.ends_with("did you mean \"petstore\"?"), "{told}");
        // Another source may bring it.
        let more = LISTED.replace("} } } }", "} } }, b: { embedded: {} } }");
        assert_eq!(doubts(&format!("{more}{route}")), "");
        assert_eq!(doubts(&format!("{LISTED}routes: [ {{ service: petstore }} ]")), "");
    }

    #[test]
    fn a_route_whose_fallback_answers_is_no_doubt_but_the_fallback_may_be() {
        let told = |fallback: &str| {
            let routes = format!("routes: [ {{ service: maintenance, fallback: {fallback} }} ]");
            doubts(&format!("{LISTED}{routes}"))
        };
        assert_eq!(told("{ status: 503 }"), "");
        assert_eq!(told("{ service: petstore }"), "");
        let said = told("{ service: petstor }");
        assert!(said.starts_with("line 2: routes[0].fallback.service: service \"petstor\" is in no static"), "{said}");
        assert!(said.contains("this fallback answers nothing; did you mean"), "{said}");
    }

    #[test]
    fn settings_of_a_service_that_nobody_reaches_are_told() {
        let services = "services: { '*': {}, petsore: {} }\n";
        let told = doubts(&format!("{LISTED}{services}routes: [ {{ service: petstore }} ]"));
        assert!(told.starts_with("line 2: services.petsore: no route leads to \"petsore\""), "{told}");
        assert!(told.ends_with("did you mean \"petstore\"?"), "{told}");
        for expose in ["{ service: 'pet*' }", "{ tag: public }", "{ all: true }"] {
            assert_eq!(doubts(&format!("{LISTED}{services}expose: {expose}")), "", "{expose}");
        }
    }

    #[test]
    fn an_instance_that_stands_twice_is_told() {
        let list = |list: &str| {
            doubts(&format!(
                "\nregistries: {{ a: {{ static: {{ services: {{ {list} }} }} }} }}\nexpose: {{ all: true }}"
            ))
        };
        let told = list("p: [ 'http://127.0.0.1:1', 'http://127.0.0.1:2', { url: 'http://127.0.0.1:1', weight: 5 } ]");
        let expected =
            "line 2: registries.a: service \"p\" lists 127.0.0.1:1 twice: it counts once, as it stands first; ";
        assert_eq!(told, format!("{expected}remove or correct the other"));
        for right in [
            "p: [ 'http://127.0.0.1:1', 'http://127.0.0.1:2' ]",
            "p: 'http://127.0.0.1:1', q: 'http://127.0.0.1:1'",
            "p: 'http://127.0.0.1:1', 'p|test': 'http://127.0.0.1:1'",
            "p: 'http://127.0.0.1:1?environment=a,http://127.0.0.1:1?environment=b'",
        ] {
            assert_eq!(list(right), "", "{right}");
        }
    }

    #[test]
    fn what_is_not_safe_is_told() {
        let told = doubts(&format!("{LISTED}admin: {{ address: 0.0.0.0:8401 }}"));
        assert!(told.starts_with("line 2: admin.address: 0.0.0.0 can be reached from other machines"), "{told}");
        let told = doubts(&format!("{LISTED}services: {{ '*': {{ tls: {{ verify: false }} }} }}"));
        assert!(told.contains("services.*.tls: verify: false: instances of all services"), "{told}");
    }

    #[test]
    fn a_certificate_is_told_of_before_its_end() {
        let day = Duration::from_secs(86_400);
        let now = SystemTime::UNIX_EPOCH + 20_000 * day;
        let told = |expires| expiring(&[Certificate { file: "a.pem".into(), expires }], now);
        assert_eq!(told(now + 15 * day), Vec::<String>::new());
        assert_eq!(told(now + 13 * day), ["the certificate a.pem expires in 13 days; renew it"]);
        assert_eq!(told(now + day / 2), ["the certificate a.pem expires in less than a day; renew it"]);
        assert!(told(now - day)[0].starts_with("the certificate a.pem expired 1 day ago: "));
        assert!(told(now - 2 * day)[0].starts_with("the certificate a.pem expired 2 days ago: clients refuse it"));
    }

    #[test]
    fn nobody_waits_for_a_service_that_nothing_brings() {
        let routes = "routes: [ { prefix: /a, service: petstor }, { service: petstore } ]";
        let compiled = compiled(&format!("{LISTED}{routes}"));
        let hold = |name| compiled.policies.of(&ServiceId::new(name).unwrap()).bounds.hold;
        assert_eq!(hold("petstor"), discovery::WarmHold::Off);
        assert_ne!(hold("petstore"), discovery::WarmHold::Off);
    }
}
