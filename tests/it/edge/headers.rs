//! What becomes of header fields on their way: those about one connection end at the router, those about the client's
//! are made by it, ids are made, sent on and returned.

use serde_json::Value;
use testkit::{Answer, Client, Instance, Raw, Reply, Socket, get};

use crate::support::{Back, Config, Front, Running};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn one(back: Back, config: Config) -> (Running, Instance) {
    let instance = back.instance(config.certs()).start().await;
    let config = config.service("pets", &[instance.url()]);
    (config.set("routes", "[ { prefix: /, service: pets } ]").start(), instance)
}

#[tokio::test]
async fn fields_about_one_connection_do_not_reach_the_instance() {
    for back in Back::ALL {
        let (router, instance) = one(back, Config::new()).await;
        let mut socket = Socket::connect(router.clear()).await;
        let fields = "Connection: keep-alive, X-Private, authorization\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n\
            Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: trailers, gzip\r\nX-Public: 2\r\n\
            Authorization: kept\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
        socket.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await.unwrap();
        assert_eq!(socket.read_response().await.expect("an answer").status(), 200);
        let seen = instance.seen().pop().expect("a request");
        for name in ["x-private", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade", "http2-settings"]
        {
            assert_eq!(seen.header(name), None, "{back:?}: {name}");
        }
        assert_eq!((seen.header("x-public"), seen.header("authorization")), (Some("2"), Some("kept")), "{back:?}");
        assert_eq!(seen.header("te"), Some("trailers"), "{back:?}");
        // TE is itself a field about one connection; ours to an HTTP/1 instance says so.
        assert_eq!(seen.header("connection"), (!back.is_h2()).then_some("te"), "{back:?}");
    }
}

#[tokio::test]
async fn fields_about_the_instances_connection_do_not_reach_the_client() {
    let raw = Raw::sends(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Authenticate: Basic\r\nX-Public: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
    let router = Config::new().service("raw", &[format!("http://{}", raw.addr())]).start();
    for front in Front::ALL {
        let answer = router.client(front).await.send(get("/", &[("service_id", "raw")])).await;
        assert_eq!((answer.text().as_str(), answer.header("x-public")), ("ok", Some("2")), "{front:?}");
        for name in ["x-private", "keep-alive", "proxy-authenticate", "connection"] {
            assert_eq!(answer.header(name), None, "{front:?}: {name}");
        }
        assert_eq!(answer.header("transfer-encoding").is_some(), !front.is_h2(), "{front:?}: framing is our own");
    }
}

#[tokio::test]
async fn the_instance_is_told_of_the_clients_connection_and_not_what_the_client_claims() {
    let (router, _instance) = one(Back::H2c, Config::new()).await;
    let claims = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("host", "shop.test:81"),
    ];
    for front in Front::ALL {
        let answer = router.client(front).await.send(get("/", &claims)).await;
        let port = if front.is_tls() { router.tls() } else { router.clear() }.port().to_string();
        for (name, expected) in [
            ("x-forwarded-for", Some("127.0.0.1")),
            ("x-forwarded-proto", Some(if front.is_tls() { "https" } else { "http" })),
            ("x-forwarded-host", Some("shop.test:81")),
            ("x-forwarded-port", Some(&*port)),
            ("x-forwarded-prefix", None),
            ("forwarded", None),
            ("x-real-ip", None),
            ("via", None),
        ] {
            assert_eq!(answer.echoed_header(name).as_deref(), expected, "{front:?}: {name}");
        }
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_stays_and_is_added_to() {
    let headers = "{ trusted_proxies: [ 127.0.0.0/8 ], forwarded: true, via: true }";
    let (router, _instance) = one(Back::H2c, Config::new().set("headers", headers)).await;
    for (front, via) in [(Front::H1, "1.1 pointsman"), (Front::H2Tls, "2.0 pointsman")] {
        let said = [
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=9.9.9.9"),
            ("host", "shop.test"),
        ];
        let answer = router.client(front).await.send(get("/", &said)).await;
        let proto = if front.is_tls() { "https" } else { "http" };
        let forwarded = format!("for=9.9.9.9, for=127.0.0.1;proto={proto};host=\"shop.test\"");
        for (name, expected) in [
            ("x-forwarded-for", "9.9.9.9, 127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.test"),
            ("forwarded", &forwarded),
            ("via", via),
        ] {
            assert_eq!(answer.echoed_header(name).as_deref(), Some(expected), "{front:?}: {name}");
        }
    }
}

#[tokio::test]
async fn the_correlation_id_is_made_sent_on_and_returned_also_with_refusals() {
    for back in [Back::H1, Back::H2c] {
        let (router, instance) = one(back, Config::new()).await;
        for front in Front::ALL {
            let client = router.client(front).await;
            let answer = client.send(get("/", &[])).await;
            let made = answer.header("x-correlation-id").expect("an id").to_owned();
            assert_eq!((made.len(), &made[14..15]), (36, "7"), "a UUID of version 7: {made}");
            assert_eq!(answer.echoed_header("x-correlation-id"), Some(made.clone()));
            let again = client.send(get("/", &[])).await;
            assert_ne!(again.header("x-correlation-id"), Some(&*made));

            let own = client.send(get("/", &[("x-correlation-id", "mine-1")])).await;
            assert_eq!(own.header("x-correlation-id"), Some("mine-1"));
            assert_eq!(own.echoed_header("x-correlation-id").as_deref(), Some("mine-1"));
            let refused = client.send(get("/%00", &[("x-correlation-id", "mine-2")])).await;
            assert_eq!((refused.status.as_u16(), refused.header("x-correlation-id")), (400, Some("mine-2")));
            assert_eq!(refused.json()["correlationId"], "mine-2");
            let refused = client.send(get("/%00", &[])).await;
            assert_eq!(refused.json()["correlationId"].as_str(), refused.header("x-correlation-id"));
            // What is no id is replaced.
            let odd = client.send(get("/", &[("x-correlation-id", "has spaces")])).await;
            assert_eq!(odd.header("x-correlation-id").map(str::len), Some(36));
        }
        assert_eq!(instance.counts().requests(), 16);
    }
}

#[tokio::test]
async fn the_instance_cannot_change_the_ids() {
    let (router, instance) = one(Back::H2c, Config::new()).await;
    instance.answer(|_| Reply::script().head(200).header("x-correlation-id", "theirs").header("traceparent", "x"));
    let answer = router.client(Front::H2c).await.send(get("/", &[("x-correlation-id", "mine")])).await;
    assert_eq!((answer.header("x-correlation-id"), answer.header("traceparent")), (Some("mine"), None));
}

#[tokio::test]
async fn traceability_id_and_trace_context_are_passed_on_and_returned_and_never_made() {
    let (router, _instance) = one(Back::H1, Config::new()).await;
    let client = router.client(Front::H2Tls).await;
    let ids = [("x-traceability-id", "t-1"), ("traceparent", TRACE), ("tracestate", "a=b")];
    let answer = client.send(get("/", &ids)).await;
    for (name, value) in [("x-traceability-id", "t-1"), ("traceparent", TRACE)] {
        assert_eq!(answer.header(name), Some(value));
        assert_eq!(answer.echoed_header(name).as_deref(), Some(value));
    }
    assert_eq!(answer.echoed_header("tracestate").as_deref(), Some("a=b"));
    let answer = client.send(get("/", &[("traceparent", "00-nonsense"), ("tracestate", "a=b")])).await;
    for name in ["x-traceability-id", "traceparent", "tracestate"] {
        assert_eq!((answer.header(name), answer.echoed_header(name)), (None, None), "{name}");
    }
}

async fn told_host(router: &Running, front: Front) -> Value {
    let answer: Answer = router.client(front).await.send(get("/", &[("host", "shop.test:81")])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["authority"].clone()
}

#[tokio::test]
async fn the_host_an_instance_is_told_follows_the_policy() {
    for back in Back::ALL {
        for (policy, expected) in [
            ("instance", None),
            ("preserve", Some("shop.test:81")),
            ("{ fixed: internal.test }", Some("internal.test")),
        ] {
            let config = Config::new().set("headers", &format!("{{ host: {policy} }}"));
            let (router, instance) = one(back, config).await;
            let own = instance.addr().to_string();
            for front in [Front::H1, Front::H2Tls] {
                assert_eq!(told_host(&router, front).await, expected.unwrap_or(&own), "{back:?} {policy} {front:?}");
            }
        }
    }
}

#[tokio::test]
async fn cookies_in_crumbs_are_one_field_for_http_1_instances() {
    for back in Back::ALL {
        let (router, instance) = one(back, Config::new()).await;
        let client: Client = router.client(Front::H2c).await;
        client.send(get("/", &[("cookie", "a=1"), ("cookie", "b=2")])).await;
        let seen = instance.seen().pop().expect("a request");
        let cookies: Vec<_> = seen.headers.get_all("cookie").iter().map(|c| c.to_str().unwrap()).collect();
        assert_eq!(cookies.join("; "), "a=1; b=2", "{back:?}");
        assert!(back.is_h2() || cookies.len() == 1, "{back:?}: {cookies:?}");
    }
}
