//! Consul killed under load and started again, with its data and with checks that do not pass yet.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use benches::registry::{GUEST, HOST, SERVICE, server::Server};
use bytes::Bytes;
use serde_json::Value;
use testkit::Instance;
use tokio::time::{Instant, interval, sleep};
use transport::client::{Client as Asking, ClientSettings};

use crate::{
    gate::Gate,
    load::{Load, Outcome},
    start_with,
};

/// How long a check passes after a heartbeat: less than Consul is dead, so what it stored has expired by then.
const TTL: &str = "5s";
/// Between heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// How long Consul is there again before the first heartbeat comes.
const LATE: Duration = Duration::from_secs(5);
/// Between looks at Consul, and at the router's table.
const LOOK: Duration = Duration::from_millis(5);
/// For what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds that Consul is dead.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Requests a second.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
}

pub(crate) async fn measure(options: &Options) {
    let consul = Server::start("consul", "server", "CONSUL_URL");
    let gate = Gate::open(consul.address.trim_start_matches("http://").parse().expect("HOST:PORT")).await;
    let direct = asking(&consul.address);
    let instances = [(HOST, Instance::h2c().start().await), (GUEST, Instance::h2c().start().await)];
    for (id, instance) in &instances {
        register(&direct, id, instance.addr()).await;
    }
    let beating = Arc::new(AtomicBool::new(true));
    tokio::spawn(beat(direct.clone(), beating.clone()));
    until("both pass", || async { passing(&direct).await == Some(2) }).await;
    let router = start_with(&format!("consul: {{ url: 'http://{}' }}", gate.address), "");
    let admin = asking(&format!("http://{}", router.addresses().admin.expect("an admin listener")));
    until("both are in first choice", || async { standing(&admin).await == [2, 0] }).await;

    let load = Load::start(router.addresses().clients[0].0, options.rate).await;
    sleep(Duration::from_secs(5)).await;
    beating.store(false, Relaxed);
    let before = gate.calls();
    consul.node("kill");
    sleep(Duration::from_secs(options.seconds)).await;
    let calls = gate.calls() - before;
    let kept = standing(&admin).await[0];
    consul.node("start");
    until("no check passes", || async { passing(&direct).await == Some(0) }).await;
    sleep(LATE).await;
    let meanwhile = standing(&admin).await;
    beating.store(true, Relaxed);
    until("both pass again", || async { passing(&direct).await == Some(2) }).await;
    let passed = Instant::now();
    until("both are in first choice again", || async { standing(&admin).await == [2, 0] }).await;
    let right = passed.elapsed();
    sleep(Duration::from_secs(5)).await;
    let mut outcome = Outcome::default();
    load.end(&mut outcome).await;
    println!("consul    dead for {} s: {outcome}", options.seconds);
    println!("consul    dead: {:.1} calls/s to it, {kept} instances kept", calls as f64 / options.seconds as f64);
    println!("consul    back, no check passes: {} in first choice, {} in last resort", meanwhile[0], meanwhile[1]);
    println!("consul    right {right:.1?} after both passed");
}

fn asking(url: &str) -> Asking {
    Asking::new(ClientSettings::new(url)).expect("http://HOST:PORT")
}

async fn answer(of: &Asking, path: &str) -> Option<Value> {
    let answer = of.get(path, Instant::now() + Duration::from_secs(1)).await.ok()?;
    answer.status.is_success().then(|| serde_json::from_slice(&answer.body).ok()).flatten()
}

async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "{what}: not in time");
        sleep(LOOK).await;
    }
}

/// An instance whose check passes for a while after each heartbeat.
async fn register(consul: &Asking, id: &str, address: SocketAddr) {
    let body = serde_json::json!({ "ID": id, "Name": SERVICE, "Address": address.ip(), "Port": address.port(),
        "Meta": { "protocol": "h2c" }, "Check": { "CheckID": id, "TTL": TTL } });
    let deadline = Instant::now() + PATIENCE;
    let path = "/v1/agent/service/register";
    let done = consul.send(http::Method::PUT, path, body.to_string().into(), deadline).await.expect("Consul answers");
    assert!(done.status.is_success(), "{:?}", done.body);
}

/// Sends the heartbeats of both.
async fn beat(consul: Asking, beating: Arc<AtomicBool>) {
    let mut ticks = interval(BEAT);
    loop {
        ticks.tick().await;
        for id in [HOST, GUEST] {
            if beating.load(Relaxed) {
                let path = format!("/v1/agent/check/pass/{id}");
                // Consul may be dead.
                consul.put(&path, Bytes::new(), Instant::now() + BEAT).await.ok();
            }
        }
    }
}

/// Instances that pass, as Consul says, if it says anything of them.
async fn passing(consul: &Asking) -> Option<usize> {
    let list = answer(consul, &format!("/v1/health/service/{SERVICE}")).await?;
    let all = list.as_array().filter(|all| all.len() == 2)?;
    let passes =
        |entry: &&Value| entry["Checks"].as_array().is_some_and(|all| all.iter().all(|one| one["Status"] == "passing"));
    Some(all.iter().filter(passes).count())
}

/// Instances that the router chooses from, and those it keeps for want of others.
async fn standing(admin: &Asking) -> [usize; 2] {
    let service = answer(admin, &format!("/table/{SERVICE}")).await.unwrap_or_default();
    let all = service["members"].as_array().cloned().unwrap_or_default();
    ["serving", "resort"].map(|standing| all.iter().filter(|member| member["standing"] == standing).count())
}
