//! Reading that blocks because there is nothing else to do yet.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::Stalled;

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

/// What this reads, if it ends in time; else its thread is lost to it. [`crate::Aside`] does the same where there is a
/// runtime.
///
/// # Errors
/// [`Stalled`] if it does not, else its own.
pub fn read_within<T: Send + 'static>(
    patience: Duration,
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (found, answer) = channel();
    thread::Builder::new().name("reading".to_owned()).spawn(move || {
        // Nobody may listen any more.
        found.send(read()).ok();
    })?;
    match answer.recv_timeout(patience) {
        Ok(read) => read,
        Err(RecvTimeoutError::Timeout) => Err(Stalled.into()),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("reading panicked")),
    }
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

    #[test]
    fn what_hangs_is_given_up() {
        let (release, held) = channel::<()>();
        let hung = read_within(Duration::from_millis(10), move || Ok(held.recv().is_ok()));
        assert_eq!(hung.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(release);
        assert_eq!(read_within(Duration::from_secs(20), || Ok(7)).unwrap(), 7);
    }
}
