//! What happened between the end of the warm-up and the end of the trace.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use crate::{alloc::Allocated, peer::Calls};

/// Instances of the one service.
pub(crate) const INSTANCES: usize = 4;

/// All counters of one run, read whenever a round is over.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) client: Rc<Cell<Calls>>,
    pub(crate) instances: [Rc<Cell<Calls>>; INSTANCES],
    begun: Cell<Option<Sample>>,
    last: Cell<Option<Sample>>,
    most: Cell<u64>,
    cost: RefCell<Option<Cost>>,
}

/// All counters at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    allocated: Allocated,
    client: Calls,
    instances: [Calls; INSTANCES],
}

/// What the measured rounds cost together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) rounds: u32,
    pub(crate) allocated: Allocated,
    pub(crate) client: Calls,
    /// All of them together.
    pub(crate) instances: Calls,
    /// Most writes to one connection in one round.
    pub(crate) most: u64,
}

/// Which round it is.
#[derive(Debug)]
pub(crate) struct Rounds {
    ledger: Rc<Ledger>,
    over: u32,
    warm_up: u32,
    measured: u32,
}

impl Ledger {
    fn sample(&self) -> Sample {
        let instances = self.instances.each_ref().map(|calls| calls.get());
        Sample { allocated: Allocated::so_far(), client: self.client.get(), instances }
    }

    /// What the run cost.
    ///
    /// # Panics
    /// If it did not come to its end.
    pub(crate) fn cost(&self) -> Cost {
        self.cost.borrow().expect("the client's script came to its end")
    }
}

impl Rounds {
    pub(crate) fn new(ledger: &Rc<Ledger>, warm_up: u32, measured: u32) -> Self {
        assert!(warm_up > 0 && measured > 0, "at least one round of each");
        Self { ledger: Rc::clone(ledger), over: 0, warm_up, measured }
    }

    /// One more is over. False if it was the last one.
    pub(crate) fn next(&mut self) -> bool {
        let Self { ledger, warm_up, measured, .. } = self;
        self.over += 1;
        let now = ledger.sample();
        if self.over == *warm_up {
            ledger.begun.set(Some(now));
        }
        if self.over > *warm_up
            && let Some(last) = ledger.last.get()
        {
            let writes = |now: Calls, last: Calls| now.writes - last.writes;
            let instances = now.instances.into_iter().zip(last.instances).map(|(now, last)| writes(now, last));
            let most = instances.chain([writes(now.client, last.client)]).max().unwrap_or(0);
            ledger.most.set(ledger.most.get().max(most));
        }
        ledger.last.set(Some(now));
        let going_on = self.over < *warm_up + *measured;
        if !going_on && let Some(begun) = ledger.begun.get() {
            let all = |sample: Sample| sample.instances.into_iter().fold(Calls::default(), |sum, calls| sum + calls);
            *ledger.cost.borrow_mut() = Some(Cost {
                rounds: *measured,
                allocated: now.allocated - begun.allocated,
                client: now.client - begun.client,
                instances: all(now) - all(begun),
                most: ledger.most.get(),
            });
        }
        going_on
    }
}
