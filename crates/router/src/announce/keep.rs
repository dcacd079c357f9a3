//! The life of a registration.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Failure, Record, Registrar, Settings, To,
    access::Way,
    consul::{self, Consul},
    embedded::{self, Embedded},
    etcd::Etcd,
    place,
    pulse::{Pulse, Step},
    zookeeper,
};

/// How long leaving may take. A registry that is away ends the lease by itself.
const LEAVE: Duration = Duration::from_secs(5);
/// How long a step that was begun may go on when something else is wanted: who registers and leaves at once would leave
/// before the registration is there.
const FINISH: Duration = Duration::from_secs(3);
/// Between two attempts to leave.
const AGAIN: Duration = Duration::from_millis(250);

/// What the announced instance wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not to be found: it is not ready.
    Away,
    /// To be found.
    Here,
    /// To leave for good.
    Gone,
}

/// A registration that is looked after. Dropping it stops that without a word to the registry; the lease then ends.
#[derive(Debug)]
pub struct Announcing {
    wanted: Arc<watch::Sender<Standing>>,
    registered: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Announcing {
    /// Begins to look after an instance at this port, on the current runtime. It is announced when it is
    /// [`Standing::Here`].
    #[must_use]
    pub fn start(settings: Settings, port: u16, health: Option<String>) -> Self {
        Self::when(std::future::pending(), settings, port, health)
    }

    /// The same, and it is [`Standing::Here`] as soon as that future ends.
    pub(crate) fn when(
        ready: impl Future<Output = ()> + Send + 'static,
        settings: Settings,
        port: u16,
        health: Option<String>,
    ) -> Self {
        let wanted = Arc::new(watch::Sender::new(Standing::Away));
        let (tells, registered) = watch::channel(false);
        let (wants, want) = (wanted.subscribe(), wanted.clone());
        let keeping = async move {
            let announced = Announced { settings, port, health, wants, tells };
            if let Err(error) = announced.begin().await {
                tracing::error!(error, "cannot announce");
            }
        };
        let ready = async move {
            ready.await;
            // Who has left meanwhile does not come back.
            want.send_if_modified(|now| {
                let waits = *now == Standing::Away;
                if waits {
                    *now = Standing::Here;
                }
                waits
            });
            std::future::pending::<()>().await;
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = keeping => {}
                () = ready => {}
            }
        });
        Self { wanted, registered, task }
    }

    /// Says what the instance wants now.
    pub fn want(&self, standing: Standing) {
        self.wanted.send_if_modified(|now| std::mem::replace(now, standing) != standing);
    }

    /// Whether the registry has it, as far as is known.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }

    /// Takes the instance out; within 5 s, whatever the registry does.
    pub async fn leave(mut self) {
        self.want(Standing::Gone);
        if timeout(LEAVE, &mut self.task).await.is_err() {
            tracing::warn!("the registry did not take the deregistration in time; the lease will end by itself");
        }
    }
}

impl Drop for Announcing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the task owns.
struct Announced {
    settings: Settings,
    port: u16,
    health: Option<String>,
    wants: watch::Receiver<Standing>,
    tells: watch::Sender<bool>,
}

impl Announced {
    async fn begin(self) -> Result<(), String> {
        match self.settings.to.clone() {
            To::Embedded(access) => {
                let way = Way::new(access.client(), embedded::TOKEN, access.token);
                Box::pin(self.keep(Embedded(way))).await;
            }
            To::Consul(access) => {
                let way = Way::new(access.client(), consul::TOKEN, access.token);
                Box::pin(self.keep(Consul(way))).await;
            }
            To::Etcd(etcd) => Box::pin(self.keep(Etcd::new(etcd.clients()?, etcd))).await,
            To::Zookeeper(ensemble) => {
                let registrar = zookeeper::registrar(ensemble, self.settings.ttl.get());
                Box::pin(self.keep(registrar)).await;
            }
        }
        Ok(())
    }

    async fn keep(mut self, mut registrar: impl Registrar) {
        loop {
            let wanted = *self.wants.borrow_and_update();
            match wanted {
                Standing::Gone => return,
                Standing::Away => {
                    if self.wants.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                Standing::Here => {}
            }
            let record = self.stay(&mut registrar).await;
            self.tells.send_replace(false);
            if let Some(record) = record {
                leave(&mut registrar, &record).await;
            }
        }
    }

    /// Keeps it registered until something else is wanted; what is then to be taken out, if anything.
    async fn stay(&mut self, registrar: &mut impl Registrar) -> Option<Record> {
        let mut pulse = Pulse::new(self.settings.ttl.get());
        let mut record: Option<Record> = None;
        let mut said = None;
        loop {
            let mut wants = self.wants.clone();
            let mut else_wanted = std::pin::pin!(wants.wait_for(|wanted| *wanted != Standing::Here));
            let result = {
                let mut step = std::pin::pin!(self.step(registrar, &pulse, &mut record));
                let result = tokio::select! {
                    result = &mut step => Some(result),
                    _ = &mut else_wanted => None,
                };
                if result.is_none() {
                    drop(timeout(FINISH, step).await);
                }
                result
            };
            let Some(result) = result else { return record };
            let was = pulse.is_registered();
            if let Some(lease) = registrar.lease() {
                pulse.shorten(lease);
            }
            let next = Instant::now() + pulse.after(&result, fastrand::f64());
            self.tells.send_replace(pulse.is_registered());
            tell(&self.settings, was, &result, &mut said);
            tokio::select! {
                () = sleep_until(next) => {}
                _ = &mut else_wanted => return record,
            }
        }
    }

    async fn step(
        &self,
        registrar: &mut impl Registrar,
        pulse: &Pulse,
        record: &mut Option<Record>,
    ) -> Result<(), Failure> {
        match (pulse.step(), &record) {
            (Step::Beat, Some(record)) => registrar.beat(record).await,
            _ => {
                let address = place::address(self.settings.address.as_deref(), self.settings.to.server()).await;
                let address = address.map_err(Failure::Away)?;
                let new =
                    self.settings.record(&address, self.port, self.health.as_deref()).map_err(Failure::Refused)?;
                registrar.register(record.insert(new)).await
            }
        }
    }
}

/// Tries to take it out until it is out.
async fn leave(registrar: &mut impl Registrar, record: &Record) {
    let end = Instant::now() + LEAVE;
    loop {
        match registrar.deregister(record).await {
            Ok(()) => return tracing::info!(service = %record.service, id = %record.id, "it is out of the registry"),
            Err(error) if Instant::now() + AGAIN < end && matches!(error, Failure::Away(_)) => {
                tokio::time::sleep(AGAIN).await
            }
            Err(error) => {
                return tracing::warn!(%error, "cannot deregister; what the registry has of it ends with its lease");
            }
        }
    }
}

/// One line for each change, not for each attempt.
fn tell(settings: &Settings, was: bool, result: &Result<(), Failure>, said: &mut Option<Failure>) {
    let (service, to) = (&settings.service, settings.to.url());
    match result {
        Ok(()) if !was || said.is_some() => {
            *said = None;
            tracing::info!(service, to, "registered");
        }
        Ok(()) => {}
        Err(error) if said.as_ref() == Some(error) => {}
        Err(error) => {
            match error {
                Failure::Refused(_) => tracing::error!(service, to, %error, "the registry refuses the registration"),
                _ => tracing::warn!(service, to, %error, "not registered for sure; trying again"),
            }
            *said = Some(error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A registry that takes its time, and what it was asked.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<&'static str>>>);

    impl Registrar for Slow {
        async fn register(&mut self, _: &Record) -> Result<(), Failure> {
            self.0.lock().unwrap().push("registers");
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.0.lock().unwrap().push("registered");
            Ok(())
        }

        async fn beat(&mut self, _: &Record) -> Result<(), Failure> {
            Ok(())
        }

        async fn deregister(&mut self, _: &Record) -> Result<(), Failure> {
            self.0.lock().unwrap().push("left");
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_while_it_registers_leaves_after_that() {
        let yaml = "{ service: edge, address: 10.0.0.1, to: { embedded: { url: 'http://127.0.0.1:1' } } }";
        let settings: Settings = ::settings::parse(yaml, std::path::Path::new("x.yml"), &|_| None).unwrap();
        let wants = watch::Sender::new(Standing::Here);
        let tells = watch::Sender::new(false);
        let announced = Announced { settings, port: 80, health: None, wants: wants.subscribe(), tells };
        let slow = Slow::default();
        let keeping = tokio::spawn(announced.keep(slow.clone()));
        while slow.0.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        wants.send_replace(Standing::Gone);
        keeping.await.unwrap();
        assert_eq!(*slow.0.lock().unwrap(), ["registers", "registered", "left"]);
    }
}
