//! What an instance says of its size and its load, as its weight.

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

impl Weighing {
    /// Weights for these instances, in their order: what the registry says, times capacity, times what is left of it. An
    /// instance without a capacity counts as the smallest that says one; one without a load as idle. 0 stays 0.
    pub(crate) fn weigh<'a>(&self, instances: impl Iterator<Item = &'a Instance> + Clone) -> Vec<u16> {
        if *self == Self::default() {
            return instances.map(|instance| instance.weight).collect();
        }
        let capacity = |instance: &Instance| number(instance.label(self.capacity.as_deref()?)?).filter(|n| *n > 0.0);
        let least = instances.clone().filter_map(capacity).reduce(f64::min).unwrap_or(1.0);
        let weight = |instance: &Instance| {
            let load = self.load.as_deref().and_then(|name| number(instance.label(name)?));
            let free = (1.0 - load.unwrap_or_default()).clamp(LEAST, 1.0);
            f64::from(instance.weight) * capacity(instance).unwrap_or(least) * free
        };
        let weights: Vec<f64> = instances.map(weight).collect();
        let heaviest = weights.iter().copied().fold(0.0, f64::max);
        let scaled = |weight: f64| if weight > 0.0 { (weight / heaviest * HEAVIEST).round().max(1.0) } else { 0.0 };
        // At most `HEAVIEST`, so it fits.
        weights.into_iter().map(|weight| scaled(weight) as u16).collect()
    }
}

/// A number, or a percentage as a part of 1. Not one that is negative or without end.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let (text, unit) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent.trim_end(), 100.0));
    text.parse().ok().map(|number: f64| number / unit).filter(|number| number.is_finite() && *number >= 0.0)
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
    fn nothing_said_is_all_the_same() {
        assert_eq!(weights(&by(Some("cores"), Some("load")), &[(1, &[]), (2, &[])]), [5000, 10_000]);
        assert_eq!(weights(&by(Some("cores"), None), &[(0, &[]), (0, &[])]), [0, 0]);
        assert!(weights(&by(Some("cores"), None), &[]).is_empty());
    }
}
