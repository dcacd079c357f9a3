//! A core that comes late to its work, because something on its thread takes long.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use discovery::Discovery;
use router::{
    client::Client,
    core::{Core, Parts},
    plan::{Compiled, Made, compile},
    rewrite, server,
};
use telemetry::{
    access::{self, AccessLog},
    metrics::Metrics,
};
use testkit::{bounded, get};
use tokio::{net::TcpListener, runtime::LocalOptions, sync::mpsc, task::spawn_local};
use transport::{
    io::Stream,
    tls::{Identity, Tickets},
    upstream::Version,
};

use crate::support::told;

#[tokio::test]
async fn a_core_that_is_late_refuses_new_requests_until_it_is_in_time_again() {
    let busy = Arc::new(AtomicBool::new(true));
    // Four times the lag is 400 ms: then all are refused.
    let core = late_core("{ lag: 100ms }", Arc::clone(&busy)).await;
    let client = testkit::Client::http(core).await;
    let ask = async || {
        let answer = client.send(get("/", &[("service_id", "nobody")])).await;
        told(&answer).1.map(str::to_owned)
    };
    bounded("the first refusal", async { while ask().await.as_deref() != Some("shed") {} }).await;
    busy.store(false, Ordering::Relaxed);
    bounded("the end of refusals", async { while ask().await.as_deref() != Some("no_service") {} }).await;
}

/// A core on a thread of its own, beside something that takes its time, and a client of it over a socket.
async fn late_core(shedding: &str, busy: Arc<AtomicBool>) -> SocketAddr {
    let yaml = format!("{{ shedding: {shedding}, expose: {{ all: true }}, discovery: {{ directory: null }} }}");
    let settings = settings::parse(&yaml, Path::new("late.yml"), &|_| None).unwrap();
    let authority = testkit::Certs::new();
    let certificate = authority.issue(&["localhost"]);
    let identity = Identity::from_files(&certificate.chain, &certificate.key).unwrap();
    let made = Made { tickets: Tickets::new().unwrap(), identity };
    let Compiled { plan, policies, sources, .. } = compile(&settings, &made, &mut Vec::new()).unwrap();
    let discovery = Discovery::start(sources, policies, None, |_| {}).await.unwrap();
    let (table, reporter) = (discovery.table().reader(), discovery.reporter());
    let (metrics, _) = Metrics::new();
    let off = access::Settings { format: access::Format::Off, ..access::Settings::default() };
    let access = AccessLog::open(off, metrics.access_lines_dropped.clone()).unwrap().pen();
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let parts = Parts { plan, table, reporter, metrics, access, load: Arc::default() };
    let serve = async move || {
        let core = Core::new(parts);
        let (_control, inbox) = mpsc::unbounded_channel();
        spawn_local(Rc::clone(&core).run(inbox));
        spawn_local(async move {
            while busy.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(400));
                tokio::task::yield_now().await;
            }
        });
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let told = rewrite::Connection::new(peer, peer, false, &core.plan().rewriting);
            let (core, client) = (Rc::clone(&core), Rc::new(Client { peer, tls: false, told }));
            spawn_local(async move {
                server::serve_stream(&core, client, Stream::Other(Box::new(stream)), Version::H1).await;
            });
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.unwrap().block_on(serve());
    });
    address
}
