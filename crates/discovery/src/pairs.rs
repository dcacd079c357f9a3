//! A list and its successor, side by side. Pure.

use std::cmp::Ordering;

/// What became of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair<A, B> {
    /// Only in the list before.
    Gone(A),
    /// In both.
    Stays(A, B),
    /// Only in the list after.
    Came(B),
}

/// Both lists in one walk. They are sorted by `order`; of equal entries the first of one list goes with the first of the
/// other.
pub(crate) fn pairs<'a, A, B>(
    mut before: &'a [A],
    mut after: &'a [B],
    order: impl Fn(&A, &B) -> Ordering,
) -> impl Iterator<Item = Pair<&'a A, &'a B>> {
    std::iter::from_fn(move || {
        let turn = match (before.first(), after.first()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => order(old, new),
        };
        let old = if turn.is_le() { before.split_off_first() } else { None };
        let new = if turn.is_ge() { after.split_off_first() } else { None };
        match (old, new) {
            (Some(old), Some(new)) => Some(Pair::Stays(old, new)),
            (Some(old), None) => Some(Pair::Gone(old)),
            (None, new) => new.map(Pair::Came),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0_u8..12, 0..12).prop_map(|mut list| {
            list.sort_unstable();
            list
        })
    }

    proptest! {
        #[test]
        fn every_entry_comes_once_and_in_order(before in sorted(), after in sorted()) {
            let all: Vec<_> = pairs(&before, &after, Ord::cmp).collect();
            let olds: Vec<u8> = all.iter().filter_map(|p| match p {
                Pair::Gone(old) | Pair::Stays(old, _) => Some(**old),
                Pair::Came(_) => None,
            }).collect();
            let news: Vec<u8> = all.iter().filter_map(|p| match p {
                Pair::Came(new) | Pair::Stays(_, new) => Some(**new),
                Pair::Gone(_) => None,
            }).collect();
            prop_assert_eq!((olds, news), (before.clone(), after.clone()));
            let count = |list: &[u8], value| list.iter().filter(|v| **v == value).count();
            for value in 0..12 {
                let both = all.iter().filter(|p| matches!(p, Pair::Stays(old, new) if **old == value && **new == value));
                prop_assert_eq!(both.count(), count(&before, value).min(count(&after, value)));
            }
        }
    }
}
