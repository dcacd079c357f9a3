//! Keeps a provider watching: when it fails, says so, waits and calls it again.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::Duration,
};

use model::{ProviderError, Update};
use tokio::time::sleep;

use super::{Feed, Provider};

/// First wait after a failure: long enough to not spin, short enough that a restarted agent is not missed.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait: an operator who repaired the registry sees it within this time.
const LONGEST: Duration = Duration::from_secs(10);

/// Runs a provider for good; returns when the reconciler is gone. A panic is a failure like any other: what a registry
/// said that nobody thought of must not silence it for ever.
pub(super) async fn run(mut provider: impl Provider, feed: Feed) {
    let mut wait = FIRST;
    loop {
        let before = feed.answers();
        let error = watch(&mut provider, &feed).await;
        if error == ProviderError::Closed || feed.publish(Update::Unreachable(error)).await.is_err() {
            return;
        }
        if feed.answers() > before {
            wait = FIRST;
        }
        sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        wait = (wait * 2).min(LONGEST);
    }
}

/// Watches until it fails or panics. A watch begins anew each time, so nothing that a panic left half done is gone on with
/// but what providers keep over lives, which is whole between any two statements.
async fn watch(provider: &mut impl Provider, feed: &Feed) -> ProviderError {
    let mut watching = pin!(provider.watch(feed));
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| watching.as_mut().poll(cx))) {
        Ok(poll) => poll.map(|Err(error)| error),
        Err(_) => Poll::Ready(ProviderError::Failed(PANICKED.to_owned())),
    })
    .await
}

const PANICKED: &str = "its watcher panicked, which is a fault of the router; report the log";

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, convert::Infallible, sync::Arc};

    use tokio::{
        sync::{mpsc, watch},
        time::Instant,
    };

    use super::*;
    use crate::provider::Interest;

    /// Fails at once eleven times, having answered in the calls whose number is listed.
    struct Flaky {
        calls: mpsc::UnboundedSender<Instant>,
        number: usize,
        answers_in: &'static [usize],
    }

    impl Provider for Flaky {
        async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
            self.calls.send(Instant::now()).unwrap();
            self.number += 1;
            if self.number == 12 {
                return Err(ProviderError::Closed);
            }
            if self.answers_in.contains(&self.number) {
                feed.publish(Update::Everything(HashMap::new())).await?;
            }
            Err(ProviderError::Unreachable("the test".into()))
        }
    }

    /// Runs a flaky provider to its end; the waits between its calls, and what it published.
    async fn waits(answers_in: &'static [usize]) -> (Vec<Duration>, Vec<Update>) {
        let (updates, mut published) = mpsc::channel(64);
        let (_keep, interest) = watch::channel(Arc::new(Interest::default()));
        let (calls, mut called) = mpsc::unbounded_channel();
        run(Flaky { calls, number: 0, answers_in }, Feed::new(0, updates, interest)).await;
        let mut times = Vec::new();
        while let Ok(at) = called.try_recv() {
            times.push(at);
        }
        let mut all = Vec::new();
        while let Ok((_, update)) = published.try_recv() {
            all.push(update);
        }
        (times.windows(2).map(|w| w[1] - w[0]).collect(), all)
    }

    /// Fabio 764.
    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_ten_seconds_with_jitter() {
        let (waits, published) = waits(&[]).await;
        let mut longest = FIRST;
        for wait in &waits {
            let slack = Duration::from_millis(2);
            assert!(*wait >= longest / 2 && *wait <= longest + slack, "{wait:?} is not {longest:?} less jitter");
            longest = (longest * 2).min(LONGEST);
        }
        assert_eq!(longest, LONGEST, "long enough to see the limit");
        let failures = published.iter().filter(|u| matches!(u, Update::Unreachable(ProviderError::Unreachable(_))));
        assert_eq!(failures.count(), waits.len(), "every failure is published");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_makes_the_next_wait_short_again() {
        let (waits, _) = waits(&[6]).await;
        assert!(waits[4] > FIRST * 4);
        assert!(waits[5] <= FIRST + Duration::from_millis(2), "{:?}", waits[5]);
    }

    /// Panics once, then answers.
    struct Panicky(bool);

    impl Provider for Panicky {
        async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
            assert!(std::mem::replace(&mut self.0, true), "a fault of the test");
            feed.publish(Update::Everything(HashMap::new())).await?;
            Err(ProviderError::Closed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_published_and_the_provider_called_again() {
        let (updates, mut published) = mpsc::channel(64);
        let (_keep, interest) = watch::channel(Arc::new(Interest::default()));
        run(Panicky(false), Feed::new(0, updates, interest)).await;
        let first = published.recv().await.unwrap().1;
        assert!(matches!(first, Update::Unreachable(ProviderError::Failed(text)) if text.contains("panicked")));
        assert_eq!(published.recv().await.unwrap().1, Update::Everything(HashMap::new()));
    }
}
