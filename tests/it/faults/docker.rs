//! A container engine that can be made to fail.

use std::{io, time::Duration};

use discovery::provider::docker::Settings;
use serde_json::{Value, json};
use settings::Span;

use super::{
    cells::Fault,
    http::{Asked, Speaks, subject},
    table::table,
    wire::Wire,
};

struct Engine;

impl Speaks for Engine {
    async fn answer(&self, asked: Asked, wire: &mut Wire) -> io::Result<()> {
        let mut now = wire.now();
        if now.fault == Some(Fault::AuthLost) {
            return wire.whole(403, "", r#"{"message":"not for you"}"#).await;
        }
        if asked.path.starts_with("/containers/json") {
            let one = |n: u8| json!({ "Id": format!("c{n}"), "Labels": labels() });
            return wire
                .whole(200, "", &Value::from((1..=now.instances).map(one).collect::<Vec<_>>()).to_string())
                .await;
        }
        if let Some(id) = asked.path.strip_prefix("/containers/c") {
            let n: u8 = id.split('/').next().unwrap().parse().unwrap();
            if n > now.instances {
                return wire.whole(404, "", r#"{"message":"no such container"}"#).await;
            }
            let container = json!({ "Id": format!("c{n}"), "Name": format!("/c{n}"), "State": { "Status": "running" },
                "Config": { "Labels": labels() },
                "NetworkSettings": { "Networks": { "n": { "IPAddress": format!("10.0.0.{n}") } } } });
            return wire.whole(200, "", &container.to_string()).await;
        }
        wire.begin().await?;
        while let Some(after) = wire.next(now.index, Duration::from_secs(60)).await {
            if after.era != now.era || after.fault == Some(Fault::AuthLost) {
                return wire.end().await;
            }
            let came = (now.instances + 1..=after.instances).map(|n| (n, "start"));
            let left = (after.instances + 1..=now.instances).map(|n| (n, "die"));
            for (n, action) in came.chain(left).collect::<Vec<_>>() {
                let actor = json!({ "ID": format!("c{n}"), "Attributes": labels() });
                wire.line(&json!({ "Type": "container", "Action": action, "Actor": actor })).await?;
            }
            now = after;
        }
        wire.end().await
    }
}

fn labels() -> Value {
    json!({ "pointsman.service": "pets", "pointsman.port": "80" })
}

/// Traefik 1100, 4287.
#[tokio::test]
async fn faults_of_docker() {
    let settings = |at| Settings { resync: Span::from_secs(5), ..Settings::new(format!("http://{at}")) };
    table("docker", "faults_of_docker", || {
        subject(Engine, move |at| (discovery::Settings::Docker(settings(at)), Vec::new()))
    })
    .await;
}
