//! The connections of one core, by upstream. No lock: a pool never leaves its thread.
//!
//! | File | |
//! |---|---|
//! | `pool.rs` | the pools, and how a request comes to a connection |
//! | `pool/making.rs` | how connections are made, and what follows if none can be |
//! | `pool/dials.rs` | how many HTTP/1.1 connections are made at once |
//! | `pool/idle.rs` | which idle HTTP/1.1 connection is used again, and for what |
//! | `pool/silence.rs` | what to think of requests that are given up unanswered |

mod dials;
mod idle;
mod making;
mod silence;
#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http2::Buffers;
use model::{Outcome, UpstreamKey};
use telemetry::complaints::Complaints;
use tokio::{
    sync::watch,
    task::{AbortHandle, spawn_local},
    time::{Instant, sleep_until, timeout_at},
};

use dials::Dials;
pub use silence::Listening;
use silence::Silence;

use crate::{
    Lease, Upstream,
    dial::{Dial, DialError, Network},
    farewell::Farewell,
    h1, h2,
    upstream::Version,
};

/// Most HTTP/2 connections to one instance from one core. An instance that lets so few streams onto so many
/// connections is full.
const MOST: usize = 32;

/// How long an HTTP/2 connection that a burst made necessary stays unused.
const SPARE: Duration = Duration::from_secs(30);
/// How long a silent instance may take to accept a connection: as long as requests wait for one by default.
const LOOK: Duration = Duration::from_secs(1);
/// Most HTTP/1.1 connections to one instance from one core: a slow instance must not take all ports and descriptors.
const MOST_H1: usize = 1024;
/// From so many on they are only for requests whose body is there, or much of it, or that have none. Such a connection is one
/// request's alone, and who sends heads and no bodies would take them all, and a thread of the instance with each. Below that
/// nobody waits for his client, so that an instance may answer to a head, as it does while all is well.
const BODYLESS: usize = 64;

type Hasher = foldhash::fast::RandomState;

/// What became of a connection being made; `None` as long as it is.
type Attempt = Option<Result<(), DialError>>;

/// All pools of one core.
#[derive(Debug)]
pub struct Pools {
    pools: RefCell<HashMap<UpstreamKey, Rc<Pool>, Hasher>>,
    dialler: Rc<dyn Dial>,
    buffers: Buffers,
    /// Of connections that could not be made for reasons of our own.
    complaints: Rc<RefCell<Complaints>>,
    /// When the router ends, once that is known.
    deadline: Cell<Option<Instant>>,
}

impl Default for Pools {
    fn default() -> Self {
        Self::new(Rc::new(Network))
    }
}

/// A connection with room for one more request.
#[derive(Debug)]
pub enum Ready {
    /// Shared with other requests.
    H2(Rc<h2::Connection>),
    /// Ours alone until it is given back.
    H1(h1::Connection),
}

/// The connections to one upstream.
#[derive(Debug)]
pub struct Pool {
    upstream: Arc<Upstream>,
    dialler: Rc<dyn Dial>,
    buffers: Buffers,
    complaints: Rc<RefCell<Complaints>>,
    h2: RefCell<Vec<Rc<h2::Connection>>>,
    /// Idle connections; the last one given back is used first, so that the others can grow old and go.
    h1: RefCell<Vec<h1::Connection>>,
    /// All that are open, in use ones among them.
    h1_tasks: RefCell<Vec<AbortHandle>>,
    /// HTTP/1.1 connections being made.
    dials: Dials,
    silence: Silence,
    /// The connection being made where HTTP/2 is spoken or nobody knows yet, shared by all who wait for it.
    connecting: RefCell<Option<watch::Receiver<Attempt>>>,
    farewell: Rc<Farewell>,
    retired: Cell<bool>,
    /// Most header fields of an answer by HTTP/1.1.
    fields: Cell<u16>,
}

impl Pools {
    /// Pools whose connections are made this way.
    #[must_use]
    pub fn new(dialler: Rc<dyn Dial>) -> Self {
        let (pools, buffers, complaints) = (RefCell::default(), Buffers::default(), Rc::default());
        Self { pools, dialler, buffers, complaints, deadline: Cell::new(None) }
    }

    /// The pool of this upstream, made at first use.
    #[must_use]
    pub fn of(&self, upstream: &Arc<Upstream>) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(upstream.key).or_insert_with(|| {
            let farewell = Farewell::default();
            self.deadline.get().into_iter().for_each(|deadline| farewell.close(deadline));
            Rc::new(Pool {
                upstream: Arc::clone(upstream),
                dialler: Rc::clone(&self.dialler),
                buffers: self.buffers.clone(),
                complaints: Rc::clone(&self.complaints),
                h2: RefCell::default(),
                h1: RefCell::default(),
                h1_tasks: RefCell::default(),
                dials: Dials::default(),
                silence: Silence::default(),
                connecting: RefCell::default(),
                farewell: Rc::new(farewell),
                retired: Cell::new(false),
                fields: Cell::new(h1::FIELDS),
            })
        });
        Rc::clone(pool)
    }

    /// The write buffers of this core.
    #[must_use]
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// The upstream is to leave: its long streams end until `deadline`, spread out.
    pub fn drain(&self, key: UpstreamKey, deadline: Instant) {
        if let Some(pool) = self.pools.borrow().get(&key) {
            pool.farewell.say(deadline);
        }
    }

    /// The router ends: all long streams end well before `deadline`, spread out from now on.
    pub fn close(&self, deadline: Instant) {
        self.deadline.set(Some(deadline));
        self.pools.borrow().values().for_each(|pool| pool.farewell.close(deadline));
    }

    /// Tells long streams of this upstream when to end; `None` if it has left.
    #[must_use]
    pub fn farewell(&self, key: UpstreamKey) -> Option<Rc<Farewell>> {
        self.pools.borrow().get(&key).map(|pool| Rc::clone(&pool.farewell))
    }

    /// Whether its connections [are few](Pool::is_reserved); not if it has left.
    #[must_use]
    pub fn is_reserved(&self, key: UpstreamKey) -> bool {
        self.pools.borrow().get(&key).is_some_and(|pool| pool.is_reserved())
    }

    /// It stays after all.
    pub fn stay(&self, key: UpstreamKey) {
        if let Some(pool) = self.pools.borrow().get(&key) {
            pool.farewell.take_back();
        }
    }

    /// The upstream left the table: no new streams; what is under way may end until `deadline`.
    pub fn retire(&self, key: UpstreamKey, deadline: Instant) {
        if let Some(pool) = self.pools.borrow_mut().remove(&key) {
            pool.retire(deadline);
        }
    }

    /// Drops idle connections that have grown too old to be used.
    pub fn sweep(&self) {
        for pool in self.pools.borrow().values() {
            pool.h1.borrow_mut().retain(|c| c.is_fresh(h1::IDLE));
            // The first stays for the next request; what a burst has opened besides goes.
            let mut first = true;
            pool.h2.borrow_mut().retain(|c| !c.is_closed() && (std::mem::take(&mut first) || !c.is_idle(SPARE)));
        }
    }
}

impl Pool {
    /// A connection with room for one more request, made if there is none. `repeatable`: the request could be sent
    /// twice without harm, so that an older idle connection may be risked. `gathered`: its body is there, or much of it,
    /// or it has none. `None` if it has to be, for a connection of an instance that has few left.
    ///
    /// # Errors
    /// If none can be made within `limit`, or none of those there are becomes free within two; nothing was sent then.
    pub async fn ready(
        self: &Rc<Self>,
        repeatable: bool,
        gathered: impl Fn() -> bool,
        limit: Duration,
    ) -> Result<Option<Ready>, DialError> {
        let mut end = None;
        loop {
            if let Some(connection) = self.h2.borrow().iter().find(|c| c.has_room()) {
                return Ok(Some(Ready::H2(Rc::clone(connection))));
            }
            if self.is_reserved() && !gathered() {
                return Ok(None);
            }
            if let Some(connection) = self.idle(repeatable) {
                return Ok(Some(Ready::H1(connection)));
            }
            let made = if self.is_full() {
                Err(DialError::Full)
            } else if self.upstream.version() == Some(Version::H1) {
                let waiting = self.dials.wait();
                self.dial(limit, self.dials.wanted());
                // By then those that were being made when it came are over, and so is its own: the instance serves others.
                let end = *end.get_or_insert_with(|| Instant::now() + limit * 2);
                // Boxed, lest every request's state has room for it.
                Box::pin(timeout_at(end, waiting.news())).await.unwrap_or(Err(DialError::Full))
            } else {
                self.share(limit).await
            };
            made?;
        }
    }

    /// Answers by HTTP/1.1 have at most so many fields from now on. A connection has its limit for life, so those with another
    /// one are not used again.
    pub fn admit_fields(&self, most: u16) {
        if self.fields.replace(most) != most {
            self.h1.borrow_mut().clear();
        }
    }

    /// Whether it has as many connections as it may.
    fn is_full(&self) -> bool {
        self.h2.borrow().iter().filter(|c| !c.is_closed()).count() >= MOST
            || self.h1_open() + self.dials.waiting() >= MOST_H1
    }

    /// Finds out whether a connection can be made to an instance to which none could be. The lease is the turn to find out,
    /// and ends with what is found.
    ///
    /// # Errors
    /// If none can be made within `limit`.
    pub async fn knock(self: &Rc<Self>, mut lease: Lease, limit: Duration) -> Result<(), DialError> {
        let began = Instant::now();
        let found = self.share(limit).await;
        match &found {
            Ok(()) => lease.reached(),
            // By another one.
            Err(_) if self.serves(began) => {
                lease.reached();
                return Ok(());
            }
            Err(error) if error.is_ours() => lease.settle(Outcome::Abandoned),
            Err(_) => lease.settle(Outcome::ConnectFailed),
        }
        found
    }

    /// Whether its connections are of HTTP/1.1 and so many are taken that the others are for requests whose body is there.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        let taken = || (self.h1_tasks.borrow().len() + self.dials.waiting()).saturating_sub(self.h1.borrow().len());
        if taken() < BODYLESS {
            return false;
        }
        // Those that have ended are forgotten when somebody counts.
        self.h1_open();
        taken() >= BODYLESS
    }

    /// HTTP/1.1 connections that are open or being made.
    fn h1_open(&self) -> usize {
        self.h1_live() + self.dials.now()
    }

    fn h1_live(&self) -> usize {
        let mut tasks = self.h1_tasks.borrow_mut();
        tasks.retain(|task| !task.is_finished());
        tasks.len()
    }

    fn retire(&self, deadline: Instant) {
        self.retired.set(true);
        self.farewell.say(deadline);
        self.h1.borrow_mut().clear();
        let mut ending: Vec<AbortHandle> = self.h2.borrow_mut().drain(..).map(|c| c.abort_handle()).collect();
        ending.append(&mut self.h1_tasks.borrow_mut());
        if !ending.is_empty() {
            spawn_local(async move {
                sleep_until(deadline).await;
                ending.iter().for_each(AbortHandle::abort);
            });
        }
    }
}
