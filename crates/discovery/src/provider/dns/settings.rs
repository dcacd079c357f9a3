//! What an operator writes about names in the DNS.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

use model::{Protocol, ServiceId, Tag};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use settings::{OneOrMany, Span};

use super::{
    lookup::{Target, Want},
    wire::{self, Name},
};
use crate::provider::Interest;

/// Names to look up: `dns: { services: { petstore: { name: petstore.example, port: 8080 } } }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Servers to ask, `ADDRESS` or `ADDRESS:PORT`, in this order; those of `/etc/resolv.conf` without any.
    #[serde(default)]
    pub servers: OneOrMany<Server>,
    /// Services and the names they have.
    #[serde(default)]
    pub services: BTreeMap<ServiceId, Lookup>,
    /// A domain under which every other service in use is looked up, as `SERVICE.NAME`.
    #[serde(default)]
    pub domain: Option<Lookup>,
    /// Ask over TCP from the beginning. For servers that shorten answers over UDP without saying so, as Consul does.
    #[serde(default)]
    pub tcp: bool,
    /// How long one server may take, 100ms to 10s.
    #[serde(default = "two_seconds")]
    pub timeout: Span,
    /// The shortest time between two look-ups of a name, whatever its records say, 100ms or more.
    #[serde(default = "one_second")]
    pub min_ttl: Span,
    /// The longest time between two look-ups of a name, whatever its records say.
    #[serde(default = "thirty_seconds")]
    pub max_ttl: Span,
}

/// What to look up, and what the DNS does not say of the instances found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// The name, complete: search lists are not used.
    pub name: String,
    /// The records to look for: with a port addresses of both kinds, else `SRV`.
    #[serde(default, rename = "type")]
    pub kind: Option<Kind>,
    /// The port; for addresses only, `SRV` records say it.
    #[serde(default)]
    pub port: Option<u16>,
    /// What the instances speak; without it `services.NAME.protocol`.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// Tags and environments of all the instances.
    #[serde(default)]
    pub tags: OneOrMany<Tag>,
}

/// What a service is in the DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    LookUp(Target),
    /// Neither listed nor below a domain.
    Unlisted,
    /// Below the domain, and its name is none that the DNS can hold: there is nothing. Says why.
    Unnameable(String),
}

/// Kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Names and ports, with priority and weight (RFC 2782).
    Srv,
}

/// The address of a name server; port 53 unless it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server(pub SocketAddr);

const PORT: u16 = 53;

impl Server {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        let address = text.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, PORT)))?;
        (!address.ip().is_unspecified() && address.port() > 0).then_some(Self(address))
    }
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ServerVisitor;
        impl Visitor<'_> for ServerVisitor {
            type Value = Server;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the IP address of a name server, with a port unless it is 53: 10.0.0.2 or 10.0.0.2:8600")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Server, E> {
                Server::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        from.deserialize_str(ServerVisitor)
    }
}

fn two_seconds() -> Span {
    Span::from_secs(2)
}

fn one_second() -> Span {
    Span::from_secs(1)
}

fn thirty_seconds() -> Span {
    Span::from_secs(30)
}

/// Below, a server sees a flood and not a client.
const LEAST: Span = Span::from_millis(100);
const LONGEST_TIMEOUT: Span = Span::from_secs(10);

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: OneOrMany::default(),
            services: BTreeMap::new(),
            domain: None,
            tcp: false,
            timeout: two_seconds(),
            min_ttl: one_second(),
            max_ttl: thirty_seconds(),
        }
    }
}

impl Settings {
    /// Whether these settings can work at all.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.services.is_empty() && self.domain.is_none() {
            return Err("names nothing to look up: write services, or domain".to_owned());
        }
        if !(LEAST..=LONGEST_TIMEOUT).contains(&self.timeout) {
            return Err(format!("timeout: {} is not between 100ms and 10s", self.timeout));
        }
        if self.min_ttl < LEAST {
            return Err(format!("min_ttl: {} is shorter than 100ms", self.min_ttl));
        }
        if self.max_ttl < self.min_ttl {
            return Err(format!("max_ttl: {} is shorter than min_ttl, {}", self.max_ttl, self.min_ttl));
        }
        for (service, lookup) in &self.services {
            lookup.target().map_err(|why| format!("services.{service}: {why}"))?;
        }
        let domain = self.domain.as_ref().map(Lookup::target).transpose();
        domain.map(drop).map_err(|why| format!("domain: {why}"))
    }

    /// The services to watch: those in use, and those listed here that are exposed.
    pub(super) fn wanted(&self, interest: &Interest) -> BTreeMap<ServiceId, Meaning> {
        let exposed = |(service, lookup): &(&ServiceId, &Lookup)| {
            interest.exposure.exposes(service, lookup.tags.0.iter().map(Tag::as_str))
        };
        let listed = self.services.iter().filter(exposed).map(|(service, _)| service);
        interest.services.iter().chain(listed).map(|service| (service.clone(), self.meaning(service))).collect()
    }

    fn meaning(&self, service: &ServiceId) -> Meaning {
        let target = match (self.services.get(service), &self.domain) {
            (Some(lookup), _) => lookup.target(),
            (None, Some(domain)) => Lookup { name: format!("{service}.{}", domain.name), ..domain.clone() }.target(),
            (None, None) => return Meaning::Unlisted,
        };
        target.map_or_else(Meaning::Unnameable, Meaning::LookUp)
    }
}

impl Lookup {
    /// A look-up of this name with every default.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: None, port: None, protocol: None, tags: OneOrMany::default() }
    }

    fn target(&self) -> Result<Target, String> {
        let name: Name = wire::name(&self.name)
            .ok_or_else(|| format!("name: {:?} is no name of the DNS: write petstore.example", self.name))?;
        let needs_port = "port: missing; records of addresses say none";
        let want = match (self.kind, self.port) {
            (_, Some(0)) => return Err("port: 0 is no port: write one between 1 and 65535".to_owned()),
            (Some(Kind::Srv), Some(_)) => return Err("port: SRV records say it; leave it out".to_owned()),
            (Some(Kind::Srv) | None, None) => Want::Services,
            (Some(Kind::A | Kind::Aaaa), None) => return Err(needs_port.to_owned()),
            (kind, Some(port)) => Want::Addresses { kind, port },
        };
        Ok(Target { name, want, protocol: self.protocol, tags: self.tags.0.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::Exposure;

    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        settings::parse(text, Path::new("x.yml"), &|_| None).map_err(|e| e.to_string())
    }

    #[test]
    fn every_key_is_read_as_it_is_written_in_a_file() {
        let text = "servers: [ 10.0.0.2, '[::1]:5353' ]\ntcp: true\ntimeout: 1s\nmin_ttl: 2s\nmax_ttl: 3s\n\
                    domain: { name: service.consul, protocol: h2c }\n\
                    services: { pets: { name: pets.example, type: aaaa, port: 80, tags: public } }\n";
        let pets = Lookup {
            kind: Some(Kind::Aaaa),
            port: Some(80),
            tags: OneOrMany(vec![Tag::new("public").unwrap()]),
            ..Lookup::new("pets.example")
        };
        let expected = Settings {
            servers: OneOrMany(vec![Server("10.0.0.2:53".parse().unwrap()), Server("[::1]:5353".parse().unwrap())]),
            services: [(ServiceId::new("pets").unwrap(), pets)].into(),
            domain: Some(Lookup { protocol: Some(Protocol::H2c), ..Lookup::new("service.consul") }),
            tcp: true,
            timeout: Span::from_secs(1),
            min_ttl: Span::from_secs(2),
            max_ttl: Span::from_secs(3),
        };
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(expected.check(), Ok(()));
    }

    #[test]
    fn mistakes_are_found_before_anything_runs() {
        let check = |text: &str, part: &str| {
            let error = read(text).and_then(|settings| settings.check()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("{}", "write services, or domain");
        check("servers: ns.example\ndomain: { name: a }", "IP address of a name server");
        check("servers: 0.0.0.0\ndomain: { name: a }", "IP address of a name server");
        check("domain: { name: a }\ntimeout: 1m", "between 100ms and 10s");
        check("domain: { name: a }\nmin_ttl: 1ms", "shorter than 100ms");
        check("domain: { name: a }\nmax_ttl: 500ms", "shorter than min_ttl");
        check("domain: { name: 'a..b' }", "domain: name");
        check("services: { s: { name: a, type: a } }", "services.s: port: missing");
        check("services: { s: { name: a, type: srv, port: 1 } }", "leave it out");
        check("services: { s: { name: a, port: 0 } }", "between 1 and 65535");
        check("services: { s: { name: a, type: mx } }", "mx");
        check("services: { s: { name: a, ttl: 1s } }", "ttl");
    }

    #[test]
    fn services_in_use_are_looked_up_where_they_are_listed_else_below_the_domain() {
        let text =
            "services: { pets: { name: pets.example, port: 80 }, web: { name: w, tags: public }, other: { name: o } }";
        let mut settings = read(text).unwrap();
        let name = |text| ServiceId::new(text).unwrap();
        let tags = [Tag::new("public").unwrap()].into();
        let exposure = Exposure::Matching { services: [].into(), prefixes: Vec::new(), tags };
        let interest = Interest { services: [name("pets"), name("far"), name(&"x".repeat(64))].into(), exposure };
        let wanted = |settings: &Settings| -> Vec<String> {
            let text = |meaning| match meaning {
                Meaning::LookUp(target) => target.name.to_string(),
                other => format!("{other:?}"),
            };
            settings.wanted(&interest).into_values().map(text).collect()
        };
        assert_eq!(wanted(&settings), ["Unlisted", "pets.example", "w", "Unlisted"]);
        settings.domain = Some(Lookup::new("service.consul"));
        let wanted = wanted(&settings);
        assert_eq!(wanted[..3], ["far.service.consul", "pets.example", "w"]);
        assert!(wanted[3].contains("no name of the DNS"), "{wanted:?}");
    }
}
