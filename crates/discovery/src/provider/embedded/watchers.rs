//! Who waits for a change of which service. A change wakes those, and nobody else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, futures::OwnedNotified};

/// Those who wait; as many as long polls and event streams are open.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    services: Mutex<HashMap<Arc<str>, Waiting>>,
    /// Those who wait for any change.
    all: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiting {
    number: usize,
    notify: Arc<Notify>,
}

/// One who waits. Dropping it forgets it.
#[derive(Debug)]
pub struct Watch {
    watchers: Arc<Watchers>,
    service: Option<Arc<str>>,
    notify: Arc<Notify>,
}

impl Watchers {
    /// Begins to wait for changes of this service, or of any.
    pub(super) fn watch(self: &Arc<Self>, service: Option<&str>) -> Watch {
        let Some(service) = service else {
            return Watch { watchers: self.clone(), service: None, notify: self.all.clone() };
        };
        let service: Arc<str> = service.into();
        let notify = {
            let mut services = self.lock();
            let waiting = services.entry(service.clone()).or_default();
            waiting.number += 1;
            waiting.notify.clone()
        };
        Watch { watchers: self.clone(), service: Some(service), notify }
    }

    /// Wakes those who wait for this service.
    pub(super) fn wake(&self, service: &str) {
        if let Some(waiting) = self.lock().get(service) {
            waiting.notify.notify_waiters();
        }
        self.all.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Waiting>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The next change from this call on, also if it comes before the future is polled.
    pub fn changed(&self) -> OwnedNotified {
        self.notify.clone().notified_owned()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(service) = &self.service {
            let mut services = self.watchers.lock();
            let Some(waiting) = services.get_mut(service) else { return };
            waiting.number -= 1;
            if waiting.number == 0 {
                services.remove(service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};

    use super::*;

    async fn woken_already(future: Pin<&mut impl Future<Output = ()>>) -> bool {
        tokio::select! {
            biased;
            () = future => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn only_those_concerned_wake_and_nobody_is_remembered() {
        let watchers = Arc::new(Watchers::default());
        let (pets, orders, all) = (watchers.watch(Some("pets")), watchers.watch(Some("orders")), watchers.watch(None));
        let other = watchers.watch(Some("pets"));
        let mut woken = pin!(pets.changed());
        let mut asleep = pin!(orders.changed());
        let mut any = pin!(all.changed());
        watchers.wake("pets");
        assert!(woken_already(pin!(&mut woken)).await && woken_already(pin!(&mut any)).await);
        assert!(!woken_already(pin!(&mut asleep)).await);
        drop(watchers.watch(Some("orders")));
        watchers.wake("orders");
        assert!(woken_already(pin!(&mut asleep)).await, "another one's leaving costs nobody his place");
        drop((other, pets, orders, all));
        assert!(watchers.lock().is_empty());
    }
}
