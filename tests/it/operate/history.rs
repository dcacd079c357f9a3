//! `pointsman history` asks a running router.

use serde_json::Value;
use testkit::Instance;

use super::process::{Process, finish};
use crate::{
    discover::rig::{IN_MEMORY, Registrar, serving},
    support::Config,
};

#[tokio::test]
async fn what_happened_is_told_with_its_cause_and_followed() {
    let router = Config::new().set("registries", IN_MEMORY).start();
    let registrar = Registrar::of(&router).await;
    let instance = Instance::http().named("one").start().await;
    registrar.register("pets", &instance).await;
    serving(&router, "pets", &["one"]).await;

    let admin = router.admin().to_string();
    let ask = |more: &[&str]| {
        let arguments =
            [&["history", "--admin", &admin], more].concat().iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        tokio::task::spawn_blocking(move || finish(&arguments.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    let told = String::from_utf8(ask(&["--service", "pets"]).await.unwrap().stdout).unwrap();
    let address = instance.addr();
    assert!(told.ends_with(&format!(" added pets by local: one {address}\n")) && told.lines().count() == 1, "{told}");
    let told = ask(&["--json", "--source", "local"]).await.unwrap().stdout;
    let events: Vec<Value> =
        String::from_utf8(told).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(events.iter().map(|e| e["event"].as_str().unwrap()).collect::<Vec<_>>(), ["up", "added"]);

    let folder = tempfile::tempdir().unwrap();
    let follower = Process::start(&["history", "--admin", &admin, "--service", "pets", "--follow"], folder.path());
    testkit::eventually("it tells what was", || follower.printed().len() == 1).await;
    registrar.deregister("pets", &instance).await;
    testkit::eventually("it goes on", || follower.printed().len() == 2).await;
    assert!(follower.printed()[1].contains(" removed pets by local: one "), "{:?}", follower.printed());
}

#[test]
fn where_no_router_is_that_is_said() {
    let output = finish(&["history", "--admin", "127.0.0.1:1"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("no router answers on http://127.0.0.1:1"), "{said}");
}
