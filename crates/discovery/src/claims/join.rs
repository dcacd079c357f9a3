//! How what several sources say of one service becomes one list. Pure.

use std::{collections::HashSet, sync::Arc};

use model::{Address, Instance, Standing};

use super::{Claimed, order};

/// How the words of several sources of one service are joined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Merge {
    /// All instances of all sources.
    #[default]
    Union,
    /// Those of the first source, in the order of the configuration, that has an instance to serve; of the sources before
    /// it what they still have.
    First,
    /// All instances; each source gets a share of the traffic in proportion to its number, however many instances it has.
    /// A source that is not named gets some only if the named ones have no instance.
    Weighted(Vec<(Arc<str>, u16)>),
}

/// What becomes of a word that is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooOld {
    /// It is used as if it were fresh.
    Serve,
    /// Its instances are used if no other admits requests.
    LastResort,
    /// Its instances are not used.
    Refuse,
}

/// What one source says of the service.
#[derive(Debug, Clone)]
pub(super) struct Said<'a> {
    pub(super) source: &'a Arc<str>,
    pub(super) present: Vec<&'a Arc<Instance>>,
    pub(super) suspects: Vec<&'a Arc<Instance>>,
}

impl Said<'_> {
    /// The same, when it is too old.
    pub(super) fn aged(mut self, what: TooOld) -> Self {
        match what {
            TooOld::Serve => {}
            TooOld::LastResort => self.suspects.append(&mut self.present),
            TooOld::Refuse => {
                self.present.clear();
                self.suspects.clear();
            }
        }
        self
    }

    fn serves(&self) -> bool {
        self.present.iter().any(|i| i.standing == Standing::Serving)
    }
}

/// The joined list, sorted by id and address. `said` is in the order of the configuration: an instance (same address and
/// port) that two sources name counts once, as the first of them describes it, and present in one is present.
pub(super) fn join(said: &[Said<'_>], merge: &Merge) -> Vec<Claimed> {
    let said = match merge {
        Merge::First => &said[..said.iter().position(Said::serves).map_or(said.len(), |at| at + 1)],
        Merge::Union | Merge::Weighted(_) => said,
    };
    let present = said.iter().map(|word| (word.source, &word.present, false));
    let suspects = said.iter().map(|word| (word.source, &word.suspects, true));
    let mut parts = present.chain(suspects).filter(|(_, part, _)| !part.is_empty()).peekable();
    // What an earlier part has at an address counts; within one each instance stands for itself.
    let mut seen: HashSet<&Address> = HashSet::new();
    let mut list: Vec<Claimed> = Vec::new();
    while let Some((source, part, resort)) = parts.next() {
        let own = part.iter().filter(|i| !seen.contains(&i.endpoint.address));
        list.extend(own.map(|i| Claimed { instance: Arc::clone(i), source: source.clone(), resort }));
        // Mostly there is one part, and nobody to compare it with.
        if parts.peek().is_some() {
            seen.extend(part.iter().map(|i| &i.endpoint.address));
        }
    }
    if let Merge::Weighted(shares) = merge {
        weigh(&mut list, shares);
    }
    list.sort_by(|a, b| order(&a.instance, &b.instance));
    list
}

/// The weight the greatest becomes: fine enough for shares of a hundredth percent, and well within a `u16`.
const GREATEST: u128 = 10_000;

/// Gives each source its share: an instance's weight is what it has of its source's, times the source's number. They are
/// set in proportion to the greatest. If no source with a number has an instance, weights stay as they are.
fn weigh(list: &mut [Claimed], shares: &[(Arc<str>, u16)]) {
    let counts = |c: &&Claimed| !c.resort && c.instance.standing == Standing::Serving;
    let weight = |c: &Claimed| u128::from(c.instance.weight);
    let share = |c: &Claimed| shares.iter().find(|(name, _)| *name == c.source).map_or(0, |(_, n)| u128::from(*n));
    let total = |name: &Arc<str>| list.iter().filter(counts).filter(|c| c.source == *name).map(weight).sum::<u128>();
    // Exact fractions, so that two routers come to the same weights.
    let mut totals: Vec<(Arc<str>, u128)> = Vec::new();
    for claimed in list.iter() {
        if !totals.iter().any(|(name, _)| *name == claimed.source) {
            totals.push((claimed.source.clone(), total(&claimed.source)));
        }
    }
    let of = |c: &Claimed| totals.iter().find(|(name, _)| *name == c.source).map_or(1, |(_, sum)| (*sum).max(1));
    let fraction = |c: &Claimed| (share(c) * weight(c), of(c));
    let greatest = list.iter().filter(counts).map(fraction).max_by(|(a, b), (c, d)| (a * d).cmp(&(c * b)));
    let Some((top, of_top)) = greatest.filter(|(top, _)| *top > 0) else { return };
    for claimed in list.iter_mut().filter(|c| !c.resort) {
        let (part, whole) = fraction(claimed);
        let scaled = (part * of_top * GREATEST + whole * top / 2) / (whole * top);
        let scaled = if part == 0 { 0 } else { u16::try_from(scaled).unwrap_or(u16::MAX).max(1) };
        if claimed.instance.weight != scaled {
            claimed.instance = Arc::new(Instance { weight: scaled, ..(*claimed.instance).clone() });
        }
    }
}
