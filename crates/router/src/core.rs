//! One core: a thread with its own runtime. A request stays on its core from the first byte to the last, so nothing
//! here is shared and nothing is locked. Control speaks to a core only by its inbox.

use std::{
    cell::{Cell, RefCell},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use discovery::{How, Leave, Reporter, Service, Table, TableReader};
pub use telemetry::load::Load;
use telemetry::{access::Pen, complaints::Complaints, metrics::Metrics};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_local,
    time::{Instant, MissedTickBehavior, interval},
};
use transport::{Upstream, crowd::Place, pool::Pools, upload::Room};

use crate::{
    exchange::Exchange,
    plan::{Current, Listener, Plan},
    server, shed,
};

/// What control tells a core.
#[derive(Debug)]
pub enum Order {
    /// Serve this client.
    Accept(Visit),
    /// From now on this plan holds.
    Plan(Arc<Plan>),
    /// These upstreams are to leave, or stay after all.
    Leave(Arc<[Leave]>),
    /// Take no new requests on open connections; let the ones under way end, and long streams before the deadline.
    Drain(Instant),
}

/// A client that has come in.
#[derive(Debug)]
pub struct Visit {
    /// Its connection.
    pub stream: TcpStream,
    /// Its address.
    pub peer: SocketAddr,
    /// The settings of the listener it came by.
    pub listener: Arc<Listener>,
    /// Its place among those of its address, if they are counted.
    pub place: Option<Place>,
}

/// How far the end has come, for the connections of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Open,
    /// GOAWAY and `Connection: close`.
    Draining,
}

/// The state of one core.
#[derive(Debug)]
pub struct Core {
    plan: RefCell<Rc<Current>>,
    table: RefCell<TableReader>,
    /// Connections to instances.
    pub pools: Pools,
    /// Requests that wait for an instance.
    pub held: Cell<u32>,
    /// Where request bodies are kept that may have to be sent again.
    pub room: Room,
    /// To tell discovery what was found out.
    pub reporter: Reporter,
    /// Counters, shared by all cores.
    pub metrics: Metrics,
    /// Of answers whose heads were too large.
    pub oversize: RefCell<Complaints>,
    access: Pen,
    load: Arc<Load>,
    phase: watch::Sender<Phase>,
    is_over: Cell<bool>,
}

/// Everything a core is made of.
#[derive(Debug)]
pub struct Parts {
    /// The plan to begin with.
    pub plan: Arc<Plan>,
    /// The routing table.
    pub table: TableReader,
    /// To tell discovery what was found out.
    pub reporter: Reporter,
    /// Counters, shared by all cores.
    pub metrics: Metrics,
    /// Where access lines go.
    pub access: Pen,
    /// What the core has in hand.
    pub load: Arc<Load>,
}

impl Core {
    /// A core that serves nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Rc<Self> {
        Self::with_pools(parts, Pools::default())
    }

    /// The same, with connections to instances that are made in another way.
    #[must_use]
    pub fn with_pools(parts: Parts, pools: Pools) -> Rc<Self> {
        Rc::new(Self {
            plan: RefCell::new(Rc::new(Current(parts.plan))),
            table: RefCell::new(parts.table),
            pools,
            held: Cell::new(0),
            room: Room::default(),
            reporter: parts.reporter,
            metrics: parts.metrics,
            oversize: RefCell::default(),
            access: parts.access,
            load: parts.load,
            phase: watch::Sender::new(Phase::Open),
            is_over: Cell::new(false),
        })
    }

    /// The plan that holds now. Cheap: no other core counts these references.
    #[must_use]
    pub fn plan(&self) -> Rc<Current> {
        Rc::clone(&self.plan.borrow())
    }

    /// Reads the newest table. One atomic load; the table cannot be held over an await.
    pub fn table<T>(&self, read: impl FnOnce(&Table) -> T) -> T {
        read(self.table.borrow_mut().load())
    }

    /// No connection could be made to an instance. Discovery is to know if it is one of last resort; in an outage all others
    /// would fill its inbox.
    pub fn connect_failed(&self, upstream: &Arc<Upstream>) {
        let is_resort = |service: &Service| service.members.iter().any(|m| m.resort && m.upstream.key == upstream.key);
        if self.table(|table| table.service(upstream.service.as_str()).is_some_and(|service| is_resort(service))) {
            self.reporter.connect_failed(upstream);
        }
    }

    /// Announces each table from now on.
    #[must_use]
    pub fn tables(&self) -> watch::Receiver<u64> {
        self.table.borrow().generations()
    }

    /// What it has in hand.
    #[must_use]
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// Tells when the end begins.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Whether it has ended, and what is under way is broken off.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Whether exchanges leave a line.
    #[must_use]
    pub fn logs(&self) -> bool {
        self.access.is_on()
    }

    /// Writes the line of an exchange that is over.
    pub fn log(&self, exchange: &Exchange) {
        crate::log::write(exchange, &self.access);
    }

    /// Follows orders until control is gone or, when draining, the last connection is over.
    pub async fn run(self: Rc<Self>, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let load = Arc::clone(&self.load);
        // A task among the others, so that it comes as late as they do. It ends with the runtime.
        spawn_local(async move { shed::watch(&load).await });
        // Old idle connections and table references go within a second, also without traffic.
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.obey(order),
                    None => break,
                },
                _ = tick.tick() => {
                    self.table.borrow_mut().load();
                    self.pools.sweep();
                }
            }
        }
        self.is_over.set(true);
    }

    fn part(&self, Leave { key, how, drain }: Leave) {
        let deadline = Instant::now() + drain;
        match how {
            How::Gone => self.pools.retire(key, deadline),
            How::Draining => self.pools.drain(key, deadline),
            How::Stays => self.pools.stay(key),
        }
    }

    fn obey(self: &Rc<Self>, order: Order) {
        match order {
            Order::Accept(Visit { stream, peer, listener, place }) => {
                let core = Rc::clone(self);
                let counted = (Counted(Rc::clone(self)), place);
                spawn_local(async move {
                    let _counted = counted;
                    server::serve(&core, stream, peer, &listener).await;
                });
            }
            Order::Plan(plan) => *self.plan.borrow_mut() = Rc::new(Current(plan)),
            Order::Leave(leaving) => leaving.iter().for_each(|leave| self.part(*leave)),
            Order::Drain(deadline) => {
                self.pools.close(deadline);
                self.phase.send_replace(Phase::Draining);
            }
        }
    }
}

/// A connection counts until its task ends, whichever way.
struct Counted(Rc<Core>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.load.remove();
    }
}
