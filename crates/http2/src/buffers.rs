//! The buffers of one thread. A connection borrows one while it has something in hand, so idle ones own none.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// What a buffer holds at first.
const SIZE: usize = 16 * 1024;
/// A buffer that had to grow beyond this is not kept.
const LARGEST: usize = 256 * 1024;
/// Buffers kept for the next connection that has something to write.
const SPARE: usize = 64;
/// What one read may bring: four of the largest records of TLS.
const READ: usize = 64 * 1024;

/// The buffers of one thread; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Rc<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    write: RefCell<Vec<Vec<u8>>>,
    read: RefCell<Option<Box<[u8]>>>,
    held: Cell<usize>,
}

impl Buffers {
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.write.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SIZE))
    }

    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let mut spare = self.0.write.borrow_mut();
        if spare.len() < SPARE && (SIZE..=LARGEST).contains(&buffer.capacity()) {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// The one to read into. Whoever takes it gives it back before anybody else reads.
    pub(crate) fn take_read(&self) -> Box<[u8]> {
        self.0.read.borrow_mut().take().unwrap_or_else(|| vec![0; READ].into())
    }

    pub(crate) fn give_read(&self, buffer: Box<[u8]>) {
        *self.0.read.borrow_mut() = Some(buffer);
    }

    /// So many bytes of payload came, and nobody has taken them yet.
    pub(crate) fn hold(&self, bytes: usize) {
        self.0.held.set(self.0.held.get() + bytes);
    }

    /// So many of them were taken, or are of no more use.
    pub(crate) fn let_go(&self, bytes: usize) {
        self.0.held.set(self.0.held.get() - bytes);
    }

    /// Bytes of payload that came on all connections of the thread and are not taken.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.get()
    }
}
