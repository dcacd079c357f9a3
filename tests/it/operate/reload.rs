//! Files that change under a running router.

use std::{fs, os::unix::fs::symlink, path::Path};

use router::{
    Router, Start,
    control::{Origin, Overrides},
};
use testkit::{Client, Instance, eventually, get};

use super::process::Process;
use crate::{discover::rig::Load, support::Config};

/// A configuration that sends `/x` to the service `to`, one of two.
struct Rules {
    config: Config,
}

impl Rules {
    fn new(instances: &[Instance; 2]) -> Self {
        let listed = |config: Config, instance: &Instance| config.service(instance.name(), &[instance.url()]);
        Self { config: instances.iter().fold(Config::new().set("drain", "{ delay: 0s }"), listed) }
    }

    fn to(&self, service: &str) -> String {
        format!("{}routes:\n  - {{ prefix: /x, service: {service} }}\n", self.config.yaml())
    }
}

async fn two() -> [Instance; 2] {
    [Instance::h2c().named("red").start().await, Instance::http().named("blue").start().await]
}

/// Puts the file in the place of the old one in one step, as editors and agents do.
fn replace(file: &Path, text: &str) {
    let staged = file.with_extension("next");
    fs::write(&staged, text).unwrap();
    fs::rename(&staged, file).unwrap();
}

fn start(file: &Path) -> Router {
    let origin = Origin::File(file.to_owned());
    Router::start(Start { origin, overrides: Overrides::default(), log: None }).unwrap_or_else(|e| panic!("{e}"))
}

/// Clients over both protocols that ask for `/x` without pause.
async fn load(address: std::net::SocketAddr) -> Load {
    Load::asking(vec![Client::http(address).await, Client::h2c(address).await], "/x", &[])
}

/// Waits until `there` gets all requests, and no other.
async fn moved(load: &Load, there: &Instance, other: &Instance) {
    let before = there.counts().requests();
    eventually("requests follow the new route", || there.counts().requests() > before).await;
    load.more(20).await; // whatever began under the old plan is over
    let left = other.counts().requests();
    load.more(50).await;
    assert_eq!(other.counts().requests(), left, "all follow it, on every connection");
}

#[tokio::test]
async fn a_changed_file_moves_routes_under_load() {
    let [red, blue] = two().await;
    let folder = tempfile::tempdir().unwrap();
    let instances = [red, blue];
    let rules = Rules::new(&instances);
    let [red, blue] = &instances;
    let file = folder.path().join("router.yml");
    fs::write(&file, rules.to("red")).unwrap();
    let router = start(&file);
    let load = load(router.addresses().clients[0].0).await;
    moved(&load, red, blue).await;
    replace(&file, &rules.to("blue"));
    moved(&load, blue, red).await;
    // Written in place, too.
    fs::write(&file, rules.to("red")).unwrap();
    moved(&load, red, blue).await;
    load.end().await;
}

#[tokio::test]
async fn a_swap_of_symlinks_is_a_change_as_a_mounted_config_map_makes_it() {
    let instances = two().await;
    let (rules, [red, blue]) = (Rules::new(&instances), &instances);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (version, service) in [("v1", "red"), ("v2", "blue")] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("router.yml"), rules.to(service)).unwrap();
    }
    symlink("v1", path("..data")).unwrap();
    symlink("..data/router.yml", path("router.yml")).unwrap();
    let router = start(&path("router.yml"));
    let load = load(router.addresses().clients[0].0).await;
    moved(&load, red, blue).await;
    symlink("v2", path("..next")).unwrap();
    fs::rename(path("..next"), path("..data")).unwrap();
    moved(&load, blue, red).await;
    load.end().await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_the_log_says_where_it_is_wrong() {
    let instances = two().await;
    let (rules, [red, blue]) = (Rules::new(&instances), &instances);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.yml");
    fs::write(&file, rules.to("red")).unwrap();
    let process = Process::start(&["run", "--config", file.to_str().unwrap()], folder.path());
    let reached = process.ready().await;
    let load = load(reached.clients[0]).await;
    moved(&load, red, blue).await;

    let bad = format!("{}zones: a\n", rules.to("blue").replace("prefix: /x", "prefx: /x"));
    let line = 1 + bad.lines().position(|line| line.contains("prefx")).unwrap();
    replace(&file, &bad);
    process.logs(&format!("{}:{line}:7:", file.display())).await;
    let told = process.logged().into_iter().find(|line| line.contains("prefx")).unwrap();
    assert!(told.contains("ERROR") && told.contains("the old one goes on"), "{told}");
    assert!(told.contains("did you mean \"prefix\"?"), "{told}");
    process.logs("did you mean \"zone\"?").await;
    assert_eq!(process.count("the old one goes on"), 2, "a line for each mistake: {:#?}", process.logged());
    moved(&load, red, blue).await;

    // One that cannot be followed for another reason: its level does not count either.
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = rules.to("blue") + "log: { level: off }\n";
    let line = deaf.lines().find(|line| line.starts_with("listeners:")).unwrap();
    let taken = format!("listeners: [ {{ address: \"{}\" }} ]", holder.local_addr().unwrap());
    replace(&file, &deaf.replace(line, &taken));
    process.logs("another program has it").await;
    moved(&load, red, blue).await;

    replace(&file, &rules.to("blue"));
    moved(&load, blue, red).await;
    // By hand: also what did not change is read anew.
    let before = process.count("configuration reloaded");
    process.signal("HUP");
    process.logs_times("configuration reloaded", before + 1).await;
    load.more(50).await;
    load.end().await;
}

#[tokio::test]
async fn listeners_come_and_go_without_touching_others() {
    let instances = two().await;
    let rules = Rules::new(&instances);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.yml");
    let listening = |listeners: &str| {
        let text = rules.to("red");
        let line = text.lines().find(|line| line.starts_with("listeners:")).unwrap();
        text.replace(line, &format!("listeners: [ {listeners} ]"))
    };
    let (one, two) = ("{ address: 127.0.0.1:0 }", "{ address: 127.0.0.1:0 }, { address: \"127.0.0.2:0\" }");
    fs::write(&file, listening(one)).unwrap();
    let router = start(&file);
    let first = router.addresses().clients[0].0;
    let load = load(first).await;
    load.more(20).await;

    fs::write(&file, listening(two)).unwrap();
    router.reload().await.unwrap();
    let now = router.current_addresses().await.clients;
    assert_eq!((now.len(), now[0].0), (2, first));
    let client = Client::http(now[1].0).await;
    assert_eq!(client.send(get("/x", &[])).await.status, 200);

    // One that cannot be had: nothing of the file counts.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = std::net::TcpListener::bind(taken).unwrap();
    let wrong = listening(&format!("{one}, {{ address: \"{taken}\" }}")).replace("service: red", "service: blue");
    fs::write(&file, wrong).unwrap();
    let error = router.reload().await.unwrap_err().to_string();
    assert!(error.contains(&taken.to_string()) && error.contains("another program has it"), "{error}");
    assert_eq!(router.current_addresses().await.clients, now);
    assert_eq!(client.send(get("/x", &[])).await.json()["instance"], "red");
    drop(holder);

    fs::write(&file, listening(one)).unwrap();
    router.reload().await.unwrap();
    assert_eq!(router.current_addresses().await.clients.len(), 1);
    eventually("nobody listens there", || std::net::TcpStream::connect(now[1].0).is_err()).await;
    assert_eq!(client.send(get("/x", &[])).await.status, 200, "who was connected stays");
    load.more(20).await;
    load.end().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_had_changes_nothing() {
    let all = two().await;
    let rules = Rules::new(&all);
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let taken = std::net::TcpListener::bind(busy).unwrap();
    let read = |text: &str| settings::parse(text, Path::new("router.yml"), &|_| None).unwrap();
    let origin = Origin::Given(Box::new(read(&rules.to("red"))));
    let router = Router::start(Start { origin, overrides: Overrides::default(), log: None }).unwrap();
    let admin = router.addresses().admin.unwrap();
    let (client, _) = router.addresses().clients[0];
    let lines = rules.to("blue").lines().filter(|line| !line.starts_with("admin:")).collect::<Vec<_>>().join("\n");
    let error = router.replace(read(&format!("{lines}\nadmin: {{ address: \"{busy}\" }}\n"))).await.unwrap_err();
    assert!(error.to_string().contains("another program has it"), "{error}");
    let answer = Client::http(client).await.send(get("/x", &[])).await;
    assert_eq!(answer.json()["instance"], "red", "the old route goes on");
    assert_eq!(Client::http(admin).await.send(get("/health/live", &[])).await.status, 200);
    drop(taken);
}
