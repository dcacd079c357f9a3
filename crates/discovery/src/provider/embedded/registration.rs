//! What a service says of itself when it registers.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use model::{Address, Endpoint, Instance, InstanceId, Protocol, ServiceId, Standing, Tag};
use serde::{Deserialize, Serialize, Serializer};
use settings::Span;

use super::check::{Check, MOST_CHECKS};
use crate::provider::host;

/// How long a registration lives without a heartbeat if it does not say: three missed heartbeats of 10 s.
const TTL: Duration = Duration::from_secs(30);
/// Shortest and longest lease: below, one lost packet removes an instance; above, none was meant.
const TTLS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// Longest value of a field, in bytes; names have bounds of their own.
pub const LONGEST: usize = 1024;
/// Longest value of metadata.
const LONGEST_METADATA: usize = 4096;
/// Most tags, and most entries of metadata.
const MOST_TAGS: usize = 64;

/// One instance of one service, as it described itself. Checked: what it says can be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Registration {
    /// The service. Follows the naming convention.
    pub name: ServiceId,
    /// Its name within the service.
    pub id: InstanceId,
    /// IP address or host name, as it was written.
    pub ip: String,
    /// TCP port.
    pub port: u16,
    /// What it speaks; if it does not say, the service's configuration decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Path of its health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The environment that requests can narrow to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Tag>,
    /// Its region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Its zone, for local-first balancing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Share of the traffic.
    pub weight: u16,
    /// Whatever else it wants known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How long it lives without a heartbeat; `None`: until it is deregistered.
    #[serde(serialize_with = "write_ttl")]
    pub ttl: Option<Duration>,
    /// What the registry looks at by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// How long it may be kept from serving by its checks before its registration ends; `None`: for ever.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_ttl")]
    pub deregister_after: Option<Duration>,
    /// Why an operator keeps it from new requests; it finishes what it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<String>,
}

/// The same as it comes in, unchecked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    id: Option<InstanceId>,
    #[serde(alias = "address")]
    ip: String,
    port: u16,
    protocol: Option<String>,
    health: Option<String>,
    version: Option<String>,
    environment: Option<Tag>,
    region: Option<String>,
    zone: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
    weight: Option<u16>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    ttl: Option<String>,
    #[serde(default)]
    checks: Vec<Check>,
    deregister_after: Option<String>,
    maintenance: Option<String>,
}

impl TryFrom<Written> for Registration {
    type Error = String;

    fn try_from(w: Written) -> Result<Self, String> {
        let name = ServiceId::conventional(&w.name).map_err(|e| e.to_string())?;
        if host::of_instance(&w.ip).is_none() {
            return Err(format!("ip {:?} {}", w.ip, host::RULE_OF_INSTANCES));
        }
        if w.port == 0 {
            return Err("port 0 cannot be connected to; give the port the service listens on".to_owned());
        }
        bounded(&w)?;
        let protocol = w.protocol.map(|word| {
            Protocol::parse(&word).ok_or_else(|| format!("protocol {word:?} is not known; write http, h2c or https"))
        });
        if let Some(path) = w.health.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(format!("health {path:?} must be a path that begins with /"));
        }
        if w.checks.len() > MOST_CHECKS {
            return Err(format!("{} checks are too many; at most {MOST_CHECKS}", w.checks.len()));
        }
        let after = w.deregister_after.as_deref().map(Span::from_str).transpose();
        let after = after.map_err(|e| format!("deregister_after: {e}"))?.map(Span::get);
        if after.is_some() && w.checks.is_empty() {
            return Err("deregister_after counts how long checks fail, and there are no `checks`".to_owned());
        }
        let id = w.id.map_or_else(|| default_id(&name, &w.ip, w.port), Ok)?;
        Ok(Self {
            name,
            id,
            ip: w.ip,
            port: w.port,
            protocol: protocol.transpose()?,
            health: w.health,
            version: w.version,
            environment: w.environment,
            region: w.region,
            zone: w.zone,
            tags: w.tags,
            weight: w.weight.unwrap_or(1),
            metadata: w.metadata,
            ttl: read_ttl(w.ttl.as_deref())?,
            checks: w.checks,
            deregister_after: after,
            maintenance: w.maintenance,
        })
    }
}

/// Refuses what is larger than any description: all of it is kept, and sent to whoever reads.
fn bounded(w: &Written) -> Result<(), String> {
    for (count, what) in [(w.tags.len(), "tags"), (w.metadata.len(), "entries of metadata")] {
        if count > MOST_TAGS {
            return Err(format!("{count} {what} are too many; at most {MOST_TAGS}"));
        }
    }
    let fields = [("health", &w.health), ("version", &w.version), ("region", &w.region), ("zone", &w.zone)];
    let fields = fields.into_iter().chain([("maintenance", &w.maintenance)]);
    for (field, value) in fields.filter_map(|(field, value)| Some((field, value.as_ref()?))) {
        if value.len() > LONGEST {
            return Err(format!("{field} is {} bytes long; at most {LONGEST}", value.len()));
        }
    }
    for (name, value) in &w.metadata {
        if name.len() > LONGEST || value.len() > LONGEST_METADATA {
            return Err(format!(
                "metadata: a name has at most {LONGEST} bytes, and a value {LONGEST_METADATA}; here {} and {}",
                name.len(),
                value.len()
            ));
        }
    }
    Ok(())
}

impl Registration {
    /// The instance, as the table wants it. What it says besides becomes labels.
    #[must_use]
    pub fn instance(&self) -> Instance {
        // Only a literal or a name that was checked gets here, so the fallback is never taken.
        let host = host::alone(&self.ip).unwrap_or_else(|| model::Host::parse(&self.ip));
        let endpoint = Endpoint { address: Address { host, port: self.port }, protocol: self.protocol };
        let fields = [("health", &self.health), ("region", &self.region), ("version", &self.version)];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let more = self.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // Of two with one name the first stays: what the registry understands goes before metadata.
        let mut labels: BTreeMap<Arc<str>, Arc<str>> = more.map(|(n, v)| (n.into(), v.into())).collect();
        labels.extend(fields.map(|(n, v)| (n.into(), v.into())));
        Instance {
            weight: self.weight,
            standing: if self.maintenance.is_some() { Standing::Draining } else { Standing::Serving },
            zone: self.zone.as_deref().map(Into::into),
            environments: self.environment.iter().cloned().collect(),
            tags: self.tags.iter().cloned().collect(),
            labels: labels.into_iter().collect(),
            ..Instance::new(self.id.clone(), endpoint)
        }
        .normalised()
    }
}

/// The name of an instance that gives itself none: `name-ip-port`.
///
/// # Errors
/// If that is too long for a name.
pub fn default_id(name: &ServiceId, ip: &str, port: u16) -> Result<InstanceId, String> {
    InstanceId::new(&format!("{name}-{ip}-{port}")).map_err(|e| e.to_string())
}

fn read_ttl(text: Option<&str>) -> Result<Option<Duration>, String> {
    let text = match text {
        None => return Ok(Some(TTL)),
        Some("none" | "0" | "0s") => return Ok(None),
        Some(text) => text,
    };
    let ttl = Span::from_str(text).map_err(|e| format!("ttl: {e}"))?.get();
    if TTLS.contains(&ttl) {
        return Ok(Some(ttl));
    }
    Err(format!(
        "ttl {text:?} must be from 1s to 24h, or \"none\" for a registration that stays until it is deregistered"
    ))
}

fn write_ttl<S: Serializer>(ttl: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match ttl {
        None => to.serialize_str("none"),
        Some(ttl) => to.collect_str(&Span::from_millis(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Registration, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn name_ip_and_port_are_enough() {
        let r = read(r#"{"name":"petstore","ip":"10.0.0.1","port":8080}"#).unwrap();
        assert_eq!((r.id.as_str(), r.weight, r.ttl), ("petstore-10.0.0.1-8080", 1, Some(TTL)));
        let i = r.instance();
        assert_eq!((i.endpoint.address.to_string().as_str(), i.endpoint.protocol), ("10.0.0.1:8080", None));
    }

    #[test]
    fn every_field_reaches_the_instance_and_survives_writing() {
        let r = read(
            r#"{"name":"a","id":"one","address":"::1","port":1,"protocol":"grpcs","health":"/ok","version":"1.0",
                "environment":"test","region":"eu","zone":"b","tags":["y","x"],"weight":3,"ttl":"1m30s",
                "metadata":{"team":"pets","version":"ignored"}}"#,
        )
        .unwrap();
        assert_eq!(read(&serde_json::to_string(&r).unwrap()).unwrap(), r);
        let i = r.instance();
        assert_eq!((i.endpoint.protocol, i.weight, i.zone.as_deref()), (Some(Protocol::Https), 3, Some("b")));
        assert_eq!(
            ["health", "region", "team", "version"].map(|l| i.label(l)),
            [Some("/ok"), Some("eu"), Some("pets"), Some("1.0")]
        );
        assert!(i.is_in("test") && !i.environment_only);
        assert_eq!(i.tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(r.ttl, Some(Duration::from_secs(90)));
    }

    #[test]
    fn a_registration_can_be_without_lease() {
        for ttl in ["none", "0", "0s"] {
            let r = read(&format!(r#"{{"name":"a","ip":"h","port":1,"ttl":"{ttl}"}}"#)).unwrap();
            assert_eq!(r.ttl, None);
            assert_eq!(read(&serde_json::to_string(&r).unwrap()).unwrap(), r);
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let long = "x".repeat(LONGEST_METADATA + 1);
        let many = |one: &dyn Fn(usize) -> String| (0..=MOST_TAGS).map(one).collect::<Vec<_>>().join(",");
        for (field, part) in [
            (format!(r#""version":"{long}""#), "version is 4097"),
            (format!(r#""maintenance":"{long}""#), "maintenance is 4097"),
            (format!(r#""metadata":{{"a":"{long}"}}"#), "metadata: a name"),
            (format!(r#""tags":[{}]"#, many(&|n| format!("\"t{n}\""))), "65 tags"),
            (format!(r#""metadata":{{{}}}"#, many(&|n| format!("\"m{n}\":\"\""))), "65 entries"),
        ] {
            let error = read(&format!(r#"{{"name":"a","ip":"h","port":1,{field}}}"#)).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (json, part) in [
            (r#"{"name":"Pet_Store","ip":"h","port":1}"#, "lowercase letters"),
            (r#"{"name":"a","ip":"h h","port":1}"#, "ip \"h h\" must be"),
            (r#"{"name":"a","ip":"0.0.0.0","port":1}"#, "unspecified"),
            (r#"{"name":"a","ip":"h","port":0}"#, "port 0"),
            (r#"{"name":"a","ip":"h","port":70000}"#, "u16"),
            (r#"{"name":"a","ip":"h","port":1,"protocol":"ftp"}"#, "http, h2c or https"),
            (r#"{"name":"a","ip":"h","port":1,"health":"ok"}"#, "begins with /"),
            (r#"{"name":"a","ip":"h","port":1,"ttl":"90"}"#, "no unit"),
            (r#"{"name":"a","ip":"h","port":1,"ttl":"100ms"}"#, "from 1s to 24h"),
            (r#"{"name":"a","ip":"h","port":1,"tags":["a,b"]}"#, "tag"),
            (r#"{"name":"a","ip":"h","port":1,"prot":"http"}"#, "unknown field `prot`"),
            (r#"{"name":"a","port":1}"#, "missing field `ip`"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
