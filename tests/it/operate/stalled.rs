//! Files that cannot be read at the moment, as on a network file system that lost its server: a named pipe that nobody
//! writes to hangs whoever opens it.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    process::Command,
    sync::mpsc,
    time::Duration,
};

use testkit::{Client, bounded, eventually, get};

use super::process::Process;
use crate::{
    discover::rig::{admin, instances, serving},
    support::{Config, Front, Running},
};

/// Puts a pipe in the place of what is there, in one step.
pub(crate) fn hang(file: &Path) {
    let pipe = file.with_extension("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::rename(pipe, file).unwrap();
}

/// Puts a file in the place of a pipe. Whoever opened the pipe reads the same of it.
pub(crate) fn heal(pipe: &Path, text: &str) {
    let mut both = OpenOptions::new().read(true).write(true).open(pipe).unwrap();
    both.write_all(text.as_bytes()).unwrap();
    let file = pipe.with_extension("file");
    fs::write(&file, text).unwrap();
    fs::rename(file, pipe).unwrap();
    drop(both);
}

/// What the admin listener says of a source: its state, and why.
async fn source(router: &Running, name: &str) -> (String, String) {
    let sources = bounded("the admin listener answers", admin(router.admin(), "/sources")).await.json();
    let found = sources.as_array().unwrap().iter().find(|source| source["name"] == name).unwrap().clone();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("error"))
}

/// Waits until a source's error is as wanted.
async fn says(router: &Running, name: &str, wanted: impl Fn(&str) -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let (_, error) = source(router, name).await;
        if wanted(&error) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "{name} says {error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn files_that_hang_are_the_fault_of_their_source_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (lists, token) = (folder.path().join("lists"), folder.path().join("token"));
    fs::create_dir(&lists).unwrap();
    fs::write(&token, "t").unwrap();
    hang(&token);
    let all = instances(&["one", "two", "three"]).await;
    let list = |at: usize| format!("services: {{ pets: [ {{ url: {:?}, id: {} }} ] }}", all[at].url(), all[at].name());
    fs::write(lists.join("a.yml"), list(0)).unwrap();
    let config = |more: &str| {
        let fixed = format!("{{ cats: [ {{ url: {:?}, id: two }} ]{more} }}", all[1].url());
        let sources = format!(
            "{{ agent: {{ consul: {{ url: 'http://127.0.0.1:1', token: {{ file: {token:?} }} }} }}, \
             lists: {{ file: {{ path: {lists:?} }} }}, fixed: {{ static: {{ services: {fixed} }} }} }}"
        );
        Config::new().set("registries", &sources)
    };
    let router = config("").start();
    serving(&router, "cats", &["two"]).await;
    serving(&router, "pets", &["one"]).await;
    says(&router, "agent", |error| error.contains("stalls")).await;

    fs::write(lists.join("b.new"), list(2)).unwrap();
    hang(&lists.join("b.new"));
    fs::rename(lists.join("b.new"), lists.join("b.yml")).unwrap();
    says(&router, "lists", |error| error.contains("stalls") && error.contains("lists")).await;
    assert_eq!(source(&router, "lists").await.0, "down");
    assert_eq!(source(&router, "fixed").await.0, "live");
    // What it said last stands, and everything else goes on.
    serving(&router, "pets", &["one"]).await;
    let more = config(&format!(", dogs: [ {{ url: {:?}, id: three }} ]", all[2].url()));
    let more = settings::parse(&more.yaml(), "next.yml".as_ref(), &|_| None).unwrap();
    bounded("a reload", router.router.replace(more)).await.unwrap();
    serving(&router, "dogs", &["three"]).await;

    heal(&lists.join("b.yml"), &list(2));
    serving(&router, "pets", &["one", "three"]).await;
    assert_eq!(source(&router, "lists").await.0, "live");
    heal(&token, "t");
    says(&router, "agent", |error| error.contains("cannot reach")).await;
}

#[tokio::test]
async fn a_certificate_that_hangs_refuses_the_reload_and_nothing_else() {
    let [one] = <[_; 1]>::try_from(instances(&["one"]).await).unwrap();
    let config = Config::new().service("pets", &[one.url()]);
    let own = config.certs().issue(&["localhost"]);
    let (chain, key) = (fs::read_to_string(&own.chain).unwrap(), &own.key);
    let listeners = format!(
        "[ {{ address: 127.0.0.1:0 }}, {{ address: 127.0.0.1:0, tls: {{ certificates: [ {{ chain: {:?}, key: {key:?} }} ] }} }} ]",
        own.chain
    );
    let router = config.set("listeners", &listeners).start();
    let client = router.client(Front::H2Tls).await;
    hang(&own.chain);
    let asking = async {
        loop {
            assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
            assert_eq!(Client::http(router.admin()).await.send(get("/health/live", &[])).await.status, 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let refused = tokio::select! {
        refused = bounded("a reload ends", router.router.reload()) => refused.unwrap_err().to_string(),
        _ = asking => unreachable!("it has no end"),
    };
    assert!(refused.contains("stalls"), "{refused}");
    router.client(Front::H2Tls).await;
    heal(&own.chain, &chain);
    bounded("the next reload", async { while router.router.reload().await.is_err() {} }).await;
}

#[tokio::test]
async fn a_router_ends_though_a_file_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("a.yml");
    fs::write(&list, "services: {}").unwrap();
    hang(&list);
    let sources = format!("{{ lists: {{ file: {{ path: {:?} }} }} }}", folder.path());
    let router = Config::new().set("registries", &sources).start();
    says(&router, "lists", |error| error.contains("stalls")).await;
    let (ended, over) = mpsc::channel();
    std::thread::spawn(move || {
        drop(router);
        ended.send(()).ok();
    });
    eventually("the router ends", || over.try_recv().is_ok()).await;
}

/// Starts a verb with a file that hangs, and waits until it says so.
async fn waiting(verb: &str, folder: &Path) -> Process {
    let file = folder.join("router.yml");
    fs::write(&file, "").unwrap();
    hang(&file);
    let process = Process::start(&[verb, "--config", "router.yml"], folder);
    process.logs("still reading router.yml").await;
    process
}

#[tokio::test]
async fn a_start_that_waits_for_its_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let process = waiting("run", folder.path()).await;
    assert_eq!(process.count("is ready"), 0);
    let config = Config::new();
    heal(&folder.path().join("router.yml"), &config.yaml());
    process.ready().await;
}

#[tokio::test]
async fn a_check_that_waits_for_its_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    waiting("check", folder.path()).await;
}
