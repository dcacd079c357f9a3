//! Clients that stay with their instance, and leave it when it fails.

use http::header::SET_COOKIE;
use serde_json::json;
use testkit::{Answer, Client, Instance, get};

use super::rig::{IN_MEMORY, Registrar, instances, members, serving, until};
use crate::support::{Config, Front, Running, nobody};

fn router(sticky: &str) -> Running {
    // An algorithm that would never stay by itself.
    let services = format!("{{ \"*\": {{ balance: round_robin, sticky: {sticky} }} }}");
    Config::new().set("registries", IN_MEMORY).set("services", &services).start()
}

async fn register(router: &Running, all: &[Instance]) -> Registrar {
    let registrar = Registrar::of(router).await;
    for instance in all {
        registrar.register("pets", instance).await;
    }
    let mut names: Vec<_> = all.iter().map(Instance::name).collect();
    names.sort_unstable();
    serving(router, "pets", &names).await;
    registrar
}

async fn ask(client: &Client, headers: &[(&str, &str)]) -> Answer {
    let headers: Vec<_> = headers.iter().copied().chain([("service_id", "pets")]).collect();
    let answer = client.send(get("/", &headers)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn instance(answer: &Answer) -> String {
    answer.json()["instance"].as_str().expect("an instance").to_owned()
}

/// The cookie an answer sets, as a request carries it, and its attributes.
fn cookie(answer: &Answer) -> Option<(String, String)> {
    let line = answer.headers.get(SET_COOKIE)?.to_str().unwrap();
    let (pair, attributes) = line.split_once("; ").unwrap();
    Some((pair.to_owned(), attributes.to_owned()))
}

#[tokio::test]
async fn a_client_stays_where_its_cookie_says() {
    let router = router("{ cookie: pets, ttl: 1h }");
    let all = instances(&["a", "b", "c"]).await;
    let _registrar = register(&router, &all).await;
    for front in Front::ALL {
        let client = router.client(front).await;
        let first = ask(&client, &[]).await;
        let (pair, attributes) = cookie(&first).expect("a cookie");
        let secure = if front.is_tls() { "; Secure" } else { "" };
        assert_eq!(attributes, format!("Path=/; Max-Age=3600; SameSite=Lax; HttpOnly{secure}"), "{front:?}");
        let token = pair.strip_prefix("pets=").expect("its name");
        assert_eq!(members(&router, "pets").await[&instance(&first)]["sticky"], token);
        for _ in 0..10 {
            let again = ask(&client, &[("cookie", &format!("x=1; {pair}; y=2"))]).await;
            assert_eq!((instance(&again), cookie(&again)), (instance(&first), None), "{front:?}");
        }
        // Without it every turn comes, and each answer says where to stay.
        let others = [ask(&client, &[]).await, ask(&client, &[]).await, ask(&client, &[("cookie", "pets=xyz")]).await];
        let mut met: Vec<_> = others.iter().map(instance).collect();
        met.sort();
        assert_eq!(met, ["a", "b", "c"]);
        assert!(others.iter().all(|answer| cookie(answer).is_some()));
    }
}

/// Traefik 7886, 5177.
#[tokio::test]
async fn a_client_leaves_an_instance_that_left_or_cannot_be_reached() {
    let router = router("{ cookie: pets }");
    let mut all = instances(&["a", "b", "c"]).await;
    let registrar = register(&router, &all).await;
    let client = router.client(Front::H2c).await;
    let first = ask(&client, &[]).await;
    let (mut pair, _) = cookie(&first).unwrap();
    let mut home = instance(&first);

    registrar.deregister("pets", all.iter().find(|i| i.name() == home).unwrap()).await;
    all.retain(|instance| instance.name() != home);
    let mut names: Vec<_> = all.iter().map(Instance::name).collect();
    names.sort_unstable();
    serving(&router, "pets", &names).await;
    let moved = ask(&client, &[("cookie", &pair)]).await;
    (pair, _) = cookie(&moved).expect("a new cookie");
    assert_ne!(instance(&moved), home);
    home = instance(&moved);
    assert_eq!(instance(&ask(&client, &[("cookie", &pair)]).await), home);

    // Where nobody listens: the request itself finds out, and succeeds elsewhere.
    let dead = nobody().await;
    let body = json!({ "name": "pets", "id": "dead", "ip": dead.ip(), "port": dead.port(), "ttl": "none" });
    assert_eq!(registrar.ask("register", &body).await.status, 200);
    until(&router, "pets", "it is listed", |now| now.contains_key("dead")).await;
    let token = members(&router, "pets").await["dead"]["sticky"].as_str().unwrap().to_owned();
    let moved = ask(&client, &[("cookie", &format!("pets={token}"))]).await;
    let (pair, _) = cookie(&moved).expect("a new cookie");
    let stays = ask(&client, &[("cookie", &pair)]).await;
    assert_eq!((instance(&stays), cookie(&stays)), (instance(&moved), None));
    // It rests: asked for again, it is not even tried.
    ask(&client, &[("cookie", &format!("pets={token}"))]).await;
    assert_eq!(members(&router, "pets").await["dead"]["failures"], 1);
}

#[tokio::test]
async fn a_header_does_it_too_and_a_secret_makes_other_values_that_all_routers_share() {
    let all = instances(&["a", "b", "c"]).await;
    let mut tokens = Vec::new();
    for sticky in ["{ header: x-home }", "{ header: x-home, secret: s3cret }", "{ header: x-home, secret: s3cret }"] {
        let router = router(sticky);
        let _registrar = register(&router, &all).await;
        let client = router.client(Front::H1).await;
        let first = ask(&client, &[]).await;
        let token = first.headers["x-home"].to_str().unwrap().to_owned();
        assert_eq!(first.headers.get(SET_COOKIE), None);
        for _ in 0..6 {
            let again = ask(&client, &[("x-home", &token)]).await;
            assert_eq!((instance(&again), again.headers.get("x-home")), (instance(&first), None));
        }
        tokens.push(members(&router, "pets").await["a"]["sticky"].as_str().unwrap().to_owned());
    }
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(tokens[1], tokens[2], "two routers");
}

/// Who knows an instance's id can make its value, as long as there is no secret in it.
#[tokio::test]
async fn a_value_that_a_client_made_up_opens_nothing_that_is_closed() {
    let all = instances(&["a", "closed", "spare"]).await;
    let more = [json!({}), json!({ "weight": 0 }), json!({ "metadata": { "priority": "1" } })];
    for (sticky, met) in
        [("{ header: x-home }", ["a", "a"]), ("{ header: x-home, secret: s3cret }", ["closed", "spare"])]
    {
        let router = router(sticky);
        let registrar = Registrar::of(&router).await;
        for (instance, more) in all.iter().zip(&more) {
            registrar.register_as("pets", instance, more.clone()).await;
        }
        serving(&router, "pets", &["a", "closed", "spare"]).await;
        let client = router.client(Front::H2c).await;
        let members = members(&router, "pets").await;
        let token = |name: &str| members[name]["sticky"].as_str().unwrap().to_owned();
        for (name, expected) in ["closed", "spare"].into_iter().zip(met) {
            let answer = ask(&client, &[("x-home", &token(name))]).await;
            assert_eq!(instance(&answer), expected, "{sticky}");
            let told = answer.headers.get("x-home").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(told, (expected != name).then(|| token(expected)), "{sticky}");
        }
    }
}
