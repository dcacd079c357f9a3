//! The rules of blocking queries (Consul API documentation, "Blocking Queries"), without any I/O.

/// Where a watch stands: the index of the last answer it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor(u64);

/// What to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Use it. Whether it says anything new is another question: a wake-up does not mean a change.
    Use,
    /// The index went back (a restored snapshot, or a server that lags): ask again from the beginning, at the pace of failures.
    AskAgain,
}

impl Cursor {
    /// The index to block on; `None` asks for the present state without blocking.
    pub(super) fn index(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }

    /// The successor after an answer that carried this index.
    ///
    /// An index below 1 or none at all counts as 1: blocking on 0 would not block.
    pub(super) fn after(self, answered: Option<u64>) -> (Self, Verdict) {
        let index = answered.unwrap_or(0).max(1);
        if index < self.0 { (Self(0), Verdict::AskAgain) } else { (Self(index), Verdict::Use) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// light-4j 726.
    #[test]
    fn the_documented_rules() {
        let start = Cursor::default();
        assert_eq!(start.index(), None);
        assert_eq!(start.after(Some(7)), (Cursor(7), Verdict::Use));
        assert_eq!(start.after(Some(0)), (Cursor(1), Verdict::Use));
        assert_eq!(start.after(None), (Cursor(1), Verdict::Use));
        assert_eq!(Cursor(7).after(Some(7)), (Cursor(7), Verdict::Use));
        assert_eq!(Cursor(7).after(Some(3)), (Cursor(0), Verdict::AskAgain));
    }

    proptest! {
        /// Whatever the server says: never block on 0, never block on more than it said last, and of two answers in a
        /// row at least one is used.
        /// Traefik 8207.
        /// Consul 1244, 4810.
        #[test]
        fn a_watch_never_spins_misses_or_starves(answers in prop::collection::vec(prop::option::of(any::<u64>()), 0..50)) {
            let (mut cursor, mut last) = (Cursor::default(), Verdict::Use);
            for answer in answers {
                let (next, verdict) = cursor.after(answer);
                prop_assert!(next.index() != Some(0));
                prop_assert!(next.index().unwrap_or(0) <= answer.unwrap_or(0).max(1));
                prop_assert_eq!(verdict == Verdict::AskAgain, next.index().is_none());
                prop_assert!(!(last == Verdict::AskAgain && verdict == Verdict::AskAgain));
                (cursor, last) = (next, verdict);
            }
        }
    }
}
