//! Reading where it hurts nobody if it hangs.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Turn;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a reading may take. A disk needs milliseconds; a network file system that lost its server never ends.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Reads on a thread that may block, one reading at a time.
///
/// A call that hangs in the system cannot be ended, and its thread with it. So whoever waits gives up after [`PATIENCE`],
/// and nothing else is read here until that call returns: whoever asks meanwhile is told so at once. However long it
/// hangs, and however often it is tried, one thread is lost. What it read in the end is old, and dropped. Clones are the
/// same place.
#[derive(Debug, Clone, Default)]
pub struct Aside {
    turn: Arc<Turn<()>>,
    /// When the last reading began.
    begun: Arc<Mutex<Option<Instant>>>,
}

/// A reading did not end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled;

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("reading stalls: does the file system answer?")
    }
}

impl std::error::Error for Stalled {}

impl From<Stalled> for std::io::Error {
    fn from(stalled: Stalled) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, stalled)
    }
}

impl Aside {
    /// Reads, once what is being read here is read.
    ///
    /// # Errors
    /// [`Stalled`] if this reading, or the one before it, does not end in time.
    ///
    /// # Panics
    /// If `read` does, or outside a tokio runtime.
    pub async fn run<T: Send + 'static>(&self, read: impl FnOnce() -> T + Send + 'static) -> Result<T, Stalled> {
        let turn = self.turn().await?;
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let reading = spawn_blocking(move || {
            let found = read();
            drop(turn);
            found
        });
        match timeout(PATIENCE, reading).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(ended)) if ended.is_panic() => resume_unwind(ended.into_panic()),
            // The runtime is ending: nobody needs an answer any more.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => Err(Stalled),
        }
    }

    /// Whether something is being read here.
    pub(crate) fn is_busy(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    async fn turn(&self) -> Result<tokio::sync::OwnedMutexGuard<()>, Stalled> {
        if let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() {
            return Ok(turn);
        }
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now);
        timeout_at(begun + PATIENCE, Arc::clone(&self.turn).lock_owned()).await.map_err(|_| Stalled)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// Paused time stands still while something is being read.
    #[tokio::test(start_paused = true)]
    async fn a_reading_that_hangs_costs_one_thread_and_one_wait_and_heals_by_itself() {
        let aside = Aside::default();
        let (release, hung) = mpsc::channel::<()>();
        let place = aside.clone();
        let first = tokio::spawn(async move { place.run(move || hung.recv().is_ok()).await });
        while !aside.is_busy() {
            tokio::task::yield_now().await;
        }
        // Timers are exact to a millisecond.
        tokio::time::advance(PATIENCE + Duration::from_millis(1)).await;
        assert_eq!(first.await.unwrap(), Err(Stalled));
        let begun = Arc::new(AtomicUsize::new(0));
        let asked = Instant::now();
        for _ in 0..100 {
            let count = Arc::clone(&begun);
            assert_eq!(aside.run(move || count.fetch_add(1, Ordering::Relaxed)).await, Err(Stalled));
        }
        assert_eq!(asked.elapsed(), Duration::ZERO, "nobody waits for what is known to hang");
        assert_eq!(begun.load(Ordering::Relaxed), 0, "nothing else was begun");
        release.send(()).unwrap();
        while aside.is_busy() {
            tokio::task::yield_now().await;
        }
        assert_eq!(aside.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn whoever_comes_meanwhile_waits_for_its_turn() {
        let aside = Aside::default();
        let (release, held) = mpsc::channel::<()>();
        let (one, two) = (aside.clone(), aside.clone());
        let first = tokio::spawn(async move { one.run(move || held.recv().is_ok()).await });
        while !aside.is_busy() {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn(async move { two.run(|| 2).await });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!second.is_finished());
        release.send(()).unwrap();
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(true), Ok(2)));
    }
}
