//! `pointsman registry`: an operator at the embedded registry.

use std::process::Output;

use serde_json::Value;
use testkit::Instance;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::process::finish;
use crate::{
    discover::rig::{Registrar, instances, serving, until},
    support::{Config, Running},
};

fn router(more: &str) -> Running {
    let registries = format!("{{ local: {{ embedded: {{ address: 127.0.0.1:0, directory: null{more} }} }} }}");
    Config::new().set("registries", &registries).start()
}

/// `pointsman registry ARGUMENTS --url ...`, beside what runs here.
async fn registry(of: &Running, arguments: &[&str]) -> Output {
    let url = format!("http://{}", of.registry("local"));
    let words: Vec<String> =
        [&["registry"], arguments, &["--url", &url]].concat().into_iter().map(str::to_owned).collect();
    let finish = move || finish(&words.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(finish).await.unwrap()
}

/// The same, and it works; what it prints.
async fn told(of: &Running, arguments: &[&str]) -> String {
    let output = registry(of, arguments).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn what_is_exported_is_imported_elsewhere_and_told() {
    let (from, to) = (router(""), router(""));
    let [one, two] = <[Instance; 2]>::try_from(instances(&["one", "two"]).await).unwrap();
    let registrar = Registrar::of(&from).await;
    registrar.register("pets", &one).await;
    registrar.register("pets", &two).await;
    Registrar::of(&to).await.register("cats", &one).await;
    assert_eq!(told(&from, &["list"]).await, "pets 2\n");
    let listed = told(&from, &["list", "pets"]).await;
    assert_eq!(listed, format!("one {0} {2}\ntwo {1} {2}\n", one.addr(), two.addr(), "registered, without a check"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registry.json");
    let file = file.to_str().unwrap();
    assert_eq!(told(&from, &["export", file]).await, "");
    let exported: Value = serde_json::from_str(&told(&from, &["export"]).await).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap(), exported);

    let rehearsed = told(&to, &["import", file, "--replace", "--dry-run"]).await;
    let expected = "would be added: pets one\nwould be added: pets two\nwould be removed: cats one\nunchanged: 0\n";
    assert_eq!(rehearsed, expected);
    assert_eq!(told(&to, &["list"]).await, "cats 1\n", "it was a rehearsal");
    assert!(told(&to, &["import", file]).await.starts_with("added: pets one\nadded: pets two\nunchanged: 0\n"));
    serving(&to, "pets", &["one", "two"]).await;
    assert!(told(&to, &["import", file, "--replace"]).await.starts_with("removed: cats one\nunchanged: 2\n"));
}

/// Reads from an open event stream until this comes.
async fn heard(stream: &mut TcpStream, event: &str) {
    let mut all = String::new();
    let hear = async {
        while !all.contains(event) {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "the stream ended, with {all}");
            all += &String::from_utf8_lossy(&piece[..count]);
        }
    };
    testkit::bounded("an event", hear).await;
}

#[tokio::test]
async fn an_event_stream_outlives_a_reload_of_something_else() {
    let router = router("");
    let mut stream = TcpStream::connect(router.registry("local")).await.unwrap();
    stream.write_all(b"GET /registry/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    heard(&mut stream, "event: everything").await;
    let registries = "{ local: { embedded: { address: 127.0.0.1:0, directory: null } } }";
    let other = Config::new().set("registries", registries).set("routes", "[ { prefix: /x, service: pets } ]");
    let other = settings::parse(&other.yaml(), "next.yml".as_ref(), &|_| None).unwrap();
    router.router.replace(other).await.unwrap();
    let instances = instances(&["one"]).await;
    Registrar::of(&router).await.register("pets", &instances[0]).await;
    heard(&mut stream, "event: service").await;
}

#[tokio::test]
async fn maintenance_begins_and_ends() {
    let router = router("");
    let instances = instances(&["one", "two"]).await;
    let registrar = Registrar::of(&router).await;
    for instance in &instances {
        registrar.register("pets", instance).await;
    }
    serving(&router, "pets", &["one", "two"]).await;
    let on = ["maintenance", "on", "pets", "one", "--reason", "new disk"];
    assert!(told(&router, &on).await.starts_with("pets one is now in maintenance\n"));
    until(&router, "pets", "one rests", |members| members.len() == 2).await;
    serving(&router, "pets", &["two"]).await;
    assert!(told(&router, &on).await.starts_with("pets one is already in maintenance\n"));
    assert!(told(&router, &["list", "pets"]).await.contains(" maintenance (new disk)\n"));
    let off = ["maintenance", "off", "pets", "one"];
    assert!(told(&router, &off).await.starts_with("pets one is no longer in maintenance\n"));
    assert!(told(&router, &off).await.starts_with("pets one was not in maintenance\n"));
    serving(&router, "pets", &["one", "two"]).await;
}

#[tokio::test]
async fn a_refusal_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "sesame\n").unwrap();
    let router = router(", token: sesame, protect_reads: true");
    let refused = async |arguments: &[&str], part: &str| {
        let output = registry(&router, arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(part), "{arguments:?}: {said}");
    };
    refused(&["list"], "--token-file FILE").await;
    let shown = ["--token-file", token.to_str().unwrap()];
    assert_eq!(told(&router, &[&["list"], &shown[..]].concat()).await, "");
    refused(&[&["maintenance", "on", "pets", "one"], &shown[..]].concat(), "not registered").await;
    refused(&[&["import", "/no/such/file"], &shown[..]].concat(), "cannot read /no/such/file").await;
    let own = [&["import", token.to_str().unwrap()], &shown[..]].concat();
    refused(&own, "the body is no export").await;

    let output = finish(&["registry", "list", "--url", "http://127.0.0.1:1"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no registry answers on http://127.0.0.1:1") && said.contains("--url"), "{said}");
}
