//! A Consul agent that can be made to fail.

use std::{io, time::Duration};

use discovery::provider::consul::Settings;
use serde_json::{Value, json};
use settings::Span;

use super::{
    cells::Fault,
    http::{Asked, Speaks, subject},
    rig::World,
    table::table,
    wire::Wire,
};

struct Agent;

impl Speaks for Agent {
    async fn answer(&self, asked: Asked, wire: &mut Wire) -> io::Result<()> {
        let World { index, fault, .. } = wire.now();
        if fault == Some(Fault::LeaderLoss) {
            return wire.whole(500, "", "No cluster leader").await;
        }
        // Access control refuses this question, and answers all others with less than there is.
        if asked.path.starts_with("/v1/agent/health/service/name/") {
            let (status, body) = if fault == Some(Fault::AuthLost) { (403, "Permission denied") } else { (404, "[]") };
            return wire.whole(status, "", body).await;
        }
        if asked.path.starts_with("/v1/catalog/nodes") {
            let nodes = if fault == Some(Fault::AuthLost) { "[]" } else { r#"[{"Node":"n"}]"# };
            return wire.whole(200, "x-consul-index: 1\r\n", nodes).await;
        }
        if asked.path.contains(&format!("index={index}&")) {
            wire.next(index, Duration::from_secs(1)).await;
        }
        let mut now = wire.now();
        if now.fault == Some(Fault::AuthLost) {
            now.instances = 0;
        }
        let instances = if asked.path.contains("/pets") { now.instances } else { 0 };
        let record = |n: u8| {
            json!({ "Node": { "Node": "n", "Address": format!("10.0.0.{n}") },
                "Service": { "ID": n.to_string(), "Port": 80 }, "Checks": [] })
        };
        if asked.path.starts_with("/v1/catalog/services") {
            if now.fault == Some(Fault::AuthLost) {
                return wire.whole(200, &format!("x-consul-index: {}\r\n", now.index), "{}").await;
            }
            let names = if now.instances == 0 { json!({ "consul": [] }) } else { json!({ "consul": [], "pets": [] }) };
            return wire.whole(200, &format!("x-consul-index: {}\r\n", now.index), &names.to_string()).await;
        }
        let body = Value::from((1..=instances).map(record).collect::<Vec<_>>()).to_string();
        wire.whole(200, &format!("x-consul-index: {}\r\n", now.index), &body).await
    }
}

/// Traefik 3944.
/// Traefik 8948.
/// Fabio 481.
/// Fabio 861.
/// Traefik 515.
#[tokio::test]
async fn faults_of_consul() {
    let settings = |at| Settings { wait: Span::from_secs(1), ..Settings::new(format!("http://{at}")) };
    table("consul", "faults_of_consul", || {
        subject(Agent, move |at| (discovery::Settings::Consul(settings(at)), Vec::new()))
    })
    .await;
}
