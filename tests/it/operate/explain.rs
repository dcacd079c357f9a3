//! `pointsman explain`: what it says of a request is what becomes of it.

use serde_json::Value;
use testkit::{Client, Instance, get, post};

use super::process::finish;
use crate::support::{Config, Front, Running};

const ROUTES: &str = "\n  - { prefix: /v1/pets, service: pets }\n  - { prefix: /v1/pets, method: DELETE, service: other }\n  \
                      - { path: /gone, service: gone, name: nobody, fallback: { status: 200 } }\n  \
                      - { prefix: /short, service: pets, strip_prefix: true }";

/// Two instances of `pets`, one of them in the environment `test` only; `hidden`, which nobody exposes.
async fn start() -> (Running, [Instance; 2]) {
    let instances = [Instance::http().named("a").start().await, Instance::http().named("b").start().await];
    let config = Config::new()
        .set("routes", ROUTES)
        .set("expose", "{ service: named }")
        .set("headers", "{ service_query: service }")
        .set("services", "{ '*': { warm_hold: off } }")
        .service("pets", &[instances[0].url()])
        .service("pets|test", &[instances[1].url()])
        .service("named", &[instances[0].url(), instances[1].url()])
        .service("hidden", &[instances[0].url()]);
    (config.start(), instances)
}

async fn run(arguments: Vec<String>) -> (bool, String, String) {
    let output = tokio::task::spawn_blocking(move || finish(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
    let output = output.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// `pointsman explain ARGUMENTS` of this router.
async fn explained(router: &Running, arguments: &[&str]) -> String {
    let admin = router.admin().to_string();
    let all = [&["explain", "--admin", &admin], arguments].concat();
    let (ok, told, problem) = run(all.into_iter().map(str::to_owned).collect()).await;
    assert!(ok, "{problem}");
    told
}

/// The answer of the admin listener.
async fn asked(router: &Running, method: &str, path: &str, headers: &[(&str, &str)]) -> Value {
    let question = serde_json::json!({ "method": method, "path": path, "headers": headers, "host": "localhost" });
    let admin = Client::http(router.admin()).await;
    let answer = admin.send(post("/explain", &[], question.to_string().into_bytes())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn what_is_explained_is_what_happens() {
    let (router, instances) = start().await;
    let client = router.client(Front::H1).await;
    let long = "x".repeat(9000);
    let mut outcomes = std::collections::BTreeSet::new();
    for (path, headers) in [
        ("/v1/pets/7", &[][..]),
        ("/short/7?a=b", &[]),
        ("/v1/pets", &[("env_tag", "test")]),
        ("/v1/pets", &[("env_tag", "nope")]),
        ("/v1/pets", &[("env_tag", "one"), ("env_tag", "two")]),
        ("/gone", &[]),
        ("/v2", &[]),
        ("/v1/%zz", &[]),
        (&*format!("/{long}"), &[]),
        ("/", &[("service_id", "named")]),
        ("/", &[("service_id", "hidden")]),
        ("/", &[("service_id", "nobody")]),
        ("/", &[("service_id", "pets"), ("x-service-id", "named")]),
        ("/?service=named&a=b", &[]),
        ("/v1/pets", &[("upgrade", "websocket"), ("connection", "upgrade")]),
    ] {
        let told = asked(&router, "GET", path, headers).await;
        let answer = client.send(get(path, headers)).await;
        let refused = &told["refused"];
        if refused["fallback"] == true {
            assert_eq!((refused["reason"].as_str(), answer.status.as_u16()), (Some("no_instance"), 200), "{told}");
            continue;
        }
        let reason = answer.header("x-pointsman-reason");
        assert_eq!(refused["reason"].as_str(), reason, "{path} {headers:?}: {told}");
        outcomes.insert(reason.unwrap_or_default().to_owned());
        match reason {
            Some(_) => assert_eq!(refused["status"], answer.status.as_u16(), "{told}"),
            None => {
                let seen = answer.json();
                let query = seen["query"].as_str().map(|query| format!("?{query}")).unwrap_or_default();
                assert_eq!(told["path"], format!("{}{query}", seen["path"].as_str().unwrap()), "{told}");
                let by = instances.iter().find(|instance| seen["instance"] == *instance.name()).unwrap();
                let takes = |i: &&Value| i["takes"] == true && i["address"] == by.addr().to_string();
                assert!(told["service"]["instances"].as_array().unwrap().iter().any(|i| takes(&i)), "{told}");
            }
        }
    }
    let all = ["", "bad_request", "no_instance", "no_route", "no_service", "upgrade", "uri_too_long"];
    assert_eq!(outcomes, all.map(str::to_owned).into());
}

#[tokio::test]
async fn the_rule_the_service_and_each_instance_are_told() {
    let (router, instances) = start().await;
    let told = explained(&router, &["GET", "/v1/pets/7"]).await;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "GET /v1/pets/7 goes to pets");
    assert!(lines[1].starts_with("by route 0 (line "), "{told}");
    assert!(lines[2].starts_with("not route 1 (line ") && lines[2].ends_with(": it wants method DELETE"), "{told}");
    assert_eq!(lines[3], "its instance sees /v1/pets/7");
    assert_eq!(lines[4], "service pets: exposed (a route leads to it), 0 in flight");
    assert!(told.contains(&format!("{}  takes requests", instances[0].addr())), "{told}");
    assert!(told.contains("is only for requests that name its environment"), "{told}");
    assert!(lines.last().unwrap().ends_with(", the only one that takes requests"), "{told}");

    let told = explained(&router, &["DELETE", "http://localhost/v1/pets/7"]).await;
    assert!(told.starts_with("DELETE http://localhost/v1/pets/7 is refused: 503 no_instance, "), "{told}");
    assert!(told.contains("by route 1") && told.contains("not route 0") && told.contains("less specific"), "{told}");
    let told = explained(&router, &["GET", "/", "-H", "service_id: hidden"]).await;
    assert!(told.contains("is refused: 503 no_service") && told.contains("by the header service_id"), "{told}");
    assert!(told.contains("it is known, but expose names neither it"), "{told}");
    let told = explained(&router, &["GET", "/v1/pets", "-H", "env_tag:nope"]).await;
    assert!(told.contains("is not in environment \"nope\""), "{told}");
}

#[tokio::test]
async fn what_keeps_an_instance_out_is_told_and_a_reload_is_followed() {
    let (router, instances) = start().await;
    let path = "/table/pets/nobody/drain";
    let admin = Client::http(router.admin()).await;
    let missing = admin.send(post(path, &[], Vec::new())).await.text();
    let ids = router.table("pets").await;
    let drained = ids["members"].as_array().unwrap().iter().find(|m| m["address"] == instances[0].addr().to_string());
    let id = drained.unwrap()["id"].as_str().unwrap().to_owned();
    assert!(missing.contains("there are: ") && missing.contains(&id), "{missing}");
    assert_eq!(admin.send(post(&format!("/table/pets/{id}/drain"), &[], Vec::new())).await.status, 200);
    let told = asked(&router, "GET", "/v1/pets", &[]).await;
    let found = told["service"]["instances"].as_array().unwrap().iter().find(|i| i["id"] == *id).cloned().unwrap();
    let why = found["why"].as_str().unwrap();
    assert!(found["takes"] == false && why.starts_with("out (drained) for ") && why.contains("an operator"), "{told}");

    let other = Config::new().set("routes", "[ { prefix: /v9, service: nine } ]");
    let text = other.yaml();
    router.router.replace(settings::parse(&text, std::path::Path::new("new.yml"), &|_| None).unwrap()).await.unwrap();
    assert_eq!(asked(&router, "GET", "/v1/pets", &[]).await["refused"]["reason"], "no_route");
    assert_eq!(asked(&router, "GET", "/v9", &[]).await["decided"]["route"], 0);
    let text = admin.send(get("/metrics", &[])).await.text();
    assert!(text.contains("pointsman_reloads_total{result=\"success\"} 1\n"), "{text}");
}

#[tokio::test]
async fn a_key_is_told_its_instance() {
    let instances = [Instance::http().named("a").start().await, Instance::http().named("b").start().await];
    let urls: Vec<String> = instances.iter().map(Instance::url).collect();
    let by = "{ pets: { balance: { consistent_hash: { header: x-user } } } }";
    let router = Config::new().service("pets", &urls).set("services", by).start();
    let client = router.client(Front::H1).await;
    let mut names = std::collections::BTreeSet::new();
    for user in 0..8 {
        let headers = [("service_id", "pets"), ("x-user", &*format!("user {user}"))];
        let told = asked(&router, "GET", "/", &headers).await;
        let choice = told["service"]["choice"].as_str().unwrap().to_owned();
        let name = client.send(get("/", &headers)).await.json()["instance"].as_str().unwrap().to_owned();
        let instance = instances.iter().find(|instance| instance.name() == name).unwrap();
        let taken = told["service"]["instances"].as_array().unwrap().iter();
        let id = taken.clone().find(|i| i["address"] == instance.addr().to_string()).unwrap()["id"].as_str().unwrap();
        assert_eq!(choice, format!("{id}, by the hash of its key (consistent_hash)"));
        names.insert(name);
    }
    assert_eq!(names.len(), 2, "both have keys");
}

#[tokio::test]
async fn a_file_is_asked_without_a_router_and_nonsense_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.yml");
    std::fs::write(&file, format!("routes:{ROUTES}\nexpose: {{ tag: public }}\n")).unwrap();
    let ask = async |arguments: &[&str]| {
        let all = [&["explain"], arguments].concat();
        run(all.into_iter().map(str::to_owned).collect()).await
    };
    let config = ["--config", file.to_str().unwrap()];
    let (ok, told, _) = ask(&[&["GET", "/short/7"], &config[..]].concat()).await;
    assert!(ok && told.contains("by route 3 (line 5)") && told.contains("its instance sees /7"), "{told}");
    // No registry is in it, so nobody can ever be there.
    assert!(told.contains("503 no_instance") && told.contains("but it is in no static list"), "{told}");
    let (_, told, _) = ask(&[&["GET", "/", "-H", "service_id: x", "--json"], &config[..]].concat()).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["decided"]["by"], &told["service"]["exposed"]), (&"header".into(), &true.into()), "{told}");
    for (arguments, part) in [
        (&["GET", "v1"][..], "is no path; write /v1"),
        (&["G T", "/"], "no request: "),
        (&["GET", "/", "-H", "a"], "is no header"),
        (&["GET", "/", "--admin", "127.0.0.1:1"], "no router answers on http://127.0.0.1:1"),
    ] {
        let (ok, _, problem) = ask(arguments).await;
        assert!(!ok && problem.contains(part), "{arguments:?}: {problem}");
    }
}

#[tokio::test]
async fn a_fallback_is_told_as_it_comes() {
    let instance = Instance::http().start().await;
    let routes = "\n  - { prefix: /fixed, service: gone, fallback: { status: 200 } }\n  \
                  - { prefix: /other, service: gone, fallback: { service: pets } }\n  \
                  - { prefix: /neither, service: gone, fallback: { service: nobody } }";
    let config = Config::new().set("routes", routes).set("services", "{ '*': { warm_hold: off } }");
    let router = config.service("pets", &[instance.url()]).start();
    let client = router.client(Front::H1).await;
    let grpc = [("content-type", "application/grpc")];
    for (path, headers, fallback, instead) in [
        ("/fixed", &[][..], true, None),
        ("/fixed", &grpc, false, None),
        ("/other", &[], true, Some("pets")),
        ("/other", &grpc, true, Some("pets")),
        ("/neither", &[], false, Some("nobody")),
    ] {
        let told = asked(&router, "GET", path, headers).await["refused"].take();
        assert_eq!((&told["fallback"], told["asked_instead"].as_str()), (&fallback.into(), instead), "{path}: {told}");
        let answer = client.send(get(path, headers)).await;
        let expected = if fallback { None } else { told["reason"].as_str() };
        assert_eq!(answer.header("x-pointsman-reason"), expected, "{path} {headers:?}");
    }
    let told = explained(&router, &["GET", "/neither"]).await;
    assert!(
        told.contains("503 no_instance") && told.contains("(service nobody, the fallback of its route, "),
        "{told}"
    );
}

#[tokio::test]
async fn where_nobody_takes_requests_nobody_is_chosen() {
    let instances = [Instance::http().named("a").start().await, Instance::http().named("b").start().await];
    let urls: Vec<String> = instances.iter().map(Instance::url).collect();
    let services = "{ pets: { balance: round_robin } }";
    let router = Config::new().service("pets", &urls).set("services", services).start();
    let admin = Client::http(router.admin()).await;
    for member in router.table("pets").await["members"].as_array().unwrap() {
        let path = format!("/table/pets/{}/drain", member["id"].as_str().unwrap());
        assert_eq!(admin.send(post(&path, &[], Vec::new())).await.status, 200);
    }
    let told = asked(&router, "GET", "/", &[("service_id", "pets")]).await;
    let choice = &told["service"]["choice"];
    assert_eq!(choice, "one of 2, as last choice: none is there that takes requests");
}

#[tokio::test]
async fn a_question_is_bounded_and_so_is_its_answer() {
    let route = |n| format!("\n  - {{ prefix: /v1, header: {{ x-n: '{n}' }}, service: pets }}");
    let router = Config::new().set("routes", &(0..60).map(route).collect::<String>()).start();
    let told = asked(&router, "GET", "/v1", &[]).await;
    assert_eq!((told["passed_over"].as_array().unwrap().len(), &told["passed_over_more"]), (50, &10.into()));
    let text = explained(&router, &["GET", "/v1"]).await;
    assert!(text.contains("\nnor 10 more with its path\n"), "{text}");
    let told = asked(&router, "GET", &format!("/v1?{}", "x".repeat(9000)), &[]).await;
    assert_eq!((&told["refused"]["reason"], &told["passed_over"]), (&"uri_too_long".into(), &Value::Null));

    let admin = Client::http(router.admin()).await;
    let headers: Vec<_> = (0..1001).map(|n| (format!("x-{n}"), "")).collect();
    let many = serde_json::json!({ "method": "GET", "path": "/", "headers": headers, "host": "a" });
    for (body, status, part) in [
        (many.to_string(), 400, "1001 headers are too many"),
        (" ".repeat(64 * 1024 + 1), 413, "the body is larger than 65536 bytes"),
    ] {
        let answer = admin.send(post("/explain", &[], body.into_bytes())).await;
        assert_eq!((answer.status.as_u16(), answer.json()["statusCode"].as_u64()), (status, Some(status.into())));
        assert!(answer.text().contains(part), "{}", answer.text());
    }
}

#[tokio::test]
async fn why_no_connection_can_be_made_is_told() {
    // The router trusts another authority.
    let instance = Instance::https(&testkit::Certs::new()).start().await;
    let router = Config::new().service("pets", &[instance.url()]).start();
    let answer = router.client(Front::H1).await.send(get("/", &[("service_id", "pets")])).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let told = explained(&router, &["GET", "/", "-H", "service_id: pets"]).await;
    assert!(told.contains("no connection by https: ") && told.contains("invalid peer certificate"), "{told}");
    let table = router.table("pets").await;
    assert!(table["members"][0]["trouble"].as_str().unwrap().contains("invalid peer certificate"), "{table}");
}
