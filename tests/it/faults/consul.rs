//! A Consul agent that can be made to fail.

use std::{io, time::Duration};

use discovery::provider::consul::Settings;
use serde_json::{Value, json};
use settings::Span;

use super::{
    cells::Fault,
    http::{Asked, Speaks, Wire, subject},
    rig::{World, table},
};

struct Agent;

impl Speaks for Agent {
    async fn answer(&self, asked: Asked, wire: &mut Wire) -> io::Result<()> {
        let World { index, fault, .. } = wire.now();
        match fault {
            Some(Fault::AuthLost) => return wire.whole(403, "", "ACL not found").await,
            Some(Fault::LeaderLoss) => return wire.whole(500, "", "No cluster leader").await,
            _ => {}
        }
        if asked.path.starts_with("/v1/agent/health/service/name/") {
            return wire.whole(404, "", "[]").await;
        }
        if asked.path.starts_with("/v1/catalog/nodes") {
            return wire.whole(200, "x-consul-index: 1\r\n", r#"[{"Node":"n"}]"#).await;
        }
        if asked.path.contains(&format!("index={index}&")) {
            wire.next(index, Duration::from_secs(1)).await;
        }
        let now = wire.now();
        let instances = if asked.path.contains("/pets") { now.instances } else { 0 };
        let record = |n: u8| {
            json!({ "Node": { "Node": "n", "Address": format!("10.0.0.{n}") },
                "Service": { "ID": n.to_string(), "Port": 80 }, "Checks": [] })
        };
        if asked.path.starts_with("/v1/catalog/services") {
            let names = if now.instances == 0 { json!({ "consul": [] }) } else { json!({ "consul": [], "pets": [] }) };
            return wire.whole(200, &format!("x-consul-index: {}\r\n", now.index), &names.to_string()).await;
        }
        let body = Value::from((1..=instances).map(record).collect::<Vec<_>>()).to_string();
        wire.whole(200, &format!("x-consul-index: {}\r\n", now.index), &body).await
    }
}

#[tokio::test]
async fn faults_of_consul() {
    let settings = |at| Settings { wait: Span::from_secs(1), ..Settings::new(format!("http://{at}")) };
    table("consul", || subject(Agent, move |at| (discovery::Settings::Consul(settings(at)), Vec::new()))).await;
}
