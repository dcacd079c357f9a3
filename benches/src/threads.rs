//! What the threads of this process spend.

use std::{fs, time::Duration};

/// Time on a core of all threads with this name so far, from the kernel's `schedstat`.
///
/// # Panics
/// If there is none, or the kernel does not say.
#[must_use]
pub fn spent(name: &str) -> Duration {
    let mut all = None;
    for task in fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        // A thread may end while we look.
        let Ok(comm) = fs::read_to_string(task.path().join("comm")) else { continue };
        if comm.trim_end() == name {
            let stat = fs::read_to_string(task.path().join("schedstat")).expect("the thread lives");
            let nanos = stat.split(' ').next().and_then(|text| text.parse().ok()).expect("nanoseconds");
            *all.get_or_insert(Duration::ZERO) += Duration::from_nanos(nanos);
        }
    }
    all.expect("a thread of this name")
}
