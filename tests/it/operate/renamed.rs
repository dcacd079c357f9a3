//! An embedded registry that gets another name under load.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use testkit::{Client, get};

use crate::{
    discover::rig::{Load, Registrar, instances, serving},
    support::{Config, Front, Running},
};

/// An address nobody listens on now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn replace(router: &Running, yaml: &str) {
    let settings = settings::parse(yaml, Path::new("router.yml"), &|_| None).unwrap();
    router.router.replace(settings).await.unwrap_or_else(|error| panic!("{error}"));
}

/// Takes an address if it is free for a moment.
struct Thief(Arc<AtomicBool>, thread::JoinHandle<bool>);

impl Thief {
    fn of(address: SocketAddr) -> Self {
        let over = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&over);
        let steals = move || {
            while !seen.load(Ordering::SeqCst) {
                if TcpListener::bind(address).is_ok() {
                    return true;
                }
                thread::sleep(Duration::from_millis(1));
            }
            false
        };
        Self(over, thread::spawn(steals))
    }

    fn stole(self) -> bool {
        self.0.store(true, Ordering::SeqCst);
        self.1.join().unwrap()
    }
}

#[tokio::test]
async fn a_registry_that_gets_another_name_costs_no_request_and_its_address_is_never_free() {
    let api = free();
    let registry = format!("{{ local: {{ embedded: {{ address: \"{api}\", directory: null }} }} }}");
    let config = Config::new().set("registries", &registry).set("services", "{ \"*\": { warm_hold: off } }");
    let yaml = config.yaml();
    let router = config.start();
    let all = instances(&["red"]).await;
    Registrar::at(api).await.register("pets", &all[0]).await;
    serving(&router, "pets", &["red"]).await;
    let load = Load::start(&router, &[Front::H1, Front::H2c], "pets").await;
    load.more(20).await;
    // A long poll is in hand, so that the API needs its time to end.
    let poll = Client::http(api).await;
    let poll =
        tokio::spawn(async move { poll.try_send(get("/registry/services/pets?index=9999&wait=60s", &[])).await });
    let thief = Thief::of(api);
    for name in ["other", "local", "other"] {
        replace(&router, &yaml.replace("local:", &format!("{name}:"))).await;
        load.more(20).await;
        assert_eq!(router.router.current_addresses().await.registries, [(name.to_owned(), api)]);
        let answer = Client::http(api).await.send(get("/registry/services/pets", &[])).await;
        assert!(answer.text().contains("red"), "{}", answer.text());
    }
    assert!(!thief.stole(), "its address was free for a moment");
    load.end().await;
    poll.abort();
}
