//! hot path
//!
//! The alarms of one thread that do not ring soon. Nearly all limits of requests are seconds away and never run out:
//! waiting for one here is a place in a list, where a sleep of its own is an allocation and two turns at the lock of
//! the runtime's timer wheel. One task looks through the list; who is due soon is woken and sleeps by itself.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
    time::Duration,
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    time::{Instant, sleep},
};

/// What is further away than this can wait in the list.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// How often the list is looked through: twice before anything in it is due.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds that find the list empty before the task ends.
const EMPTY: u8 = 4;

thread_local! {
    static LIST: Rc<List> = Rc::default();
}

#[derive(Debug, Default)]
struct List {
    places: RefCell<Places>,
    /// The task is there.
    watched: Cell<bool>,
}

#[derive(Debug, Default)]
struct Places {
    all: Vec<Option<Waiting>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    /// `None` once it was woken.
    waker: Option<Waker>,
}

/// A place in the list of its thread, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    list: Rc<List>,
    at: usize,
}

impl Place {
    /// A place, if somebody looks through the list of this thread or can be made to.
    pub(super) fn take() -> Option<Self> {
        let list = LIST.with(Rc::clone);
        if !list.watched.get() {
            watch(&list)?;
        }
        let mut places = list.places.borrow_mut();
        let at = places.free.pop().unwrap_or_else(|| {
            places.all.push(None);
            places.all.len() - 1
        });
        drop(places);
        Some(Self { list, at })
    }

    /// Wakes the task before that time, early enough to sleep until then.
    pub(super) fn wait(&mut self, due: Instant, waker: &Waker) {
        let mut places = self.list.places.borrow_mut();
        match &mut places.all[self.at] {
            Some(Waiting { due: put_off, waker: Some(same) }) if same.will_wake(waker) => *put_off = due,
            other => *other = Some(Waiting { due, waker: Some(waker.clone()) }),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.list.places.borrow_mut();
        let waiting = places.all[self.at].take();
        places.free.push(self.at);
        drop(places);
        // Its waker may be the last hold on a task, whose end may bring it here again.
        drop(waiting);
    }
}

/// Starts the task. Only where tasks stay on the thread that spawns them.
fn watch(list: &List) -> Option<()> {
    let runtime = Handle::try_current().ok()?;
    if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
        return None;
    }
    list.watched.set(true);
    let watched = Watched;
    runtime.spawn(async move {
        let _watched = watched;
        let mut empty = 0;
        while empty < EMPTY {
            sleep(ROUND).await;
            empty = if LIST.with(|list| list.look(Instant::now())) { 0 } else { empty + 1 };
        }
    });
    Some(())
}

/// The task, which may also end with its runtime.
struct Watched;

impl Drop for Watched {
    fn drop(&mut self) {
        LIST.try_with(|list| list.watched.set(false)).ok();
    }
}

impl List {
    /// Wakes who is due soon. False if there is nobody.
    fn look(&self, now: Instant) -> bool {
        let soon = now + SOON;
        let mut places = self.places.borrow_mut();
        let due = places.all.iter_mut().flatten().filter(|waiting| waiting.due <= soon);
        let woken: Vec<Waker> = due.filter_map(|waiting| waiting.waker.take()).collect();
        let any = places.free.len() < places.all.len();
        if !any {
            *places = Places::default();
        }
        drop(places);
        woken.into_iter().for_each(Waker::wake);
        any
    }
}
