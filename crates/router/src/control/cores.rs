//! The data cores: one thread each.

use std::{
    io,
    sync::{Arc, mpsc as blocking},
    thread::JoinHandle,
};

use tokio::{runtime::LocalOptions, sync::mpsc};

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
        let inbox = self.inbox;
        let (told, began) = blocking::channel();
        let thread = std::thread::Builder::new().name(format!("core-{number}")).spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            let (runtime, result) = match runtime {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            told.send(result).ok();
            if let Some(runtime) = runtime {
                runtime.block_on(async move { Core::new(parts).run(inbox).await });
            }
        })?;
        began.recv().map_err(io::Error::other)??;
        Ok(thread)
    }
}
