//! The DNS provider against BIND, and against Consul's own server.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
};

use discovery::provider::dns::{Dns, Kind, Lookup, Server, Settings};
use model::{Knowledge, ProviderError, ServiceId, Update};
use serde_json::json;
use settings::{OneOrMany, Span};
use testkit::{Instance, get};

use crate::{
    consul::rig::Registrar,
    discover::rig::until,
    registry::{Own, environment, unique},
    source::{Source, named, running},
    support::{self, Config, Front, nobody},
};

/// The zone of the test server.
const ZONE: &str = "example.test";

fn settings(server: &str, service: &str, lookup: Lookup) -> Settings {
    Settings {
        servers: OneOrMany(vec![Server(server.parse().unwrap())]),
        services: [(ServiceId::new(service).unwrap(), lookup)].into(),
        timeout: Span::from_millis(500),
        min_ttl: Span::from_millis(100),
        ..Settings::default()
    }
}

fn source(settings: Settings, service: &str) -> Source {
    running(Dns::new(settings).unwrap(), named(&[service]))
}

/// Addresses of the instances, each with its weight.
fn told(list: &[Arc<model::Instance>]) -> Vec<String> {
    list.iter().map(|i| format!("{}*{}", i.endpoint.address, i.weight)).collect()
}

fn on_port(name: &str) -> Lookup {
    Lookup { port: Some(8080), ..Lookup::new(format!("{name}.{ZONE}")) }
}

/// Changes the zone as a registrar does; each line is an update of `nsupdate`, names relative to nothing.
fn update(server: &str, key: &str, lines: &[String]) {
    let (host, port) = server.split_once(':').unwrap();
    let mut child = Command::new("nsupdate").args(["-k", key]).stdin(Stdio::piped()).spawn().unwrap();
    let text = format!("server {host} {port}\nzone {ZONE}\n{}\nsend\n", lines.join("\n"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
}

/// The shared server, and the key of its registrar.
fn shared() -> Option<(String, String)> {
    Some((environment("dns", "DNS_SERVER")?, std::env::var("DNS_KEY").unwrap()))
}

#[tokio::test]
async fn addresses_of_either_kind_are_instances() {
    let Some((server, _)) = shared() else { return };
    for (kind, expected) in [
        (None, vec!["127.0.0.1:8080*1", "127.0.0.2:8080*1", "[::1]:8080*1"]),
        (Some(Kind::A), vec!["127.0.0.1:8080*1", "127.0.0.2:8080*1"]),
        (Some(Kind::Aaaa), vec!["[::1]:8080*1"]),
    ] {
        for name in ["web", "www"] {
            let mut source = source(settings(&server, "web", Lookup { kind, ..on_port(name) }), "web");
            assert_eq!(told(&source.known("web", expected.len()).await), expected, "{kind:?} of {name}");
        }
    }
}

#[tokio::test]
async fn priorities_and_weights_of_srv_records_count() {
    let Some((server, _)) = shared() else { return };
    let lookup = Lookup::new(format!("_http._tcp.web.{ZONE}"));
    let mut source = source(settings(&server, "web", lookup), "web");
    let list = source.known("web", 3).await;
    assert_eq!(told(&list), ["127.0.0.1:8080*10", "127.0.0.2:8081*20", "[::1]:8082*0"]);
    assert_eq!(list[2].label("target"), Some("web6.example.test"));
}

/// HAProxy 841, 793, 971.
#[tokio::test]
async fn a_changed_zone_is_followed_and_what_stays_is_the_same_instance() {
    let Some((server, key)) = shared() else { return };
    let name = unique("changing");
    let add = |ip: &str| format!("update add {name}.{ZONE} 1 A {ip}");
    let mut source = source(settings(&server, &name, on_port(&name)), &name);
    source.empty(&name).await;
    update(&server, &key, &[add("10.0.0.1"), add("10.0.0.2")]);
    let before = source.known(&name, 2).await;
    update(&server, &key, &[add("10.0.0.3"), format!("update delete {name}.{ZONE} A 10.0.0.1")]);
    let changed = |k: &Knowledge| matches!(k, Knowledge::Known(list) if told(list)[1] == "10.0.0.3:8080*1");
    let Knowledge::Known(after) = source.knowledge(&name, changed).await else { unreachable!() };
    assert_eq!(before[1], after[0]);
    // The server turns its records from answer to answer: no news.
    source.silent().await;
    source.silent().await;
    update(&server, &key, &[format!("update delete {name}.{ZONE} A")]);
    source.empty(&name).await;
}

#[tokio::test]
async fn sixty_addresses_come_over_tcp() {
    let Some((server, key)) = shared() else { return };
    let name = unique("many");
    let lines: Vec<_> = (1..=60).map(|i| format!("update add {name}.{ZONE} 1 A 10.0.1.{i}")).collect();
    update(&server, &key, &lines);
    for tcp in [false, true] {
        let mut source = source(Settings { tcp, ..settings(&server, &name, on_port(&name)) }, &name);
        source.known(&name, 60).await;
    }
}

#[tokio::test]
async fn none_is_told_from_not_knowing() {
    let Some((server, _)) = shared() else { return };
    let only = |kind, name: &str| Lookup { kind: Some(kind), ..on_port(name) };
    // No such name; a name without such records; a service that has neither of its names.
    for lookup in [on_port("nobody"), only(Kind::Aaaa, "web1"), Lookup::new(format!("web.{ZONE}"))] {
        source(settings(&server, "web", lookup), "web").empty("web").await;
    }
    let absolute = |name: &str| Lookup { port: Some(1), ..Lookup::new(name) };
    for (lookup, part) in [
        (absolute("web.broken.test"), "Failed"),
        (absolute("web.example.com"), "Denied"),
        (on_port("web.elsewhere"), "referral"),
    ] {
        let mut source = source(settings(&server, "web", lookup), "web");
        let unknown = source.knowledge("web", |_| true).await;
        assert!(format!("{unknown:?}").starts_with("Unknown") && format!("{unknown:?}").contains(part), "{unknown:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_killed_or_hangs_takes_nobody_out() {
    if shared().is_none() {
        return;
    }
    let own = Own::start(&["dns"]).await;
    let mut source = source(settings(&own.variable("DNS_SERVER").unwrap(), "web", on_port("web")), "web");
    let before = source.known("web", 3).await;
    for (fault, remedy) in [("pause", "resume"), ("kill", "start")] {
        own.node(1, fault);
        let told = source
            .until("an outage", |update| match update {
                Update::Unreachable(error) => Some(error),
                Update::Service { knowledge: Knowledge::KnownEmpty, .. } => panic!("{fault} was read as an empty list"),
                _ => None,
            })
            .await;
        assert!(matches!(told, ProviderError::Unreachable(_)), "{told:?}");
        own.node(1, remedy);
        assert_eq!(source.known("web", 3).await, before, "after {remedy}");
    }
}

#[tokio::test]
async fn requests_go_to_the_lowest_priority_and_to_the_next_one_when_it_fails() {
    let Some((server, key)) = shared() else { return };
    let (first, second) = (Instance::h2c().named("first").start().await, Instance::h2c().named("second").start().await);
    let (well, broken) = (unique("well"), unique("broken"));
    let srv =
        |name: &str, priority: u8, port| format!("update add {name}.{ZONE} 1 SRV {priority} 1 {port} web1.{ZONE}");
    let (one, two, dead) = (first.addr().port(), second.addr().port(), nobody().await.port());
    let lines = [srv(&well, 0, one), srv(&well, 10, two), srv(&broken, 0, dead), srv(&broken, 10, two)];
    update(&server, &key, &lines);
    let dns = format!("{{ servers: {server:?}, domain: {{ name: {ZONE}, protocol: h2c }} }}");
    let router = Config::new()
        .set("registries", &format!("{{ names: {{ dns: {dns} }} }}"))
        .set("expose", &format!("{{ service: [ {well}, {broken} ] }}"))
        .start();
    let client = router.client(Front::H2c).await;
    for (service, name) in [(&well, "first"), (&broken, "second")] {
        until(&router, service, "both are known", |now| now.len() == 2).await;
        for _ in 0..20 {
            let answer = client.send(get("/", &[("service_id", service)])).await;
            assert_eq!((answer.status.as_u16(), answer.json()["instance"].as_str()), (200, Some(name)), "{service}");
        }
    }
}

#[tokio::test]
async fn what_is_below_the_domain_is_looked_up_once_a_client_names_it() {
    let Some((server, key)) = shared() else { return };
    let instance = Instance::h2c().named("one").start().await;
    let service = unique("lazy");
    update(&server, &key, &[format!("update add {service}.{ZONE} 1 SRV 0 1 {} web1.{ZONE}", instance.addr().port())]);
    let dns = format!("{{ servers: {server:?}, domain: {{ name: {ZONE}, protocol: h2c }} }}");
    let router = Config::new()
        .set("registries", &format!("{{ names: {{ dns: {dns} }} }}"))
        .set("expose", "{ service: 'lazy-*' }")
        .set("discovery", "{ directory: null, on_first_use: { wait: 10s } }")
        .start();
    let client = router.client(Front::H2c).await;
    let answer = client.send(get("/", &[("service_id", &service)])).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["instance"]), (200, &json!("one")));
    let none = client.send(get("/", &[("service_id", "lazy-nobody")])).await;
    assert_eq!(support::told(&none), (503, Some("no_service")));
}

#[tokio::test]
async fn consul_answers_below_its_domain() {
    let Some(server) = environment("consul", "CONSUL_DNS") else { return };
    let registrar = Registrar::clear(&std::env::var("CONSUL_URL").unwrap());
    let service = unique("dns");
    let id = |i| format!("{service}-{i}");
    for i in 1..=10 {
        let address = format!("10.0.2.{i}");
        let record = json!({ "ID": id(i), "Name": service, "Address": address, "Port": 8000 + i });
        registrar.register(&record).await;
    }
    let domain = |tcp| Settings {
        services: [].into(),
        domain: Some(Lookup::new("service.consul")),
        tcp,
        ..settings(&server, &service, Lookup::new("unused"))
    };
    let mut source = source(domain(true), &service);
    let list = source.known(&service, 10).await;
    assert!(told(&list).contains(&"10.0.2.10:8010*1".to_owned()), "{list:?}");
    // Why `tcp` is there: over UDP Consul names three and does not say that there are more.
    self::source(domain(false), &service).known(&service, 3).await;
    for i in 1..=10 {
        registrar.deregister(&id(i)).await;
    }
    source.empty(&service).await;
}
