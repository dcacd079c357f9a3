//! An API server that can be made to fail.

use std::{io, time::Duration};

use discovery::provider::kubernetes::Settings;
use serde_json::{Value, json};
use settings::Span;

use super::{
    cells::Fault,
    http::{Asked, Speaks, subject},
    rig::World,
    table::table,
    wire::Wire,
};
use crate::kubernetes::rig::kubeconfig;

struct Server;

impl Speaks for Server {
    async fn answer(&self, asked: Asked, wire: &mut Wire) -> io::Result<()> {
        let mut now = wire.now();
        match now.fault {
            Some(Fault::AuthLost) => return wire.whole(401, "", &status(401, "Unauthorized")).await,
            Some(Fault::LeaderLoss) => {
                return wire.whole(500, "", &status(500, "etcdserver: leader changed")).await;
            }
            _ => {}
        }
        if !asked.path.contains("watch=1") {
            let items = if now.instances == 0 { Vec::new() } else { vec![slice(&now)] };
            let metadata = json!({ "resourceVersion": now.index.to_string() });
            let list = json!({ "kind": "EndpointSliceList", "metadata": metadata, "items": items });
            return wire.whole(200, "", &list.to_string()).await;
        }
        wire.begin().await?;
        // Whoever was elsewhere in history is told so.
        if !asked.path.contains(&format!("resourceVersion={}&", now.index)) {
            return gone(wire).await;
        }
        while let Some(after) = wire.next(now.index, Duration::from_secs(4)).await {
            if after.era != now.era {
                return gone(wire).await;
            }
            if matches!(after.fault, Some(Fault::AuthLost | Fault::LeaderLoss)) {
                return wire.end().await;
            }
            let kind = if after.instances == 0 { "DELETED" } else { "MODIFIED" };
            wire.line(&json!({ "type": kind, "object": slice(&after) })).await?;
            now = after;
        }
        let bookmark = json!({ "kind": "EndpointSlice", "metadata": { "resourceVersion": now.index.to_string() } });
        wire.line(&json!({ "type": "BOOKMARK", "object": bookmark })).await?;
        wire.end().await
    }
}

async fn gone(wire: &mut Wire) -> io::Result<()> {
    let told: Value = serde_json::from_str(&status(410, "too old resource version")).unwrap();
    wire.line(&json!({ "type": "ERROR", "object": told })).await?;
    wire.end().await
}

fn status(code: u16, message: &str) -> String {
    let reason = if code == 410 { "Expired" } else { "" };
    json!({ "kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code }).to_string()
}

fn slice(now: &World) -> Value {
    let endpoints: Vec<_> = (1..=now.instances)
        .map(|n| json!({ "addresses": [format!("10.0.0.{n}")], "conditions": { "ready": true } }))
        .collect();
    json!({ "metadata": { "name": "pets-1", "namespace": "default", "resourceVersion": now.index.to_string(),
            "labels": { "kubernetes.io/service-name": "pets" } },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{ "port": 80 }] })
}

/// Envoy Gateway 3740.
/// Kubernetes 43576.
#[tokio::test]
async fn faults_of_kubernetes() {
    let subject = || {
        subject(Server, |at| {
            let file = kubeconfig(&format!("http://{at}"), "insecure-skip-tls-verify: false", "token: t", "default");
            let (kubeconfig, wait) = (Some(file.path().to_owned()), Span::from_secs(5));
            let settings = Settings { kubeconfig, wait, ..Settings::default() };
            (discovery::Settings::Kubernetes(settings), vec![Box::new(file) as Box<dyn Send>])
        })
    };
    table("kubernetes", "faults_of_kubernetes", subject).await;
}
