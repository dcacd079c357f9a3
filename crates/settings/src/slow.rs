//! Reading that blocks because there is nothing else to do yet.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// After this somebody who looks on wonders what it waits for.
const WONDER: Duration = Duration::from_secs(1);

/// Does `work`, which blocks, and has `tell` say so once if it takes longer than a second.
pub fn told_if_slow<T>(tell: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (working, done) = channel::<()>();
        let watch = move || {
            if done.recv_timeout(WONDER) == Err(RecvTimeoutError::Timeout) {
                tell();
            }
        };
        // Without a thread nobody tells; the work is done all the same.
        thread::Builder::new().name("waiting".to_owned()).spawn_scoped(scope, watch).ok();
        let done = work();
        drop(working);
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_at_once_is_not_told_of_and_what_takes_long_is() {
        let mut told = false;
        assert_eq!(told_if_slow(|| told = true, || 7), 7);
        assert!(!told);
        // Ends only when it was told of.
        let (tell, told) = channel();
        told_if_slow(move || tell.send(()).expect("it is waited for"), || told.recv().expect("it is told of"));
    }
}
