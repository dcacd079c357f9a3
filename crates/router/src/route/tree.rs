//! hot path
//!
//! Patterns as a tree of segments, hosts below them. A look-up visits a node at most twice, so it costs one hash per
//! segment, and more only where patterns with parameters overlap.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    Ask,
    pattern::{Pattern, Segment},
};

#[derive(Debug, Default)]
pub(super) struct Tree {
    // The keys come from the operator's file: no client can choose them to collide.
    literals: HashMap<Box<str>, Self, RandomState>,
    parameter: Option<Box<Self>>,
    whole: Hosts,
    prefix: Hosts,
}

/// Rules of one pattern by host: `api.example.com`, `.example.com` for everything below; and those for any host.
#[derive(Debug, Default)]
struct Hosts {
    named: HashMap<Box<str>, Vec<usize>, RandomState>,
    any: Vec<usize>,
}

/// Tells whether a rule's other conditions hold.
type Allows<'a> = &'a dyn Fn(usize) -> bool;

impl Tree {
    pub(super) fn insert(&mut self, pattern: &Pattern, host: String, index: usize) {
        let node = pattern.segments.iter().fold(self, |node, segment| match segment {
            Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
            Segment::Parameter => node.parameter.get_or_insert_default(),
        });
        let hosts = if pattern.whole { &mut node.whole } else { &mut node.prefix };
        let rivals = if host.is_empty() { &mut hosts.any } else { hosts.named.entry(host.into()).or_default() };
        rivals.push(index);
    }

    /// Puts rules of the same pattern and host into the order in which they are tried (more conditions first, then the
    /// order of the file), and returns these groups.
    pub(super) fn arrange(&mut self, count: &dyn Fn(usize) -> usize) -> Vec<&[usize]> {
        let mut groups = Vec::new();
        for rivals in self.whole.rivals().chain(self.prefix.rivals()) {
            rivals.sort_by_key(|&index| (std::cmp::Reverse(count(index)), index));
            groups.push(rivals.as_slice());
        }
        for child in self.literals.values_mut().chain(self.parameter.as_deref_mut()) {
            groups.extend(child.arrange(count));
        }
        groups
    }

    pub(super) fn find(&self, ask: &Ask<'_>, allows: Allows<'_>) -> Option<usize> {
        let rest = ask.path.strip_prefix('/');
        self.find_whole(rest, ask.host, allows).or_else(|| self.find_prefix(rest, ask.host, allows))
    }

    /// `rest` is what the nodes above have not matched; `None` once all segments are.
    fn find_whole(&self, rest: Option<&str>, host: Option<&str>, allows: Allows<'_>) -> Option<usize> {
        let Some(rest) = rest else { return self.whole.find(host, allows) };
        self.descend(rest, &|child, rest| child.find_whole(rest, host, allows))
    }

    fn find_prefix(&self, rest: Option<&str>, host: Option<&str>, allows: Allows<'_>) -> Option<usize> {
        rest.and_then(|rest| self.descend(rest, &|child, rest| child.find_prefix(rest, host, allows)))
            .or_else(|| self.prefix.find(host, allows))
    }

    /// Goes on below the first segment, literals first.
    fn descend(&self, rest: &str, go: &dyn Fn(&Self, Option<&str>) -> Option<usize>) -> Option<usize> {
        let (segment, rest) = rest.split_once('/').map_or((rest, None), |(segment, rest)| (segment, Some(rest)));
        let literal = self.literals.get(segment).and_then(|child| go(child, rest));
        literal.or_else(|| match &self.parameter {
            Some(child) if !segment.is_empty() => go(child, rest),
            _ => None,
        })
    }
}

impl Hosts {
    fn rivals(&mut self) -> impl Iterator<Item = &mut Vec<usize>> {
        self.named.values_mut().chain([&mut self.any])
    }

    fn find(&self, host: Option<&str>, allows: Allows<'_>) -> Option<usize> {
        let first = |rivals: &[usize]| rivals.iter().copied().find(|&index| allows(index));
        let below = |key: &str| self.named.get(key).and_then(|rivals| first(rivals));
        let host = host.filter(|_| !self.named.is_empty());
        let named = host
            .and_then(|host| below(host).or_else(|| host.match_indices('.').find_map(|(dot, _)| below(&host[dot..]))));
        named.or_else(|| first(&self.any))
    }
}
