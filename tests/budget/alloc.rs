//! Counts what the current thread allocates. The one place of the project with unsafe code: an allocator cannot be
//! written without it.
#![allow(unsafe_code, reason = "the trait of allocators is unsafe; every call goes on to the router's own as it came")]

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    ops::Sub,
};

use mimalloc::MiMalloc;

/// The router's own allocator, counted.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

/// What a thread has asked for so far; what it gave back is not taken off.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allocated {
    /// Calls that gave memory, made it larger or smaller.
    pub(crate) times: u64,
    /// Sizes asked for, all together.
    pub(crate) bytes: u64,
}

thread_local! {
    // Constant and without a destructor, so that using it allocates nothing.
    static ALLOCATED: Cell<Allocated> = const { Cell::new(Allocated { times: 0, bytes: 0 }) };
}

impl Allocated {
    /// By this thread, so far.
    pub(crate) fn so_far() -> Self {
        ALLOCATED.get()
    }
}

impl Sub for Allocated {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { times: self.times - earlier.times, bytes: self.bytes - earlier.bytes }
    }
}

fn count(size: usize) {
    let Allocated { times, bytes } = ALLOCATED.get();
    ALLOCATED.set(Allocated { times: times + 1, bytes: bytes + size as u64 });
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { MiMalloc.realloc(memory, layout, size) }
    }
}
