//! The embedded registry of a router.

use http::{HeaderName, Method, StatusCode};
use serde_json::{Value, json};
use settings::Span;

use super::{
    Failure, Record, Registrar,
    access::{Way, judge},
};

/// One registry.
#[derive(Debug)]
pub(super) struct Embedded(pub(super) Way);

/// Where it takes its token.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-registry-token");

impl Embedded {
    async fn post(&mut self, verb: &str, body: &Value) -> Result<(), Failure> {
        let path = format!("/registry/{verb}");
        let answer = self.0.call(Method::POST, &path, body).await?;
        let unknown = answer.status == StatusCode::NOT_FOUND
            && serde_json::from_slice::<Value>(&answer.body).is_ok_and(|fault| fault["message"] == "NOT_REGISTERED");
        if unknown { Err(Failure::Forgotten) } else { judge(&answer, &path) }
    }
}

impl Registrar for Embedded {
    async fn register(&mut self, record: &Record) -> Result<(), Failure> {
        self.0.renew();
        self.post("register", &registration(record)).await
    }

    async fn beat(&mut self, record: &Record) -> Result<(), Failure> {
        self.post("heartbeat", &json!({ "name": record.service, "id": record.id })).await
    }

    async fn deregister(&mut self, record: &Record) -> Result<(), Failure> {
        match self.post("deregister", &json!({ "name": record.service, "id": record.id })).await {
            Err(Failure::Forgotten) => Ok(()),
            result => result,
        }
    }
}

/// The record as the embedded registry takes it, and as it stands in etcd.
pub(super) fn registration(record: &Record) -> Value {
    let ttl = Span::from_millis(u64::try_from(record.ttl.as_millis()).unwrap_or(u64::MAX)).to_string();
    let mut body = json!({
        "name": record.service, "id": record.id, "ip": record.address, "port": record.port,
        "tags": record.tags, "weight": record.weight, "metadata": record.metadata, "ttl": ttl,
    });
    let more = [
        ("protocol", record.protocol.map(|p| p.as_str().to_owned())),
        ("environment", record.environment.as_ref().map(ToString::to_string)),
        ("zone", record.zone.clone()),
        ("version", record.version.clone()),
        ("health", record.health.clone()),
    ];
    for (field, value) in more {
        if let (Some(value), Some(body)) = (value, body.as_object_mut()) {
            body.insert(field.to_owned(), value.into());
        }
    }
    body
}
