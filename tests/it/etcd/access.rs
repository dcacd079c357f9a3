//! Members with TLS, users, and client certificates.

use discovery::provider::etcd::{Access, Settings};
use model::{Knowledge, ProviderError, Update};
use serde_json::json;
use settings::{SecretSource, Span};
use transport::client::TlsSettings;

use super::rig::{Registrar, b64, environment, file, never_shorter, source};
use crate::{
    registry::{inline, unique},
    source::{Source, named},
};

fn user(name: &str, password: &str) -> Access {
    Access { user: Some(name.to_owned()), password: inline(password), ..Access::default() }
}

/// Settings for the etcd with TLS and users, as the user `router`.
fn secure() -> Option<Settings> {
    let url = environment("ETCD_TLS_URL")?;
    let tls = TlsSettings { ca: Some(file("ETCD_CACERT")), ..TlsSettings::default() };
    Some(Settings { access: Access { tls, ..user("router", "router") }, ..Settings::new([url]) })
}

async fn refused(source: &mut Source) -> String {
    let refused = |update| match update {
        Update::Unreachable(error @ ProviderError::Denied(_)) => Some(error.to_string()),
        Update::Service { .. } | Update::Catalogue(_) => panic!("{update:?}"),
        _ => None,
    };
    source.until("a refusal", refused).await
}

#[tokio::test]
async fn a_user_sees_what_it_may_and_every_refusal_says_what_is_missing() {
    let Some(good) = secure() else { return };
    let registrar = Registrar::root(&good.endpoints.0[0]).await;
    let name = unique("secure");
    registrar.put(&format!("{name}/one"), "10.0.0.1:1").await;
    source(good.clone(), named(&[&name])).known(&name, 1).await;
    let with = |access| Settings { access, ..good.clone() };
    let tls = || good.access.tls.clone();
    for (settings, part) in [
        (with(Access { tls: tls(), ..Access::default() }), "set `user` and `password`"),
        (with(Access { tls: tls(), ..user("router", "wrong") }), "check `user` and `password`"),
        (with(Access { tls: tls(), ..user("nobody", "router") }), "check `user` and `password`"),
        (Settings { prefix: "/secrets".into(), ..good.clone() }, "grant the role of `user` to read the prefix"),
    ] {
        let told = refused(&mut source(settings, named(&[&name]))).await;
        assert!(told.contains(part), "{told}");
    }
    registrar.delete(&format!("{name}/one")).await;
}

#[tokio::test]
async fn a_wrong_password_file_is_an_outage_that_a_new_one_ends() {
    let Some(good) = secure() else { return };
    let registrar = Registrar::root(&good.endpoints.0[0]).await;
    let name = unique("late");
    registrar.put(&format!("{name}/one"), "10.0.0.1:1").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let password = Some(SecretSource::File(file.path().to_owned()));
    let settings = Settings { access: Access { password, ..good.access.clone() }, ..good };
    let mut source = source(settings, named(&[&name]));
    refused(&mut source).await;
    std::fs::write(file.path(), "router\n").unwrap();
    source.known(&name, 1).await;
    registrar.delete(&format!("{name}/one")).await;
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_and_a_lost_right_empties_nothing() {
    let Some(good) = secure() else { return };
    let registrar = Registrar::root(&good.endpoints.0[0]).await;
    // A user and a role of this test's own, because it takes rights away.
    let (name, user) = (unique("renewed"), unique("user"));
    registrar.ask("auth/user/add", json!({ "name": user, "password": "word" })).await;
    registrar.ask("auth/role/add", json!({ "name": user })).await;
    let right = json!({ "permType": "READ", "key": b64("/services/"), "range_end": b64("/services0") });
    registrar.ask("auth/role/grant", json!({ "name": user, "perm": right })).await;
    registrar.ask("auth/user/grant", json!({ "user": user, "role": user })).await;
    registrar.put(&format!("{name}/one"), "10.0.0.1:1").await;
    let access = Access { tls: good.access.tls.clone(), ..self::user(&user, "word") };
    let settings = Settings { access, wait: Span::from_secs(1), ..good.clone() };
    let mut source = source(settings, named(&[&name]));
    source.known(&name, 1).await;

    // A new password ends the tokens that the old one got; so the next watch needs a new token, and the password still
    // works because it is the same again.
    registrar.ask("auth/user/changepw", json!({ "name": user, "password": "word" })).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    registrar.put(&format!("{name}/two"), "10.0.0.2:1").await;
    let renewed = source
        .until("the second instance", |update| {
            assert!(!matches!(update, Update::Unreachable(_)), "{update:?}");
            matches!(&update, Update::Service { knowledge: Knowledge::Known(list), .. } if list.len() == 2)
                .then_some(())
        })
        .await;

    registrar.ask("auth/user/revoke", json!({ "name": user, "role": user })).await;
    let lost = |update| {
        never_shorter(&update, 2);
        matches!(update, Update::Unreachable(ProviderError::Denied(_))).then_some(())
    };
    source.until("a lost right", lost).await;
    registrar.ask("auth/user/grant", json!({ "user": user, "role": user })).await;
    source.known(&name, 2).await;
    for id in ["one", "two"] {
        registrar.delete(&format!("{name}/{id}")).await;
    }
    registrar.ask("auth/user/delete", json!({ "name": user })).await;
    renewed
}

#[tokio::test]
async fn an_unknown_authority_is_told() {
    let Some(good) = secure() else { return };
    let access = Access { tls: TlsSettings::default(), ..good.access.clone() };
    let mut source = source(Settings { access, ..good }, named(&["pets"]));
    let told =
        source.until("outage", |u| if let Update::Unreachable(e) = u { Some(e.to_string()) } else { None }).await;
    assert!(told.contains("TLS failed"), "{told}");
}

#[tokio::test]
async fn with_client_certificates_a_user_is_still_needed() {
    let Some(url) = environment("ETCD_MTLS_URL") else { return };
    let with = |certificate: Option<&str>, key: Option<&str>| TlsSettings {
        ca: Some(file("ETCD_MTLS_CACERT")),
        client_certificate: certificate.map(file),
        client_key: key.map(file),
        server_name: None,
    };
    let tls = with(Some("ETCD_MTLS_CLIENT_CERT"), Some("ETCD_MTLS_CLIENT_KEY"));
    let good = Settings { access: Access { tls, ..user("router", "router") }, ..Settings::new([url]) };
    source(good.clone(), named(&["pets"])).empty("pets").await;
    let nobody = Access { tls: good.access.tls.clone(), ..Access::default() };
    let told = refused(&mut source(Settings { access: nobody, ..good.clone() }, named(&["pets"]))).await;
    assert!(told.contains("permission denied"), "{told}");
    // Over gRPC the name would be the user. The gateway refuses it rather than to ignore it.
    let tls = with(Some("ETCD_MTLS_NAMED_CERT"), Some("ETCD_MTLS_NAMED_KEY"));
    let named_one = Settings { access: Access { tls, ..good.access.clone() }, ..good.clone() };
    let told = refused(&mut source(named_one, named(&["pets"]))).await;
    assert!(told.contains("certificate without a common name"), "{told}");
    let bare = Settings { access: Access { tls: with(None, None), ..good.access.clone() }, ..good };
    let told = refused(&mut source(bare, named(&["pets"]))).await;
    assert!(told.contains("`client_certificate`"), "{told}");
}
