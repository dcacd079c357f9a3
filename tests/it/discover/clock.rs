//! A clock that jumps, and what a whole router makes of the ages of what it remembers: a process of its own, whose time of
//! day the test chooses.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use testkit::{Client, Instance, eventually, get, until};

use super::rig::admin;
use crate::{
    faults::weather::{DAY, Weather},
    operate::process::{Process, Reached, binary},
    support::Config,
};

const DAYS: i64 = DAY.as_secs().cast_signed();

/// A folder with a router's configuration, and a list of one instance in `lists`.
async fn stage(more: &str) -> (tempfile::TempDir, Weather, Instance) {
    let (folder, instance) = (tempfile::tempdir().unwrap(), Instance::http().start().await);
    let config = Config::new()
        .set("listeners", "[ { address: 127.0.0.1:0 } ]")
        .set("registries", "{ lists: { file: { path: lists } } }")
        .set("discovery", "{ directory: memory }")
        .set("services", &format!("{{ pets: {{ {more} }} }}"))
        .set("expose", "{ service: pets }");
    fs::write(folder.path().join("router.yml"), config.yaml()).unwrap();
    list(folder.path(), &instance);
    let weather = Weather::new(folder.path());
    (folder, weather, instance)
}

fn list(folder: &Path, instance: &Instance) {
    fs::create_dir_all(folder.join("lists")).unwrap();
    fs::write(folder.join("lists/a.yml"), format!("services: {{ pets: [ {:?} ] }}", instance.url())).unwrap();
}

fn start(folder: &Path, weather: &Weather) -> Process {
    let mut command = Command::new(binary());
    weather.over(&mut command);
    Process::spawn(command.args(["run", "--config", "router.yml"]).current_dir(folder))
}

async fn status(reached: &Reached) -> u16 {
    let client = Client::http(reached.clients[0]).await;
    client.send(get("/", &[("service_id", "pets")])).await.status.as_u16()
}

async fn table(reached: &Reached) -> Value {
    admin(reached.admin, "/table/pets").await.json()
}

async fn source(reached: &Reached) -> Value {
    admin(reached.admin, "/table").await.json()["sources"][0].clone()
}

/// Knows the instance, writes it down, and is killed when the registry has been gone for a moment.
async fn lived(folder: &Path, weather: &Weather) {
    let router = start(folder, weather);
    let reached = router.ready().await;
    until("it serves", async || status(&reached).await, |status| *status == 200).await;
    fs::remove_dir_all(folder.join("lists")).unwrap();
    until("the registry is gone", async || source(&reached).await, |source| source["state"] == "down").await;
    let file = folder.join("memory/last-known-good");
    eventually("it is on disk", || fs::read_to_string(&file).is_ok_and(|text| text.contains("confirmed"))).await;
}

/// For how long a list that nobody renews may be used is said by its owner.
///
/// Envoy 6420.
#[tokio::test]
async fn a_word_of_the_future_or_of_long_ago_is_too_old_and_one_of_a_moment_ago_is_not() {
    // By which clock the word was written, by which it is read, and what becomes of the request.
    for (written, read, answer) in [(0, 0, 200), (DAYS, 0, 503), (0, 1000 * DAYS, 503), (0, -DAYS, 503)] {
        let (folder, weather, instance) = stage("max_stale: { after: 10m, action: refuse }").await;
        weather.clock(written);
        lived(folder.path(), &weather).await;
        weather.clock(read);
        let router = start(folder.path(), &weather);
        let reached = router.ready().await;
        assert_eq!(status(&reached).await, answer, "written at {written}, read at {read}");
        let told = router.logged().iter().any(|line| line.contains("the clock was set back"));
        assert_eq!(told, written > read, "{:#?}", router.logged());
        // What is too old is so until the registry speaks.
        list(folder.path(), &instance);
        until("the registry speaks", async || source(&reached).await, |source| source["state"] == "live").await;
        until("it serves", async || status(&reached).await, |status| *status == 200).await;
    }
}

#[tokio::test]
async fn within_one_life_the_time_of_day_ages_nothing() {
    let (folder, weather, _instance) = stage("max_stale: { after: 10m, action: refuse }").await;
    let router = start(folder.path(), &weather);
    let reached = router.ready().await;
    until("it serves", async || status(&reached).await, |status| *status == 200).await;
    fs::remove_dir_all(folder.path().join("lists")).unwrap();
    until("the registry is gone", async || source(&reached).await, |source| source["state"] == "down").await;
    for ahead in [DAYS, 1000 * DAYS, -DAYS, 0] {
        weather.clock(ahead);
        assert_eq!(status(&reached).await, 200, "{ahead}");
        let age = table(&reached).await["age_s"].as_u64().unwrap();
        assert!(age < 600, "{ahead}: {age}");
    }
}
