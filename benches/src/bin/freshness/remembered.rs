//! From the start of the program to the first answer, while its registry is silent: from the last known good.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use benches::{
    registry::{Etcd, HOST, Many, Registry, SERVICE, name},
    spread::Spread,
};
use testkit::Instance;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

use crate::gate::Gate;

/// Between looks.
const LOOK: Duration = Duration::from_millis(1);
/// For what has to come.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What is remembered beside the service that is asked for.
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    /// Of each service.
    #[arg(long, default_value_t = 10)]
    instances: usize,
    /// Starts that are measured.
    #[arg(long, default_value_t = 20)]
    starts: u32,
}

/// A router in a process of its own, as it is started for real.
struct Life(Child);

impl Life {
    fn begin(file: &Path) -> Self {
        let child = Command::new(program()).args(["run", "--config"]).arg(file).stderr(Stdio::null()).spawn();
        Self(child.expect("the program that is beside this one: cargo build --release -p router"))
    }

    /// Ends it as operators do, so that it writes what it remembers.
    async fn end(mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        assert!(asked.is_ok_and(|status| status.success()), "it is there");
        while self.0.try_wait().expect("a child").is_none() {
            sleep(LOOK).await;
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // Nothing is left of it if it has ended.
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}

fn program() -> PathBuf {
    std::env::current_exe().expect("a path").with_file_name("pointsman")
}

pub(crate) async fn measure(options: &Options) {
    let (etcd, host) = (Etcd::start(), Instance::h2c().start().await);
    let gate = Gate::open(etcd.address()).await;
    etcd.register(HOST, host.addr()).await;
    etcd.fill(options.services, options.instances).await;
    let folder = tempfile::tempdir().expect("a folder");
    let [listener, admin] = [free().await, free().await];
    let file = folder.path().join("router.yml");
    fs::write(&file, settings(&etcd, &gate, folder.path(), listener, admin)).expect("a file");

    let first = Life::begin(&file);
    let last = options.services.checked_sub(1).map_or_else(|| SERVICE.to_owned(), name);
    until(admin, &format!("/table/{last}")).await;
    until(listener, "/").await;
    first.end().await;
    gate.cut();
    let mut spread = Spread::default();
    for _ in 0..options.starts {
        let begun = Instant::now();
        let life = Life::begin(&file);
        until(listener, "/").await;
        spread.add(begun.elapsed());
        life.end().await;
    }
    println!("etcd      remembered, {} x {}: start to first answer {spread}", options.services, options.instances);
}

fn settings(etcd: &Etcd, gate: &Gate, folder: &Path, listener: SocketAddr, admin: SocketAddr) -> String {
    let section = etcd.section().replace(&etcd.address().to_string(), &gate.address.to_string());
    format!(
        "listeners: [{{ address: '{listener}' }}]\nadmin: {{ address: '{admin}' }}\n\
         registries: {{ measured: {{ {section} }} }}\nroutes: [{{ prefix: /, service: {SERVICE} }}]\n\
         expose: {{ service: [ 'many-*' ] }}\naccess_log: {{ format: off }}\n\
         discovery: {{ directory: {:?} }}\n",
        folder.join("data")
    )
}

/// An address where nobody listens.
async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("bound")
}

/// Waits until this is answered well.
async fn until(address: SocketAddr, path: &str) {
    let end = Instant::now() + PATIENCE;
    while !is_answered(address, path).await {
        assert!(Instant::now() < end, "{path}: not in time");
        sleep(LOOK).await;
    }
}

async fn is_answered(address: SocketAddr, path: &str) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    asked.await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ") && !answer.contains("\"members\":[]"))
}
