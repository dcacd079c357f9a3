//! Keys and values to services and instances. What cannot be read is told, with the key.

use std::{collections::BTreeMap, sync::Arc};

use model::{Address, Endpoint, Instance, InstanceId, Protocol, ServiceId, Tag};
use serde::Deserialize;
use serde_json::Value;

use crate::provider::{fixed::url::Url, host};

/// Which instance a key names: `PREFIX/SERVICE/INSTANCE`, where the instance may hold further slashes. `stem` is the
/// prefix with its slash.
pub(super) fn place(stem: &[u8], key: &[u8]) -> Result<(ServiceId, InstanceId), String> {
    let shown = String::from_utf8_lossy(key);
    let fail = |why: &str| format!("key {shown:?}: {why}");
    let rest = key.strip_prefix(stem).and_then(|rest| std::str::from_utf8(rest).ok());
    let rest = rest.ok_or_else(|| fail("is not text below the prefix"))?;
    let whole = rest.split_once('/').filter(|(_, instance)| !instance.is_empty());
    let (service, instance) = whole.ok_or_else(|| fail("names no instance: write PREFIX/SERVICE/INSTANCE"))?;
    let service = ServiceId::new(service).map_err(|e| fail(&e.to_string()))?;
    Ok((service, InstanceId::new(instance).map_err(|e| fail(&e.to_string()))?))
}

/// What a value says of the instance: JSON, a URL, or `host:port`.
pub(super) fn instance(id: InstanceId, value: &[u8]) -> Result<Instance, String> {
    let instance = written(id, value)?;
    let host = &instance.endpoint.address.host;
    if host::is_of_instance(host) { Ok(instance) } else { Err(format!("address {host} {}", host::RULE_OF_INSTANCES)) }
}

fn written(id: InstanceId, value: &[u8]) -> Result<Instance, String> {
    let text = std::str::from_utf8(value).map_err(|_| "the value is not UTF-8 text".to_owned())?.trim();
    if text.starts_with('{') {
        let written: Written = serde_json::from_str(text).map_err(|e| e.to_string())?;
        return written.instance(id);
    }
    if text.contains("://") {
        return Ok(Instance { id, ..text.parse::<Url>()?.instance()? });
    }
    Ok(Instance::new(id, Endpoint { address: pair(text)?, protocol: None }))
}

/// The JSON form: the registration of the embedded registry without `name`, `id` and `ttl`, which the key and its lease
/// say. Also `{"Addr": "host:port"}`, as gRPC's own naming writes it. Fields of other programs are passed over.
#[derive(Deserialize)]
struct Written {
    /// In place of `ip`, `port` and `protocol`.
    url: Option<String>,
    /// With the port behind it, if `port` is not there.
    #[serde(alias = "address", alias = "host", alias = "Addr")]
    ip: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
    health: Option<String>,
    version: Option<String>,
    environment: Option<String>,
    region: Option<String>,
    zone: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    weight: Option<u16>,
    #[serde(default, alias = "Metadata")]
    metadata: Value,
}

impl Written {
    fn instance(self, id: InstanceId) -> Result<Instance, String> {
        let (mut endpoint, mut environments) = (self.endpoint()?, Vec::new());
        if let Some(url) = &self.url {
            let listed = url.parse::<Url>()?.instance()?;
            endpoint = Some(listed.endpoint);
            environments = listed.environments.into_vec();
        }
        let mut instance = Instance::new(id, endpoint.ok_or("the value has neither `ip` and `port` nor `url`")?);
        // Tags for other programs may hold anything: what no request can name is no tag here.
        let tags: Vec<Tag> = self.tags.iter().filter_map(|tag| Tag::new(tag).ok()).collect();
        environments.extend(tags.iter().cloned());
        if let Some(environment) = &self.environment {
            environments.push(Tag::new(environment).map_err(|e| e.to_string())?);
        }
        instance.environments = environments.into();
        instance.tags = tags.into();
        instance.weight = self.weight.unwrap_or(1);
        instance.zone = self.zone.as_deref().map(Into::into);
        instance.labels = self.labels();
        Ok(instance.normalised())
    }

    fn endpoint(&self) -> Result<Option<Endpoint>, String> {
        let Some(host) = &self.ip else { return Ok(None) };
        let address = match self.port {
            None => pair(host)?,
            Some(0) => return Err("port 0 cannot be connected to".to_owned()),
            Some(port) => {
                Address { host: host::alone(host).ok_or_else(|| format!("ip {host:?} {}", host::RULE))?, port }
            }
        };
        let unknown = |word| format!("unknown protocol {word:?}: write http, h2c or https");
        let word = self.protocol.as_ref();
        let protocol =
            word.map(|word| Protocol::parse(&word.to_ascii_lowercase()).ok_or_else(|| unknown(word))).transpose()?;
        Ok(Some(Endpoint { address, protocol }))
    }

    /// What it says besides; of two with one name the field goes before metadata.
    fn labels(&self) -> Box<[(Arc<str>, Arc<str>)]> {
        let mut all = BTreeMap::<Arc<str>, Arc<str>>::new();
        for (name, value) in self.metadata.as_object().into_iter().flatten() {
            match value {
                Value::String(text) => drop(all.insert(name.as_str().into(), text.as_str().into())),
                Value::Number(_) | Value::Bool(_) => {
                    drop(all.insert(name.as_str().into(), value.to_string().into()));
                }
                _ => {}
            }
        }
        for (name, field) in [("health", &self.health), ("region", &self.region), ("version", &self.version)] {
            all.extend(field.as_deref().map(|text| (name.into(), text.into())));
        }
        all.into_iter().collect()
    }
}

/// `host:port`.
fn pair(text: &str) -> Result<Address, String> {
    let wrong = || "the value is neither JSON nor a URL nor host:port".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok()).flatten().filter(|port| *port > 0);
    Ok(Address { host: host::of_url(host).ok_or_else(wrong)?, port: port.ok_or_else(wrong)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_services_and_instances() {
        let named = |key: &str| place(b"/services/", key.as_bytes());
        for (key, service, instance) in [
            ("/services/pets/1", "pets", "1"),
            ("/services/com.networknt.pets-1.0.0/10.0.0.1:8080", "com.networknt.pets-1.0.0", "10.0.0.1:8080"),
            ("/services/pets/a/b", "pets", "a/b"),
        ] {
            let found = named(key).unwrap();
            assert_eq!((found.0.as_str(), found.1.as_str()), (service, instance));
        }
        for (key, part) in [
            ("/services/pets", "names no instance"),
            ("/services/pets/", "names no instance"),
            ("/services//1", "key \"/services//1\""),
            ("/services/a b/1", "service name"),
            ("/other/pets/1", "below the prefix"),
        ] {
            let error = named(key).unwrap_err();
            assert!(error.contains(part) && error.contains(key), "{error}");
        }
        assert!(place(b"/s/", b"/s/\xff/1").is_err());
    }

    fn read(value: &str) -> Result<Instance, String> {
        instance(InstanceId::new("one").unwrap(), value.as_bytes())
    }

    #[test]
    fn all_forms_of_values_are_read() {
        for (value, address, protocol) in [
            ("10.0.0.1:8080", "10.0.0.1:8080", None),
            ("[::1]:80\n", "[::1]:80", None),
            ("https://pets.internal", "pets.internal:443", Some(Protocol::Https)),
            (r#"{"ip":"10.0.0.1","port":80}"#, "10.0.0.1:80", None),
            (r#"{"ip":"::1","port":80,"protocol":"GRPC"}"#, "[::1]:80", Some(Protocol::H2c)),
            (r#"{"url":"h2c://10.0.0.1:80","weight":2}"#, "10.0.0.1:80", Some(Protocol::H2c)),
            (r#"{"host":"a.internal","port":1,"priority":3}"#, "a.internal:1", None),
            (r#"{"Op":0,"Addr":"10.0.0.1:8080","Metadata":null}"#, "10.0.0.1:8080", None),
        ] {
            let found = read(value).unwrap_or_else(|error| panic!("{value}: {error}"));
            assert_eq!(found.id.as_str(), "one");
            assert_eq!((&*found.endpoint.address.to_string(), found.endpoint.protocol), (address, protocol), "{value}");
        }
    }

    #[test]
    fn every_field_reaches_the_instance() {
        let found = read(
            r#"{"name":"ignored","ip":"10.0.0.1","port":80,"health":"/ok","version":"2","environment":"test","region":"eu",
                "zone":"b","tags":["blue","not, one"],"weight":3,"ttl":"30s","metadata":{"team":"x","shard":7,"deep":{}}}"#,
        )
        .unwrap();
        assert_eq!((found.weight, found.zone.as_deref(), found.tags.len()), (3, Some("b"), 1));
        assert!(found.is_in("test") && found.is_in("blue") && !found.environment_only);
        assert_eq!(
            ["health", "region", "version", "team", "shard", "deep"].map(|name| found.label(name)),
            [Some("/ok"), Some("eu"), Some("2"), Some("x"), Some("7"), None]
        );
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for (value, part) in [
            ("", "neither JSON nor a URL nor host:port"),
            ("10.0.0.1", "host:port"),
            ("10.0.0.1:0", "host:port"),
            ("::1:80", "host:port"),
            ("http://a:80/path", "rewrite paths"),
            ("{", "EOF"),
            ("{}", "neither `ip`"),
            (r#"{"ip":"0.0.0.0","port":80}"#, "unspecified"),
            ("http://169.254.169.254:80", "link-local"),
            ("[fe80::1]:80", "link-local"),
            (r#"{"ip":"169.254.169.254","port":80}"#, "link-local"),
            (r#"{"ip":"10.0.0.1","port":0}"#, "port 0"),
            (r#"{"ip":"10.0.0.1","port":70000}"#, "u16"),
            (r#"{"ip":"10.0.0.1","port":80,"protocol":"ftp"}"#, "http, h2c or https"),
            (r#"{"ip":"10.0.0.1","port":80,"environment":"a,b"}"#, "tag"),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(part), "{value}: {error}");
        }
        assert!(instance(InstanceId::new("one").unwrap(), b"\xff").is_err());
    }
}
