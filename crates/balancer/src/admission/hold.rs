//! What keeps an instance out until whoever said so takes it back.

use std::fmt;

use super::{HOLDS_MASK, HOLDS_SHIFT};

/// Why an instance gets no requests until further notice. Put by others than the data path, see
/// [`Vitals::hold`](crate::Vitals::hold); each cause has one owner, and is in or out whatever the others say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Hold {
    /// An active check fails.
    Check = 1,
    /// It is new, its registry says nothing of health, and no check has passed yet.
    Unproven = 2,
    /// An operator put it out.
    Drained = 4,
}

impl Hold {
    const ALL: [Self; 3] = [Self::Drained, Self::Check, Self::Unproven];

    /// One word for status pages and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Unproven => "unproven",
            Self::Drained => "drained",
        }
    }

    pub(super) fn bit(self) -> u64 {
        (self as u64) << HOLDS_SHIFT
    }
}

/// All that hold an instance at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds(u64);

impl Holds {
    pub(super) fn of(word: u64) -> Self {
        Self(word & HOLDS_MASK)
    }

    /// Nobody holds it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn contains(self, cause: Hold) -> bool {
        self.0 & cause.bit() != 0
    }

    /// Each of them, the most deliberate first.
    pub fn iter(self) -> impl Iterator<Item = Hold> {
        Hold::ALL.into_iter().filter(move |cause| self.contains(*cause))
    }
}

/// The words of all, with commas: `drained, check`.
impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, cause) in self.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{}", cause.as_str())?;
        }
        Ok(())
    }
}
