//! Looks at instances that behave, and at those that do not, over real sockets.

use std::{net::SocketAddr, sync::Arc};

use ::http::{HeaderMap, Method};
use model::Host;
use testkit::{BlackHole, Certs, Instance, Reply, Seen, bounded};
use tokio::net::TcpListener;
use transport::{ClientTls, Learned, Upstream, tls::Trust};

use super::*;
use crate::{
    health::{
        Pace, Role,
        check::{Grpc, Http, Statuses, Wanted},
    },
    testing::{instance, service},
};

const LONG: Duration = Duration::from_secs(10);

fn target(address: SocketAddr, protocol: Protocol, trust: &Trust) -> Target {
    let tls = Arc::new(ClientTls::new(trust).unwrap());
    let instance = Arc::new(instance("a", 1));
    let address = Address { host: Host::Ip(address.ip()), port: address.port() };
    let own = (protocol == Protocol::Https).then(|| tls.clone());
    let upstream = Upstream::new(service("pets"), instance.id.clone(), address, protocol, own, Learned::default());
    Target { instance, source: "test".into(), upstream: Arc::new(upstream), tls }
}

/// A testkit instance, whose certificate is of this authority if it does TLS.
fn at(instance: &Instance, certs: Option<&Certs>) -> Target {
    let protocol = Protocol::parse(instance.url().split(':').next().unwrap()).unwrap();
    target(instance.addr(), protocol, &Trust { ca: certs.map(Certs::ca), ..Trust::default() })
}

fn check(what: What, timeout: Duration) -> Check {
    let pace = Pace { interval: LONG, fast: LONG, timeout, rise: 1, fall: 1 };
    Check { what, role: Role::Readiness, port: None, pace }
}

fn get(path: &str) -> Http {
    Http {
        method: Method::GET,
        path: path.parse().unwrap(),
        host: None,
        headers: HeaderMap::new(),
        status: Statuses(vec![200..=299]),
        body: None,
        protocol: None,
    }
}

async fn http(http: Http, target: &Target) -> Found {
    look(&check(What::Http(Box::new(http)), LONG), target).await
}

/// Where every connection is answered so, once something came if anything shall come.
async fn server(waits: bool, answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = [0; 1024];
            if waits {
                drop(stream.read(&mut read).await);
            }
            drop(stream.write_all(answer).await);
        }
    });
    address
}

async fn talk(tcp: Tcp, answer: &'static [u8]) -> Found {
    let server = server(!tcp.send.is_empty(), answer).await;
    look(&check(What::Tcp(tcp), LONG), &target(server, Protocol::Http, &Trust::default())).await
}

fn failed(found: Found, part: &str) {
    let Found::Failed(saw) = found else { panic!("{found:?}, not {part}") };
    assert!(saw.contains(part), "{saw}, not {part}");
}

#[tokio::test]
async fn http_is_spoken_as_the_instance_speaks_it_and_says_who_asks() {
    let certs = Certs::new();
    let of = async |builder: testkit::instance::Builder<'_>| builder.answer(|_| Reply::ok("UP")).start().await;
    let instances = [
        of(Instance::http()).await,
        of(Instance::h2c()).await,
        of(Instance::https(&certs)).await,
        of(Instance::https(&certs).alpn(&["http/1.1"])).await,
    ];
    for instance in &instances {
        let mut ask = get("/health?deep=1");
        ask.headers.insert("x-probe", "1".parse().unwrap());
        assert_eq!(http(ask, &at(instance, Some(&certs))).await, Found::Passed("GET /health?deep=1: 200".to_owned()));
        let seen = instance.seen().remove(0);
        let agent = concat!("pointsman/", env!("CARGO_PKG_VERSION"), " (health check)");
        assert_eq!((seen.header("user-agent"), seen.header("x-probe")), (Some(agent), Some("1")));
        assert_eq!(seen.authority().unwrap(), instance.addr().to_string(), "as requests call it");
    }
    let mut named = get("/");
    named.host = Some("pets.internal".parse().unwrap());
    for instance in &instances[..2] {
        http(named.clone(), &at(instance, None)).await;
        assert_eq!(instance.seen()[1].authority(), Some("pets.internal"));
    }
}

#[tokio::test]
async fn statuses_and_bodies_are_as_wanted_or_it_fails() {
    let instance = Instance::http()
        .on("/down", Reply::status(503))
        .on("/moved", Reply::script().head(302).header("location", "/"))
        .on("/huge", Reply::script().head(200).stream(50_000_000))
        .on("/late", Reply::script().head(200).data([vec![b' '; 60_000], b"UP".to_vec()].concat()).stream(1_000_000))
        .answer(|_| Reply::ok(r#"{"status":"UP"}"#))
        .start()
        .await;
    let target = at(&instance, None);
    failed(http(get("/down"), &target).await, "GET /down: 503");
    failed(http(get("/moved"), &target).await, "GET /moved: 302");
    assert_eq!(instance.counts().requests(), 2, "a redirect is not followed");
    let statuses = Statuses(vec![200..=299, 503..=503]);
    assert!(matches!(http(Http { status: statuses, ..get("/down") }, &target).await, Found::Passed(_)));
    let with = |path: &str, wanted: Wanted| Http { body: Some(wanted), ..get(path) };
    let up = || Wanted::Contains(b"UP".to_vec());
    assert!(matches!(http(with("/", up()), &target).await, Found::Passed(_)));
    assert!(matches!(http(with("/late", up()), &target).await, Found::Passed(_)), "within the first 64 KiB");
    let pattern = Wanted::matching(r#""status":\s*"UP""#).unwrap();
    assert!(matches!(http(with("/", pattern.clone()), &target).await, Found::Passed(_)));
    failed(http(with("/huge", pattern), &target).await, "65536 bytes");
    assert!(instance.counts().bytes_written() < 10_000_000, "of a huge body little is read");
    // Without a wish for the body its head is enough.
    assert!(matches!(http(get("/huge"), &target).await, Found::Passed(_)));
    let elsewhere = Check { port: Some(instance.addr().port()), ..check(What::Http(Box::new(get("/"))), LONG) };
    let nobody = self::target("127.0.0.1:1".parse().unwrap(), Protocol::Http, &Trust::default());
    assert!(matches!(look(&elsewhere, &nobody).await, Found::Passed(_)), "a port of its own");
}

#[tokio::test]
async fn whoever_hangs_is_garbage_or_is_not_there_fails_in_time() {
    let instance = Instance::http()
        .on("/hang", Reply::silence())
        .on("/body", Reply::script().head(200).data("U").hang())
        .on("/close", Reply::closes())
        .start()
        .await;
    let here = at(&instance, None);
    let quick = Duration::from_millis(200);
    let soon = async |http: Http| look(&check(What::Http(Box::new(http)), quick), &here).await;
    let began = Instant::now();
    failed(soon(get("/hang")).await, "no answer within 200ms");
    failed(soon(Http { body: Some(Wanted::Contains(b"UP".to_vec())), ..get("/body") }).await, "no answer within 200ms");
    assert!(began.elapsed() < LONG);
    failed(http(get("/close"), &here).await, "");
    assert!(matches!(soon(get("/body")).await, Found::Passed(_)), "nothing of the body is wanted");
    let hole = BlackHole::new().await;
    let hole = target(hole.addr(), Protocol::Http, &Trust::default());
    failed(look(&check(What::Http(Box::new(get("/"))), quick), &hole).await, "no connection within 200ms");
    let nobody = target("127.0.0.1:1".parse().unwrap(), Protocol::Http, &Trust::default());
    failed(http(get("/"), &nobody).await, "cannot connect");
    // It speaks another protocol than is said.
    let h2c = Instance::h2c().start().await;
    let wrong = target(h2c.addr(), Protocol::Http, &Trust::default());
    failed(look(&check(What::Http(Box::new(get("/"))), LONG), &wrong).await, "");
    let garbage = server(false, b"220 mail ESMTP\r\n").await;
    for protocol in [Protocol::Http, Protocol::H2c] {
        let here = target(garbage, protocol, &Trust::default());
        failed(bounded("garbage is told", http(get("/"), &here)).await, "");
    }
    failed(
        bounded("garbage is told", http(get("/"), &target(garbage, Protocol::Https, &Trust::default()))).await,
        "TLS",
    );
}

#[tokio::test]
async fn grpc_says_whether_it_serves() {
    let certs = Certs::new();
    let answer = |seen: &Seen| match (seen.path(), seen.header("content-type"), seen.header("te")) {
        ("/grpc.health.v1.Health/Check", Some("application/grpc"), Some("trailers")) => Reply::grpc(&[&[8, 1]]),
        _ => Reply::grpc_failure(12, "unimplemented"),
    };
    let grpc = || What::Grpc(Grpc { service: "pets".to_owned(), protocol: None });
    let (clear, tls) =
        (Instance::h2c().answer(answer).start().await, Instance::https(&certs).answer(answer).start().await);
    let serving = Found::Passed("SERVING".to_owned());
    assert_eq!(look(&check(grpc(), LONG), &at(&clear, None)).await, serving);
    assert_eq!(look(&check(grpc(), LONG), &at(&tls, Some(&certs))).await, serving);
    let plain = target(clear.addr(), Protocol::Http, &Trust::default());
    assert_eq!(look(&check(grpc(), LONG), &plain).await, serving, "gRPC is HTTP/2 whatever else is spoken");
    let message = testkit::digest(b"\0\0\0\0\x06\x0a\x04pets");
    assert_eq!(clear.seen()[0].body_digest, message);

    for (reply, part) in [
        (Reply::grpc(&[&[8, 2]]), "NOT_SERVING"),
        (Reply::grpc(&[]), "no HealthCheckResponse"),
        (Reply::grpc_failure(5, "unknown"), "NOT_FOUND"),
        (Reply::grpc_failure(12, ""), "UNIMPLEMENTED"),
        (Reply::status(404), "HTTP status 404"),
        (Reply::ok("hello"), "without grpc-status"),
        (Reply::resets(2), ""),
    ] {
        clear.on("/grpc.health.v1.Health/Check", reply);
        failed(look(&check(grpc(), LONG), &at(&clear, None)).await, part);
    }
    let old = Instance::https(&certs).alpn(&["http/1.1"]).start().await;
    failed(look(&check(grpc(), LONG), &at(&old, Some(&certs))).await, "HTTP/2");
}

#[tokio::test]
async fn tcp_connects_and_may_talk() {
    let tcp = |send: &str, expect: Option<&str>| Tcp {
        send: send.as_bytes().to_vec(),
        expect: expect.map(|text| Wanted::Contains(text.as_bytes().to_vec())),
    };
    assert_eq!(talk(tcp("", None), b"").await, Found::Passed("connected".to_owned()));
    assert_eq!(talk(tcp("PING\r\n", Some("+PONG")), b"+PONG\r\n").await, Found::Passed("\"+PONG\" came".to_owned()));
    failed(talk(tcp("PING\r\n", Some("+PONG")), b"-ERR\r\n").await, "not in the 6 bytes");
    failed(talk(tcp("PING\r\n", Some("+PONG")), &[b'x'; 100_000]).await, "not in the 4096 bytes");
    let nobody = target("127.0.0.1:1".parse().unwrap(), Protocol::Http, &Trust::default());
    failed(look(&check(What::Tcp(tcp("", None)), LONG), &nobody).await, "cannot connect");
}

#[test]
fn what_comes_byte_by_byte_is_looked_through_a_few_times_and_at_its_end() {
    let mut glance = Glance::default();
    let looks = (1..=TALK).filter(|came| glance.is_due(*came, *came == TALK)).collect::<Vec<_>>();
    assert_eq!(looks[..3], [1, 2, 3]);
    assert!(looks.len() <= 2 * Glance::FEW && looks.last() == Some(&TALK), "{} looks", looks.len());
    assert!(Glance::default().is_due(0, true));
}

#[tokio::test]
async fn tls_wants_a_certificate_as_requests_do() {
    let (certs, others) = (Certs::new(), Certs::new());
    let instance = Instance::https(&certs).start().await;
    let tls = check(What::Tls, LONG);
    assert!(matches!(look(&tls, &at(&instance, Some(&certs))).await, Found::Passed(_)));
    failed(look(&tls, &at(&instance, Some(&others))).await, "invalid peer certificate");
    failed(http(get("/"), &at(&instance, Some(&others))).await, "invalid peer certificate");
    let named = Trust { ca: Some(certs.ca()), server_name: Some("other.example".to_owned()), ..Trust::default() };
    failed(look(&tls, &target(instance.addr(), Protocol::Https, &named)).await, "not valid for name");
    // Of a service that is spoken to in clear text it can be asked too.
    let clear = target(instance.addr(), Protocol::Http, &Trust { ca: Some(certs.ca()), ..Trust::default() });
    assert!(matches!(look(&tls, &clear).await, Found::Passed(_)));
    let http = Instance::http().start().await;
    failed(look(&tls, &at(&http, Some(&certs))).await, "TLS");
}
