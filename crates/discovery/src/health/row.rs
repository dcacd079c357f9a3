//! A verdict that only a row of looks to the contrary overturns. Pure.

/// What the looks of one check say so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Row {
    /// Whether the check passes; `None` before the first verdict.
    pub(crate) passes: Option<bool>,
    /// Looks in a row that spoke against that.
    pub(crate) against: u8,
}

impl Row {
    /// After one more look. A verdict of failure needs `fall` failures in a row, one of success `rise` successes; before
    /// the first verdict one success is enough, for a rolling deploy waits for it.
    pub(crate) fn step(self, passed: bool, rise: u8, fall: u8) -> Self {
        if self.passes == Some(passed) {
            return Self { against: 0, ..self };
        }
        let needed = match (self.passes, passed) {
            (None, true) => 1,
            (_, true) => rise,
            (_, false) => fall,
        };
        let against = self.against.saturating_add(1);
        if against >= needed { Self { passes: Some(passed), against: 0 } } else { Self { against, ..self } }
    }

    /// Whether another look soon would tell more than usual.
    pub(crate) fn is_in_doubt(self) -> bool {
        self.passes.is_none() || self.against > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A verdict only ever changes at the end of a whole row, and a whole row always changes it.
        #[test]
        fn a_verdict_is_what_the_last_whole_row_said(rise in 1_u8..5, fall in 1_u8..5, looks in prop::collection::vec(any::<bool>(), 0..60)) {
            let (mut row, mut seen) = (Row::default(), Vec::new());
            for passed in looks {
                let before = row;
                row = row.step(passed, rise, fall);
                seen.push(passed);
                let length = match (before.passes, passed) { (None, true) => 1, (_, true) => rise, _ => fall };
                let whole = seen.iter().rev().take_while(|look| **look == passed).count() >= usize::from(length);
                prop_assert_eq!(row.passes == Some(passed), whole || before.passes == Some(passed));
                prop_assert!(row.passes == before.passes || row.passes == Some(passed));
                prop_assert_eq!(row.is_in_doubt(), row.passes != Some(passed));
            }
        }
    }
}
