//! Paths: no rule about them is escaped, and the instance gets the one that was matched.

use testkit::{Client, Instance, Socket, get};

use crate::support::{Back, Config, Front, Running, told};

async fn open_and_secret() -> (Running, [Instance; 2]) {
    let open = Instance::h2c().named("open").start().await;
    let secret = Instance::http().named("secret").start().await;
    let config = Config::new().service("open", &[open.url()]).service("secret", &[secret.url()]);
    let routes = "[ { prefix: /open, service: open }, { prefix: /secret, service: secret } ]";
    (config.set("routes", routes).start(), [open, secret])
}

/// The target is sent as it is, which client libraries do not allow.
async fn raw(router: &Running, target: &str) -> testkit::Message {
    let mut socket = Socket::connect(router.clear()).await;
    socket.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await.unwrap();
    socket.read_response().await.unwrap_or_else(|| panic!("no answer to {target}"))
}

#[tokio::test]
async fn a_prefix_cannot_be_escaped_and_the_instance_gets_what_was_matched() {
    let (router, _instances) = open_and_secret().await;
    for (target, instance, path) in [
        ("/open/a", "open", "/open/a"),
        ("/open/../secret/a", "secret", "/secret/a"),
        ("/open/%2e%2e/secret/a", "secret", "/secret/a"),
        ("/open/%2E./secret/a", "secret", "/secret/a"),
        ("/open/./a/../b", "open", "/open/b"),
        ("//secret//a", "secret", "/secret/a"),
        ("/%73ecret/%61", "secret", "/secret/a"),
        ("/secret/%c3%a4", "secret", "/secret/%C3%A4"),
        ("/open/a?x=/../%2e%2e", "open", "/open/a"),
        ("/secret/../open/", "open", "/open/"),
    ] {
        let answer = raw(&router, target).await;
        assert_eq!(answer.status(), 200, "{target}: {}", answer.text());
        let echo: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&echo["instance"], &echo["path"]), (&instance.into(), &path.into()), "{target}");
    }
}

#[tokio::test]
async fn paths_that_can_be_read_in_two_ways_are_refused() {
    let (router, instances) = open_and_secret().await;
    for target in [
        "/open/..%2fsecret",
        "/open%2Fa",
        "/open%5ca",
        "/open\\a",
        "/open/%00",
        "/open/a%0d%0ab",
        "/open/%7f",
        "/open/%",
        "/open/%zz",
        "/open/%252e%252e/secret",
        "/open/..;/secret",
        "/open/.;x=1/a",
        "/..",
        "/open/../../secret",
    ] {
        let answer = raw(&router, target).await;
        assert_eq!(answer.status(), 400, "{target}: {}", answer.text());
    }
    let client = router.client(Front::H2c).await;
    for target in ["/open/..%2fsecret", "/open/%00", "/open/%252e%252e/secret", "/open/..;/secret"] {
        let answer = client.send(get(target, &[])).await;
        assert_eq!(told(&answer), (400, Some("bad_request")), "{target}");
    }
    assert!(instances.iter().all(|instance| instance.counts().requests() == 0));
}

#[tokio::test]
async fn the_matched_prefix_is_stripped_or_replaced_and_the_query_stays() {
    let config = Config::new();
    let instance = Back::H2Tls.instance(config.certs()).start().await;
    let routes = r#"
  - { prefix: /strip, service: pets, strip_prefix: true }
  - { prefix: /v1/pets, service: pets, rewrite: /v2/animals }
  - { path: "/one/{id}", service: pets, rewrite: /all }
  - { prefix: /keep, service: pets }
"#;
    let router = config.service("pets", &[instance.url()]).set("routes", routes).start();
    for front in Front::ALL {
        let client: Client = router.client(front).await;
        for (target, path, query) in [
            ("/strip/a/b?x=1", "/a/b", Some("x=1")),
            ("/strip", "/", None),
            ("/strip/", "/", None),
            ("/strip/../strip/a", "/a", None),
            ("/v1/pets/7?q", "/v2/animals/7", Some("q")),
            ("/v1/pets", "/v2/animals", None),
            ("/one/7?x=%2e", "/all", Some("x=%2e")),
            ("/keep/a", "/keep/a", None),
        ] {
            let echo = client.send(get(target, &[])).await.json();
            assert_eq!(echo["path"], path, "{front:?} {target}");
            assert_eq!(echo["query"].as_str(), query, "{front:?} {target}");
        }
    }
}
