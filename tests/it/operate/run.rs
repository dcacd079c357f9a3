//! `pointsman run` and `pointsman demo`, as a person starts them.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    process::Command,
};

use serde_json::Value;
use testkit::{Client, Instance, get};
use tokio::net::TcpStream;

use super::process::{Process, binary, finish};
use crate::{
    discover::rig::{Registrar, admin},
    support::Config,
};

/// Ports of the kernel's choice for what has a fixed one by default.
const ANY: [&str; 6] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--registry", "127.0.0.1:0"];

/// What a pasted command prints, while this runtime goes on serving.
async fn shell(command: String) -> String {
    let run = move || Command::new("sh").args(["-c", &command]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().expect("a shell");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn without_a_file_it_says_so_and_serves_what_registers() {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<_> = ["run"].into_iter().chain(ANY).collect();
    let mut process = Process::start(&arguments, folder.path());
    let reached = process.ready().await;
    process.logs("no configuration: loopback only").await;
    assert!(folder.path().join("data").is_dir(), "registrations are kept beside it");

    let instance = Instance::http().named("one").start().await;
    let registrar = Registrar::at(reached.registry.expect("a registry")).await;
    registrar.register("pets", &instance).await;
    let url = format!("https://{}/", reached.clients[0]);
    let answer = loop {
        let answer = shell(format!("curl -sk -H 'service_id: pets' {url}")).await;
        // The registry answers when the disk has it; the table follows within milliseconds.
        if !answer.contains("no_service") {
            break answer;
        }
    };
    assert!(answer.contains("\"instance\":\"one\""), "{answer}");

    // A second one has no port left, and says so before it does anything.
    let listen = reached.clients[0].to_string();
    let second = finish(&["run", "--listen", &listen, "--admin", "127.0.0.1:0", "--registry", "127.0.0.1:0"]);
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!((second.status.code(), second.stdout.is_empty()), (Some(1), true), "{said}");
    assert!(said.contains(&format!("cannot listen on {listen}")) && said.contains("another program has it"), "{said}");

    process.signal("INT");
    process.signal("INT");
    process.ended().await;
    assert_eq!(process.count("pointsman is ready"), 1, "{:?}", process.logged());
}

/// For what reads them: one stream is the access log and nothing else, the other the log and nothing else.
#[tokio::test]
async fn requests_are_told_on_standard_output_and_all_else_on_standard_error() {
    let instance = Instance::http().start().await;
    let config = Config::new().service("pets", &[instance.url()]).set("drain", "{ delay: 0s }");
    let config = config.set("access_log", "{ format: json }").set("log", "{ format: json }");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.yml");
    std::fs::write(&file, config.yaml()).unwrap();
    let mut process = Process::start(&["run", "--config", file.to_str().unwrap()], folder.path());
    let client = Client::http(process.ready().await.clients[0]).await;
    assert_eq!(client.send(get("/1", &[("service_id", "pets")])).await.status, 200);
    process.signal("TERM");
    process.ended().await;
    process.logs("drained").await;
    testkit::eventually("the request is told", || !process.printed().is_empty()).await;
    let objects = |lines: Vec<String>| -> Vec<Value> {
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    };
    let (printed, logged) = (objects(process.printed()), objects(process.logged()));
    assert_eq!((printed.len(), &printed[0]["path"]), (1, &Value::from("/1")));
    let ready = |line: &&Value| line["message"].as_str().is_some_and(|text| text.starts_with("pointsman is ready: "));
    assert_eq!(logged.iter().filter(ready).count(), 1, "{logged:#?}");
}

#[test]
fn the_defaults_are_loopback_and_the_ports_of_the_manual() {
    use router::control::{Origin, Overrides};
    let settings = Origin::Nothing.load(&Overrides::default()).unwrap();
    assert_eq!(settings.admin.address.to_string(), "127.0.0.1:8401");
    assert!(settings.listeners.is_empty(), "the default listener stands in");
    assert_eq!(router::settings::Listener::default().address.to_string(), "127.0.0.1:8443");
    let discovery::Settings::Embedded(registry) = &settings.registries[0].1 else { panic!("{settings:?}") };
    assert_eq!(registry.address.to_string(), "127.0.0.1:8400");
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_remedy() {
    for (arguments, says) in [
        (&["run", "--config", "no/such.yml"][..], "no/such.yml"),
        (&["run", "--config", "x.yml", "--registry", "127.0.0.1:0"], "cannot be used with"),
        (&["run", "--listen", "8443"], "--listen"),
        (&["run", "--registry", "0.0.0.0:0"], "token"),
        (&["demo", "--registry", "0.0.0.0:0"], "loopback"),
        (&["walk"], "unrecognized subcommand"),
    ] {
        let output = finish(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(says), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn the_demonstration_starts_says_what_to_paste_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<_> = ["demo"].into_iter().chain(ANY).collect();
    let mut process = Process::start(&arguments, folder.path());
    // tests/it/documents pastes the lines; here it is the process that counts.
    testkit::eventually("the tour", || process.printed().iter().any(|line| line.contains("Ctrl-C"))).await;
    let printed = process.printed();
    assert!(printed[0].starts_with("pointsman demo is ready: "), "{printed:#?}");
    let lines = printed.iter().filter(|line| line.starts_with("curl")).count();
    assert!(lines >= 8, "{printed:#?}");
    let line = printed.iter().find(|line| line.contains("service_id: petstore")).unwrap().clone();
    let answer = shell(line).await;
    assert!(answer.contains("\"service\":\"petstore\""), "{answer}");
    process.signal("TERM");
    assert!(process.ended().await.success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn an_address_of_all_families_takes_both() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let instance = Instance::http().start().await;
    let config = Config::new().service("pets", &[instance.url()]).set("listeners", "[ { address: \"[::]:0\" } ]");
    let router = config.start();
    for host in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let client = Client::http(SocketAddr::new(host, router.clear().port())).await;
        let answer = client.send(get("/", &[("service_id", "pets")])).await;
        // As an address of its own family, not as ::ffff:127.0.0.1.
        assert_eq!(answer.echoed_header("x-forwarded-for"), Some(host.to_string()));
    }
}

#[tokio::test]
async fn no_descriptors_left_pauses_accepting_and_no_more() {
    /// Enough to start with, and few enough to use up.
    const DESCRIPTORS: usize = 64;
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::http().start().await;
    let config = Config::new().service("pets", &[instance.url()]);
    let file = folder.path().join("router.yml");
    std::fs::write(&file, config.yaml()).unwrap();
    let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" run --config \"$1\"");
    let process = Process::spawn(Command::new("sh").args(["-c", &limited]).arg(binary()).arg(&file));
    let reached = process.ready().await;
    let early = Client::http(reached.clients[0]).await;
    let ask = || get("/", &[("service_id", "pets")]);
    assert_eq!(early.send(ask()).await.status, 200);

    let mut crowd = Vec::new();
    for _ in 0..2 * DESCRIPTORS {
        crowd.push(TcpStream::connect(reached.clients[0]).await.unwrap());
    }
    process.logs("cannot accept connections; raise the limit of open files").await;
    assert_eq!(early.send(ask()).await.status, 200, "who is in is served");
    drop(crowd);
    let late = Client::http(reached.clients[0]).await;
    assert_eq!(late.send(ask()).await.status, 200);
    let metrics = admin(reached.admin, "/metrics").await.text();
    let paused = metrics.lines().find(|line| line.starts_with("pointsman_accept_paused")).expect("a counter");
    assert!(!paused.ends_with(" 0"), "{paused}");
    assert_eq!(admin(reached.admin, "/health/ready").await.status, 200);
}
