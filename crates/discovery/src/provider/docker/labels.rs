//! The labels of a container: which services it is an instance of. Pure.

use std::{collections::BTreeMap, sync::Arc};

use model::{ArcStr, Protocol, ServiceId, Tag};

/// All our labels begin so.
const PREFIX: &str = "pointsman.";
/// So begin those of one service among several.
const SERVICES: &str = "services.";
const META: &str = "meta.";

/// What the labels say of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) service: ServiceId,
    pub(super) port: Option<u16>,
    pub(super) protocol: Option<Protocol>,
    pub(super) tags: Vec<Tag>,
    pub(super) weight: u16,
    pub(super) zone: Option<ArcStr>,
    pub(super) network: Option<String>,
    pub(super) meta: Vec<(Arc<str>, Arc<str>)>,
}

/// Whether any label is ours.
pub(super) fn concern_us<'a>(mut names: impl Iterator<Item = &'a String>) -> bool {
    names.any(|name| name.starts_with(PREFIX))
}

/// The services of a container, and what is wrong with those that were left out.
///
/// `pointsman.FIELD` describes one service, `pointsman.services.NAME.FIELD` any number; `NAME` is the service unless
/// the field `service` says another.
pub(super) fn read(labels: &BTreeMap<String, String>) -> (Vec<Entry>, Vec<String>) {
    let mut groups: BTreeMap<Option<&str>, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut odd = Vec::new();
    for (label, value) in labels {
        let Some(rest) = label.strip_prefix(PREFIX) else { continue };
        match split(rest) {
            Some((name, field)) => drop(groups.entry(name).or_default().insert(field, value.trim())),
            None => odd.push(format!("label {label:?}: write pointsman.services.NAME.port, or another field")),
        }
    }
    let mut entries = Vec::new();
    for (name, fields) in groups {
        match entry(name, &fields) {
            Ok(entry) => entries.push(entry),
            Err(why) => odd.push(why),
        }
    }
    (entries, odd)
}

/// The name of the group, and the field. A name may have dots, a field has none but the one of `meta.KEY`.
fn split(rest: &str) -> Option<(Option<&str>, &str)> {
    let Some(named) = rest.strip_prefix(SERVICES) else { return Some((None, rest)) };
    let at = match named.find(".meta.") {
        Some(meta) => meta,
        None => named.rfind('.')?,
    };
    (at > 0).then(|| (Some(&named[..at]), &named[at + 1..]))
}

fn entry(name: Option<&str>, fields: &BTreeMap<&str, &str>) -> Result<Entry, String> {
    let place = name.map_or_else(|| PREFIX.to_owned(), |name| format!("{PREFIX}{SERVICES}{name}."));
    let service = fields.get("service").copied().or(name).ok_or_else(|| {
        format!("label {PREFIX}service is missing beside {PREFIX}{}", fields.keys().next().copied().unwrap_or_default())
    })?;
    let service = ServiceId::new(service).map_err(|e| format!("label {place}service: {e}"))?;
    let mut entry = Entry {
        service,
        port: None,
        protocol: None,
        tags: Vec::new(),
        weight: 1,
        zone: None,
        network: None,
        meta: Vec::new(),
    };
    for (field, value) in fields {
        let fail = |what: &str| format!("label {place}{field}: {value:?} is {what}");
        match *field {
            "service" => {}
            "port" => {
                let port = value.parse().ok().filter(|port| *port > 0);
                entry.port = Some(port.ok_or_else(|| fail("no port between 1 and 65535"))?);
            }
            "protocol" => {
                let word = value.to_ascii_lowercase();
                entry.protocol = Some(Protocol::parse(&word).ok_or_else(|| fail("not http, h2c or https"))?);
            }
            "tags" => {
                let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
                let tags: Result<_, _> = words.map(Tag::new).collect();
                entry.tags = tags.map_err(|e| format!("label {place}tags: {e}"))?;
            }
            "weight" => entry.weight = value.parse().map_err(|_| fail("no number from 0 to 65535"))?,
            "zone" => entry.zone = Some((*value).into()),
            "network" => entry.network = Some((*value).to_owned()),
            _ => match field.strip_prefix(META) {
                Some(key) if !key.is_empty() => entry.meta.push((key.into(), (*value).into())),
                _ => return Err(fail(FIELDS)),
            },
        }
    }
    Ok(entry)
}

const FIELDS: &str =
    "for a field that does not exist: write service, port, protocol, tags, weight, zone, network or meta.KEY";

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(lines: &[&str]) -> BTreeMap<String, String> {
        lines.iter().map(|line| line.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn one_service_and_all_its_fields() {
        let labels = labels(&[
            "pointsman.service=com.networknt.pets-1.0.0",
            "pointsman.port=8443",
            "pointsman.protocol=HTTPS",
            "pointsman.tags=public, blue,",
            "pointsman.weight=3",
            "pointsman.zone=a",
            "pointsman.network=shop",
            "pointsman.meta.version=2.1",
            "com.docker.compose.service=pets",
        ]);
        let (entries, odd) = read(&labels);
        assert_eq!(odd, Vec::<String>::new());
        let expected = Entry {
            service: ServiceId::new("com.networknt.pets-1.0.0").unwrap(),
            port: Some(8443),
            protocol: Some(Protocol::Https),
            tags: ["public", "blue"].map(|t| Tag::new(t).unwrap()).into(),
            weight: 3,
            zone: Some("a".into()),
            network: Some("shop".into()),
            meta: vec![("version".into(), "2.1".into())],
        };
        assert_eq!(entries, [expected]);
    }

    #[test]
    fn several_services_whose_names_may_have_dots() {
        let (entries, odd) = read(&labels(&[
            "pointsman.services.com.a-1.0.0.port=1",
            "pointsman.services.com.a-1.0.0.meta.build.id=7",
            "pointsman.services.1.service=b",
            "pointsman.services.1.port=2",
            "pointsman.service=c",
        ]));
        assert_eq!(odd, Vec::<String>::new());
        let told: Vec<_> = entries.iter().map(|e| (e.service.as_str(), e.port)).collect();
        assert_eq!(told, [("c", None), ("b", Some(2)), ("com.a-1.0.0", Some(1))]);
        assert_eq!(entries[2].meta, [("build.id".into(), "7".into())]);
    }

    #[test]
    fn a_bad_label_takes_out_its_service_alone_and_says_what_to_write() {
        for (line, part) in [
            ("pointsman.services.a.port=0", "between 1 and 65535"),
            ("pointsman.services.a.prot=80", "write service, port"),
            ("pointsman.services.a.protocol=ftp", "not http, h2c or https"),
            ("pointsman.services.a.tags=a|b", "without |"),
            ("pointsman.services.a.weight=-1", "0 to 65535"),
            ("pointsman.services.a/b.port=1", "service name"),
            ("pointsman.services.port=1", "pointsman.services.NAME.port"),
            ("pointsman.port=1", "pointsman.service is missing"),
        ] {
            let (entries, odd) = read(&labels(&[line, "pointsman.services.good.port=1"]));
            assert_eq!((entries.len(), odd.len()), (1, 1), "{line}: {odd:?}");
            assert!(odd[0].contains(part), "{line}: {odd:?}");
        }
    }

    #[test]
    fn labels_of_others_do_not_concern_us() {
        assert!(concern_us(labels(&["pointsman.service=a"]).keys()));
        assert!(!concern_us(labels(&["pointsmans=a", "traefik.enable=true"]).keys()));
    }
}
