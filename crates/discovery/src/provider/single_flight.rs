//! One question for all who have it at the same moment.

use tokio::{sync::Mutex, time::Instant};

/// The last answer to a question that many have, and when that was asked.
#[derive(Debug)]
pub(super) struct SingleFlight<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> SingleFlight<T> {
    /// The answer to the question as asked at this time or later: asked now, unless somebody did so while we waited. An
    /// answer to what was asked before says nothing of what happened since.
    pub(super) async fn since(&self, time: Instant, ask: impl Future<Output = T>) -> T {
        let mut last = self.0.lock().await;
        if let Some((asked, answer)) = &*last
            && *asked >= time
        {
            return answer.clone();
        }
        let asked = Instant::now();
        let answer = ask.await;
        *last = Some((asked, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_share_the_next_answer_and_no_earlier_one() {
        let (asked, flight) = (AtomicUsize::new(0), SingleFlight::default());
        let ask = async |late| {
            sleep(Duration::from_millis(late)).await;
            let answer = async {
                sleep(Duration::from_millis(100)).await;
                asked.fetch_add(1, Ordering::Relaxed)
            };
            flight.since(Instant::now(), answer).await
        };
        let answers = tokio::join!(ask(0), ask(10), ask(20), ask(90), ask(250));
        assert_eq!(answers, (0, 1, 1, 1, 2));
    }
}
