//! Keeps a provider watching: when it fails, says so, waits and calls it again.

use std::time::Duration;

use model::{ProviderError, Update};
use tokio::{task::JoinSet, time::sleep};

use super::{Feed, Provider};

/// First wait after a failure: long enough to not spin, short enough that a restarted agent is not missed.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait: an operator who repaired the registry sees it within this time.
const LONGEST: Duration = Duration::from_secs(10);

/// Runs a provider for good; returns when the reconciler is gone. A panic counts as a failure that stays.
pub(super) async fn run(provider: impl Provider, feed: Feed) {
    let mut task = JoinSet::new();
    task.spawn(supervise(provider, feed.clone()));
    if let Some(Err(error)) = task.join_next().await
        && error.is_panic()
    {
        let text = "its watcher panicked, which is a fault of the router; restart it and report the log".to_owned();
        drop(feed.publish(Update::Unreachable(ProviderError::Failed(text))).await);
    }
}

async fn supervise(mut provider: impl Provider, feed: Feed) {
    let mut wait = FIRST;
    loop {
        let before = feed.answers();
        let Err(error) = provider.watch(&feed).await;
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

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, convert::Infallible, sync::Arc};

    use tokio::{
        sync::{mpsc, watch},
        time::Instant,
    };

    use super::*;
    use crate::provider::Interest;

    /// Fails at once, having answered in the calls whose number is listed.
    struct Flaky {
        calls: mpsc::UnboundedSender<Instant>,
        number: usize,
        answers_in: &'static [usize],
    }

    impl Provider for Flaky {
        async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
            self.calls.send(Instant::now()).unwrap();
            self.number += 1;
            assert!(self.number < 12, "a fault of the test");
            if self.answers_in.contains(&self.number) {
                feed.publish(Update::Everything(HashMap::new())).await?;
            }
            Err(ProviderError::Unreachable("the test".into()))
        }
    }

    /// Runs a flaky provider until it panics; the waits between its calls, and what it published.
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

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_published() {
        let (_, published) = waits(&[]).await;
        assert!(
            matches!(published.last(), Some(Update::Unreachable(ProviderError::Failed(text))) if text.contains("panicked"))
        );
    }
}
