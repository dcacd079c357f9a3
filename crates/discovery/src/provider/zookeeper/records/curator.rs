//! Curator's JSON, with the payload that Spring Cloud puts into it, read and written.

use bytes::Bytes;
use model::{Endpoint, Host, Instance, InstanceId, Protocol, ServiceId, Standing};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Attributes, address, attributes as said, instance, protocol};

/// `uriSpec` is not read: it can only say again what address, port and `sslPort` say. `id` and `name` are those of the
/// node.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    port: Option<i64>,
    #[serde(default)]
    ssl_port: Option<i64>,
    #[serde(default)]
    payload: Value,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

/// Reads one record. An instance that is not `enabled`, or whose `instance_status` is another than `UP`, drains.
///
/// A protocol in the metadata decides, with `sslPort` as the port of `https`; else an `sslPort` means `https`.
pub(in super::super) fn read(id: InstanceId, data: &[u8]) -> Result<Instance, String> {
    let record: Record = serde_json::from_slice(data).map_err(|e| format!("is not Curator's JSON: {e}"))?;
    let attributes = attributes(record.payload);
    let ssl_port = record.ssl_port.filter(|port| *port > 0);
    let protocol = protocol(&attributes)?.or_else(|| ssl_port.map(|_| Protocol::Https));
    let port = match protocol {
        Some(Protocol::Https) => ssl_port.or(record.port),
        _ => record.port,
    };
    let address = address(record.address.as_deref().unwrap_or_default(), port)?;
    let up =
        attributes.get("instance_status").is_none_or(|status| status.is_empty() || status.eq_ignore_ascii_case("UP"));
    let instance = instance(id, Endpoint { address, protocol }, attributes)?;
    let standing = if up && record.enabled { Standing::Serving } else { Standing::Draining };
    Ok(Instance { standing, ..instance })
}

/// The metadata of Spring Cloud's payload, else the payload's own fields. Words, numbers and truths count.
fn attributes(payload: Value) -> Attributes {
    // A payload whose class Jackson knows only by name comes as `[class, value]`.
    let payload = match payload {
        Value::Array(mut pair) if pair.len() == 2 && pair[0].is_string() => pair.swap_remove(1),
        other => other,
    };
    let Value::Object(mut fields) = payload else { return Attributes::new() };
    let fields = match fields.remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => fields,
    };
    let text = |(name, value)| match value {
        Value::String(text) => Some((name, text)),
        Value::Number(number) => Some((name, number.to_string())),
        Value::Bool(truth) => Some((name, truth.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    fields.into_iter().filter(|(name, _)| name != "@class").filter_map(text).collect()
}

/// Writes one record as Spring Cloud would, at this time since 1970 in milliseconds: its own consumers read no other
/// payload, and make the instance's URL from `uriSpec`.
pub(in super::super) fn write(service: &ServiceId, instance: &Instance, now_ms: u64) -> Bytes {
    let Endpoint { address, protocol } = &instance.endpoint;
    let host = match &address.host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
    };
    let ssl_port = (*protocol == Some(Protocol::Https)).then_some(address.port);
    let part = |value: &str, variable: bool| json!({ "value": value, "variable": variable });
    let record = json!({
        "name": service, "id": instance.id, "address": host, "port": address.port, "sslPort": ssl_port,
        "payload": {
            "@class": "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance",
            "id": instance.id, "name": service, "metadata": said(instance),
        },
        "registrationTimeUTC": now_ms, "serviceType": "DYNAMIC",
        "uriSpec": { "parts": [
            part("scheme", true), part("://", false), part("address", true), part(":", false), part("port", true),
        ] },
    });
    record.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_read(record: &Value) -> Result<Instance, String> {
        read(InstanceId::new("one").unwrap(), record.to_string().as_bytes())
    }

    fn check(record: &Value, address: &str, protocol: Option<Protocol>, standing: Standing) {
        let read = try_read(record).unwrap();
        assert_eq!(
            (read.endpoint.address.to_string(), read.endpoint.protocol, read.standing),
            (address.to_owned(), protocol, standing),
            "{record}"
        );
    }

    #[test]
    fn springs_record_is_read_whole() {
        let record = json!({ "name": "pets", "id": "one", "address": "10.0.0.1", "port": 8080, "sslPort": null,
            "payload": { "@class": "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance", "id": "pets-1",
                "name": "pets", "metadata": { "instance_status": "UP", "zone": "a", "weight": "5", "version": "2",
                "tags": "blue, test", "environment": "eu" } },
            "registrationTimeUTC": 1_600_000_000_000_u64, "serviceType": "DYNAMIC",
            "uriSpec": { "parts": [ { "value": "scheme", "variable": true } ] } });
        let read = try_read(&record).unwrap();
        assert_eq!((read.weight, read.zone.as_deref(), read.label("version")), (5, Some("a"), Some("2")));
        assert!(["blue", "test", "eu"].iter().all(|tag| read.is_in(tag)));
        assert!(read.label("@class").is_none());
        check(&record, "10.0.0.1:8080", None, Standing::Serving);
    }

    #[test]
    fn ports_and_protocols_agree() {
        let record = |port: Value, ssl_port: Value, payload: Value| json!({ "address": "h", "port": port, "sslPort": ssl_port, "payload": payload });
        let serving = Standing::Serving;
        check(&record(json!(1), json!(2), json!(null)), "h:2", Some(Protocol::Https), serving);
        check(&record(json!(null), json!(2), json!(null)), "h:2", Some(Protocol::Https), serving);
        check(&record(json!(1), json!(2), json!({ "protocol": "h2c" })), "h:1", Some(Protocol::H2c), serving);
        check(&record(json!(1), json!(null), json!({ "protocol": "HTTPS" })), "h:1", Some(Protocol::Https), serving);
        check(&record(json!(1), json!(0), json!({ "secure": true })), "h:1", Some(Protocol::Https), serving);
        check(&record(json!(1), json!(0), json!(["java.lang.String", "x"])), "h:1", None, serving);
    }

    #[test]
    fn who_is_not_up_drains() {
        let record = |status: &str| json!({ "address": "h", "port": 1, "payload": { "metadata": { "instance_status": status } } });
        check(&record("OUT_OF_SERVICE"), "h:1", None, Standing::Draining);
        check(&record(""), "h:1", None, Standing::Serving);
        let disabled = json!({ "address": "h", "port": 1, "enabled": false });
        check(&disabled, "h:1", None, Standing::Draining);
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for (record, part) in [
            (json!("x"), "Curator's JSON"),
            (json!({ "address": null, "port": 1 }), "address"),
            (json!({ "address": "0.0.0.0", "port": 1 }), "address"),
            (json!({ "address": "h", "port": 70_000 }), "port"),
            (json!({ "address": "h" }), "port"),
            (json!({ "address": "h", "port": 1, "payload": { "protocol": "ftp" } }), "ftp"),
            (json!({ "address": "h", "port": 1, "payload": { "weight": "much" } }), "much"),
        ] {
            let error = try_read(&record).unwrap_err();
            assert!(error.contains(part), "{record}: {error}");
        }
        assert!(read(InstanceId::new("one").unwrap(), b"\xac\xed\0").unwrap_err().contains("Curator's JSON"));
    }
}
