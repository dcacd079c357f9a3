//! The JSON of one EndpointSlice, read with suspicion: what cannot be read is named and left out, the rest holds. Pure.

use std::sync::Arc;

use model::{Host, Protocol, ServiceId, Tag};
use serde_json::Value;

use super::ports::{Port, PortChoice};
use crate::provider::host;

/// How slices become services.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rules {
    /// The namespace whose services go by their bare name.
    pub(super) home: String,
    /// The label that names the service instead.
    pub(super) service_label: Option<String>,
}

/// Names one slice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

/// One slice: whose it is, and what it says if that can be read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) key: Key,
    /// `None`: of no service, as far as can be told.
    pub(super) service: Option<ServiceId>,
    pub(super) content: Result<Slice, String>,
}

/// The content of a slice.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Slice {
    /// TCP ports; `None`: any.
    pub(super) ports: Option<Vec<Port>>,
    pub(super) endpoints: Vec<Endpoint>,
    /// Labels of the service that are not Kubernetes' own.
    pub(super) labels: Vec<(Arc<str>, Arc<str>)>,
    pub(super) marks: Marks,
    /// What is wrong with the parts that were left out.
    pub(super) skipped: Vec<String>,
    /// It is what the slice said before it became unreadable.
    pub(super) outdated: bool,
}

/// What a service says to us in particular, by labels or annotations `pointsman/...`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Marks {
    pub(super) port: Option<PortChoice>,
    pub(super) protocol: Option<Protocol>,
    pub(super) weight: Option<u16>,
    pub(super) tags: Vec<Tag>,
}

/// One endpoint: one pod, mostly.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Endpoint {
    pub(super) host: Host,
    pub(super) state: State,
    pub(super) pod: Option<Arc<str>>,
    pub(super) uid: Option<Arc<str>>,
    pub(super) node: Option<Arc<str>>,
    pub(super) zone: Option<Arc<str>>,
    /// The zones it is meant for (topology hints); empty if nothing is said.
    pub(super) for_zones: Vec<Arc<str>>,
}

/// What the conditions of an endpoint add up to, from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Not ready, and not leaving: it may come (back).
    Waiting,
    /// Terminating, and takes no requests.
    Gone,
    /// Terminating, and finishes what it has.
    Draining,
    /// Ready.
    Serving,
}

/// Reads one slice.
///
/// # Errors
/// If not even its name can be read.
pub(super) fn read(object: &Value, rules: &Rules) -> Result<Record, String> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let name = name.ok_or("an EndpointSlice without metadata.name")?;
    let key = Key { namespace: namespace.into(), name: name.into() };
    let (service, content) = match service(object, namespace, rules) {
        Ok(service) => (service, content(object)),
        Err(reason) => (None, Err(reason)),
    };
    Ok(Record { key, service, content })
}

/// The service the slice belongs to.
fn service(object: &Value, namespace: &str, rules: &Rules) -> Result<Option<ServiceId>, String> {
    let label = |name: &str| object.pointer("/metadata/labels").and_then(|labels| labels.get(name)?.as_str());
    let named = rules.service_label.as_deref().and_then(label);
    let id = match (named, label("kubernetes.io/service-name").filter(|name| !name.is_empty())) {
        (Some(id), _) => id.to_owned(),
        (None, Some(name)) if namespace == rules.home => name.to_owned(),
        (None, Some(name)) => format!("{name}.{namespace}"),
        (None, None) => return Ok(None),
    };
    ServiceId::new(&id).map(Some).map_err(|e| e.to_string())
}

fn content(object: &Value) -> Result<Slice, String> {
    let family = object.get("addressType").and_then(Value::as_str).unwrap_or_default();
    if !matches!(family, "IPv4" | "IPv6" | "FQDN") {
        return Err(format!("has addressType {family:?}, not IPv4, IPv6 or FQDN"));
    }
    let (marks, skipped) = marks(object);
    let mut slice = Slice { marks, skipped, labels: labels(object), ..Slice::default() };
    if let Some(ports) = list(object, "ports")? {
        let mut good = Vec::new();
        for value in ports {
            match port(value) {
                Ok(port) => good.extend(port),
                Err(reason) => slice.skipped.push(reason),
            }
        }
        slice.ports = Some(good);
    }
    for value in list(object, "endpoints")?.into_iter().flatten() {
        match endpoint(value, family) {
            Ok(endpoint) => slice.endpoints.push(endpoint),
            Err(reason) => slice.skipped.push(reason),
        }
    }
    let more = slice.skipped.len().saturating_sub(REASONS);
    slice.skipped.truncate(REASONS);
    if more > 0 {
        slice.skipped.push(format!("and {more} more"));
    }
    Ok(slice)
}

/// Reasons that are kept of one slice: a slice has up to a thousand endpoints, and all may be bad in the same way.
const REASONS: usize = 4;

/// A list that may be null or absent; anything else is no list.
fn list<'a>(object: &'a Value, name: &str) -> Result<Option<&'a Vec<Value>>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(_) => Err(format!("{name} is no list")),
    }
}

/// A text that may be null or absent.
fn text<'a>(object: &'a Value, name: &str) -> Result<Option<&'a str>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("{name} is no text")),
    }
}

/// `None` for a port of another transport than TCP.
fn port(value: &Value) -> Result<Option<Port>, String> {
    if text(value, "protocol")?.is_some_and(|transport| transport != "TCP") {
        return Ok(None);
    }
    let name = text(value, "name")?.unwrap_or_default().to_owned();
    let number = match value.get("port") {
        None | Some(Value::Null) => None,
        Some(number) => {
            let valid = number.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
            Some(valid.ok_or_else(|| format!("port {name:?} has the number {number}, which is none"))?)
        }
    };
    Ok(Some(Port { name, number, app: text(value, "appProtocol")?.map(str::to_owned) }))
}

fn endpoint(value: &Value, family: &str) -> Result<Endpoint, String> {
    // Several addresses are equal in meaning; the first is the one that everybody uses.
    let address = list(value, "addresses")?.and_then(|list| list.first()?.as_str()).unwrap_or_default();
    let fail = |why: String| format!("endpoint {address:?}: {why}");
    let read = host::of_instance(address).filter(|host| match host {
        Host::Ip(ip) => (ip.is_ipv4() && family == "IPv4") || (ip.is_ipv6() && family == "IPv6"),
        Host::Name(_) => family == "FQDN",
    });
    let host = read.ok_or_else(|| fail(format!("its address is no {family} address")))?;
    let words = |object: &Value, name: &str| text(object, name).map(|text| text.map(Arc::from)).map_err(fail);
    let target = value.get("targetRef").filter(|target| target.is_object());
    let pod = target.filter(|target| target.get("kind").and_then(Value::as_str) == Some("Pod"));
    let of = |object: Option<&Value>, name: &str| object.map_or(Ok(None), |object| words(object, name));
    Ok(Endpoint {
        host,
        state: state(value.get("conditions").unwrap_or(&Value::Null)).map_err(fail)?,
        pod: of(pod, "name")?,
        uid: of(target, "uid")?,
        node: words(value, "nodeName")?,
        zone: words(value, "zone")?,
        for_zones: for_zones(value),
    })
}

/// Absent conditions: `ready` is true, `serving` is what `ready` is, `terminating` is false.
fn state(conditions: &Value) -> Result<State, String> {
    let read = |name: &str| match conditions.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(other) => Err(format!("condition {name} is {other}, neither true nor false")),
    };
    let ready = read("ready")?.unwrap_or(true);
    let serving = read("serving")?.unwrap_or(ready);
    Ok(match (read("terminating")?.unwrap_or(false), ready, serving) {
        (true, _, true) => State::Draining,
        (true, _, false) => State::Gone,
        (false, true, _) => State::Serving,
        (false, false, _) => State::Waiting,
    })
}

fn for_zones(endpoint: &Value) -> Vec<Arc<str>> {
    let zones = endpoint.pointer("/hints/forZones").and_then(Value::as_array);
    let names = zones.into_iter().flatten().filter_map(|zone| zone.get("name")?.as_str());
    names.filter(|name| !name.is_empty()).map(Arc::from).collect()
}

/// The marks, and what is wrong with those that are left out. They are copied from the service to all its slices, so
/// that a mistake in one of them must not cost the slices.
fn marks(object: &Value) -> (Marks, Vec<String>) {
    let mark = |name: &str| {
        let name = format!("pointsman/{name}");
        let of = |kind: &str| object.get("metadata")?.get(kind)?.get(&name)?.as_str();
        of("annotations").or_else(|| of("labels")).map(str::trim)
    };
    let wrong = |name: &str, value: &str, rule: &str| format!("pointsman/{name} is {value:?}: {rule}");
    let protocol = mark("protocol").map(|word| {
        Protocol::parse(&word.to_ascii_lowercase()).ok_or_else(|| wrong("protocol", word, "write http, h2c or https"))
    });
    let weight = mark("weight").map(|text| text.parse().map_err(|_| wrong("weight", text, "write 0 to 65535")));
    let port = mark("port").map(|text| PortChoice::parse(text).map_err(|e| format!("pointsman/port: {e}")));
    let words = mark("tags").unwrap_or_default().split(',').map(str::trim).filter(|tag| !tag.is_empty());
    let tags = words.map(|tag| Tag::new(tag).map_err(|e| format!("pointsman/tags: {e}")));
    let mut wrong = Vec::new();
    let marks = Marks {
        port: good(port, &mut wrong),
        protocol: good(protocol, &mut wrong),
        weight: good(weight, &mut wrong),
        tags: tags.filter_map(|tag| good(Some(tag), &mut wrong)).collect(),
    };
    (marks, wrong)
}

fn good<T>(read: Option<Result<T, String>>, wrong: &mut Vec<String>) -> Option<T> {
    read?.map_err(|reason| wrong.push(reason)).ok()
}

/// The labels that the service's owner gave it.
fn labels(object: &Value) -> Vec<(Arc<str>, Arc<str>)> {
    let own = |name: &str| {
        let domain = name.split_once('/').map_or("", |(domain, _)| domain);
        domain != "pointsman" && domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io")
            || domain == "app.kubernetes.io"
    };
    let all = object.pointer("/metadata/labels").and_then(Value::as_object);
    let all = all.into_iter().flatten().filter(|(name, _)| own(name));
    all.filter_map(|(name, value)| Some((name.as_str().into(), value.as_str()?.into()))).collect()
}

#[cfg(test)]
mod tests;
