//! hot path
//!
//! A ring of points.

use crate::{
    hash::numbered,
    hashed::{Lookup, Member},
    roster::around,
};

/// Points of the heaviest member; the others have theirs in proportion, and at least one. Shares vary by
/// 1/sqrt(points): 512 give a standard deviation of 4.4 %, hence 15 % at the edges of a large service. libketama's 160
/// would give 8 and 30. Costs 4 KiB a member.
const POINTS: u64 = 512;

/// Consistent hashing as in libketama: each member has points on a ring of hashes, and owns what lies before them. A member that
/// comes takes keys only for itself, and one that goes leaves its keys to many others.
///
/// Points are counted relative to the heaviest member and not to the sum, as libketama has it, so that the points of
/// the others stay where they are when one comes or goes.
///
/// Source: D. Karger et al., "Consistent Hashing and Random Trees", STOC 1997; R. Jones, libketama, 2007.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Sorted. Hash and member; equal hashes go to the member of the lesser id.
    points: Box<[(u32, u32)]>,
}

impl Ring {
    pub(crate) fn new(members: &[Member<'_>]) -> Self {
        let greatest = members.iter().map(|m| u64::from(m.weight)).max().unwrap_or_default();
        let mut points = Vec::new();
        for (at, member) in (0_u32..).zip(members).filter(|(_, m)| m.weight > 0) {
            let count = (POINTS * u64::from(member.weight)).div_ceil(greatest);
            points.extend((0..count).map(|point| (place(numbered(member.id.as_bytes(), point)), at)));
        }
        points.sort_unstable();
        Self { points: points.into() }
    }
}

/// The place on the ring: the upper half of a hash, to keep points small.
fn place(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Lookup for Ring {
    fn owners(&self, hash: u64) -> impl Iterator<Item = usize> {
        let place = place(hash);
        let next = self.points.partition_point(|(point, _)| *point < place);
        around(self.points.len(), next).map(|point| self.points[point].1 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_closes() {
        let ring = Ring::new(&[Member { id: "a", weight: 1 }]);
        assert_eq!(ring.owners(u64::MAX).take(600).count(), 512);
        assert_eq!(ring.owners(0).next(), Some(0));
    }

    #[test]
    fn equal_members_own_equal_arcs_within_fifteen_percent() {
        for count in [2, 3, 10, 50, 200] {
            let ids: Vec<String> = (0..count).map(|i| format!("10.0.0.{i}:8080")).collect();
            let ring = Ring::new(&ids.iter().map(|id| Member { id, weight: 1 }).collect::<Vec<_>>());
            let mut arcs = vec![0.0; count];
            let mut previous = ring.points[ring.points.len() - 1].0;
            for &(point, member) in &ring.points {
                arcs[member as usize] += f64::from(point.wrapping_sub(previous)) / 2_f64.powi(32) * count as f64;
                previous = point;
            }
            assert!(arcs.iter().all(|arc| (0.85..=1.15).contains(arc)), "{count} members: {arcs:?}");
        }
    }

    #[test]
    fn points_follow_the_weights() {
        let of = |weights: [u16; 3]| {
            let ids = ["a", "b", "c"];
            let members: Vec<_> = ids.iter().zip(weights).map(|(id, weight)| Member { id, weight }).collect();
            let ring = Ring::new(&members);
            [0, 1, 2].map(|at| ring.points.iter().filter(|(_, member)| *member == at).count())
        };
        assert_eq!(of([2, 1, 0]), [512, 256, 0]);
        assert_eq!(of([10_000, 10_000, 1]), [512, 512, 1]);
    }
}
