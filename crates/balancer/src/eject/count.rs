//! How many instances of a service may be out for what they answer.

use super::Eject;

/// The instances of one service, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// All that could get requests.
    pub members: usize,
    /// Those that nothing keeps out.
    pub whole: usize,
    /// Those that are out for what they answer and for nothing else.
    pub ejected: usize,
}

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Margin {
    /// So many more may be put out.
    pub room: usize,
    /// So few take requests that all that are out for what they answer must come back.
    pub panic: bool,
}

impl Count {
    /// Each counts as one, whatever its weight: weights say how much an instance takes, not how much can be lost.
    ///
    /// The last one is never put out, and none that would leave fewer than the panic threshold: it would be back at once.
    #[must_use]
    pub fn margin(self, rules: &Eject) -> Margin {
        let members = self.members as f64;
        let most = (rules.max_share * members).floor() as usize;
        let least = ((rules.panic * members).ceil() as usize).max(1);
        Margin {
            room: most.saturating_sub(self.ejected).min(self.whole.saturating_sub(least)),
            panic: self.ejected > 0 && self.whole < least,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room(members: usize, whole: usize, ejected: usize) -> usize {
        Count { members, whole, ejected }.margin(&Eject::default()).room
    }

    #[test]
    fn half_of_them_and_never_the_last() {
        for (members, expected) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (10, 5), (101, 50)] {
            assert_eq!(room(members, members, 0), expected, "{members}");
        }
        assert_eq!(room(10, 6, 4), 1);
        assert_eq!(room(10, 5, 5), 0);
        let all = Eject { max_share: 1.0, panic: 0.0, ..Eject::default() };
        assert_eq!(Count { members: 4, whole: 4, ejected: 0 }.margin(&all).room, 3);
    }

    #[test]
    fn those_that_are_out_for_other_reasons_leave_less_room() {
        // Of ten, five crashed: two more may go, then three are left, which is the threshold.
        assert_eq!(room(10, 5, 0), 2);
        assert_eq!(room(10, 3, 0), 0);
        let panic = |whole, ejected| Count { members: 10, whole, ejected }.margin(&Eject::default()).panic;
        assert!(panic(2, 1) && !panic(3, 1) && !panic(2, 0));
    }

    proptest! {
        /// Whoever uses up the room stays within every bound, and causes no panic.
        #[test]
        fn the_room_is_within_all_bounds(
            members in 0_usize..200, out in 0_usize..200, ejected in 0_usize..200,
            max_share in 0.0..=1.0_f64, panic in 0.0..=1.0_f64,
        ) {
            let out = out.min(members);
            let ejected = ejected.min(out);
            let rules = Eject { max_share, panic, ..Eject::default() };
            let whole = members - out;
            let Margin { room, panic: _ } = Count { members, whole, ejected }.margin(&rules);
            prop_assert!(room == 0 || room + ejected <= (max_share * members as f64) as usize);
            prop_assert!(room == 0 || room < whole, "the last one");
            let after = Count { members, whole: whole - room, ejected: ejected + room }.margin(&rules);
            prop_assert!(room == 0 || !after.panic);
            prop_assert_eq!(after.room, 0);
        }
    }
}
