//! `pointsman check`: where a file is wrong, why, and what to do.

use std::{fs, path::Path};

use testkit::Certs;

use super::process::finish;

/// A file, and what is said of it: line and column, the path in the file, the cause, the remedy.
type Mistake = (&'static str, (usize, usize), &'static str, &'static str, &'static str);

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    // --- names and shapes
    ("listners: []", (1, 1), "listners", "unknown key", "did you mean \"listeners\"?"),
    ("admin: { adress: 127.0.0.1:1 }", (1, 10), "admin.adress", "unknown key", "did you mean \"address\"?"),
    ("registries: { a: { consl: {} } }", (1, 20), "registries.a.consl", "unknown key", "did you mean \"consul\"?"),
    ("expose: { tags: public }", (1, 11), "expose.tags", "unknown key", "did you mean \"tag\"?"),
    ("services: { a: { balance: lottery } }", (1, 27), "services.a.balance", "unknown value", "allowed: peak_ewma, round_robin"),
    ("access_log: { format: xml }", (1, 23), "access_log.format", "unknown value", "allowed: json, text, off"),
    ("listeners: [ { tls: {} } ]", (1, 14), "listeners[0]", "missing key \"address\"", "add `address: ...` here"),
    ("routes:\n  - { prefix: /x }", (2, 5), "routes[0]", "missing key \"service\"", "add `service: ...` here"),
    ("routes: { prefix: /x }", (1, 9), "routes", "found a map", "expected a list"),
    ("zone: [ a ]", (1, 7), "zone", "found a list", "expected a string"),
    ("- a", (1, 1), "", "found a list", "a map with keys among: listeners"),
    ("zone: a\nzone: b", (2, 1), "zone", "duplicate key", "keep one of the two"),
    // --- YAML
    ("listeners: [", (1, 12), "listeners", "unclosed bracket", "close it"),
    ("routes:\n\t- x", (2, 2), "routes", "tabs disallowed", "indent with spaces"),
    ("hold: ${POINTSMAN_NOT_SET}", (1, 7), "hold", "is not set", "or give a default: `${POINTSMAN_NOT_SET:default}`"),
    // --- values
    ("listeners: [ { address: 8443 } ]", (1, 25), "listeners[0].address", "found \"8443\"", "such as 127.0.0.1:8443"),
    ("limits: { body: 1MX }", (1, 17), "limits.body", "unknown unit \"MX\"", "write 1MiB"),
    ("log: { level: chatty }", (1, 6), "log", "log level \"chatty\"", "write error, warn, info"),
    ("limits: { connections_per_address: 0 }", (1, 9), "limits", "connections_per_address: 0 would let nothing through", "write at least 1"),
    ("limits: { streams: many }", (1, 20), "limits.streams", "found \"many\"", "a whole number from 0"),
    ("timeouts: { connect: off }", (1, 22), "timeouts.connect", "found \"off\"", "such as 250ms"),
    ("drain: { delay: -1s }", (1, 17), "drain.delay", "found \"-1s\"", "such as 250ms"),
    ("routes: [ { service: a, timeout: 2 } ]", (1, 34), "routes[0].timeout", "has no unit", "write 2s"),
    ("environment: 'a,b'", (1, 14), "environment", "tag \"a,b\"", "must be 1 to 255 visible ASCII"),
    ("headers: { trusted_proxies: [ 10.0.0.0/33 ] }", (1, 31), "headers.trusted_proxies[0]", "is no network", "0 to 32 bits"),
    ("headers: { host: { fixed: 'a b' } }", (1, 27), "headers.host.fixed", "is no host", "write name or name:port"),
    ("expose: { service: 'a b' }", (1, 20), "expose.service", "service name \"a b\"", "must be 1 to 255 visible ASCII"),
    // --- registries
    ("registries: { a: { consul: {} } }", (1, 28), "registries.a.consul", "missing key \"url\"", "add `url: ...` here"),
    ("registries: { a: { consul: { url: 'b:1' } } }", (1, 15), "registries.a", "has no scheme or host", "write http://host:port"),
    ("registries: { a: { consul: { url: 'http://b:1', wait: 11m } } }", (1, 15), "registries.a", "wait: 11m", "between 1s and 10m"),
    ("registries: { a: { embedded: { address: 127.0.0.1:1 } }, b: { embedded: { address: 127.0.0.1:2 } } }", (1, 58), "registries.b", "registry \"a\" writes to data too", "give each a `directory`"),
    ("registries: { a: { embedded: { address: 0.0.0.0:1 } } }", (1, 15), "registries.a", "reached from other machines", "set `token`"),
    ("registries: { a: { static: { services: { p: 'ftp://b:1' } } } }", (1, 45), "registries.a.static.services.p", "\"ftp://b:1\"", "write http://, h2c:// or https://"),
    ("registries: { a: { static: { services: { p: [ { url: 'http://b:1', wieght: 2 } ] } } } }", (1, 68), "registries.a.static.services.p[0].wieght", "unknown key", "did you mean \"weight\"?"),
    ("discovery: { on_first_use: { rate: 0 } }", (1, 28), "discovery.on_first_use", "rate: 0 would let nothing through", "write at least 1"),
    ("timeouts: { head: 0s }", (1, 19), "timeouts.head", "0 leaves no time", "at least 1ms"),
    ("clients: { stall: 0s }", (1, 19), "clients.stall", "0 leaves no time", "at least 1ms"),
    ("discovery: { on_first_use: { wait: 1m } }", (1, 28), "discovery.on_first_use", "wait: ", "write at most 10s"),
    ("registries: { a: { consul: { url: 'http://b:1', near: '' } } }", (1, 15), "registries.a", "near: ", "write _agent"),
    // --- what belongs together, and what does not
    ("listeners: [ { address: 127.0.0.1:1 }, { address: 127.0.0.1:1 } ]", (1, 51), "listeners[1].address", "is a listener of clients (listeners[0].address) too", "choose another"),
    ("listeners: [ { address: 0.0.0.0:8401 } ]", (1, 25), "listeners[0].address", "has the port of 127.0.0.1:8401, which is the admin listener (by default)", "choose another"),
    ("listeners:\n  - address: 127.0.0.1:1\n    tls:\n      certificates:\n        - { chain: no.pem, key: no.pem }", (5, 11), "listeners[0].tls.certificates[0]", "cannot read certificates from no.pem", "No such file"),
    ("listeners: [ { address: 127.0.0.1:1 } ]\nadmin: { address: 127.0.0.1:1 }", (2, 19), "admin.address", "is a listener of clients (listeners[0].address) too", "choose another"),
    ("threads: 0", (1, 10), "threads", "0 threads serve nobody", "write at least 1"),
    ("registries: { eureka: { eureka: {} } }", (1, 25), "registries.eureka.eureka", "unknown key \"eureka\" (allowed: ", "static"),
    ("routes: [ { service: a, retry: off } ]", (1, 25), "routes[0].retry", "unknown key", "did you mean \"retries\"?"),
    ("services: { a: { tls: { client_key: a.pem } } }", (1, 23), "services.a.tls", "belong together", "give both"),
    ("services: { a: { balance: { consistent_hash: {} } } }", (1, 46), "services.a.balance.consistent_hash", "needs exactly one of", "`header: NAME`"),
    ("services: { a: { balance: { consistent_hash: { query: u, bounded_load: 1 } } } }", (1, 46), "services.a.balance.consistent_hash", "is not between 1.01 and 100", "write 1.25"),
    ("services: { a: { slow_start: 30 } }", (1, 30), "services.a.slow_start", "30", "a time such as 30s"),
    ("services: { a: { slow_start: { least: 0 } } }", (1, 30), "services.a.slow_start", "is not between 0.01 and 1", "write 0.1"),
    ("services: { a: { prefer_zone: true } }", (1, 31), "services.a.prefer_zone", "which zone this router is in", "add `zone: NAME`"),
    ("zone: z\nservices: { a: { prefer_zone: true, balance: local_first } }", (2, 31), "services.a.prefer_zone", "looks at zones itself", "remove one"),
    ("services: { a: { sticky: {} } }", (1, 26), "services.a.sticky", "needs either", "`cookie: NAME`"),
    ("services: { a: { sticky: { header: x, ttl: 1h } } }", (1, 26), "services.a.sticky", "are of cookies", "use `cookie`"),
    ("services: { a: { sticky: { cookie: 'a b' } } }", (1, 26), "services.a.sticky", "cannot be the name of a cookie", "use letters"),
    ("services: { a: { sticky: { cookie: a, path: x } } }", (1, 26), "services.a.sticky", "is no path of a cookie", "begin with a slash"),
    ("services: { a: { sticky: { cookie: a, same_site: none, secure: false } } }", (1, 26), "services.a.sticky", "browsers refuse", "remove one"),
    ("services: { a: { failover: 'a,b' } }", (1, 28), "services.a.failover", "tag \"a,b\"", "must be 1 to 255 visible ASCII"),
    ("routes: [ { service: a, prefix: /x, path: /y } ]", (1, 11), "routes[0]", "exclude each other", "keep one"),
    ("routes: [ { service: a, prefix: x } ]", (1, 11), "routes[0]", "prefix \"x\"", "must begin with a slash"),
    ("routes: [ { service: a, prefix: /x, rewrite: /y, strip_prefix: true } ]", (1, 11), "routes[0]", "exclude each other", "rewrite does both"),
    ("routes: [ { service: a, path: '/x/{id' } ]", (1, 11), "routes[0]", "mixes text and braces", "such as {id}"),
    ("routes: [ { service: a, method: 'G T' } ]", (1, 11), "routes[0]", "is no method", "write GET or [GET, POST]"),
];

#[test]
fn every_mistake_is_told_with_place_cause_and_remedy() {
    assert!(MISTAKES.len() >= 25);
    let folder = tempfile::tempdir().unwrap();
    for (number, (text, (line, column), path, cause, remedy)) in MISTAKES.iter().enumerate() {
        let file = folder.path().join(format!("{number}.yml"));
        fs::write(&file, text).unwrap();
        let output = finish(&["check", "--config", file.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{text}: {said}");
        let place = format!("pointsman: {}:{line}:{column}: ", file.display());
        let rest = said.strip_prefix(&place).unwrap_or_else(|| panic!("{text}: not {place:?} but {said}"));
        let told = path.is_empty() || rest.starts_with(&format!("{path}: "));
        assert!(told && rest.contains(cause) && rest.contains(remedy), "{text}: {said}");
        assert_eq!(said.lines().count(), 1, "one line each, for editors: {said}");
    }
}

/// A file in which every section is wrong, and what is told of it: line, column, path.
const ALL_WRONG: &str = "\
threads: 0
limits: { streams: 0, fields: 0 }
headers: { environment: 'a b', service: [ 'c d', fine ], trusted_proxies: [ x, 10.0.0.0/8, y ] }
listeners:
  - { address: 127.0.0.1:1, tls: { certificates: [ { chain: no.pem, key: no.pem } ] } }
  - { address: 127.0.0.1:1 }
registries:
  a: { consul: { url: 'b:1' } }
  b: { embedded: { address: 0.0.0.0:1 } }
discovery: { hold: { nowhere: 1s } }
expose: { service: 'e f' }
services:
  a: { breaker: { requests: 0 }, eject: { base: 0s }, tls: { client_key: a.pem }, retries: { attempts: 9 } }
  'g h': { prefer_zone: true }
routes:
  - { service: a, method: 'G T', rewrite: /y, strip_prefix: true }
  - { service: a, prefix: x }
  - { service: a, fallback: {} }
";

#[test]
fn all_mistakes_are_told_in_one_go_in_the_order_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.yml");
    let said = |text: &str| {
        fs::write(&file, text).unwrap();
        let output = finish(&["check", "--config", file.to_str().unwrap()]);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true));
        let said = String::from_utf8(output.stderr).unwrap();
        said.lines().map(|line| line.replace(file.to_str().unwrap(), "F")).collect::<Vec<_>>()
    };
    let told = said(&format!("{ALL_WRONG}access_log: {{ file: no/x.log }}\n"));
    for (line, expected) in told.iter().zip([
        "F:1:10: threads: 0 threads",
        "F:2:9: limits: streams: 0",
        "F:2:9: limits: fields: 0",
        "F:3:25: headers.environment: ",
        "F:3:43: headers.service[0]: ",
        "F:3:77: headers.trusted_proxies[0]: ",
        "F:3:92: headers.trusted_proxies[2]: ",
        "F:5:52: listeners[0].tls.certificates[0]: ",
        "F:6:16: listeners[1].address: ",
        "F:8:3: registries.a: ",
        "F:9:3: registries.b: 0.0.0.0:1 has the port of",
        "F:9:3: registries.b: address 0.0.0.0:1 can be reached",
        "F:10:22: discovery.hold.nowhere: ",
        "F:11:20: expose.service: ",
        "F:13:17: services.a.breaker: ",
        "F:13:41: services.a.eject: ",
        "F:13:60: services.a.tls: ",
        "F:13:104: services.a.retries.attempts: ",
        "F:14:3: services.\"g h\": ",
        "F:14:25: services.\"g h\".prefer_zone: ",
        "and 5 more mistakes",
    ]) {
        assert!(line.starts_with(&format!("pointsman: {expected}")), "not {expected}: {told:#?}");
    }
    assert_eq!(told.len(), 21);
    // Two routes that exclude each other are told once each of them alone is right.
    let twins = "routes: [ { service: a }, { service: b }, { service: c } ]";
    let told = said(twins);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[1].contains("routes[2]: /... is route 0 once more") && told[1].ends_with("remove one of them"),
        "{told:#?}"
    );
}

#[test]
fn a_log_that_cannot_be_written_is_told_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.yml");
    for (log, cause) in [
        ("no/x.log", Some("name a file in a folder that is there")),
        ("router.yml/x.log", Some(": not a directory")),
        (".", Some(": is a directory")),
        ("x.log", None),
    ] {
        let log = folder.path().join(log);
        let valid = cause.is_none();
        fs::write(&file, format!("access_log: {{ file: {log:?} }}")).unwrap();
        let output = finish(&["check", "--config", file.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        let told = said.contains(&format!("access_log: file: cannot write {}: ", log.display()));
        assert_eq!((output.status.success(), told, log.is_file()), (valid, !valid, false), "{said}");
        assert!(cause.is_none_or(|cause| said.contains(cause)), "{said}");
    }
}

#[test]
fn certificates_are_looked_at_as_clients_will() {
    let (certs, folder) = (Certs::new(), tempfile::tempdir().unwrap());
    let (old, new) = (certs.issue_expired(&["localhost"]), certs.issue(&["localhost"]));
    let file = folder.path().join("router.yml");
    let said = |chain: &Path, key: &Path| {
        let tls = format!("{{ certificates: [ {{ chain: {chain:?}, key: {key:?} }} ] }}");
        fs::write(&file, format!("listeners: [ {{ address: 127.0.0.1:1, tls: {tls} }} ]")).unwrap();
        let output = finish(&["check", "--config", file.to_str().unwrap()]);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let told = said(&old.chain, &old.key);
    assert!(told.contains(&format!("warning: the certificate {} expired ", old.chain.display())), "{told}");
    let told = said(&new.chain, &new.key);
    assert!(!told.contains("the certificate") && told.contains(": valid"), "{told}");
    let told = said(&new.chain, &old.key);
    assert!(told.contains("the key is not the one the certificate was made for"), "{told}");
}

#[test]
fn a_good_file_is_valid_and_doubts_about_it_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.yml");
    // By file, and by the folder it is in.
    for (text, path, expected) in [
        ("# all as it is", file.as_path(), "router.yml: valid"),
        ("routes: [ { prefix: /x, service: a } ]", folder.path(), "router.yml: valid"),
        (
            "routes: [ { header: { a: '*' }, service: a }, { header: { a: b }, service: b } ]",
            file.as_path(),
            "warning: ",
        ),
        (
            "registries: { a: { static: { services: { petstore: 'http://b:1' } } } }\nroutes: [ { service: petstor } ]",
            file.as_path(),
            "warning: line 2: routes[0].service: service \"petstor\" is in no static list",
        ),
        (
            "admin: { address: '0.0.0.0:8401' }",
            file.as_path(),
            "warning: line 1: admin.address: 0.0.0.0 can be reached",
        ),
        ("discovery: { on_first_use: {} }", file.as_path(), "does nothing: no name is exposed by a pattern"),
        (
            "discovery: { on_first_use: {} }\nexpose: { service: 'a*' }\nregistries: { a: { static: { services: {} } } }",
            file.as_path(),
            "does nothing: no registry is asked service by service",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let output = finish(&["check", "--config", path.to_str().unwrap()]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(0), true), "{text}: {said}");
        assert!(said.contains(expected) && said.trim_end().ends_with(": valid"), "{text}: {said}");
    }
    assert_eq!(finish(&["check"]).status.code(), Some(2), "there is nothing to check");
}
