//! Answers whose heads are larger than this router takes: told to the client, held against nobody, asked for nowhere else.

use testkit::{Instance, Reply, get, post};

use crate::support::{Config, Front, told};

const PETS: [(&str, &str); 1] = [("service_id", "pets")];

/// An answer whose head has so many fields beside `content-length`, the name of the instance and the date.
fn fields(count: usize) -> Reply {
    (0..count).fold(Reply::status(200), |reply, n| reply.header("x-many", &n.to_string()))
}

/// An answer whose head has so many KiB.
fn size(kib: usize) -> Reply {
    (0..kib).fold(Reply::status(200), |reply, _| reply.header("x-large", &"x".repeat(1024)))
}

#[tokio::test]
async fn an_answer_with_too_many_fields_is_told_and_held_against_nobody() {
    let [one, other] = [Instance::http().start().await, Instance::http().start().await];
    for instance in [&one, &other] {
        instance.on("/many", fields(110));
    }
    let router = Config::new().service("pets", &[one.url(), other.url()]).start();
    let asked = || one.counts().requests() + other.counts().requests();
    for front in [Front::H1, Front::H2c] {
        let client = router.client(front).await;
        for turn in 0..10 {
            let before = asked();
            let answer = client.send(get("/many", &PETS)).await;
            assert_eq!(told(&answer), (502, Some("answer_too_large")), "{front:?}, {turn}");
            let answer = client.send(post("/many", &PETS, "pay 1")).await;
            assert_eq!(told(&answer), (502, Some("answer_too_large")), "{front:?}, {turn}");
            assert_eq!(asked() - before, 2, "once each");
        }
        assert_eq!(client.send(get("/", &PETS)).await.status, 200, "{front:?}");
    }
    let table = router.table("pets").await;
    let members = table["members"].as_array().expect("a list");
    assert_eq!(members.len(), 2);
    for member in members {
        assert_eq!((&member["admission"], &member["failures"]), (&"in".into(), &0.into()), "{member}");
    }
    router.settled("pets").await;
}

#[tokio::test]
async fn as_many_fields_as_are_admitted_go_through() {
    let instance = Instance::http().start().await;
    instance.on("/some", fields(90));
    instance.on("/many", fields(190));
    let services = "{ pets: { max_answer_fields: 200 } }";
    let usual = Config::new().service("pets", &[instance.url()]).start();
    let raised = Config::new().service("pets", &[instance.url()]).set("services", services).start();
    let client = usual.client(Front::H2c).await;
    let answer = client.send(get("/some", &PETS)).await;
    assert_eq!((told(&answer), answer.headers.get_all("x-many").iter().count()), ((200, None), 90));
    assert_eq!(told(&client.send(get("/many", &PETS)).await), (502, Some("answer_too_large")));
    let answer = raised.client(Front::H2c).await.send(get("/many", &PETS)).await;
    assert_eq!((told(&answer), answer.headers.get_all("x-many").iter().count()), ((200, None), 190));
}

#[tokio::test]
async fn an_answer_with_too_large_a_head_is_told_and_held_against_nobody() {
    let [h1, h2] = [Instance::http().start().await, Instance::h2c().start().await];
    for instance in [&h1, &h2] {
        instance.on("/fits", size(40));
        instance.on("/large", size(200));
    }
    let router = Config::new().service("by-h1", &[h1.url()]).service("by-h2", &[h2.url()]).start();
    for service in ["by-h1", "by-h2"] {
        let named = [("service_id", service)];
        let client = router.client(Front::H1).await;
        for _ in 0..10 {
            assert_eq!(told(&client.send(get("/large", &named)).await), (502, Some("answer_too_large")), "{service}");
        }
        assert_eq!(told(&client.send(get("/fits", &named)).await), (200, None), "{service}");
        let table = router.table(service).await;
        assert_eq!((&table["members"][0]["admission"], &table["members"][0]["failures"]), (&"in".into(), &0.into()));
    }
    assert_eq!((h1.counts().requests(), h2.counts().requests()), (11, 11), "once each");
}
