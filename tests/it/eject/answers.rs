//! What instances answer.

use std::time::Duration;

use testkit::{Client, Instance, Reply, get, post};

use super::{member, page, until_circuit};
use crate::support::{Back, Config, Front, Running};

/// Every instance gets its turn.
fn start(urls: &[String]) -> Running {
    Config::new().service("pets", urls).set("services", r#"{ "*": { balance: round_robin } }"#).start()
}

/// A request that must not be sent twice, so that what the instance does is what the client sees.
async fn ask(client: &Client) -> u16 {
    client.send(post("/", &[("service_id", "pets")], "x")).await.status.as_u16()
}

#[tokio::test]
async fn an_instance_that_fails_is_put_out_told_and_comes_back() {
    for back in [Back::H1, Back::H2c] {
        let config = Config::new();
        let bad = back.instance(config.certs()).answer(|_| Reply::status(503)).start().await;
        let good = [Instance::http().start().await, Instance::h2c().start().await];
        let router = start(&[bad.url(), good[0].url(), good[1].url()]);
        let client = router.client(Front::H2c).await;
        for _ in 0..15 {
            ask(&client).await;
        }
        assert_eq!(bad.counts().requests(), 5, "{back:?}");
        let out = member(&router, &bad.url()).await;
        assert_eq!(out["circuit"]["state"], "open", "{out}");
        assert_eq!(
            (&out["circuit"]["causes"][0], &out["circuit"]["rest"]),
            (&"consecutive".into(), &1.into()),
            "{out}"
        );
        assert!(out["admission"].as_str().unwrap().starts_with("out (consecutive) for "), "{out}");
        for _ in 0..10 {
            assert_eq!(ask(&client).await, 200, "{back:?}: it rests");
        }

        bad.answer(|_| Reply::echo());
        testkit::bounded("it is tried", async {
            while bad.counts().requests() == 5 {
                ask(&client).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        until_circuit(&router, &bad.url(), None).await;
        testkit::bounded("its return is told", async {
            while !page(&router, "/history?service=pets").await.contains(r#""event":"returned""#) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        assert!(page(&router, "/history?service=pets").await.contains(r#""event":"ejected""#));
        let metrics = page(&router, "/metrics").await;
        assert!(metrics.contains("pointsman_ejections_total{cause=\"consecutive\"} 1\n"), "{metrics}");
        assert!(metrics.contains("pointsman_ejected{cause=\"consecutive\"} 0\n"), "{metrics}");
    }
}

#[tokio::test]
async fn resets_and_protocol_errors_count_and_never_more_than_half_go() {
    let reset = Instance::h2c().answer(|_| Reply::resets(2)).start().await;
    let closes = Instance::http().answer(|_| Reply::closes()).start().await;
    let router = start(&[reset.url(), closes.url()]);
    let client = router.client(Front::H2c).await;
    for _ in 0..40 {
        assert_eq!(ask(&client).await, 502);
    }
    let out = [member(&router, &reset.url()).await, member(&router, &closes.url()).await];
    let open = out.iter().filter(|m| m["circuit"]["state"] == "open").count();
    assert_eq!(open, 1, "{out:?}");
}

#[tokio::test]
async fn the_last_one_stays() {
    let only = Instance::http().answer(|_| Reply::status(502)).start().await;
    let router = start(&[only.url()]);
    let client = router.client(Front::H1).await;
    for _ in 0..30 {
        ask(&client).await;
    }
    assert_eq!(member(&router, &only.url()).await["admission"], "in");
}

#[tokio::test]
async fn grpc_unavailable_counts() {
    let bad = Instance::h2c().answer(|_| Reply::grpc_failure(14, "no")).start().await;
    let slow = Instance::h2c().answer(|_| Reply::grpc_failure(5, "not found")).start().await;
    let router = start(&[bad.url(), slow.url()]);
    let client = router.client(Front::H2c).await;
    for _ in 0..20 {
        client
            .send(post(
                "/a.B/C",
                &[("service_id", "pets"), ("content-type", "application/grpc"), ("te", "trailers")],
                "",
            ))
            .await;
    }
    assert_eq!(member(&router, &bad.url()).await["circuit"]["causes"][0], "consecutive");
    assert_eq!(member(&router, &slow.url()).await["admission"], "in", "an answer like any other");
}

#[tokio::test]
async fn clients_that_give_up_or_send_rubbish_put_nobody_out() {
    for back in [Back::H1, Back::H2c] {
        let config = Config::new().set("limits", "{ body: 1KiB }");
        let one = back.instance(config.certs()).on("/silent", Reply::silence()).start().await;
        let two = back.instance(config.certs()).on("/silent", Reply::silence()).start().await;
        let router = config.service("pets", &[one.url(), two.url()]).start();
        for _ in 0..20 {
            let client = router.client(Front::H1).await;
            let asked = client.send(get("/silent", &[("service_id", "pets")]));
            assert!(tokio::time::timeout(Duration::from_millis(30), asked).await.is_err());
            drop(client);
            let client = router.client(Front::H2c).await;
            let answer = client.send(post("/", &[("service_id", "pets")], vec![0; 100_000])).await;
            assert_eq!(answer.status, 413);
        }
        // Time for a doubt to be settled: the instances are there.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        for instance in [&one, &two] {
            assert_eq!(member(&router, &instance.url()).await["admission"], "in", "{back:?}");
        }
    }
}

#[tokio::test]
async fn off_is_off_and_rules_change_while_it_runs() {
    let bad = Instance::http().answer(|_| Reply::status(503)).start().await;
    let good = Instance::http().start().await;
    let config = |eject: &str| {
        let services = format!(r#"{{ "*": {{ balance: round_robin, eject: {eject} }} }}"#);
        let config = Config::new().service("pets", &[bad.url(), good.url()]).set("services", &services);
        config.set("listeners", "[ { address: 127.0.0.1:0 } ]")
    };
    let router = config("off").start();
    let client = router.client(Front::H1).await;
    for _ in 0..40 {
        ask(&client).await;
    }
    assert_eq!(member(&router, &bad.url()).await["admission"], "in");
    let yaml = config("{ consecutive: 2 }").yaml();
    let settings = settings::parse(&yaml, std::path::Path::new("test.yml"), &|_| None).unwrap();
    router.router.replace(settings).await.unwrap();
    let client = Client::http(router.clear()).await;
    for _ in 0..4 {
        ask(&client).await;
    }
    assert_eq!(member(&router, &bad.url()).await["circuit"]["causes"][0], "consecutive");
}
