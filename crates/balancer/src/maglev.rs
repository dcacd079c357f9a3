//! hot path
//!
//! Google's consistent hashing.

use crate::{
    hash::numbered,
    hashed::{Lookup, Member},
    roster::around,
};

/// Table sizes: primes, so that every step width visits every slot. The smallest with 100 slots for each member keeps equal
/// members within 1 % of each other. Few sizes, as a table of another size deals all keys anew; factors of four, so that
/// ten thousand services of ten instances need 20 MB. The last is the paper's own choice, within 1 % up to 655 members.
const SIZES: [u32; 4] = [1009, 4001, 16_001, 65_537];

/// What the paper recommends as the least.
const SLOTS: usize = 100;

/// A table of slots, each filled with a member. Every member has its own permutation of the slots, and members in turn
/// take the first slot of theirs that is still free: so all get their share to the slot, and a member that leaves frees
/// hardly more than its own.
///
/// Weights are honoured as in Envoy: a member of half the greatest weight sits out every other turn.
///
/// Source: D. Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4;
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#maglev>
#[derive(Debug)]
pub(crate) struct Maglev {
    /// Members beyond the 65,535th have no slot: the largest table has none to give them.
    slots: Box<[u16]>,
}

/// A member's way through the slots.
struct Permutation {
    member: u16,
    next: u32,
    skip: u32,
    weight: u64,
    /// Turns it should have had, times the greatest weight.
    due: u64,
}

impl Maglev {
    pub(crate) fn new(members: &[Member<'_>]) -> Self {
        let wanted = SLOTS * members.len();
        let size = SIZES.into_iter().find(|size| *size as usize >= wanted).unwrap_or(SIZES[SIZES.len() - 1]);
        let mut ways: Vec<Permutation> = (0..u16::MAX)
            .zip(members)
            .filter(|(_, member)| member.weight > 0)
            .map(|(at, member)| Permutation::new(at, member, size))
            .collect();
        Self { slots: fill(&mut ways, size) }
    }
}

impl Permutation {
    fn new(member: u16, of: &Member<'_>, size: u32) -> Self {
        // Remainders of u32 divisors fit into u32.
        let next = (numbered(of.id.as_bytes(), 0) % u64::from(size)) as u32;
        let skip = (numbered(of.id.as_bytes(), 1) % u64::from(size - 1)) as u32 + 1;
        Self { member, next, skip, weight: of.weight.into(), due: 0 }
    }

    /// The first slot of its permutation that is still free. There must be one.
    fn take(&mut self, slots: &mut [u16]) {
        while slots[self.next as usize] != FREE {
            self.step(slots.len());
        }
        slots[self.next as usize] = self.member;
        self.step(slots.len());
    }

    fn step(&mut self, size: usize) {
        self.next = (self.next + self.skip) % size as u32;
    }
}

/// No member has this number.
const FREE: u16 = u16::MAX;

fn fill(ways: &mut [Permutation], size: u32) -> Box<[u16]> {
    let Some(greatest) = ways.iter().map(|w| w.weight).max() else { return Box::default() };
    let mut slots = vec![FREE; size as usize].into_boxed_slice();
    let mut free = size;
    for turn in 0.. {
        for way in &mut *ways {
            if turn * way.weight < way.due {
                continue;
            }
            way.due += greatest;
            way.take(&mut slots);
            free -= 1;
            if free == 0 {
                return slots;
            }
        }
    }
    slots
}

impl Lookup for Maglev {
    fn owners(&self, hash: u64) -> impl Iterator<Item = usize> {
        // An empty table yields nothing, whatever the start.
        let start = hash.checked_rem(self.slots.len() as u64).unwrap_or_default();
        around(self.slots.len(), start as usize).map(|slot| self.slots[slot].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u16]) -> Vec<usize> {
        let ids: Vec<String> = (0..weights.len()).map(|i| format!("10.0.0.{i}:8080")).collect();
        let members: Vec<_> = ids.iter().zip(weights).map(|(id, &weight)| Member { id, weight }).collect();
        let table = Maglev::new(&members);
        let mut slots = vec![0; weights.len()];
        for &member in &table.slots {
            slots[usize::from(member)] += 1;
        }
        slots
    }

    #[test]
    fn up_to_two_hundred_members_own_equal_shares_within_two_percent() {
        for count in [1, 2, 3, 10, 11, 40, 41, 160, 161, 200] {
            let slots = members(&vec![7; count]);
            let (low, high) = (slots.iter().min().unwrap(), slots.iter().max().unwrap());
            assert!(*high as f64 / *low as f64 <= 1.02, "{count} members: {low} to {high} slots");
        }
    }

    #[test]
    fn weights_are_honoured_to_the_slot() {
        for weights in [vec![1, 3], vec![100, 1, 50], vec![65_535, 1, 1], vec![5, 0, 10]] {
            let slots = members(&weights);
            let (sum, size) = (weights.iter().map(|w| f64::from(*w)).sum::<f64>(), slots.iter().sum::<usize>());
            for (&weight, &slots) in weights.iter().zip(&slots) {
                let exact = size as f64 * f64::from(weight) / sum;
                assert!((slots as f64 - exact).abs() <= weights.len() as f64, "{weights:?}: {slots} for {weight}");
            }
        }
    }

    #[test]
    fn a_service_of_too_many_members_still_fills_its_table() {
        assert_eq!(members(&vec![1; 70_000]).iter().sum::<usize>(), 65_537);
    }
}
