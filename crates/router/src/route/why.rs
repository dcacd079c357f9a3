//! Why a request does not follow a rule. Each of the rule's conditions is asked alone, by the same functions as in a
//! look-up.

use std::fmt;

use super::{Ask, When, pattern::Pattern, tree::Tree};

/// A rule that a request does not follow though it has the rule's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Position of the rule.
    pub route: usize,
    /// Why.
    pub why: Why,
}

/// Why a request does not follow a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// These conditions do not hold.
    Unmet(Vec<String>),
    /// All of them do; another rule comes first.
    Later,
}

/// Whether a rule has the path of the request.
pub(super) fn has_path(when: &When, ask: &Ask<'_>) -> bool {
    holds(&When { path: when.path.clone(), prefix: when.prefix.clone(), ..When::default() }, ask)
}

/// Why a request does not follow a rule that has its path.
pub(super) fn of(when: &When, ask: &Ask<'_>) -> Why {
    let unmet: Vec<String> =
        parts(when).into_iter().filter(|(_, part)| !holds(part, ask)).map(|(name, _)| name).collect();
    if unmet.is_empty() { Why::Later } else { Why::Unmet(unmet) }
}

/// Each condition besides the path, in words and alone.
fn parts(when: &When) -> Vec<(String, When)> {
    let value = |value: Option<String>| value.map(|value| format!("={value}")).unwrap_or_default();
    let mut parts = Vec::new();
    if let Some(host) = &when.host {
        parts.push((format!("host {host}"), When { host: Some(host.clone()), ..When::default() }));
    }
    if !when.methods.is_empty() {
        let names: Vec<&str> = when.methods.iter().map(http::Method::as_str).collect();
        let part = When { methods: when.methods.clone(), ..When::default() };
        parts.push((format!("method {}", names.join(" or ")), part));
    }
    for (name, wanted) in &when.headers {
        let text = wanted.as_ref().map(|wanted| String::from_utf8_lossy(wanted.as_bytes()).into_owned());
        let part = When { headers: vec![(name.clone(), wanted.clone())], ..When::default() };
        parts.push((format!("header {name}{}", value(text)), part));
    }
    for (name, wanted) in &when.query {
        let part = When { query: vec![(name.clone(), wanted.clone())], ..When::default() };
        parts.push((format!("query parameter {name}{}", value(wanted.clone())), part));
    }
    parts
}

/// Whether a rule with these conditions alone would be found.
fn holds(when: &When, ask: &Ask<'_>) -> bool {
    let (Ok(pattern), Ok(host)) = (Pattern::of(when), when.host_key()) else { return false };
    let mut tree = Tree::default();
    tree.insert(&pattern, host, 0);
    tree.find(ask, &|_| when.allows(ask)).is_some()
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmet(parts) => write!(f, "it wants {}", parts.join(" and ")),
            Self::Later => f.write_str("it matches too, but is less specific or comes later"),
        }
    }
}
