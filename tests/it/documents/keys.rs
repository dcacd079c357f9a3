//! `docs/configuration.md` names every key the program knows, no other, and its defaults are the program's.

use std::{collections::BTreeSet, path::Path};

use router::{plan::Limits, retry::Retries, settings::Settings};

use super::{document, quoted, root, rows};

/// Each section: its heading, and a file in which `@` stands for its keys. What it requires is there.
const SECTIONS: &[(&str, &str)] = &[
    ("Top level", "{ @ }"),
    ("listeners", "listeners: [ { address: 127.0.0.1:1, @ } ]"),
    ("listeners[].tls", "listeners: [ { address: 127.0.0.1:1, tls: { @ } } ]"),
    (
        "listeners[].tls.certificates[]",
        "listeners: [ { address: 127.0.0.1:1, tls: { certificates: [ { chain: a, key: b, @ } ] } } ]",
    ),
    ("admin", "admin: { @ }"),
    ("registries.NAME.static", "registries: { a: { static: { services: {}, @ } } }"),
    (
        "registries.NAME.static.services.NAME[]",
        "registries: { a: { static: { services: { b: [ { url: 'http://c:1', @ } ] } } } }",
    ),
    ("registries.NAME.file", "registries: { a: { file: { path: b, @ } } }"),
    ("registries.NAME.embedded", "registries: { a: { embedded: { @ } } }"),
    ("registries.NAME.embedded.tokens.NAME", "registries: { a: { embedded: { tokens: { b: { secret: c, @ } } } } }"),
    ("registries.NAME.embedded.checks", "registries: { a: { embedded: { checks: { @ } } } }"),
    ("announce", "announce: { service: a, to: { consul: { url: 'http://b:1' } }, @ }"),
    ("announce.to.embedded", "announce: { service: a, to: { embedded: { url: 'http://b:1', @ } } }"),
    ("announce.to.consul", "announce: { service: a, to: { consul: { url: 'http://b:1', @ } } }"),
    ("announce.to.etcd", "announce: { service: a, to: { etcd: { endpoints: 'http://b:1', @ } } }"),
    ("announce.to.zookeeper", "announce: { service: a, to: { zookeeper: { servers: b, @ } } }"),
    ("registries.NAME.consul", "registries: { a: { consul: { url: 'http://b:1', @ } } }"),
    ("registries.NAME.zookeeper", "registries: { a: { zookeeper: { servers: b, @ } } }"),
    ("registries.NAME.kubernetes", "registries: { a: { kubernetes: { @ } } }"),
    ("registries.NAME.dns", "registries: { a: { dns: { @ } } }"),
    ("registries.NAME.dns.services.NAME", "registries: { a: { dns: { services: { b: { name: c, @ } } } } }"),
    ("registries.NAME.docker", "registries: { a: { docker: { @ } } }"),
    ("registries.NAME.etcd", "registries: { a: { etcd: { endpoints: 'http://b:1', @ } } }"),
    ("discovery", "discovery: { @ }"),
    ("discovery.on_first_use", "discovery: { on_first_use: { @ } }"),
    ("routes", "routes: [ { service: a, @ } ]"),
    ("routes[].fallback", "routes: [ { service: a, fallback: { @ } } ]"),
    ("expose", "expose: { @ }"),
    ("services", "services: { a: { @ } }"),
    ("services.NAME.balance.peak_ewma", "services: { a: { balance: { peak_ewma: { @ } } } }"),
    ("services.NAME.balance.consistent_hash", "services: { a: { balance: { consistent_hash: { header: b, @ } } } }"),
    ("services.NAME.concurrency", "services: { a: { concurrency: { @ } } }"),
    ("services.NAME.weigh_by", "services: { a: { weigh_by: { @ } } }"),
    ("services.NAME.slow_start", "services: { a: { slow_start: { @ } } }"),
    ("services.NAME.sticky", "services: { a: { sticky: { cookie: b, @ } } }"),
    ("services.NAME.max_stale", "services: { a: { max_stale: { after: 1m, action: serve, @ } } }"),
    ("services.NAME.check", "services: { a: { check: { @ } } }"),
    ("services.NAME.check.http", "services: { a: { check: { http: { path: /, @ } } } }"),
    ("services.NAME.check.grpc", "services: { a: { check: { grpc: { @ } } } }"),
    ("services.NAME.check.tcp", "services: { a: { check: { tcp: { @ } } } }"),
    ("services.NAME.eject", "services: { a: { eject: { @ } } }"),
    ("services.NAME.eject.success_rate", "services: { a: { eject: { success_rate: { @ } } } }"),
    ("services.NAME.eject.latency", "services: { a: { eject: { latency: { @ } } } }"),
    ("services.NAME.breaker", "services: { a: { breaker: { @ } } }"),
    ("services.NAME.retries", "services: { a: { retries: { @ } } }"),
    ("services.NAME.retries.budget", "services: { a: { retries: { budget: { @ } } } }"),
    ("services.NAME.retries.backoff", "services: { a: { retries: { backoff: { @ } } } }"),
    ("services.NAME.hedge", "services: { a: { hedge: { after: 1s, @ } } }"),
    ("services.NAME.tls", "services: { a: { tls: { @ } } }"),
    ("headers", "headers: { @ }"),
    ("limits", "limits: { @ }"),
    ("timeouts", "timeouts: { @ }"),
    ("clients", "clients: { @ }"),
    ("shedding", "shedding: { @ }"),
    ("drain", "drain: { @ }"),
    ("log", "log: { @ }"),
    ("access_log", "access_log: { @ }"),
];

/// Sections whose absent keys mean "as further out", so that a default written down is another setting.
const INHERITING: [&str; 6] = [
    "services",
    "services.NAME.eject",
    "services.NAME.retries",
    "services.NAME.retries.budget",
    "services.NAME.retries.backoff",
    "timeouts",
];

fn read(yaml: &str) -> Result<Settings, String> {
    settings::parse(yaml, Path::new("router.yml"), &|_| None).map_err(|error| error.to_string())
}

/// Section, key and default of each row of the document.
fn documented() -> Vec<(String, String, String)> {
    let row = |(heading, cells): (String, Vec<String>)| {
        let key = quoted(&cells[0]).pop().unwrap_or_else(|| panic!("{heading}: {cells:?}"));
        (heading.replace('`', ""), key, cells[2].clone())
    };
    rows(&document("docs/configuration.md"), "Key").into_iter().map(row).collect()
}

/// The keys the program takes in a section: it names them when it refuses one.
fn known(section: &str, file: &str) -> BTreeSet<String> {
    let error = read(&file.replace('@', "no_such_key: 1")).expect_err(section);
    let list = error.split_once("(allowed: ").and_then(|(_, rest)| rest.split_once(')'));
    let (list, _) = list.unwrap_or_else(|| panic!("{section}: {error}"));
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_known() {
    let documented = documented();
    for (section, file) in SECTIONS {
        let here = documented.iter().filter(|(heading, ..)| heading == section);
        let here: BTreeSet<String> = here.map(|(_, key, _)| key.clone()).collect();
        assert_eq!(here, known(section, file), "{section}");
    }
    let unknown = documented.iter().find(|(heading, ..)| !SECTIONS.iter().any(|(section, _)| section == heading));
    assert_eq!(unknown, None);
}

#[test]
fn every_default_is_the_programs() {
    let mut compared = 0;
    let documented = documented();
    for (section, file) in SECTIONS.iter().filter(|(section, _)| !INHERITING.contains(section)) {
        let bare = read(&file.replace('@', "")).unwrap_or_else(|error| panic!("{section}: {error}"));
        for (_, key, default) in documented.iter().filter(|(heading, ..)| heading == section) {
            // Others are words for people: `the host of url`, `required`.
            if let Some(value) = default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
                let written = read(&file.replace('@', &format!("{key}: {value}")));
                let written = written.unwrap_or_else(|error| panic!("{section}: {error}"));
                assert_eq!(written, bare, "{section}: {key}");
                compared += 1;
            }
        }
    }
    assert!(compared > 40, "only {compared} defaults found");
}

#[test]
fn timeouts_are_what_the_document_says() {
    let rows = documented().into_iter().filter(|(heading, ..)| heading == "timeouts");
    let pairs: Vec<String> = rows.map(|(_, key, default)| format!("{key}: {}", quoted(&default)[0])).collect();
    let written = read(&format!("timeouts: {{ {} }}", pairs.join(", "))).unwrap();
    let bare = Settings::default();
    let limits = |settings: &Settings| Limits::of_file(&settings.limits, &settings.timeouts);
    assert_eq!(limits(&written), limits(&bare));
}

#[test]
fn retries_are_what_the_document_says() {
    let section = |name: &str| {
        let rows = documented().into_iter().filter(|(heading, ..)| heading == name);
        let pairs = rows.filter_map(|(_, key, default)| Some(format!("{key}: {}", quoted(&default).pop()?)));
        pairs.collect::<Vec<_>>().join(", ")
    };
    let [all, budget, backoff] =
        ["", ".budget", ".backoff"].map(|rest| section(&format!("services.NAME.retries{rest}")));
    let file =
        format!("services: {{ a: {{ retries: {{ {all}, budget: {{ {budget} }}, backoff: {{ {backoff} }} }} }} }}");
    let written = read(&file).unwrap();
    let typed = written.services.get("a").unwrap().retries.as_ref();
    assert_eq!(Retries::STANDARD.with(typed), Ok(Retries::STANDARD), "{file}");
    assert_eq!(file.matches(':').count(), 3 + 8 + 5, "every key has a default: {file}");
}

#[test]
fn the_error_that_is_shown_is_the_programs() {
    let error = read("services:\n  petstore:\n    balnce: round_robin\n").unwrap_err();
    assert!(document("docs/configuration.md").lines().any(|line| line == error), "{error}");
}

#[test]
fn the_reference_file_names_every_key() {
    let file = std::fs::read_to_string(root().join("config/router.yml")).unwrap();
    let is_named = |key: &str| {
        let colon = format!("{key}:");
        file.match_indices(&colon).any(|(at, _)| !file[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let missing: Vec<_> = documented().into_iter().filter(|(_, key, _)| !is_named(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
