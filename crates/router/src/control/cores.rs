//! The data cores: one thread each.

use std::{io, sync::Arc, thread::JoinHandle};

use tokio::sync::mpsc;

use crate::{
    accept::Desk,
    core::{Core, Load, Order, Parts},
};

/// A core that has its inbox and no thread yet.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) desk: Desk,
    inbox: mpsc::UnboundedReceiver<Order>,
}

impl Seat {
    pub(super) fn new() -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        Self { desk: Desk { orders, load: Arc::new(Load::default()) }, inbox }
    }

    /// Starts the core's thread. It ends when the last sender of its inbox is gone.
    pub(super) fn start(self, number: usize, parts: Parts) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let inbox = self.inbox;
        std::thread::Builder::new().name(format!("core-{number}")).spawn(move || {
            let mut runtime = runtime;
            match runtime.enable_all().build_local(tokio::runtime::LocalOptions::default()) {
                Ok(runtime) => runtime.block_on(async move { Core::new(parts).run(inbox).await }),
                Err(error) => tracing::error!(%error, "a core cannot start"),
            }
        })
    }
}
