//! A real API server behind a whole router.

use serde_json::{Value, json};
use testkit::Instance;

use super::rig::{Load, instances, until};
use crate::{
    kubernetes::rig::{Cluster, Controller, Own},
    support::{Config, Front, Running},
};

fn router(kubeconfig: &std::path::Path) -> Running {
    Config::new()
        .set(
            "registries",
            &format!("{{ c1: {{ kubernetes: {{ kubeconfig: '{}', wait: 5s }} }} }}", kubeconfig.display()),
        )
        .set("expose", "{ service: pets }")
        .start()
}

/// Each instance has a slice of its own, because each has a port of its own.
async fn put(shop: &Controller, instance: &Instance, conditions: &Value) {
    let endpoint = json!([{ "addresses": ["127.0.0.1"], "conditions": conditions, "zone": "a",
        "targetRef": { "kind": "Pod", "name": instance.name(), "uid": instance.name() } }]);
    shop.put(&format!("pets-{}", instance.name()), "pets", instance.addr().port(), &endpoint).await;
}

async fn serving(router: &Running, names: &[&str]) {
    until(router, "pets", &format!("{names:?} serve"), |now| {
        let serving: Vec<_> =
            now.iter().filter(|(_, m)| m["standing"] == "serving").map(|(id, _)| id.clone()).collect();
        serving == names.iter().map(|name| format!("{name}@127.0.0.1")).collect::<Vec<_>>()
    })
    .await;
}

/// Traefik 4452, 7010.
/// Kubernetes 43576.
#[tokio::test]
async fn a_rolling_update_and_a_dead_api_server_cost_no_request() {
    if Cluster::shared().is_none() {
        return;
    }
    let own = Own::start();
    let shop = own.cluster.namespace("roll").create().await;
    let file = own.cluster.kubeconfig("token: router-token", &shop.namespace);
    let (serves, drains) = (json!({ "ready": true }), json!({ "ready": false, "serving": true, "terminating": true }));
    let all = instances(&["one", "two", "three"]).await;
    put(&shop, &all[0], &serves).await;
    let router = router(file.path());
    serving(&router, &["one"]).await;
    let load = Load::start(&router, &[Front::H1, Front::H2Tls], "pets").await;
    load.more(100).await;

    // The new one comes, the old one finishes what it has and goes.
    put(&shop, &all[1], &serves).await;
    serving(&router, &["one", "two"]).await;
    put(&shop, &all[0], &drains).await;
    serving(&router, &["two"]).await;
    shop.delete("pets-one").await;
    until(&router, "pets", "one is gone at its own word", |now| now.len() == 1).await;
    load.more(100).await;

    own.server("kill");
    load.more(200).await;
    own.server("start");
    // It is not ready at once: who writes has to wait for it as we do.
    load.more(200).await;
    serving(&router, &["two"]).await;
    let had = load.end().await;
    assert!(had["one"] > 0 && had["two"] > 0, "{had:?}");
}
