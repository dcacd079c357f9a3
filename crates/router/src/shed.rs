//! hot path
//!
//! A core that has more in hand than it can serve in time takes on less: refused here, a request has cost the reading
//! of its head and nothing else. The client's connection and the requests in hand go on.

use std::time::Duration;

use model::Refusal;
use telemetry::load::Load;
use tokio::time::{Instant, sleep_until};

use crate::exchange::Exchange;

/// How often a core looks how late it is.
const PERIOD: Duration = Duration::from_millis(100);

/// Lets the request in, or refuses it with the chance that the core's load asks for.
///
/// # Errors
/// [`Refusal::Shed`].
pub fn admit(exchange: &Exchange) -> Result<(), Refusal> {
    let load = exchange.core.load();
    let share = exchange.plan.shedding.share(load.requests(), load.lag());
    if share > 0.0 && fastrand::f64() < share {
        return Err(Refusal::Shed);
    }
    Ok(())
}

/// Measures for ever how late a core comes to its work: how long after its time a task among the others is polled.
pub(crate) async fn watch(load: &Load) {
    let mut recent = Recent::default();
    loop {
        let due = Instant::now() + PERIOD;
        sleep_until(due).await;
        load.set_lag(recent.note(due.elapsed()));
    }
}

/// The last measurements. What counts is the least of them: a core that stood still once, because the machine did, is
/// not overloaded; one that is never in time is.
#[derive(Debug, Default)]
struct Recent {
    last: [Duration; 3],
    at: usize,
}

impl Recent {
    fn note(&mut self, lag: Duration) -> Duration {
        self.last[self.at] = lag;
        self.at = (self.at + 1) % self.last.len();
        self.last.into_iter().min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stop_is_no_lag_and_three_late_turns_are() {
        let mut recent = Recent::default();
        let seen: Vec<u64> = [0, 9000, 0, 30, 40, 20, 50, 0]
            .into_iter()
            .map(|lag| u64::try_from(recent.note(Duration::from_millis(lag)).as_millis()).unwrap())
            .collect();
        assert_eq!(seen, [0, 0, 0, 0, 0, 20, 20, 0]);
    }
}
