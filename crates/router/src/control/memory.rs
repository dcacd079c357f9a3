//! Gives freed memory back to the system after a change.
//!
//! The allocator keeps freed pages for a second, in case they are wanted again, and looks whether the second is over only
//! when another page is freed. A router at rest frees none, so what a start or a large update needed for a moment, a
//! sixth of all memory with 100,000 instances, would stay with it for as long as nobody asks it anything.

use std::{hint::black_box, time::Duration};

use tokio::{sync::watch, time::sleep};

/// Longer than the allocator keeps freed pages (`purge_delay`, 1 s), and how often a table that always changes is
/// followed.
const REST: Duration = Duration::from_secs(2);
/// More than the allocator keeps in any list for re-use, so that freeing it is a page's end. It is never touched, and
/// therefore never becomes memory.
const PAGE: usize = 1 << 20;

/// Frees a page some time after each new table, until there is no table any more.
pub(super) async fn give_back(mut generations: watch::Receiver<u64>) {
    while generations.changed().await.is_ok() {
        sleep(REST).await;
        generations.mark_unchanged();
        drop(black_box(Vec::<u8>::with_capacity(PAGE)));
    }
}
