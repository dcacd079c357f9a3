//! The `pointsman` binary: arguments, signals, exit codes. All else is the library's.

#![allow(clippy::print_stdout, clippy::print_stderr)] // this is where people are spoken to

use std::{
    io::Stdout,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use discovery::history::Filter;
use router::{
    Router, Start,
    control::{Origin, Overrides, StartError},
    demo, explain,
    history::Query,
    register, registry, verb,
};
use tokio::signal::unix::{SignalKind, signal};

/// Allocates from per-thread heaps: a core's memory stays its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a start waits for its registries before it says that it is not ready.
const READY: Duration = Duration::from_secs(3);

#[derive(Debug, Parser)]
#[command(name = "pointsman", version, about = "A router for server-side service discovery.")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the router. Without a configuration: loopback only, a certificate made on the spot, the embedded registry.
    Run {
        /// The configuration file, or a directory with a router.yml.
        #[arg(long, env = "POINTSMAN_CONFIG")]
        config: Option<PathBuf>,
        /// Listen here instead of the file's listeners.
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: Option<SocketAddr>,
        /// The admin listener's address.
        #[arg(long, value_name = "ADDRESS:PORT")]
        admin: Option<SocketAddr>,
        /// Where services register; a configuration says it for each of its registries.
        #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "config")]
        registry: Option<SocketAddr>,
    },
    /// Check a configuration file and say what is wrong with it.
    Check {
        /// The configuration file, or a directory with a router.yml.
        #[arg(long)]
        config: PathBuf,
    },
    /// Register a service that cannot do it itself, and start it if a command is given.
    Register(Box<register::Arguments>),
    /// Look into the embedded registry of a router; put instances in maintenance, export and import them.
    Registry(registry::Arguments),
    /// Say where a request would go, and why: by which rule, to which instances, and to which not.
    Explain(explain::verb::Arguments),
    /// Ask a running router which instances there are, and what keeps some of them out.
    Table(verb::table::Arguments),
    /// Ask a running router how its registries are.
    Sources(verb::sources::Arguments),
    /// Let an instance have no new requests from a running router, or requests again.
    Drain(verb::drain::Arguments),
    /// Ask a running router whether it wants traffic; the exit code says it too.
    Ready(verb::ready::Arguments),
    /// Ask a running router what happened to services and registries, and why.
    History {
        /// The router's admin listener.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8401")]
        admin: SocketAddr,
        /// Only of this service.
        #[arg(long)]
        service: Option<String>,
        /// Only of this registry.
        #[arg(long)]
        source: Option<String>,
        /// Only after the event of this number.
        #[arg(long)]
        since: Option<u64>,
        /// At most so many, the newest.
        #[arg(long)]
        limit: Option<usize>,
        /// One JSON object for each event.
        #[arg(long)]
        json: bool,
        /// Go on with what happens from now on.
        #[arg(long)]
        follow: bool,
    },
    /// Show it all: a router, a registry and services that register themselves, with lines to paste.
    Demo {
        /// Where clients connect.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
        listen: SocketAddr,
        /// Where services register.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8400")]
        registry: SocketAddr,
        /// Where operators look.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8401")]
        admin: SocketAddr,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Run { config, listen, admin, registry } => run(config.map(file), Overrides { listen, admin, registry }),
        Verb::Check { config } => check(file(config)),
        Verb::Register(arguments) => return attend_service(*arguments),
        Verb::Registry(arguments) => ask(async |to| registry::run(arguments, to).await),
        Verb::Explain(arguments) => ask(async |to| explain::verb::run(arguments, to).await),
        Verb::Table(arguments) => ask(async |to| verb::table::run(arguments, to).await),
        Verb::Sources(arguments) => ask(async |to| verb::sources::run(arguments, to).await),
        Verb::Drain(arguments) => ask(async |to| verb::drain::run(arguments, to).await),
        Verb::Ready(arguments) => ask(async |to| verb::ready::run(arguments, to).await),
        Verb::History { admin, service, source, since, limit, json, follow } => {
            let query = Query { admin, filter: Filter { service, source, since, limit }, json, follow };
            ask(async |to| router::history::tell(&query, to).await)
        }
        Verb::Demo { listen, registry, admin } => show(&demo::Addresses { listen, registry, admin }),
    };
    result.map_or_else(failed, |()| ExitCode::SUCCESS)
}

#[allow(clippy::needless_pass_by_value, reason = "it is the error of a result")]
fn failed(problem: String) -> ExitCode {
    for line in problem.lines() {
        eprintln!("pointsman: {line}");
    }
    ExitCode::FAILURE
}

/// Whatever becomes of the registry, the exit code is that of the service.
fn attend_service(arguments: register::Arguments) -> ExitCode {
    let run = || {
        let level = std::env::var("RUST_LOG").ok();
        let settings = telemetry::log::Settings::default();
        // Kept: it writes what waits when it goes.
        let _log = telemetry::log::Log::init(&settings, level.as_deref()).map_err(|e| e.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(register::run(arguments))
    };
    run().unwrap_or_else(failed)
}

/// The file itself, or `router.yml` in a directory kept outside the program.
fn file(path: PathBuf) -> PathBuf {
    let is_folder = settings::told_if_slow(|| waits_for(&path), || path.is_dir());
    if is_folder { path.join("router.yml") } else { path }
}

fn check(path: PathBuf) -> Result<(), String> {
    let shown = path.display().to_string();
    let own = path.clone();
    let checked = settings::told_if_slow(|| waits_for(&own), || router::control::check(&Origin::File(path)));
    let warnings = checked.map_err(|error| error.to_string())?;
    for warning in warnings {
        println!("{shown}: warning: {warning}");
    }
    println!("{shown}: valid");
    Ok(())
}

/// Runs a verb that asks somebody, to its end.
fn ask(verb: impl AsyncFnOnce(&mut Stdout) -> Result<(), String>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(verb(&mut std::io::stdout()))
}

fn run(config: Option<PathBuf>, overrides: Overrides) -> Result<(), String> {
    let origin = config.map_or(Origin::Nothing, Origin::File);
    // The router reads its settings itself; of a long file, what is kept here would be kept for good.
    let waits = || origin.file().into_iter().for_each(|file| waits_for(file));
    let settings = settings::told_if_slow(waits, || origin.load(&overrides));
    let log = settings.map_err(|error| error.to_string())?.log;
    let level = std::env::var("RUST_LOG").ok();
    let log = telemetry::log::Log::init(&log, level.as_deref()).map_err(|error| error.to_string())?;
    raise_descriptors();
    let without_file = matches!(origin, Origin::Nothing);
    let router = Router::start(Start { origin, overrides, log: Some(log) }).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(attend(router, without_file))
}

/// There is no log yet.
fn waits_for(path: &Path) {
    eprintln!("pointsman: still reading {}: does its file system answer?", path.display());
}

async fn attend(router: Router, without_file: bool) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot watch signals: {error}");
    let mut end = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut hangup = settings::watch::Hangup::new().map_err(cannot)?;
    announce(&router, without_file).await;
    loop {
        tokio::select! {
            _ = end.recv() => break,
            _ = interrupt.recv() => break,
            // What is wrong with the file the log says; the old configuration goes on.
            () = hangup.received() => drop(router.reload().await),
        }
    }
    tokio::select! {
        () = router.drain() => Ok(()),
        _ = end.recv() => Err("ended at once by a second signal".to_owned()),
        _ = interrupt.recv() => Err("ended at once by a second signal".to_owned()),
    }
}

/// In the log, not on standard output: that is the access log's alone.
async fn announce(router: &Router, without_file: bool) {
    let ready = async {
        loop {
            match router.readiness().await {
                Ok(()) => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let ready = tokio::time::timeout(READY, ready).await.is_ok();
    let addresses = router.addresses();
    if ready {
        tracing::info!("pointsman is ready: {addresses}");
    } else {
        let why = router.readiness().await.err().unwrap_or_default();
        tracing::warn!("pointsman listens, but is not ready ({why}): {addresses}");
    }
    if without_file {
        tracing::info!(
            "no configuration: loopback only, every registered service is exposed, registrations are kept in ./data, \
             the certificate was made on the spot (curl -k)"
        );
    }
}

fn show(addresses: &demo::Addresses) -> Result<(), String> {
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let demo = demo::Demo::start(addresses).await.map_err(|error: StartError| error.to_string())?;
        println!("{}", demo.tour());
        let mut end = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = end.recv() => {}
        }
        Ok(())
    })
}

/// A router needs two descriptors for each request in hand; the usual soft limit is 1024.
fn raise_descriptors() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        eprintln!("pointsman: cannot raise the limit of open files: {error}");
    }
}
