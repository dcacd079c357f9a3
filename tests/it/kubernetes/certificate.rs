//! A kubeconfig whose user shows a certificate, in front of a recorded API server that asks for one.

use std::{fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use model::{ProviderError, Update};
use testkit::{Certs, Instance, Reply};

use super::{
    replay::recorded,
    rig::{kubeconfig, settings, source},
};
use crate::source::named;

/// An API server that refuses whoever shows no certificate of this authority.
async fn server(certs: &Certs) -> Instance {
    let list = |seen: &testkit::Seen| {
        let head = Reply::status(200).header("content-type", "application/json");
        let watches = seen.uri.query().is_some_and(|query| query.contains("watch=1"));
        if watches { head.hang() } else { head.data(recorded("list").body) }
    };
    Instance::https(certs).alpn(&["http/1.1"]).require_client_certificate().answer(list).start().await
}

fn encoded(file: &Path) -> String {
    BASE64_STANDARD.encode(fs::read(file).unwrap())
}

#[tokio::test]
async fn the_certificate_of_a_kubeconfig_is_shown() {
    let certs = Certs::new();
    let (server, ours) = (server(&certs).await, certs.issue_client("router"));
    let [chain, key] = [&ours.chain, &ours.key].map(|path| path.display().to_string());
    let files = format!("client-certificate: '{chain}', client-key: '{key}'");
    let within = format!("client-certificate-data: {}, client-key-data: {}", encoded(&ours.chain), encoded(&ours.key));
    let authority = format!("certificate-authority: '{}'", certs.ca().display());
    let encoded = format!("certificate-authority-data: {}", encoded(&certs.ca()));
    for (cluster, user) in [(&authority, &files), (&encoded, &within)] {
        let file = kubeconfig(&server.url(), cluster, user, "default");
        let mut source = source(settings(file.path()), named(&["orders"]));
        source.known("orders", 1).await;
    }
}

#[tokio::test]
async fn without_a_certificate_or_with_a_foreign_one_nothing_is_known() {
    let (certs, others) = (Certs::new(), Certs::new());
    let (server, foreign) = (server(&certs).await, others.issue_client("router"));
    let user =
        format!("client-certificate-data: {}, client-key-data: {}", encoded(&foreign.chain), encoded(&foreign.key));
    for user in ["token: t", &user] {
        let authority = format!("certificate-authority: '{}'", certs.ca().display());
        let file = kubeconfig(&server.url(), &authority, user, "default");
        let mut source = source(settings(file.path()), named(&["orders"]));
        let outage = |update| if let Update::Unreachable(error) = update { Some(error) } else { None };
        let error = source.until("an outage", outage).await;
        assert!(matches!(error, ProviderError::Unreachable(_)), "{error:?}");
    }
    assert_eq!(server.counts().requests(), 0);
}
