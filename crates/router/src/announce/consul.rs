//! A Consul agent: a service with a TTL check that we pass.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use serde_json::{Value, json};
use transport::client::escaped;

use super::{
    Failure, Record, Registrar,
    access::{Way, judge},
};

/// One agent.
#[derive(Debug)]
pub(super) struct Consul(pub(super) Way);

/// Where it takes its token.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
/// The least the agent takes for `DeregisterCriticalServiceAfter`.
const LEAST: Duration = Duration::from_secs(60);

impl Registrar for Consul {
    async fn register(&mut self, record: &Record) -> Result<(), Failure> {
        self.0.renew();
        // What an earlier registration of this id was checked by must not fail ours.
        let path = "/v1/agent/service/register?replace-existing-checks=true";
        let answer = self.0.call(Method::PUT, path, &service(record)).await?;
        judge(&answer, "/v1/agent/service/register")
    }

    async fn beat(&mut self, record: &Record) -> Result<(), Failure> {
        let path = format!("/v1/agent/check/pass/{}", escaped(&check_id(record)));
        let answer = self.0.call(Method::PUT, &path, &Value::Null).await?;
        // Agents say 404, older ones 500 and this text.
        let said = String::from_utf8_lossy(&answer.body);
        if answer.status == StatusCode::NOT_FOUND
            || said.contains("does not have associated TTL")
            || said.contains("Unknown check")
        {
            return Err(Failure::Forgotten);
        }
        judge(&answer, &path)
    }

    async fn deregister(&mut self, record: &Record) -> Result<(), Failure> {
        let path = format!("/v1/agent/service/deregister/{}", escaped(record.id.as_str()));
        let answer = self.0.call(Method::PUT, &path, &Value::Null).await?;
        let unknown = String::from_utf8_lossy(&answer.body).contains("Unknown service");
        if answer.status == StatusCode::NOT_FOUND || unknown { Ok(()) } else { judge(&answer, &path) }
    }
}

fn check_id(record: &Record) -> String {
    format!("check-{}", record.id)
}

fn service(record: &Record) -> Value {
    let mut meta = record.metadata.clone();
    let known = [
        ("protocol", record.protocol.map(|p| p.as_str().to_owned())),
        ("zone", record.zone.clone()),
        ("version", record.version.clone()),
        ("health", record.health.clone()),
    ];
    meta.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    // In Consul an environment is a tag.
    let tags: Vec<_> = record.environment.iter().chain(&record.tags).collect();
    // A process that was killed leaves; one whose agent was restarted has time to come back.
    let after = (record.ttl * 4).max(LEAST);
    json!({
        "ID": record.id, "Name": record.service, "Address": record.address, "Port": record.port,
        "Tags": tags, "Meta": meta, "Weights": { "Passing": record.weight, "Warning": 1 },
        "Check": {
            "CheckID": check_id(record), "Name": "heartbeat of pointsman register", "Status": "passing",
            "TTL": format!("{}ms", record.ttl.as_millis()),
            "DeregisterCriticalServiceAfter": format!("{}s", after.as_secs()),
        },
    })
}
