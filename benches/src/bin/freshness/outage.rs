//! Consul killed under load and started again, with its data and with checks that do not pass yet.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use benches::{
    Spread,
    registry::{GUEST, HOST, SERVICE, server::Server},
};
use serde_json::Value;
use testkit::{Client, Instance, get};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use transport::client::{Client as Asking, ClientSettings};

use crate::start_with;

/// Of the load; each carries many requests at once.
const CONNECTIONS: usize = 8;
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
    until("both pass", || async { passing(&direct).await == 2 }).await;
    let router = start_with(&format!("consul: {{ url: 'http://{}' }}", gate.address), "");
    let admin = asking(&format!("http://{}", router.addresses().admin.expect("an admin listener")));
    until("both are in first choice", || async { chosen(&admin).await == 2 }).await;

    let load = Load::start(router.addresses().clients[0].0, options.rate).await;
    sleep(Duration::from_secs(5)).await;
    let before = gate.calls.load(Relaxed);
    consul.node("kill");
    sleep(Duration::from_secs(options.seconds)).await;
    let calls = gate.calls.load(Relaxed) - before;
    let kept = chosen(&admin).await;
    consul.node("start");
    until("Consul answers", || async { answer(&direct, "/v1/health/service/freshness").await.is_some() }).await;
    let first = passing(&direct).await;
    until("both pass again", || async { passing(&direct).await == 2 }).await;
    let passed = Instant::now();
    until("both are in first choice again", || async { chosen(&admin).await == 2 }).await;
    let right = passed.elapsed();
    sleep(Duration::from_secs(5)).await;
    let (sent, errors, times) = load.end().await;
    println!("consul    dead for {} s: {sent} requests, {errors} errors; {times}", options.seconds);
    println!("consul    dead: {:.1} calls/s to it, {kept} instances kept", calls as f64 / options.seconds as f64);
    println!("consul    back: {first} of 2 checks passed at first; right {right:.0?} after both did");
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

/// A service whose check takes a second or two to pass after Consul has started.
async fn register(consul: &Asking, id: &str, address: SocketAddr) {
    let body = serde_json::json!({ "ID": id, "Name": SERVICE, "Address": address.ip(), "Port": address.port(),
        "Meta": { "protocol": "h2c" }, "Check": { "TCP": address.to_string(), "Interval": "2s" } });
    let deadline = Instant::now() + PATIENCE;
    let path = "/v1/agent/service/register";
    let done = consul.send(http::Method::PUT, path, body.to_string().into(), deadline).await.expect("Consul answers");
    assert!(done.status.is_success(), "{:?}", done.body);
}

/// Instances that pass, as Consul says.
async fn passing(consul: &Asking) -> usize {
    let list = answer(consul, &format!("/v1/health/service/{SERVICE}?passing")).await;
    list.as_ref().and_then(Value::as_array).map_or(0, Vec::len)
}

/// Instances that the router chooses from.
async fn chosen(admin: &Asking) -> usize {
    let service = answer(admin, &format!("/table/{SERVICE}")).await.unwrap_or_default();
    let all = service["members"].as_array().cloned().unwrap_or_default();
    all.iter().filter(|member| member["standing"] == "serving").count()
}

/// The way to Consul, that counts how often it is taken. While Consul is dead, whoever comes is sent away.
struct Gate {
    address: SocketAddr,
    calls: Arc<AtomicU64>,
}

impl Gate {
    async fn open(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let (address, calls) = (listener.local_addr().expect("bound"), Arc::<AtomicU64>::default());
        let count = calls.clone();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                tokio::spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(to).await {
                        copy_bidirectional(&mut from, &mut to).await.ok();
                    }
                });
            }
        });
        Self { address, calls }
    }
}

/// Requests at a steady rate, whatever becomes of those before.
struct Load {
    task: JoinHandle<()>,
    answers: Arc<Mutex<JoinSet<(bool, Duration)>>>,
}

impl Load {
    async fn start(router: SocketAddr, rate: u32) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(Arc::new(Client::h2c(router).await));
        }
        let answers = Arc::<Mutex<JoinSet<_>>>::default();
        let (asked, mut ticks) = (answers.clone(), interval(Duration::from_secs(1) / rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let task = tokio::spawn(async move {
            for client in clients.iter().cycle() {
                ticks.tick().await;
                let (client, begun) = (client.clone(), Instant::now());
                let one = async move { (client.send(get("/", &[])).await.status.is_success(), begun.elapsed()) };
                asked.lock().await.spawn(one);
            }
        });
        Self { task, answers }
    }

    /// Requests, errors, and the times of all.
    async fn end(self) -> (usize, usize, Spread) {
        self.task.abort();
        let (mut sent, mut errors, mut times) = (0, 0, Spread::default());
        let mut answers = self.answers.lock().await;
        while let Some(done) = answers.join_next().await {
            let (good, took) = done.unwrap_or_default();
            (sent, errors) = (sent + 1, errors + usize::from(!good));
            times.add(took);
        }
        (sent, errors, times)
    }
}
