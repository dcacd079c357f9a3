//! Which service a request is for, and which of its environments.

use serde_json::Value;
use testkit::{Answer, Client, Instance, Socket, get};

use crate::support::{Config, Front, Running, told};

const ROUTES: &str = r#"
  - { host: shop.test, service: by-host }
  - { prefix: /api, service: by-prefix }
  - { path: "/api/items/{id}", method: GET, service: by-template }
"#;

/// Instances that answer with their own name, each the only one of the service of that name.
async fn services(names: &[&str], config: Config) -> (Config, Vec<Instance>) {
    let mut config = config;
    let mut instances = Vec::new();
    for name in names {
        let instance = Instance::h2c().named(name).start().await;
        config = config.service(name, &[instance.url()]);
        instances.push(instance);
    }
    (config, instances)
}

#[tokio::test]
async fn header_query_template_prefix_and_host_decide_in_this_order() {
    let names = ["by-header", "by-query", "by-template", "by-prefix", "by-host"];
    let (config, _instances) = services(&names, Config::new()).await;
    let router = config.set("routes", ROUTES).set("headers", "{ service_query: service_id }").start();
    let header = ("service_id", "by-header");
    let host = ("host", "shop.test");
    for front in Front::ALL {
        let client = router.client(front).await;
        for (target, fields, expected) in [
            ("/api/items/7?service_id=by-query", &[header, host][..], "by-header"),
            ("/nowhere", &[header], "by-header"),
            ("/nowhere", &[("x-service-id", "by-header")], "by-header"),
            ("/nowhere", &[header, ("x-service-id", "by-header")], "by-header"),
            ("/api/items/7?service_id=by-query", &[host], "by-query"),
            ("/nowhere?service%5Fid=by%2Dquery", &[], "by-query"),
            ("/api/items/7", &[host], "by-template"),
            ("/api/items/7/parts", &[host], "by-prefix"),
            ("/api", &[host], "by-prefix"),
            ("/apiary", &[host], "by-host"),
            ("/", &[host], "by-host"),
        ] {
            let answer = client.send(get(target, fields)).await;
            assert_eq!(answer.status, 200, "{front:?} {target} {fields:?}: {}", answer.text());
            assert_eq!(answer.json()["instance"], expected, "{front:?} {target} {fields:?}");
        }
        refused(&client.send(get("/apiary", &[("host", "other.test")])).await, 404, "no_route");
    }
}

#[tokio::test]
async fn a_route_exposes_nothing_past_its_conditions() {
    let (config, instances) = services(&["guarded", "spare", "open"], Config::new()).await;
    // Nobody listens on port 1.
    let routes = "[ { path: /public, method: GET, service: guarded }, \
                   { path: /spared, service: gone, fallback: { service: spare } } ]";
    let config = config.service("gone", &["http://127.0.0.1:1".to_owned()]);
    let config = config.set("routes", routes).set("expose", "{ service: open }");
    let router = config.set("headers", "{ service_query: service_id }").start();
    for front in Front::ALL {
        let client = router.client(front).await;
        for (target, by) in [("/public", "guarded"), ("/spared", "spare"), ("/any?service_id=open", "open")] {
            let answer = client.send(get(target, &[])).await;
            assert_eq!(answer.status, 200, "{front:?} {target}: {}", answer.text());
            assert_eq!(answer.json()["instance"], by, "{front:?} {target}");
        }
        refused(&client.send(get("/private", &[])).await, 404, "no_route");
        for name in ["guarded", "spare", "gone"] {
            refused(&client.send(get("/public", &[("service_id", name)])).await, 503, "no_service");
            refused(&client.send(get(&format!("/?service_id={name}"), &[])).await, 503, "no_service");
        }
    }
    assert!(instances.iter().all(|instance| instance.counts().requests() == 4));
}

#[tokio::test]
async fn two_names_for_one_service_are_refused() {
    let (config, instances) = services(&["pets", "orders"], Config::new()).await;
    let router = config.start();
    for front in Front::ALL {
        let client = router.client(front).await;
        for fields in [
            [("service_id", "pets"), ("service_id", "orders")],
            [("service_id", "pets"), ("x-service-id", "orders")],
            [("x-service-id", "orders"), ("service_id", "pets")],
        ] {
            refused(&client.send(get("/", &fields)).await, 400, "bad_request");
        }
    }
    assert!(instances.iter().all(|instance| instance.counts().requests() == 0));
}

#[tokio::test]
async fn a_name_that_is_present_decides_even_if_nobody_has_it() {
    let (config, instances) = services(&["by-prefix"], Config::new()).await;
    let config = config.set("routes", "[ { prefix: /, service: by-prefix } ]");
    let router = config.set("headers", "{ service_query: service_id }").start();
    let client = router.client(Front::H2c).await;
    for (target, fields) in [
        ("/", &[("service_id", "unknown")][..]),
        ("/?service_id=unknown", &[]),
        ("/?service_id=by-prefix", &[("service_id", "unknown")]),
        ("/", &[("service_id", "UNKNOWN/..")]),
    ] {
        refused(&client.send(get(target, fields)).await, 503, "no_service");
    }
    assert_eq!(instances[0].counts().requests(), 0);
    // An empty one names nothing.
    assert_eq!(client.send(get("/", &[("service_id", "")])).await.status, 200);
}

#[tokio::test]
async fn a_service_that_is_not_exposed_is_refused_as_if_it_did_not_exist() {
    let (config, instances) = services(&["public", "hidden"], Config::new()).await;
    let router = config.set("expose", "{ service: public }").start();
    for front in Front::ALL {
        let client = router.client(front).await;
        let hidden = client.send(get("/", &[("service_id", "hidden"), ("x-correlation-id", "c")])).await;
        let unknown = client.send(get("/", &[("service_id", "unknown"), ("x-correlation-id", "c")])).await;
        refused(&hidden, 503, "no_service");
        assert_eq!((&hidden.status, &hidden.body), (&unknown.status, &unknown.body));
        let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&hidden), names(&unknown));
        assert_eq!(client.send(get("/", &[("service_id", "public")])).await.json()["instance"], "public");
    }
    assert_eq!(instances[1].counts().requests(), 0);
}

#[tokio::test]
async fn exposure_by_name_and_by_tag_opens_just_these() {
    let (config, _instances) = services(&["org.shop.pets", "org.shop.pots", "org.bank"], Config::new()).await;
    let router = config.set("expose", "{ service: [ org.shop.* ] }").start();
    let client = router.client(Front::H2c).await;
    for (name, status) in [("org.shop.pets", 200), ("org.shop.pots", 200), ("org.bank", 503)] {
        assert_eq!(client.send(get("/", &[("service_id", name)])).await.status, status, "{name}");
    }
}

#[tokio::test]
async fn what_speaks_to_the_router_does_not_reach_the_instance() {
    let (config, _instances) = services(&["pets"], Config::new()).await;
    let router = config.set("headers", "{ service_query: to }").start();
    for front in Front::ALL {
        let client = router.client(front).await;
        let fields = [("service_id", "pets"), ("x-service-id", "pets"), ("service_url", "http://elsewhere:1")];
        let answer = client.send(get("/a?x=1&to=other&y=%7e+2", &fields)).await;
        for name in ["service_id", "x-service-id", "service_url"] {
            assert_eq!(answer.echoed_header(name), None, "{front:?} {name}");
        }
        assert_eq!(answer.json()["query"], "x=1&y=%7e+2", "{front:?}");
        assert_eq!(client.send(get("/a?to=pets", &[])).await.json()["query"], Value::Null, "{front:?}");
    }
}

#[tokio::test]
async fn the_names_of_the_headers_are_configurable() {
    let (config, _instances) = services(&["pets"], Config::new()).await;
    let router = config.set("headers", "{ service: [ x-route-to ] }").start();
    let client = router.client(Front::H1).await;
    let answer = client.send(get("/", &[("X-Route-To", "pets"), ("service_id", "other")])).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.echoed_header("x-route-to"), None);
    refused(&client.send(get("/", &[("service_id", "pets")])).await, 404, "no_route");
}

/// `pets` in production (as listed), in `test` (a key with a tag) and in `stage` (an attribute of an instance).
async fn environments() -> (Running, [Instance; 3]) {
    let plain = Instance::h2c().named("plain").start().await;
    let test = Instance::h2c().named("test").start().await;
    let stage = Instance::h2c().named("stage").start().await;
    let staged = format!("{}?environment=stage", stage.url());
    let config = Config::new().service("pets", &[plain.url(), staged]).service("pets|test", &[test.url()]);
    (config.set("services", "{ pets: { warm_hold: off } }").start(), [plain, test, stage])
}

async fn ask(client: &Client, environment: &str) -> Answer {
    client.send(get("/", &[("service_id", "pets"), ("env_tag", environment)])).await
}

#[tokio::test]
async fn an_environment_narrows_to_its_instances_and_never_falls_back() {
    let (router, [plain, test, stage]) = environments().await;
    let client = router.client(Front::H2Tls).await;
    for _ in 0..8 {
        assert_eq!(ask(&client, "test").await.json()["instance"], "test");
        assert_eq!(ask(&client, "stage").await.json()["instance"], "stage");
    }
    let none = ask(&client, "other").await;
    refused(&none, 503, "no_instance");
    assert_eq!(none.header("retry-after"), Some("1"));
    test.kill().await;
    refused(&ask(&client, "test").await, 502, "connect");
    assert_eq!(plain.counts().requests(), 0);
    assert_eq!(stage.counts().requests(), 8);
}

#[tokio::test]
async fn instances_listed_under_a_tag_are_reached_by_that_tag_alone() {
    let (router, [plain, test, stage]) = environments().await;
    let client = router.client(Front::H2Tls).await;
    for _ in 0..32 {
        assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
    }
    assert_eq!(test.counts().requests(), 0);
    assert_eq!(plain.counts().requests() + stage.counts().requests(), 32, "a plain environment is no fence");
    assert!(plain.counts().requests() > 0);
}

#[tokio::test]
async fn an_environment_that_is_no_text_has_no_instance() {
    let (router, _instances) = environments().await;
    let mut socket = Socket::connect(router.clear()).await;
    socket.send(b"GET / HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\nenv_tag: \xff\r\n\r\n").await.unwrap();
    let answer = socket.read_response().await.expect("an answer");
    assert_eq!((answer.status(), answer.header("x-pointsman-reason")), (503, Some("no_instance")));
}

#[track_caller]
fn refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(told(answer), (status, Some(reason)));
}
