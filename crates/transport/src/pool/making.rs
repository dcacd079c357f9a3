//! How connections are made, and what follows if none can be.

use std::{rc::Rc, time::Duration};

use tokio::{
    sync::watch,
    task::spawn_local,
    time::{Instant, sleep},
};

use super::{Attempt, LOOK, Pool, dials::REST};
use crate::{
    Upstream, clock,
    dial::{DialError, dial},
    h1, h2,
    io::Stream,
    upstream::Version,
};

impl Pool {
    /// Waits for the one connection being made, and starts making it if nobody has. It is made in a task of its own:
    /// whoever began may give up, the others still want it.
    pub(super) async fn share(self: &Rc<Self>, limit: Duration) -> Result<(), DialError> {
        let mut outcome = {
            let mut connecting = self.connecting.borrow_mut();
            connecting.get_or_insert_with(|| self.begin(limit)).clone()
        };
        match outcome.wait_for(Option::is_some).await {
            Ok(done) => done.clone().unwrap_or(Ok(())),
            Err(_) => {
                // The task that made it is gone without a word; the next request begins anew.
                self.connecting.borrow_mut().take();
                Err(DialError::Connect("given up".into()))
            }
        }
    }

    fn begin(self: &Rc<Self>, limit: Duration) -> watch::Receiver<Attempt> {
        let (done, outcome) = watch::channel(None);
        let pool = Rc::clone(self);
        spawn_local(async move {
            let began = Instant::now();
            let result = pool.make(limit).await.inspect_err(|error| {
                if !pool.serves(began) {
                    pool.cut_off(error);
                }
            });
            pool.connecting.borrow_mut().take();
            done.send(Some(result)).ok();
        });
        outcome
    }

    /// Makes HTTP/1.1 connections for so many who wait, as many at once as the instance has earned. In tasks of their own:
    /// what becomes of them must be known also if nobody waits any longer.
    pub(super) fn dial(self: &Rc<Self>, limit: Duration, wanted: usize) {
        while self.dials.begin(wanted) {
            let pool = Rc::clone(self);
            spawn_local(async move {
                let began = Instant::now();
                match pool.make(limit).await {
                    Ok(()) => pool.dials.made(),
                    // The others may succeed. After so long a silence that is no hope to wait for.
                    Err(error) if !error.is_timeout() && pool.dials.are_others() => pool.dials.give_up(),
                    // It takes no more of them, and serves those it has.
                    Err(_) if pool.serves(began) => {
                        sleep(REST).await;
                        pool.dials.give_up();
                    }
                    Err(error) => {
                        pool.cut_off(&error);
                        return pool.dials.fail(error);
                    }
                }
                pool.dial(limit, pool.dials.wanted());
            });
        }
    }

    /// The instance is silent: a new connection tells whether it is there.
    pub(super) fn look(self: &Rc<Self>) {
        self.dial(LOOK, 1);
    }

    /// Whether it serves requests by connections it has, as far as who began to make another one then can know. A SYN may be
    /// lost, and it may take no more of them.
    pub(super) fn serves(&self, began: Instant) -> bool {
        self.dials.is_alive(began) && self.h1_live() > 0
    }

    async fn make(&self, limit: Duration) -> Result<(), DialError> {
        let made = match dial(&*self.dialler, &self.upstream, limit).await {
            Ok((stream, version)) => self.install(stream, version).await,
            Err(error) => Err(error),
        };
        made.inspect_err(|error| self.tell(error))
    }

    /// A connection could not be made, whatever follows from that. Told here and not by the requests that wait for it: they
    /// may all have been given up.
    fn tell(&self, error: &DialError) {
        if self.retired.get() {
            return;
        }
        let (service, instance) = (&self.upstream.service, self.upstream.label());
        self.upstream.note_trouble(Some(error.to_string()));
        if !error.is_ours() {
            tracing::debug!(%service, %instance, %error, "cannot connect");
        } else if let Some(times) = self.complaints.borrow_mut().add(1, clock::tick()) {
            tracing::warn!(%service, %instance, %error, times, "cannot connect to instances, which is no fault of theirs");
        }
    }

    /// No connection can be made, and nothing speaks for the instance.
    fn cut_off(&self, error: &DialError) {
        if self.retired.get() || error.is_ours() {
            return;
        }
        let Upstream { service, vitals, service_vitals, .. } = &*self.upstream;
        if vitals.cut_off(clock::tick(), &service_vitals.peers) {
            // The first failure of an instance that took requests is worth a word to the operator; while it is out, no more.
            let instance = self.upstream.label();
            tracing::warn!(%service, %instance, %error, "cannot connect to an instance, it rests");
        }
        if self.silence.lasts() {
            // Each of these would cost a request to find out.
            self.h1.borrow_mut().clear();
        }
    }

    async fn install(&self, stream: Stream, version: Version) -> Result<(), DialError> {
        if self.retired.get() {
            // Its successor may have its vitals: nothing is to be held against it.
            return Err(DialError::Local("the instance is gone".into()));
        }
        match version {
            Version::H2 => {
                let connection = h2::Connection::start(stream, self.buffers.clone());
                let mut connections = self.h2.borrow_mut();
                connections.retain(|c| !c.is_closed());
                connections.push(connection);
                self.dials.shared();
            }
            Version::H1 => {
                let started = h1::Connection::start(stream, self.fields.get()).await;
                let connection = started.map_err(|e| DialError::Connect(e.to_string()))?;
                self.h1_tasks.borrow_mut().push(connection.abort_handle());
                self.h1.borrow_mut().push(connection);
                self.dials.available(Instant::now());
            }
        }
        self.silence.end();
        self.upstream.note_trouble(None);
        Ok(())
    }
}
