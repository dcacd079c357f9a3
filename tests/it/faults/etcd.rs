//! An etcd member that can be made to fail.

use std::{io, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use discovery::provider::etcd::Settings;
use serde_json::{Value, json};
use settings::Span;

use super::{
    cells::Fault,
    http::{Asked, Speaks, subject},
    rig::World,
    table::table,
    wire::Wire,
};

struct Member;

impl Speaks for Member {
    async fn answer(&self, asked: Asked, wire: &mut Wire) -> io::Result<()> {
        let now = wire.now();
        match now.fault {
            Some(Fault::AuthLost) => {
                return wire.whole(401, "", r#"{"code":16,"message":"etcdserver: invalid auth token"}"#).await;
            }
            Some(Fault::LeaderLoss) => {
                return wire.whole(503, "", r#"{"code":14,"message":"etcdserver: no leader"}"#).await;
            }
            _ => {}
        }
        if asked.path == "/v3/kv/range" {
            let kvs: Vec<_> = (1..=now.instances).map(|n| record(n, &now)).collect();
            return wire.whole(200, "", &json!({ "header": header(&now), "kvs": kvs }).to_string()).await;
        }
        wire.begin().await?;
        wire.line(&json!({ "result": { "header": header(&now), "created": true } })).await?;
        let start: u64 = asked.body["create_request"]["start_revision"].as_str().unwrap().parse().unwrap();
        let mut before = now;
        // What was before is not kept.
        if start <= before.index {
            let compacted = before.index.to_string();
            let told = json!({ "header": header(&before), "canceled": true, "compact_revision": compacted });
            return wire.line(&json!({ "result": told })).await;
        }
        while let Some(after) = wire.next(before.index, Duration::from_secs(60)).await {
            if after.era != before.era || matches!(after.fault, Some(Fault::AuthLost | Fault::LeaderLoss)) {
                return wire.end().await;
            }
            let came = (before.instances + 1..=after.instances).map(|n| json!({ "kv": record(n, &after) }));
            let key = |n: u8| json!({ "key": record(n, &after)["key"], "mod_revision": after.index.to_string() });
            let left = (after.instances + 1..=before.instances).map(|n| json!({ "type": "DELETE", "kv": key(n) }));
            let events: Vec<_> = came.chain(left).collect();
            wire.line(&json!({ "result": { "header": header(&after), "events": events } })).await?;
            before = after;
        }
        wire.end().await
    }
}

fn header(now: &World) -> Value {
    json!({ "cluster_id": now.era.to_string(), "revision": now.index.to_string() })
}

/// Under a lease: its end is nobody's word.
fn record(n: u8, now: &World) -> Value {
    let encode = |text: String| BASE64_STANDARD.encode(text);
    json!({ "key": encode(format!("/services/pets/{n}")), "value": encode(format!("10.0.0.{n}:80")),
        "mod_revision": now.index.to_string(), "lease": "7" })
}

/// Traefik 2068, 566.
/// Traefik 515.
#[tokio::test]
async fn faults_of_etcd() {
    let settings = |at| Settings { wait: Span::from_secs(1), ..Settings::new([format!("http://{at}")]) };
    table("etcd", "faults_of_etcd", || {
        subject(Member, move |at| (discovery::Settings::Etcd(settings(at)), Vec::new()))
    })
    .await;
}
