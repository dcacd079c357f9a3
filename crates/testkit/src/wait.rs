//! Waiting that ends: every wait of a test has a bound, and says what it waited for.

use std::{fmt::Debug, future::Future, time::Duration};

use tokio::{sync::watch, time::Instant};

/// The bound of everything that should take milliseconds: long enough for a laden machine, short enough for a person.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks: fine enough not to slow a test, coarse enough to leave the core to what is waited for.
const STEP: Duration = Duration::from_millis(5);

/// Runs `future` to its end.
///
/// # Panics
/// If it takes longer than [`DEADLINE`]; `what` completes the sentence "timed out: ...".
#[track_caller]
pub fn bounded<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(value) => value,
            Err(_) => panic!("timed out: {what}, after {DEADLINE:?} (asked at {caller})"),
        }
    }
}

/// Polls `condition` every few milliseconds until it holds; `false` if it does not within `within`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut looks = 0;
/// assert!(testkit::wait_for(|| { looks += 1; looks > 3 }, std::time::Duration::from_secs(5)).await);
/// # });
/// ```
pub async fn wait_for(mut condition: impl FnMut() -> bool, within: Duration) -> bool {
    let end = Instant::now() + within;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(STEP).await;
    }
}

/// [`wait_for`] within [`DEADLINE`].
///
/// # Panics
/// If the condition never holds; `what` says what was expected.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move { assert!(wait_for(condition, DEADLINE).await, "never came true: {what} (asked at {caller})") }
}

/// How long what other processes do may take: a registry that restarts on a laden machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `now` again and again until its answer is as wanted, and gives that answer.
///
/// # Panics
/// If that takes longer than [`PATIENCE`], with the last answer; `what` says what was expected.
#[track_caller]
pub fn until<T: Debug>(
    what: &str,
    mut now: impl AsyncFnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = now().await;
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "never came true: {what}; now {answer:#?} (asked at {caller})");
            tokio::time::sleep(STEP).await;
        }
    }
}

/// A gate that a test opens when it is ready: replies held by it wait, without a sleep to guess the length of.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets everything through, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the gate is open.
    pub async fn passed(&self) {
        let mut state = self.0.subscribe();
        // The sender lives in `self`, so the wait can only end by opening.
        drop(state.wait_for(|open| *open).await);
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gate_holds_until_it_opens() {
        let gate = Gate::new();
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.passed().await }
        });
        assert!(!wait_for(|| waiting.is_finished(), Duration::from_millis(30)).await);
        gate.open();
        bounded("the gate", waiting).await.unwrap();
    }

    #[tokio::test]
    async fn a_condition_that_never_holds_is_told() {
        assert!(!wait_for(|| false, Duration::from_millis(10)).await);
    }
}
