//! `pointsman table`, `sources`, `drain` and `ready` ask a running router.

use std::process::Output;

use serde_json::{Value, json};
use testkit::get;

use super::process::finish;
use crate::{
    discover::rig::{IN_MEMORY, Registrar, instances, serving, until},
    support::{Config, Front, Running},
};

/// `pointsman ARGUMENTS --admin ...`, beside what runs here.
async fn pointsman(of: &Running, arguments: &[&str]) -> Output {
    let admin = of.admin().to_string();
    let words: Vec<String> = [arguments, &["--admin", &admin]].concat().into_iter().map(str::to_owned).collect();
    let finish = move || finish(&words.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(finish).await.unwrap()
}

/// The same, and it works; what it prints.
async fn told(of: &Running, arguments: &[&str]) -> String {
    let output = pointsman(of, arguments).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same, and it does not; what it says.
async fn refused(of: &Running, arguments: &[&str]) -> String {
    let output = pointsman(of, arguments).await;
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test]
async fn the_table_says_who_is_there_and_what_keeps_them_out() {
    let router = Config::new()
        .set("registries", IN_MEMORY)
        .set("routes", "[ { prefix: /none, service: none } ]")
        .set("services", "{ '*': { slow_start: off, balance: round_robin } }")
        .start();
    let all = instances(&["one", "two"]).await;
    let registrar = Registrar::of(&router).await;
    registrar.register("pets", &all[0]).await;
    registrar.register_as("pets", &all[1], json!({ "environment": "test" })).await;
    serving(&router, "pets", &["one", "two"]).await;
    let addresses: Vec<String> = all.iter().map(|instance| instance.addr().to_string()).collect();

    let table = told(&router, &["table"]).await;
    let lines: Vec<Vec<&str>> = table.lines().map(words).collect();
    assert_eq!(lines[0], ["SERVICE", "INSTANCE", "ADDRESS", "ENVIRONMENT", "IN", "FLIGHT", "WEIGHT", "STATE"]);
    assert_eq!(lines[1], ["none", "-", "-", "-", "-", "-", "no", "instance", "is", "known"]);
    assert_eq!(lines[2], ["pets", "one", &addresses[0], "-", "0", "1", "in"]);
    assert_eq!(lines[3], ["pets", "two", &addresses[1], "test", "0", "1", "in"]);
    assert_eq!(lines.len(), 4, "{table}");
    let one = told(&router, &["table", "pets"]).await;
    assert!(one.lines().count() == 3 && !one.contains("none"), "{one}");
    let json: Value = serde_json::from_str(&told(&router, &["table", "pets", "--json"]).await).unwrap();
    assert_eq!(json["members"].as_array().unwrap().len(), 2);
    let said = refused(&router, &["table", "dogs"]).await;
    assert!(said.contains("answers 404: no source speaks of \"dogs\""), "{said}");

    // What an operator and what a failure keep out.
    assert_eq!(
        told(&router, &["drain", "pets", "one"]).await,
        "pets one gets no new requests; what is under way ends\n"
    );
    drop(all);
    let client = router.client(Front::H1).await;
    assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 502);
    let table = told(&router, &["table", "pets"]).await;
    let state = |id: &str| {
        let line = table.lines().find(|line| words(line)[1] == id).unwrap();
        words(line)[6..].join(" ")
    };
    assert!(state("one").starts_with("out (drained") && state("two").starts_with("out (connect) for "), "{table}");
}

#[tokio::test]
async fn an_instance_is_drained_and_let_in_again() {
    let router = Config::new().set("registries", IN_MEMORY).start();
    let all = instances(&["one", "two"]).await;
    let registrar = Registrar::of(&router).await;
    registrar.register("pets", &all[0]).await;
    serving(&router, "pets", &["one"]).await;
    let is_out =
        async |out: bool| until(&router, "pets", "it turns", |now| (now["one"]["admission"] != "in") == out).await;
    assert!(told(&router, &["drain", "pets", "one"]).await.contains("gets no new requests"));
    is_out(true).await;
    assert_eq!(told(&router, &["drain", "pets", "one"]).await, "pets one is drained already\n");
    assert!(told(&router, &["drain", "pets", "one", "--undo"]).await.starts_with("pets one gets requests again"));
    is_out(false).await;
    assert_eq!(told(&router, &["drain", "--undo", "pets", "one"]).await, "pets one was not drained\n");
    let json: Value = serde_json::from_str(&told(&router, &["drain", "pets", "one", "--json"]).await).unwrap();
    assert_eq!((json["drained"].as_bool(), json["changed"].as_bool()), (Some(true), Some(true)));
    let said = refused(&router, &["drain", "pets", "three"]).await;
    assert!(said.contains("there is no instance \"three\" of \"pets\"; there are: one"), "{said}");
}

#[tokio::test]
async fn sources_and_readiness_are_told_with_their_cause() {
    let nobody = crate::support::nobody().await;
    let registries =
        format!("{}, gone: {{ consul: {{ url: 'http://{nobody}' }} }} }}", IN_MEMORY.strip_suffix(" }").unwrap());
    let router = Config::new().set("registries", &registries).set("routes", "[ { service: pets } ]").start();
    let down = async || told(&router, &["sources"]).await;
    let sources = testkit::until("it is known to be down", down, |told| told.contains("down for ")).await;
    let line = |name: &str| sources.lines().find(|line| words(line)[0] == name).unwrap();
    assert_eq!(words(sources.lines().next().unwrap()), ["SOURCE", "KIND", "INSTANCES", "HEARD", "STATE"]);
    assert!(line("local").contains(" embedded ") && line("local").contains(" live for "), "{sources}");
    assert!(line("gone").contains(" never ") && line("gone").contains(&nobody.to_string()), "{sources}");
    let json: Value = serde_json::from_str(&told(&router, &["sources", "--json"]).await).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);

    let said = refused(&router, &["ready"]).await;
    assert!(said.starts_with("pointsman: not ready: ") && said.contains("gone"), "{said}");
    let other = Config::new().start();
    other.ready().await;
    assert_eq!(told(&other, &["ready"]).await, "ready\n");
}

#[test]
fn where_no_router_is_that_is_said() {
    for verb in [&["table"][..], &["sources"], &["drain", "pets", "one"], &["ready"]] {
        let output = finish(&[verb, &["--admin", "127.0.0.1:1"]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        let told = said.contains("no router answers on http://127.0.0.1:1") && said.contains("--admin ADDRESS:PORT");
        assert!(output.status.code() == Some(1) && told, "{verb:?}: {said}");
    }
}
