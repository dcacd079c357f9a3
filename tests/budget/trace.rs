//! The fixed traces: a core of the router as it is in life, but for the sockets, in one thread.

use std::{cell::Cell, net::SocketAddr, path::Path, rc::Rc, sync::Arc, time::Duration};

use discovery::Discovery;
use model::Protocol;
use router::{
    client::Client,
    core::{Core, Load, Parts},
    plan::{Compiled, Made, compile},
    rewrite, server,
};
use telemetry::{
    access::{self, AccessLog},
    metrics::Metrics,
};
use tokio::{
    runtime::{LocalOptions, LocalRuntime},
    task::spawn_local,
    time::{Instant, timeout},
};
use transport::{
    Upstream,
    dial::{Dial, DialFuture},
    io::{Io, Stream},
    pool::Pools,
    tls::{Identity, Tickets},
    upstream::Version,
};

use crate::{
    h1, h2,
    ledger::{Cost, INSTANCES, Ledger, Rounds},
    peer::Peer,
};

/// What the client and the instances speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    /// 32 GETs at a time over HTTP/2, four h2c instances.
    H2,
    /// The same with POSTs of 1 KiB.
    Post,
    /// One GET after another over HTTP/1.1, to HTTP/1.1 instances.
    H1,
}

/// Longer than a run takes under valgrind on a busy machine.
const STUCK: Duration = Duration::from_secs(300);

impl Trace {
    pub(crate) const ALL: [Self; 3] = [Self::H2, Self::Post, Self::H1];

    /// One word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Post => "post",
            Self::H1 => "h1",
        }
    }

    /// Requests in a round.
    pub(crate) fn requests(self) -> u32 {
        if self == Self::H1 { 1 } else { h2::STREAMS }
    }

    /// Runs so many rounds, measures all but the first ones.
    pub(crate) fn run(self, warm_up: u32, measured: u32) -> Cost {
        let ledger = Rc::new(Ledger::default());
        let rounds = Rounds::new(&ledger, warm_up, measured);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = runtime.expect("a runtime");
        let fleet = Fleet { ledger: Rc::clone(&ledger), dialled: Cell::new(0) };
        let core = runtime.block_on(self.core(Pools::new(Rc::new(fleet))));
        let (stream, version): (Box<dyn Io>, _) = match self {
            Self::H1 => (Box::new(Peer::new(h1::Client::new(rounds), Rc::clone(&ledger.client))), Version::H1),
            Self::H2 | Self::Post => {
                let script = h2::Client::new(self == Self::Post, rounds);
                (Box::new(Peer::new(script, Rc::clone(&ledger.client))), Version::H2)
            }
        };
        serve(&runtime, core, Stream::Other(stream), version);
        ledger.cost()
    }

    /// A core with a table of one service and the defaults of the file.
    async fn core(self, pools: Pools) -> Rc<Core> {
        let scheme = if self == Self::H1 { "http" } else { "h2c" };
        let urls: Vec<_> = (1..=INSTANCES).map(|last| format!("{scheme}://10.0.0.{last}:9080")).collect();
        let yaml = format!(
            "registries: {{ fixed: {{ static: {{ services: {{ items: {urls:?} }} }} }} }}\n\
             routes: [ {{ prefix: /v1/items, service: items }} ]\n"
        );
        let settings = settings::parse(&yaml, Path::new("budget.yml"), &|_| None).expect("a configuration");
        let authority = testkit::Certs::new();
        let certificate = authority.issue(&["localhost"]);
        let identity = Identity::from_files(&certificate.chain, &certificate.key).expect("a certificate");
        let made = Made { tickets: Tickets::new().expect("a key for tickets"), identity };
        let Compiled { plan, policies, sources, .. } = compile(&settings, &made, &mut Vec::new()).expect("a plan");

        let discovery = Discovery::start(sources, policies, None, |_| {}).await.expect("a static registry");
        let table = discovery.table();
        let complete = || table.with(|table| table.service("items").is_some_and(|s| s.members.len() == INSTANCES));
        let mut generations = table.generations();
        timeout(STUCK, generations.wait_for(|_| complete())).await.expect("in time").expect("the cell lives");
        let reporter = discovery.reporter();
        // The last table stays, and nothing else runs on this thread.
        discovery.shutdown().await;

        let (metrics, _) = Metrics::new();
        let off = access::Settings { format: access::Format::Off, ..access::Settings::default() };
        let log = AccessLog::open(off, metrics.access_lines_dropped.clone()).expect("no file to open");
        let parts = Parts {
            plan,
            table: table.reader(),
            reporter,
            metrics,
            access: log.pen(),
            load: Arc::new(Load::default()),
        };
        Core::with_pools(parts, pools)
    }
}

/// Serves one client to its end. A function of its own, so that valgrind can leave out what came before.
#[inline(never)]
fn serve(runtime: &LocalRuntime, core: Rc<Core>, stream: Stream, version: Version) {
    // The balancer's dice fall the same way each time.
    fastrand::seed(34);
    let peer: SocketAddr = ([127, 0, 0, 1], 50_000).into();
    let told = rewrite::Connection::new(peer, ([127, 0, 0, 1], 8080).into(), false, &core.plan().rewriting);
    let client = Rc::new(Client { peer, tls: false, told });
    runtime.block_on(async {
        // A task among tasks, as in life: the runtime's first future is polled out of turn.
        let served = spawn_local(async move { server::serve_stream(&core, client, stream, version).await });
        timeout(STUCK, served).await.expect("the trace comes to its end").expect("without a panic");
    });
}

/// Instances in memory.
#[derive(Debug)]
struct Fleet {
    ledger: Rc<Ledger>,
    dialled: Cell<usize>,
}

impl Dial for Fleet {
    fn dial<'a>(&'a self, upstream: &'a Upstream, _: Instant) -> DialFuture<'a> {
        let number = self.dialled.replace(self.dialled.get() + 1);
        let calls = self.ledger.instances.get(number).expect("one connection to each instance is enough");
        let (stream, version): (Box<dyn Io>, _) = match upstream.protocol {
            Protocol::H2c => (Box::new(Peer::new(h2::Instance::new(), Rc::clone(calls))), Version::H2),
            _ => (Box::new(Peer::new(h1::Instance::new(), Rc::clone(calls))), Version::H1),
        };
        Box::pin(async move { Ok((Stream::Other(stream), version)) })
    }
}
