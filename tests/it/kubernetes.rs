//! The Kubernetes provider: against recorded exchanges with an API server of 1.36, and against a real one.

mod certificate;
mod pod;
mod replay;
pub(crate) mod rig;

use std::{collections::BTreeSet, sync::Arc};

use discovery::provider::{Interest, kubernetes::Settings};
use model::{Exposure, Knowledge, ProviderError, Standing, Update};
use serde_json::json;
use settings::Span;

use crate::source::named;
use rig::{Cluster, Own, leaving, ready, settings, source};

const ROUTER: &str = "token: router-token";

/// Kubernetes 43576.
#[tokio::test]
async fn slices_come_change_and_go() {
    let Some(cluster) = Cluster::shared() else { return };
    let shop = cluster.namespace("life").create().await;
    let file = cluster.kubeconfig(ROUTER, &shop.namespace);
    let mut source = source(settings(file.path()), named(&["pets"]));
    source.empty("pets").await;

    shop.put("pets-1", "pets", 8080, &json!([ready("10.0.0.1"), ready("10.0.0.2")])).await;
    let list = source.known("pets", 2).await;
    assert_eq!(list[0].endpoint.address.to_string(), "10.0.0.1:8080");
    assert_eq!(list[0].endpoint.protocol, Some(model::Protocol::H2c));
    shop.put("pets-2", "pets", 8081, &json!([ready("10.0.0.3")])).await;
    source.known("pets", 3).await;
    shop.put("pets-2", "pets", 8081, &json!(null)).await;
    source.known("pets", 2).await;

    shop.put("pets-1", "pets", 8080, &json!([leaving("10.0.0.1"), ready("10.0.0.2")])).await;
    let drains = |k: &Knowledge| matches!(k, Knowledge::Known(list) if list[0].standing == Standing::Draining);
    source.knowledge("pets", drains).await;
    shop.put("pets-1", "pets", 8080, &json!([ready("10.0.0.2")])).await;
    let left = |update| match update {
        Update::Service { deregistered, .. } if !deregistered.is_empty() => Some(deregistered),
        _ => None,
    };
    assert_eq!(source.until("a departure", left).await[0].as_str(), "10.0.0.1:8080");
    shop.delete("pets-1").await;
    shop.delete("pets-2").await;
    source.empty("pets").await;
}

#[tokio::test]
async fn namespaces_name_their_services() {
    let Some(cluster) = Cluster::shared() else { return };
    let (home, other) = (cluster.namespace("home").create().await, cluster.namespace("other").create().await);
    for controller in [&home, &other] {
        controller.put("pets-1", "pets", 80, &json!([ready("10.0.0.1")])).await;
    }
    let file = cluster.kubeconfig(ROUTER, &home.namespace);
    let far = format!("pets.{}", other.namespace);
    let both = vec![home.namespace.clone(), other.namespace.clone()];
    for namespaces in [both, vec!["*".to_owned()]] {
        let mut source = source(Settings { namespaces, ..settings(file.path()) }, named(&["pets", &far]));
        let mut left: BTreeSet<_> = ["pets", &*far].into();
        source
            .until("both services", |update| {
                if let Update::Service { service, knowledge: Knowledge::Known(_), .. } = update {
                    left.remove(service.as_str());
                }
                left.is_empty().then_some(())
            })
            .await;
    }
}

#[tokio::test]
async fn what_leaves_the_selection_is_gone_and_tags_expose() {
    let Some(cluster) = Cluster::shared() else { return };
    let shop = cluster.namespace("select").create().await;
    let labels = |team: &str| json!({ "kubernetes.io/service-name": "pets", "team": team, "pointsman/tags": "public" });
    shop.put_labelled("pets-1", &labels("a"), 80, &json!([ready("10.0.0.1")])).await;
    let file = cluster.kubeconfig(ROUTER, &shop.namespace);
    let tags = [model::Tag::new("public").unwrap()].into();
    let exposure = Exposure::Matching { services: BTreeSet::new(), prefixes: Vec::new(), tags };
    let interest = Interest { services: BTreeSet::new(), exposure };
    let selector = Some("team in (a)".to_owned());
    let mut source = source(Settings { selector, ..settings(file.path()) }, interest);
    let list = source.known("pets", 1).await;
    assert_eq!((list[0].label("team"), list[0].is_in("public")), (Some("a"), true));
    shop.put_labelled("pets-1", &labels("b"), 80, &json!([ready("10.0.0.1")])).await;
    source.empty("pets").await;
    shop.put_labelled("pets-1", &labels("a"), 80, &json!([ready("10.0.0.1")])).await;
    source.known("pets", 1).await;
}

#[tokio::test]
async fn a_missing_right_is_told_by_name_until_it_is_granted() {
    let Some(cluster) = Cluster::shared() else { return };
    let shop = cluster.namespace("denied").create().await;
    shop.put("pets-1", "pets", 80, &json!([ready("10.0.0.1")])).await;
    let file = cluster.kubeconfig("token: stranger-token", &shop.namespace);
    let mut source = source(settings(file.path()), named(&["pets"]));
    let error = source.until("refusal", |u| if let Update::Unreachable(e) = u { Some(e) } else { None }).await;
    let told = error.to_string();
    assert!(matches!(error, ProviderError::Denied(_)) && told.contains("cannot list resource"), "{told}");
    assert!(told.contains("\"stranger\"") && told.contains(&shop.namespace), "{told}");
    shop.grant("stranger").await;
    source.known("pets", 1).await;
}

#[tokio::test]
async fn an_unknown_token_is_an_outage_that_a_new_token_file_ends() {
    let Some(cluster) = Cluster::shared() else { return };
    let shop = cluster.namespace("token").create().await;
    shop.put("pets-1", "pets", 80, &json!([ready("10.0.0.1")])).await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "unknown").unwrap();
    let file = cluster.kubeconfig(&format!("tokenFile: '{}'", token.path().display()), &shop.namespace);
    let mut source = source(settings(file.path()), named(&["pets"]));
    let error = source.until("refusal", |u| if let Update::Unreachable(e) = u { Some(e) } else { None }).await;
    assert!(matches!(&error, ProviderError::Denied(text) if text.contains("401")), "{error}");
    std::fs::write(token.path(), "router-token").unwrap();
    source.known("pets", 1).await;
}

#[tokio::test]
async fn a_credential_plugin_gives_the_token() {
    let Some(cluster) = Cluster::shared() else { return };
    let shop = cluster.namespace("plugin").create().await;
    shop.put("pets-1", "pets", 80, &json!([ready("10.0.0.1")])).await;
    let version = "client.authentication.k8s.io/v1";
    let printed = json!({ "apiVersion": version, "kind": "ExecCredential", "status": { "token": "router-token" } });
    let user =
        format!("exec: {{ apiVersion: {version}, command: echo, args: [ '{printed}' ], interactiveMode: Never }}");
    let file = cluster.kubeconfig(&user, &shop.namespace);
    source(settings(file.path()), named(&["pets"])).known("pets", 1).await;
}

/// Envoy Gateway 3740.
#[tokio::test]
async fn an_outage_is_told_and_empties_nothing_and_what_changed_meanwhile_is_seen() {
    if Cluster::shared().is_none() {
        return;
    }
    let own = Own::start();
    let shop = own.cluster.namespace("kept").create().await;
    shop.put("pets-1", "pets", 80, &json!([ready("10.0.0.1")])).await;
    let file = own.cluster.kubeconfig(ROUTER, &shop.namespace);
    let wait = Span::from_secs(5);
    let mut source = source(Settings { wait, ..settings(file.path()) }, named(&["pets"]));
    let before = source.known("pets", 1).await;
    let outage = |update| match update {
        Update::Unreachable(error) => Some(error),
        Update::Service { knowledge: Knowledge::KnownEmpty, .. } => panic!("an outage was read as an empty list"),
        _ => None,
    };

    own.server("kill");
    source.until("outage", outage).await;
    own.server("start");
    assert_eq!(source.known("pets", 1).await, before);

    // Now it hangs, with its connections open.
    own.server("pause");
    source.until("a dead watch", outage).await;
    own.server("resume");
    assert_eq!(source.known("pets", 1).await, before);
    shop.put("pets-1", "pets", 80, &json!([ready("10.0.0.1"), ready("10.0.0.2")])).await;
    source.known("pets", 2).await;
}

#[tokio::test]
async fn a_quiet_watch_is_renewed_from_where_it_was() {
    let Some(cluster) = Cluster::shared() else { return };
    let shop = cluster.namespace("quiet").create().await;
    shop.put("pets-1", "pets", 80, &json!([ready("10.0.0.1")])).await;
    let file = cluster.kubeconfig(ROUTER, &shop.namespace);
    let wait = Span::from_secs(5);
    let mut source = source(Settings { wait, ..settings(file.path()) }, named(&["pets"]));
    source.known("pets", 1).await;
    // Two watches end and begin; nothing is said of it, and nothing is missed.
    for _ in 0..24 {
        source.silent().await;
    }
    shop.put("pets-1", "pets", 80, &json!([ready("10.0.0.1"), ready("10.0.0.2")])).await;
    source.known("pets", 2).await;
    source.interest.send_replace(Arc::new(named(&["other"])));
    source.empty("other").await;
}
