//! Two cores, the wires between them, and the tasks that hold their streams. Tasks run only when they were woken, and a
//! core writes only when it was: whoever forgets to wake somebody is found out, because then everything stands still.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::io::AsyncWrite;

use super::{Count, assert_empty};
use crate::{
    Buffers, Request, Sender, Settings,
    core::{Core, Role},
    frame::LARGEST_WINDOW,
};

/// Numbers that look random and are the same each time.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // SplitMix64: any seed will do.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// Takes so many bytes and then no more.
struct Narrow<'a>(&'a mut VecDeque<u8>, usize);

impl AsyncWrite for Narrow<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.1);
        self.0.extend(&bytes[..taken]);
        self.1 -= taken;
        if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// One end: a core, what is on its way to it, and whether it was woken.
pub(super) struct End {
    pub(super) core: Rc<RefCell<Core>>,
    wire: VecDeque<u8>,
    /// What came of a frame whose end has not come.
    left: Vec<u8>,
    count: Arc<Count>,
    waker: Waker,
    is_woken: bool,
}

impl End {
    fn new(role: Role, settings: Settings) -> Self {
        let core = Core::new(role, settings, Buffers::default());
        let (count, waker) = Count::new();
        Self {
            core: Rc::new(RefCell::new(core)),
            wire: VecDeque::new(),
            left: Vec::new(),
            count,
            waker,
            is_woken: true,
        }
    }

    fn is_ready(&mut self) -> bool {
        self.is_woken |= self.count.take() > 0;
        self.is_woken || !self.wire.is_empty()
    }

    fn deliver(&mut self, most: usize) {
        if self.core.borrow().is_stuffed() || self.wire.is_empty() {
            return;
        }
        let come = self.wire.len().min(most);
        self.left.extend(self.wire.drain(..come));
        let taken = self.core.borrow_mut().receive(&self.left);
        self.left.drain(..taken);
    }

    fn write(&mut self, wire: &mut VecDeque<u8>, most: usize) {
        let mut core = self.core.borrow_mut();
        let mut cx = Context::from_waker(&self.waker);
        let written = core.out.poll_write(&mut Narrow(wire, most), &mut cx);
        core.has_written();
        core.note_task(&cx);
        // What was not taken now is taken some time later.
        self.is_woken = written.is_pending();
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

pub(super) struct World {
    pub(super) client: End,
    pub(super) server: End,
    tasks: Vec<(Option<Task>, Arc<Count>)>,
    serve: Box<dyn FnMut(Request) -> Task>,
    pub(super) random: Random,
    /// The most that is written or comes at once.
    chunk: usize,
}

impl World {
    /// `serve` makes the task that answers a request.
    pub(super) fn new(
        settings: [Settings; 2],
        seed: u64,
        chunk: usize,
        serve: impl FnMut(Request) -> Task + 'static,
    ) -> (Sender, Self) {
        let [client, server] = settings;
        let (client, server) = (End::new(Role::Client, client), End::new(Role::Server, server));
        let sender = Sender::new(&client.core);
        let (tasks, random) = (Vec::new(), Random(seed));
        (sender, Self { client, server, tasks, serve: Box::new(serve), random, chunk })
    }

    pub(super) fn spawn(&mut self, task: Task) {
        let count = Arc::new(Count::default());
        // It runs for the first time as if it had been woken.
        Waker::from(Arc::clone(&count)).wake();
        self.tasks.push((Some(task), count));
    }

    /// One turn of somebody who is ready, chosen at random. False if nobody is.
    pub(super) fn step(&mut self) -> bool {
        let woken = |(task, count): &(Option<Task>, Arc<Count>)| {
            task.is_some() && count.0.load(std::sync::atomic::Ordering::Relaxed) > 0
        };
        let mut ready: Vec<usize> =
            (0..self.tasks.len()).filter(|at| woken(&self.tasks[*at])).map(|at| at + 2).collect();
        ready.extend(self.client.is_ready().then_some(0));
        ready.extend(self.server.is_ready().then_some(1));
        if ready.is_empty() {
            return false;
        }
        match ready[self.random.below(ready.len())] {
            end @ (0 | 1) => self.turn(end),
            task => self.run(task - 2),
        }
        true
    }

    fn turn(&mut self, end: usize) {
        let (come, go) = (1 + self.random.below(self.chunk), 1 + self.random.below(self.chunk));
        let (this, other) =
            if end == 0 { (&mut self.client, &mut self.server) } else { (&mut self.server, &mut self.client) };
        this.deliver(come);
        this.write(&mut other.wire, go);
        loop {
            let accepted = self.server.core.borrow_mut().accept();
            let Some((head, place)) = accepted else { break };
            let task = (self.serve)(Request::new(head, &self.server.core, place));
            self.spawn(task);
        }
    }

    fn run(&mut self, at: usize) {
        let (task, count) = &mut self.tasks[at];
        count.take();
        let waker = Waker::from(Arc::clone(count));
        if let Some(future) = task
            && future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            *task = None;
        }
    }

    /// Nothing is on its way in either direction.
    pub(super) fn is_quiet(&self) -> bool {
        [&self.client, &self.server]
            .iter()
            .all(|end| end.wire.is_empty() && end.left.is_empty() && end.core.borrow().out.is_empty())
    }

    /// Runs until nobody is ready. Then everybody must be done, and nothing may be left.
    pub(super) fn run_to_the_end(&mut self) {
        while self.step() {}
        let stuck = self.tasks.iter().filter(|(task, _)| task.is_some()).count();
        assert_eq!(stuck, 0, "tasks that nobody will ever wake");
        assert!(self.is_quiet());
        for (end, other) in [(&self.client, &self.server), (&self.server, &self.client)] {
            let (core, peer) = (end.core.borrow(), other.core.borrow());
            assert_eq!(core.error, None);
            assert_empty(&core);
            assert_eq!(
                core.window + i64::from(peer.received),
                LARGEST_WINDOW,
                "all was given back or is still counted"
            );
        }
    }
}
