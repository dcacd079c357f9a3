//! Agents with TLS and access control.

use std::{collections::BTreeSet, process::Command};

use discovery::provider::{Interest, consul::Settings};
use model::{Exposure, Knowledge, ProviderError, Update};
use serde_json::json;
use settings::{SecretSource, Span};
use transport::client::TlsSettings;

use super::rig::{Own, Registrar, ca, environment, source};
use crate::{
    registry::{inline, unique},
    source::{Source, named},
};

/// Settings for the agent with TLS, with this token.
fn secure(token: Option<SecretSource>) -> Option<Settings> {
    let url = environment("CONSUL_TLS_URL")?;
    let tls = TlsSettings { ca: Some(ca()), ..TlsSettings::default() };
    Some(Settings { token, tls, ..Settings::new(url) })
}

/// The next outage by our own fault; nothing else is said of the service meanwhile.
async fn refused(source: &mut Source, name: &str) -> String {
    let refused = |update| match update {
        Update::Unreachable(error) => Some(error.to_string()),
        Update::Service { service, knowledge, .. }
            if service.as_str() == name && knowledge == Knowledge::KnownEmpty =>
        {
            panic!("it is there")
        }
        _ => None,
    };
    source.until("a refusal", refused).await
}

fn token(kind: &str) -> String {
    std::env::var(format!("CONSUL_TOKEN_{kind}")).unwrap()
}

#[tokio::test]
async fn over_tls_a_token_shows_what_it_may_read_and_no_more() {
    let Some(settings) = secure(None) else { return };
    let registrar = Registrar::secure(&settings.url, &token("WRITE"));
    let (allowed, never, forbidden) = (unique("api-pets"), unique("api-none"), unique("secret"));
    registrar.register(&json!({ "ID": allowed, "Name": allowed, "Port": 1 })).await;
    let settings = Settings { token: inline(&token("READ")), ..settings };
    let mut source = source(settings, named(&[&allowed, &never, &forbidden]));
    let (mut known, mut empty, mut denied) = (false, false, false);
    source
        .until("three answers", |update| {
            if let Update::Service { service, knowledge, .. } = update {
                match knowledge {
                    Knowledge::Known(_) | Knowledge::Part(_) => known |= service.as_str() == allowed,
                    Knowledge::KnownEmpty => empty |= service.as_str() == never,
                    Knowledge::Unknown(ProviderError::Denied(_)) => denied |= service.as_str() == forbidden,
                    other @ Knowledge::Unknown(_) => panic!("{other:?}"),
                }
            }
            (known && empty && denied).then_some(())
        })
        .await;
    registrar.deregister(&allowed).await;
    source.empty(&allowed).await;
}

#[tokio::test]
async fn without_a_token_nothing_is_known_rather_than_empty() {
    let Some(settings) = secure(None) else { return };
    let registrar = Registrar::secure(&settings.url, &token("WRITE"));
    let name = unique("api-hidden");
    registrar.register(&json!({ "ID": name, "Name": name, "Port": 1 })).await;
    for token in [None, inline("")] {
        let mut source = source(Settings { token, ..settings.clone() }, named(&[&name]));
        let told = source.denied(&name).await;
        assert!(told.contains("service:read"), "{told}");
    }
    registrar.deregister(&name).await;
}

#[tokio::test]
async fn a_right_that_is_taken_away_empties_nothing() {
    let Some(settings) = secure(None) else { return };
    let (registrar, operator) =
        (Registrar::secure(&settings.url, &token("WRITE")), Registrar::secure(&settings.url, &token("MANAGEMENT")));
    let (there, none) = (unique("api-there"), unique("api-none"));
    registrar.register(&json!({ "ID": there, "Name": there, "Port": 1 })).await;
    let (services, nodes) = ("service_prefix \"\" { policy = \"read\" }", "node_prefix \"\" { policy = \"read\" }");
    let token = operator.token(&there, &format!("{services} {nodes}")).await;
    let settings = Settings { token: inline(&token.secret), wait: Span::from_secs(1), ..settings };
    let mut source = source(settings, named(&[&there, &none]));
    // Both rights are seen once.
    source.empty(&none).await;
    registrar.register(&json!({ "ID": there, "Name": there, "Port": 2 })).await;
    source.known(&there, 1).await;
    operator.rules(&token.policy, &there, services).await;
    let doubtful = |update| match update {
        Update::Service { service, knowledge, .. } if service.as_str() == there => match knowledge {
            Knowledge::Unknown(error) => Some(error.to_string()),
            Knowledge::KnownEmpty => panic!("it is there"),
            Knowledge::Known(_) | Knowledge::Part(_) => None,
        },
        _ => None,
    };
    let told = source.until("a doubt", doubtful).await;
    assert!(told.contains("node:read"), "{told}");
    operator.rules(&token.policy, &there, &format!("{services} {nodes}")).await;
    source.known(&there, 1).await;
    registrar.deregister(&there).await;
}

#[tokio::test]
async fn an_unknown_token_is_an_outage_that_a_new_token_file_ends() {
    let Some(settings) = secure(None) else { return };
    let registrar = Registrar::secure(&settings.url, &token("WRITE"));
    let name = unique("api-late");
    registrar.register(&json!({ "ID": name, "Name": name, "Port": 1 })).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "5f0c1a52-0000-0000-0000-000000000000\n").unwrap();
    let token_file = Some(SecretSource::File(file.path().to_owned()));
    let mut source = source(Settings { token: token_file, ..settings }, named(&[&name]));
    let error = source.until("refusal", |u| if let Update::Unreachable(e) = u { Some(e) } else { None }).await;
    assert!(matches!(&error, ProviderError::Denied(text) if text.contains("check `token`")), "{error}");

    std::fs::write(file.path(), token("READ") + "\n").unwrap();
    source.known(&name, 1).await;
    registrar.deregister(&name).await;
}

#[tokio::test]
async fn a_token_that_ends_is_told_from_a_wrong_one() {
    let Some(settings) = secure(None) else { return };
    let operator = Registrar::secure(&settings.url, &token("MANAGEMENT"));
    let name = unique("api-ended");
    operator.register(&json!({ "ID": name, "Name": name, "Port": 1 })).await;
    let rules = "service_prefix \"\" { policy = \"read\" } node_prefix \"\" { policy = \"read\" }";
    let token = operator.token(&name, rules).await;
    // Consul keeps tokens for a minute at least: one that is deleted looks the same as one that expired.
    let settings = Settings { token: inline(&token.secret), wait: Span::from_secs(1), ..settings };
    let mut source = source(settings, named(&[&name]));
    source.known(&name, 1).await;
    operator.revoke(&token).await;
    for _ in 0..2 {
        let told = refused(&mut source, &name).await;
        assert!(told.contains("expired, or was deleted"), "{told}");
    }
    operator.deregister(&name).await;
}

#[tokio::test]
async fn an_agent_that_demands_a_client_certificate_says_so_and_gets_one() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let agent = tokio::task::spawn_blocking(Own::mutual).await.unwrap();
    let name = unique("api-mutual");
    let registrar = Registrar::with(&agent.url, &agent.variable("CONSUL_TOKEN_WRITE"), agent.tls(true));
    registrar.register(&json!({ "ID": name, "Name": name, "Port": 1 })).await;
    let token = inline(&agent.variable("CONSUL_TOKEN_READ"));
    let good = Settings { token, tls: agent.tls(true), ..Settings::new(agent.url.clone()) };
    source(good.clone(), named(&[&name])).known(&name, 1).await;
    let bare = Settings { tls: agent.tls(false), ..good };
    let mut source = source(bare, named(&[&name]));
    for _ in 0..5 {
        let told = refused(&mut source, &name).await;
        assert!(told.contains("`client_certificate`") && !told.contains("http_max_conns"), "{told}");
    }
}

#[tokio::test]
async fn over_tls_two_hundred_watches_share_few_connections() {
    let Some(settings) = secure(inline(&std::env::var("CONSUL_TOKEN_READ").unwrap_or_default())) else { return };
    let port = settings.url.rsplit(':').next().unwrap().to_owned();
    let connections = || {
        let printed =
            Command::new("ss").args(["-Htnp", "state", "established", "dport", "=", &format!(":{port}")]).output();
        let mine = format!("pid={},", std::process::id());
        String::from_utf8(printed.unwrap().stdout).unwrap().lines().filter(|line| line.contains(&mine)).count()
    };
    let names: Vec<_> = (0..200).map(|_| unique("api-share")).collect();
    let mut source = source(settings, named(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    let mut left: BTreeSet<_> = names.iter().cloned().collect();
    source
        .until("200 empty services", |update| {
            if let Update::Service { service, knowledge: Knowledge::KnownEmpty, .. } = update {
                left.remove(service.as_str());
            }
            left.is_empty().then_some(())
        })
        .await;
    // Other tests talk to the same agent from this process, each over one or two connections.
    let open = connections();
    assert!((1..30).contains(&open), "{open} connections");
}

#[tokio::test]
async fn a_catalogue_that_may_not_be_seen_is_told_and_empties_nothing() {
    let Some(settings) = secure(None) else { return };
    let everything = Interest { services: BTreeSet::new(), exposure: Exposure::Everything };
    let mut source = source(settings, everything);
    let first = source.until("a word about the catalogue", Some).await;
    assert!(matches!(&first, Update::Skipped { service: None, reason } if reason.contains("looks empty")), "{first:?}");
    source.silent().await;
}
