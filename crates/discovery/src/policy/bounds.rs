//! How much of one service may be in hand at once, and how long its requests wait.

use std::time::Duration;

/// How much of one service may be in hand at once, and how long its requests wait for what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Requests in hand, over all cores and instances; [`u32::MAX`] is no limit.
    pub requests: u32,
    /// Requests in flight to one instance; [`u32::MAX`] is no limit.
    pub per_instance: u32,
    /// Requests that wait for a place besides, over all cores.
    pub queue: u32,
    /// How long each of them waits.
    pub wait: Duration,
    /// Whether requests wait for an instance where there is none.
    pub hold: WarmHold,
    /// How long what is under way may go on at an instance that is to leave.
    pub drain: Duration,
}

/// Whether requests wait for an instance where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmHold {
    /// They are refused at once.
    Off,
    /// So long, if the service was first heard of, or had an instance, within [`RECENT`].
    Recent(Duration),
    /// So long, always.
    Always(Duration),
}

/// How long a service without instances is expected to get one.
pub const RECENT: Duration = Duration::from_secs(60);

impl Default for Bounds {
    /// The defaults of the file, but for `requests`, which follows what the router may have in hand.
    fn default() -> Self {
        Self {
            requests: u32::MAX,
            per_instance: u32::MAX,
            queue: 128,
            wait: Duration::from_secs(1),
            hold: WarmHold::Recent(Duration::from_secs(5)),
            drain: Duration::from_secs(30),
        }
    }
}

impl WarmHold {
    /// How long a request waits for an instance of a service that has had none for so long; `None`: not at all.
    #[must_use]
    pub fn patience(self, vacant: Option<Duration>) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::Recent(wait) => vacant.filter(|vacant| *vacant < RECENT).map(|_| wait),
            Self::Always(wait) => Some(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_come_back_soon_is_waited_for_unless_told() {
        let wait = Duration::from_secs(5);
        for (hold, vacant, expected) in [
            (WarmHold::Off, Some(Duration::ZERO), None),
            (WarmHold::Recent(wait), Some(Duration::ZERO), Some(wait)),
            (WarmHold::Recent(wait), Some(RECENT), None),
            // It has instances; none of them is in the environment that was asked for.
            (WarmHold::Recent(wait), None, None),
            (WarmHold::Always(wait), Some(10 * RECENT), Some(wait)),
            (WarmHold::Always(wait), None, Some(wait)),
        ] {
            assert_eq!(hold.patience(vacant), expected, "{hold:?} {vacant:?}");
        }
    }
}
