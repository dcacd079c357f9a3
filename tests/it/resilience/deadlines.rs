//! One deadline for a request, however often it is tried; instances are told what is left of it.

use std::time::Duration;

use testkit::{BlackHole, Client, Instance, Reply, Seen, get, post};

use super::{router, urls};
use crate::support::{self, Front};

const GRPC: [(&str, &str); 3] = [("service_id", "pets"), ("content-type", "application/grpc"), ("te", "trailers")];

fn micros(seen: &Seen) -> u64 {
    let text = seen.header("grpc-timeout").expect("the field");
    text.strip_suffix('u').expect("microseconds").parse().unwrap()
}

/// What the instance was told last, in milliseconds.
fn told(instance: &Instance, name: &str) -> u64 {
    let seen = instance.seen().pop().expect("a request");
    let text = seen.header(name).expect("the field").to_owned();
    match text.strip_suffix('u') {
        Some(micros) => micros.parse::<u64>().unwrap() / 1000,
        None => text.parse().unwrap(),
    }
}

async fn answered(client: &Client, deadline: &str) -> u16 {
    client.send(get("/", &[("service_id", "pets"), ("x-request-deadline", deadline)])).await.status.as_u16()
}

#[tokio::test]
async fn what_is_left_is_passed_on() {
    for instance in [Instance::http(), Instance::h2c()] {
        let instance = instance.start().await;
        let router = router(&[&instance], "");
        let client = router.client(Front::H2c).await;
        assert_eq!(answered(&client, "5000").await, 200);
        let left = told(&instance, "x-request-deadline");
        assert!((1000..=5000).contains(&left), "{left}");
    }
    let instance = Instance::h2c().answer(|_| Reply::grpc(&[b"pong"])).start().await;
    let router = router(&[&instance], "");
    let client = router.client(Front::H2c).await;
    let answer = client.send(post("/", &[&GRPC[..], &[("grpc-timeout", "5S")]].concat(), "")).await;
    assert_eq!(answer.trailer("grpc-status"), Some("0"));
    let left = told(&instance, "grpc-timeout");
    assert!((1000..=5000).contains(&left), "{left}");
}

#[tokio::test]
async fn the_second_instance_is_told_what_the_first_one_left() {
    const SLOW: Duration = Duration::from_millis(300);
    let slow = Instance::http().answer(|_| Reply::script().wait(SLOW).head(503)).start().await;
    let good = Instance::http().start().await;
    let router = router(&[&slow, &good], "");
    let client = router.client(Front::H2c).await;
    for _ in 0..2 {
        assert_eq!(answered(&client, "5000").await, 200);
    }
    let least = good.seen().iter().map(|seen| seen.header("x-request-deadline").unwrap().parse::<u64>().unwrap()).min();
    assert!(least.unwrap() <= 4700, "{least:?}");
    assert!(slow.counts().requests() > 0, "it was asked");
}

#[tokio::test]
async fn what_a_failed_connection_took_is_taken_off_for_any_method() {
    let hole = BlackHole::new().await;
    let instance = Instance::h2c().answer(|_| Reply::grpc(&[b"pong"])).start().await;
    let router = urls(&[format!("h2c://{}", hole.addr()), instance.url()], "timeouts: { connect: 300ms }");
    let client = router.client(Front::H2c).await;
    for _ in 0..2 {
        client.send(post("/", &[&GRPC[..], &[("grpc-timeout", "5S")]].concat(), "")).await;
    }
    let least = instance.seen().iter().map(micros).min();
    assert!(least.unwrap() <= 4_700_000, "{least:?}");
}

#[tokio::test]
async fn a_deadline_ends_all_tries_and_only_lowers_limits() {
    let silent = Instance::h2c().answer(|_| Reply::silence()).start().await;
    let router_with = |settings| router(&[&silent], settings);
    for (settings, said) in [("", "200"), ("timeouts: { total: 200ms }", "3600000")] {
        let router = router_with(settings);
        let client = router.client(Front::H1).await;
        let answer = client.send(get("/", &[("service_id", "pets"), ("x-request-deadline", said)])).await;
        assert_eq!(support::told(&answer), (504, Some("deadline")), "{said}");
        assert!(told(&silent, "x-request-deadline") <= 200);
    }
    let (asked, router) = (silent.counts().requests(), router_with(""));
    assert_eq!(answered(&router.client(Front::H2c).await, "0").await, 504);
    assert_eq!(silent.counts().requests(), asked, "over before it began");
}

#[tokio::test]
async fn what_is_no_deadline_passes_as_it_came() {
    let instance = Instance::http().start().await;
    let router = router(&[&instance], "");
    let client = router.client(Front::H2c).await;
    for text in ["soon", "-1", "1.5", "2026-11-26T16:00:00Z"] {
        assert_eq!(answered(&client, text).await, 200, "{text}");
        assert_eq!(instance.seen().pop().unwrap().header("x-request-deadline"), Some(text));
    }
}
