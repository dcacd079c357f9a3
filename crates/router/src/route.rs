//! hot path
//!
//! Which rule of the file a request follows.
//!
//! A rule's conditions are all required. Among the rules that match, the first in this order wins:
//!
//! 1. `path` (the whole path) before `prefix`; no path condition is the prefix `/`;
//! 2. the more specific pattern: compared segment by segment from the left, a literal before a `{parameter}`, and the
//!    longer before the shorter;
//! 3. an exact host before `*.example.com`, a longer such suffix before a shorter one, any before none;
//! 4. more conditions (method, each header, each query parameter) before fewer;
//! 5. the order of the file.
//!
//! `pattern` compiles paths, `tree` finds them in one look-up per segment, `condition` holds the rest; `why` tells people
//! why it was not another rule.

use std::{borrow::Cow, fmt};

use http::{HeaderMap, Method};
use model::ServiceId;

mod condition;
mod pattern;
mod tree;
mod why;

#[cfg(test)]
mod tests;

pub use condition::When;
use pattern::Pattern;
use tree::Tree;
pub use why::{PassedOver, Why};

/// One rule: when it applies, and where it leads. `T` is what else the caller knows of it (timeouts, limits).
#[derive(Debug, Clone)]
pub struct Route<T> {
    /// All of this is required.
    pub when: When,
    /// Where the request goes.
    pub service: ServiceId,
    /// What becomes of the matched part of the path (all of it for `path`).
    pub rewrite: Rewrite,
    /// The caller's own.
    pub data: T,
}

/// What becomes of the part of the path that a route matched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Rewrite {
    /// Stays.
    #[default]
    Keep,
    /// Is taken away: `/v1/pets/7` under the prefix `/v1/pets` becomes `/7`.
    Strip,
    /// Gives way to this path, in normal form.
    Replace(String),
}

/// What a request shows to the rules.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// In lower case, without port, as [`crate::authority::Authority`] has it.
    pub host: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The path in its normal form ([`crate::path::normalise`]).
    pub path: &'a str,
    /// The query as it came.
    pub query: Option<&'a str>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

/// All rules, compiled. Built once per configuration; a look-up neither locks nor allocates.
#[derive(Debug)]
pub struct Routes<T> {
    routes: Vec<Compiled<T>>,
    tree: Tree,
    shadowed: Vec<Shadowed>,
}

#[derive(Debug)]
struct Compiled<T> {
    route: Route<T>,
    pattern: Pattern,
}

/// A route and its place among all.
#[derive(Debug)]
pub struct Found<'r, T> {
    /// Position in the list the routes were built from.
    pub index: usize,
    /// The route.
    pub route: &'r Route<T>,
    matched_segments: usize,
}

/// A rule that can never be reached, because `by` matches whatever it matches and comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    /// Position of the rule nobody reaches.
    pub route: usize,
    /// Position of the rule that comes first.
    pub by: usize,
    text: String,
}

/// A rule that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route {route}: {problem}")]
pub struct RouteError {
    /// Position in the list, from 0.
    pub route: usize,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl<T> Route<T> {
    /// Whether it can be compiled.
    ///
    /// # Errors
    /// What is wrong with its pattern, host or replacement, and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        self.parts().map(drop)
    }

    fn parts(&self) -> Result<(Pattern, String, Rewrite), String> {
        Ok((Pattern::of(&self.when)?, self.when.host_key()?, self.rewrite.clone().checked()?))
    }
}

impl<T> Default for Routes<T> {
    /// None.
    fn default() -> Self {
        Self { routes: Vec::new(), tree: Tree::default(), shadowed: Vec::new() }
    }
}

impl<T> Routes<T> {
    /// Compiles the rules. Positions in errors and reports are those of `routes`, from 0.
    ///
    /// # Errors
    /// The rules with a malformed pattern, host or replacement; if there is none, those with the conditions of an earlier
    /// one.
    pub fn new(routes: Vec<Route<T>>) -> Result<Self, Vec<RouteError>> {
        let mut compiled = Vec::with_capacity(routes.len());
        let (mut tree, mut errors) = (Tree::default(), Vec::new());
        for (index, mut route) in routes.into_iter().enumerate() {
            match route.parts() {
                Ok((pattern, host, rewrite)) => {
                    tree.insert(&pattern, host, index);
                    route.rewrite = rewrite;
                    compiled.push(Compiled { route, pattern });
                }
                Err(problem) => errors.push(RouteError { route: index, problem }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let when = |index: usize| &compiled[index].route.when;
        let mut shadowed = Vec::new();
        for rivals in tree.arrange(&|index| when(index).count()) {
            for (at, &late) in rivals.iter().enumerate() {
                let Some(&early) = rivals[..at].iter().find(|&&early| when(early).covers(when(late))) else { continue };
                if when(late).covers(when(early)) {
                    let problem = format!("{} is route {early} once more; remove one of them", when(late));
                    errors.push(RouteError { route: late, problem });
                    continue;
                }
                let text = format!(
                    "route {late} ({}) is never reached: route {early} ({}) comes first and matches all of it",
                    when(late),
                    when(early)
                );
                shadowed.push(Shadowed { route: late, by: early, text });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        shadowed.sort_by_key(|s| s.route);
        Ok(Self { routes: compiled, tree, shadowed })
    }

    /// The rule the request follows.
    #[must_use]
    pub fn find(&self, ask: &Ask<'_>) -> Option<Found<'_, T>> {
        let index = self.tree.find(ask, &|index| self.routes[index].route.when.allows(ask))?;
        let Compiled { route, pattern } = &self.routes[index];
        Some(Found { index, route, matched_segments: pattern.segments.len() })
    }

    /// The route at this position in the list the routes were built from.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn get(&self, index: usize) -> &Route<T> {
        &self.routes[index].route
    }

    /// The first `most` rules whose path is that of the request and that it does not follow, but another one or none, and
    /// why; and how many more there are. Takes its time: for people who ask.
    #[must_use]
    pub fn passed_over(&self, ask: &Ask<'_>, most: usize) -> (Vec<PassedOver>, usize) {
        let found = self.find(ask).map(|found| found.index);
        let others = self.routes.iter().enumerate().filter(|(index, _)| Some(*index) != found);
        let mut others = others.filter(|(_, other)| why::has_path(&other.route.when, ask));
        let told = |(route, other): (usize, &Compiled<T>)| PassedOver { route, why: why::of(&other.route.when, ask) };
        let first = others.by_ref().take(most).map(told).collect();
        (first, others.count())
    }

    /// Rules nobody can reach: worth a warning, not an error.
    #[must_use]
    pub fn shadowed(&self) -> &[Shadowed] {
        &self.shadowed
    }
}

impl<T> Found<'_, T> {
    /// The path as the instance gets it. `path` is the one that was asked for.
    #[must_use]
    pub fn outbound_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let new = match &self.route.rewrite {
            Rewrite::Keep => return Cow::Borrowed(path),
            Rewrite::Strip => "",
            Rewrite::Replace(new) => new,
        };
        // The slash that ends the matched segments, or the end. `*` is no path and stays.
        let Some(inner) = path.strip_prefix('/') else { return Cow::Borrowed(path) };
        let rest = match self.matched_segments.checked_sub(1) {
            None => path,
            Some(skip) => inner.match_indices('/').nth(skip).map_or("", |(at, _)| &inner[at..]),
        };
        match (new, rest) {
            ("", "") => Cow::Borrowed("/"),
            ("", rest) => Cow::Borrowed(rest),
            (new, rest) => Cow::Owned([new, rest].concat()),
        }
    }
}

impl Rewrite {
    /// A replacement is a normal path; its slash at the end is the rest's business.
    fn checked(self) -> Result<Self, String> {
        let Self::Replace(path) = self else { return Ok(self) };
        pattern::must_be_normal("rewrite", &path)?;
        let bare = path.strip_suffix('/').unwrap_or(&path);
        Ok(if bare.is_empty() { Self::Strip } else { Self::Replace(bare.to_owned()) })
    }
}

impl fmt::Display for Shadowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
