//! What an instance says of its size and its load, as its weight.

use std::ops::RangeInclusive;

use model::Instance;

/// Names of the metadata that say it. Which they are differs from house to house, so none is read unless it is named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Weighing {
    /// How much it can take, in any measure that is the same for all: cores, requests a second. Counts times the weight.
    pub capacity: Option<Box<str>>,
    /// The part of that which is in use, from 0 to 1, or from 0 to 100 with a `%`.
    pub load: Option<Box<str>>,
}

/// An instance that says it is full still gets this part of its share: what it says may be old.
const LEAST: f64 = 0.05;

/// The heaviest instance's weight; fine enough for whole numbers of others.
const HEAVIEST: f64 = 10_000.0;

/// Capacities that can be one. What is beyond is a mistake: no capacity at all.
const CAPACITY: RangeInclusive<f64> = 1e-3..=1e9;

/// Loads that can be one, as parts of 1: an average of what waits may be above it. What is beyond has another unit.
const LOAD: RangeInclusive<f64> = 0.0..=10.0;

/// No instance counts as more than so many times the median capacity, or less than that part of it: what one of them says
/// of itself must not take the traffic from all others.
const SPREAD: f64 = 100.0;

impl Weighing {
    /// Weights for these instances, in their order: what the registry says, times capacity, times what is left of it. An
    /// instance without a capacity counts as the smallest that says one; one without a load as idle. 0 stays 0.
    pub(crate) fn weigh<'a>(&self, instances: impl Iterator<Item = &'a Instance> + Clone) -> Vec<u16> {
        if self.is_off() {
            return instances.map(|instance| instance.weight).collect();
        }
        let said =
            |name: &Option<Box<str>>, range, instance: &Instance| within(range, instance.label(name.as_deref()?)?);
        let capacity = |instance: &Instance| said(&self.capacity, CAPACITY, instance);
        let mut capacities: Vec<f64> = instances.clone().filter_map(capacity).collect();
        capacities.sort_by(f64::total_cmp);
        let median = capacities.get(capacities.len().saturating_sub(1) / 2).copied().unwrap_or(1.0);
        let bounded = |capacity: f64| capacity.clamp(median / SPREAD, median * SPREAD);
        let least = bounded(capacities.first().copied().unwrap_or(1.0));
        let weight = |instance: &Instance| {
            let free = (1.0 - said(&self.load, LOAD, instance).unwrap_or_default()).clamp(LEAST, 1.0);
            f64::from(instance.weight) * capacity(instance).map_or(least, bounded) * free
        };
        let weights: Vec<f64> = instances.map(weight).collect();
        let heaviest = weights.iter().copied().fold(0.0, f64::max);
        let scaled = |weight: f64| if weight > 0.0 { (weight / heaviest * HEAVIEST).round().max(1.0) } else { 0.0 };
        // At most `HEAVIEST`, so it fits.
        weights.into_iter().map(|weight| scaled(weight) as u16).collect()
    }

    /// Whether no metadata counts.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.capacity.is_none() && self.load.is_none()
    }

    /// The metadata of this instance that should count and cannot: no number, or none that makes sense. As if it were not
    /// there.
    pub fn senseless<'a>(&'a self, instance: &Instance) -> impl Iterator<Item = &'a str> {
        let named = [(&self.capacity, CAPACITY), (&self.load, LOAD)];
        named.into_iter().filter_map(move |(name, range)| {
            let name = name.as_deref()?;
            within(range, instance.label(name)?).is_none().then_some(name)
        })
    }
}

/// The number, if it is in this range.
fn within(range: RangeInclusive<f64>, text: &str) -> Option<f64> {
    number(text).filter(|number| range.contains(number))
}

/// A number, or a percentage as a part of 1.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let (text, unit) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent.trim_end(), 100.0));
    text.parse().ok().map(|number: f64| number / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::candidate;

    fn weights(weighing: &Weighing, said: &[(u16, &[(&str, &str)])]) -> Vec<u16> {
        let mut instances = Vec::new();
        for (number, (weight, labels)) in (0..).zip(said) {
            let mut instance = (*candidate(number, *weight).instance).clone();
            instance.labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            instances.push(instance.normalised());
        }
        weighing.weigh(instances.iter())
    }

    fn by(capacity: Option<&str>, load: Option<&str>) -> Weighing {
        Weighing { capacity: capacity.map(Into::into), load: load.map(Into::into) }
    }

    #[test]
    fn metadata_counts_only_if_it_is_named() {
        let said = [(3, &[("cores", "8")][..]), (1, &[])];
        assert_eq!(weights(&Weighing::default(), &said), [3, 1]);
        assert!(Weighing::default().is_off());
        assert!(!by(Some("cores"), None).is_off() && !by(None, Some("load")).is_off());
        assert_eq!(weights(&by(Some("cores"), None), &said), [10_000, 3333]);
    }

    #[test]
    fn capacity_and_load_make_the_weight() {
        let all = by(Some("cores"), Some("load"));
        let said = [
            (1, &[("cores", "8"), ("load", "0.5")][..]),
            (1, &[("cores", "4"), ("load", "0")]),
            (1, &[("cores", "4"), ("load", "75 %")]),
            (1, &[("cores", "4"), ("load", "120%")]),
            (0, &[("cores", "64")]),
            (1, &[("cores", "-1"), ("load", "NaN")]),
        ];
        assert_eq!(weights(&all, &said), [10_000, 10_000, 2500, 500, 0, 10_000]);
    }

    #[test]
    fn no_number_takes_all_the_traffic() {
        let by = by(Some("cores"), Some("load"));
        let cores = |number| (1, [("cores", number)]);
        let weights_of = |said: &[(u16, [(&str, &str); 1])]| {
            let said: Vec<(u16, &[(&str, &str)])> =
                said.iter().map(|(weight, labels)| (*weight, &labels[..])).collect();
            weights(&by, &said)
        };
        // As much as makes sense, and no more than a hundredfold of what is usual.
        assert_eq!(weights_of(&[cores("8"), cores("8"), cores("900000000")]), [100, 100, 10_000]);
        assert_eq!(weights_of(&[cores("8"), cores("8"), cores("0.001")]), [10_000, 10_000, 100]);
        for senseless in ["1e300", "inf", "NaN", "-8", "0", "8 cores", ""] {
            assert_eq!(weights_of(&[cores("8"), cores("4"), cores(senseless)]), [10_000, 5000, 5000], "{senseless}");
        }
        // A load of 75 is no part: somebody meant percent.
        assert_eq!(weights_of(&[(1, [("load", "0.5")]), (1, [("load", "75")])]), [5000, 10_000]);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let weighing = by(Some("cores"), Some("load"));
        for (labels, expected) in [
            (&[("cores", "8"), ("load", "120 %")][..], &[][..]),
            (&[("cores", "many"), ("load", "75")], &["cores", "load"]),
            (&[("load", "NaN")], &["load"]),
            (&[], &[]),
        ] {
            let mut instance = (*candidate(1, 1).instance).clone();
            instance.labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let found: Vec<&str> = weighing.senseless(&instance.normalised()).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn nothing_said_is_all_the_same() {
        assert_eq!(weights(&by(Some("cores"), Some("load")), &[(1, &[]), (2, &[])]), [5000, 10_000]);
        assert_eq!(weights(&by(Some("cores"), None), &[(0, &[]), (0, &[])]), [0, 0]);
        assert!(weights(&by(Some("cores"), None), &[]).is_empty());
    }
}
