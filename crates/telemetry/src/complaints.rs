//! What may happen a thousand times a second is logged once a minute, with how often it happened.

use std::time::Duration;

use model::Tick;

/// How often the log says so, at most.
const SPACING: Duration = Duration::from_secs(60);

/// Of one kind, since the log last said so.
#[derive(Debug, Default)]
pub struct Complaints {
    untold: u64,
    told: Option<Tick>,
}

impl Complaints {
    /// So many more. `Some` if the log is to say so: how many there were since it last did.
    pub fn add(&mut self, more: u64, now: Tick) -> Option<u64> {
        self.untold += more;
        if self.told.is_some_and(|told| now < told.after(SPACING)) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_hears_of_it_once_a_minute_and_of_all() {
        let (mut complaints, start) = (Complaints::default(), Tick(7));
        assert_eq!(complaints.add(1, start), Some(1));
        for second in 1..60 {
            assert_eq!(complaints.add(2, start.after(Duration::from_secs(second))), None);
        }
        assert_eq!(complaints.add(1, start.after(SPACING)), Some(2 * 59 + 1));
        assert_eq!(complaints.add(1, start.after(SPACING)), None);
    }
}
